// Maps as the page is given them: decoded, given colours, drawn.

const STOPS = {
  viridis: "44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde725",
  cividis: "00224e002e6a1a386f32436d434e6c535a6d61656f6f70737d7c788c88789b9476aba072bcae6ccdbb63dec958f0d846fee838",
  signed: "0530611752902a71b23f8ec06bacd19bc9e0c2ddece0ecf3f7f6f6fbe5d8fbccb4f5aa89e48066d05548ba2832930e2667001f",
};
const tables = {};

// 256 colours between the stops
function colours(name) {
  if (tables[name]) return tables[name];
  const stops = STOPS[name].match(/.{6}/g).map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  return (tables[name] = Array.from({ length: 256 }, (_, k) => {
    const at = (k / 255) * (stops.length - 1), i = Math.min(Math.floor(at), stops.length - 2), rest = at - i;
    return `rgb(${stops[i].map((v, j) => Math.round(v + (stops[i + 1][j] - v) * rest)).join(" ")})`;
  }));
}

function unpack(text, kind) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new kind(bytes.buffer);
}

// one map, with its arrays; what is too large to be shown has a note only
export function decode(entry) {
  if (entry.note !== undefined) return entry;
  const map = { ...entry, sizes: unpack(entry.sizes, Uint16Array), points: unpack(entry.points, Uint16Array) };
  map.starts = new Uint32Array(map.sizes.length + 1);
  map.sizes.forEach((size, i) => (map.starts[i + 1] = map.starts[i] + size));
  map.variables = entry.variables.map((v) => ({
    ...v,
    values: unpack(v.values, Float32Array),
    errors: v.errors ? unpack(v.errors, Float32Array) : null,
    vectors: v.vectors ? unpack(v.vectors, Float32Array) : null,
  }));
  return map;
}

export function variableOf(map, name) {
  return map.variables ? map.variables.find((v) => v.name === name) || map.variables[0] : null;
}

const usable = (value, log) => Number.isFinite(value) && (!log || value > 0);

function quantile(sorted, q) {
  return sorted[Math.round(q * (sorted.length - 1))];
}

// limits of the colours for a variable of one or many maps; single outliers do not set them
export function scaleOf(variables, log) {
  const signed = variables.some((v) => v.signed);
  log = log && !signed;
  let low = Infinity, high = -Infinity, below = false, above = false;
  for (const v of variables) {
    const key = log ? "positive" : "finite";
    v.limits ??= {};
    if (!v.limits[key]) {
      const sorted = Float32Array.from(v.values).filter((x) => usable(x, log)).sort();
      v.limits[key] = sorted.length
        ? { low: quantile(sorted, 0.01), high: quantile(sorted, 0.99), least: sorted[0], most: sorted[sorted.length - 1] }
        : null;
    }
    const found = v.limits[key];
    if (!found) continue;
    low = Math.min(low, found.low);
    high = Math.max(high, found.high);
  }
  if (!(high >= low)) return null;
  if (signed) { high = Math.max(Math.abs(low), Math.abs(high)); low = -high; }
  if (high <= low) { const around = Math.abs(low) * 0.1 || 1; high = low + around; low -= log ? 0 : around; }
  for (const v of variables) {
    const found = v.limits[log ? "positive" : "finite"];
    if (found) { below ||= found.least < low; above ||= found.most > high; }
  }
  const name = variables[0].name;
  const table = signed ? "signed" : ["potential", "n", "density"].includes(name) ? "cividis" : "viridis";
  return { low, high, log, below, above, table: colours(table) };
}

function colourOf(value, scale) {
  if (!usable(value, scale.log)) return null;
  const part = scale.log
    ? Math.log(value / scale.low) / Math.log(scale.high / scale.low)
    : (value - scale.low) / (scale.high - scale.low);
  return scale.table[Math.max(0, Math.min(255, Math.round(part * 255)))];
}

export function drawScale(canvas, scale) {
  const pen = canvas.getContext("2d"), width = canvas.width;
  for (let x = 0; x < width; x++) {
    pen.fillStyle = scale.table[Math.round((x / (width - 1)) * 255)];
    pen.fillRect(x, 0, 1, canvas.height);
  }
}

export function short(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(1).replace("-", "−").replace("e+", "e");
  return String(+value.toPrecision(3)).replace("-", "−");
}

// where the cells are in a rectangle of the canvas, keeping their proportions; y points up
function placed(map, box) {
  const [width, height] = map.size, factor = Math.min(box.width / (width || 1e-9), box.height / (height || 1e-9));
  const left = box.x + (box.width - width * factor) / 2, bottom = box.y + box.height - (box.height - height * factor) / 2;
  return {
    factor, left, bottom, width: width * factor, height: height * factor,
    x: (grid) => left + grid * map.step * factor,
    y: (grid) => bottom - grid * map.step * factor,
  };
}

function outline(map, at, i) {
  const path = new Path2D();
  if (map.sizes.length) {
    if (map.sizes[i] < 3) return path;
    for (let k = map.starts[i]; k < map.starts[i + 1]; k++) path.lineTo(at.x(map.points[2 * k]), at.y(map.points[2 * k + 1]));
    path.closePath();
  } else {
    // without outlines, cells are dots of about their distance
    const radius = Math.max(1.2, 0.35 * Math.sqrt((at.width * at.height) / Math.max(1, map.cells)));
    path.arc(at.x(map.points[2 * i]), at.y(map.points[2 * i + 1]), radius, 0, 7);
  }
  return path;
}

