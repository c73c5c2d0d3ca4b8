//! `top`: the devices with the most trouble, once or as a screen.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::client::Client;
use super::exit::Exit;
use super::output::{Output, render};
use super::{Done, put, say};
use crate::cli::duration;
use crate::grpc::proto::gatehouse::v1::{TopBy, TopRequest, TopResponse};

/// To the upper left, with everything cleared.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// Shows the devices with the most trouble
#[derive(Debug, Args)]
#[command(
    long_about = "Shows the devices with the most trouble in the last minutes, worst first: sessions \
        lost, dials that failed, Connects refused, takeovers, \
        answers and connections that took long.\n\n\
        A loss is the end of a session that neither an operator nor the gateway wanted. Peers that \
        showed no proof, and devices that were never let in, are no devices here: --peers shows \
        those of them that were turned away most.\n\n\
        The gateway remembers this for as many devices as registry.trouble_max, those with the most; \
        when more had trouble within a minute, the field missed says how many events may be missing \
        at most. `gatehouse ctl get ID`, `gatehouse ctl watch` and the lines of the log with the ID \
        of the device tell more.",
    after_help = "Examples:\n  \
        gatehouse ctl top\n  \
        gatehouse ctl top --by slow --limit 5 --window 2m\n  \
        gatehouse ctl top --watch\n      \
            a screen that is drawn anew every two seconds, until Ctrl-C\n  \
        gatehouse ctl top --output jsonl | jq -r 'select(.losses > 2) | .id'\n  \
        gatehouse ctl top --peers\n\n\
        One line of jsonl, shortened:\n  \
        {\"id\":1001,\"device\":\"1001\",\"status\":\"TCP_CONNECTED\",\"losses\":4,\
        \"last_loss\":\"keep_alive_timeout\",\"failed\":0,\"peer\":\"192.0.2.7:51211\"}"
)]
pub struct Top {
    /// What counts
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        default_value_t,
        conflicts_with = "peers"
    )]
    by: By,
    /// At most this many
    #[arg(
        long,
        value_name = "N",
        default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=1000)
    )]
    limit: u32,
    /// How far to look back: 1m to 10m, whole minutes
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = window)]
    window: Duration,
    /// Look again and again, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// The time between two looks
    #[arg(
        long,
        value_name = "TIME",
        default_value = "2s",
        requires = "watch",
        value_parser = pause
    )]
    every: Duration,
    /// Show those that were turned away and are no known devices
    #[arg(long)]
    peers: bool,
}

/// What devices are ranked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum By {
    /// Sessions that were lost
    #[default]
    Losses,
    /// What took longest
    Slow,
    /// Connects that were refused
    Refused,
    /// Dials that failed
    Failed,
    /// Sessions that gave way to a newer one
    Takeovers,
}

impl By {
    const fn wire(self) -> TopBy {
        match self {
            Self::Losses => TopBy::Losses,
            Self::Slow => TopBy::Slow,
            Self::Refused => TopBy::Refused,
            Self::Failed => TopBy::Failed,
            Self::Takeovers => TopBy::Takeovers,
        }
    }
}

impl Top {
    pub async fn run(self, client: &Client, output: Output) -> Done {
        let request = self.request();
        if !self.watch {
            let answer = client.ask(client.fleet().top(request)).await?;
            return put(&self.show(&answer, output));
        }
        tokio::select! {
            watched = self.look_on(client, request, output) => watched,
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into),
        }
    }

    fn request(&self) -> TopRequest {
        TopRequest {
            by: self.by.wire().into(),
            limit: self.limit,
            window_s: u32::try_from(self.window.as_secs()).unwrap_or(u32::MAX),
        }
    }

    /// A screen on a terminal; elsewhere one answer after the other. A gateway that is away is
    /// waited for.
    async fn look_on(&self, client: &Client, request: TopRequest, output: Output) -> Done {
        let is_screen = output == Output::Table && io::stdout().is_terminal();
        let mut is_lost = false;
        loop {
            match client.ask(client.fleet().top(request)).await {
                Ok(answer) => {
                    let screen = self.show(&answer, output);
                    let head = if is_screen { CLEAR } else { "" };
                    put(&format!("{head}{screen}"))?;
                    is_lost = false;
                }
                Err(failure) if failure.exit == Exit::Unreachable => {
                    if !std::mem::replace(&mut is_lost, true) {
                        say(&format!("{}; trying again", failure.text));
                    }
                }
                Err(failure) => return Err(failure.into()),
            }
            tokio::time::sleep(self.every).await;
        }
    }

    fn show(&self, answer: &TopResponse, output: Output) -> String {
        if self.peers {
            render(&answer.peers, output)
        } else {
            render(&answer.devices, output)
        }
    }
}

/// How far to look back.
fn window(text: &str) -> Result<Duration, String> {
    let window = duration::parse(text)?;
    let is_whole = window.subsec_nanos() == 0 && window.as_secs().is_multiple_of(60);
    match window.as_secs() {
        60..=600 if is_whole => Ok(window),
        _ => Err("write whole minutes, 1m to 10m".to_owned()),
    }
}

/// The time between two looks.
fn pause(text: &str) -> Result<Duration, String> {
    let pause = duration::parse(text)?;
    match pause.as_millis() {
        100..=3_600_000 => Ok(pause),
        _ => Err("write 100ms to 1h".to_owned()),
    }
}
