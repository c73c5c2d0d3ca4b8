//! `gatehouse gateway`: runs the device gateway until it is told to stop.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::config::ConfigFile;
use crate::cli::logging::{self, LogControl};
use crate::cli::{signals, system};
use crate::config::Config;
use crate::gateway::{Listening, Running, SetLogLevel, Start, StartError, Stopped};
use crate::logs::Control;
use crate::service::config_file::ConfigFileError;
use crate::service::passed::{Passed, PassedError};

/// Run the device gateway until SIGTERM or Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "\
Without a configuration file the gateway serves gRPC on 127.0.0.1:4000 and lets devices dial in \
on ports 51212 (aes) and 51213 (tls); everything it keeps lies in ./gatehouse-data.

SIGTERM and Ctrl-C drain: devices are told, sessions are closed at a set pace, everything is \
stored. A second signal ends the gateway at once, with 128 and its number as exit code.

SIGHUP has the configuration, certificates, revocations and link keys read again; a change of \
their files does so too.

Under systemd the gateway tells when it is ready and that it is alive, and takes over listening \
sockets.

Exit codes: 0 it ended in order, 1 it could not start or end in order, 78 the configuration is at \
fault.

Examples:
  gatehouse gateway
  gatehouse gateway --config /etc/gatehouse/gateway.toml
  gatehouse config check --config /etc/gatehouse/gateway.toml   validate the file first")]
pub struct Gateway {
    #[command(flatten)]
    config: ConfigFile,
}

/// Nothing but another configuration lets the gateway start: whoever starts it need not try again.
#[derive(Debug)]
pub struct Misconfigured(Box<dyn Error>);

impl Misconfigured {
    /// `EX_CONFIG` of sysexits.h, which systemd shows as CONFIG. The unit has it under
    /// `RestartPreventExitStatus=`.
    pub const CODE: u8 = 78;
}

impl fmt::Display for Misconfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Misconfigured {}

impl From<ConfigFileError> for Misconfigured {
    fn from(error: ConfigFileError) -> Self {
        Self(error.into())
    }
}

impl From<PassedError> for Misconfigured {
    fn from(error: PassedError) -> Self {
        Self(error.into())
    }
}

/// The error of a start, as it is told to whoever started the gateway.
fn told(error: StartError) -> Box<dyn Error> {
    match error.is_of_configuration() {
        true => Misconfigured(error.into()).into(),
        false => error.into(),
    }
}

impl Gateway {
    /// # Errors
    /// When the gateway cannot start, or not end in order; the text says what to mend.
    /// [`Misconfigured`] when that is the configuration.
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        let config = self.config.read().map_err(Misconfigured::from)?;
        let log = logging::start(&config.log)?;
        // No thread runs yet.
        let passed = Passed::from_environment().map_err(Misconfigured::from)?;
        rlimit::increase_nofile_limit(u64::MAX)?;
        let start = Start {
            passed,
            file: self.config.path().map(Path::to_owned),
            set_log_level: Some(set_by(log.clone())),
            log: Some(Arc::new(log.clone())),
        };
        system::run(run(config, start, log))
    }
}

fn set_by(log: LogControl) -> SetLogLevel {
    Box::new(move |level| log.configure(level).map_err(|bad| bad.to_string()))
}

async fn run(config: Config, start: Start, log: LogControl) -> Result<(), Box<dyn Error>> {
    let mut stop = signals::stop_requested()?;
    let mut hung_up = signal(SignalKind::hangup())?;
    let leading = tokio::spawn(log.clone().run());
    let mut running = Running::start_with(config, start).await.map_err(told)?;
    tell(running.listening());
    loop {
        tokio::select! {
            _ = &mut stop => break,
            // What it came to is told in the log: the gateway goes on either way.
            _ = hung_up.recv() => drop(running.reload().await),
            () = running.failed() => {
                return Err("the registry failed, which is a fault of the gateway; see the log".into());
            }
        }
    }
    tracing::info!("gateway stops");
    let stopped = running.stop().await;
    leading.abort();
    log.tell_left_out();
    match stopped {
        Stopped::InOrder => Ok(()),
        // A disk that hangs would hold the end of the process up as well.
        Stopped::NotStored => std::process::exit(1),
    }
}

fn tell(listening: &Listening) {
    tracing::info!(
        grpc = %listening.grpc,
        http = listening.http.map(tracing::field::display),
        aes = listening.aes.map(tracing::field::display),
        tls = listening.tls.map(tracing::field::display),
        tls_stock = listening.tls_stock.map(tracing::field::display),
        plain = listening.plain.map(tracing::field::display),
        "gateway started"
    );
}
