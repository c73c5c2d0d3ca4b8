//! The ways in for devices that dial: a listener for each kind of link, and the WebSocket.

use actix::{Actor, Addr};
use tokio::net::TcpListener;

use super::fleet::Fleet;
use super::measure;
use super::sessions::Sessions;
use super::sockets::DeviceSockets;
use crate::config::Config;
use crate::http::iotmp::IotmpDoor;
use crate::link::listen::{Door, Listener};
use crate::link::meters::Meters;
use crate::link::waiting_room::WaitingRoom;
use crate::metrics::Meter;
use crate::session::AcceptLink;

pub(super) struct Doors {
    /// That of the waiting room behind all of them.
    pub(super) door: Door,
    pub(super) listeners: Vec<Addr<Listener>>,
    pub(super) iotmp: IotmpDoor,
}

impl Doors {
    /// Lets devices in that dial, but over WebSockets: HTTP does that.
    pub(super) fn open(
        config: &Config,
        meter: &Meter,
        fleet: &Fleet,
        sockets: DeviceSockets,
    ) -> Self {
        let sessions = fleet
            .starter
            .reporting_to(fleet.registry.clone().recipient());
        let door = Door::new(WaitingRoom::new(
            config.inbound.waiting_max,
            config.inbound.waiting_per_source_max,
        ));
        measure::waiting_room(meter, door.clone());
        let listen = |(name, socket, link): (&str, Option<TcpListener>, AcceptLink)| {
            let socket = socket?;
            let meters = Meters::new(meter, name);
            let sessions = sessions.clone();
            let accept = move |accepted| sessions.accept(accepted, link);
            Some(Listener::new(socket, door.clone(), meters, accept).start())
        };
        let sockets = [
            ("aes", sockets.aes, AcceptLink::Aes),
            ("tls", sockets.tls, AcceptLink::Tls),
            ("tls_stock", sockets.tls_stock, AcceptLink::Tls),
            ("plain", sockets.plain, AcceptLink::Plain),
        ];
        Self {
            listeners: sockets.into_iter().filter_map(listen).collect(),
            iotmp: over_websocket(&door, meter, sessions),
            door,
        }
    }
}

fn over_websocket(door: &Door, meter: &Meter, sessions: Sessions) -> IotmpDoor {
    let body_max = sessions.body_in_max();
    let meters = Meters::new(meter, "websocket");
    let start = move |accepted, link| sessions.accept(accepted, link);
    IotmpDoor::new(door.clone(), body_max, meters, start)
}
