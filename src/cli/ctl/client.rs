//! The connection to a gateway.

use std::future::Future;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Response, Status};

use super::blame;
use super::exit::{Exit, Failure};
use super::profile::{Target, Token, TokenFrom};
use crate::grpc::proto::gatehouse::v1::access_client::AccessClient;
use crate::grpc::proto::gatehouse::v1::approvals_client::ApprovalsClient;
use crate::grpc::proto::gatehouse::v1::fleet_client::FleetClient;
use crate::grpc::proto::gatehouse::v1::identities_client::IdentitiesClient;
use crate::grpc::proto::gatehouse::v1::operation_client::OperationClient;
use crate::grpc::proto::gsdk::connect::connect_client::ConnectClient;
use crate::grpc::proto::gsdk::network::network_client::NetworkClient;
use crate::grpc::server::MESSAGE_SIZE_MAX;

/// How long an answer may take unless the command line says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// After this long without a word a stream's gateway is asked whether it is there.
const PING_AFTER: Duration = Duration::from_secs(15);
/// Within which it must answer.
const PING_WITHIN: Duration = Duration::from_secs(10);

/// A channel whose calls carry the token.
pub type Link = InterceptedService<Channel, Bearer>;

/// An open connection to one gateway.
pub struct Client {
    link: Link,
    target: Target,
    /// What the command line gives; `None`: the default of each call.
    timeout: Option<Duration>,
}

macro_rules! services {
    ($($name:ident: $client:ident,)*) => {
        impl Client {
            $(pub fn $name(&self) -> $client<Link> {
                $client::new(self.link.clone()).max_decoding_message_size(MESSAGE_SIZE_MAX)
            })*
        }
    };
}

services! {
    connect: ConnectClient,
    network: NetworkClient,
    fleet: FleetClient,
    approvals: ApprovalsClient,
    identities: IdentitiesClient,
    access: AccessClient,
    operation: OperationClient,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// A [`Failure`] that says why not, and the mend.
    pub async fn open(target: Target, timeout: Option<Duration>) -> Result<Self, Failure> {
        let bearer = Bearer::of(target.token.as_ref())?;
        let endpoint = endpoint(&target)?;
        let patience = timeout.unwrap_or(TIMEOUT);
        let channel = match tokio::time::timeout(patience, endpoint.connect()).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(blame::of_connection(&error, &target)),
            Err(_) => return Err(silent(&target, patience)),
        };
        Ok(Self {
            link: InterceptedService::new(channel, bearer),
            target,
            timeout,
        })
    }

    /// Connects once more, as after a break.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn reopen(&self) -> Result<Self, Failure> {
        Self::open(self.target.clone(), self.timeout).await
    }

    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// What the command line gives as the longest time of a call.
    pub const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The answer of a call.
    ///
    /// # Errors
    /// A [`Failure`] that says why there is none.
    pub async fn ask<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        let patience = self.timeout.unwrap_or(TIMEOUT);
        let answer = self.answer(call, patience).await?;
        answer.map_err(|status| self.blame(&status))
    }

    /// The answer of a call, or the status with which it ended.
    ///
    /// # Errors
    /// When there is neither within `patience`.
    pub async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
        patience: Duration,
    ) -> Result<Result<T, Status>, Failure> {
        match tokio::time::timeout(patience, call).await {
            Ok(answer) => Ok(answer.map(Response::into_inner)),
            Err(_) => Err(silent(&self.target, patience)),
        }
    }

    /// How long a call may take that has no time of its own.
    pub fn patience(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT)
    }

    /// Why a call failed.
    pub fn blame(&self, status: &Status) -> Failure {
        blame::of_status(status, &self.target)
    }
}

fn silent(target: &Target, patience: Duration) -> Failure {
    let time = crate::config::duration::format(patience);
    let text = format!(
        "the gateway at {} did not answer within {time}; give it longer with --timeout",
        target.address
    );
    Failure::new(Exit::Unreachable, text)
}

fn endpoint(target: &Target) -> Result<Endpoint, Failure> {
    let usage = |error: tonic::transport::Error| {
        let text = format!(
            "{} cannot be the address of a gateway: {error}",
            target.address
        );
        Failure::new(Exit::Usage, text)
    };
    let ca = read(&target.ca, "the root certificate of the gateway (--ca)")?;
    if !ca.contains("-----BEGIN CERTIFICATE-----") {
        let text = format!(
            "{} is no certificate: a PEM file is wanted",
            target.ca.display()
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(ca))
        .domain_name(&target.address.host);
    if let Some((cert, key)) = &target.identity {
        let cert = read(cert, "the client certificate (--cert)")?;
        let key = read(key, "the key of the client certificate (--cert-key)")?;
        tls = tls.identity(Identity::from_pem(cert, key));
    }
    let endpoint = Endpoint::from_shared(format!("https://{}", target.address)).map_err(usage)?;
    let endpoint = endpoint
        .http2_keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_WITHIN)
        .keep_alive_while_idle(true);
    endpoint.tls_config(tls).map_err(|error| match &target.identity {
        None => usage(error),
        Some((cert, key)) => {
            let text = format!(
                "{} and {} are no client certificate and its key: two PEM files that belong together are wanted",
                cert.display(),
                key.display()
            );
            Failure::new(Exit::Usage, text)
        }
    })
}

fn read(path: &Path, what: &str) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| {
        let text = format!("{what} cannot be read: {}: {error}", path.display());
        Failure::new(Exit::Usage, text)
    })
}

/// Puts the token into each call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    fn of(token: Option<&TokenFrom>) -> Result<Self, Failure> {
        let token = match token {
            None => return Ok(Self(None)),
            Some(TokenFrom::Text(token)) => token.clone(),
            Some(TokenFrom::File(file)) => parse(file, &read(file, "the token (--token-file)")?)?,
            Some(TokenFrom::IfReadable(file)) => match fs::read_to_string(file) {
                Ok(text) => parse(file, &text)?,
                Err(error) if is_missing(&error) => return Ok(Self(None)),
                Err(error) => {
                    let text = format!("the token in {} cannot be read: {error}", file.display());
                    return Err(Failure::new(Exit::Usage, text));
                }
            },
        };
        let value = format!("Bearer {}", token.0).parse();
        let mut value: MetadataValue<Ascii> = value
            .map_err(|_| Failure::new(Exit::Usage, "the token has characters that no token has"))?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

fn parse(file: &Path, text: &str) -> Result<Token, Failure> {
    text.parse().map_err(|error| {
        let text = format!("{} holds no token: {error}", file.display());
        Failure::new(Exit::Usage, text)
    })
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
    )
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        Ok(request)
    }
}
