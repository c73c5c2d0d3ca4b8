//! X-1 … X-10: what holds for every call.

use std::net::SocketAddr;
use std::sync::Arc;

use gatehouse::grpc::proto::gsdk::connect::{
    ConnectRequest, DeleteAsyncConnectionRequest, GetDeviceListRequest, GetDeviceListResponse,
    Status, SubscribeStatusRequest,
};
use prost::bytes::{Buf, BufMut};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::support::client::{self, Statuses};
use crate::support::device::{self, Spec};
use crate::support::gateway::TestGateway;
use crate::support::{run, soon};

/// Sends bytes as they are and takes bytes as they come: a client of no proto.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = tonic::Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = tonic::Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, tonic::Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

pub async fn call(
    gateway: &TestGateway,
    path: &str,
    message: Vec<u8>,
) -> Result<Vec<u8>, tonic::Status> {
    let mut grpc = tonic::client::Grpc::new(gateway.channel().await);
    soon("the channel", grpc.ready()).await.expect("ready");
    let path = path.parse().expect("a path");
    let answer = grpc.unary(tonic::Request::new(message), path, Raw).await?;
    Ok(answer.into_inner())
}

/// A message with nothing but an unknown field 100 of `len` bytes.
fn unknown_field(len: usize) -> Vec<u8> {
    let mut message = Vec::with_capacity(len + 8);
    prost::encoding::bytes::encode(100, &vec![0_u8; len], &mut message);
    message
}

#[test]
fn x_01_tls_1_2_works_with_the_ca_alone() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut roots = rustls::RootCertStore::empty();
        let ca = rustls::pki_types::CertificateDer::from_pem_slice(gateway.ca().as_bytes());
        roots.add(ca.expect("a certificate")).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .expect("TLS 1.2")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let socket = TcpStream::connect(gateway.grpc()).await.expect("open");
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = connector.connect(name, socket).await.expect("a handshake");
        let (_, session) = tls.get_ref();
        assert_eq!(
            session.protocol_version(),
            Some(rustls::ProtocolVersion::TLSv1_2)
        );
        assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
        client::list(&mut gateway.client().await).await;
        gateway.stop().await;
    });
}

#[test]
fn x_02_plain_text_http2_is_refused() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut socket = TcpStream::connect(gateway.grpc()).await.expect("open");
        socket
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .expect("written");
        let mut answer = Vec::new();
        // However it ends, by a TLS alert or a reset, there is no HTTP/2 in it.
        let _ = soon("the end", socket.read_to_end(&mut answer)).await;
        assert!(
            answer.len() < 9 || answer[3] != 4,
            "no SETTINGS frame: {answer:?}"
        );
        gateway.stop().await;
    });
}

#[test]
fn x_03_both_generations_of_paths_give_the_same() {
    run(async {
        let gateway = TestGateway::start().await;
        let up = device::listen(Spec::new(1001, &gateway)).await;
        // It takes the connection and says nothing: the device stays TRY_TO_CONNECT.
        let mute = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let mut prefixed = gateway.client().await;
        let mut bare = client::bare(gateway.channel().await);

        let mut changes = Statuses::subscribe(&mut prefixed, 0).await;
        let stream = bare
            .subscribe_status(SubscribeStatusRequest { queue_size: 0 })
            .await;
        let mut bare_changes = stream.expect("subscribed").into_inner();
        let request = gatehouse::grpc::proto::gsdk::connect::AddAsyncConnectionRequest {
            connect_infos: vec![client::auto(1002, mute.local_addr().expect("bound"))],
        };
        bare.add_async_connection(request)
            .await
            .expect("added over the bare path");
        changes.wait_for(1002, Status::TryToConnect).await;
        client::add(&mut prefixed, vec![client::auto(1001, up.address())]).await;
        changes.wait_for(1001, Status::TcpConnected).await;

        let first = soon("a change", bare_changes.message())
            .await
            .expect("goes on");
        let first = first.expect("a change");
        assert_eq!(
            (first.device_id, first.status()),
            (1001, Status::TcpConnected)
        );

        let mut by_prefix = client::list(&mut prefixed).await;
        let by_bare = bare
            .get_device_list(GetDeviceListRequest {})
            .await
            .expect("a list");
        let trying = by_prefix
            .iter_mut()
            .find(|info| info.device_id == 1002)
            .expect("listed");
        assert_eq!(trying.status(), Status::TryToConnect);
        trying.set_status(Status::Disconnected);
        assert_eq!(by_bare.into_inner().device_infos, by_prefix);

        let unknown = bare.connect(ConnectRequest { connect_info: None }).await;
        assert_eq!(unknown.expect_err("refused").code(), Code::InvalidArgument);
        gateway.stop().await;
    });
}

