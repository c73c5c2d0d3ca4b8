// The console: the fleet of one gateway, live.

import { Access } from "./access.js";
import { post } from "./api.js";
import { DevicePage } from "./device.js";
import { byId, el, perFrame, setAttribute, setHidden, setText, toast } from "./dom.js";
import { Events } from "./events.js";
import { Feed } from "./feed.js";
import { Fleet } from "./fleet.js";
import { Connection } from "./connection.js";
import { select } from "./order.js";
import { Pending } from "./pending.js";
import { GROUPS, GROUP_WORDS } from "./status.js";
import { Table, routeOf } from "./table.js";
import { count, plain } from "./text.js";

// Rows are put in order anew at most this often while nobody asks for it.
const REORDER_MS = 400;

const access = new Access();
const fleet = new Fleet();
const feed = new Feed(fleet);
const events = new Events(fleet);
const pending = new Pending(access);
const filter = { words: [], groups: new Set(), key: "name", descending: false };
const table = new Table(byId("table"), {
  open: (device) => { location.hash = routeOf(device); },
  act,
  sort: ({ key, descending }) => {
    Object.assign(filter, { key, descending });
    reorder();
  },
  refusal: () => access.refusal("operator"),
});
const page = new DevicePage(byId("view-device"), { fleet, access, act });
const connection = new Connection(feed);

async function act(device, verb) {
  const done = { retry: "is dialled now", disconnect: "is disconnected" };
  try {
    await post(`v3/fleet/${device.id}/${verb}`);
    toast(`${device.shownName} ${done[verb]}.`);
  } catch (error) {
    toast(`${device.shownName}: ${plain(error.message)}`, "error");
  }
}

// What the table shows.

let shownVersion = -1;
let orderedAt = 0;
let orderTimer = null;

function reorder() {
  clearTimeout(orderTimer);
  orderTimer = null;
  orderedAt = performance.now();
  shownVersion = fleet.version;
  const shown = select(fleet.devices.values(), filter);
  table.show(shown, emptyText);
  const all = fleet.devices.size;
  setText(byId("shown"), shown.length === all ? `${count(all)} devices` : `${count(shown.length)} of ${count(all)} devices`);
}

function emptyText() {
  if (fleet.devices.size > 0) {
    return [el("p", {}, "No device matches."), el("button", { onclick: clearFilter }, "Show all")];
  }
  if (feed.status.state !== "live") return [el("p", {}, "Waiting for the gateway.")];
  return [
    el("h2", {}, "No devices yet"),
    el("p", {}, "Add one that the gateway keeps connected:"),
    el("pre", {}, "gatehouse ctl add 1001 192.168.0.110 --wait 30s"),
    el("p", {}, "or play some that dial in:"),
    el("pre", {}, "gatehouse simulate --dial 127.0.0.1:51212 --count 50 --data-dir gatehouse-data"),
  ];
}

const refresh = perFrame(() => {
  showCounts();
  // Objects of changed devices are new: rows in sight are brought up to date at once, the order later.
  table.devices = table.devices.map((device) => fleet.devices.get(device.id) ?? device);
  table.draw();
  page.update();
  if (shownVersion === fleet.version || orderTimer !== null) return;
  const wait = Math.max(0, orderedAt + REORDER_MS - performance.now());
  orderTimer = setTimeout(reorder, wait);
});

// Counts that filter.

const chips = new Map();

function chip(group, word) {
  const number = el("b", {}, "0");
  const glyph = group === "all" ? null : el("i", { class: "glyph", "aria-hidden": "true" });
  const button = el("button", { class: "chip", "data-group": group, "aria-pressed": "false" }, glyph, el("span", {}, word), number);
  button.addEventListener("click", () => {
    const { groups } = filter;
    if (group === "all") groups.clear();
    else if (!groups.delete(group)) groups.add(group);
    showCounts();
    reorder();
  });
  chips.set(group, { button, number });
  byId("chips").append(button);
}

chip("all", "All");
for (const group of GROUPS) chip(group, GROUP_WORDS[group]);

function showCounts() {
  const counts = { ...fleet.recount(), all: fleet.devices.size };
  for (const [group, { button, number }] of chips) {
    setText(number, count(counts[group]));
    const pressed = group === "all" ? filter.groups.size === 0 : filter.groups.has(group);
    setAttribute(button, "aria-pressed", pressed);
    setAttribute(button, "data-none", counts[group] === 0 ? "" : null);
  }
}

function search() {
  filter.words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  reorder();
}

function clearFilter() {
  byId("search").value = "";
  filter.groups.clear();
  showCounts();
  search();
}

byId("search").addEventListener("input", search);

// The feed.

feed.addEventListener("event", ({ detail: event }) => {
  events.add(event);
  if (!["changed", "added", "removed"].includes(event.change)) pending.refresh();
  page.event(event);
});
feed.addEventListener("gap", () => events.note("Events were missed for good; the list was loaded again."));
feed.addEventListener("status", () => {
  connection.show();
  if (feed.status.state === "live") {
    access.ask();
    pending.refresh();
  } else if ([401, 403].includes(feed.status.error?.status)) {
    access.ask();
  }
  if (fleet.devices.size === 0) reorder();
});
fleet.addEventListener("change", refresh);
access.addEventListener("change", () => refresh());
access.addEventListener("token", () => feed.tryNow(true));

// Views.

function route() {
  const parts = location.hash.replace(/^#\/?/, "").split("/");
  const view = ["pending", "events", "device"].includes(parts[0]) ? parts[0] : "fleet";
  document.body.dataset.view = view;
  for (const tab of document.querySelectorAll("[data-tab]")) {
    const here = tab.dataset.tab === view || (view === "device" && tab.dataset.tab === "fleet");
    setAttribute(tab, "aria-current", here ? "page" : null);
  }
  if (view === "device") {
    const [, owner, ...name] = parts.map(decodeURIComponent);
    page.open(owner === "~" ? "" : owner, name.join("/"));
  } else {
    page.close();
    document.title = "Gatehouse";
  }
  if (view === "fleet") table.draw();
}

addEventListener("hashchange", route);

// What is not shown yet takes no focus, and the event comes later.
function toFleet() {
  location.hash = "#/";
  route();
}

// Keys.

const typing = (node) => node.matches("input, textarea, select");

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
  if (event.key === "/" && !typing(event.target)) {
    event.preventDefault();
    const view = document.body.dataset.view;
    if (view === "events") return byId("events-filter").focus();
    if (view !== "fleet") toFleet();
    byId("search").focus();
    byId("search").select();
  } else if (event.key === "Escape") {
    escape(event);
  } else if (event.key === "ArrowDown" && event.target === byId("search")) {
    event.preventDefault();
    table.focus();
  }
});

// One step back: out of a field, out of a filter, out of a view.
function escape(event) {
  if (event.target === byId("search")) {
    clearFilter();
    return table.focus();
  }
  if (typing(event.target)) return event.target.blur();
  if (document.body.dataset.view !== "fleet") {
    toFleet();
    return table.focus();
  }
  clearFilter();
}

byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  toFleet();
  table.focus();
});

// Tries of pending devices are no events.
setInterval(() => {
  if (!document.hidden && document.body.dataset.view === "pending") pending.refresh();
}, 10_000);

// Times pass.
setInterval(() => {
  if (document.hidden) return;
  const now = Date.now();
  if (document.body.dataset.view === "fleet") table.draw(now);
  pending.tick(now);
  page.tick(now);
  connection.show();
}, 1_000);

showCounts();
reorder();
route();
access.ask();
feed.run();
setHidden(byId("banner"), true);
