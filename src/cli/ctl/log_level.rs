//! `log-level`: how much the gateway tells in its log.

use std::time::Duration;

use clap::Args;

use super::client::Client;
use super::output::{Output, render_one};
use super::{Done, put};
use crate::cli::duration;
use crate::grpc::proto::gatehouse::v1::{GetLogLevelRequest, SetLogLevelRequest};

/// Tells how much the gateway logs, or changes it while it runs (role admin)
#[derive(Debug, Args)]
#[command(
    long_about = "Tells how much the gateway logs, or changes it while it runs. Changing wants the \
        role admin, and is in the audit log. Without --for a level stays until a restart, until \
        the configuration says something new, or until `default`.",
    after_help = "Examples:\n  \
        gatehouse ctl log-level\n  \
        gatehouse ctl log-level debug --for 10m\n  \
        gatehouse ctl log-level info,gatehouse::session=debug --for 10m\n  \
        gatehouse ctl log-level default\n\n\
        With --output json:\n  \
        {\"level\":\"debug\",\"configured\":\"info\",\"returns_after_ms\":600000}"
)]
pub struct LogLevel {
    /// error, warn, info, debug or trace, with or without levels for single parts; `default`: what
    /// the configuration says
    level: Option<String>,
    /// After this time it is what the configuration says again
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse_some, requires = "level")]
    holds: Option<Duration>,
}

impl LogLevel {
    pub async fn run(self, client: &Client, output: Output) -> Done {
        let mut api = client.operation();
        let in_force = match self.level {
            None => {
                let asked = api.get_log_level(GetLogLevelRequest {});
                client.ask(asked).await?.log_level
            }
            Some(level) => {
                let holds = self.holds.map_or(0, |holds| holds.as_millis());
                let request = SetLogLevelRequest {
                    level: if level == "default" {
                        String::new()
                    } else {
                        level
                    },
                    for_ms: u64::try_from(holds).unwrap_or(u64::MAX),
                };
                client.ask(api.set_log_level(request)).await?.log_level
            }
        };
        put(&render_one(&in_force.unwrap_or_default(), output))
    }
}
