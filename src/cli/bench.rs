//! `gatehouse bench`: what a session costs here, beside what the bare machine can do.

mod bare;
mod bare_stream;
mod fleet;
mod handshake;
mod list;
mod quantiles;
mod ramp;
mod report;
mod sizes;
mod status;
mod subject;
mod usage;

use std::error::Error;
use std::net::SocketAddr;
use std::ops::Range;
use std::thread;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use self::bare::BareLoop;
use self::fleet::{Fleet, Proof};
use self::ramp::Ramp;
use self::report::{Link, Memory, Report};
use self::sizes::{Sizes, WARM};
use self::subject::Subject;
use crate::cli::{logging, system};
use crate::config::Log;
use crate::sim::link::Security;

/// Sessions of each link with --quick.
const QUICK: u32 = 500;
/// Devices started a second: above what two cores connect, and so few that those which wait find
/// room. A full queue of the listening socket drops a SYN, which is sent again after a second.
const PLAIN_RATES: Rates = Rates {
    first: 12_000,
    again: 30_000,
};
const AES_RATES: Rates = Rates {
    first: 8000,
    again: 12_000,
};

/// The devices whose sockets are closed. Few, so that their identities are soon known.
const CLOSED_IDS: Range<u32> = 950_000..950_016;
const PLAIN_FIRST_ID: u32 = 1_000_000;
const AES_FIRST_ID: u32 = 2_000_000;
const BARE_FIRST_ID: u32 = 3_000_000;

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
        never again. The gateway's log is off but for warnings.\n\n\
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
            return Sizes::whole(QUICK, files).quick();
        }
        let sizes = Sizes::whole(self.sessions, files);
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
    let with_secret = CLOSED_IDS.chain(PLAIN_FIRST_ID..PLAIN_FIRST_ID + sizes.plain);
    let subject = Subject::start(with_secret).await?;
    let plain = Party::plain(&subject, sizes.plain)?;
    let aes = Party::aes(&subject, sizes.aes)?;
    let mut fleets = Vec::new();
    progress.set_message("memory, bare loops");
    let plain_bare = plain.idle_bare(sizes.bare, &mut fleets).await?;
    let aes_bare = aes.idle_bare(sizes.bare, &mut fleets).await?;
    progress.set_message("memory, plain sessions");
    let plain_first = plain.first(&subject, &mut fleets).await?;
    progress.set_message("memory, aes sessions");
    let aes_first = aes.first(&subject, &mut fleets).await?;
    progress.set_message("status and list");
    let status = status::measure(&subject, CLOSED_IDS, sizes.closes).await?;
    let list = list::measure(&subject).await?;
    drop(fleets);
    subject.until_empty().await?;
    progress.set_message("connecting, plain");
    let plain = plain.link(&subject, plain_bare, plain_first).await?;
    progress.set_message("connecting, aes");
    let aes = aes.link(&subject, aes_bare, aes_first).await?;
    progress.set_message("handshakes");
    let cores = thread::available_parallelism()?.get();
    let handshakes_per_second = handshake::answered_per_second(cores, sizes.handshakes)?;
    subject.stop().await;
    progress.finish_and_clear();
    Ok(Report {
        cores,
        plain,
        aes,
        handshakes_per_second,
        status,
        list,
    })
}

/// On the standard error, and only where that is a terminal.
fn progress() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{elapsed} {msg} …");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

/// The devices of one link, and where they dial.
struct Party {
    proof: Proof,
    gateway: SocketAddr,
    bare: BareLoop,
    first_id: u32,
    count: u32,
    rates: Rates,
}

/// Devices started a second, when the gateway has their identities to store and when it has not.
struct Rates {
    first: u32,
    again: u32,
}

impl Party {
    fn plain(subject: &Subject, count: u32) -> Result<Self, Box<dyn Error>> {
        let proof = subject.credential();
        Ok(Self {
            gateway: subject.address(&proof)?,
            proof,
            bare: BareLoop::start(Security::Plain)?,
            first_id: PLAIN_FIRST_ID,
            count,
            rates: PLAIN_RATES,
        })
    }

    fn aes(subject: &Subject, count: u32) -> Result<Self, Box<dyn Error>> {
        let proof = subject.key_file()?;
        Ok(Self {
            gateway: subject.address(&proof)?,
            proof,
            bare: BareLoop::start(Security::Aes(subject.key().clone()))?,
            first_id: AES_FIRST_ID,
            count,
            rates: AES_RATES,
        })
    }

    /// A few devices at the loop, and then `count`, with the memory of each of these.
    async fn idle_bare(&self, count: u32, fleets: &mut Vec<Fleet>) -> Result<f64, Box<dyn Error>> {
        fleets.push(self.connect_bare(WARM).await?.0);
        let before = usage::memory()?;
        fleets.push(self.connect_bare(count).await?.0);
        bytes_each(before, count)
    }

    /// All of them at the gateway, for the first time, with the memory of each. The first third is
    /// there before anything is measured: by then the store has filled its cache, which no further
    /// session makes larger.
    async fn first(
        &self,
        subject: &Subject,
        fleets: &mut Vec<Fleet>,
    ) -> Result<(Ramp, f64), Box<dyn Error>> {
        let (warm, rest, rate) = (self.count - self.rest(), self.rest(), self.rates.first);
        if warm > 0 {
            fleets.push(self.connect(subject, self.first_id, warm, rate).await?.0);
        }
        let before = usage::memory()?;
        let first_id = self.first_id + warm;
        let (fleet, ramp) = self.connect(subject, first_id, rest, rate).await?;
        fleets.push(fleet);
        Ok((ramp, bytes_each(before, rest)?))
    }

    /// As many at the gateway, which has no other, once more; then as many at the loop.
    async fn link(
        &self,
        subject: &Subject,
        bare_bytes: f64,
        (first, session_bytes): (Ramp, f64),
    ) -> Result<Link, Box<dyn Error>> {
        let (count, rate) = (self.rest(), self.rates.again);
        let (fleet, again) = self.connect(subject, self.first_id, count, rate).await?;
        drop(fleet);
        subject.until_empty().await?;
        let (fleet, bare) = self.connect_bare(count).await?;
        drop(fleet);
        Ok(Link {
            sessions: self.count,
            memory: Memory {
                session_bytes,
                bare_bytes,
            },
            first,
            again,
            bare,
        })
    }

    /// How many are measured.
    const fn rest(&self) -> u32 {
        self.count - self.count / 3
    }

    async fn connect(
        &self,
        subject: &Subject,
        first_id: u32,
        count: u32,
        rate: u32,
    ) -> Result<(Fleet, Ramp), Box<dyn Error>> {
        let before = subject.connected();
        let fleet = Fleet::start(self.gateway, &self.proof, first_id, count, rate)?;
        let settled = || subject.is_settled();
        let ramp = ramp::watch(before, count as usize, || subject.connected(), settled).await?;
        Ok((fleet, ramp))
    }

    async fn connect_bare(&self, count: u32) -> Result<(Fleet, Ramp), Box<dyn Error>> {
        let before = self.bare.connected();
        let to = self.bare.address();
        let fleet = Fleet::start(to, &self.proof, BARE_FIRST_ID, count, self.rates.again)?;
        let seen = || self.bare.connected();
        let ramp = ramp::watch(before, count as usize, seen, || true).await?;
        Ok((fleet, ramp))
    }
}

/// By how much this process has grown for each of `count`.
fn bytes_each(before: u64, count: u32) -> Result<f64, Box<dyn Error>> {
    let grown = usage::memory()?.saturating_sub(before);
    Ok(grown as f64 / f64::from(count))
}
