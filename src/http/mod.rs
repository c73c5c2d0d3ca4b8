//! The HTTP face: REST, WebSockets and event streams of what devices offer, and the console.
