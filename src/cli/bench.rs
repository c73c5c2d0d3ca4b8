//! `gatehouse bench`: what a session costs here, beside what the bare machine can do.

mod bare;
mod bare_fanout;
mod bare_link;
mod bare_stream;
mod counting;
mod fleet;
mod handshake;
mod list;
mod party;
mod quantiles;
mod ramp;
mod report;
mod sampler;
mod samples;
mod sizes;
mod status;
mod storm;
mod subject;
mod usage;

use std::error::Error;
use std::ops::Range;
use std::thread;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use self::party::{PLAIN_FIRST_ID, Party, TLS_FIRST_ID};
use self::report::Report;
use self::sizes::Sizes;
use self::status::Bystander;
use self::storm::Storm;
use self::subject::Subject;
use crate::cli::{logging, system};
use crate::config::Log;

/// Sessions of each link with --quick.
const QUICK: u32 = 500;
/// Devices of the storm with --quick.
const QUICK_STORM: u32 = 300;
/// The devices whose sockets are closed. Few, so that their identities are soon known.
const CLOSED_IDS: Range<u32> = 950_000..950_016;

/// The devices whose samples are read.
const SAMPLED_IDS: Range<u32> = 960_000..960_010;

/// Measures what sessions cost on this machine
#[derive(Debug, Args)]
#[command(
    long_about = "Measures what sessions cost on this machine: memory of an idle session, how fast \
        devices connect, how soon a subscriber knows that one is gone, and the list of all of \
        them. Beside each figure stands what a bare loop without a gateway takes here, in the \
        same process and the same run: the ratio of the two means more than the figure.\n\n\
        The gateway runs in this process, on free ports of loopback and a temporary directory; \
        nothing of it stays. The devices run in processes of their own on the same cores, so that \
        a rate is what gateway and devices reach together; \"cpu us\" is the processor time of the \
        gateway's process alone. A device's first time pays for storing its identity, and then \
        never again. On a tls link, which is TLS 1.3 without a certificate of the device, \"resumed\" \
        is with the ticket of the session before, all others are whole handshakes; the bare loop \
        is tokio-rustls. The gateway's log is off but for warnings.\n\n\
        In a storm, --storm devices on tls links are gone at once and come back at once, first \
        because they lose their power and then because the gateway ends their sessions. It is \
        measured when all are back, and what a subscriber sees meanwhile of another device whose \
        socket is closed.\n\n\
        Samples go from ten devices, as quickly as they are read, to twenty WebSockets each; \
        beside them stands a bare axum server that sends what it reads from a socket on.\n\n\
        Counting is measured with two gateways on plain links, one that counts and one with \
        metrics.enabled = false, to which the same devices connect in turn.\n\n\
        It takes about a minute, on Linux.",
    after_help = "Examples:\n  \
        gatehouse bench\n  \
        gatehouse bench --quick --format json"
)]
pub struct Bench {
    /// How many sessions of each link are there at once; fewer where the limit of open files says
    /// so
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..=500_000),
    )]
    sessions: u32,
    /// See that it runs: 500 sessions, and figures that mean little
    #[arg(long, conflicts_with = "sessions")]
    quick: bool,
    /// How many devices a storm takes; 0: no storm
    #[arg(
        long,
        value_name = "N",
        default_value_t = 5000,
        conflicts_with = "quick",
        value_parser = clap::value_parser!(u32).range(0..=500_000),
    )]
    storm: u32,
    /// How the figures are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for a person to read
    Text,
    /// One JSON object
    Json,
}

impl Bench {
    /// # Errors
    /// When something cannot be measured; the text says why.
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        logging::start(&Log {
            level: "warn".to_owned(),
            ..Log::default()
        })?;
        let files = rlimit::increase_nofile_limit(u64::MAX)?;
        let sizes = self.sizes(files);
        system::run(async move {
            let mut terminated = signal(SignalKind::terminate())?;
            let mut interrupted = signal(SignalKind::interrupt())?;
            // Whichever ends first, the devices end with it.
            let report = tokio::select! {
                report = measure(sizes) => report?,
                _ = terminated.recv() => return Err("stopped before the end".into()),
                _ = interrupted.recv() => return Err("stopped before the end".into()),
            };
            Ok(super::print(&match self.format {
                Format::Text => report.to_table(),
                Format::Json => format!("{}\n", serde_json::to_string(&report)?),
            })?)
        })
    }

    fn sizes(&self, files: u64) -> Sizes {
        if self.quick {
            return Sizes::whole(QUICK, QUICK_STORM, files).quick();
        }
        let sizes = Sizes::whole(self.sessions, self.storm, files);
        if let Some(shortfall) = sizes.shortfall(self.sessions, files) {
            eprintln!("gatehouse: {shortfall}");
        }
        sizes
    }
}

