// One region, enlarged.

import { drawLarge, scaleOf, short, variableOf } from "./maps.js";
import { STATES, classOf } from "./model.js";
import { element } from "./tiles.js";

const CELLS_SHOWN = 1000;
const find = (id) => document.getElementById(id);

export class Large {
  constructor(tiles) {
    this.tiles = tiles;
    this.dialog = find("large");
    this.segment = 0;
    find("close").addEventListener("click", () => this.dialog.close());
    find("previous").addEventListener("click", () => this.step(-1));
    find("next").addEventListener("click", () => this.step(1));
    find("large-entry").addEventListener("change", () => this.draw());
    find("large-variable").addEventListener("change", () => { this.name = find("large-variable").value; this.draw(); });
    find("segment").addEventListener("input", () => { this.segment = +find("segment").value; this.update(); });
    find("more").addEventListener("toggle", () => this.listCells());
    find("map").addEventListener("mousemove", (event) => this.point(event));
    find("map").addEventListener("mouseleave", () => (find("readout").textContent = ""));
    this.dialog.addEventListener("click", (event) => { if (event.target === this.dialog) this.dialog.close(); });
    this.dialog.addEventListener("close", () => { const tile = this.tiles.tiles[this.place.number]; this.place = null; tile?.focus(); });
    this.dialog.addEventListener("keydown", (event) => {
      if (/SELECT|INPUT|SUMMARY/.test(event.target.tagName)) return;
      if (event.key === "ArrowRight") this.step(1);
      if (event.key === "ArrowLeft") this.step(-1);
    });
    new ResizeObserver(() => this.place && this.paint()).observe(find("map"));
  }

  open(place) {
    this.place = place;
    this.segment = 0;
    this.name = this.tiles.look.variable;
    if (!this.dialog.open) this.dialog.showModal();
    find("more").open = false;
    this.update();
  }

  step(by) {
    const shown = this.tiles.tiles.filter((t) => !t.hidden).map((t) => t.place);
    const next = shown[shown.indexOf(this.place) + by];
    if (next) { this.place = next; this.segment = 0; this.update(); }
  }

  // the state of the region has changed, or another one is shown
  async update() {
    const place = this.place, run = this.tiles.run;
    if (!place) return;
    const shown = this.tiles.tiles.filter((t) => !t.hidden).map((t) => t.place), at = shown.indexOf(place);
    find("previous").disabled = at <= 0;
    find("next").disabled = at < 0 || at >= shown.length - 1;
    find("large-title").textContent = `${place.file} · ${place.region}`;
    this.tell();
    this.draw();
    const segment = this.segment;
    for (let tries = 0; tries < 5 && this.place === place && this.segment === segment; tries++) {
      if (run.mapsOf(place, segment) || !run.shown(place)) break;
      const { came } = await run.fetch([place], segment);
      if (came.length) this.tiles.arrived(came);
      if (this.place === place && this.segment === segment) this.draw();
    }
  }

  tell() {
    const place = this.place, [sign, words] = STATES[place.state], lines = find("large-state");
    lines.replaceChildren(element("span", `mark ${classOf(place.state)}`, sign), words);
    const run = this.tiles.run, texts = [];
    for (const unit of place.units) {
      const stage = run.stages[unit.stage];
      if (place.units.length > 1) lines.append(element("br"), `${stage}: ${STATES[unit.state]?.[1] || unit.state}`);
      if (unit.end?.seconds) lines.append(`, ${short(unit.end.seconds)} s on ${unit.end.host.split(":")[0]}`);
      if (unit.end?.message) texts.push(unit.end.message + (unit.end.traceback ? `\n\n${unit.end.traceback}` : ""));
    }
    find("told").hidden = !texts.length;
    find("told").textContent = texts.join("\n\n");
  }

  get map() {
    const entries = this.tiles.run.mapsOf(this.place, this.segment);
    if (!entries) return null;
    return entries.find((e) => e.name === find("large-entry").value) || entries.find((e) => e.name === this.tiles.look.label) || entries[0];
  }

  draw() {
    const entries = this.tiles.run.mapsOf(this.place, this.segment) || [], map = this.map;
    choices(find("large-entry"), entries.map((e) => [e.name, e.name]), map?.name);
    find("large-choose-entry").hidden = entries.length < 2;
    const variables = map?.variables || [];
    const variable = map && !map.note ? variableOf(map, this.name) : null;
    choices(find("large-variable"), variables.map((v) => [v.name, v.label]), variable?.name);
    find("large-choose-variable").hidden = !variable;
    const times = map?.times;
    find("choose-segment").hidden = !(times?.segments > 1) && this.segment === 0;
    if (times) {
      find("segment").max = times.segments - 1;
      find("segment").value = times.segment;
      find("times").textContent = `${short(times.bounds[0])} to ${short(times.bounds[1])} s`;
    }
    this.numbers(map, variables);
    this.paint();
    this.listCells();
  }

