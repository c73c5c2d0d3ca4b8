// The last events, newest first.

import { byId, el, perFrame, setHidden } from "./dom.js";
import { groupOf, wordOf } from "./status.js";
import { routeOf } from "./table.js";
import { causeText, clock, count, exact } from "./text.js";

const EVENTS_MAX = 500;

const WHAT = {
  added: "added",
  removed: "removed",
  refused: "pending",
  approved: "approved",
  denied: "refused",
};

export class Events {
  #fleet;
  #kept = [];
  #fresh = [];
  #flush = perFrame(() => this.#show());

  constructor(fleet) {
    this.#fleet = fleet;
    byId("events-filter").addEventListener("input", () => this.#filter());
  }

  add(event) {
    this.#push({ event, device: this.#fleet.devices.get(event.device) });
  }

  // A line that is no event of the gateway.
  note(text) {
    this.#push({ text });
  }

  #push(entry) {
    this.#fresh.push(entry);
    if (this.#fresh.length > EVENTS_MAX) this.#fresh.shift();
    this.#flush();
  }

  #show() {
    const wanted = byId("events-filter").value.trim().toLowerCase();
    const lines = this.#fresh.map((entry) => this.#line(entry)).reverse();
    this.#fresh = [];
    for (const line of lines) setHidden(line, !line.textContent.toLowerCase().includes(wanted));
    const feed = byId("feed");
    // Who has scrolled down reads: what is in sight stays where it is.
    const scrolled = feed.scrollTop > 4;
    const before = feed.scrollHeight;
    feed.prepend(...lines);
    if (scrolled) feed.scrollTop += feed.scrollHeight - before;
    this.#kept = [...lines, ...this.#kept];
    for (const line of this.#kept.splice(EVENTS_MAX)) line.remove();
    setHidden(byId("feed-empty"), this.#kept.length > 0);
  }

  #filter() {
    const wanted = byId("events-filter").value.trim().toLowerCase();
    for (const line of this.#kept) setHidden(line, !line.textContent.toLowerCase().includes(wanted));
  }

  #line({ event, device, text }) {
    if (text) return el("li", { class: "remark" }, text);
    const told = event.change === "changed" || event.change === "added"
      ? wordOf(event.new) : WHAT[event.change] ?? event.change;
    const cause = causeText(event.cause);
    const missed = event.conflated ? ` (and ${event.conflated} before it)` : "";
    const node = device
      ? el("a", { href: routeOf(device), class: "name" }, device.shownName)
      : el("span", { class: "name" }, String(event.device));
    return el("li", { "data-group": groupOf(event.new), "data-number": event.number },
      el("time", { title: exact(event.unix_ms) }, clock(event.unix_ms)),
      el("i", { class: "glyph", "aria-hidden": "true" }),
      node,
      el("span", { class: "told" }, told + missed),
      el("span", { class: "cause", title: cause || null }, cause),
      el("small", { title: "Number of the event" }, count(event.number)));
  }
}
