//! One device is led by calls alone from being dialled over aes, with the fleet key, to dialling
//! over TLS with a credential of its own.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::sleep;
use tonic::Streaming;

use super::screen::Screen;
use crate::cli::ctl::client::Client;
use crate::grpc::proto::gatehouse::v1::{ApproveRequest, ListIdentitiesRequest, SecretKind};
use crate::grpc::proto::gsdk::connect::{
    ConnectInfo, ConnectRequest, ConnectionMode, DisconnectRequest, EnableSslRequest,
    SetConnectionModeRequest, Status, StatusChange, SubscribeStatusRequest,
};

/// Before each call, so that one can follow.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at the list of identities.
const LOOK_EVERY: Duration = Duration::from_millis(50);

type Done = Result<(), Box<dyn Error>>;

/// Plays it from the beginning to the end. What happens to the device is told elsewhere.
///
/// # Errors
/// When a call fails.
pub async fn switch(user: &Client, device: u32, address: SocketAddr, screen: &Screen) -> Done {
    let subscribe = SubscribeStatusRequest { queue_size: 64 };
    let statuses = user.ask(user.connect().subscribe_status(subscribe)).await?;
    let mut switch = Switch {
        user,
        device,
        statuses,
        screen,
    };
    switch.connect(address).await?;
    switch.tell_to_dial().await?;
    switch.approve().await?;
    switch.enable_ssl().await?;
    screen.asked(device, "done: it dials over TLS now, by calls alone")?;
    Ok(())
}

struct Switch<'a> {
    user: &'a Client,
    device: u32,
    statuses: Streaming<StatusChange>,
    screen: &'a Screen,
}

impl Switch<'_> {
    async fn connect(&mut self, address: SocketAddr) -> Done {
        self.say("Connect: the gateway dials it over aes, with the fleet key")
            .await?;
        let request = ConnectRequest {
            connect_info: Some(ConnectInfo {
                ip_addr: address.ip().to_string(),
                port: address.port().into(),
                use_ssl: false,
            }),
        };
        self.user.ask(self.user.connect().connect(request)).await?;
        self.until(Status::TcpConnected).await
    }

    /// Until it has dialled, and nobody has said that it may.
    async fn tell_to_dial(&mut self) -> Done {
        self.say("SetConnectionMode DEVICE_TO_SERVER: it is told to dial, and whom")
            .await?;
        let request = SetConnectionModeRequest {
            device_id: self.device,
            connection_mode: ConnectionMode::DeviceToServer.into(),
        };
        let mut api = self.user.connect();
        self.user.ask(api.set_connection_mode(request)).await?;
        self.disconnect().await?;
        self.until(Status::TcpNotAllowed).await
    }

    /// Until it has come in, and has a link key that nobody else has.
    async fn approve(&mut self) -> Done {
        self.say("Approve, with enrolment: it may come in, and gets a link key of its own")
            .await?;
        let request = ApproveRequest {
            device_ids: vec![self.device],
            enrol: true,
        };
        let mut api = self.user.approvals();
        self.user.ask(api.approve(request)).await?;
        self.until(Status::TcpConnected).await?;
        while !self.is_enrolled().await? {
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn enable_ssl(&mut self) -> Done {
        self.say("EnableSSL: it is given the root certificate and a credential")
            .await?;
        let request = EnableSslRequest {
            device_id: self.device,
        };
        self.user
            .ask(self.user.connect().enable_ssl(request))
            .await?;
        self.disconnect().await?;
        self.until(Status::TlsConnected).await
    }

    /// At once: a device that has new settings may end its link by itself.
    async fn disconnect(&mut self) -> Done {
        self.screen.asked(
            self.device,
            "Disconnect: what it was told holds for its next link",
        )?;
        let request = DisconnectRequest {
            device_i_ds: vec![self.device],
        };
        self.user
            .ask(self.user.connect().disconnect(request))
            .await?;
        self.until(Status::Disconnected).await
    }

    async fn is_enrolled(&self) -> Result<bool, Box<dyn Error>> {
        let mut api = self.user.identities();
        let list = self.user.ask(api.list(ListIdentitiesRequest {})).await?;
        let name = self.device.to_string();
        Ok(list.identities.iter().any(|stored| {
            let device = stored.identity.as_ref().map(|identity| &identity.device);
            device == Some(&name) && stored.kind() == SecretKind::LinkKey && !stored.rotating
        }))
    }

    async fn say(&self, words: &str) -> Done {
        sleep(PAUSE).await;
        Ok(self.screen.asked(self.device, words)?)
    }

    /// Reads on until the device has this status.
    async fn until(&mut self, status: Status) -> Done {
        loop {
            let change = self.statuses.message().await?;
            let change = change.ok_or("the gateway ended the stream of statuses")?;
            if change.device_id == self.device && change.status() == status {
                return Ok(());
            }
        }
    }
}
