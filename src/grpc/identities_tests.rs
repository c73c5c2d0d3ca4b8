//! The service over a real TLS channel.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tonic::Code;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

use super::*;
use crate::cause::CauseKind;
use crate::device::LinkKind;
use crate::grpc::proto::gatehouse::v1::identities_client::IdentitiesClient;
use crate::grpc::proto::gatehouse::v1::identities_server::IdentitiesServer;
use crate::grpc::routes::Routes;
use crate::grpc::server::{Server, Settings};
use crate::grpc::stop;
use crate::grpc::testing;
use crate::identity::Secrets;
use crate::link::link_key::LinkKey;
use crate::session::KeyLookup;
use crate::session::requests::{Answered, RequestError};
use crate::vault::testing::{Script, World, error, id, named, ok};
use tonic::service::interceptor::InterceptedService;

const CREDENTIAL: i32 = wire::SecretKind::Credential as i32;
const LINK_KEY: i32 = wire::SecretKind::LinkKey as i32;

/// Devices by script, and an accept filter that can refuse.
#[derive(Clone, Default)]
struct Doubles {
    script: Script,
    accepted: Arc<Mutex<Vec<DeviceId>>>,
    refuses: Arc<AtomicBool>,
}

impl Devices for Doubles {
    fn link(&self, id: DeviceId) -> Option<LinkKind> {
        self.script.link(id)
    }

    async fn ask(
        &self,
        id: DeviceId,
        request: crate::session::machine::Request,
    ) -> Result<Answered, RequestError> {
        self.script.ask(id, request).await
    }
}

impl Fleet for Doubles {
    async fn accept(&self, id: DeviceId) -> Result<(), CommandError> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(CommandError::NotStored("disk full".into()));
        }
        self.accepted.lock().unwrap().push(id);
        Ok(())
    }
}

struct Served {
    client: IdentitiesClient<InterceptedService<Channel, testing::Bearer>>,
    vault: Vault,
    world: World,
    doubles: Doubles,
    server: Server,
}

/// A server certificate for `localhost`, and a client that trusts it alone.
fn tls() -> (ServerConfig, Arc<ClientConfig>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let cert: CertificateDer<'static> = params.self_signed(&key).unwrap().into();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec()];
    let mut roots = RootCertStore::empty();
    roots.add(cert).unwrap();
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec()];
    (server, Arc::new(client))
}

async fn channel(address: SocketAddr, config: Arc<ClientConfig>) -> Channel {
    let connector = tower::service_fn(move |_: Uri| {
        let config = config.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            let name = ServerName::try_from("localhost").unwrap();
            let secured = TlsConnector::from(config).connect(name, stream).await;
            secured.map(TokioIo::new)
        }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(connector).await.unwrap()
}

async fn serve() -> Served {
    let (world, doubles) = (World::default(), Doubles::default());
    let vault = world.vault();
    let (server_tls, client_tls) = tls();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = Settings::new(Arc::new(ArcSwap::from_pointee(server_tls)));
    let (stopper, _) = stop::channel();
    let (guard, token) = testing::guard_with_admin().await;
    let service = IdentitiesService::new(vault.clone(), doubles.clone());
    let routes = Routes::new(guard).with(IdentitiesServer::new(service));
    let server = Server::start(listener, settings, routes, stopper);
    Served {
        client: IdentitiesClient::with_interceptor(channel(address, client_tls).await, token),
        vault,
        world,
        doubles,
        server,
    }
}

fn wired(name: &str) -> wire::Identity {
    let identity = named(name);
    wire::Identity {
        owner: identity.owner.into(),
        device: identity.device.into(),
    }
}

impl Served {
    async fn add(&mut self, name: &str, kind: i32, accept: bool) -> Result<String, Status> {
        let request = wire::AddIdentityRequest {
            identity: Some(wired(name)),
            kind,
            accept,
        };
        let answer = self.client.add(request).await?;
        Ok(answer.into_inner().secret)
    }

    async fn rotate(&mut self, name: &str, kind: i32, grace: u32) -> Result<String, Status> {
        let request = wire::RotateIdentityRequest {
            identity: Some(wired(name)),
            kind,
            grace_seconds: grace,
        };
        let answer = self.client.rotate(request).await?;
        Ok(answer.into_inner().secret)
    }

    async fn remove(&mut self, names: &[&str], kind: i32) -> Result<(), Status> {
        let request = wire::RemoveIdentitiesRequest {
            identities: names.iter().map(|name| wired(name)).collect(),
            kind,
        };
        self.client.remove(request).await.map(|_| ())
    }

    async fn enrol(&mut self, ids: &[u32]) -> Result<(), Status> {
        let device_ids = ids.to_vec();
        let request = wire::EnrolRequest { device_ids };
        self.client.enrol(request).await.map(|_| ())
    }

    /// Device, kind and whether it is rotating, of each.
    async fn list(&mut self) -> Vec<(String, i32, bool)> {
        let answer = self.client.list(wire::ListIdentitiesRequest {}).await;
        let identities = answer.unwrap().into_inner().identities.into_iter();
        let row = |row: wire::StoredIdentity| {
            let device = row.identity.unwrap().device;
            (device, row.kind, row.rotating)
        };
        identities.map(row).collect()
    }

    fn matches(&self, name: &str, secret: &str) -> bool {
        let ring = self.vault.live().current();
        let identity = named(name);
        let matched = ring.matches_credential(identity.serial(), &identity, secret.as_bytes());
        matched.is_some()
    }
}

#[tokio::test]
async fn a_secret_is_told_once_and_holds_until_it_is_removed() {
    let mut served = serve().await;
    let credential = served.add("alice/door", CREDENTIAL, false).await.unwrap();
    let key = served.add("1001", LINK_KEY, true).await.unwrap();
    assert!(served.matches("alice/door", &credential));
    let key = LinkKey::from_hex(&key).unwrap();
    assert!(served.vault.live().find(key.id()).is_some());
    assert_eq!(*served.doubles.accepted.lock().unwrap(), [id(1001)]);
    let rows = [("1001", LINK_KEY, false), ("door", CREDENTIAL, false)];
    let rows = rows.map(|(device, kind, rotating)| (device.to_owned(), kind, rotating));
    assert_eq!(served.list().await, rows);

    let error = served.add("1001", LINK_KEY, false).await.unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    let error = served.remove(&["1001", "alice/door", "9"], 0).await;
    let error = error.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.message().starts_with("9 has no"), "{error}");
    assert_eq!(served.list().await.len(), 2, "nothing was done");
    served.remove(&["1001", "alice/door"], 0).await.unwrap();
    assert!(served.list().await.is_empty());
    assert!(!served.matches("alice/door", &credential));
    served.server.stop().await;
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_by_field() {
    let mut served = serve().await;
    let refused = [
        served.add("1001", 0, false).await.err(),
        served.add("1001", 3, false).await.err(),
        served.add("door", LINK_KEY, false).await.err(),
        served.add("door", CREDENTIAL, true).await.err(),
        served.rotate("1001", CREDENTIAL, 2_592_001).await.err(),
        served.remove(&["1001"], 7).await.err(),
        served.enrol(&[7, 0]).await.err(),
        served
            .client
            .add(wire::AddIdentityRequest::default())
            .await
            .err(),
    ];
    let starts = [
        "kind is 0",
        "kind is 3",
        "door is no serial number",
        "accept is set, but door",
        "grace_seconds is 2592001",
        "kind is 7",
        "device_ids[1] is 0",
        "kind is 0",
    ];
    for (refused, start) in refused.into_iter().zip(starts) {
        let refused = refused.expect("refused");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().starts_with(start), "{refused}");
    }
    let nameless = wire::RemoveIdentitiesRequest {
        identities: vec![wired("1001"), wire::Identity::default()],
        kind: 0,
    };
    let refused = served.client.remove(nameless).await.unwrap_err();
    assert!(
        refused.message().starts_with("identities[1]: device"),
        "{refused}"
    );
    assert!(served.list().await.is_empty());
    served.server.stop().await;
}

