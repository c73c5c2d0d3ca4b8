//! What a gateway tells Prometheus.

use std::collections::BTreeMap;

use super::web::Web;

/// One scrape: each series as it is written, with its value.
#[derive(Debug)]
pub struct Scrape(pub BTreeMap<String, f64>);

impl Scrape {
    pub async fn of(web: &Web) -> Self {
        let response = web.call(reqwest::Method::GET, "/metrics", None).await;
        assert_eq!(response.status(), 200);
        let text = response.text().await.expect("text");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.filter_map(|line| line.rsplit_once(' '));
        Self(
            series
                .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
                .collect(),
        )
    }

    /// The value of one series; 0 when it is not there.
    pub fn get(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or_default()
    }

    /// The sum over all series of one metric that have these labels.
    pub fn sum(&self, metric: &str, labels: &[&str]) -> f64 {
        let is_it = |series: &&String| {
            let name = series.split('{').next();
            name == Some(metric) && labels.iter().all(|label| series.contains(label))
        };
        self.0
            .keys()
            .filter(is_it)
            .map(|series| self.0[series])
            .sum()
    }

    /// Scrapes until it is so.
    pub async fn until(web: &Web, what: &str, is_so: impl Fn(&Self) -> bool) -> Self {
        super::soon(what, async {
            loop {
                let scrape = Self::of(web).await;
                if is_so(&scrape) {
                    return scrape;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}
