//! What a stranger on another host gets of a running gateway: nothing. The listeners are found from
//! the process, not from a list.

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use gatehouse::access::calls;
use gatehouse::http;
use gatehouse::link::link_key::LinkKey;
use gatehouse::link::noise::Initiator;
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::support::PATIENCE;
use crate::support::netns::Pair;
use crate::support::process::Process;

/// The ports on which a process listens for TCP, and those of its UDP sockets, as the kernel says.
fn listening(pid: u32) -> (Vec<u16>, Vec<u16>) {
    let inodes: HashSet<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("the process runs")
        .filter_map(|fd| {
            let target = fs::read_link(fd.ok()?.path()).ok()?;
            let name = target.to_str()?;
            Some(name.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    let of = |table: &str, state: Option<&str>| {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).expect("a table");
        let rows = text
            .lines()
            .skip(1)
            .map(|row| row.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| inodes.contains(row[9]) && state.is_none_or(|state| row[3] == state))
            .map(|row| {
                let (_, port) = row[1].rsplit_once(':').expect("address and port");
                u16::from_str_radix(port, 16).expect("a port")
            })
            .collect::<Vec<_>>()
    };
    const LISTEN: Option<&str> = Some("0A");
    let tcp = [of("tcp", LISTEN), of("tcp6", LISTEN)].concat();
    let udp = [of("udp", None), of("udp6", None)].concat();
    (tcp, udp)
}

/// What a stranger may say first.
fn openings() -> Vec<(&'static str, Vec<u8>)> {
    let stranger = LinkKey::new([9; 32]);
    let (_, noise) = Initiator::start(&stranger, [5; 32]).expect("a first message");
    vec![
        (
            "an IOTMP Connect in clear",
            b"\x03\x08\x1a\xe3\x80\x817\x80\x08\x2a".to_vec(),
        ),
        (
            "an HTTP request",
            b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n".to_vec(),
        ),
        (
            "HTTP/2 in clear",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
        ),
        ("an aes handshake with a key of its own", noise),
        ("garbage", (0..=255).cycle().take(4096).collect()),
    ]
}

/// What comes back until the gateway closes.
fn answer(to: SocketAddr, opening: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(to).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    let mut heard = Vec::new();
    // It may close before all is written.
    let _ = socket.write_all(opening);
    let _ = socket.read_to_end(&mut heard);
    heard
}

/// A TLS alert, with nothing before or after it, or nothing at all.
fn is_nothing(heard: &[u8]) -> bool {
    heard.is_empty() || (heard.len() == 7 && heard[0] == 0x15)
}

/// An IOTMP Connect that shows nothing.
const CONNECT: &[u8] = b"\x03\x08\x1a\xe3\x80\x817\x80\x08\x2a";

/// TLS with the root and without a certificate, then these bytes: what comes back.
fn say_over_tls(to: SocketAddr, root: &str, said: &[u8]) -> Result<Vec<u8>, std::io::Error> {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    let root = rustls::pki_types::CertificateDer::from_pem_slice(root.as_bytes());
    roots.add(root.expect("a root")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = to.ip().into();
    let tls = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let socket = TcpStream::connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut stream = rustls::StreamOwned::new(tls, socket);
    stream.write_all(said)?;
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    Ok(heard)
}

/// Every route that wants a role, asked for with the root alone: the first line of what comes back.
fn http_answers(to: SocketAddr, root: &str) -> Vec<(String, String)> {
    let routes = http::rules::RULES
        .iter()
        .filter(|rule| rule.needs.is_some());
    let answers = routes.map(|rule| {
        let route = format!("{} {}", rule.method, rule.path);
        let path = rule.path.replace(['{', '}', '*'], "");
        let asked = format!(
            "{} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n",
            rule.method
        );
        let heard = say_over_tls(to, root, asked.as_bytes()).expect("TLS");
        let told = String::from_utf8_lossy(&heard);
        (route, told.lines().next().unwrap_or_default().to_owned())
    });
    answers.collect()
}

/// Every call of the gateway, by a client with the root alone: its status codes.
fn grpc_codes(to: SocketAddr, root: &str) -> Vec<(&'static calls::Rule, Option<Code>)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(root));
        let endpoint = Endpoint::from_shared(format!("https://{to}")).expect("an address");
        let channel = endpoint.tls_config(tls).expect("tls").connect().await;
        let Ok(channel) = channel else {
            return Vec::new();
        };
        let mut codes = Vec::new();
        for rule in calls::RULES {
            let call = rule.call;
            let mut grpc = tonic::client::Grpc::new(channel.clone());
            grpc.ready().await.expect("ready");
            let path = format!("/{call}").parse().expect("a path");
            let codec = tonic_prost::ProstCodec::<(), ()>::default();
            let answer = grpc
                .server_streaming(tonic::Request::new(()), path, codec)
                .await;
            let code = match answer {
                Err(status) => Some(status.code()),
                Ok(mut stream) => stream
                    .get_mut()
                    .message()
                    .await
                    .err()
                    .map(|status| status.code()),
            };
            codes.push((rule, code));
        }
        codes
    })
}

#[test]
fn a_stranger_on_another_host_gets_nothing() {
    let Some(Pair { near, far }) = Pair::make() else {
        return;
    };
    let gateway = Process::start_on(&near, "plain.listen = \"0.0.0.0:0\"");
    let root = fs::read_to_string(gateway.ca()).expect("ca.crt");
    let (tcp, udp) = listening(gateway.pid());
    assert!(
        tcp.len() >= 5,
        "gRPC, HTTP, aes, tls and plain listen: {tcp:?}"
    );
    assert!(tcp.contains(&gateway.http.port()));
    assert_eq!(
        udp,
        [] as [u16; 0],
        "nobody searches, so nothing hears datagrams"
    );
    let mut with_grpc = 0;
    for port in tcp {
        let to = SocketAddr::from((near.address, port));
        for (what, opening) in openings() {
            let heard = far.inside(|| answer(to, &opening));
            let told = String::from_utf8_lossy(&heard);
            // A device in clear is told that it is not let in, by an IOTMP Error.
            let refused = heard.first() == Some(&0x02) && told.contains("error");
            assert!(
                is_nothing(&heard) || refused,
                "{what} on {port} got {told:?}"
            );
        }
        let is_http = port == gateway.http.port();
        if let Ok(heard) = far.inside(|| say_over_tls(to, &root, CONNECT)) {
            let told = String::from_utf8_lossy(&heard);
            let is_no_http = is_http && told.starts_with("HTTP/1.1 400");
            assert!(
                heard.is_empty() || heard[0] == 0x02 || is_no_http,
                "a Connect over TLS on {port} got {told:?}"
            );
        }
        if is_http {
            for (route, line) in far.inside(|| http_answers(to, &root)) {
                assert_eq!(line, "HTTP/1.1 401 Unauthorized", "{route}");
            }
            continue;
        }
        let codes = far.inside(|| grpc_codes(to, &root));
        with_grpc += usize::from(!codes.is_empty());
        for (rule, code) in codes {
            // Whether the gateway runs is told to whoever reaches the port.
            let expected = rule.needs.map(|_| Code::Unauthenticated);
            assert_eq!(code, expected, "{} on {port}", rule.call);
        }
    }
    assert_eq!(with_grpc, 1, "one of them is gRPC");
    assert_ne!(near.address, Ipv4Addr::LOCALHOST);
}