#[tokio::test]
async fn a_secret_that_nobody_heard_is_not_kept() {
    let mut served = serve().await;
    served.doubles.refuses.store(true, Ordering::SeqCst);
    let error = served.add("1001", CREDENTIAL, true).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(served.list().await.is_empty());
    served.world.refuse(true);
    let error = served.add("1001", CREDENTIAL, false).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(served.list().await.is_empty());
    served.server.stop().await;
}

#[tokio::test]
async fn a_rotation_keeps_the_old_secret_beside_the_new() {
    let mut served = serve().await;
    let old = served.add("1001", CREDENTIAL, false).await.unwrap();
    let new = served.rotate("1001", CREDENTIAL, 0).await.unwrap();
    assert!(served.matches("1001", &old) && served.matches("1001", &new));
    assert_eq!(served.list().await, [("1001".to_owned(), CREDENTIAL, true)]);
    let error = served.rotate("1001", LINK_KEY, 0).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    served.server.stop().await;
}

#[tokio::test]
async fn enrolment_is_refused_before_anything_is_written() {
    let mut served = serve().await;
    let script = served.doubles.script.clone();
    script.connect(id(7), LinkKind::Aes, ok());
    let error_of = |result: Result<(), Status>| {
        let status = result.unwrap_err();
        (status.code(), status.message().to_owned())
    };
    let (code, text) = error_of(served.enrol(&[7, 9]).await);
    assert_eq!(code, Code::FailedPrecondition);
    assert!(text.starts_with("device 9 is not connected"), "{text}");
    assert!(script.given(id(7)).is_empty());

    script.connect(id(8), LinkKind::Tls, error(403));
    script.connect(id(9), LinkKind::Aes, Err(RequestError::TimedOut));
    let (code, text) = error_of(served.enrol(&[9, 8, 7, 7]).await);
    assert_eq!(code, Code::FailedPrecondition);
    assert!(text.starts_with("device 8 refused"), "{text}");
    assert_eq!(script.given(id(7)).len(), 1);
    let ring = served.vault.live().current();
    assert!(ring.has_device_key(id(7)), "the others were enrolled");
    let ended = RequestError::SessionEnded(CauseKind::IoError.into());
    script.connect(id(9), LinkKind::Aes, Err(ended));
    let (code, _) = error_of(served.enrol(&[9]).await);
    assert_eq!(code, Code::Unavailable);
    script.connect(id(9), LinkKind::Aes, ok());
    served.enrol(&[9]).await.unwrap();
    served.server.stop().await;
}
