// What the page knows of a run: units, their places (a region of a file), their maps.

import { decode } from "./maps.js";

// state of a place: sign and words, as colours are not seen by everybody
export const STATES = {
  failed: ["✕", "failed"],
  flagged: ["!", "done, flagged"],
  running: ["▶", "running"],
  computed: ["◐", "computed, not stored yet"],
  waiting: ["·", "waiting"],
  "not run": ["–", "not run"],
  done: ["✓", "done"],
  "done before": ["✓", "done before"],
};
export const classOf = (state) => ({ "not run": "notrun", "done before": "before" })[state] || state;
const ENDED = new Set(["done", "done before", "flagged", "failed"]);
const MAPPED = new Set(["done", "done before", "flagged"]);
const AT_ONCE = 24;

export class Run {
  constructor(name, about) {
    this.name = name;
    this.title = about.title;
    this.began = about.began;
    this.stages = about.stages;
    this.version = -1;
    this.ends = [];
    this.units = about.units.map(([source, region, stage, told], i) => ({ i, source, region, stage, told, state: told, end: null }));
    const places = new Map();
    for (const unit of this.units) {
      const key = `${unit.source}/${unit.region}`;
      if (!places.has(key)) {
        const file = about.sources[unit.source] || "all files", region = unit.region || "whole field";
        places.set(key, { number: places.size, file, region, source: unit.source, units: [], state: "" });
      }
      unit.place = places.get(key);
      unit.place.units.push(unit);
    }
    this.places = [...places.values()];
    this.files = groups(this.places);
    this.maps = new Map();
    this.without = new Set();
  }

  // take an answer of the scheduler; returns the places whose state has changed
  take(told) {
    this.version = told.version;
    this.told = told;
    for (const [i, state, seconds, host, after, words] of told.changes) {
      const unit = this.units[i];
      if (!unit.end && after > 0) this.ends.push(after);
      unit.told = state;
      unit.end = { seconds, host, after, message: words[0] || "", traceback: words[1] || "" };
      if (this.maps.delete(i)) this.without.delete(i);
    }
    const now = new Map();
    for (const state of ["running", "computed", "not run"]) for (const i of told[state]) now.set(i, state);
    const changed = [];
    for (const unit of this.units) unit.state = now.get(unit.i) || unit.told;
    for (const place of this.places) {
      const state = together(place.units.map((u) => u.state));
      if (state !== place.state) { place.state = state; changed.push(place); }
    }
    return changed;
  }

  get over() { return this.told.ended !== null; }

  count(states) { return this.units.filter((u) => states.includes(u.state)).length; }

  // units that this run has to do, and those that have ended
  progress() {
    const todo = this.units.filter((u) => u.told !== "done before");
    return { todo: todo.length, ended: todo.filter((u) => ENDED.has(u.told)).length, before: this.units.length - todo.length };
  }

  // units per second, lately: of the last half minute, or of the last twenty units if these are slow
  rate() {
    const ends = this.ends.sort((a, b) => a - b), now = this.told.elapsed;
    if (!ends.length) return 0;
    if (this.over) return ends.length / Math.max(now, 1e-3);
    const span = Math.min(now, Math.max(30, now - ends[Math.max(0, ends.length - 20)]));
    return ends.filter((t) => t > now - span).length / Math.max(span, 1e-3);
  }

  // the unit whose maps show a place: of the latest stage that has any
  shown(place) {
    return [...place.units].reverse().find((u) => MAPPED.has(u.told) && !this.without.has(u.i));
  }

  mapsOf(place, segment = 0) {
    const unit = this.shown(place);
    return unit && this.maps.get(unit.i)?.get(segment);
  }

  // ask for the maps of places; returns those that came, and whether any was missing
  async fetch(places, segment = 0) {
    const wanted = new Map();
    for (const place of places) {
      const unit = this.shown(place);
      if (unit && !this.maps.get(unit.i)?.has(segment) && wanted.size < AT_ONCE) wanted.set(unit.i, place);
    }
    if (!wanted.size) return { came: [], missing: false };
    const answer = await fetch(`tramway/maps?run=${this.name}&segment=${segment}&units=${[...wanted.keys()].join(",")}`);
    if (!answer.ok) return { came: [], missing: true };
    const told = await answer.json(), came = [];
    for (const [i, entries] of Object.entries(told)) {
      if (!entries.length) this.without.add(+i);
      else {
        if (!this.maps.has(+i)) this.maps.set(+i, new Map());
        this.maps.get(+i).set(segment, entries.map(decode));
      }
      came.push(wanted.get(+i));
    }
    return { came, missing: came.length < wanted.size };
  }

  failures() {
    const groups = new Map();
    for (const unit of this.units) {
      if (unit.told !== "failed") continue;
      const message = unit.end?.message || "";
      if (!groups.has(message)) groups.set(message, []);
      groups.get(message).push(unit);
    }
    return [...groups.entries()].sort((a, b) => b[1].length - a[1].length);
  }
}

function together(states) {
  for (const state of ["failed", "running", "computed"]) if (states.includes(state)) return state;
  if (states.every((s) => s === "done before")) return "done before";
  if (states.every((s) => MAPPED.has(s))) return states.includes("flagged") ? "flagged" : "done";
  return states.includes("waiting") ? "waiting" : "not run";
}

function groups(places) {
  const found = new Map();
  for (const place of places) {
    if (!found.has(place.source)) found.set(place.source, []);
    found.get(place.source).push(place);
  }
  return [...found.values()];
}
