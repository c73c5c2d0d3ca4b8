//! How soon a subscriber knows that a device is gone.

use std::error::Error;
use std::iter::Cycle;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::Streaming;

use super::bare_stream::BareStream;
use super::fleet::Proof;
use super::quantiles::Quantiles;
use super::subject::{Client, Subject};
use crate::clock;
use crate::grpc::proto::gsdk::connect::{Status, StatusChange, SubscribeStatusRequest};
use crate::sim::device::{Device, Event, Output};
use crate::sim::link::{Link, Role, Security};
use crate::sim::spec::Spec;

/// No single wait takes this long; it only keeps the bench from hanging.
const PATIENCE: Duration = Duration::from_secs(10);
/// Larger than what ever waits.
const QUEUE_SIZE: i32 = 1024;

/// From the close of a socket to who wants to know.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Latency {
    pub(super) sessions: usize,
    pub(super) closes: usize,
    /// To a subscriber over TLS.
    pub(super) subscriber: Quantiles,
    /// A bare tonic stream, from its channel to its client.
    pub(super) bare_stream: Quantiles,
    /// A bare socket, to the end of file at the other end.
    pub(super) bare_socket: Quantiles,
}

/// Closes the sockets of these devices, which have the credential, in turn until it was done
/// `times` times; and does the same without a gateway.
///
/// # Errors
/// When a device cannot connect, or a change does not come.
pub(super) async fn measure(
    subject: &Subject,
    ids: Range<u32>,
    times: usize,
) -> Result<Latency, Box<dyn Error>> {
    Ok(Latency {
        sessions: subject.connected(),
        closes: times,
        subscriber: of_gateway(subject, ids, times).await?,
        bare_stream: of_bare_stream(subject, times).await?,
        bare_socket: of_bare_socket(times).await?,
    })
}

async fn of_gateway(
    subject: &Subject,
    ids: Range<u32>,
    times: usize,
) -> Result<Quantiles, Box<dyn Error>> {
    let mut bystander = Bystander::start(subject, ids).await?;
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        taken.push(bystander.close_one().await?);
    }
    Ok(Quantiles::of(taken))
}

/// A few devices on plain links, and a subscriber who wants to know of them.
pub(super) struct Bystander {
    address: SocketAddr,
    proof: Proof,
    ids: Cycle<Range<u32>>,
    changes: Streaming<StatusChange>,
}

impl Bystander {
    /// `ids`: of devices that have the credential.
    ///
    /// # Errors
    /// When the API cannot be reached.
    pub(super) async fn start(subject: &Subject, ids: Range<u32>) -> Result<Self, Box<dyn Error>> {
        let proof = subject.credential();
        Ok(Self {
            address: subject.address(&proof)?,
            proof,
            ids: ids.cycle(),
            changes: subscribe(subject.client().await?).await?,
        })
    }

    /// Connects the next device, and measures from the close of its socket until its
    /// `DISCONNECTED` is read from a `SubscribeStatus` stream.
    ///
    /// # Errors
    /// When it cannot connect, or a change does not come.
    pub(super) async fn close_one(&mut self) -> Result<Duration, Box<dyn Error>> {
        let id = self.ids.next().ok_or("there is no device to be closed")?;
        let link = timeout(PATIENCE, connect(self.address, id, &self.proof)).await??;
        wait_for(&mut self.changes, id, Status::TcpConnected).await?;
        let closed = Instant::now();
        drop(link);
        wait_for(&mut self.changes, id, Status::Disconnected).await?;
        Ok(closed.elapsed())
    }
}

/// From a change that is put into a channel until it is read from a bare tonic stream.
async fn of_bare_stream(subject: &Subject, times: usize) -> Result<Quantiles, Box<dyn Error>> {
    let (server, address, sender) =
        BareStream::serve(subject.tls()?, &subject.directory_beside()?).await?;
    let mut changes = subscribe(subject.client_at(address).await?).await?;
    let mut taken = Vec::with_capacity(times);
    for id in (1..).take(times) {
        let mut change = StatusChange {
            device_id: id,
            ..StatusChange::default()
        };
        change.set_status(Status::Disconnected);
        let sent = Instant::now();
        sender.send(change)?;
        wait_for(&mut changes, id, Status::Disconnected).await?;
        taken.push(sent.elapsed());
    }
    drop(changes);
    server.stop().await;
    Ok(Quantiles::of(taken))
}

/// From the close of a socket until the other end reads the end of the file.
async fn of_bare_socket(times: usize) -> Result<Quantiles, Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (near, mut far) = (near?, far?.0);
        let (ready, is_reading) = oneshot::channel();
        let reading = tokio::spawn(async move {
            // Who waits for it is there.
            let _ = ready.send(());
            far.read(&mut [0; 1]).await.map(|_| Instant::now())
        });
        is_reading.await?;
        let closed = Instant::now();
        drop(near);
        let ended = timeout(PATIENCE, reading).await???;
        taken.push(ended.saturating_duration_since(closed));
    }
    Ok(Quantiles::of(taken))
}

async fn subscribe(mut client: Client) -> Result<Streaming<StatusChange>, Box<dyn Error>> {
    let request = SubscribeStatusRequest {
        queue_size: QUEUE_SIZE,
    };
    Ok(client.subscribe_status(request).await?.into_inner())
}

async fn wait_for(
    changes: &mut Streaming<StatusChange>,
    id: u32,
    status: Status,
) -> Result<(), Box<dyn Error>> {
    loop {
        let change = timeout(PATIENCE, changes.message()).await;
        let change = change.map_err(|_| format!("device {id} was not told as {status:?}"))??;
        let change = change.ok_or("the status stream ended")?;
        if change.device_id == id && change.status() == status {
            return Ok(());
        }
    }
}

/// A device that is admitted, and has told the gateway what it is, so that nothing is unread when
/// its socket is closed.
///
/// # Errors
/// When it is not admitted.
pub(super) async fn connect(
    address: SocketAddr,
    id: u32,
    proof: &Proof,
) -> Result<Link, Box<dyn Error>> {
    let mut config = Spec::new(id, Security::Plain).device;
    if let Proof::Credential(secret) = proof {
        config.credential.clone_from(secret);
    }
    let mut device = Device::new(config);
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut link = Link::open(stream, &Security::Plain, Role::Dialled).await?;
    loop {
        while let Some(output) = device.poll_output() {
            match output {
                Output::Send(bytes) => link.write(&bytes).await?,
                Output::Report(Event::Described) => return Ok(link),
                Output::Report(
                    Event::Admitted
                    | Event::Written(_)
                    | Event::StreamStarted { .. }
                    | Event::StreamRefused { .. }
                    | Event::StreamStopped { .. }
                    | Event::Answered { .. }
                    | Event::Pushed { .. },
                ) => {}
                Output::Report(Event::Refused(why) | Event::Disconnected(why)) => {
                    return Err(format!("device {id} could not connect: {why}").into());
                }
                Output::Close => return Err(format!("device {id} closed its link").into()),
            }
        }
        let mut received = Vec::new();
        link.read(&mut received).await?;
        device.handle_bytes(&received, clock::now().instant);
    }
}