function middle(map, at, i) {
  if (!map.sizes.length) return [at.x(map.points[2 * i]), at.y(map.points[2 * i + 1])];
  let x = 0, y = 0;
  for (let k = map.starts[i]; k < map.starts[i + 1]; k++) { x += map.points[2 * k]; y += map.points[2 * k + 1]; }
  return [at.x(x / map.sizes[i]), at.y(y / map.sizes[i])];
}

// fill the cells; returns their outlines for looking up what is under the pointer
export function drawMap(pen, box, map, name, scale, { arrows = false, blank = "#8886" } = {}) {
  const at = placed(map, box), variable = variableOf(map, name), paths = [];
  pen.lineWidth = 0.6;
  for (let i = 0; i < map.cells; i++) {
    const path = outline(map, at, i), colour = scale && colourOf(variable.values[i], scale);
    paths.push(path);
    if (colour) {
      pen.fillStyle = pen.strokeStyle = colour;
      pen.fill(path);
      pen.stroke(path);
    } else {
      pen.strokeStyle = blank;
      pen.stroke(path);
    }
  }
  if (arrows && variable.vectors) drawArrows(pen, map, at, variable);
  return { paths, at };
}

function drawArrows(pen, map, at, variable) {
  const lengths = Float32Array.from(variable.values).filter(Number.isFinite).sort();
  const most = lengths.length ? quantile(lengths, 0.95) : 0;
  if (!(most > 0)) return;
  const reach = 0.8 * Math.sqrt((at.width * at.height) / map.cells);
  pen.strokeStyle = pen.fillStyle = "#fff";
  pen.shadowColor = "#000";
  pen.shadowBlur = 2;
  pen.lineWidth = 1.4;
  for (let i = 0; i < map.cells; i++) {
    const u = variable.vectors[2 * i], v = variable.vectors[2 * i + 1], size = Math.hypot(u, v);
    if (!(size > 0)) continue;
    const length = reach * Math.min(1, size / most), [x, y] = middle(map, at, i), dx = (u / size) * length, dy = (-v / size) * length;
    const tip = Math.min(5, length * 0.45), turn = Math.atan2(dy, dx);
    pen.beginPath();
    pen.moveTo(x - dx / 2, y - dy / 2);
    pen.lineTo(x + dx / 2, y + dy / 2);
    for (const side of [2.6, -2.6]) {
      pen.moveTo(x + dx / 2, y + dy / 2);
      pen.lineTo(x + dx / 2 + tip * Math.cos(turn + side), y + dy / 2 + tip * Math.sin(turn + side));
    }
    pen.stroke();
  }
  pen.shadowBlur = 0;
}

function ticks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= raw), found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(k * step);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

// the enlarged map, with axes in µm and a bar of colours
export function drawLarge(canvas, map, name, scale, ink, soft) {
  const density = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * density;
  canvas.height = height * density;
  const pen = canvas.getContext("2d");
  pen.scale(density, density);
  pen.font = "12px system-ui, sans-serif";
  const drawn = drawMap(pen, { x: 56, y: 12, width: width - 160, height: height - 58 }, map, name, scale, { arrows: true });
  const at = drawn.at;
  pen.strokeStyle = soft;
  pen.fillStyle = ink;
  pen.lineWidth = 1;
  const digits = (value, n) => value.toFixed(n).replace("-", "−");
  const across = ticks(map.low[0], map.low[0] + map.size[0], at.width / 70), up = ticks(map.low[1], map.low[1] + map.size[1], at.height / 55);
  pen.beginPath();
  pen.textAlign = "center";
  for (const value of across.found) {
    const x = at.left + (value - map.low[0]) * at.factor;
    pen.moveTo(x, at.bottom + 4);
    pen.lineTo(x, at.bottom + 9);
    pen.fillText(digits(value, across.digits), x, at.bottom + 22);
  }
  pen.fillText("x (µm)", at.left + at.width / 2, at.bottom + 38);
  pen.textAlign = "right";
  for (const value of up.found) {
    const y = at.bottom - (value - map.low[1]) * at.factor;
    pen.moveTo(at.left - 4, y);
    pen.lineTo(at.left - 9, y);
    pen.fillText(digits(value, up.digits), at.left - 12, y + 4);
  }
  pen.stroke();
  pen.save();
  pen.translate(at.left - 44, at.bottom - at.height / 2);
  pen.rotate(-Math.PI / 2);
  pen.textAlign = "center";
  pen.fillText("y (µm)", 0, 0);
  pen.restore();
  if (scale) drawBar(pen, at, scale, variableOf(map, name).label, ink);
  return { ...drawn, density };
}

function drawBar(pen, at, scale, label, ink) {
  const x = at.left + at.width + 18, top = at.bottom - at.height, count = 64;
  for (let k = 0; k < count; k++) {
    pen.fillStyle = scale.table[Math.round((k / (count - 1)) * 255)];
    pen.fillRect(x, at.bottom - ((k + 1) * at.height) / count - 0.5, 14, at.height / count + 1);
  }
  pen.fillStyle = ink;
  pen.textAlign = "left";
  for (let k = 0; k <= 4; k++) {
    const part = k / 4, value = scale.log ? scale.low * (scale.high / scale.low) ** part : scale.low + (scale.high - scale.low) * part;
    const sign = k === 0 && scale.below ? "≤ " : k === 4 && scale.above ? "≥ " : "";
    pen.fillText(sign + short(value), x + 20, at.bottom - part * at.height + (k === 0 ? 0 : k === 4 ? 9 : 4));
  }
  pen.save();
  pen.translate(x + 78, top + at.height / 2);
  pen.rotate(-Math.PI / 2);
  pen.textAlign = "center";
  pen.fillText(label, 0, 0);
  pen.restore();
}

