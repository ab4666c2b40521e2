// The live page: asks the scheduler once per second what is new, while it is looked at.

import { drawScale, short } from "./maps.js";
import { Large, choices } from "./large.js";
import { Run, STATES, classOf } from "./model.js";
import { Tiles, element } from "./tiles.js";

const EVERY = 1000;
const MANY = 300; // regions beyond which signs are shown first
const FAILURES_SHOWN = 50;
const find = (id) => document.getElementById(id);

let run = null, wish = "", newest = "", loading = false, looked = false, said = { at: 0, text: "", failed: 0 };
const tiles = new Tiles(find("tiles"), (place) => large.open(place));
const large = new Large(tiles);

async function poll() {
  let next = EVERY;
  try {
    await step();
    trouble(run && !run.told.connected && !run.over
      ? "The session that has started this run is not connected: what it has stored meanwhile is not known here."
      : "");
  } catch (error) {
    next = 4 * EVERY;
    trouble("The scheduler does not answer: the cluster has ended, or the connection to it is interrupted. This is the last state that was seen.");
  }
  setTimeout(poll, document.hidden ? 10 * EVERY : next);
}

async function step() {
  const name = wish || run?.name || "";
  const answer = await fetch(`tramway/state?run=${name}&since=${run && run.name === name ? run.version : -1}`);
  if (!answer.ok) throw new Error(`${answer.status}`);
  const told = await answer.json();
  if (!told.run) return null;
  const last = told.runs[told.runs.length - 1][0];
  // a new run is shown when it begins, unless another one was chosen
  if (last !== newest) {
    const first = newest === "";
    newest = last;
    if (!first && last !== told.run) { wish = ""; run = null; return step(); }
  }
  // an answer that another choice of run has overtaken
  if (!told.about && told.run !== run?.name) return null;
  listRuns(told);
  if (told.about) {
    run = new Run(told.run, told.about);
    run.take(told);
    ["choose-label", "choose-variable", "scale"].forEach((id) => (find(id).hidden = true));
    find("overview").hidden = false;
    tiles.show(run);
    if (!looked) setView(run.places.length <= MANY);
  } else {
    const changed = run.take(told);
    tiles.changed(changed);
    if (changed.includes(large.place)) large.update();
  }
  summary();
  legend();
  failures();
  load();
  return run;
}

// maps of what is in sight, a few at a time
async function load() {
  if (loading || !run || document.hidden) return;
  loading = true;
  try {
    for (let wanted = tiles.wanted(); wanted.length; wanted = tiles.wanted()) {
      const { came, missing } = await run.fetch(wanted);
      if (came.length) { tiles.arrived(came); offer(); }
      if (missing || !came.length) break;
    }
  } catch (error) {
    // the next look says that nobody answers
  } finally {
    loading = false;
  }
}
tiles.onscroll = load;

function listRuns(told) {
  const pairs = told.runs.map(([name, title, began]) => [name, `${title}, ${new Date(1000 * began).toLocaleTimeString("en-GB")}`]);
  choices(find("run"), pairs, told.run);
  find("choose-run").hidden = pairs.length < 2;
}

// variables and labels that the maps in sight have
function offer() {
  const names = new Map(), labels = new Set();
  for (const entries of run.maps.values()) for (const entry of entries.get(0) || []) {
    labels.add(entry.name);
    for (const v of entry.variables || []) names.set(v.name, v.label);
  }
  if (!names.size) return;
  const label = labels.has(tiles.look.label) ? tiles.look.label : [...labels][0];
  const variable = names.has(tiles.look.variable) ? tiles.look.variable : [...names.keys()][0];
  choices(find("label"), [...labels].map((l) => [l, l]), label);
  choices(find("variable"), [...names], variable);
  find("choose-label").hidden = labels.size < 2;
  find("choose-variable").hidden = false;
  if (label !== tiles.look.label || variable !== tiles.look.variable) tiles.setLook({ label, variable });
  showScale();
}

