// The regions of all files as tiles: a sign each, or a small map.

import { drawMap, scaleOf, variableOf } from "./maps.js";
import { STATES, classOf } from "./model.js";

export class Tiles {
  constructor(root, open) {
    this.root = root;
    this.open = open;
    this.asMaps = false;
    this.tiles = [];
    this.only = null;
    this.look = { label: "", variable: "", log: false, common: true };
    this.seen = new Set();
    this.dirty = new Set();
    this.watcher = new IntersectionObserver((entries) => this.scrolled(entries), { rootMargin: "120px" });
    root.addEventListener("click", (event) => this.chosen(event.target));
    root.addEventListener("keydown", (event) => this.moved(event));
    root.addEventListener("focusin", (event) => this.focused(event.target));
  }

  // build the tiles of a run
  show(run) {
    this.run = run;
    this.watcher.disconnect();
    this.seen.clear();
    this.tiles = [];
    this.heads = new Map();
    const all = document.createDocumentFragment();
    for (const places of run.files) {
      const file = element("div", "file"), head = element("h3", "", places[0].file), row = element("div", "row");
      const counts = element("small");
      head.append(counts);
      file.setAttribute("role", "group");
      file.setAttribute("aria-label", `File ${places[0].file}`);
      this.heads.set(places[0].source, { file, counts, places });
      for (const place of places) {
        const tile = element("button", "tile");
        tile.tabIndex = -1;
        tile.place = place;
        this.tiles[place.number] = tile;
        row.append(tile);
        this.dress(tile);
        this.watcher.observe(tile);
      }
      file.append(head, row);
      all.append(file);
    }
    this.root.replaceChildren(all);
    if (this.tiles.length) this.tiles[0].tabIndex = 0;
    this.filter(this.only);
    this.count();
  }

  // the content of a tile, for its state and the kind of view
  dress(tile) {
    const place = tile.place, [sign, words] = STATES[place.state] || ["·", place.state], state = classOf(place.state);
    tile.className = `tile ${state}`;
    tile.setAttribute("aria-label", `${place.file}, ${place.region}: ${words}`);
    const message = place.units.map((u) => u.end?.message).find(Boolean);
    tile.title = `${place.region}: ${words}` + (message ? `\n${message.slice(0, 300)}` : "");
    const mark = element("span", this.asMaps ? `sign mark ${state}` : "sign", sign);
    mark.setAttribute("aria-hidden", "true");
    if (!this.asMaps) { tile.replaceChildren(mark); return; }
    const foot = element("span", "foot");
    foot.append(mark, element("span", "name", place.region));
    const canvas = tile.querySelector("canvas") || document.createElement("canvas");
    tile.replaceChildren(canvas, foot);
    this.dirty.add(tile);
  }

  changed(places) {
    for (const place of places) {
      this.dress(this.tiles[place.number]);
      this.hideOrShow(this.tiles[place.number]);
    }
    if (places.length) this.count();
    this.redraw();
  }

  count() {
    for (const { file, counts, places } of this.heads.values()) {
      const ended = places.filter((p) => /done|flagged|failed/.test(p.state)).length, failed = places.filter((p) => p.state === "failed").length;
      const text = `${ended} of ${places.length}${failed ? `, ${failed} failed` : ""}`;
      if (counts.textContent !== text) counts.textContent = text;
      file.hidden = this.only !== null && !places.some((p) => p.state === this.only);
    }
  }

  filter(state) {
    this.only = state;
    this.tiles.forEach((tile) => this.hideOrShow(tile));
    this.count();
  }

  hideOrShow(tile) { tile.hidden = this.only !== null && tile.place.state !== this.only; }

  get none() { return this.tiles.every((tile) => tile.hidden); }

  setView(asMaps) {
    if (this.asMaps === asMaps) return;
    this.asMaps = asMaps;
    this.root.classList.toggle("maps", asMaps);
    this.tiles.forEach((tile) => this.dress(tile));
    this.redraw();
  }

  setLook(look) {
    Object.assign(this.look, look);
    this.tiles.forEach((tile) => this.dirty.add(tile));
    this.redraw();
  }

  setSize(size) {
    this.root.style.setProperty("--size", `${size}px`);
    this.tiles.forEach((tile) => this.dirty.add(tile));
    this.redraw();
  }

