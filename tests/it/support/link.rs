//! The two links that the rows of the conformance list are walked on.

use std::net::SocketAddr;

use gatehouse::grpc::proto::gsdk::connect::{AsyncConnectInfo, ConnectRequest, Status};

use super::client;
use super::device::Spec;
use super::gateway::TestGateway;

/// What secures the devices of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Aes,
    Tls,
}

impl Link {
    /// A good device that proves itself by the fleet key, or by a certificate with its ID.
    pub fn spec(self, id: u32, gateway: &TestGateway) -> Spec {
        match self {
            Self::Aes => Spec::new(id, gateway),
            Self::Tls => Spec::tls(id, gateway),
        }
    }

    pub const fn other(self) -> Self {
        match self {
            Self::Aes => Self::Tls,
            Self::Tls => Self::Aes,
        }
    }

    /// Where such devices dial in.
    pub fn port(self, gateway: &TestGateway) -> SocketAddr {
        match self {
            Self::Aes => gateway.aes(),
            Self::Tls => gateway.tls(),
        }
    }

    pub fn auto(self, id: u32, address: SocketAddr) -> AsyncConnectInfo {
        AsyncConnectInfo {
            use_ssl: self == Self::Tls,
            ..client::auto(id, address)
        }
    }

    pub fn connect_to(self, address: SocketAddr) -> ConnectRequest {
        let mut request = client::connect_to(address);
        if let Some(info) = &mut request.connect_info {
            info.use_ssl = self == Self::Tls;
        }
        request
    }

    pub fn connected(self) -> Status {
        match self {
            Self::Aes => Status::TcpConnected,
            Self::Tls => Status::TlsConnected,
        }
    }

    pub fn not_allowed(self) -> Status {
        match self {
            Self::Aes => Status::TcpNotAllowed,
            Self::Tls => Status::TlsNotAllowed,
        }
    }
}

/// Makes each row two tests: `c_06_…::aes` and `c_06_…::tls`.
macro_rules! on_both_links {
    ($($row:ident),* $(,)?) => {$(
        mod $row {
            use crate::support::link::Link;

            #[test]
            fn aes() {
                crate::support::run(super::$row(Link::Aes));
            }

            #[test]
            fn tls() {
                crate::support::run(super::$row(Link::Tls));
            }
        }
    )*};
}

pub(crate) use on_both_links;
