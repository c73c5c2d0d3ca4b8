//! HTTP calls that devices may have made for them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::duration;

/// One `[[endpoint]]`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// What devices call it.
    pub name: String,
    pub url: String,
    #[serde(default)]
    pub method: EndpointMethod,
    /// Sent along; they may hold secrets, so they are shown to nobody.
    #[serde(default, serialize_with = "hidden")]
    pub headers: BTreeMap<String, String>,
    /// Whose devices may call it; empty: everybody's.
    #[serde(default)]
    pub owners: Vec<String>,
    #[serde(default = "timeout", with = "duration")]
    pub timeout: Duration,
    /// Tries after the first one.
    #[serde(default = "retries")]
    pub retries: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EndpointMethod {
    Get,
    #[default]
    Post,
    Put,
    Patch,
    Delete,
}

const fn timeout() -> Duration {
    Duration::from_secs(5)
}

const fn retries() -> u32 {
    2
}

fn hidden<S: Serializer>(
    headers: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.keys().map(|name| (name, "hidden")))
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("name", &self.name)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}
