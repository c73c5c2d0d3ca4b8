//! How many samples a second go from devices to WebSockets.

use std::error::Error;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::bare_fanout::BareFanout;
use super::sampler::{BareSampler, Sampler, SendSamples};
use super::subject::Subject;

/// No single wait takes this long; it only keeps the bench from hanging.
const PATIENCE: Duration = Duration::from_secs(30);
/// A device sends so many, and waits until all its readers have them: less than what a reader may
/// have waiting, so that nothing is lost.
pub(super) const WINDOW: usize = 64;
/// What every data frame holds, here and at the bare server.
pub(super) const DATA: &str = "\"celsius\"";

/// What is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) devices: u32,
    /// WebSockets on the resource of each device.
    pub(super) readers: usize,
    /// Samples that each device sends: a multiple of [`WINDOW`].
    pub(super) samples: usize,
}

/// Samples read a second, over all WebSockets.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Samples {
    pub(super) devices: u32,
    pub(super) sockets: usize,
    pub(super) per_second: f64,
    /// A bare axum server: a line of text from a socket into a broadcast channel.
    pub(super) bare_per_second: f64,
}

/// `ids`: of devices that have the credential.
///
/// # Errors
/// When a device or a reader cannot connect, or samples do not come.
pub(super) async fn measure(
    subject: &Subject,
    ids: Range<u32>,
    load: Load,
) -> Result<Samples, Box<dyn Error>> {
    Ok(Samples {
        devices: load.devices,
        sockets: load.devices as usize * load.readers,
        per_second: of_gateway(subject, ids, load).await?,
        bare_per_second: of_bare(load).await?,
    })
}

async fn of_gateway(subject: &Subject, ids: Range<u32>, load: Load) -> Result<f64, Box<dyn Error>> {
    let http = subject.http()?;
    let mut samplers = Vec::new();
    let mut readers = Vec::new();
    for id in ids.take(load.devices as usize) {
        let mut sampler = Sampler::connect(subject, id).await?;
        let path = format!("/v3/users/~/devices/{id}/resources/{}", Sampler::RESOURCE);
        let opening = Readers::open(http, &path, load.readers);
        let (opened, asked) = tokio::join!(opening, sampler.until_asked());
        asked?;
        samplers.push(sampler);
        readers.push(opened?);
    }
    rate(load, samplers, readers).await
}

async fn of_bare(load: Load) -> Result<f64, Box<dyn Error>> {
    let server = BareFanout::serve().await?;
    let mut samplers = Vec::new();
    let mut readers = Vec::new();
    for id in 0..load.devices {
        let path = format!("/{id}");
        readers.push(Readers::open(server.http, &path, load.readers).await?);
        samplers.push(BareSampler::connect(server.devices, id).await?);
    }
    rate(load, samplers, readers).await
}

/// Has every sampler send to its readers, and tells how many samples they read a second.
async fn rate<S: SendSamples>(
    load: Load,
    samplers: Vec<S>,
    readers: Vec<Readers>,
) -> Result<f64, Box<dyn Error>> {
    let began = Instant::now();
    let work = samplers.into_iter().zip(readers);
    try_join_all(work.map(|(mut sampler, mut readers)| async move {
        for _ in 0..load.samples / WINDOW {
            sampler.send(WINDOW).await?;
            readers.have_a_window().await?;
        }
        Ok::<_, Box<dyn Error>>(())
    }))
    .await?;
    let read = load.devices as usize * load.readers * load.samples;
    Ok(read as f64 / began.elapsed().as_secs_f64())
}

/// WebSockets on one resource.
struct Readers {
    count: usize,
    windows: mpsc::Receiver<()>,
}

impl Readers {
    async fn open(address: SocketAddr, path: &str, count: usize) -> Result<Self, Box<dyn Error>> {
        let (had_one, windows) = mpsc::channel(count);
        for _ in 0..count {
            let url = format!("ws://{address}{path}");
            let (mut socket, _) = timeout(PATIENCE, connect_async(url)).await??;
            let had_one = had_one.clone();
            tokio::spawn(async move {
                let mut read = 0;
                while let Some(Ok(message)) = socket.next().await {
                    if let Message::Text(text) = message
                        && text.contains(DATA)
                    {
                        read += 1;
                        if read % WINDOW == 0 && had_one.send(()).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
        Ok(Self { count, windows })
    }

    /// Waits until every one of them has read one window more.
    async fn have_a_window(&mut self) -> Result<(), Box<dyn Error>> {
        for _ in 0..self.count {
            let had_one = timeout(PATIENCE, self.windows.recv()).await?;
            had_one.ok_or("a reader lost its connection")?;
        }
        Ok(())
    }
}
