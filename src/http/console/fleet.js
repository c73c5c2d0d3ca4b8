// The fleet as this page knows it: a list, and the events that follow it.

import { GROUPS, groupOf, wordOf } from "./status.js";
import { causeText, plain } from "./text.js";

function fromView(view) {
  const owner = view.identity?.owner ?? "";
  const name = view.identity?.device ?? String(view.id);
  return {
    id: view.id,
    owner,
    name,
    shownName: plain(name),
    shownOwner: plain(owner),
    origin: view.origin,
    mode: view.mode,
    type: view.type,
    address: view.address ?? "",
    link: view.session?.link ?? (view.use_ssl ? "tls" : ""),
    up: Boolean(view.session),
    proof: view.session?.proof ?? "",
    status: view.status,
    since: view.since_unix_ms,
    attempt: view.attempt ?? 0,
    nextTry: view.next_try_unix_ms ?? null,
    cause: view.cause ?? null,
  };
}

function haystack(device) {
  const { id, name, owner, address, link } = device;
  const words = [id, name, owner, address, link, wordOf(device.status), causeText(device.cause)];
  return words.join("\n").toLowerCase();
}

export class Fleet extends EventTarget {
  // By ID.
  devices = new Map();
  // The list holds every event up to this one.
  number = 0;
  counts = Object.fromEntries(GROUPS.map((group) => [group, 0]));
  // Raised with every change; `listed` with those that change who is in the list or what is
  // searched.
  version = 0;

  replace(list) {
    const before = this.devices;
    this.devices = new Map();
    for (const view of list.devices) this.#put(fromView(view), before.get(view.id));
    this.number = list.event_number;
    this.#changed();
  }

  // One device as the gateway knows it now.
  update(view) {
    this.#put(fromView(view), this.devices.get(view.id));
    this.#changed();
  }

  // An event of the feed; whether the rest of what is known of the device must be asked for.
  apply(event) {
    if (event.number <= this.number) return false;
    this.number = event.number;
    const device = this.devices.get(event.device);
    if (event.device_view) {
      this.update(event.device_view);
      return false;
    }
    if (event.change === "removed") {
      this.devices.delete(event.device);
      this.#changed();
      return false;
    }
    if (event.change !== "added" && event.change !== "changed") return false;
    if (!device) return true;
    const changed = { ...device, status: event.new, since: event.unix_ms };
    changed.attempt = event.attempt ?? 0;
    changed.nextTry = event.next_try_unix_ms ?? null;
    changed.cause = event.cause ?? null;
    const session = groupOf(changed.status) === "connected";
    if (!session) changed.up = false;
    this.#put(changed, device);
    this.#changed();
    return session;
  }

  find(owner, name) {
    for (const device of this.devices.values()) {
      if (device.name === name && device.owner === owner) return device;
    }
    return null;
  }

  // Unchanged devices keep their object, so that rows can tell by identity what to touch.
  #put(device, before) {
    device.hay = haystack(device);
    const same = before && Object.keys(device).every((key) =>
      key === "cause"
        ? causeText(device.cause) === causeText(before.cause)
        : device[key] === before[key]);
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
