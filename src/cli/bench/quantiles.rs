//! How long something took, over many times.

use std::time::Duration;

use serde::Serialize;

/// In microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) max_us: f64,
}

impl Quantiles {
    /// All zero without any times.
    pub(super) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self {
            p50_us: micros(nearest(&times, 50)),
            p99_us: micros(nearest(&times, 99)),
            max_us: micros(nearest(&times, 100)),
        }
    }
}

/// By nearest rank: `percent` of the times are at most this one.
fn nearest(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_time_that_was_seen() {
        let times = (1..=200).rev().map(Duration::from_millis).collect();
        let quantiles = Quantiles::of(times);
        let expected = Quantiles {
            p50_us: 100_000.0,
            p99_us: 198_000.0,
            max_us: 200_000.0,
        };
        assert_eq!(quantiles, expected);
        let one = Quantiles::of(vec![Duration::from_millis(7)]);
        assert_eq!((one.p50_us, one.max_us), (7000.0, 7000.0));
    }
}