  // the map of a place that is drawn, and its variable
  chosenMap(place) {
    const entries = this.run.mapsOf(place);
    if (!entries) return {};
    const map = entries.find((e) => e.name === this.look.label) || entries[0];
    return { map, variable: variableOf(map, this.look.variable) };
  }

  // colours of all maps that are here, if they have the same
  commonScale() {
    const name = this.look.variable, variables = [];
    for (const place of this.run.places) {
      const { variable } = this.chosenMap(place);
      if (variable && variable.name === name) variables.push(variable);
    }
    return variables.length ? scaleOf(variables, this.look.log) : null;
  }

  // tiles in sight whose maps are not here
  wanted() {
    if (!this.asMaps) return [];
    return [...this.seen].filter((t) => !t.hidden).map((t) => t.place).filter((p) => this.run.shown(p) && !this.run.mapsOf(p));
  }

  arrived(places) {
    for (const place of places) this.dirty.add(this.tiles[place.number]);
    const limits = JSON.stringify(this.limitsOf(this.commonScale()));
    if (this.look.common && limits !== this.limits) this.tiles.forEach((tile) => this.dirty.add(tile));
    this.limits = limits;
    this.redraw();
  }

  limitsOf(scale) { return scale && [scale.low, scale.high]; }

  redraw() {
    if (this.drawing || !this.asMaps) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = null;
      const scale = this.look.common ? this.commonScale() : null;
      for (const tile of this.dirty) {
        if (!this.seen.has(tile)) continue;
        this.dirty.delete(tile);
        this.draw(tile, scale);
      }
    });
  }

  draw(tile, common) {
    const canvas = tile.querySelector("canvas");
    if (!canvas) return;
    const { map, variable } = this.chosenMap(tile.place), side = canvas.clientWidth, density = window.devicePixelRatio || 1;
    tile.querySelector(".none")?.remove();
    canvas.width = canvas.height = Math.max(1, Math.round(side * density));
    if (!map || map.note !== undefined) {
      const words = map ? map.note : { failed: "no map", running: "running …", waiting: "", "not run": "not run" }[tile.place.state] ?? "…";
      if (words) tile.append(element("span", "none", words));
      return;
    }
    const pen = canvas.getContext("2d");
    pen.scale(density, density);
    const room = 5;
    const scale = common && variable.name === this.look.variable ? common : scaleOf([variable], this.look.log);
    drawMap(pen, { x: room, y: room, width: side - 2 * room, height: side - 2 * room }, map, variable.name, scale);
    const words = `${STATES[tile.place.state][1]}, map of ${variable.name}${scale ? "" : " without values"}`;
    tile.setAttribute("aria-label", `${tile.place.file}, ${tile.place.region}: ${words}`);
  }

  scrolled(entries) {
    for (const entry of entries) {
      if (entry.isIntersecting) this.seen.add(entry.target);
      else this.seen.delete(entry.target);
    }
    this.redraw();
    this.onscroll?.();
  }

  chosen(target) {
    const tile = target.closest?.(".tile");
    if (tile) this.open(tile.place);
  }

  focused(target) {
    if (!target.classList.contains("tile")) return;
    for (const tile of this.root.querySelectorAll('.tile[tabindex="0"]')) tile.tabIndex = -1;
    target.tabIndex = 0;
  }

  // arrows go from tile to tile, up and down to the nearest one; Tab leaves
  moved(event) {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    const shown = this.tiles.filter((t) => !t.hidden), at = shown.indexOf(tile);
    let next = { ArrowRight: shown[at + 1], ArrowLeft: shown[at - 1], Home: shown[0], End: shown[shown.length - 1] }[event.key];
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const here = tile.getBoundingClientRect(), down = event.key === "ArrowDown";
      const rest = down ? shown.slice(at + 1) : shown.slice(0, Math.max(at, 0)).reverse();
      let line = null, best = Infinity;
      for (const other of rest) {
        const there = other.getBoundingClientRect();
        if (Math.abs(there.top - here.top) < 2) continue;
        if (line !== null && Math.abs(there.top - line) > 2) break;
        line = there.top;
        const away = Math.abs(there.left - here.left);
        if (away < best) { best = away; next = other; }
      }
    }
    if (!next) return;
    event.preventDefault();
    next.focus();
  }
}

export function element(tag, name = "", text = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  // as text: labels and messages are a person's
  if (text) made.textContent = text;
  return made;
}
