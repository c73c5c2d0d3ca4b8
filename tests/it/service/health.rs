//! Health and reflection by the protocols of gRPC, as clients in another language ask for them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use gatehouse::access::calls::RULES;
use nix::sys::signal::Signal;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::support::gateway::TestGateway;
use crate::support::process::Process;
use crate::support::{needed, run, soon};

fn check(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[test]
fn every_service_is_healthy_by_both_names_and_a_watch_hears_of_the_drain() {
    run(async {
        let mut gateway = Process::start("");
        let mut health = HealthClient::new(gateway.channel().await);
        let services = RULES.iter().filter_map(|rule| rule.call.split('/').next());
        let bare = services
            .clone()
            .filter_map(|name| name.strip_prefix("gsdk."));
        for name in services.chain(bare).chain([""]) {
            let answer = health.check(check(name)).await.expect("known");
            let status = answer.into_inner().status();
            assert_eq!(status, ServingStatus::Serving, "{name:?}");
        }
        let unknown = health.check(check("nonsense")).await.expect_err("unknown");
        assert_eq!(unknown.code(), Code::NotFound);
        let watch = health.watch(check("connect.Connect")).await;
        let mut watch = watch.expect("watching").into_inner();
        let mut next = async || {
            let answer = soon("a health status", watch.message()).await;
            answer.map(|answer| answer.expect("an answer").status())
        };
        assert_eq!(next().await.expect("told"), ServingStatus::Serving);
        gateway.signal(Signal::SIGTERM);
        assert_eq!(next().await.expect("told"), ServingStatus::NotServing);
        let end = next().await.expect_err("the end");
        assert_eq!(end.code(), Code::Unavailable, "{end:?}");
        assert!(gateway.wait().success());
    });
}

#[test]
fn reflection_tells_every_service_and_nothing_of_the_store() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut client = ServerReflectionClient::new(gateway.channel().await);
        let asked = [
            MessageRequest::ListServices(String::new()),
            MessageRequest::FileContainingSymbol("gsdk.connect.Connect".to_owned()),
            MessageRequest::FileContainingSymbol("gatehouse.store.Device".to_owned()),
            MessageRequest::FileByFilename("connect.proto".to_owned()),
        ];
        let requests = asked.map(|request| ServerReflectionRequest {
            host: String::new(),
            message_request: Some(request),
        });
        let answers = client
            .server_reflection_info(futures_util::stream::iter(requests))
            .await;
        let mut answers = answers.expect("an answer").into_inner();
        let mut next = async || {
            let answer = soon("an answer", answers.message()).await;
            answer.map(|answer| answer.and_then(|answer| answer.message_response))
        };
        let Ok(Some(MessageResponse::ListServicesResponse(list))) = next().await else {
            panic!("a list");
        };
        let mut told: Vec<String> = list
            .service
            .into_iter()
            .map(|service| service.name)
            .collect();
        let mut served: Vec<&str> = RULES
            .iter()
            .filter_map(|rule| rule.call.split('/').next())
            .collect();
        served.sort_unstable();
        served.dedup();
        told.sort();
        assert_eq!(told, served);
        let Ok(Some(MessageResponse::FileDescriptorResponse(files))) = next().await else {
            panic!("a contract");
        };
        assert!(!files.file_descriptor_proto.is_empty());
        let Ok(Some(MessageResponse::ErrorResponse(hidden))) = next().await else {
            panic!("an error");
        };
        assert_eq!(Code::from(hidden.error_code), Code::NotFound);
        let Ok(Some(MessageResponse::FileDescriptorResponse(_))) = next().await else {
            panic!("the stream goes on");
        };
        gateway.stop().await;
    });
}

#[test]
fn a_python_client_asks_for_health_and_contracts() {
    let modules = "grpc, grpc_health.v1.health_pb2, grpc_reflection.v1alpha.proto_reflection_descriptor_database";
    let Some(python) = needed::python(modules) else {
        return;
    };
    let mut gateway = Process::start("");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut child = Command::new(python)
        .arg(root.join("tests/python/health.py"))
        .env(
            "GATEHOUSE_ADDRESS",
            format!("localhost:{}", gateway.grpc.port()),
        )
        .env("GATEHOUSE_CA", gateway.ca())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().and_then(Result::ok).unwrap_or_default();
    assert_eq!(next(), "watching");
    gateway.signal(Signal::SIGTERM);
    assert_eq!(next(), "NOT_SERVING, then UNAVAILABLE");
    assert!(child.wait().expect("ended").success());
    assert!(gateway.wait().success());
}
