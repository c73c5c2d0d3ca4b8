//! Who gets in and who does not, over real connections.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};

use crate::access::Role;
use crate::callers::audit::Audit;
use crate::callers::client_certificate::ClientCertificate;
use crate::callers::credentials::{Credentials, of_records};
use crate::callers::first_token;
use crate::callers::guard::Guard;
use crate::config::ClientCertificates;
use crate::grpc::access::AccessService;
use crate::grpc::proto::gatehouse::v1 as proto;
use crate::grpc::proto::gatehouse::v1::access_client::AccessClient;
use crate::grpc::proto::gatehouse::v1::access_server::AccessServer;
use crate::grpc::proto::gatehouse::v1::fleet_client::FleetClient;
use crate::grpc::proto::gatehouse::v1::fleet_server::FleetServer;
use crate::grpc::routes::Routes;
use crate::grpc::server::{Server, Settings};
use crate::grpc::stop;
use crate::grpc::testing::{self, Seen, Stub};
use crate::link::certs::Certs;
use crate::link::grpc_tls::grpc_server;
use crate::store::Store;

struct Root {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A certificate and its key.
#[derive(Clone)]
struct Shown {
    certificate: CertificateDer<'static>,
    key: Arc<PrivateKeyDer<'static>>,
}

impl Root {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed").into();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    fn sign(&self, uri: &str, serial: u64) -> Shown {
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let uri = SanType::URI(uri.try_into().expect("ascii"));
        params.subject_alt_names.push(uri);
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").into();
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        Shown {
            certificate,
            key: Arc::new(key),
        }
    }

    fn revoking(&self, serial: u64) -> CertificateRevocationListDer<'static> {
        let now = rcgen::date_time_ymd(2026, 1, 1);
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: now,
            next_update: rcgen::date_time_ymd(2036, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("signed").into()
    }
}

struct World {
    _server: Server,
    address: SocketAddr,
    root: Root,
    credentials: Arc<Credentials>,
    is_open: Arc<AtomicBool>,
    store: Store,
    seen: mpsc::UnboundedReceiver<Seen>,
    data: TempDir,
}

async fn world() -> World {
    world_with(ClientCertificates::Optional, None).await
}

async fn world_with(clients: ClientCertificates, revoked_serial: Option<u64>) -> World {
    let root = Root::new();
    let server = root.sign("urn:gatehouse:gateway", 1);
    let certs = Certs {
        roots: vec![root.certificate.clone()],
        crls: Vec::new(),
        chain: vec![server.certificate],
        key: server.key.clone_key(),
    };
    let revoked = revoked_serial.map(|serial| root.revoking(serial));
    let tls = grpc_server(&certs, revoked.into_iter().collect(), clients).expect("certificates");
    let data = tempfile::tempdir().expect("a directory");
    let store = testing::store(data.path());
    let credentials = Arc::new(Credentials::new(store.clone(), []));
    let is_open = Arc::new(AtomicBool::new(true));
    let open = Arc::clone(&is_open);
    let audit = Audit::new(store.clone());
    let guard = Guard::new(
        Arc::clone(&credentials),
        Arc::new(move |_| open.load(Ordering::Relaxed)),
        audit.clone(),
    );
    let (stopper, stop) = stop::channel();
    let (calls, seen) = mpsc::unbounded_channel();
    let access = AccessServer::new(AccessService::new(Arc::clone(&credentials), audit));
    let routes = Routes::new(guard)
        .with(FleetServer::new(Stub { stop, calls }))
        .with(access)
        .with(testing::Identities);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let settings = Settings::new(Arc::new(ArcSwap::from_pointee(tls)));
    World {
        _server: Server::start(listener, settings, routes, stopper),
        address,
        root,
        credentials,
        is_open,
        store,
        seen,
        data,
    }
}

