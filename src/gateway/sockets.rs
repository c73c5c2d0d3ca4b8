//! The listening sockets of a gateway.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::error::StartError;
use crate::config::{Config, Listen};
use crate::link::listen;

/// Where a gateway listens, with the ports that were taken for 0.
#[derive(Clone, Debug)]
pub struct Listening {
    pub grpc: SocketAddr,
    pub http: Option<SocketAddr>,
    pub aes: Option<SocketAddr>,
    pub tls: Option<SocketAddr>,
    /// Where stock IOTMP clients dial over TLS.
    pub tls_stock: Option<SocketAddr>,
    pub plain: Option<SocketAddr>,
}

/// Every listening socket, bound before anything runs.
pub(super) struct Sockets {
    pub(super) grpc: TcpListener,
    pub(super) http: Option<TcpListener>,
    pub(super) aes: Option<TcpListener>,
    pub(super) tls: Option<TcpListener>,
    pub(super) tls_stock: Option<TcpListener>,
    pub(super) plain: Option<TcpListener>,
    pub(super) listening: Listening,
}

impl Sockets {
    pub(super) fn bind(config: &Config) -> Result<Self, StartError> {
        let (grpc, grpc_address) = bind("grpc.listen", config.grpc.listen)?;
        let (http, http_address) = bind_if_set("http.listen", config.http.listen)?;
        let (aes, aes_address) = bind_if_set("aes.listen", config.aes.listen)?;
        let (tls, tls_address) = bind_if_set("tls.listen", config.tls.listen)?;
        let (tls_stock, tls_stock_address) =
            bind_if_set("tls.stock_listen", config.tls.stock_listen)?;
        let (plain, plain_address) = bind_if_set("plain.listen", config.plain.listen)?;
        Ok(Self {
            grpc,
            http,
            aes,
            tls,
            tls_stock,
            plain,
            listening: Listening {
                grpc: grpc_address,
                http: http_address,
                aes: aes_address,
                tls: tls_address,
                tls_stock: tls_stock_address,
                plain: plain_address,
            },
        })
    }
}

fn bind_if_set(
    key: &'static str,
    listen: Listen,
) -> Result<(Option<TcpListener>, Option<SocketAddr>), StartError> {
    let bound = listen.0.map(|address| bind(key, address));
    Ok(bound.transpose()?.unzip())
}

fn bind(key: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen {
        key,
        address,
        source,
    };
    let socket = listen::bind(address).map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    let socket = TcpListener::from_std(socket).map_err(failed)?;
    Ok((socket, bound))
}
