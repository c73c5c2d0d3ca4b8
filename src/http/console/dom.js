// Making and changing elements. Text goes in as text: nothing here reads markup.

// `el("button", { class: "primary", onclick: f }, "Run")`; a null child is left out.
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const byId = (id) => document.getElementById(id);

// These touch the page only where something changed.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

// A button that is off says why; a screen reader still finds it.
export function allow(button, reason, title) {
  setAttribute(button, "aria-disabled", reason ? "true" : null);
  setAttribute(button, "title", reason || title || null);
}

export const isOff = (button) => button.getAttribute("aria-disabled") === "true";

// Runs `work` once in the next frame, however often it is called; a page that is not seen gets no
// frames, and catches up when it is.
export function perFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}

export function toast(text, kind = "info") {
  const note = el("div", { class: "toast", "data-kind": kind }, el("span", {}, text));
  note.append(el("button", { "aria-label": "Close", onclick: () => note.remove() }, "×"));
  const toasts = byId("toasts");
  toasts.append(note);
  while (toasts.children.length > 4) toasts.firstChild.remove();
  setTimeout(() => note.remove(), kind === "error" ? 12_000 : 5_000);
}