function showScale() {
  const scale = tiles.look.common && tiles.asMaps && run ? tiles.commonScale() : null;
  find("scale").hidden = !scale;
  if (!scale) return;
  drawScale(find("colours"), scale);
  find("low").textContent = (scale.below ? "≤ " : "") + short(scale.low);
  find("high").textContent = (scale.above ? "≥ " : "") + short(scale.high);
}

function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

function put(id, text, small = "") {
  const key = `${text}|${small}`;
  if (find(id).dataset.has === key) return;
  find(id).dataset.has = key;
  find(id).replaceChildren(text, small && " ", element("small", "", small));
}

function summary() {
  const { todo, ended, before } = run.progress(), told = run.told, failed = run.count(["failed"]), rate = run.rate();
  const left = todo - ended, number = (n) => n.toLocaleString("en");
  if (find("title").textContent !== run.title) { find("title").textContent = run.title; document.title = `${run.title} · TRamWAy live`; }
  const began = new Date(1000 * run.began).toLocaleTimeString("en-GB");
  const how = run.over ? (told.how === "stopped" ? "stopped before its end" : "finished") : "running";
  put("state", `${how}; began at ${began}${before ? `, ${number(before)} units were done before` : ""}`);
  put("ended", `${number(ended)} of ${number(todo)}`, failed ? `${number(failed)} failed` : "");
  put("rate", ended ? `${short(rate)} units/s` : "–");
  put("remaining", run.over ? "–" : left === 0 ? "0 s" : rate > 0 ? `about ${duration(left / rate)}` : "–");
  put("elapsed", duration(told.elapsed));
  put("workers", number(told.workers), told.threads !== told.workers ? `${number(told.threads)} threads` : "");
  bar();
  pace();
  say(`${run.title}: ${ended} of ${todo} units have ended, ${failed} failed` + (run.over ? `; the run has ${told.how === "stopped" ? "stopped" : "finished"}.` : rate > 0 && left ? `; about ${duration(left / rate)} remaining.` : "."), failed);
}

// read out now and then, at once when something fails or the run ends
function say(text, failed) {
  const now = Date.now(), soon = failed > said.failed || run.over;
  if (text === said.text || (now - said.at < (soon ? 2000 : 20000))) return;
  said = { at: now, text, failed };
  find("said").textContent = text;
}

function bar() {
  const box = find("bar"), total = run.units.length, { todo, ended } = run.progress();
  for (const state of ["done before", "done", "flagged", "failed", "computed", "running"]) {
    let part = box.querySelector(`.${classOf(state)}`);
    if (!part) { part = element("i", classOf(state)); box.append(part); }
    part.style.width = `${(100 * run.count([state])) / Math.max(1, total)}%`;
  }
  box.setAttribute("aria-valuemax", todo);
  box.setAttribute("aria-valuenow", ended);
  box.setAttribute("aria-valuetext", `${ended} of ${todo} units have ended`);
}

function pace() {
  const figure = find("pace").querySelector("svg"), count = 48, span = Math.max(run.told.elapsed, 1), bins = new Array(count).fill(0);
  for (const t of run.ends) bins[Math.min(count - 1, Math.floor((t / span) * count))]++;
  const most = Math.max(1, ...bins);
  if (figure.children.length !== count) {
    figure.replaceChildren(...bins.map((_, i) => {
      const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      rect.setAttribute("x", i * 5);
      rect.setAttribute("width", 4);
      return rect;
    }));
  }
  bins.forEach((n, i) => {
    figure.children[i].setAttribute("y", 44 - (44 * n) / most);
    figure.children[i].setAttribute("height", (44 * n) / most);
  });
  figure.setAttribute("aria-label", `${run.ends.length} units ended in ${duration(run.told.elapsed)}`);
}

