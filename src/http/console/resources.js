// What a device offers, each with the ways to use it.

import { get, post } from "./api.js";
import { allow, el, isOff, setAttribute, setHidden, setText } from "./dom.js";
import { clock, json, plain } from "./text.js";

const ACTION = 1;
const INPUT = 2;
const OUTPUT = 3;
const BOTH = 4;

const WORDS = {
  [ACTION]: "action",
  [INPUT]: "input",
  [OUTPUT]: "output",
  [BOTH]: "input and output",
};

// Names of the vendor's agent: patterns, and sessions that are no plain values.
const isPattern = (name) => name.startsWith("$") || name.includes(":") || name.includes("*");

export class Resources {
  node;
  #path;
  #context;
  #list = el("ul", { class: "resources" });
  #note = el("p", { class: "muted" });
  #buttons = [];

  // `context` has the `access` and the `streams`.
  constructor(path, context) {
    this.#path = path;
    this.#context = context;
    this.node = el("section", { class: "panel", "aria-labelledby": "resources-title" },
      el("div", { class: "panel-head" }, el("h3", { id: "resources-title" }, "Resources"),
        el("button", { class: "small", onclick: () => this.load() }, "Load again")),
      this.#note, this.#list);
  }

  async load() {
    this.#say(this.#list.children.length > 0 ? "" : "Asking the device…");
    try {
      const resources = Object.entries((await get(`${this.#path}/resources`)) ?? {});
      resources.sort(([a], [b]) => (a < b ? -1 : 1));
      this.#buttons = [];
      this.#list.replaceChildren(...resources.map(([name, about]) => this.#resource(name, about?.fn)));
      this.#say(resources.length === 0 ? "It offers none." : "");
      this.permit();
    } catch (error) {
      this.#say(plain(error.message));
    }
  }

  permit() {
    const reason = this.#context.access.refusal("operator");
    for (const { button, title } of this.#buttons) allow(button, reason, title);
  }

  #say(text) {
    setText(this.#note, text);
    setHidden(this.#note, text === "");
  }

  // As one part of the path. A bare `api` there would ask for all descriptions.
  #pathOf(name) {
    return `${this.#path}/resources/${name === "api" ? "%61pi" : encodeURIComponent(name)}`;
  }

  #resource(name, fn) {
    const answer = el("pre", { class: "answer", role: "status", hidden: true });
    const actions = el("div", { class: "do" });
    const node = el("li", { class: "resource" },
      el("div", { class: "line" }, el("strong", {}, plain(name)),
        el("span", { class: "fn" }, WORDS[fn] ?? "no function"), actions));
    const path = this.#pathOf(name);
    const show = (work) => this.#run(work, answer);
    if (isPattern(name)) {
      node.append(el("p", { class: "muted" }, "A pattern, not a plain resource."));
      return node;
    }
    if (fn === ACTION) {
      actions.append(this.#button("Run", "Have the device do it", () => show(() => post(path))));
    }
    if (fn === OUTPUT) {
      actions.append(this.#button("Read", "Ask the device for it now", () => show(() => get(path))));
    }
    if (fn === INPUT || fn === BOTH) {
      const form = this.#form(name, path, show);
      const open = el("button", { class: "small", "aria-expanded": "false" }, "Input…");
      open.addEventListener("click", () => form.toggle(open));
      actions.append(open);
      node.append(form.node);
    }
    if (fn !== ACTION && fn in WORDS) actions.append(this.#context.streams.button(name));
    node.append(answer);
    return node;
  }

  #button(word, title, work) {
    const button = el("button", { class: "small" }, word);
    button.addEventListener("click", () => {
      if (!isOff(button)) work();
    });
    this.#buttons.push({ button, title });
    return button;
  }

  // The input as JSON, as the device has it now.
  #form(name, path, show) {
    const input = el("textarea", { rows: "3", spellcheck: "false", "aria-label": `Input of ${plain(name)}, JSON` });
    const wrong = el("span", { class: "wrong", role: "alert" });
    const send = this.#button("Send", "Run it with this input", () => {
      let body;
      try {
        body = JSON.parse(input.value);
      } catch (error) {
        setText(wrong, `This is no JSON: ${error.message}`);
        return input.focus();
      }
      setText(wrong, "");
      show(() => post(path, body));
    });
    const node = el("div", { class: "form", hidden: true }, input, el("div", { class: "do" }, send, wrong));
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send.click();
    });
    const toggle = async (open) => {
      setHidden(node, !node.hidden);
      setAttribute(open, "aria-expanded", !node.hidden);
      if (node.hidden) return;
      input.focus();
      if (input.value !== "") return;
      try {
        const about = await get(`${path}/api`);
        if (input.value === "" && about?.in !== undefined) input.value = json(about.in, 2);
      } catch (error) {
        setText(wrong, plain(error.message));
      }
    };
    return { node, toggle };
  }

  async #run(work, answer) {
    setHidden(answer, false);
    setAttribute(answer, "data-kind", "waiting");
    setText(answer, "…");
    let text;
    let kind = "ok";
    try {
      const value = await work();
      text = value === undefined || value === null ? "done" : json(value, 2);
    } catch (error) {
      kind = "error";
      text = error.status > 0 ? `${error.status}: ${plain(error.message)}` : plain(error.message);
    }
    setAttribute(answer, "data-kind", kind);
    setAttribute(answer, "title", `At ${clock(Date.now())}`);
    setText(answer, text);
  }
}