/// Everything, in the order in which the machine is least disturbed: memory is measured while
/// nothing that was measured before has been freed.
async fn measure(sizes: Sizes) -> Result<Report, Box<dyn Error>> {
    let progress = progress();
    progress.set_message("starting a gateway");
    let tls_ids = TLS_FIRST_ID..TLS_FIRST_ID + sizes.tls.max(sizes.storm);
    let with_secret = CLOSED_IDS
        .chain(SAMPLED_IDS)
        .chain(PLAIN_FIRST_ID..PLAIN_FIRST_ID + sizes.plain)
        .chain(tls_ids);
    let subject = Subject::start(with_secret).await?;
    let plain = Party::plain(&subject, sizes.plain)?;
    let aes = Party::aes(&subject, sizes.aes)?;
    let tls = Party::tls(&subject, sizes.tls)?;
    let mut fleets = Vec::new();
    progress.set_message("memory, bare loops");
    let plain_bare = plain.idle_bare(sizes.bare, &mut fleets).await?;
    let aes_bare = aes.idle_bare(sizes.bare, &mut fleets).await?;
    let tls_bare = tls.idle_bare(sizes.bare, &mut fleets).await?;
    progress.set_message("memory, plain sessions");
    let plain_first = plain.first(&subject, &mut fleets).await?;
    progress.set_message("memory, aes sessions");
    let aes_first = aes.first(&subject, &mut fleets).await?;
    progress.set_message("memory, tls sessions");
    let tls_first = tls.first(&subject, &mut fleets).await?;
    progress.set_message("status and list");
    let status = status::measure(&subject, CLOSED_IDS, sizes.closes).await?;
    let list = list::measure(&subject).await?;
    let scrape = counting::scrape(&subject).await?;
    drop(fleets);
    subject.until_empty().await?;
    progress.set_message("connecting, plain");
    let plain = plain.link(&subject, plain_bare, plain_first).await?;
    progress.set_message("connecting, aes");
    let aes = aes.link(&subject, aes_bare, aes_first).await?;
    progress.set_message("connecting, tls");
    let tls = tls.link(&subject, tls_bare, tls_first).await?;
    progress.set_message("samples");
    let samples = samples::measure(&subject, SAMPLED_IDS, sizes.load).await?;
    subject.until_empty().await?;
    progress.set_message("a storm");
    let storm = weather(&subject, &sizes).await?;
    progress.set_message("handshakes");
    let cores = thread::available_parallelism()?.get();
    let (server, roots) = (subject.bare_tls()?, subject.roots()?);
    let handshakes_per_second = handshake::measure(cores, sizes.handshakes, server, roots)?;
    subject.stop().await;
    progress.set_message("counting");
    let counting = counting::measure(sizes.counted).await?;
    progress.finish_and_clear();
    Ok(Report {
        cores,
        plain,
        aes,
        tls,
        handshakes_per_second,
        status,
        samples,
        storm,
        list,
        counting,
        scrape,
    })
}

async fn weather(subject: &Subject, sizes: &Sizes) -> Result<Option<Storm>, Box<dyn Error>> {
    if sizes.storm == 0 {
        return Ok(None);
    }
    let devices = storm::Devices {
        subject,
        proof: &subject.tls_credential(),
        first_id: TLS_FIRST_ID,
        count: sizes.storm,
    };
    let mut bystander = Bystander::start(subject, CLOSED_IDS).await?;
    let storm = storm::measure(&devices, &mut bystander, sizes.closes).await?;
    Ok(Some(storm))
}

/// On the standard error, and only where that is a terminal.
fn progress() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{elapsed} {msg} …");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}
