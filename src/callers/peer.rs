//! Where a call comes from.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::callers::client_certificate::ClientCertificate;

/// Who called; found in the extensions of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
    /// What it showed in its handshake, which verified it.
    pub certificate: Option<Arc<ClientCertificate>>,
}
