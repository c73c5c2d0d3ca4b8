//! HTTP calls that devices have made for them, by the names of the configuration.
//!
//! The device's data is sent as a JSON body, and who it is in the headers `gatehouse-device` and
//! `gatehouse-owner`. Redirects are not followed and no proxy is used: data and headers go to the
//! configured address and nowhere else. Certificates are checked against the roots of the system.

pub mod answer;
pub mod retry;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::{Client, Response, Url, redirect};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::answer::{ANSWER_MAX_BYTES, Unfit, payload};
use self::retry::Failure;
use crate::codec::pson::{Value, json};
use crate::config::{
    DEVICE_HEADER, Endpoint as Settings, EndpointMethod, EndpointProblem, OWNER_HEADER,
};
use crate::functions::refusal::{denied, quoted};
use crate::identity::Identity;
use crate::registry::backoff::{Backoff, BackoffError};
use crate::session::asked::{Denied, Outcome};

/// Calls in progress.
const CALLS_MAX: usize = 64;
/// Calls of one endpoint in progress, so that one that hangs does not hold up the others.
const CALLS_OF_ONE_MAX: usize = 16;
/// Connections to one host that are kept for the next call.
const IDLE_MAX: usize = 4;
const IDLE_FOR: Duration = Duration::from_secs(30);

/// Why the endpoints cannot be called as they are configured.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("endpoint {name:?}: {problem}")]
    Settings {
        name: String,
        problem: EndpointProblem,
    },
    #[error(
        "endpoint {name:?} is called over https, and the system has no root certificates to check it \
         with; install them (ca-certificates), or name a file of them in SSL_CERT_FILE"
    )]
    NoRoots { name: String },
    #[error("the HTTP client for endpoints cannot be made")]
    Client(#[from] reqwest::Error),
    #[error("the TLS of the HTTP client for endpoints cannot be made")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Backoff(#[from] BackoffError),
}

/// All endpoints.
pub(super) struct Endpoints {
    client: Client,
    by_name: HashMap<Box<str>, Arc<Endpoint>>,
    calls: Arc<Semaphore>,
    backoff: Backoff,
}

struct Endpoint {
    name: Box<str>,
    method: EndpointMethod,
    url: Url,
    headers: HeaderMap,
    /// Empty: everybody.
    owners: Vec<String>,
    timeout: Duration,
    retries: u32,
    calls: Arc<Semaphore>,
}

/// One call on its way.
struct Call {
    client: Client,
    endpoint: Arc<Endpoint>,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    backoff: Backoff,
    /// Of all endpoints, and of this one.
    _places: [OwnedSemaphorePermit; 2],
}

impl Endpoints {
    /// # Errors
    /// [`EndpointError`].
    pub(super) fn new(settings: &[Settings]) -> Result<Self, EndpointError> {
        let over_https = settings.iter().find(|one| one.url.starts_with("https:"));
        let mut roots = RootCertStore::empty();
        if let Some(Settings { name, .. }) = over_https {
            let found = rustls_native_certs::load_native_certs();
            for error in found.errors {
                tracing::warn!(%error, "some root certificates of the system cannot be read");
            }
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let name = name.clone();
                return Err(EndpointError::NoRoots { name });
            }
        }
        Self::with_roots(settings, roots)
    }

    fn with_roots(settings: &[Settings], roots: RootCertStore) -> Result<Self, EndpointError> {
        // Named here, for the library would take what is installed for the whole process.
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("gatehouse/", env!("CARGO_PKG_VERSION")))
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE_FOR)
            .build()?;
        let by_name = settings.iter().map(Endpoint::new);
        Ok(Self {
            client,
            by_name: by_name.collect::<Result<_, _>>()?,
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            backoff: retry::backoff()?,
        })
    }

    /// Calls an endpoint for a device.
    ///
    /// # Errors
    /// [`Denied`] for what is not even tried: 404 without such an endpoint, 403 where it is not for
    /// the owner, 400 for data that it cannot take, 503 where too many calls are in progress.
    pub(super) fn call(
        &self,
        caller: &Identity,
        name: &str,
        data: Option<&Value>,
    ) -> Result<BoxFuture<'static, Outcome>, Denied> {
        let unknown = || denied(404, format!("there is no endpoint {}", quoted(name)));
        let endpoint = self.by_name.get(name).ok_or_else(unknown)?;
        if !endpoint.is_for(&caller.owner) {
            let text = format!("the endpoint {} is not for this owner", quoted(name));
            return Err(denied(403, text));
        }
        if data.is_some() && endpoint.method == EndpointMethod::Get {
            let text = format!(
                "the endpoint {} is a GET, which takes no data",
                quoted(name)
            );
            return Err(denied(400, text));
        }
        let busy = |_| {
            denied(
                503,
                "too many calls of endpoints are in progress; try again",
            )
        };
        let place = |calls: &Arc<Semaphore>| calls.clone().try_acquire_owned().map_err(busy);
        let call = Call {
            client: self.client.clone(),
            endpoint: endpoint.clone(),
            headers: endpoint.headers_for(caller)?,
            body: data.map(|data| json::to_json(data).to_string().into_bytes()),
            backoff: self.backoff,
            _places: [place(&endpoint.calls)?, place(&self.calls)?],
        };
        Ok(call.carry_out().boxed())
    }
}

