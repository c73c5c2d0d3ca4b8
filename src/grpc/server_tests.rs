//! The server over real connections.

use std::net::{Ipv4Addr, SocketAddr};

use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::*;
use crate::callers::connection::PREFACE;
use crate::grpc::proto::gatehouse::v1::fleet_client::FleetClient;
use crate::grpc::proto::gatehouse::v1::fleet_server::FleetServer;
use crate::grpc::proto::gatehouse::v1::{GetRequest, ListRequest, RetryNowRequest, WatchRequest};
use crate::grpc::stop;
use crate::grpc::testing::{self, Seen, Stub};

const MESSAGE_SIZE: usize = 3 << 20;

struct World {
    server: Server,
    address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
    tls: Arc<ArcSwap<ServerConfig>>,
    client_tls: Arc<ClientConfig>,
}

/// A server certificate for `localhost`, and a client that trusts it alone.
fn tls() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let cert: CertificateDer<'static> = params.self_signed(&key).expect("signed").into();
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.clone()], key)
        .expect("a pair");
    server.alpn_protocols = vec![b"h2".to_vec()];
    let mut roots = RootCertStore::empty();
    roots.add(cert).expect("a root");
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec()];
    (Arc::new(server), Arc::new(client))
}

async fn world(change: impl FnOnce(&mut Settings)) -> World {
    let (server_tls, client_tls) = tls();
    let tls = Arc::new(ArcSwap::new(server_tls));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    let mut settings = Settings::new(tls.clone());
    settings.message_size_max = MESSAGE_SIZE;
    change(&mut settings);
    let (stopper, stop) = stop::channel();
    let (calls, seen) = mpsc::unbounded_channel();
    let fleet =
        FleetServer::new(Stub { stop, calls }).max_decoding_message_size(settings.message_size_max);
    let routes = Routes::new(testing::open_guard()).with(fleet);
    let server = Server::start(listener, settings, routes, stopper);
    World {
        server,
        address,
        seen,
        tls,
        client_tls,
    }
}

async fn secured(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(config).connect(name, stream).await
}