function legend() {
  const box = find("legend"), counts = {};
  for (const place of run.places) counts[place.state] = (counts[place.state] || 0) + 1;
  for (const [state, [sign, words]] of Object.entries(STATES)) {
    let button = box.querySelector(`[data-state="${state}"]`);
    if (!button) {
      button = element("button");
      button.dataset.state = state;
      button.setAttribute("aria-pressed", "false");
      const mark = element("span", `mark ${classOf(state)}`, sign);
      mark.setAttribute("aria-hidden", "true");
      button.append(mark, element("span"));
      button.addEventListener("click", () => filter(tiles.only === state ? null : state));
      box.append(button);
    }
    const text = `${(counts[state] || 0).toLocaleString("en")} ${words}`;
    if (button.lastChild.textContent !== text) button.lastChild.textContent = text;
    button.hidden = !counts[state] && tiles.only !== state;
  }
  find("empty").hidden = !tiles.none;
}

function filter(state) {
  tiles.filter(state);
  for (const button of find("legend").children) button.setAttribute("aria-pressed", String(button.dataset.state === state));
  legend();
}

function failures() {
  const groups = run.failures(), key = groups.map(([m, units]) => units.length + m).join("\n");
  const list = find("failure-list");
  find("failures").hidden = !groups.length;
  if (list.dataset.has === `${run.name}${key}`) return;
  list.dataset.has = `${run.name}${key}`;
  const open = new Set([...list.querySelectorAll("details[open]")].map((d) => d.message));
  const total = groups.reduce((n, [, units]) => n + units.length, 0);
  find("failures-title").textContent = total === 1 ? "1 unit has failed" : `${total.toLocaleString("en")} units have failed`;
  list.replaceChildren(...groups.slice(0, FAILURES_SHOWN).map(([message, units]) => failure(message, units, open.has(message))));
  if (groups.length > FAILURES_SHOWN) list.append(element("p", "", `and ${groups.length - FAILURES_SHOWN} other messages`));
}

function failure(message, units, open) {
  const box = element("details"), head = element("summary"), list = element("ul");
  box.message = message;
  box.open = open;
  head.append(element("span", "count", String(units.length)), message.split("\n")[0]);
  box.append(head);
  for (const unit of units.slice(0, FAILURES_SHOWN)) {
    const item = element("li"), link = element("button", "", `${unit.place.file}, ${unit.place.region}`);
    link.addEventListener("click", () => large.open(unit.place));
    item.append(link, ` (${run.stages[unit.stage]}${unit.end?.host ? `, ${unit.end.host.split(":")[0]}` : ""})`);
    list.append(item);
  }
  if (units.length > FAILURES_SHOWN) list.append(element("li", "", `and ${units.length - FAILURES_SHOWN} more`));
  box.append(list);
  if (units[0].end?.traceback) box.append(element("pre", "", units[0].end.traceback));
  return box;
}

function trouble(text) {
  if (find("trouble").textContent !== text) find("trouble").textContent = text;
  find("trouble").hidden = !text;
}

function setView(asMaps) {
  find("as-maps").setAttribute("aria-pressed", String(asMaps));
  find("as-status").setAttribute("aria-pressed", String(!asMaps));
  document.querySelectorAll(".for-maps").forEach((part) => (part.hidden = !asMaps));
  tiles.setView(asMaps);
  if (run) offer();
  load();
}

find("as-maps").addEventListener("click", () => { looked = true; setView(true); });
find("as-status").addEventListener("click", () => { looked = true; setView(false); });
find("variable").addEventListener("change", () => { tiles.setLook({ variable: find("variable").value }); showScale(); });
find("label").addEventListener("change", () => { tiles.setLook({ label: find("label").value }); showScale(); });
find("log").addEventListener("change", () => { tiles.setLook({ log: find("log").checked }); showScale(); });
find("common").addEventListener("change", () => { tiles.setLook({ common: find("common").checked }); showScale(); });
find("size").addEventListener("input", () => tiles.setSize(find("size").value));
find("run").addEventListener("change", () => { wish = find("run").value; run = null; step().catch(() => {}); });
document.addEventListener("visibilitychange", () => { if (!document.hidden && run) step().catch(() => {}); });
tiles.root.style.setProperty("--size", `${find("size").value}px`);
poll();