  paint() {
    const canvas = find("map"), map = this.map, style = getComputedStyle(this.dialog);
    this.drawn = null;
    find("readout").textContent = "";
    const usable = map && map.note === undefined;
    if (!usable) {
      const density = window.devicePixelRatio || 1, pen = canvas.getContext("2d");
      canvas.width = canvas.clientWidth * density;
      canvas.height = canvas.clientHeight * density;
      pen.scale(density, density);
      pen.fillStyle = style.getPropertyValue("--soft");
      pen.font = "15px system-ui, sans-serif";
      pen.textAlign = "center";
      const words = map?.note ?? this.missing();
      pen.fillText(words, canvas.clientWidth / 2, canvas.clientHeight / 2, canvas.clientWidth - 20);
      canvas.setAttribute("aria-label", words);
      return;
    }
    const variable = variableOf(map, this.name), look = this.tiles.look;
    const common = look.common && variable.name === look.variable ? this.tiles.commonScale() : null;
    const scale = common || scaleOf([variable], look.log);
    this.drawn = drawLarge(canvas, map, variable.name, scale, style.color, style.getPropertyValue("--soft"));
    canvas.setAttribute("aria-label", `Map of ${variable.label}, ${map.cells} cells; its values are in the table beside it`);
  }

  missing() {
    const run = this.tiles.run, place = this.place;
    if (place.state === "failed") return "This region has failed: there is no map.";
    if (!run.shown(place)) return place.units.every((u) => run.without.has(u.i)) ? "There is no map of this region." : "The map is not there yet.";
    if (!run.told.connected) return "The session that keeps the maps is not connected.";
    return "Loading …";
  }

  // the text for those who do not see the map
  numbers(map, variables) {
    const table = find("numbers");
    table.querySelectorAll("thead, tbody").forEach((part) => part.remove());
    if (!variables.length) return;
    const head = table.createTHead().insertRow(), body = table.createTBody();
    for (const word of [`${map.cells} cells`, "least", "median", "most"]) {
      const cell = element("th", "", word);
      cell.scope = "col";
      head.append(cell);
    }
    for (const variable of variables) {
      const sorted = Float32Array.from(variable.values).filter(Number.isFinite).sort(), row = body.insertRow();
      const name = element("th", "", variable.label);
      name.scope = "row";
      row.append(name);
      for (const q of [0, 0.5, 1]) row.append(element("td", "", sorted.length ? short(sorted[Math.round(q * (sorted.length - 1))]) : "–"));
    }
  }

  listCells() {
    const box = find("cells"), map = this.map;
    box.replaceChildren();
    find("more").hidden = !map || map.note !== undefined;
    if (!find("more").open || find("more").hidden) return;
    const table = document.createElement("table"), head = table.createTHead().insertRow(), body = table.createTBody();
    for (const word of ["cell", ...map.variables.map((v) => v.name)]) head.append(element("th", "", word));
    for (let i = 0; i < Math.min(map.cells, CELLS_SHOWN); i++) {
      const row = body.insertRow();
      row.append(element("th", "", String(i)));
      for (const v of map.variables) row.append(element("td", "", short(v.values[i]) + (v.errors && Number.isFinite(v.errors[i]) ? ` ± ${short(v.errors[i])}` : "")));
    }
    box.append(table);
    if (map.cells > CELLS_SHOWN) box.append(element("p", "", `and ${map.cells - CELLS_SHOWN} more`));
  }

  point(event) {
    if (!this.drawn) return;
    const map = this.map, pen = find("map").getContext("2d"), { paths, density } = this.drawn;
    const x = event.offsetX * density, y = event.offsetY * density;
    const i = paths.findIndex((path) => pen.isPointInPath(path, x, y));
    find("readout").textContent = i < 0 ? "" : `cell ${i}: ` + map.variables.map((v) => {
      const error = v.errors && Number.isFinite(v.errors[i]) ? ` ± ${short(v.errors[i])}` : "";
      return `${v.name} ${short(v.values[i])}${error}`;
    }).join(", ");
  }
}

// fill a list of choices, leaving it alone if it has them: it may be open
export function choices(select, pairs, value) {
  const key = JSON.stringify(pairs);
  if (select.dataset.has !== key) {
    select.dataset.has = key;
    select.replaceChildren(...pairs.map(([name, label]) => {
      const option = element("option", "", label);
      option.value = name;
      return option;
    }));
  }
  if (value !== undefined && select.value !== value) select.value = value;
}
