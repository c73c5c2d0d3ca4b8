// Server-sent events over fetch: unlike EventSource it can show a token, and tells why it ended.

import { call } from "./api.js";

// Takes the stream apart as it comes, wherever it was cut.
export class Parser {
  #rest = "";
  #event = { type: "message", data: [], id: null };

  // The events that this piece of text completes.
  push(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    return lines.flatMap((line) => this.#line(line));
  }

  #line(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#event.data.push(value);
    else if (field === "event") this.#event.type = value;
    else if (field === "id") this.#event.id = value;
    return [];
  }

  #dispatch() {
    const { type, data, id } = this.#event;
    this.#event = { type: "message", data: [], id: null };
    return data.length > 0 ? [{ type, data: data.join("\n"), id }] : [];
  }
}

// Follows `path` until it ends, which is always an error. `heard` is called for whatever comes,
// comments too.
export async function follow(path, { headers, signal, opened, heard, event }) {
  const response = await call("GET", path, {
    headers: { accept: "text/event-stream", ...headers },
    signal,
  });
  opened();
  const parser = new Parser();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read().catch(broken);
    if (done) return;
    heard();
    for (const item of parser.push(value)) event(item);
  }
}

// Browsers have words of their own for it.
function broken(error) {
  throw error instanceof TypeError ? new Error("the connection broke") : error;
}
