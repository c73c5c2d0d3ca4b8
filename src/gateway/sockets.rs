//! The listening sockets of a gateway.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::error::StartError;
use crate::config::Config;
use crate::link::listen;
use crate::service::passed::{Face, Passed, PassedError};

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

/// Every listening socket, bound or taken over before anything runs.
pub(super) struct Sockets {
    pub(super) clients: ClientSockets,
    pub(super) devices: DeviceSockets,
    pub(super) listening: Listening,
}

/// Those that clients reach.
pub(super) struct ClientSockets {
    pub(super) grpc: TcpListener,
    pub(super) http: Option<Opened>,
}

/// Those that devices dial.
pub(super) struct DeviceSockets {
    pub(super) aes: Option<TcpListener>,
    pub(super) tls: Option<TcpListener>,
    pub(super) tls_stock: Option<TcpListener>,
    pub(super) plain: Option<TcpListener>,
}

impl Sockets {
    /// Takes what was handed over, and binds what was not.
    ///
    /// # Errors
    /// [`StartError`] when an address cannot be had, or what was handed over does not agree with
    /// the configuration.
    pub(super) fn open(config: &Config, mut passed: Passed) -> Result<Self, StartError> {
        let grpc = config.grpc.listen;
        let (grpc, grpc_address) = open_at(Face::Grpc, grpc, &mut passed)?;
        let mut open = |face: Face| open(face, face.configured(config), &mut passed);
        let http = open(Face::Http)?;
        let (aes, aes_address) = open(Face::Aes)?.unzip();
        let (tls, tls_address) = open(Face::Tls)?.unzip();
        let (tls_stock, tls_stock_address) = open(Face::TlsStock)?.unzip();
        let (plain, plain_address) = open(Face::Plain)?.unzip();
        Ok(Self {
            listening: Listening {
                grpc: grpc_address,
                http: http.as_ref().map(|(_, address)| *address),
                aes: aes_address,
                tls: tls_address,
                tls_stock: tls_stock_address,
                plain: plain_address,
            },
            clients: ClientSockets { grpc, http },
            devices: DeviceSockets {
                aes,
                tls,
                tls_stock,
                plain,
            },
        })
    }
}

/// A socket, and where it listens.
pub(super) type Opened = (TcpListener, SocketAddr);

fn open(
    face: Face,
    configured: Option<SocketAddr>,
    passed: &mut Passed,
) -> Result<Option<Opened>, StartError> {
    match configured {
        Some(address) => open_at(face, address, passed).map(Some),
        // Nothing may have been handed over for it either.
        None => Ok(passed.take(face, None).map(|_| None)?),
    }
}

fn open_at(face: Face, address: SocketAddr, passed: &mut Passed) -> Result<Opened, StartError> {
    let Some(socket) = passed.take(face, Some(address))? else {
        return bind(face, address);
    };
    let opened = listen_on(socket).map_err(|source| PassedError::Socket { face, source })?;
    tracing::info!(%face, address = %opened.1, "takes over a socket of the service manager");
    Ok(opened)
}

fn bind(face: Face, address: SocketAddr) -> Result<Opened, StartError> {
    let failed = |source| StartError::Listen {
        key: face.key(),
        address,
        source,
    };
    let socket = listen::bind(address).map_err(failed)?;
    listen_on(socket).map_err(failed)
}

fn listen_on(socket: std::net::TcpListener) -> io::Result<Opened> {
    let address = socket.local_addr()?;
    Ok((TcpListener::from_std(socket)?, address))
}
