//! A Prometheus of its own, which scrapes every second.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::Url;
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::time::sleep;

use super::rules;
use super::unix_now;
use crate::support::web::Web;
use crate::support::{needed, soon};

pub struct Prometheus {
    child: Child,
    pub address: SocketAddr,
    web: Web,
    _directory: TempDir,
}

/// One series with its newest value, or all of them.
#[derive(Debug)]
pub struct Series {
    pub labels: Json,
    pub value: f64,
}

/// The program, if it is there.
pub fn program() -> Option<String> {
    needed::program("prometheus", &["--version"], "prometheus (Debian package)")
}

impl Prometheus {
    /// Scrapes these gateways and has our rules, at sixty times their pace.
    pub fn start(program: &str, gateways: &[SocketAddr]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = String::from(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [\"*.rules\"]\n\
             scrape_configs:\n  - job_name: gatehouse\n    static_configs:\n      - targets: [",
        );
        for gateway in gateways {
            write!(config, "\"{gateway}\", ").expect("text");
        }
        config.push_str("]\n");
        for (name, text) in rules::texts() {
            let path = directory.path().join(format!("{name}.rules"));
            fs::write(path, rules::faster(&text)).expect("written");
        }
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, config).expect("written");
        // A port that was free a moment ago.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = free.local_addr().expect("bound");
        drop(free);
        let child = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .spawn()
            .expect("Prometheus runs");
        Self {
            child,
            address,
            web: Web::new(address),
            _directory: directory,
        }
    }

    /// Waits until it answers.
    pub async fn ready(&self) {
        let url = format!("http://{}/-/ready", self.address);
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        let ready = async {
            loop {
                let answer = client.get(&url).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        soon("Prometheus", ready).await;
    }

    /// What an expression gives now.
    pub async fn query(&self, expression: &str) -> Vec<Series> {
        let result = self.ask("query", &[("query", expression)]).await;
        let all = result["data"]["result"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let series = |json: Json| {
            let value = json["value"][1].as_str().expect("a value");
            Series {
                labels: json["metric"].clone(),
                value: value.parse().expect("a number"),
            }
        };
        all.into_iter().map(series).collect()
    }

    /// Whether an expression gave a number at any time since then.
    pub async fn ever(&self, expression: &str, since: u64) -> bool {
        let (start, end) = (since.to_string(), unix_now().to_string());
        let range = [
            ("query", expression),
            ("start", &start),
            ("end", &end),
            ("step", "1"),
        ];
        let result = self.ask("query_range", &range).await;
        let all = result["data"]["result"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut values = all.iter().flat_map(|series| series["values"].as_array());
        values.any(|values| values.iter().any(|value| value[1] != "NaN"))
    }

    /// Waits until every gateway that answers was scraped and the rules were evaluated once more.
    pub async fn next_scrape(&self) {
        const NEWEST: &str = "min(timestamp(up == 1))";
        let before = self
            .query(NEWEST)
            .await
            .first()
            .map_or(0.0, |one| one.value);
        let later = async {
            while self
                .query(NEWEST)
                .await
                .first()
                .map_or(0.0, |one| one.value)
                <= before
            {
                sleep(Duration::from_millis(100)).await;
            }
        };
        soon("the next scrape", later).await;
    }

    /// The alerts that fire.
    pub async fn firing(&self) -> Vec<String> {
        let fire = self.query("ALERTS{alertstate=\"firing\"}").await;
        let name = |one: Series| {
            one.labels["alertname"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        fire.into_iter().map(name).collect()
    }

    async fn ask(&self, what: &str, parameters: &[(&str, &str)]) -> Json {
        let base = self.web.url(&format!("/api/v1/{what}"));
        let url = Url::parse_with_params(&base, parameters).expect("a URL");
        let (_, path) = url.as_str().split_once("/api/").expect("a path");
        self.web.get(&format!("/api/{path}")).await
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
