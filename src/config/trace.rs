//! Traces for a collector.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use http::Uri;
use serde::{Deserialize, Serialize, Serializer};

use super::duration;

/// The export of traces over OTLP (gRPC).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trace {
    /// The URL of the collector; empty: nothing is traced.
    pub endpoint: String,
    /// A PEM file with the root that the collector's certificate stands on; empty: those of the
    /// system.
    pub ca: String,
    /// A PEM file with the certificate that the gateway shows to the collector, and one with its
    /// key; empty: it shows none.
    pub certificate: String,
    pub key: String,
    /// Sent with each batch. Its values are shown nowhere.
    #[serde(serialize_with = "hidden")]
    pub headers: BTreeMap<String, String>,
    /// One trace of so many is kept.
    pub sample_one_in: u32,
    pub service_name: String,
    /// Empty: the name of the host.
    pub instance: String,
    /// Within which the collector must take a batch.
    #[serde(with = "duration")]
    pub timeout: Duration,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            ca: String::new(),
            certificate: String::new(),
            key: String::new(),
            headers: BTreeMap::new(),
            sample_one_in: 1,
            service_name: "gatehouse".to_owned(),
            instance: String::new(),
            timeout: Duration::from_secs(5),
        }
    }
}

impl Trace {
    /// Where the collector is; `None`: nothing is traced.
    ///
    /// # Errors
    /// What would be right.
    pub fn address(&self) -> Result<Option<Uri>, &'static str> {
        const RIGHT: &str = "write http:// or https://, a host and a port, \
                             as in \"http://127.0.0.1:4317\", or \"\" for off";
        if self.endpoint.is_empty() {
            return Ok(None);
        }
        let uri: Uri = self.endpoint.parse().map_err(|_| RIGHT)?;
        let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
        let is_bare = uri.path_and_query().is_none_or(|path| path == "/");
        if is_known && is_bare && uri.port().is_some() {
            Ok(Some(uri))
        } else {
            Err(RIGHT)
        }
    }
}

fn hidden<S: Serializer>(
    headers: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.keys().map(|name| (name, "hidden")))
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("endpoint", &self.endpoint)
            .field("headers", &self.headers.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(endpoint: &str) -> Trace {
        Trace {
            endpoint: endpoint.to_owned(),
            ..Trace::default()
        }
    }

    #[test]
    fn a_collector_is_a_host_and_a_port() {
        assert_eq!(at("").address(), Ok(None));
        for good in ["http://127.0.0.1:4317", "https://[::1]:4317/"] {
            assert!(at(good).address().is_ok_and(|uri| uri.is_some()), "{good}");
        }
        for bad in [
            "collector:4317",
            "127.0.0.1",
            "http://collector",
            "ftp://a:1",
            "http://a:1/v1",
        ] {
            assert!(at(bad).address().is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_are_secret() {
        let mut trace = at("http://a:1");
        trace
            .headers
            .insert("authorization".into(), "Bearer hush".into());
        assert!(!format!("{trace:?}").contains("hush"));
        assert!(!toml::to_string(&trace).expect("text").contains("hush"));
    }
}
