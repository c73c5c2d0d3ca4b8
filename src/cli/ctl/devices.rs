//! `connect`, `delete`, `disconnect`, `mode`, `ssl`: what is done to single devices.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use tonic::Status;

use super::client::Client;
use super::exit::{Exit, Failure};
use super::input::{Format, Place, device_id, ids};
use super::multi::failed_devices;
use super::output::{Output, render, render_one};
use super::row::{Field, Row};
use super::{Done, files, put, say};
use crate::grpc::proto::gsdk::connect::{
    ConnectInfo, ConnectRequest, ConnectionMode, DeleteAsyncConnectionRequest,
    DisableSslMultiRequest, DisableSslRequest, DisconnectAllRequest, DisconnectRequest,
    EnableSslMultiRequest, EnableSslRequest, SetConnectionModeMultiRequest,
    SetConnectionModeRequest,
};

/// Dials a device once and tells its ID
#[derive(Debug, Args)]
#[command(
    long_about = "Dials a device once and tells its ID when it is connected. It leaves the list when \
        it disconnects: `gatehouse ctl add` keeps a device connected.",
    after_help = "Examples:\n  \
        gatehouse ctl connect 192.0.2.7\n  \
        gatehouse ctl connect 192.0.2.7:51300 --ssl --timeout 1m\n\n\
        With --output json:\n  \
        {\"id\":1001}"
)]
pub struct Connect {
    /// Where the device listens: an IPv4 address, with its port if it is not 51211
    #[arg(value_name = "ADDRESS")]
    place: Place,
    /// Speak TLS with the device
    #[arg(long)]
    ssl: bool,
}

/// A device that was connected.
struct Connected {
    id: u32,
}

impl Row for Connected {
    const FIELDS: &'static [Field<Self>] = &[Field::shown("id", 10, |device| device.id.into())];
}

impl Connect {
    pub async fn run(self, client: &Client, output: Output) -> Done {
        let request = ConnectRequest {
            connect_info: Some(ConnectInfo {
                ip_addr: self.place.ip.to_string(),
                port: self.place.port.into(),
                use_ssl: self.ssl,
            }),
        };
        let id = client
            .ask(client.connect().connect(request))
            .await?
            .device_id;
        put(&render_one(&Connected { id }, output))
    }
}

/// Some devices, on the command line or in a file.
#[derive(Debug, Args)]
struct Devices {
    /// The IDs of the devices
    #[arg(value_name = "ID", value_parser = device_id, required_unless_present = "file")]
    ids: Vec<u32>,
    /// A file of IDs, or of devices as `add` takes it; `-` for the standard input
    #[arg(long, value_name = "FILE", conflicts_with = "ids")]
    file: Option<PathBuf>,
    /// How the file is written [default: by its extension]
    #[arg(long, value_name = "FORMAT", value_enum, requires = "file")]
    format: Option<Format>,
}

impl Devices {
    fn ids(self) -> Result<Vec<u32>, Failure> {
        match self.file {
            None => Ok(self.ids),
            Some(file) => {
                let (text, format, name) = files::read(&file, self.format)?;
                ids(&text, format, &name)
            }
        }
    }
}

/// Disconnects devices and forgets them
#[derive(Debug, Args)]
#[command(
    long_about = "Disconnects devices and forgets them: they are dialled no more, over restarts of \
        the gateway too. IDs that are not listed are passed over.",
    after_help = "Examples:\n  \
        gatehouse ctl delete 1001 1002\n  \
        gatehouse ctl delete --file old-devices.csv\n  \
        gatehouse ctl list --output jsonl | gatehouse ctl delete --file - --format jsonl"
)]
pub struct Delete {
    #[command(flatten)]
    devices: Devices,
}

impl Delete {
    pub async fn run(self, client: &Client) -> Done {
        let device_i_ds = self.devices.ids()?;
        let told = format!("asked to forget {}", count(device_i_ds.len()));
        let request = DeleteAsyncConnectionRequest { device_i_ds };
        client
            .ask(client.connect().delete_async_connection(request))
            .await?;
        say(&told);
        Ok(())
    }
}

/// Ends the connections of devices
#[derive(Debug, Args)]
#[command(
    long_about = "Ends the connections of devices. Those that were added are dialled again after \
        their wait; `delete` ends that too.",
    after_help = "Examples:\n  \
        gatehouse ctl disconnect 1001 1002\n  \
        gatehouse ctl disconnect --all"
)]
pub struct Disconnect {
    /// The IDs of the devices
    #[arg(value_name = "ID", value_parser = device_id, required_unless_present = "all")]
    ids: Vec<u32>,
    /// Every device, those that are just being dialled included
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

impl Disconnect {
    pub async fn run(self, client: &Client) -> Done {
        let mut api = client.connect();
        if self.all {
            client
                .ask(api.disconnect_all(DisconnectAllRequest {}))
                .await?;
            say("every device is disconnected");
            return Ok(());
        }
        let device_i_ds = self.ids;
        let told = format!("asked to disconnect {}", count(device_i_ds.len()));
        client
            .ask(api.disconnect(DisconnectRequest { device_i_ds }))
            .await?;
        say(&told);
        Ok(())
    }
}

/// Who opens the TCP connection.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Mode {
    /// The gateway dials the device
    ServerToDevice,
    /// The device dials the gateway
    DeviceToServer,
}

