//! `gatehouse demo`: a gateway and its devices in one process, on an empty machine.

mod cast;
mod papers;
mod screen;
mod switch;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use futures_util::FutureExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{interval, sleep};

use self::cast::Cast;
use self::screen::Screen;
use crate::cli::{duration, system};
use crate::config::{Config, Listen};
use crate::gateway::Running;

/// How often one device loses its connection, so that one sees it come back.
const LOSS_EVERY: Duration = Duration::from_secs(7);

/// How many status changes may wait for a slow terminal before they are conflated.
const QUEUE_MAX: usize = 1024;

/// Show a gateway at work: simulated devices, live status lines, nothing to configure.
#[derive(Debug, Args)]
#[command(after_help = "\
Everything runs in this one process and on loopback; what it stores is removed when it ends. \
Where a usual port is taken, a free one is used. Lines with an arrow say what a client asks of the \
gateway over gRPC to lead one device from being dialled over aes to dialling over TLS.

Examples:
  gatehouse demo              until Ctrl-C
  gatehouse demo --for 20s    ends by itself")]
pub struct Demo {
    /// End after this time [default: run until Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    run_for: Option<Duration>,
}

impl Demo {
    /// # Errors
    /// When the gateway or a device cannot start.
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        let directory = tempfile::Builder::new()
            .prefix("gatehouse-demo-")
            .tempdir()?;
        let config = config(directory.path());
        system::run(async move {
            let gateway = Running::start(config.clone()).await?;
            let result = self.show(&gateway, &config).await;
            gateway.stop().await;
            result
        })
    }

    async fn show(&self, gateway: &Running, config: &Config) -> Result<(), Box<dyn Error>> {
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let handle = gateway.handle();
        let mut changes = handle.subscribe(QUEUE_MAX)?;
        let screen = Screen::new();
        let mut cast = Cast::start(gateway, config).await?;
        screen.title(
            gateway.listening(),
            &config.certs_dir().join("ca.crt"),
            &cast,
        )?;
        cast.enter(&handle).await?;
        let user = papers::admin(config, gateway.listening()).await?;
        let (device, address) = cast.switched().ok_or("no device listens to be switched")?;
        let switch = switch::switch(&user, device, address, &screen).fuse();
        tokio::pin!(switch);
        let mut loss = interval(LOSS_EVERY);
        // The first tick comes at once, before anybody is connected.
        loss.tick().await;
        let end = sleep(self.run_for.unwrap_or(Duration::MAX));
        tokio::pin!(end);
        loop {
            tokio::select! {
                // What is told comes before what is asked because of it.
                biased;
                Some(change) = changes.next() => screen.change(&change, &handle.snapshot())?,
                switched = &mut switch => switched?,
                _ = loss.tick() => cast.lose_one(),
                () = &mut end => break,
                _ = terminated.recv() => break,
                _ = interrupted.recv() => break,
            }
        }
        screen.summary(&handle.snapshot())?;
        Ok(())
    }
}

/// The defaults, on loopback and on free ports, with a store that goes with the demo.
fn config(directory: &Path) -> Config {
    let mut config = Config {
        data_dir: directory.to_owned(),
        ..Config::default()
    };
    config.grpc.listen = usual_or_free(4000);
    config.http.listen = Listen(Some(usual_or_free(4080)));
    config.aes.listen = Listen(Some(usual_or_free(51212)));
    config.tls.listen = Listen(Some(usual_or_free(51213)));
    config.plain.listen = Listen(Some(usual_or_free(25204)));
    config.reconnect.max = Duration::from_secs(5);
    config.credential.extend(cast::credentials());
    config
}

/// This port of loopback, or any free one where it is taken.
fn usual_or_free(port: u16) -> SocketAddr {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(usual) {
        Ok(_) => usual,
        Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    }
}
