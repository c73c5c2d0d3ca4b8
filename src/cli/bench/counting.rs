//! What counting costs: two gateways, of which one counts and the other does not, in turn; and what
//! a scrape takes.

use std::error::Error;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::party::{PLAIN_FIRST_ID, Party};
use super::ramp::Ramp;
use super::subject::Subject;

/// How often each gateway has its turn; the median counts.
const TURNS: usize = 5;
/// How often is scraped; the median counts.
const SCRAPES: usize = 21;

/// Connecting with and without counting, on plain links.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Counting {
    pub(super) on: Ramp,
    pub(super) off: Ramp,
}

/// A scrape of the whole fleet, beside one of a gateway that has nobody.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Scrape {
    pub(super) devices: usize,
    pub(super) bytes: usize,
    /// Without the comments.
    pub(super) series: usize,
    pub(super) ms: f64,
    pub(super) empty_ms: f64,
}

/// # Errors
/// When a gateway does not start, or devices do not connect.
pub(super) async fn measure(count: u32) -> Result<Counting, Box<dyn Error>> {
    let ids = PLAIN_FIRST_ID..PLAIN_FIRST_ID + count;
    let on = Subject::start(ids.clone()).await?;
    let off = Subject::without_metrics(ids).await?;
    let parties = [
        (&on, Party::plain(&on, count)?),
        (&off, Party::plain(&off, count)?),
    ];
    // The first time their identities are stored, and the gateways warm up.
    for (subject, party) in &parties {
        party.again(subject).await?;
    }
    let mut ramps = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        for ((subject, party), ramps) in parties.iter().zip(&mut ramps) {
            ramps.push(party.again(subject).await?);
        }
    }
    drop(parties);
    on.stop().await;
    off.stop().await;
    let [on, off] = ramps.map(median);
    Ok(Counting { on, off })
}

/// Scrapes a gateway as it is, and one without devices.
///
/// # Errors
/// When a gateway does not answer.
pub(super) async fn scrape(subject: &Subject) -> Result<Scrape, Box<dyn Error>> {
    let (ms, text) = scrapes(subject).await?;
    let empty = Subject::start(std::iter::empty()).await?;
    let (empty_ms, _) = scrapes(&empty).await?;
    empty.stop().await;
    Ok(Scrape {
        devices: subject.connected(),
        bytes: text.len(),
        series: text.lines().filter(|line| !line.starts_with('#')).count(),
        ms,
        empty_ms,
    })
}

/// The median time over HTTP, and the last answer.
async fn scrapes(subject: &Subject) -> Result<(f64, String), Box<dyn Error>> {
    let url = format!("http://{}/metrics", subject.http()?);
    // Loopback has no TLS, and the client still wants to know what would do it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut times = Vec::with_capacity(SCRAPES);
    let mut text = String::new();
    for _ in 0..SCRAPES {
        let started = Instant::now();
        let answer = client.get(&url).send().await?.error_for_status()?;
        text = answer.text().await?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let median: Duration = times[times.len() / 2];
    Ok((median.as_secs_f64() * 1e3, text))
}

fn median(mut ramps: Vec<Ramp>) -> Ramp {
    ramps.sort_by(|one, other| one.processor_us.total_cmp(&other.processor_us));
    ramps[ramps.len() / 2]
}
