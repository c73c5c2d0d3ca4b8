// Who was proven and not let in yet, to be approved or refused.

import { get, post } from "./api.js";
import { allow, byId, el, isOff, setHidden, setText, toast } from "./dom.js";
import { exact, plain, span } from "./text.js";

const PROOFS = {
  fleet_key: "the fleet's key",
  device_key: "a key of its own",
  credential: "a credential",
  certificate: "a certificate",
};

export class Pending {
  #access;
  #cards = new Map();
  #asking = false;
  #again = false;

  constructor(access) {
    this.#access = access;
    access.addEventListener("change", () => this.#permit());
  }

  // Asks for the list; while an answer is awaited, once more after it.
  async refresh() {
    if (this.#asking) {
      this.#again = true;
      return;
    }
    this.#asking = true;
    try {
      this.#show((await get("v3/pending")).devices);
    } catch (error) {
      this.#note(error.status === 0 ? null : error.message);
    }
    this.#asking = false;
    if (this.#again) {
      this.#again = false;
      this.refresh();
    }
  }

  tick(now) {
    for (const card of this.#cards.values()) card.tick(now);
  }

  #note(text) {
    setHidden(byId("pending-note"), !text);
    setText(byId("pending-note"), text ?? "");
  }

  #show(devices) {
    this.#note(null);
    const ids = new Set(devices.map((device) => device.id));
    for (const [id, card] of this.#cards) {
      if (ids.has(id)) continue;
      card.node.remove();
      this.#cards.delete(id);
    }
    for (const device of devices) {
      let card = this.#cards.get(device.id);
      if (!card) {
        card = this.#card(device);
        this.#cards.set(device.id, card);
        byId("pending-list").append(card.node);
      }
      card.device = device;
    }
    this.tick(Date.now());
    this.#permit();
    setHidden(byId("pending-empty"), devices.length > 0);
    setHidden(byId("pending-badge"), devices.length === 0);
    setText(byId("pending-badge"), String(devices.length));
  }

  #card(device) {
    const name = plain(device.identity.device);
    const owner = plain(device.identity.owner);
    const id = String(device.id);
    const enrol = el("input", { type: "checkbox" });
    const approve = el("button", { class: "primary" }, "Approve");
    const refuse = el("button", {}, "Refuse");
    const tries = el("span");
    const proof = PROOFS[device.proof] ?? plain(device.proof);
    const node = el("li", { class: "card" },
      el("div", { class: "card-text" },
        el("strong", {}, name),
        el("span", { class: "muted" }, [owner, id].filter((text) => text && text !== name).join(" · ")),
        el("span", {}, `from ${device.address} over ${device.link}, proven by ${proof}`),
        tries),
      el("div", { class: "card-do" },
        el("label", { title: "When it comes in with the fleet's key alone, write a key of its own to it" }, enrol, " give it a key of its own"),
        approve, refuse));
    const card = { node, device, buttons: [approve, refuse] };
    card.tick = (now) => {
      const { tries: number, first_try_unix_ms: first, last_try_unix_ms: last } = card.device;
      setText(tries, `${number} ${number === 1 ? "try" : "tries"}, last ${span(now - last)} ago`);
      tries.title = `First ${exact(first)}\nLast ${exact(last)}`;
    };
    approve.addEventListener("click", () => this.#decide(card, "approve", { enrol: enrol.checked }));
    refuse.addEventListener("click", () => this.#decide(card, "refuse"));
    return card;
  }

  async #decide(card, verb, body) {
    if (card.buttons.some(isOff)) return;
    const name = plain(card.device.identity.device);
    try {
      await post(`v3/pending/${card.device.id}/${verb}`, body);
      toast(verb === "approve" ? `${name} is approved and comes in with its next try.` : `${name} is refused.`);
    } catch (error) {
      toast(`${name}: ${plain(error.message)}`, "error");
    }
    this.refresh();
  }

  #permit() {
    const reason = this.#access.refusal("admin");
    for (const card of this.#cards.values()) {
      for (const button of card.buttons) allow(button, reason);
    }
  }
}
