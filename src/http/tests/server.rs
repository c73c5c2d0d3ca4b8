//! Slow and silent peers, the stop, and TLS.

use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::clock;
use crate::link::authority::Authority;
use crate::link::certs::Certs;
use crate::link::host_names::HostNames;
use crate::link::http_tls::http_server;
use crate::link::role;

async fn until_closed(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset is as good an end as any.
    let _ = stream.read_to_end(&mut said).await;
    said
}

#[actix_rt::test]
async fn silent_and_slow_peers_are_closed_and_hinder_nobody() {
    let world = world(|setup| setup.settings.head_deadline = Duration::from_millis(300)).await;
    let silent = world.connect().await;
    let mut slow = world.connect().await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: local")
        .await
        .expect("sent");
    assert_eq!(world.ask("GET /healthz").await.status, 200);
    assert!(until_closed(silent).await.is_empty());
    let said = String::from_utf8(until_closed(slow).await).expect("text");
    assert!(!said.contains("200 OK"), "{said}");
    world.stop().await;
}

#[actix_rt::test]
async fn one_connection_too_many_is_closed_until_another_ends() {
    let world = world(|setup| setup.settings.connections_max = 1).await;
    let mut first = world
        .send("GET /v3/fleet/events HTTP/1.1\nhost: localhost")
        .await;
    first.until("event: open").await;
    assert!(until_closed(world.connect().await).await.is_empty());
    drop(first);
    // The place is free once the server has seen the end.
    loop {
        let mut stream = world.connect().await;
        let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let sent = stream.write_all(request).await;
        if sent.is_ok() && !until_closed(stream).await.is_empty() {
            break;
        }
    }
    world.stop().await;
}

#[actix_rt::test]
async fn a_stop_ends_streams_in_order_and_idle_connections() {
    let world = world(|setup| setup.settings.stop_deadline = Duration::from_secs(3600)).await;
    let idle = world.connect().await;
    let mut stream = world
        .send("GET /v3/fleet/events HTTP/1.1\nhost: localhost")
        .await;
    stream.until("event: open").await;
    world.server.stop().await;
    stream.until("event: end").await;
    stream.until("shutting down").await;
    until_closed(idle).await;
    TcpStream::connect(world.address)
        .await
        .expect_err("it listens no more");
    world.running.stop().await;
}

#[actix_rt::test]
async fn what_does_not_end_is_cut() {
    let world = world(|setup| setup.settings.stop_deadline = Duration::from_millis(100)).await;
    let mut half = world.connect().await;
    half.write_all(
        b"POST /v3/pending/7/refuse HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\
          content-type: application/json\r\nexpect: 100-continue\r\n\r\n{",
    )
    .await
    .expect("sent");
    let mut heard = [0; 1];
    // The handler runs and waits for the rest.
    let _ = half.read(&mut heard).await;
    world.server.stop().await;
    until_closed(half).await;
    world.running.stop().await;
}

struct Tls {
    server: rustls::ServerConfig,
    root: CertificateDer<'static>,
    authority: Authority,
}

fn tls() -> Tls {
    let now = clock::now();
    let (authority, root) = Authority::make(now).expect("a root");
    let (root, _) = root.to_der().expect("a pair");
    let server = authority
        .gateway(&HostNames::loopback(), now)
        .expect("a pair");
    let (certificate, key) = server.to_der().expect("a pair");
    let certs = Certs {
        roots: vec![root.clone()],
        crls: Vec::new(),
        chain: vec![certificate],
        key,
    };
    Tls {
        server: http_server(&certs, Vec::new()).expect("it serves"),
        root,
        authority,
    }
}

impl Tls {
    async fn connect(
        &self,
        address: SocketAddr,
        protocol: &str,
        role: Option<Role>,
    ) -> TlsStream<TcpStream> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("a root");
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match role {
            None => builder.with_no_client_auth(),
            Some(role) => {
                let role = role::Role::client(role, "anna").expect("a name");
                let pair = self.authority.client(&role, clock::now()).expect("a pair");
                let (certificate, key) = pair.to_der().expect("a pair");
                builder
                    .with_client_auth_cert(vec![certificate], key)
                    .expect("a pair")
            }
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(address).await.expect("listening");
        let name = ServerName::try_from("localhost").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.expect("a handshake")
    }
}

#[actix_rt::test]
async fn over_tls_a_certificate_says_who_asks() {
    let tls = tls();
    let config = Arc::new(ArcSwap::from_pointee(tls.server.clone()));
    let world = world(|setup| {
        setup.is_open = false;
        setup.settings.tls = Some(config);
    })
    .await;
    let request = "GET /v3/whoami HTTP/1.1\nhost: localhost\nconnection: close";
    let stream = tls.connect(world.address, "http/1.1", None).await;
    assert_eq!(
        Asked::send(stream, request).await.answer().await.status,
        401
    );
    let stream = tls
        .connect(world.address, "http/1.1", Some(Role::Admin))
        .await;
    let answer = Asked::send(stream, request).await.answer().await;
    assert_eq!(answer.json()["name"], "certificate anna");
    assert_eq!(answer.json()["role"], "admin");
    // The same origin has another scheme here.
    for (origin, status) in [("https://localhost", 200), ("http://localhost", 403)] {
        let stream = tls
            .connect(world.address, "http/1.1", Some(Role::Viewer))
            .await;
        let request = format!("{request}\norigin: {origin}");
        assert_eq!(
            Asked::send(stream, &request).await.answer().await.status,
            status
        );
    }
    let said = until_closed(plain(&world).await).await;
    assert!(!String::from_utf8_lossy(&said).contains("HTTP"));
    world.stop().await;
}

async fn plain(world: &World) -> TcpStream {
    let mut stream = world.connect().await;
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    stream
}

#[actix_rt::test]
async fn http2_is_spoken_over_tls() {
    let tls = tls();
    let config = Arc::new(ArcSwap::from_pointee(tls.server.clone()));
    let world = world(|setup| setup.settings.tls = Some(config)).await;
    let stream = tls.connect(world.address, "h2", Some(Role::Viewer)).await;
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut client, connection) = handshake.await.expect("http2");
    let driving = tokio::spawn(connection);
    for (uri, status) in [
        ("https://localhost/v3/whoami", 200),
        ("https://evil.example/v3/whoami", 421),
    ] {
        let request = http::Request::get(uri)
            .body(String::new())
            .expect("a request");
        let answer = client.send_request(request).await.expect("an answer");
        assert_eq!(answer.status(), status, "{uri}");
    }
    world.stop().await;
    driving.abort();
}

#[actix_rt::test]
async fn peers_that_fall_silent_in_their_handshake_are_closed() {
    let tls = tls();
    let config = Arc::new(ArcSwap::from_pointee(tls.server.clone()));
    let world = world(|setup| {
        setup.settings.tls = Some(config);
        setup.settings.handshake_deadline = Duration::from_millis(300);
    })
    .await;
    let silent = world.connect().await;
    let greeted = tls.connect(world.address, "h2", None).await;
    assert!(until_closed(silent).await.is_empty());
    assert!(until_closed(greeted).await.is_empty());
    world.stop().await;
}
