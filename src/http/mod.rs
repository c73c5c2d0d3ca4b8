//! The HTTP face: REST, WebSockets and event streams of what devices offer, and the console.
//!
//! A request meets [`front`] (is it meant for this gateway, may its page ask), then [`gate`] (who
//! asks, with which role; [`rules`] says which is wanted), then its handler: [`routes`] tells how
//! one is added.

pub mod app;
mod assets;
mod buckets;
pub mod console;
mod cors;
mod counts;
pub mod extract;
pub mod fleet;
pub mod fleet_view;
mod front;
pub mod gate;
mod headers;
mod health;
pub mod hosts;
pub mod iotmp;
pub mod lease;
mod metrics;
mod observed;
mod openapi;
mod pace;
mod pending;
pub mod problem;
mod properties;
mod resources;
pub mod routes;
pub mod rules;
mod server;
mod sse;
#[cfg(test)]
mod tests;
pub mod tickets;
mod top;
pub mod top_view;
mod websocket;
mod whoami;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::server::Server;
use crate::callers::guard::Guard;
use crate::config;
use crate::functions::ServerFunctions;
use crate::handle::Gateway;
use crate::http::app::App;
use crate::http::iotmp::IotmpDoor;
use crate::metrics::{Meter, table};
use crate::service::readiness::Readiness;
use crate::service::vitals::Vitals;
use crate::store::Store;
use crate::stream::hub::Hub;
use crate::trace::Observer;

/// What the routes reach, and how they are served.
pub struct Services {
    pub gateway: Gateway,
    /// The streams of what devices offer.
    pub streams: Hub,
    pub store: Store,
    pub functions: ServerFunctions,
    /// Where stock devices come in, if they may.
    pub iotmp: Option<IotmpDoor>,
    /// It must be open on loopback at most: [`Guard::for_loopback`].
    pub guard: Guard,
    pub http: config::Http,
    /// More names and addresses of this machine: those of its server certificate.
    pub names: Vec<String>,
    /// How long the refusal of a pending device holds when the call does not say.
    pub refusal_for: Duration,
    pub meter: Meter,
    pub readiness: Readiness,
    pub vitals: Vitals,
    pub observer: Observer,
}

/// Starts to serve a gateway to who connects to `listener`: plainly where that is on loopback, over
/// TLS anywhere else. `address` is that of the listener; `tls` is read at each handshake.
pub fn serve(
    services: Services,
    tls: Arc<ArcSwap<rustls::ServerConfig>>,
    listener: TcpListener,
    address: SocketAddr,
) -> Server {
    let is_plain = address.ip().to_canonical().is_loopback();
    let settings = server::Settings {
        tls: (!is_plain).then_some(tls),
        connections_max: services.http.connections_max,
        ..server::Settings::default()
    };
    start(services, settings, listener)
}

fn start(services: Services, settings: server::Settings, listener: TcpListener) -> Server {
    let stop = CancellationToken::new();
    let settings = server::Settings {
        connected: services.meter.gauge(&table::HTTP_CONNECTIONS, &[]),
        ..settings
    };
    let app = App::new(services, stop.clone());
    let router = routes::router(routes::all(), app);
    Server::start(listener, settings, router, stop)
}
