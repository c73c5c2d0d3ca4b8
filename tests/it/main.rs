//! Everything that is tested from outside, in one binary: real sockets on free ports, a real
//! store, real TLS; our simulator, or a hand-made peer, on the other side.

mod approvals;
mod bench;
mod cli;
mod conformance;
mod console;
mod counted;
mod crash;
mod ctl;
mod escapes;
mod fleet;
mod fuzz;
mod hostile;
mod identity;
mod iotmp;
mod likes;
mod logs;
mod metrics_faces;
mod openapi;
mod outside;
mod packaging;
mod python;
mod readme;
mod revoked;
mod roles;
mod search;
mod service;
mod stacks;
mod stock;
mod streams;
mod support;
mod switch;
mod table;
mod tidy;
mod top;
mod world;
