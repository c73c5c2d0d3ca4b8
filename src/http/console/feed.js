// Keeps the page on the gateway: the list, then every event after it; when the gateway is lost,
// the list again, and every event after the last one that was seen.

import { get } from "./api.js";
import { follow } from "./sse.js";

// The gateway says something at least every 15 s.
const SILENCE_MAX_MS = 40_000;
const WAIT_MIN_MS = 500;
const WAIT_MAX_MS = 8_000;
// How many events before the list are asked for, so that the feed does not begin empty.
const HISTORY = 200;

export class Feed extends EventTarget {
  #fleet;
  // The last event that was seen; null before the first, and after a gap.
  #after = null;
  #history = HISTORY;
  #abort = null;
  #wake = null;
  #failures = 0;
  #again = false;

  // `state` is "connecting", "live" or "lost"; when lost, `since` and `nextTry` are times of this
  // browser, `error` says what happened.
  status = { state: "connecting" };

  constructor(fleet) {
    super();
    this.#fleet = fleet;
    addEventListener("online", () => this.tryNow());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.tryNow();
    });
  }

  async run() {
    for (;;) {
      const error = await this.#session().catch((error) => error);
      await this.#wait(error ?? new Error("the gateway ended the stream"));
    }
  }

  // Does not wait for the next try; with `again` a stream that stands is opened anew, as after a
  // change of the token.
  tryNow(again = false) {
    this.#again = again;
    if (again) this.#abort?.abort();
    this.#wake?.();
  }

  async #session() {
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    const list = await get("v3/fleet", { signal });
    // Events up to the list's number are told, and not applied: the list has them.
    this.#fleet.replace(list);
    this.#after ??= Math.max(0, list.event_number - this.#history);
    let watchdog;
    const heard = () => {
      clearTimeout(watchdog);
      const error = new Error(`nothing was heard for ${SILENCE_MAX_MS / 1000} s`);
      watchdog = setTimeout(() => this.#abort.abort(error), SILENCE_MAX_MS);
    };
    heard();
    try {
      await follow(`v3/fleet/events?after=${this.#after}`, {
        signal,
        heard,
        opened: () => this.#live(),
        event: (item) => this.#take(item),
      });
    } finally {
      clearTimeout(watchdog);
    }
  }

  #take({ type, id, data }) {
    const said = JSON.parse(data);
    if (type === "gap") return this.#gap(said);
    if (type === "end") throw new Error(said.detail);
    this.#after = Number(id);
    if (type !== "status") return undefined;
    // From here on nothing may be missed.
    this.#history = 0;
    this.#fleet.apply(said);
    return this.dispatchEvent(new CustomEvent("event", { detail: said }));
  }

  // What the log has no more; the list takes its place.
  #gap(missed) {
    if (this.#history === 0) this.dispatchEvent(new CustomEvent("gap", { detail: missed }));
    this.#history = 0;
    this.#after = null;
    this.#abort.abort();
  }

  #live() {
    this.#failures = 0;
    this.#tell({ state: "live", since: Date.now() });
  }

  async #wait(error) {
    // After a gap, and with another token, the list is asked for at once.
    const now = this.#again || (this.#after === null && this.status.state === "live");
    this.#again = false;
    if (now) return;
    const since = this.status.state === "lost" ? this.status.since : Date.now();
    const longest = Math.min(WAIT_MAX_MS, WAIT_MIN_MS * 2 ** this.#failures);
    this.#failures += 1;
    const wait = longest * (0.75 + Math.random() / 4);
    this.#tell({ state: "lost", since, nextTry: Date.now() + wait, error });
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, wait);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = null;
    this.#tell({ ...this.status, nextTry: null });
  }

  #tell(status) {
    this.status = status;
    this.dispatchEvent(new Event("status"));
  }
}
