// Keeps the page on the gateway: the list, then every event after it; when the gateway is lost,
// the list again, and every event after the last one that was seen.

import { get } from "./api.js";
import { follow } from "./sse.js";

// The gateway says something at least every 15 s.
const SILENCE_MAX_MS = 40_000;
const WAIT_MIN_MS = 500;
const WAIT_MAX_MS = 8_000;

export class Feed extends EventTarget {
  #fleet;
  #after = null;
  #abort = null;
  #wake = null;
  #failures = 0;

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
    if (again) this.#abort?.abort();
    this.#wake?.();
  }

  async #session() {
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    const list = await get("v3/fleet", { signal });
    // Events up to the list's number are told, and not applied: the list has them.
    this.#fleet.replace(list);
    this.#after ??= list.event_number;
    let watchdog;
    const heard = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => this.#abort.abort(), SILENCE_MAX_MS);
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

  #take(item) {
    if (item.type === "gap") {
      this.dispatchEvent(new CustomEvent("gap", { detail: JSON.parse(item.data) }));
      this.#after = null;
      this.#abort.abort();
      return;
    }
    const event = JSON.parse(item.data);
    if (item.id !== null) this.#after = Number(item.id);
    const refresh = this.#fleet.apply(event);
    this.dispatchEvent(new CustomEvent("event", { detail: { event, refresh } }));
  }

  #live() {
    this.#failures = 0;
    this.#tell({ state: "live", since: Date.now() });
  }

  async #wait(error) {
    // A gap asks for the list at once.
    if (this.#after === null && this.status.state === "live") return;
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
