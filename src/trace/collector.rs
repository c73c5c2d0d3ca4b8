//! The way to the collector, and as whom the gateway is known there.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig, WithTonicConfig, tonic_types,
};
use opentelemetry_sdk::Resource;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::config;

/// Why there is no way to the collector.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("trace.endpoint: {0}")]
    Endpoint(&'static str),
    #[error("{key}: {} cannot be read: {source}", path.display())]
    File {
        key: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("trace.ca is empty, and this system has no root certificates: name a file")]
    NoRoots,
    #[error("trace.ca, trace.certificate, trace.key: {}", innermost(.0))]
    Tls(#[from] tonic::transport::Error),
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
}

/// `None`: nothing is traced.
pub(super) fn exporter(config: &config::Trace) -> Result<Option<SpanExporter>, TraceError> {
    let Some(uri) = config.address().map_err(TraceError::Endpoint)? else {
        return Ok(None);
    };
    let is_secured = uri.scheme_str() == Some("https");
    let mut endpoint = Endpoint::from(uri)
        .timeout(config.timeout)
        .connect_timeout(config.timeout);
    if is_secured {
        endpoint = endpoint.tls_config(tls(config)?)?;
    }
    let exporter = SpanExporter::builder()
        .with_tonic()
        // With the first batch, and again whenever that is needed.
        .with_channel(endpoint.connect_lazy())
        .with_timeout(config.timeout)
        .with_metadata(metadata(config))
        .build()?;
    Ok(Some(exporter))
}

fn tls(config: &config::Trace) -> Result<ClientTlsConfig, TraceError> {
    let mut tls = ClientTlsConfig::new();
    if !config.certificate.is_empty() {
        let certificate = read("trace.certificate", &config.certificate)?;
        let key = read("trace.key", &config.key)?;
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    if !config.ca.is_empty() {
        let pem = read("trace.ca", &config.ca)?;
        return Ok(tls.ca_certificate(Certificate::from_pem(pem)));
    }
    let roots = rustls_native_certs::load_native_certs().certs;
    if roots.is_empty() {
        return Err(TraceError::NoRoots);
    }
    let pem = |root: rustls::pki_types::CertificateDer<'_>| {
        Certificate::from_pem(pem::encode(&pem::Pem::new("CERTIFICATE", root.to_vec())))
    };
    Ok(tls.ca_certificates(roots.into_iter().map(pem)))
}

fn read(key: &'static str, path: &str) -> Result<Vec<u8>, TraceError> {
    let path = PathBuf::from(path);
    std::fs::read(&path).map_err(|source| TraceError::File { key, path, source })
}

/// What the library wraps into words that say nothing.
fn innermost(error: &tonic::transport::Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The check of the configuration has seen every header.
fn metadata(config: &config::Trace) -> tonic_types::metadata::MetadataMap {
    let mut headers = http::HeaderMap::new();
    for (name, value) in &config.headers {
        let name = http::HeaderName::try_from(name);
        let value = http::HeaderValue::from_str(value);
        if let (Ok(name), Ok(mut value)) = (name, value) {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    tonic_types::metadata::MetadataMap::from_headers(headers)
}

pub(super) fn resource(config: &config::Trace) -> Resource {
    let instance = match config.instance.as_str() {
        "" => nix::unistd::gethostname()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        name => name.to_owned(),
    };
    Resource::builder()
        .with_service_name(config.service_name.clone())
        .with_attribute(KeyValue::new("service.instance.id", instance))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}
