//! Who calls the gateway, over gRPC or HTTP: what callers show, whether it holds, and the log of
//! what they did.

pub mod audit;
pub mod client_certificate;
pub mod credentials;
pub mod first_token;
pub mod guard;
pub mod peer;
