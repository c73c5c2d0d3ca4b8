//! `gatehouse gateway`: runs the device gateway until it is told to stop.

use std::error::Error;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::config::ConfigFile;
use crate::cli::{logging, system};
use crate::gateway::Running;

/// Run the device gateway until SIGTERM or Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "\
Without a configuration file the gateway serves gRPC on 127.0.0.1:4000 and lets devices dial in \
on ports 51212 (aes) and 51213 (tls); everything it keeps lies in ./gatehouse-data.

SIGHUP has certificates, revocations and link keys read again; a change of their files does so too.

Examples:
  gatehouse gateway
  gatehouse gateway --config /etc/gatehouse/gateway.toml
  gatehouse config check --config /etc/gatehouse/gateway.toml   validate the file first")]
pub struct Gateway {
    #[command(flatten)]
    config: ConfigFile,
}

impl Gateway {
    /// # Errors
    /// When the gateway cannot start; the text says what to mend.
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        let config = self.config.read()?;
        logging::start(&config.log)?;
        rlimit::increase_nofile_limit(u64::MAX)?;
        system::run(async move {
            let mut terminated = signal(SignalKind::terminate())?;
            let mut interrupted = signal(SignalKind::interrupt())?;
            let mut hung_up = signal(SignalKind::hangup())?;
            let mut running = Running::start(config).await?;
            let listening = running.listening();
            tracing::info!(
                grpc = %listening.grpc,
                http = listening.http.map(tracing::field::display),
                aes = listening.aes.map(tracing::field::display),
                tls = listening.tls.map(tracing::field::display),
                tls_stock = listening.tls_stock.map(tracing::field::display),
                plain = listening.plain.map(tracing::field::display),
                "gateway started"
            );
            loop {
                tokio::select! {
                    _ = terminated.recv() => break,
                    _ = interrupted.recv() => break,
                    // What it came to is told in the log: the gateway goes on either way.
                    _ = hung_up.recv() => drop(running.reload().await),
                    () = running.failed() => {
                        return Err("the registry failed, which is a fault of the gateway; see the log".into());
                    }
                }
            }
            tracing::info!("gateway stops");
            running.stop().await;
            Ok(())
        })
    }
}