impl World {
    fn client_tls(
        &self,
        shown: Option<&Shown>,
        version: &'static SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.certificate.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(shown) => builder
                .with_client_auth_cert(vec![shown.certificate.clone()], shown.key.clone_key())
                .expect("a pair"),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    async fn channel_over(
        &self,
        shown: Option<&Shown>,
        version: &'static SupportedProtocolVersion,
    ) -> Result<Channel, tonic::transport::Error> {
        let (address, config) = (self.address, self.client_tls(shown, version));
        let connector = tower::service_fn(move |_: Uri| {
            let config = config.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                let name = ServerName::try_from("localhost").expect("a name");
                let secured = TlsConnector::from(config).connect(name, stream).await;
                secured.map(TokioIo::new)
            }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        endpoint.connect_with_connector(connector).await
    }

    async fn channel(&self, shown: Option<&Shown>) -> Channel {
        let channel = self.channel_over(shown, &TLS13).await;
        channel.expect("connected")
    }

    fn certificate(&self, role: &str) -> Shown {
        self.root.sign(&format!("urn:gatehouse:{role}"), 7)
    }

    async fn admin_token(&self) -> String {
        let made = self.credentials.create_admin("boss", &[9; 32]).await;
        made.expect("made").into_string()
    }

    /// Has a token made through the service.
    async fn token(&self, name: &str, role: Role, seconds: u64) -> String {
        let admin = match self.credentials.tokens().get("boss") {
            Some(_) => crate::access::tokens::TokenText::new(&[9; 32]).into_string(),
            None => self.admin_token().await,
        };
        let mut client = AccessClient::new(self.channel(None).await);
        let request = proto::CreateTokenRequest {
            name: name.to_owned(),
            role: match role {
                Role::Viewer => 1,
                Role::Operator => 2,
                Role::Admin => 3,
            },
            expires_after_seconds: seconds,
        };
        let made = client.create_token(with_token(request, &admin)).await;
        made.expect("made").into_inner().token
    }

    /// The audit log: caller, call, arguments, result.
    async fn audited(&self) -> Vec<[String; 4]> {
        let entries = self.store.audit(0, 1000).await.expect("read");
        let entry = |entry: crate::registry::records::AuditEntry| {
            [entry.caller, entry.call, entry.arguments, entry.result].map(String::from)
        };
        entries.into_iter().map(entry).collect()
    }
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().expect("ascii");
    request.metadata_mut().insert("authorization", value);
    request
}

async fn reads(channel: &Channel, token: Option<&str>) -> Result<(), Status> {
    let message = proto::GetRequest::default();
    let request = match token {
        None => Request::new(message),
        Some(token) => with_token(message, token),
    };
    FleetClient::new(channel.clone())
        .get(request)
        .await
        .map(|_| ())
}

async fn changes(channel: &Channel, token: Option<&str>) -> Result<(), Status> {
    let message = proto::RetryNowRequest {
        device_ids: vec![7, 8],
    };
    let request = match token {
        None => Request::new(message),
        Some(token) => with_token(message, token),
    };
    let mut client = FleetClient::new(channel.clone());
    client.retry_now(request).await.map(|_| ())
}

fn code(result: Result<(), Status>) -> Code {
    result.map_or_else(|status| status.code(), |()| Code::Ok)
}

async fn who(channel: &Channel, token: Option<&str>) -> (String, i32) {
    let message = proto::WhoAmIRequest {};
    let request = match token {
        None => Request::new(message),
        Some(token) => with_token(message, token),
    };
    let answer = AccessClient::new(channel.clone()).who_am_i(request).await;
    let answer = answer.expect("an answer").into_inner();
    (answer.name, answer.role)
}

#[tokio::test]
async fn a_certificate_gives_its_role() {
    let world = world().await;
    for version in [&TLS12, &TLS13] {
        for (role, number, may) in [
            ("viewer", 1, Code::PermissionDenied),
            ("operator", 2, Code::Ok),
            ("admin", 3, Code::Ok),
        ] {
            let shown = world.certificate(&format!("{role}:anna"));
            let channel = world.channel_over(Some(&shown), version).await;
            let channel = channel.expect("connected");
            assert_eq!(
                who(&channel, None).await,
                ("certificate anna".to_owned(), number)
            );
            assert_eq!(code(reads(&channel, None).await), Code::Ok);
            assert_eq!(code(changes(&channel, None).await), may, "{role}");
        }
    }
    let viewer = world.channel(Some(&world.certificate("viewer:anna"))).await;
    let status = changes(&viewer, None).await.expect_err("refused");
    assert_eq!(
        status.message(),
        "gatehouse.v1.Fleet/RetryNow wants the role operator, and certificate anna has the role viewer"
    );
}

#[tokio::test]
async fn a_certificate_of_another_role_is_nobodys_and_not_anonymous() {
    let world = world().await;
    let token = world.token("ci", Role::Operator, 0).await;
    for role in ["device:7", "gateway", "tenant:a", "operator:a b"] {
        let channel = world.channel(Some(&world.certificate(role))).await;
        let status = reads(&channel, None).await.expect_err("refused");
        assert_eq!(status.code(), Code::Unauthenticated, "{role}");
        assert!(status.message().contains("not of a viewer"), "{status}");
        // A token does not mend it.
        assert_eq!(
            code(reads(&channel, Some(&token)).await),
            Code::Unauthenticated
        );
    }
}

#[tokio::test]
async fn anonymous_on_loopback_is_an_operator_and_no_more() {
    let world = world().await;
    let channel = world.channel(None).await;
    assert_eq!(who(&channel, None).await, ("anonymous".to_owned(), 2));
    assert_eq!(code(changes(&channel, None).await), Code::Ok);
    let mut access = AccessClient::new(channel.clone());
    let create = proto::CreateTokenRequest {
        name: "mine".to_owned(),
        role: 3,
        expires_after_seconds: 0,
    };
    let status = access.create_token(create).await.expect_err("refused");
    assert_eq!(status.code(), Code::PermissionDenied);
    let status = access.list_audit(proto::ListAuditRequest::default()).await;
    assert_eq!(status.expect_err("refused").code(), Code::PermissionDenied);
    let mut identities = proto::identities_client::IdentitiesClient::new(channel);
    let add = identities.add(proto::AddIdentityRequest::default()).await;
    assert_eq!(add.expect_err("refused").code(), Code::PermissionDenied);
    assert!(world.credentials.tokens().is_empty());
}

#[tokio::test]
async fn off_loopback_nothing_is_answered_without_credentials() {
    let world = world().await;
    let token = world.token("ci", Role::Viewer, 0).await;
    world.is_open.store(false, Ordering::Relaxed);
    let channel = world.channel(None).await;
    let status = reads(&channel, None).await.expect_err("refused");
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(
        status.message().contains("authorization: Bearer"),
        "{status}"
    );
    assert_eq!(code(changes(&channel, None).await), Code::Unauthenticated);
    assert_eq!(code(reads(&channel, Some(&token)).await), Code::Ok);
    let channel = world.channel(Some(&world.certificate("viewer:anna"))).await;
    assert_eq!(code(reads(&channel, None).await), Code::Ok);
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_refused_and_not_anonymous() {
    let world = world().await;
    let channel = world.channel(None).await;
    let token = world.token("ci", Role::Viewer, 0).await;
    assert_eq!(
        who(&channel, Some(&token)).await,
        ("token ci".to_owned(), 1)
    );
    for wrong in [&token[..66], "gh_", "", "x"] {
        let refused = code(reads(&channel, Some(wrong)).await);
        assert_eq!(refused, Code::Unauthenticated, "{wrong:?}");
    }
    let mut basic = Request::new(proto::GetRequest::default());
    let value = format!("Basic {token}").parse().expect("ascii");
    basic.metadata_mut().insert("authorization", value);
    let mut fleet = FleetClient::new(channel.clone());
    let status = fleet.get(basic).await.expect_err("refused");
    assert_eq!(status.code(), Code::Unauthenticated);
    let mut two = with_token(proto::GetRequest::default(), &token);
    let value = format!("Bearer {token}").parse().expect("ascii");
    two.metadata_mut().append("authorization", value);
    let status = fleet.get(two).await.expect_err("refused");
    assert_eq!(status.code(), Code::Unauthenticated);

    world.credentials.revoke("ci").await.expect("revoked");
    let status = reads(&channel, Some(&token)).await.expect_err("refused");
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("revoked"), "{status}");
}

#[tokio::test]
async fn the_token_decides_the_role_where_both_are_shown() {
    let world = world().await;
    let viewer = world.token("ci", Role::Viewer, 0).await;
    let channel = world.channel(Some(&world.certificate("admin:anna"))).await;
    assert_eq!(who(&channel, None).await.1, 3);
    assert_eq!(
        who(&channel, Some(&viewer)).await,
        ("token ci".to_owned(), 1)
    );
    assert_eq!(
        code(changes(&channel, Some(&viewer)).await),
        Code::PermissionDenied
    );
    assert_eq!(
        code(reads(&channel, Some("gh_")).await),
        Code::Unauthenticated
    );
}

async fn stream(channel: &Channel, token: Option<&str>) -> tonic::Streaming<proto::WatchResponse> {
    let message = proto::WatchRequest::default();
    let request = match token {
        None => Request::new(message),
        Some(token) => with_token(message, token),
    };
    let stream = FleetClient::new(channel.clone()).watch(request).await;
    stream.expect("headers").into_inner()
}

#[tokio::test]
async fn a_stream_ends_with_the_token_that_opened_it() {
    let mut world = world().await;
    let channel = world.channel(None).await;
    let token = world.token("ci", Role::Viewer, 0).await;
    let mut ended = stream(&channel, Some(&token)).await;
    assert_eq!(world.seen.recv().await, Some(Seen::Begun));
    let _others = stream(&channel, None).await;
    assert_eq!(world.seen.recv().await, Some(Seen::Begun));
    world.credentials.revoke("ci").await.expect("revoked");
    let status = ended.message().await.expect_err("ended");
    assert_eq!(status.code(), Code::Unauthenticated);
    // What stood behind it is gone too, and only that.
    assert_eq!(world.seen.recv().await, Some(Seen::Over));
    assert!(world.seen.try_recv().is_err());

    let token = world.token("short", Role::Viewer, 1).await;
    let mut ended = stream(&channel, Some(&token)).await;
    let status = ended.message().await.expect_err("ended");
    assert!(status.message().contains("expired"), "{status}");
    let status = reads(&channel, Some(&token)).await.expect_err("refused");
    assert!(status.message().contains("expired"), "{status}");
}

#[tokio::test]
async fn a_revoked_certificate_loses_its_live_connection() {
    let world = world().await;
    let shown = world.certificate("operator:anna");
    let channel = world.channel(Some(&shown)).await;
    let mut ended = stream(&channel, None).await;
    assert_eq!(code(reads(&channel, None).await), Code::Ok);
    let id = ClientCertificate::read(&shown.certificate)
        .expect("parses")
        .id;
    world.credentials.set_revoked(HashSet::from([id]));
    let status = ended.message().await.expect_err("ended");
    assert_eq!(status.code(), Code::Unauthenticated);
    let status = reads(&channel, None).await.expect_err("refused");
    assert!(status.message().contains("revoked"), "{status}");
}

/// A client hears of a refused certificate at its first call at the latest.
async fn gets_in(world: &World, shown: Option<&Shown>) -> bool {
    match world.channel_over(shown, &TLS13).await {
        Ok(channel) => reads(&channel, None).await.is_ok(),
        Err(_) => false,
    }
}

#[tokio::test]
async fn the_handshake_judges_certificates() {
    let world = world_with(ClientCertificates::Optional, Some(8)).await;
    let uri = "urn:gatehouse:operator:anna";
    assert!(gets_in(&world, Some(&world.root.sign(uri, 7))).await);
    assert!(!gets_in(&world, Some(&world.root.sign(uri, 8))).await);
    assert!(!gets_in(&world, Some(&Root::new().sign(uri, 7))).await);
    assert!(gets_in(&world, None).await);

    let world = world_with(ClientCertificates::Required, None).await;
    assert!(gets_in(&world, Some(&world.root.sign(uri, 7))).await);
    assert!(!gets_in(&world, None).await);
}

#[tokio::test]
async fn no_session_is_resumed() {
    let world = world().await;
    let shown = world.certificate("operator:anna");
    for version in [&TLS12, &TLS13] {
        let config = world.client_tls(Some(&shown), version);
        for _ in 0..2 {
            let stream = TcpStream::connect(world.address).await.expect("listening");
            let name = ServerName::try_from("localhost").expect("a name");
            let connector = TlsConnector::from(config.clone());
            let stream = connector.connect(name, stream).await.expect("a handshake");
            let kind = stream.get_ref().1.handshake_kind();
            assert_eq!(kind, Some(HandshakeKind::Full));
        }
    }
}

#[tokio::test]
async fn every_changing_call_is_in_the_audit_log() {
    let world = world().await;
    let viewer = world.token("ci", Role::Viewer, 60).await;
    let channel = world.channel(None).await;
    reads(&channel, None).await.expect("an answer");
    changes(&channel, None).await.expect("an answer");
    changes(&channel, Some(&viewer)).await.expect_err("refused");
    changes(&channel, Some("wrong")).await.expect_err("refused");
    reads(&channel, Some("wrong")).await.expect_err("refused");
    let mut fleet = FleetClient::new(channel.clone());
    let empty = fleet.retry_now(proto::RetryNowRequest::default()).await;
    empty.expect_err("no ID");
    let retry = "gatehouse.v1.Fleet/RetryNow";
    let expected = [
        [
            "token boss",
            "gatehouse.v1.Access/CreateToken",
            "name \"ci\" role 1 expires_after_seconds 60",
            "OK",
        ],
        ["anonymous", retry, "device_ids 7, 8", "OK"],
        ["token ci", retry, "", "PERMISSION_DENIED"],
        ["nobody", retry, "", "UNAUTHENTICATED"],
        ["anonymous", retry, "", "INVALID_ARGUMENT"],
    ];
    assert_eq!(world.audited().await, expected);

    let admin = crate::access::tokens::TokenText::new(&[9; 32]).into_string();
    let mut access = AccessClient::new(channel);
    let mut after = 0;
    let mut numbers = Vec::new();
    loop {
        let request = proto::ListAuditRequest {
            after,
            page_size: 2,
        };
        let page = access.list_audit(with_token(request, &admin)).await;
        let page = page.expect("an answer").into_inner();
        numbers.extend(page.entries.iter().map(|entry| entry.number));
        assert!(
            page.entries
                .iter()
                .all(|entry| entry.peer.starts_with("127.0.0.1:"))
        );
        after = page.next_after;
        if after == 0 {
            break;
        }
    }
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn strangers_do_not_fill_the_audit_log() {
    let world = world().await;
    world.is_open.store(false, Ordering::Relaxed);
    let channel = world.channel(None).await;
    for _ in 0..200 {
        assert_eq!(code(changes(&channel, None).await), Code::Unauthenticated);
    }
    // A minute may have turned once or twice on the way.
    let written = world.audited().await.len();
    assert!((30..=90).contains(&written), "{written}");
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked() {
    let world = world().await;
    let token = world.token("ci", Role::Operator, 60).await;
    let admin = crate::access::tokens::TokenText::new(&[9; 32]).into_string();
    let channel = world.channel(None).await;
    let mut access = AccessClient::new(channel.clone());
    let create = |name: &str, role| {
        let request = proto::CreateTokenRequest {
            name: name.to_owned(),
            role,
            expires_after_seconds: 0,
        };
        with_token(request, &admin)
    };
    for (name, role, refused) in [
        ("ci", 1, Code::AlreadyExists),
        ("c i", 1, Code::InvalidArgument),
        ("cd", 0, Code::InvalidArgument),
        ("cd", 4, Code::InvalidArgument),
    ] {
        let status = access.create_token(create(name, role)).await;
        assert_eq!(
            status.expect_err("refused").code(),
            refused,
            "{name} {role}"
        );
    }
    let list = with_token(proto::ListTokensRequest {}, &admin);
    let tokens = access.list_tokens(list).await.expect("an answer");
    let tokens = tokens.into_inner().tokens;
    let ci = tokens.iter().find(|token| token.name == "ci").expect("ci");
    assert_eq!(ci.expires_unix_ms - ci.created_unix_ms, 60_000);
    assert_eq!((ci.role, ci.last_used_unix_ms), (2, 0));
    assert_eq!(ci.created_by, "token boss");
    reads(&channel, Some(&token)).await.expect("an answer");
    let used = world
        .credentials
        .tokens()
        .get("ci")
        .map(|token| token.last_used_unix_ms());
    assert!(used.is_some_and(|used| used >= ci.created_unix_ms));

    let revoke = |name: &str| {
        let name = name.to_owned();
        with_token(proto::RevokeTokenRequest { name }, &admin)
    };
    access.revoke_token(revoke("ci")).await.expect("an answer");
    let status = access.revoke_token(revoke("ci")).await;
    assert_eq!(status.expect_err("gone").code(), Code::NotFound);
    // A restart finds what there is, and no text of a token.
    world.store.close().expect("the store closes");
    let export = std::fs::read_to_string(world.data.path().join("export.jsonl"));
    assert!(!export.expect("an export").contains(&admin));
}

#[tokio::test]
async fn the_first_token_is_made_once() {
    let data = tempfile::tempdir().expect("a directory");
    let file = data.path().join(first_token::FILE);
    let store = testing::store(data.path());
    let credentials = Credentials::new(store.clone(), []);
    let made = first_token::ensure(&credentials, data.path(), &[5; 32]).await;
    assert_eq!(made.expect("made"), Some(file.clone()));
    let text = crate::link::private_file::read_private(&file).expect("nobody else reads it");
    let tokens = credentials.tokens();
    let token = tokens.authenticate(text.trim_end(), 1).expect("valid");
    assert_eq!(&*token.stored.name, first_token::NAME);
    assert_eq!(token.stored.role, Role::Admin);
    let again = first_token::ensure(&credentials, data.path(), &[6; 32]).await;
    assert_eq!(again.expect("nothing to do"), None);
    // Revoked, and the file is left: nothing comes back.
    credentials
        .revoke(first_token::NAME)
        .await
        .expect("revoked");
    let again = first_token::ensure(&credentials, data.path(), &[6; 32]).await;
    assert_eq!(again.expect("nothing to do"), None);

    // A stop before the token was stored leaves a file that counts for nothing.
    std::fs::remove_file(&file).expect("removed");
    let unfinished = data.path().join("admin.token.new");
    let write = crate::link::private_file::write_private;
    write(&unfinished, "gh_old\n").expect("written");
    let again = first_token::ensure(&credentials, data.path(), &[6; 32]).await;
    assert_eq!(again.expect("made"), Some(file.clone()));
    // And one after it a token whose file is finished at the next start.
    std::fs::rename(&file, &unfinished).expect("renamed");
    let again = first_token::ensure(&credentials, data.path(), &[7; 32]).await;
    assert_eq!(again.expect("finished"), Some(file.clone()));
    assert!(!unfinished.exists());
    store.close().expect("the store closes");
    let retention = crate::store::Retention {
        events_max: 1,
        age_max: std::time::Duration::from_secs(1),
        audit_max: 1,
        limits: crate::store::Limits::default(),
    };
    let (_, stored) = Store::open(data.path(), retention).expect("the store opens");
    let text = crate::access::tokens::TokenText::new(&[6; 32]);
    let digest = crate::access::tokens::digest(text.as_str());
    let digests: Vec<_> = of_records(&stored.records)
        .iter()
        .map(|token| token.digest)
        .collect();
    assert_eq!(digests, [digest]);
}
