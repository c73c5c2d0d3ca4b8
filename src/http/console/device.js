// One device: what is known of it, its resources, streams and properties.

import { devicePath, get } from "./api.js";
import { allow, el, isOff, setAttribute, setHidden, setText } from "./dom.js";
import { Resources } from "./resources.js";
import { groupOf, wordOf } from "./status.js";
import { Streams } from "./streams.js";
import { armed, disarm, whyText } from "./table.js";
import { exact, json, plain, span } from "./text.js";

const ORIGINS = {
  direct: "asked for by a client",
  auto: "kept connected",
  inbound: "dialled in",
};

export class DevicePage {
  #root;
  #context;
  #open = null;

  // `context` has the `fleet`, the `access` and `act(device, verb)`.
  constructor(root, context) {
    this.#root = root;
    this.#context = context;
    context.access.addEventListener("change", () => {
      this.update();
      this.#open?.resources.permit();
    });
  }

  open(owner, name) {
    if (this.#open?.owner === owner && this.#open.name === name) return;
    this.close();
    const path = devicePath(owner, name);
    const streams = new Streams(path);
    const resources = new Resources(path, { access: this.#context.access, streams });
    const head = this.#head(name);
    const properties = el("dl", { class: "facts properties" });
    this.#open = { owner, name, path, streams, resources, head, properties, up: null };
    this.#root.replaceChildren(head.node,
      el("div", { class: "columns" },
        el("div", { class: "column" }, resources.node,
          el("section", { class: "panel", "aria-labelledby": "properties-title" },
            el("div", { class: "panel-head" }, el("h3", { id: "properties-title" }, "Properties"),
              el("button", { class: "small", onclick: () => this.#loadProperties() }, "Load again")),
            properties)),
        el("div", { class: "column wide" }, streams.node)));
    document.title = `${plain(name)} · Gatehouse`;
    this.update();
    resources.load();
    this.#loadProperties();
    this.#root.scrollTop = 0;
  }

  close() {
    this.#open?.streams.close();
    this.#open = null;
    this.#root.replaceChildren();
  }

  // Brings the head up to date; a device that came back may have other resources.
  update() {
    const open = this.#open;
    if (!open) return;
    const device = this.#device();
    open.head.show(device);
    // Before the list is there it is not known.
    if (!device && open.up === null) return;
    const up = device ? groupOf(device.status) === "connected" : false;
    if (up && open.up === false) open.resources.load();
    open.up = up;
  }

  event(event) {
    if (this.#open && this.#device()?.id === event.device) this.update();
  }

  tick(now) {
    this.#open?.head.tick(this.#device(), now);
    this.#open?.streams.tick();
  }

  #device() {
    const { owner, name, id } = this.#open;
    const known = this.#context.fleet.devices.get(id);
    if (known && known.owner === owner && known.name === name) return known;
    const found = this.#context.fleet.find(owner, name);
    this.#open.id = found?.id;
    return found;
  }

  #head(name) {
    const glyph = el("i", { class: "glyph", "aria-hidden": "true" });
    const word = el("span");
    const status = el("span", { class: "state", role: "status" }, glyph, word);
    const why = el("p", { class: "why" });
    const facts = el("dl", { class: "facts" });
    const cells = new Map();
    for (const title of ["ID", "Owner", "Link", "Address", "Since", "Listed"]) {
      const cell = el("dd", {}, "–");
      cells.set(title, cell);
      facts.append(el("div", {}, el("dt", {}, title), cell));
    }
    const retry = el("button", {}, "Retry now");
    const disconnect = el("button", {}, "Disconnect");
    retry.addEventListener("click", () => {
      if (!isOff(retry)) this.#context.act(this.#device(), "retry");
    });
    disconnect.addEventListener("click", () => {
      if (!isOff(disconnect) && armed(disconnect)) this.#context.act(this.#device(), "disconnect");
    });
    const node = el("header", { class: "device-head" },
      el("a", { class: "back", href: "#/", "aria-label": "Back to the fleet" }, "‹ Fleet"),
      el("div", { class: "title" }, el("h2", {}, plain(name)), status,
        el("div", { class: "do" }, retry, disconnect)),
      why, facts);
    const tick = (device, now) => {
      setText(cells.get("Since"), device ? `${span(now - device.since)}` : "–");
      const text = device ? whyText(device, now) : "";
      setText(why, text);
      setHidden(why, text === "");
    };
    const show = (device) => {
      const group = device ? groupOf(device.status) : "disconnected";
      setAttribute(node, "data-group", group);
      setText(word, device ? wordOf(device.status) : "Not listed");
      setAttribute(status, "title", device?.status);
      setText(cells.get("ID"), device ? String(device.id) : "–");
      setText(cells.get("Owner"), device?.shownOwner || "–");
      setText(cells.get("Link"), [device?.link, device?.proof.replaceAll("_", " ")].filter(Boolean).join(", ") || "–");
      setText(cells.get("Address"), device?.address || "–");
      setText(cells.get("Listed"), ORIGINS[device?.origin] ?? "–");
      setAttribute(cells.get("Since"), "title", device ? exact(device.since) : null);
      const refusal = this.#context.access.refusal("operator");
      const up = group === "connected";
      const absent = device ? null : "It is not in the managed list";
      allow(retry, refusal ?? absent ?? (up ? "It is connected" : null), "Dial it now instead of at its next try");
      allow(disconnect, refusal ?? absent ?? (up ? null : "It is not connected"), "End its session");
      if (!up) disarm(disconnect);
      tick(device, Date.now());
    };
    return { node, show, tick };
  }

  async #loadProperties() {
    const open = this.#open;
    try {
      const properties = await get(`${open.path}/properties`);
      const entries = Object.entries(properties ?? {});
      open.properties.replaceChildren(...entries.map(([name, value]) =>
        el("div", {}, el("dt", {}, plain(name)), el("dd", { class: "code" }, json(value)))));
      if (entries.length === 0) open.properties.replaceChildren(el("p", { class: "muted" }, "None set."));
    } catch (error) {
      open.properties.replaceChildren(el("p", { class: "muted" }, plain(error.message)));
    }
  }
}
