// Who this page calls as, and what that role may do.

import { get, setToken, token } from "./api.js";
import { byId, setAttribute, setHidden, setText } from "./dom.js";
import { plain } from "./text.js";

const RANK = { viewer: 1, operator: 2, admin: 3 };

export class Access extends EventTarget {
  name = "";
  role = "";

  constructor() {
    super();
    const who = byId("who");
    who.addEventListener("click", () => this.open(byId("token-panel").hidden));
    byId("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#use(byId("token").value.trim());
    });
    byId("token-forget").addEventListener("click", () => this.#use(""));
    byId("token-panel").addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.open(false);
      who.focus();
    });
  }

  open(open) {
    setHidden(byId("token-panel"), !open);
    setAttribute(byId("who"), "aria-expanded", open);
    setHidden(byId("token-forget"), !token());
    if (open) byId("token").focus();
  }

  // Why this caller may not do what wants `role`; null when it may.
  refusal(role) {
    if (RANK[this.role] >= RANK[role]) return null;
    if (!this.role) return `Wants the role ${role}; enter a token`;
    return `Wants the role ${role}; you are ${this.role}. Enter a token (top right)`;
  }

  async ask() {
    try {
      const { name, role } = await get("v3/whoami");
      this.#is(name, role);
      return true;
    } catch (error) {
      if (error.status === 401 || error.status === 403) {
        this.#is("", "", token() ? "This token does not hold." : "A token is wanted here.");
        this.open(true);
      }
      return false;
    }
  }

  async #use(value) {
    setToken(value);
    byId("token").value = "";
    if (await this.ask()) this.open(false);
    this.dispatchEvent(new Event("token"));
  }

  #is(name, role, refused) {
    this.name = name;
    this.role = role;
    const shown = plain(name);
    setText(byId("who"), role ? role : "Sign in");
    setAttribute(byId("who"), "title", role ? `${shown}, ${role}` : "Enter a token");
    setText(byId("who-text"), refused ?? `You call as ${shown}, with the role ${role}.`);
    setHidden(byId("token-forget"), !token());
    this.dispatchEvent(new Event("change"));
  }
}
