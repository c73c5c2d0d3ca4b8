//! Links of devices over real sockets, against the TLS of somebody else.

use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::link::authority::CertificatePair;
use crate::sim::link::{Link, LinkError, Role, Security};
use crate::sim::testing::{House, own};

const BOTH: [TlsVersion; 2] = [TlsVersion::V1_2, TlsVersion::V1_3];

fn options(version: TlsVersion) -> Options {
    Options {
        versions: vec![version],
        ..Options::default()
    }
}

fn pair_of(pair: &CertificatePair) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = certificates(&pair.certificate).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    (chain, key)
}

/// A gateway that wants a certificate under its root if it is asked to.
fn gateway(house: &House, shows: &CertificatePair, insists: bool) -> TlsAcceptor {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS12, &TLS13])
        .unwrap();
    let roots = Arc::new(roots(&house.root).unwrap());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = if insists {
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let (chain, key) = pair_of(shows);
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()))
}

/// Both ends of a TCP connection.
async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap());
    let (dialled, accepted) = tokio::join!(dialled, listener.accept());
    (dialled.unwrap(), accepted.unwrap().0)
}

/// Makes a link that the gateway greets on and the device answers; tells what kind of link it was.
async fn meet(tls: &Tls, gateway: &TlsAcceptor, role: Role) -> Result<&'static str, LinkError> {
    let (ours, theirs) = tcp().await;
    let serve = async {
        let mut stream = gateway.accept(theirs).await?;
        stream.write_all(b"hello").await?;
        stream.flush().await?;
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await?;
        Ok::<_, std::io::Error>(said)
    };
    let security = Security::Tls(tls.clone());
    let talk = async {
        let mut link = Link::open(ours, &security, role).await?;
        let mut heard = Vec::new();
        link.read(&mut heard).await?;
        assert_eq!(heard, b"hello");
        link.write(b"and goodbye").await?;
        let kind = link.kind();
        link.close().await;
        Ok(kind)
    };
    let (said, kind) = tokio::join!(serve, talk);
    if kind.is_ok() {
        assert_eq!(said.unwrap(), b"and goodbye");
    }
    kind
}

fn failure(result: Result<&'static str, LinkError>) -> String {
    match result {
        Err(error @ LinkError::Tls(_)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_device_is_the_client_on_both_ends_and_resumes_its_last_session() {
    let house = House::new();
    let gateway = gateway(&house, &house.gateway(), false);
    for (version, full, resumed) in [
        (TlsVersion::V1_2, "tls 1.2", "tls 1.2, resumed"),
        (TlsVersion::V1_3, "tls 1.3", "tls 1.3, resumed"),
    ] {
        let device = Tls::new(&house.root, &options(version)).unwrap();
        let first = meet(&device, &gateway, Role::Dialled).await;
        assert_eq!(first.unwrap(), full);
        for role in [Role::Accepted, Role::Dialled, Role::Accepted] {
            assert_eq!(meet(&device, &gateway, role).await.unwrap(), resumed);
        }
        let other = device.for_another();
        assert_eq!(meet(&other, &gateway, Role::Dialled).await.unwrap(), full);
        let again = meet(&other, &gateway, Role::Dialled).await;
        assert_eq!(again.unwrap(), resumed);
        let forgetful = Options {
            resumption: false,
            ..options(version)
        };
        let forgetful = Tls::new(&house.root, &forgetful).unwrap().for_another();
        for _ in 0..2 {
            let kind = meet(&forgetful, &gateway, Role::Dialled).await;
            assert_eq!(kind.unwrap(), full);
        }
    }
}

#[tokio::test]
async fn only_a_gateway_under_the_root_is_trusted() {
    let (house, other) = (House::new(), House::new());
    for version in BOTH {
        let device = Tls::new(&house.root, &options(version)).unwrap();
        let stranger = gateway(&other, &other.gateway(), false);
        let why = failure(meet(&device, &stranger, Role::Dialled).await);
        assert_eq!(
            why,
            "the gateway's certificate is not signed by the device's root"
        );
        // It is under the root, and no server at all.
        let operator = gateway(&house, &house.operator(), false);
        let why = failure(meet(&device, &operator, Role::Dialled).await);
        assert_eq!(
            why,
            "the gateway's certificate is not for this end of a link"
        );
    }
}

#[test]
fn a_certificate_of_another_role_is_refused() {
    let house = House::new();
    let certificate = |pair: &CertificatePair| certificates(&pair.certificate).unwrap().remove(0);
    assert_eq!(verifier::check_role(&certificate(&house.gateway())), Ok(()));
    let error = verifier::check_role(&certificate(&house.operator())).unwrap_err();
    assert_eq!(
        words(&error),
        "the gateway's certificate has not the role urn:gatehouse:gateway"
    );
}

#[tokio::test]
async fn a_certificate_is_shown_to_whoever_wants_one() {
    let house = House::new();
    let gateway = gateway(&house, &house.gateway(), true);
    for version in BOTH {
        let nobody = Tls::new(&house.root, &options(version)).unwrap();
        let why = failure(meet(&nobody, &gateway, Role::Dialled).await);
        assert_eq!(why, "the gateway wants a certificate of the device");
        let somebody = Options {
            certificate: Some(own(&house.operator())),
            ..options(version)
        };
        let somebody = Tls::new(&house.root, &somebody).unwrap();
        assert!(meet(&somebody, &gateway, Role::Dialled).await.is_ok());
    }
}

/// A gateway that dials a device that is the TLS server.
async fn dial(house: &House, device: &Tls, shows: Option<&CertificatePair>) -> Result<(), String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS12, &TLS13])
        .unwrap()
        .with_root_certificates(roots(&house.root).unwrap());
    let config = match shows {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let (chain, key) = pair_of(pair);
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let (theirs, ours) = tcp().await;
    let connect = async {
        let name = "localhost".try_into().unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, theirs).await?;
        stream.write_all(b"hello").await?;
        stream.flush().await
    };
    let security = Security::Tls(device.clone());
    let serve = async {
        let mut link = Link::open(ours, &security, Role::Accepted).await?;
        let mut heard = Vec::new();
        link.read(&mut heard).await?;
        assert_eq!(heard, b"hello");
        Ok(())
    };
    let (_, served) = tokio::join!(connect, serve);
    served.map_err(|error: LinkError| error.to_string())
}

