//! Life under a service manager: is the gateway ready, is it alive, which listening sockets was it
//! handed, and how all of that is told. The protocol is systemd's (sd_notify, LISTEN_FDS), which
//! others speak too; without a service manager nothing here does anything.

pub mod config_file;
pub mod notify;
pub mod passed;
pub mod pulse;
pub mod readiness;
pub mod vitals;
