//! `gatehouse simulate`: devices for a gateway to live with, one or tens of thousands.

mod args;
mod plan;
mod print;
mod security;
mod summary;

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep;

pub use self::args::Simulate;
use self::plan::Plan;
use self::print::Printer;
use self::summary::Summary;
use crate::sim::fleet::Fleet;
use crate::sim::report::Reports;
use crate::sim::search::{Responder, Settings};

/// Reports that wait for the standard output; a reader that falls further behind misses some.
const REPORTS_MAX: usize = 65_536;

impl Simulate {
    /// Runs the devices until it is told to end.
    ///
    /// # Errors
    /// A [`clap::Error`] for arguments that do not go together; else one line that says what went
    /// wrong.
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        let plan = Plan::new(&self)?;
        plan.check_file_limit(rlimit::increase_nofile_limit(u64::MAX)?)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let done = runtime.block_on(self.simulate(plan));
        // A write to a standard output that nobody reads may never return.
        runtime.shutdown_background();
        done
    }

    async fn simulate(self, plan: Plan) -> Result<(), Box<dyn Error>> {
        let mut signals = Signals::new()?;
        let bar = progress_bar(u64::from(self.count));
        let (channel, reports) = mpsc::channel(REPORTS_MAX);
        let printer = Printer::new(self.format, self.quiet, &bar);
        let mut printing = tokio::task::spawn_blocking(move || printer.print(reports));
        let mut fleet = Fleet::new(Reports::to(channel), self.start_rate);
        if let Some(settings) = self.search_settings() {
            let listen = settings.listen;
            let responder = Responder::start(settings);
            let responder = responder
                .map_err(|error| format!("no search can be heard at {listen}: {error}"))?;
            fleet.answer_searches(responder);
        }
        let work = async {
            start(&mut fleet, plan, &bar).await?;
            std::future::pending::<Result<(), Box<dyn Error>>>().await
        };
        tokio::select! {
            failed = work => failed?,
            _ = signals.next() => {}
            () = time_is_up(self.run_for) => {}
            printed = &mut printing => return Ok(printed??),
        }
        bar.finish_and_clear();
        let summary = Summary::of(&fleet);
        fleet.stop().await;
        tokio::select! {
            // It ends with the last device, whose reports it has then written.
            printed = pin!(printing) => printed??,
            // Whoever asks twice does not want to wait for a reader.
            _ = signals.next() => return Ok(()),
        }
        Ok(super::print(&summary.to_text(self.format))?)
    }

    fn search_settings(&self) -> Option<Settings> {
        let mut settings = Settings::of_this_machine();
        settings.listen = self.search?;
        if !self.search_subnets.is_empty() {
            settings.subnets.clone_from(&self.search_subnets);
        }
        Some(settings)
    }
}

async fn start(fleet: &mut Fleet, plan: Plan, bar: &ProgressBar) -> Result<(), Box<dyn Error>> {
    for (spec, place) in plan {
        let id = spec.id;
        let started = fleet.start(spec, place).await;
        started.map_err(|error| format!("device {id} cannot {place}: {error}"))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

async fn time_is_up(run_for: Option<Duration>) {
    match run_for {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

/// On the standard error, and only where that is a terminal.
fn progress_bar(count: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("starting {wide_bar} {pos}/{len} {per_sec}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// What asks the program to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests;