#[test]
fn x_04_unknown_services_and_methods_are_unimplemented() {
    run(async {
        let gateway = TestGateway::start().await;
        for (path, text) in [
            ("/gsdk.door.Door/GetList", "unknown service gsdk.door.Door"),
            ("/door.Door/GetList", "unknown service door.Door"),
        ] {
            let error = call(&gateway, path, Vec::new()).await.expect_err("refused");
            assert_eq!((error.code(), error.message()), (Code::Unimplemented, text));
        }
        for path in ["/gsdk.connect.Connect/Nothing", "/connect.Connect/Nothing"] {
            let error = call(&gateway, path, Vec::new()).await.expect_err("refused");
            assert_eq!(error.code(), Code::Unimplemented, "{error:?}");
        }
        gateway.stop().await;
    });
}

#[test]
fn x_05_requests_up_to_the_limit_are_taken_and_larger_ones_refused() {
    run(async {
        let gateway = TestGateway::start().await;
        let limit = 75_497_472;
        let path = "/gsdk.connect.Connect/GetDeviceList";
        let mut grpc = tonic::client::Grpc::new(gateway.channel().await);
        for (len, refused) in [(limit - 64, false), (limit + 64, true), (16, false)] {
            grpc.ready().await.expect("the link stays usable");
            let request = tonic::Request::new(unknown_field(len));
            let answer = grpc
                .unary(request, path.parse().expect("a path"), Raw)
                .await;
            match answer {
                Ok(_) => assert!(!refused, "{len} bytes were taken"),
                Err(error) => {
                    assert!(refused, "{len} bytes: {error:?}");
                    assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}");
                }
            }
        }
        gateway.stop().await;
    });
}

#[test]
fn x_06_a_list_of_1000_devices_fits_the_default_of_a_client() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut client = gateway.client().await;
        let nowhere = device::closed_port().await;
        let infos = (1..=1000).map(|id| client::auto(id, nowhere)).collect();
        client::add(&mut client, infos).await;
        assert_eq!(client::list(&mut client).await.len(), 1000);
        gateway.stop().await;
    });
}

#[test]
fn x_07_unknown_fields_are_ignored() {
    run(async {
        let gateway = TestGateway::start().await;
        let path = "/gsdk.connect.Connect/GetDeviceList";
        let answer = call(&gateway, path, unknown_field(10))
            .await
            .expect("taken");
        let list: GetDeviceListResponse = prost::Message::decode(&answer[..]).expect("a list");
        assert!(list.device_infos.is_empty());
        gateway.stop().await;
    });
}

#[test]
fn x_08_a_request_that_does_not_decode_is_an_error_and_no_end() {
    run(async {
        let gateway = TestGateway::start().await;
        let path = "/gsdk.connect.Connect/AddAsyncConnection";
        let error = call(&gateway, path, vec![0x0a, 0xff])
            .await
            .expect_err("refused");
        assert!(
            matches!(error.code(), Code::Internal | Code::InvalidArgument),
            "{error:?}"
        );
        assert!(client::list(&mut gateway.client().await).await.is_empty());
        gateway.stop().await;
    });
}

#[test]
fn x_09_the_certificate_holds_for_the_address_and_for_localhost() {
    run(async {
        let gateway = TestGateway::start().await;
        for host in ["127.0.0.1", "localhost"] {
            let channel = client::channel(gateway.grpc(), host, gateway.ca()).await;
            let mut client = client::Client::new(channel.expect(host));
            client::list(&mut client).await;
        }
        gateway.stop().await;
    });
}

#[test]
fn x_10_a_deadline_of_the_client_ends_the_work_too() {
    run(async {
        let gateway = TestGateway::start().await;
        let mute = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address: SocketAddr = mute.local_addr().expect("bound");
        let mut client = gateway.client().await;
        let mut request = tonic::Request::new(client::connect_to(address));
        request.set_timeout(std::time::Duration::from_millis(300));
        let (answer, arrived) = tokio::join!(client.connect(request), mute.accept());
        let error = answer.expect_err("too late");
        assert!(
            matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled),
            "{error:?}"
        );
        let (mut socket, _) = arrived.expect("dialled");
        let mut said = Vec::new();
        // Its first handshake message, and then the end: the dial was given up.
        let _ = soon("the end of the dial", socket.read_to_end(&mut said)).await;
        assert!(client::list(&mut client).await.is_empty());
        let delete = DeleteAsyncConnectionRequest {
            device_i_ds: vec![1],
        };
        client
            .delete_async_connection(delete)
            .await
            .expect("still serves");
        gateway.stop().await;
    });
}
