//! Each certificate opens the door of its own role, and no other.

use std::path::Path;

use gatehouse::grpc::proto::gatehouse::v1::access_client::AccessClient;
use gatehouse::grpc::proto::gatehouse::v1::identities_client::IdentitiesClient;
use gatehouse::grpc::proto::gatehouse::v1::{
    AddIdentityRequest, CreateTokenRequest, Identity, Role, SecretKind, WhoAmIRequest,
};
use gatehouse::grpc::proto::gsdk::connect::GetDeviceListRequest;
use rustls::version::{TLS12, TLS13};
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::support::client::{Client, allow_all};
use crate::support::process::Process;
use crate::support::run;
use crate::support::tls::{Device, Shown};

const ID: u32 = 7;

fn made(gateway: &Process, arguments: &[&str], name: &str) -> Shown {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().to_str().expect("a path in UTF-8");
    gateway.certs(&[arguments, &["--out-dir", out]].concat());
    let read = |file: String| {
        let path: &Path = directory.path();
        std::fs::read_to_string(path.join(file)).expect("readable")
    };
    Shown {
        certificate: read(format!("{name}.crt")),
        key: read(format!("{name}_key.pem")),
    }
}

async fn channel(gateway: &Process, shown: &Shown) -> Channel {
    let ca = std::fs::read_to_string(gateway.ca()).expect("ca.crt");
    let identity = tonic::transport::Identity::from_pem(&shown.certificate, &shown.key);
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(ca))
        .identity(identity);
    let endpoint = format!("https://localhost:{}", gateway.grpc.port());
    let endpoint = Endpoint::from_shared(endpoint).expect("an address");
    let channel = endpoint.tls_config(tls).expect("tls").connect().await;
    channel.expect("connected")
}

#[test]
fn a_device_is_no_client_and_a_client_is_no_device() {
    run(async {
        let gateway = Process::start("");
        allow_all(&mut gateway.client().await).await;
        let device = made(&gateway, &["device", "7"], "device_7");
        let anna = made(&gateway, &["operator", "anna"], "anna");

        let channel_of_device = channel(&gateway, &device).await;
        let answer = Client::new(channel_of_device)
            .get_device_list(GetDeviceListRequest {})
            .await;
        assert_eq!(answer.expect_err("refused").code(), Code::Unauthenticated);
        let who = AccessClient::new(channel(&gateway, &anna).await)
            .who_am_i(WhoAmIRequest {})
            .await;
        let who = who.expect("let in").into_inner();
        assert_eq!(
            (who.name.as_str(), who.role()),
            ("certificate anna", Role::Operator)
        );

        let root = std::fs::read_to_string(gateway.ca()).expect("ca.crt");
        for version in [&TLS12, &TLS13] {
            let as_device = |shown| Device::new(ID, &root, shown, version).connect(gateway.tls);
            assert!(as_device(&device).is_ok());
            assert!(as_device(&anna).is_err());
        }
    });
}

#[test]
fn a_client_without_credentials_makes_no_identity_and_no_token() {
    run(async {
        let gateway = Process::start("");
        let channel = gateway.channel().await;
        let identity = AddIdentityRequest {
            identity: Some(Identity {
                owner: String::new(),
                device: ID.to_string(),
            }),
            kind: SecretKind::Credential.into(),
            accept: true,
        };
        let answer = IdentitiesClient::new(channel.clone()).add(identity).await;
        assert_eq!(answer.expect_err("refused").code(), Code::PermissionDenied);
        let token = CreateTokenRequest {
            name: "mine".to_owned(),
            role: Role::Admin.into(),
            expires_after_seconds: 0,
        };
        let mut access = AccessClient::new(channel);
        let answer = access.create_token(token).await;
        assert_eq!(answer.expect_err("refused").code(), Code::PermissionDenied);
        let who = access.who_am_i(WhoAmIRequest {}).await.expect("let in");
        assert_eq!(who.into_inner().role(), Role::Operator);
    });
}