impl Mode {
    /// Its number in the API.
    pub(super) fn number(self) -> i32 {
        match self {
            Self::ServerToDevice => ConnectionMode::ServerToDevice.into(),
            Self::DeviceToServer => ConnectionMode::DeviceToServer.into(),
        }
    }
}

/// Tells connected devices who dials from now on
#[derive(Debug, Args)]
#[command(
    long_about = "Tells connected devices who dials from now on: the gateway (server-to-device) or \
        the device (device-to-server). A device follows when its present connection ends.\n\n\
        Of several devices each is tried; those that failed are listed with code and message, and \
        the exit code is 6.",
    after_help = "Examples:\n  \
        gatehouse ctl mode device-to-server 1001\n  \
        gatehouse ctl mode server-to-device 1001 1002 1003 --output jsonl\n\n\
        One line of jsonl, for a device that failed:\n  \
        {\"id\":1002,\"code\":\"FAILED_PRECONDITION\",\"message\":\"device 1002 is not connected\"}"
)]
pub struct SetMode {
    #[arg(value_enum, value_name = "MODE")]
    mode: Mode,
    /// The IDs of the devices
    #[arg(value_name = "ID", required = true, value_parser = device_id)]
    ids: Vec<u32>,
}

impl SetMode {
    pub async fn run(self, client: &Client, output: Output) -> Done {
        let connection_mode = self.mode.number();
        let mut api = client.connect();
        if let [device_id] = self.ids[..] {
            let request = SetConnectionModeRequest {
                device_id,
                connection_mode,
            };
            client.ask(api.set_connection_mode(request)).await?;
        } else {
            let of = self.ids.len();
            let request = SetConnectionModeMultiRequest {
                device_i_ds: self.ids,
                connection_mode,
            };
            let call = api.set_connection_mode_multi(request);
            let answer = client.answer(call, client.patience()).await?;
            report(client, answer.map(drop), of, output)?;
        }
        say("done");
        Ok(())
    }
}

/// Tells connected devices to speak TLS from now on, or to stop it
#[derive(Debug, Subcommand)]
#[command(
    long_about = "Tells connected devices to speak TLS from now on, or to stop it. A device follows \
        when its present connection ends.\n\n\
        Of several devices each is tried; those that failed are listed with code and message, and \
        the exit code is 6.",
    after_help = "Examples:\n  \
        gatehouse ctl ssl enable 1001\n  \
        gatehouse ctl ssl disable 1001 1002 1003"
)]
pub enum Ssl {
    /// Speak TLS from the next connection on
    #[command(after_help = "Example:\n  gatehouse ctl ssl enable 1001 1002")]
    Enable(SslDevices),
    /// Speak TLS no more
    #[command(after_help = "Example:\n  gatehouse ctl ssl disable 1001 1002")]
    Disable(SslDevices),
}

#[derive(Debug, Args)]
pub struct SslDevices {
    /// The IDs of the devices
    #[arg(value_name = "ID", required = true, value_parser = device_id)]
    ids: Vec<u32>,
}

impl Ssl {
    pub async fn run(self, client: &Client, output: Output) -> Done {
        let mut api = client.connect();
        let (is_on, device_i_ds) = match self {
            Self::Enable(devices) => (true, devices.ids),
            Self::Disable(devices) => (false, devices.ids),
        };
        let of = device_i_ds.len();
        let one = match device_i_ds[..] {
            [device_id] => Some(device_id),
            _ => None,
        };
        match (is_on, one) {
            (true, Some(device_id)) => {
                client
                    .ask(api.enable_ssl(EnableSslRequest { device_id }))
                    .await?;
            }
            (false, Some(device_id)) => {
                client
                    .ask(api.disable_ssl(DisableSslRequest { device_id }))
                    .await?;
            }
            (true, None) => {
                let call = api.enable_ssl_multi(EnableSslMultiRequest { device_i_ds });
                let answer = client.answer(call, client.patience()).await?;
                report(client, answer.map(drop), of, output)?;
            }
            (false, None) => {
                let call = api.disable_ssl_multi(DisableSslMultiRequest { device_i_ds });
                let answer = client.answer(call, client.patience()).await?;
                report(client, answer.map(drop), of, output)?;
            }
        }
        say("done");
        Ok(())
    }
}

/// Lists the devices that failed of those that were asked.
pub(super) fn report(
    client: &Client,
    answer: Result<(), Status>,
    of: usize,
    output: Output,
) -> Done {
    let Err(status) = answer else {
        return Ok(());
    };
    let failed = failed_devices(&status);
    if failed.is_empty() {
        return Err(client.blame(&status).into());
    }
    put(&render(&failed, output))?;
    let text = format!("{} of {of} devices failed", failed.len());
    Err(Failure::new(Exit::SomeFailed, text).into())
}

/// `1 device`, `2 devices`.
pub(super) fn count(devices: usize) -> String {
    match devices {
        1 => "1 device".to_owned(),
        devices => format!("{devices} devices"),
    }
}
