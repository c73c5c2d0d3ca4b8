// The streams of one device over one WebSocket, each with a chart.

import { webSocket } from "./api.js";
import { Chart } from "./chart.js";
import { el, setAttribute, setHidden, setText } from "./dom.js";
import { clock, count, exact, json, plain } from "./text.js";

const EVENTS = "";
const INTERVALS = [
  [EVENTS, "on change"],
  ["1", "every 1 s"],
  ["2", "every 2 s"],
  ["5", "every 5 s"],
  ["10", "every 10 s"],
  ["60", "every minute"],
];
const WAIT_MAX_MS = 8_000;
const REMARKS_MAX = 5;

export class Streams {
  node;
  #path;
  #cards = new Map();
  #buttons = new Map();
  #list = el("div", { class: "charts" });
  #empty = el("p", { class: "muted" }, "Choose Stream beside a resource to follow it here.");
  #socket = null;
  #timer = null;
  #failures = 0;
  #closed = false;

  constructor(path) {
    this.#path = path;
    this.node = el("section", { class: "panel", "aria-labelledby": "streams-title" },
      el("div", { class: "panel-head" }, el("h3", { id: "streams-title" }, "Streams")),
      this.#empty, this.#list);
  }

  // The button of a resource; the same one stops it again.
  button(resource) {
    const button = el("button", { class: "small" }, "Stream");
    button.addEventListener("click", () => {
      if (this.#cards.has(resource)) this.#stop(resource);
      else this.#start(resource);
    });
    this.#buttons.set(resource, button);
    this.#press(resource);
    return button;
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
    for (const card of this.#cards.values()) card.chart.close();
  }

  tick() {
    for (const card of this.#cards.values()) card.tick();
  }

  #press(resource) {
    const button = this.#buttons.get(resource);
    if (!button) return;
    const on = this.#cards.has(resource);
    setAttribute(button, "aria-pressed", on);
    setText(button, on ? "Stop" : "Stream");
  }

  #start(resource) {
    const card = new Card(resource, {
      paced: () => this.#ask(card),
      stop: () => this.#stop(resource),
    });
    this.#cards.set(resource, card);
    this.#list.prepend(card.node);
    card.chart.open();
    setHidden(this.#empty, true);
    this.#press(resource);
    if (this.#socket) this.#ask(card);
    else this.#connect();
  }

  #stop(resource) {
    const card = this.#cards.get(resource);
    this.#cards.delete(resource);
    this.#send({ resource, enabled: false });
    card.chart.close();
    card.node.remove();
    setHidden(this.#empty, this.#cards.size > 0);
    this.#press(resource);
    if (this.#cards.size === 0) this.#socket?.close();
  }

  #ask(card) {
    const frame = { resource: card.resource, enabled: true };
    if (card.interval !== EVENTS) frame.interval = Number(card.interval);
    this.#send(frame);
  }

  #send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  async #connect() {
    this.#timer = null;
    try {
      const socket = await webSocket(`${this.#path}/resources`);
      if (this.#closed) return socket.close();
      this.#socket = socket;
      socket.addEventListener("open", () => {
        this.#failures = 0;
        for (const card of this.#cards.values()) this.#ask(card);
      });
      socket.addEventListener("message", ({ data }) => this.#take(JSON.parse(data)));
      socket.addEventListener("close", () => this.#lost("the gateway was lost"));
    } catch (error) {
      this.#lost(error.message);
    }
    return undefined;
  }

  #lost(text) {
    this.#socket = null;
    if (this.#closed || this.#cards.size === 0) return;
    if (this.#failures === 0) for (const card of this.#cards.values()) card.gap(text);
    const wait = Math.min(WAIT_MAX_MS, 500 * 2 ** this.#failures);
    this.#failures += 1;
    this.#timer ??= setTimeout(() => this.#connect(), wait);
  }

  #take(frame) {
    const card = this.#cards.get(frame.resource);
    if (!card) return;
    if (frame.lost) card.remark(`${count(frame.lost)} lost: this page was too slow`);
    if (frame.signal === "start") card.started();
    else if (frame.signal === "stop") card.gap(frame.reason?.replaceAll("_", " ") ?? "nothing comes for now");
    else if (frame.signal === "error") card.failed(frame.reason ?? "the device refused");
    else card.data(frame.payload, frame.ts ?? Date.now());
  }
}

class Card {
  node;
  chart;
  resource;
  interval = "2";
  #state = el("span", { class: "stream-state", role: "status" }, "asking…");
  #points = el("span", { class: "points" }, "0 points");
  #value = el("pre", { class: "value" });
  #remarks = el("ul", { class: "remarks", "aria-live": "polite" });
  #last = null;
  #number = 0;

  constructor(resource, { paced, stop }) {
    this.resource = resource;
    const pace = el("select", { "aria-label": `Interval of ${plain(resource)}` },
      ...INTERVALS.map(([value, word]) => el("option", { value, selected: value === this.interval }, word)));
    pace.addEventListener("change", () => {
      this.interval = pace.value;
      this.chart.steps(pace.value === EVENTS);
      paced();
    });
    const plot = el("div", { class: "plot" });
    const legend = el("ul", { class: "legend" });
    this.chart = new Chart(plot, legend);
    this.node = el("article", { class: "stream", "data-points": "0" },
      el("div", { class: "line" }, el("strong", {}, plain(resource)), this.#state, this.#points,
        el("div", { class: "do" }, pace, el("button", { class: "small", onclick: stop, "aria-label": `Stop ${plain(resource)}` }, "Stop"))),
      legend, plot, this.#value, this.#remarks);
  }

  started() {
    this.#say("live");
  }

  data(value, unixMs) {
    this.#number += 1;
    this.#last = unixMs;
    if (this.node.dataset.state !== "live") this.#say("live");
    setText(this.#points, `${count(this.#number)} ${this.#number === 1 ? "point" : "points"}`);
    setAttribute(this.node, "data-points", this.#number);
    const drawn = this.chart.push(this.#last / 1000, value);
    setHidden(this.#value, drawn);
    if (!drawn) setText(this.#value, json(value, 2));
  }

  gap(text) {
    this.chart.gap();
    this.#say("waiting");
    this.remark(text);
  }

  failed(text) {
    this.#say("refused");
    this.remark(text);
  }

  remark(text) {
    const now = Date.now();
    this.#remarks.append(el("li", {}, `${clock(now)} ${plain(text)}`));
    while (this.#remarks.children.length > REMARKS_MAX) this.#remarks.firstChild.remove();
  }

  tick() {
    setAttribute(this.#points, "title", this.#last ? `Last at ${exact(this.#last)}` : null);
  }

  #say(state) {
    setAttribute(this.node, "data-state", state);
    setText(this.#state, state);
  }
}