impl World {
    async fn client(&self) -> Result<FleetClient<Channel>, tonic::transport::Error> {
        let (address, config) = (self.address, self.client_tls.clone());
        let connector = tower::service_fn(move |_: Uri| {
            let config = config.clone();
            async move { secured(address, config).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://localhost")
            .connect_with_connector(connector)
            .await?;
        Ok(FleetClient::new(channel))
    }

    async fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await;
        stream.expect("listening")
    }
}

async fn answers(client: &mut FleetClient<Channel>) -> Result<(), Status> {
    client.get(GetRequest::default()).await.map(|_| ())
}

/// Returns once the server has closed; what it said before is returned.
async fn until_closed(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset is as good an end as any.
    let _ = stream.read_to_end(&mut said).await;
    said
}

#[tokio::test]
async fn serves_over_tls() {
    let world = world(|_| {}).await;
    let mut client = world.client().await.expect("connected");
    answers(&mut client).await.expect("an answer");
    world.server.stop().await;
    answers(&mut client).await.expect_err("stopped");
}

#[tokio::test]
async fn plain_text_is_refused() {
    const TLS_ALERT: u8 = 21;
    let world = world(|_| {}).await;
    let mut stream = world.tcp().await;
    stream.write_all(&PREFACE).await.expect("sent");
    let said = until_closed(stream).await;
    assert!(
        said.first().is_none_or(|first| *first == TLS_ALERT),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_message_over_the_limit_leaves_the_link_usable() {
    let world = world(|_| {}).await;
    let mut client = world.client().await.expect("connected");
    // An ID of this size takes five bytes; tag and length of the list take five more.
    let retry = |ids: usize| RetryNowRequest {
        device_ids: vec![u32::MAX; ids],
    };
    client
        .retry_now(retry((MESSAGE_SIZE - 5) / 5))
        .await
        .expect("just under the limit");
    for _ in 0..3 {
        let status = client.retry_now(retry(MESSAGE_SIZE / 5 + 1)).await;
        assert_eq!(status.expect_err("over").code(), Code::ResourceExhausted);
        answers(&mut client).await.expect("an answer");
    }
}

/// Peers that say nothing, and one that falls silent after its handshake.
async fn silent_peers(world: &World) -> (Vec<TcpStream>, impl AsyncRead + Unpin) {
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(world.tcp().await);
    }
    let mut greeted = secured(world.address, world.client_tls.clone())
        .await
        .expect("a handshake");
    greeted.write_all(&PREFACE[..10]).await.expect("sent");
    (silent, greeted)
}

#[tokio::test]
async fn silent_peers_hinder_nobody() {
    let world = world(|settings| settings.handshake_deadline = Duration::from_secs(86_400)).await;
    let _peers = silent_peers(&world).await;
    let mut client = world.client().await.expect("connected");
    answers(&mut client).await.expect("an answer");
}

#[tokio::test]
async fn silent_peers_are_dropped_at_the_deadline() {
    let world = world(|settings| settings.handshake_deadline = Duration::from_millis(300)).await;
    let mut client = world.client().await.expect("connected");
    let (silent, greeted) = silent_peers(&world).await;
    for stream in silent {
        assert!(until_closed(stream).await.is_empty());
    }
    assert!(until_closed(greeted).await.is_empty());
    answers(&mut client).await.expect("still connected");
}

#[tokio::test]
async fn whoever_speaks_no_http2_is_closed() {
    let world = world(|_| {}).await;
    let mut stream = secured(world.address, world.client_tls.clone())
        .await
        .expect("a handshake");
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    assert!(until_closed(stream).await.is_empty());
}

#[tokio::test]
async fn one_connection_too_many_is_closed_until_another_ends() {
    let world = world(|settings| settings.connections_max = 1).await;
    let mut client = world.client().await.expect("connected");
    world.client().await.expect_err("too many");
    answers(&mut client).await.expect("an answer");
    drop(client);
    // The slot is free once the server has seen the end.
    let mut client = loop {
        if let Ok(client) = world.client().await {
            break client;
        }
    };
    answers(&mut client).await.expect("an answer");
}

#[tokio::test]
async fn a_new_certificate_counts_from_the_next_connection_on() {
    let mut world = world(|_| {}).await;
    let mut before = world.client().await.expect("connected");
    let (server_tls, client_tls) = tls();
    world.tls.store(server_tls);
    world.client().await.expect_err("another certificate");
    world.client_tls = client_tls;
    let mut after = world.client().await.expect("connected");
    answers(&mut before).await.expect("an answer");
    answers(&mut after).await.expect("an answer");
}

#[tokio::test]
async fn a_stream_begins_at_once_and_its_end_frees_it() {
    let mut world = world(|_| {}).await;
    let mut client = world.client().await.expect("connected");
    let stream = client
        .watch(WatchRequest::default())
        .await
        .expect("headers");
    assert_eq!(world.seen.recv().await, Some(Seen::Begun));
    drop(stream);
    assert_eq!(world.seen.recv().await, Some(Seen::Over));
    answers(&mut client).await.expect("an answer");
}

#[tokio::test]
async fn a_call_that_its_client_gives_up_is_dropped() {
    let mut world = world(|_| {}).await;
    let mut client = world.client().await.expect("connected");
    let mut calling = client.clone();
    let call = tokio::spawn(async move { calling.list(ListRequest::default()).await });
    assert_eq!(world.seen.recv().await, Some(Seen::Begun));
    call.abort();
    assert_eq!(world.seen.recv().await, Some(Seen::Over));
    answers(&mut client).await.expect("an answer");
}

#[tokio::test]
async fn a_stop_ends_streams_with_unavailable() {
    let world = world(|_| {}).await;
    let mut client = world.client().await.expect("connected");
    let mut stream = client
        .watch(WatchRequest::default())
        .await
        .expect("headers")
        .into_inner();
    world.server.stop().await;
    let status = stream.message().await.expect_err("stopped");
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "stopped")
    );
}

#[tokio::test]
async fn a_stop_cuts_what_does_not_end() {
    let mut world = world(|settings| settings.stop_deadline = Duration::from_millis(20)).await;
    let mut client = world.client().await.expect("connected");
    let call = tokio::spawn(async move { client.list(ListRequest::default()).await });
    assert_eq!(world.seen.recv().await, Some(Seen::Begun));
    world.server.stop().await;
    call.await.expect("no panic").expect_err("cut");
    assert_eq!(world.seen.recv().await, Some(Seen::Over));
}
