//! HTTP calls that devices may have made for them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use reqwest::Url;
use serde::{Deserialize, Serialize, Serializer};

use super::duration;

/// What tells an endpoint which device calls: its name, and its owner where it has one.
pub const DEVICE_HEADER: HeaderName = HeaderName::from_static("gatehouse-device");
pub const OWNER_HEADER: HeaderName = HeaderName::from_static("gatehouse-owner");

/// Headers that say how a message is read, and those of the gateway.
const NOT_SETTABLE: [HeaderName; 7] = [
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    HOST,
    TRANSFER_ENCODING,
    DEVICE_HEADER,
    OWNER_HEADER,
];

/// One `[[endpoint]]`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// What devices call it.
    pub name: String,
    /// Shown with the settings in force; secrets belong into `headers`.
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

impl EndpointMethod {
    pub const fn of_http(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Patch => Method::PATCH,
            Self::Delete => Method::DELETE,
        }
    }
}

/// What is wrong with an endpoint, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointProblem {
    #[error("write an http:// or https:// address with a host")]
    Address,
    #[error("write user and password into a header, for addresses are shown")]
    Credentials,
    #[error("{0:?} is no name of a header")]
    HeaderName(String),
    #[error("write the value of the header {0} in visible ASCII characters")]
    HeaderValue(HeaderName),
    #[error("leave out the header {0}, which the gateway sets itself")]
    OwnHeader(HeaderName),
}

impl Endpoint {
    /// # Errors
    /// [`EndpointProblem`].
    pub fn address(&self) -> Result<Url, EndpointProblem> {
        let url = Url::parse(&self.url).map_err(|_| EndpointProblem::Address)?;
        if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
            return Err(EndpointProblem::Address);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointProblem::Credentials);
        }
        Ok(url)
    }

    /// The headers, each marked as a secret.
    ///
    /// # Errors
    /// [`EndpointProblem`].
    pub fn header_map(&self) -> Result<HeaderMap, EndpointProblem> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let no_name = |_| EndpointProblem::HeaderName(name.clone());
            let name = HeaderName::try_from(name).map_err(no_name)?;
            if NOT_SETTABLE.contains(&name) {
                return Err(EndpointProblem::OwnHeader(name));
            }
            let no_value = |_| EndpointProblem::HeaderValue(name.clone());
            let mut value = HeaderValue::from_str(value).map_err(no_value)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }
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
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str, name: &str, value: &str) -> Endpoint {
        Endpoint {
            name: "alarm".into(),
            url: url.into(),
            method: EndpointMethod::Post,
            headers: BTreeMap::from([(name.into(), value.into())]),
            owners: Vec::new(),
            timeout: timeout(),
            retries: 0,
        }
    }

    #[test]
    fn addresses_are_checked() {
        for (url, expected) in [
            ("https://alarms.example.org/doors?x=1", Ok(())),
            ("http://127.0.0.1:8080", Ok(())),
            ("http://[::1]/", Ok(())),
            ("ftp://example.org/", Err(EndpointProblem::Address)),
            ("https://", Err(EndpointProblem::Address)),
            ("alarms.example.org", Err(EndpointProblem::Address)),
            ("", Err(EndpointProblem::Address)),
            ("https://me@example.org/", Err(EndpointProblem::Credentials)),
            (
                "https://:pw@example.org/",
                Err(EndpointProblem::Credentials),
            ),
        ] {
            let address = endpoint(url, "x-key", "1").address();
            assert_eq!(address.map(|_| ()), expected, "{url}");
        }
    }

    #[test]
    fn headers_are_checked_and_secret() {
        let check = |name: &str, value: &str| endpoint("http://a", name, value).header_map();
        let headers = check("Authorization", "Bearer hush").unwrap();
        assert!(!format!("{headers:?}").contains("hush"));
        let shown = format!(
            "{:?}",
            endpoint("http://a/?key=hush", "authorization", "hush")
        );
        assert!(!shown.contains("hush"), "{shown}");
        let own = |name| Err(EndpointProblem::OwnHeader(name));
        assert_eq!(check("Host", "b"), own(HOST));
        assert_eq!(check("gatehouse-owner", "bob"), own(OWNER_HEADER));
        let bad = Err(EndpointProblem::HeaderName("a b".into()));
        assert_eq!(check("a b", "1"), bad);
        let refused = check("x-key", "hush\n").unwrap_err();
        assert!(!refused.to_string().contains("hush"));
    }
}
