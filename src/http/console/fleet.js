// The fleet as this page knows it: a list, and the events that follow it.

import { GROUPS, groupOf, wordOf } from "./status.js";
import { causeText, plain } from "./text.js";

function fromView(view) {
  const owner = view.identity?.owner ?? "";
  // Until it was first admitted its number is its name.
  const name = view.identity?.device ?? String(view.id);
  return {
    id: view.id,
    owner,
    name,
    shownName: plain(name),
    shownOwner: plain(owner),
    origin: view.origin,
    address: view.address,
    link: view.session?.link ?? (view.use_ssl ? "tls" : ""),
    proof: view.session?.proof ?? "",
    status: view.status,
    since: view.since_unix_ms,
    attempt: view.attempt,
    nextTry: view.next_try_unix_ms ?? null,
    cause: causeText(view.cause),
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

  replace({ devices, event_number: number }) {
    const before = this.devices;
    this.devices = new Map();
    for (const view of devices) this.#put(view, before);
    this.number = number;
    this.#changed();
  }

  // An event of the feed; it holds the device as it is now.
  apply(event) {
    if (event.number <= this.number) return;
    this.number = event.number;
    if (event.device_view) this.#put(event.device_view, this.devices);
    else this.devices.delete(event.device);
    this.#changed();
  }

  find(owner, name) {
    for (const device of this.devices.values()) {
      if (device.name === name && device.owner === owner) return device;
    }
    return null;
  }

  // Unchanged devices keep their object, so that rows can tell by identity what to touch.
  #put(view, known) {
    const device = fromView(view);
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
