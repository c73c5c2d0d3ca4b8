//! `add`: one device, or thousands in one step.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::client::Client;
use super::devices::count;
use super::exit::{Exit, Failure};
use super::files;
use super::follow::pause;
use super::input::{Format, NewDevice, Place, device_id, devices};
use super::output::{Output, render};
use super::progress::Progress;
use super::waiting::Waiting;
use super::{Done, put, say};
use crate::cli::duration;
use crate::grpc::proto::gatehouse::v1::WatchRequest;
use crate::grpc::proto::gsdk::connect::{AddAsyncConnectionRequest, AsyncConnectInfo};

/// The most that one who waits lets wait for him: every event counts, conflated or not.
const QUEUE_SIZE: u32 = 65_536;

/// Keeps devices connected until they are deleted
#[derive(Debug, Args)]
#[command(
    long_about = "Keeps devices connected until they are deleted, over restarts of the gateway too. \
        It answers as soon as the gateway has it on disk; --wait waits until they are connected.\n\n\
        A file is read and checked as a whole first. When a line is wrong it is named by its number \
        and nothing is applied (exit code 7); otherwise all devices go to the gateway in one \
        request, which is applied whole or not at all. The fields are id, address, port (optional, \
        or in the address; 51211 if in neither) and ssl (optional, true or false). CSV begins with \
        a line that names the columns; lines that begin with # are passed over.",
    after_help = "Examples:\n  \
        gatehouse ctl add 1001 192.0.2.7\n  \
        gatehouse ctl add 1001 192.0.2.7:51300 --ssl --wait 30s\n  \
        gatehouse ctl add --file devices.csv --wait 2m\n  \
        generate-devices | gatehouse ctl add --file - --format jsonl\n\n\
        devices.csv:\n  \
        id,address,port,ssl\n  \
        1001,192.0.2.7,,\n  \
        1002,192.0.2.8,51300,true\n\n\
        devices.jsonl:\n  \
        {\"id\":1001,\"address\":\"192.0.2.7\"}\n  \
        {\"id\":1002,\"address\":\"192.0.2.8\",\"port\":51300,\"ssl\":true}\n\n\
        What --wait prints of a device that is not connected in time, as jsonl (exit code 6):\n  \
        {\"id\":1002,\"code\":\"TCP_CANNOT_CONNECT\",\"message\":\"dial_failed connection refused\"}"
)]
pub struct Add {
    /// The ID of the device
    #[arg(value_name = "ID", value_parser = device_id, required_unless_present = "file", requires = "place")]
    id: Option<u32>,
    /// Where it listens: an IPv4 address, with its port if it is not 51211
    #[arg(value_name = "ADDRESS")]
    place: Option<Place>,
    /// Speak TLS with the device
    #[arg(long, conflicts_with = "file")]
    ssl: bool,
    /// A file of devices; `-` for the standard input
    #[arg(long, value_name = "FILE", conflicts_with = "id")]
    file: Option<PathBuf>,
    /// How the file is written [default: by its extension]
    #[arg(long, value_name = "FORMAT", value_enum, requires = "file")]
    format: Option<Format>,
    /// Wait until all of them are connected, at most this long
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    wait: Option<Duration>,
    /// Say how far it is also where the standard error is no terminal
    #[arg(long)]
    progress: bool,
}

impl Add {
    /// The devices, all checked; the gateway is not needed for it.
    ///
    /// # Errors
    /// [`Exit::BadInput`] naming the line that is wrong.
    pub fn devices(&self) -> Result<Vec<NewDevice>, Failure> {
        if let Some(file) = &self.file {
            let (text, format, name) = files::read(file, self.format)?;
            return devices(&text, format, &name);
        }
        let one = self.id.zip(self.place);
        let one = one.map(|(id, place)| NewDevice {
            id,
            place,
            ssl: self.ssl,
        });
        Ok(one.into_iter().collect())
    }

    pub async fn run(self, client: &Client, devices: &[NewDevice], output: Output) -> Done {
        let progress = Progress::new(self.progress);
        progress.phase("devices read and checked", devices.len());
        progress.reached(devices.len());
        let request = AddAsyncConnectionRequest {
            connect_infos: devices.iter().map(info).collect(),
        };
        let added = client
            .ask(client.connect().add_async_connection(request))
            .await;
        if added.is_err() {
            progress.end();
        }
        added?;
        let Some(patience) = self.wait else {
            progress.end();
            say(&format!(
                "the gateway keeps {} connected",
                count(devices.len())
            ));
            return Ok(());
        };
        let waiting = Waiting::new(devices.iter().map(|device| device.id));
        let waited = wait(client, waiting, patience, &progress).await;
        progress.end();
        finish(waited?, output)
    }
}

fn finish(waiting: Waiting, output: Output) -> Done {
    let total = waiting.total();
    let missing = waiting.missing();
    if missing.is_empty() {
        say(&format!("{} connected", count(total)));
        return Ok(());
    }
    put(&render(&missing, output))?;
    let text = format!(
        "{} of {total} devices are not connected yet; the gateway goes on trying",
        missing.len()
    );
    Err(Failure::new(Exit::SomeFailed, text).into())
}

fn info(device: &NewDevice) -> AsyncConnectInfo {
    AsyncConnectInfo {
        device_id: device.id,
        ip_addr: device.place.ip.to_string(),
        port: device.place.port.into(),
        use_ssl: device.ssl,
    }
}

/// Follows the fleet until every device was seen connected or the time is over.
async fn wait(
    client: &Client,
    mut waiting: Waiting,
    patience: Duration,
    progress: &Progress,
) -> Result<Waiting, Failure> {
    let end = Instant::now() + patience;
    progress.phase("devices connected", waiting.total());
    for tries in 0_u32.. {
        let followed = tokio::time::timeout_at(end, follow(client, &mut waiting, progress));
        match followed.await {
            Ok(Ok(())) if waiting.is_done() => break,
            Ok(Ok(())) => {}
            Ok(Err(failure)) if failure.exit == Exit::NotPermitted => return Err(failure),
            Ok(Err(_)) => {}
            Err(_) => break,
        }
        let again = Instant::now() + pause(tries, rand::random());
        tokio::time::sleep_until(again.min(end)).await;
    }
    Ok(waiting)
}

/// Follows until all are connected or the stream ends.
async fn follow(
    client: &Client,
    waiting: &mut Waiting,
    progress: &Progress,
) -> Result<(), Failure> {
    let request = WatchRequest {
        after: 0,
        snapshot: true,
        queue_size: QUEUE_SIZE,
    };
    let mut stream = client.ask(client.fleet().watch(request)).await?;
    while !waiting.is_done() {
        let response = stream
            .message()
            .await
            .map_err(|status| client.blame(&status))?;
        let Some(response) = response else {
            return Ok(());
        };
        if let Some(item) = response.item {
            waiting.take(item);
            progress.reached(waiting.connected());
        }
    }
    Ok(())
}
