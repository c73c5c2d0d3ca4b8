//! The conformance list of the Connect API: each test carries the name of its row.

mod accept;
mod calls;
mod connect;
mod device_services;
mod devices;
mod settings;
mod status;
