// The fleet as this page knows it: a list, and the events that follow it.

import { GROUPS, groupOf, wordOf } from "./status.js";
import { causeText, plain } from "./text.js";

// `~` stands for no owner.
function fromRow(columns, row) {
  const view = Object.fromEntries(columns.map((column, index) => [column, row[index]]));
  const owner = view.user === "~" ? "" : view.user;
  return {
    id: view.id,
    owner,
    name: view.device,
    shownName: plain(view.device),
    shownOwner: plain(owner),
    origin: view.origin,
    address: view.address,
    link: view.link ?? (view.use_ssl ? "tls" : ""),
    proof: view.proof ?? "",
    status: view.status,
    since: view.since_unix_ms,
    attempt: view.attempt,
    nextTry: view.next_try_unix_ms,
    cause: causeText(view.cause, view.cause_detail),
  };
}

function haystack(device) {
  const { id, name, owner, address, link } = device;
  const words = [id, name, owner, address, link, wordOf(device.status), device.cause];
  return words.join("\n").toLowerCase();
}

export class Fleet extends EventTarget {
  // By ID.
  devices = new Map();
  // The list holds every event up to this one.
  number = 0;
  counts = Object.fromEntries(GROUPS.map((group) => [group, 0]));
  // Raised with every change.
  version = 0;
  #columns = [];

  replace({ devices, columns, event_number: number }) {
    const before = this.devices;
    this.devices = new Map();
    this.#columns = columns;
    for (const row of devices) this.#put(row, before);
    this.number = number;
    this.#changed();
  }

  // An event of the feed; it says how the device is now.
  apply(event) {
    if (event.number <= this.number) return;
    this.number = event.number;
    if (event.row) this.#put(event.row, this.devices);
    else this.devices.delete(event.id);
    this.#changed();
  }

  find(owner, name) {
    for (const device of this.devices.values()) {
      if (device.name === name && device.owner === owner) return device;
    }
    return null;
  }

  // Unchanged devices keep their object, so that rows can tell by identity what to touch.
  #put(row, known) {
    const device = fromRow(this.#columns, row);
    const before = known.get(device.id);
    const same = before && Object.keys(device).every((key) => device[key] === before[key]);
    if (!same) device.hay = haystack(device);
    this.devices.set(device.id, same ? before : device);
  }

  #changed() {
    this.version += 1;
    this.dispatchEvent(new Event("change"));
  }

  recount() {
    for (const group of GROUPS) this.counts[group] = 0;
    for (const device of this.devices.values()) this.counts[groupOf(device.status)] += 1;
    return this.counts;
  }
}
