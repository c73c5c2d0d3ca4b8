// Text for people: what comes from a device is data, and nothing in it acts on who reads it.

// Controls, formats (among them those that turn the direction of writing), separators and what
// no font has.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}\p{Cn}]/gu;

// The same spelling as `gatehouse ctl`: `\u{1b}`; a backslash is doubled, so that nothing is
// ambiguous.
export function plain(text) {
  return String(text)
    .replaceAll("\\", "\\\\")
    .replace(UNSEEN, (letter) => `\\u{${letter.codePointAt(0).toString(16)}}`);
}

// The JSON of a value; an escape of JSON stands for each character that cannot be seen.
export function json(value, indent) {
  const text = JSON.stringify(value, null, indent);
  if (text === undefined) return "nothing";
  const escape = (letter) =>
    letter === "\n" ? letter : [...Array(letter.length).keys()]
      .map((unit) => `\\u${letter.charCodeAt(unit).toString(16).padStart(4, "0")}`)
      .join("");
  return text.replace(UNSEEN, escape);
}

// A span of time in its two largest units: `42 s`, `12 m`, `3 h 05 m`, `2 d 4 h`.
export function span(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${String(minutes % 60).padStart(2, "0")} m`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const EXACT = new Intl.DateTimeFormat(undefined, {
  dateStyle: "medium", timeStyle: "medium",
});
const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

export const exact = (unixMs) => EXACT.format(unixMs);
export const clock = (unixMs) => CLOCK.format(unixMs);

const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 0, useGrouping: true });
export const count = (number) => NUMBER.format(number).replaceAll(",", "\u202f");

// A measured value in few digits.
export function figure(number) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  if (Number.isInteger(number) && Math.abs(number) < 1e9) return String(number);
  return String(Number(number.toPrecision(6)));
}

// `keep_alive_timeout` and its particulars as one sentence.
export function causeText(cause) {
  if (!cause) return "";
  const words = cause.kind.replaceAll("_", " ");
  return plain(cause.detail ? `${words}: ${cause.detail}` : words);
}