impl Endpoint {
    fn new(settings: &Settings) -> Result<(Box<str>, Arc<Self>), EndpointError> {
        let wrong = |problem| EndpointError::Settings {
            name: settings.name.clone(),
            problem,
        };
        let name: Box<str> = settings.name.as_str().into();
        let endpoint = Self {
            name: name.clone(),
            method: settings.method,
            url: settings.address().map_err(wrong)?,
            headers: settings.header_map().map_err(wrong)?,
            owners: settings.owners.clone(),
            timeout: settings.timeout,
            retries: settings.retries,
            calls: Arc::new(Semaphore::new(CALLS_OF_ONE_MAX)),
        };
        Ok((name, Arc::new(endpoint)))
    }

    fn is_for(&self, owner: &str) -> bool {
        self.owners.is_empty() || self.owners.iter().any(|own| own == owner)
    }

    /// What is sent along, with who calls.
    fn headers_for(&self, caller: &Identity) -> Result<HeaderMap, Denied> {
        let value = |name: &str| {
            HeaderValue::from_str(name).map_err(|_| denied(400, "the device's name is no header"))
        };
        let mut headers = self.headers.clone();
        headers.insert(DEVICE_HEADER, value(&caller.device)?);
        if !caller.owner.is_empty() {
            headers.insert(OWNER_HEADER, value(&caller.owner)?);
        }
        Ok(headers)
    }
}

impl Call {
    async fn carry_out(self) -> Outcome {
        let endpoint = &self.endpoint;
        let mut tried = 0;
        loop {
            let failure = match self.try_once().await {
                Ok(payload) => return Ok(payload),
                Err(failure) => failure,
            };
            let (kind, denied) = failure;
            tracing::debug!(endpoint = %endpoint.name, tried, failure = ?kind, "a call failed");
            if tried >= endpoint.retries || !kind.is_tried_again(endpoint.method) {
                return Err(denied);
            }
            tokio::time::sleep(self.backoff.delay(tried, rand::random())).await;
            tried += 1;
        }
    }

    async fn try_once(&self) -> Result<Option<Value>, (Failure, Denied)> {
        let endpoint = &self.endpoint;
        let method = endpoint.method.of_http();
        let mut request = self.client.request(method, endpoint.url.clone());
        if let Some(body) = &self.body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        let request = request
            .headers(self.headers.clone())
            .timeout(endpoint.timeout);
        let response = request.send();
        let response = response.map_err(|error| self.failed(&error)).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(status));
        }
        self.read(response).await
    }

    async fn read(&self, mut response: Response) -> Result<Option<Value>, (Failure, Denied)> {
        let unfit = |why: Unfit| (Failure::Unfit, self.denied(502, &why.to_string()));
        let content_type = response.headers().get(CONTENT_TYPE).cloned();
        let content_type = content_type.as_ref().and_then(|value| value.to_str().ok());
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.failed(&error))?
        {
            if body.len() + chunk.len() > ANSWER_MAX_BYTES {
                return Err(unfit(Unfit::TooLong));
            }
            body.extend_from_slice(&chunk);
        }
        payload(content_type, body).map_err(unfit)
    }

    fn failed(&self, error: &reqwest::Error) -> (Failure, Denied) {
        if error.is_connect() {
            let denied = self.denied(502, "it cannot be reached");
            (Failure::NoConnection, denied)
        } else if error.is_timeout() {
            let text = format!("it did not answer within {:?}", self.endpoint.timeout);
            (Failure::TimedOut, self.denied(504, &text))
        } else {
            let denied = self.denied(502, "the connection broke before its answer was complete");
            (Failure::Broken, denied)
        }
    }

    fn refused(&self, status: StatusCode) -> (Failure, Denied) {
        let failure = Failure::Status(status.as_u16());
        if status.is_client_error() || status.is_server_error() {
            let text = format!("it answered {status}");
            return (failure, self.denied(status.as_u16(), &text));
        }
        let text = format!("it answered {status}, and redirects are not followed");
        (failure, self.denied(502, &text))
    }

    fn denied(&self, code: u16, text: &str) -> Denied {
        denied(
            code,
            format!("endpoint {}: {text}", quoted(&self.endpoint.name)),
        )
    }
}
