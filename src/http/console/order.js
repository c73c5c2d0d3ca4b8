// Which devices the table shows, and in which order.

import { GROUPS, groupOf } from "./status.js";

const natural = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

const KEYS = {
  name: (a, b) => natural.compare(a.name, b.name),
  owner: (a, b) => natural.compare(a.owner, b.owner),
  status: (a, b) => GROUPS.indexOf(groupOf(a.status)) - GROUPS.indexOf(groupOf(b.status)),
  link: (a, b) => natural.compare(a.link, b.link),
  address: (a, b) => natural.compare(a.address, b.address),
  since: (a, b) => b.since - a.since,
  attempt: (a, b) => a.attempt - b.attempt,
};

// `groups` empty: all.
export function select(devices, { words, groups, key, descending }) {
  const shown = [];
  for (const device of devices) {
    if (groups.size > 0 && !groups.has(groupOf(device.status))) continue;
    if (words.every((word) => device.hay.includes(word))) shown.push(device);
  }
  const compare = KEYS[key];
  const sign = descending ? -1 : 1;
  return shown.sort((a, b) => sign * compare(a, b) || a.id - b.id);
}
