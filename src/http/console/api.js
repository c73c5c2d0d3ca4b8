// Calls to the gateway. The token stays in this tab and travels in a header, never in a URL.

const TOKEN = "gatehouse-token";

export class ApiError extends Error {
  // `status` 0: the gateway was not reached.
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export const token = () => sessionStorage.getItem(TOKEN);

export function setToken(value) {
  if (value) sessionStorage.setItem(TOKEN, value);
  else sessionStorage.removeItem(TOKEN);
}

function url(path, scheme) {
  const address = new URL(path, document.baseURI);
  address.hash = "";
  if (scheme) address.protocol = address.protocol.replace("http", scheme);
  return address;
}

// The path of a device's routes; `~` stands for no owner.
export const devicePath = (owner, name) =>
  `v3/users/${encodeURIComponent(owner || "~")}/devices/${encodeURIComponent(name)}`;

async function failure(response) {
  let text = `${response.status} ${response.statusText}`.trim();
  try {
    const problem = await response.json();
    text = problem.detail || problem.title || text;
  } catch {
    // Whoever answered is not the gateway itself; the status must do.
  }
  return new ApiError(response.status, text);
}

// A response of the gateway whose status says that it was done.
export async function call(method, path, { body, headers, signal } = {}) {
  const init = { method, signal, cache: "no-store", headers: { ...headers } };
  if (token()) init.headers.authorization = `Bearer ${token()}`;
  if (body !== undefined) {
    init.headers["content-type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(url(path), init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "the gateway was not reached");
  }
  if (!response.ok) throw await failure(response);
  return response;
}

// The same for JSON; `undefined` for an answer without a body.
async function jsonOf(method, path, options) {
  const response = await call(method, path, options);
  const text = await response.text();
  return text === "" ? undefined : JSON.parse(text);
}

export const get = (path, options) => jsonOf("GET", path, options);
export const post = (path, body) => jsonOf("POST", path, { body });

// A browser's WebSocket carries no header, so it shows a ticket that holds once and briefly.
export async function webSocket(path) {
  const address = url(path, "ws");
  if (token()) {
    const { ticket } = await post("v3/tickets");
    address.searchParams.set("ticket", ticket);
  }
  return new WebSocket(address);
}
