//! Who calls the gateway, over gRPC or HTTP: how they are accepted, what they show, whether it
//! holds, and the log of what they did.

pub mod accept;
pub mod audit;
pub mod client_certificate;
pub mod connection;
pub mod credentials;
pub mod first_token;
pub mod guard;
pub mod peer;
