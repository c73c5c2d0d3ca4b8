// Says whether the page is on the gateway, and when it will try again.

import { byId, setAttribute, setHidden, setText } from "./dom.js";
import { exact, plain, span } from "./text.js";

export class Connection {
  #feed;

  constructor(feed) {
    this.#feed = feed;
    byId("banner-retry").addEventListener("click", () => feed.tryNow());
  }

  show(now = Date.now()) {
    const { state, since, nextTry, error } = this.#feed.status;
    const live = byId("live");
    setAttribute(live, "data-state", state);
    setAttribute(live, "title", since ? `Since ${exact(since)}` : null);
    setText(live, { live: "Live", lost: "Lost", connecting: "Connecting" }[state]);
    document.body.dataset.gateway = state;
    setHidden(byId("banner"), state !== "lost");
    if (state !== "lost") return;
    setText(byId("banner-text"), `The gateway is lost: ${plain(error.message)}. What you see is as it was then.`);
    const when = nextTry ? `next try in ${span(nextTry - now + 999)}` : "trying now";
    // Apart, so that a screen reader is not told every second.
    setText(byId("banner-when"), `For ${span(now - since)}; ${when}.`);
  }
}