#[tokio::test]
async fn turned_round_a_device_is_the_server_and_may_insist_on_a_gateway() {
    let house = House::new();
    let turned = |turned| Options {
        certificate: Some(own(&house.gateway())),
        turned: Some(turned),
        ..Options::default()
    };
    let open = Tls::new(&house.root, &turned(Turned::Anyone)).unwrap();
    assert_eq!(dial(&house, &open, None).await, Ok(()));
    let strict = Tls::new(&house.root, &turned(Turned::GatewayAlone)).unwrap();
    let shown = house.gateway();
    assert_eq!(dial(&house, &strict, Some(&shown)).await, Ok(()));
    let why = dial(&house, &strict, None).await.unwrap_err();
    assert_eq!(why, "the gateway showed no certificate");
    let why = dial(&house, &strict, Some(&house.operator())).await;
    assert_eq!(
        why.unwrap_err(),
        "the gateway's certificate has not the role urn:gatehouse:gateway"
    );
    // On a link that it dialled it is the client all the same.
    let gateway = gateway(&house, &house.gateway(), false);
    assert!(meet(&strict, &gateway, Role::Dialled).await.is_ok());
}

#[test]
fn what_does_not_serve_is_told_before_it_is_used() {
    let house = House::new();
    let fails = |root: &str, options: &Options| match Tls::new(root, options) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it serves"),
    };
    let good = Options::default();
    assert!(fails("no PEM", &good).contains("no root certificate"));
    let turned = Options {
        turned: Some(Turned::Anyone),
        ..Options::default()
    };
    assert!(fails(&house.root, &turned).contains("certificate of its own"));
    let no_versions = Options {
        versions: Vec::new(),
        ..Options::default()
    };
    assert!(fails(&house.root, &no_versions).contains("1.2 or 1.3"));
    let gateway = house.gateway();
    assert!(OwnCertificate::from_pem(&gateway.certificate, "").is_err());
    assert!(OwnCertificate::from_pem("", &gateway.key).is_err());
    let mixed = CertificatePair {
        certificate: house.gateway().certificate,
        key: gateway.key,
    };
    let mixed = Options {
        certificate: Some(own(&mixed)),
        ..Options::default()
    };
    assert!(fails(&house.root, &mixed).contains("do not serve"));
    let shown = format!("{:?}", own(&house.gateway()));
    assert_eq!(shown, "OwnCertificate { .. }");
}
