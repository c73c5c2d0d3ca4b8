// The table of the fleet: only the rows in sight are on the page, and only what changed is touched.

import { allow, el, isOff, setAttribute, setHidden, setText } from "./dom.js";
import { groupOf, wordOf } from "./status.js";
import { exact, span } from "./text.js";

const COLUMNS = [
  ["name", "Device"],
  ["owner", "Owner"],
  ["status", "Status"],
  ["link", "Link"],
  ["address", "Address"],
  ["since", "Since"],
  ["attempt", "Next try and cause"],
];
const OVERSCAN = 6;

export class Table {
  devices = [];
  #rows = new Map();
  #spare = [];
  #active = null;
  #sort = { key: "name", descending: false };
  #head;
  #body;
  #space;
  #grid;
  #empty;
  #heads = new Map();
  #on;
  #rowHeight = 36;

  // `on` has `open(device)`, `act(device, verb)`, `sort(sort)` and `refusal(verb)`, which says why
  // a verb is not allowed.
  constructor(root, on) {
    this.#on = on;
    this.#head = el("div", { class: "row head", role: "row", "aria-rowindex": "1" });
    for (const [key, title] of COLUMNS) this.#head.append(this.#headCell(key, title));
    this.#head.append(el("span", { role: "columnheader", class: "c-do" }, el("span", { class: "unseen" }, "Actions")));
    this.#space = el("div", { class: "space", role: "rowgroup" });
    this.#empty = el("div", { class: "empty", hidden: true });
    this.#body = el("div", { class: "body", role: "presentation" }, this.#space);
    this.#grid = el("div", {
      class: "grid", role: "grid", tabindex: "0", "aria-label": "Devices", "aria-colcount": COLUMNS.length + 1,
    }, el("div", { role: "rowgroup", class: "head-group" }, this.#head), this.#body);
    root.append(this.#grid, this.#empty);
    this.#body.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.#body);
    this.#grid.addEventListener("keydown", (event) => this.#key(event));
    this.#grid.addEventListener("focus", () => this.#focused());
    this.#showSort();
  }

  get sort() {
    return this.#sort;
  }

  focus() {
    this.#grid.focus();
  }

  // The devices to show, in order; the active row stays with its device.
  show(devices, emptyText) {
    this.devices = devices;
    setHidden(this.#empty, devices.length > 0);
    this.#empty.replaceChildren(...(devices.length > 0 ? [] : emptyText()));
    setAttribute(this.#grid, "aria-rowcount", devices.length + 1);
    this.draw();
  }

  // Brings the rows in sight up to date.
  draw(now = Date.now()) {
    const probe = parseFloat(getComputedStyle(this.#grid).getPropertyValue("--row"));
    if (probe !== this.#rowHeight) this.#rowHeight = probe;
    const height = `${this.devices.length * this.#rowHeight}px`;
    if (this.#space.style.height !== height) this.#space.style.height = height;
    const first = Math.max(0, Math.floor(this.#body.scrollTop / this.#rowHeight) - OVERSCAN);
    const fit = Math.ceil(this.#body.clientHeight / this.#rowHeight) + 2 * OVERSCAN;
    const wanted = this.devices.slice(first, first + fit);
    const ids = new Set(wanted.map((device) => device.id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      this.#rows.delete(id);
      this.#spare.push(row);
    }
    wanted.forEach((device, index) => this.#place(device, first + index, now));
    for (const row of this.#spare) setHidden(row.node, true);
    const active = this.#rows.get(this.#active);
    setAttribute(this.#grid, "aria-activedescendant", active ? active.node.id : null);
  }

  #place(device, index, now) {
    let row = this.#rows.get(device.id);
    if (!row) {
      row = this.#spare.pop() ?? this.#row();
      this.#rows.set(device.id, row);
      row.fill(device, true);
      setHidden(row.node, false);
    }
    if (row.index !== index) {
      row.index = index;
      row.node.style.transform = `translateY(${index * this.#rowHeight}px)`;
      setAttribute(row.node, "aria-rowindex", index + 2);
    } else if (row.height !== this.#rowHeight) {
      row.node.style.transform = `translateY(${index * this.#rowHeight}px)`;
    }
    row.height = this.#rowHeight;
    row.fill(device, false);
    row.tick(device, now);
    setAttribute(row.node, "aria-selected", device.id === this.#active ? "true" : "false");
    setAttribute(row.button, "tabindex", device.id === this.#active ? "0" : "-1");
  }

  #row() {
    const cell = (name, ...children) => el("span", { role: "gridcell", class: `c-${name}` }, ...children);
    const link = el("a", { tabindex: "-1" });
    const number = el("small");
    const glyph = el("i", { class: "glyph", "aria-hidden": "true" });
    const word = el("span");
    const owner = cell("owner");
    const status = cell("status", glyph, word);
    const linkCell = cell("link");
    const address = cell("address");
    const since = cell("since");
    const why = cell("why");
    const button = el("button", { class: "small", tabindex: "-1" });
    const node = el("div", { class: "row", role: "row", id: `row-${this.#rows.size + this.#spare.length}-${Math.random().toString(36).slice(2, 8)}` },
      cell("name", link, number), owner, status, linkCell, address, since, why, cell("do", button));
    this.#space.append(node);
    const row = { node, button, index: -1, height: 0, device: null };
    row.fill = (device, fresh) => {
      if (row.device === device) return this.#permit(row);
      if (fresh) disarm(button);
      row.device = device;
      const group = groupOf(device.status);
      setText(link, device.shownName);
      setAttribute(link, "href", routeOf(device));
      setText(number, device.name === String(device.id) ? "" : String(device.id));
      setText(owner, device.shownOwner || "–");
      setAttribute(node, "data-group", group);
      setText(word, wordOf(device.status));
      setAttribute(status, "title", device.status);
      setText(linkCell, device.link || "–");
      setText(address, device.address || "–");
      setAttribute(since, "title", exact(device.since));
      this.#permit(row);
    };
    row.tick = (device, now) => {
      setText(since, span(now - device.since));
      const text = whyText(device, now);
      setText(why, text);
      setAttribute(why, "title", device.nextTry ? `${text}\nNext try: ${exact(device.nextTry)}` : text || null);
    };
    node.addEventListener("click", (event) => {
      this.#activate(row.device.id);
      if (event.target.closest("button, a")) return;
      this.#grid.focus({ preventScroll: true });
    });
    node.addEventListener("dblclick", (event) => {
      if (!event.target.closest("button")) this.#on.open(row.device);
    });
    button.addEventListener("click", () => {
      if (isOff(button)) return;
      if (button.dataset.verb === "disconnect" && !armed(button)) return;
      this.#on.act(row.device, button.dataset.verb);
    });
    return row;
  }

  // What the row's button does, and whether it may.
  #permit(row) {
    const verb = groupOf(row.device.status) === "connected" ? "disconnect" : "retry";
    const { button } = row;
    if (button.dataset.verb !== verb) {
      disarm(button);
      button.dataset.verb = verb;
      setText(button, verb === "retry" ? "Retry now" : "Disconnect");
    }
    const title = verb === "retry" ? "Dial it now instead of at its next try" : "End its session";
    allow(button, this.#on.refusal(verb), title);
  }

  #headCell(key, title) {
    const button = el("button", { class: "sort", tabindex: "0" }, title);
    button.addEventListener("click", () => {
      const again = this.#sort.key === key;
      this.#sort = { key, descending: again && !this.#sort.descending };
      this.#showSort();
      this.#on.sort(this.#sort);
    });
    const node = el("span", { role: "columnheader", class: `c-${key === "attempt" ? "why" : key}` }, button);
    this.#heads.set(key, node);
    return node;
  }

  #showSort() {
    for (const [key, node] of this.#heads) {
      const way = this.#sort.descending ? "descending" : "ascending";
      setAttribute(node, "aria-sort", key === this.#sort.key ? way : "none");
    }
  }

  #activate(id) {
    this.#active = id;
    this.draw();
  }

  // Who comes by the keyboard starts from a row in sight.
  #focused() {
    if (this.devices.length === 0) return;
    const first = Math.ceil(this.#body.scrollTop / this.#rowHeight);
    const fit = Math.floor(this.#body.clientHeight / this.#rowHeight);
    const at = this.#indexOfActive();
    if (at >= first && at < first + fit) return;
    this.#activate(this.devices[Math.min(first, this.devices.length - 1)].id);
  }

  #indexOfActive() {
    return this.devices.findIndex((device) => device.id === this.#active);
  }

  #key(event) {
    if (event.target !== this.#grid || event.ctrlKey || event.altKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.#body.clientHeight / this.#rowHeight) - 1);
    const at = this.#indexOfActive();
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps && this.devices.length > 0) {
      event.preventDefault();
      const last = this.devices.length - 1;
      const index = Math.min(last, Math.max(0, at < 0 ? 0 : at + steps[event.key]));
      this.#reveal(index);
      this.#activate(this.devices[index].id);
    } else if (event.key === "Enter" && at >= 0) {
      event.preventDefault();
      this.#on.open(this.devices[at]);
    }
  }

  #reveal(index) {
    const top = index * this.#rowHeight;
    const bottom = top + this.#rowHeight;
    if (top < this.#body.scrollTop) this.#body.scrollTop = top;
    else if (bottom > this.#body.scrollTop + this.#body.clientHeight) {
      this.#body.scrollTop = bottom - this.#body.clientHeight;
    }
  }
}

export const routeOf = (device) =>
  `#/device/${encodeURIComponent(device.owner || "~")}/${encodeURIComponent(device.name)}`;

export function whyText(device, now) {
  if (groupOf(device.status) === "connected") return "";
  const parts = [];
  if (device.nextTry) parts.push(device.nextTry > now ? `in ${span(device.nextTry - now + 999)}` : "now");
  if (device.attempt > 0) parts.push(`try ${device.attempt}`);
  if (device.cause) parts.push(device.cause);
  return parts.join(" · ");
}

// Ending a session takes two clicks, the second within three seconds.
export function armed(button) {
  if (button.dataset.armed) {
    disarm(button);
    return true;
  }
  button.dataset.armed = "yes";
  button.dataset.word = button.textContent;
  setText(button, "Sure?");
  button.disarming = setTimeout(() => disarm(button), 3_000);
  return false;
}

export function disarm(button) {
  if (!button.dataset.armed) return;
  clearTimeout(button.disarming);
  delete button.dataset.armed;
  setText(button, button.dataset.word);
}
