//! `GET /iotmp`: where stock devices come in over a WebSocket. Who they are is proved by their IOTMP
//! Connect, as on any link; this path asks for no token.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, Method, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use soketto::handshake::http::{Server, is_upgrade_request};

use crate::callers::peer::Peer;
use crate::clock;
use crate::codec::frame::{Split, split};
use crate::http::app::App;
use crate::http::hosts::Via;
use crate::http::problem::Problem;
use crate::http::routes::Routes;
use crate::link::listen::{Accepted, Answer, Door, Incoming, Seat};
use crate::link::meters::Meters;
use crate::link::websocket::WebSocket;
use crate::session::AcceptLink;

/// Where they come in. They name whatever host they were told to dial.
pub const PATH: &str = "/iotmp";

/// The subprotocol that a device must ask for.
const SUBPROTOCOL: &str = "iotmp";

/// The longest header of a frame: two varints.
const HEADER_MAX: usize = 20;

/// How long the HTTP server may take to hand the connection over once the upgrade is answered.
const UPGRADE_DEADLINE: Duration = Duration::from_secs(10);

type Start = dyn Fn(Accepted, AcceptLink) + Send + Sync;

/// The way from the HTTP server to the sessions. Cheap to clone.
#[derive(Clone)]
pub struct IotmpDoor {
    door: Door,
    message_max: usize,
    meters: Meters,
    start: Arc<Start>,
}

/// The connection that a request came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carrying {
    pub peer: SocketAddr,
    /// The end of the gateway, where it is known.
    pub local: Option<IpAddr>,
    /// The HTTP server speaks TLS on it.
    pub secured: bool,
}

/// Why there is no WebSocket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refused {
    pub status: StatusCode,
    pub text: &'static str,
}

impl IotmpDoor {
    /// `body_max` is the largest body of a device's frame, in bytes; `start` starts the session of
    /// a connection that was let in.
    pub fn new(
        door: Door,
        body_max: usize,
        meters: Meters,
        start: impl Fn(Accepted, AcceptLink) + Send + Sync + 'static,
    ) -> Self {
        Self {
            door,
            message_max: body_max.saturating_add(HEADER_MAX),
            meters,
            start: Arc::new(start),
        }
    }

    fn seat(&self, peer: SocketAddr) -> Result<(u64, Seat), Refused> {
        match self.door.enter(peer.ip(), clock::now().instant) {
            Answer::Seated(number, seat) => {
                self.meters.seated.increment(1);
                Ok((number, seat))
            }
            Answer::SeatedInsteadOf(number, seat) => {
                self.meters.evicted.increment(1);
                Ok((number, seat))
            }
            Answer::Hold => {
                self.meters.held.increment(1);
                Err(Refused {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    text: "too many devices are connecting at this moment; try again in a few seconds",
                })
            }
            Answer::Refused => {
                self.meters.refused.increment(1);
                Err(Refused {
                    status: StatusCode::TOO_MANY_REQUESTS,
                    text: "too many devices of this address are connecting at this moment; try again in a few seconds",
                })
            }
        }
    }

    async fn hand_over(self, upgrade: OnUpgrade, (number, seat): (u64, Seat), carrying: Carrying) {
        let Carrying {
            peer,
            local,
            secured,
        } = carrying;
        let upgraded = match tokio::time::timeout(UPGRADE_DEADLINE, upgrade).await {
            Ok(Ok(upgraded)) => TokioIo::new(upgraded),
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "lost before its WebSocket was open");
                return;
            }
            Err(_) => {
                tracing::debug!(%peer, "did not take the answer to its upgrade");
                return;
            }
        };
        let stream = WebSocket::new(upgraded, local, self.message_max, message_end);
        let accepted = Accepted {
            stream: Incoming::WebSocket(Box::new(stream)),
            peer,
            number,
            seat,
        };
        (self.start)(accepted, AcceptLink::WebSocket { secured });
    }
}

/// Answers `GET /iotmp`, and starts a session on the WebSocket that comes of it.
///
/// # Errors
/// [`Refused`], when the request asks for no WebSocket that speaks IOTMP, or there is no room.
pub fn upgrade(
    door: &IotmpDoor,
    mut request: Request,
    carrying: Carrying,
) -> Result<Response, Refused> {
    let mut answer = handshake(&request)?;
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return Err(Refused {
            status: StatusCode::UPGRADE_REQUIRED,
            text: "a WebSocket begins with an HTTP/1.1 request here",
        });
    };
    let seat = door.seat(carrying.peer)?;
    let protocol = HeaderValue::from_static(SUBPROTOCOL);
    answer
        .headers_mut()
        .insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    tokio::spawn(door.clone().hand_over(upgrade, seat, carrying));
    Ok(answer)
}

pub fn routes(routes: Routes) -> Routes {
    routes.on(Method::GET, PATH, come_in)
}

async fn come_in(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let Some(door) = &app.services.iotmp else {
        let detail = "devices do not come in here over a WebSocket: http.iotmp is false";
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    let extensions = request.extensions();
    let (peer, via) = (extensions.get::<Peer>(), extensions.get::<Via>());
    let (Some(peer), Some(via)) = (peer, via) else {
        return Err(Problem::forbidden(
            "nobody knows from where this request came",
        ));
    };
    let carrying = Carrying {
        peer: peer.address,
        local: Some(via.local),
        secured: via.is_tls,
    };
    upgrade(door, request, carrying).map_err(|refused| Problem::new(refused.status, refused.text))
}

fn handshake(request: &Request) -> Result<Response, Refused> {
    if !is_upgrade_request(request) {
        return Err(Refused {
            status: StatusCode::UPGRADE_REQUIRED,
            text: "devices come in here over a WebSocket: the request must have Upgrade: websocket",
        });
    }
    if !asks_for_iotmp(request.headers()) {
        return Err(Refused {
            status: StatusCode::BAD_REQUEST,
            text: "the WebSocket must ask for the subprotocol iotmp: Sec-WebSocket-Protocol: iotmp",
        });
    }
    let answer = Server::new().receive_request(request);
    let answer = answer.map_err(|_| Refused {
        status: StatusCode::BAD_REQUEST,
        text: "the WebSocket must have Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key of 24 characters",
    })?;
    Ok(answer.map(|()| Body::empty()))
}

fn asks_for_iotmp(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    let offers = offers.iter().filter_map(|offer| offer.to_str().ok());
    let mut protocols = offers.flat_map(|offer| offer.split(','));
    protocols.any(|protocol| protocol.trim() == SUBPROTOCOL)
}

/// The end of the first frame of IOTMP that the gateway sends; how large it may be was decided when
/// it was made.
fn message_end(bytes: &[u8]) -> Option<usize> {
    match split(bytes, usize::MAX >> 1) {
        Ok(Split::Frame(frame)) => Some(frame.body.end),
        Ok(Split::Incomplete(_)) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests;
