// One chart over time of the numbers in what a stream brings, drawn by uPlot.

/* global uPlot */

import { el, perFrame, setText } from "./dom.js";
import { figure, plain } from "./text.js";

// An hour at a sample every two seconds.
const POINTS_MAX = 1_800;
const SERIES_MAX = 8;
const DEPTH_MAX = 3;
const HEIGHT = 168;

// The numbers of a value by their names; a bare number has the name "".
export function numbers(value, prefix = "", depth = 0, found = new Map()) {
  if (typeof value === "number" || typeof value === "boolean") found.set(prefix, Number(value));
  else if (value !== null && typeof value === "object" && depth < DEPTH_MAX) {
    for (const [key, field] of Object.entries(value)) {
      if (found.size >= SERIES_MAX) break;
      numbers(field, prefix === "" ? key : `${prefix}.${key}`, depth + 1, found);
    }
  }
  return found;
}

const darkness = matchMedia("(prefers-color-scheme: dark)");

export class Chart {
  #root;
  #legend;
  #names = [];
  #figures = [];
  // Times in seconds, then one column a series.
  #columns = [[]];
  #plot = null;
  #steps = false;
  #resize = new ResizeObserver(() => this.#fit());
  #soon = perFrame(() => this.draw());
  #recolour = () => this.#build();

  constructor(root, legend) {
    this.#root = root;
    this.#legend = legend;
  }

  // Once it is on the page.
  open() {
    this.#resize.observe(this.#root);
    darkness.addEventListener("change", this.#recolour);
  }

  close() {
    this.#resize.disconnect();
    darkness.removeEventListener("change", this.#recolour);
    this.#plot?.destroy();
    this.#plot = null;
  }

  // Values hold until the next one, as those of events do.
  steps(steps) {
    if (this.#steps === steps) return;
    this.#steps = steps;
    this.#build();
  }

  // Whether there was anything to draw.
  push(time, value) {
    const found = numbers(value);
    if (found.size === 0) return false;
    const fresh = [...found.keys()].filter((name) => !this.#names.includes(name));
    for (const name of fresh.slice(0, SERIES_MAX - this.#names.length)) {
      this.#names.push(name);
      this.#columns.push(this.#columns[0].map(() => null));
    }
    this.#columns[0].push(time);
    this.#names.forEach((name, index) => this.#columns[index + 1].push(found.get(name) ?? null));
    if (this.#columns[0].length > POINTS_MAX) for (const column of this.#columns) column.shift();
    if (fresh.length > 0) this.#build();
    this.#names.forEach((name, index) => {
      if (found.has(name)) setText(this.#figures[index], figure(found.get(name)));
    });
    this.#soon();
    return true;
  }

  // The lines break here.
  gap() {
    const last = this.#columns[0].at(-1);
    if (last === undefined) return;
    this.#columns[0].push(last + 0.001);
    for (const column of this.#columns.slice(1)) column.push(null);
    this.#soon();
  }

  draw() {
    if (!this.#plot || document.hidden) return;
    this.#plot.setData(this.#columns);
  }

  #fit() {
    const width = this.#root.clientWidth;
    if (this.#plot && width > 0) this.#plot.setSize({ width, height: HEIGHT });
  }

  #build() {
    this.#plot?.destroy();
    this.#plot = null;
    if (this.#names.length === 0) return;
    const style = getComputedStyle(this.#root);
    const colour = (name) => style.getPropertyValue(name).trim();
    const hues = this.#names.map((_, index) => colour(`--series-${index + 1}`));
    const axis = {
      stroke: colour("--muted"),
      font: `11px ${style.fontFamily}`,
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { stroke: colour("--line"), width: 1, size: 4 },
    };
    const paths = this.#steps ? { paths: uPlot.paths.stepped({ align: 1 }) } : {};
    this.#plot = new uPlot({
      width: Math.max(1, this.#root.clientWidth),
      height: HEIGHT,
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { time: true }, y: { range: { min: { pad: 0.12 }, max: { pad: 0.12 } } } },
      axes: [
        { ...axis, space: 70, size: 28, values: clockValues },
        { ...axis, size: 52, space: 28 },
      ],
      series: [{}, ...hues.map((hue) => ({
        stroke: hue,
        width: 1.75,
        points: { show: (u) => u.data[0].length < 40, size: 5, fill: hue },
        ...paths,
      }))],
    }, this.#columns, this.#root);
    this.#names.forEach((_, index) => this.#legendEntry(index, hues[index]));
  }

  #legendEntry(index, hue) {
    let entry = this.#legend.children[index];
    if (!entry) {
      const number = el("b");
      this.#figures[index] = number;
      entry = el("li", {}, el("i", { "aria-hidden": "true" }), el("span", {}, plain(this.#names[index] || "value")), number);
      this.#legend.append(entry);
    }
    entry.firstChild.style.background = hue;
  }
}

const clockValues = (_, splits, _axis, _space, step) => splits.map((seconds) => {
  const date = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const minutes = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return step < 60 ? `${minutes}:${two(date.getSeconds())}` : minutes;
});
