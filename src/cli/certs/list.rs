//! `gatehouse certs list`.

use std::fmt::Write as _;

use clap::Args;

use super::Answer;
use super::place::Place;
use crate::clock;
use crate::link::certificate::{day, serial_text};
use crate::link::office::Listed;

/// Lists certificates with their expiry
#[derive(Debug, Args)]
#[command(
    long_about = "Lists certificates with their expiry.\n\n\
        These are the roots, the server certificate, and all that were made in this data \
        directory. Serial numbers are in hex, as openssl shows them and `gatehouse certs revoke` \
        takes them.",
    after_help = "Examples:\n  \
        gatehouse certs list --data-dir gatehouse-data\n  \
        gatehouse certs list --json --data-dir gatehouse-data | jq '.[] | select(.days_left < 30)'"
)]
pub(super) struct List {
    /// As a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl List {
    pub(super) fn answer(self) -> Answer {
        let listed = self.place.office()?.list()?;
        let now = i64::from(clock::now().unix_seconds());
        if self.json {
            json(&listed, now)
        } else {
            Ok(table(&listed, now)?)
        }
    }
}

fn days_left(listed: &Listed, now: i64) -> i64 {
    listed.not_after.saturating_sub(now).div_euclid(86_400)
}

fn table(listed: &[Listed], now: i64) -> Result<String, std::fmt::Error> {
    let width = listed.iter().map(|one| one.holder.chars().count()).max();
    let width = width.unwrap_or(0).max("FOR".len());
    let mut text = String::new();
    writeln!(
        text,
        "{:<8}{:<width$}  {:<18}{:<12}{:>6}  STATE",
        "WHAT", "FOR", "SERIAL", "EXPIRES", "DAYS"
    )?;
    for one in listed {
        writeln!(
            text,
            "{:<8}{:<width$}  {:<18}{:<12}{:>6}  {}",
            one.kind.as_str(),
            one.holder,
            serial_text(&one.serial),
            day(one.not_after),
            days_left(one, now),
            one.state.as_str()
        )?;
    }
    Ok(text)
}

fn json(listed: &[Listed], now: i64) -> Answer {
    let rows: Vec<_> = listed
        .iter()
        .map(|one| {
            serde_json::json!({
                "what": one.kind.as_str(),
                "for": one.holder,
                "serial": serial_text(&one.serial),
                "expires": day(one.not_after),
                "not_after": one.not_after,
                "days_left": days_left(one, now),
                "state": one.state.as_str(),
            })
        })
        .collect();
    Ok(format!("{}\n", serde_json::to_string_pretty(&rows)?))
}
