// The statuses of the Connect API in words, groups and shapes.

export const GROUPS = ["connected", "trying", "disconnected", "unreachable", "refused"];

export const GROUP_WORDS = {
  connected: "Connected",
  trying: "Connecting",
  disconnected: "Disconnected",
  unreachable: "Cannot connect",
  refused: "Not allowed",
};

const GROUP_OF = {
  DISCONNECTED: "disconnected",
  TCP_CONNECTED: "connected",
  TLS_CONNECTED: "connected",
  TRY_TO_CONNECT: "trying",
  TCP_CANNOT_CONNECT: "unreachable",
  TLS_CANNOT_CONNECT: "unreachable",
  TCP_NOT_ALLOWED: "refused",
  TLS_NOT_ALLOWED: "refused",
};

export const groupOf = (status) => GROUP_OF[status] ?? "disconnected";
export const wordOf = (status) => GROUP_WORDS[groupOf(status)];
