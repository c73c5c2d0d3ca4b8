//! Endpoints against real servers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Mutex;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use futures_util::stream::{self, StreamExt};
use tokio::net::TcpListener;

use super::*;

/// What a server was asked, in order.
type Asked = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;
/// The answer to the so many-th request.
type Answering = Arc<dyn Fn(usize) -> axum::response::Response + Send + Sync>;

async fn serve(
    answer: impl Fn(usize) -> axum::response::Response + Send + Sync + 'static,
) -> (String, Asked) {
    let asked = Asked::default();
    let handler = async |State((asked, answer)): State<(Asked, Answering)>,
                         headers: HeaderMap,
                         body: Bytes| {
        let count = {
            let mut asked = asked.lock().unwrap();
            asked.push((headers, body));
            asked.len()
        };
        answer(count)
    };
    let answer: Answering = Arc::new(answer);
    let router = Router::new()
        .fallback(handler)
        .with_state((asked.clone(), answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

fn settings(url: &str, method: EndpointMethod) -> Settings {
    Settings {
        name: "alarm".into(),
        url: url.into(),
        method,
        headers: BTreeMap::from([("authorization".into(), "Bearer hush".into())]),
        owners: Vec::new(),
        timeout: Duration::from_secs(20),
        retries: 2,
    }
}

fn hall() -> Identity {
    Identity::new("alice", "hall").unwrap()
}

async fn call(settings: Settings, data: Option<Value>) -> Outcome {
    let endpoints = Endpoints::new(&[settings]).unwrap();
    endpoints.call(&hall(), "alarm", data.as_ref())?.await
}

fn count(asked: &Asked) -> usize {
    asked.lock().unwrap().len()
}

fn code(outcome: Outcome) -> u16 {
    outcome.unwrap_err().code
}

#[tokio::test]
async fn data_headers_and_who_calls_are_sent_and_the_answer_comes_back() {
    let (url, asked) = serve(|_| axum::Json(serde_json::json!({"open": 1})).into_response()).await;
    let data = Value::map([("door", Value::Bytes(vec![7]))]);
    let outcome = call(settings(&url, EndpointMethod::Post), Some(data)).await;
    assert_eq!(outcome, Ok(Some(Value::map([("open", 1_u32)]))));
    let asked = asked.lock().unwrap();
    let (headers, body) = &asked[0];
    assert_eq!(&body[..], br#"{"door":{"bytes":[7]}}"#);
    for (name, value) in [
        ("authorization", "Bearer hush"),
        ("content-type", "application/json"),
        ("gatehouse-device", "hall"),
        ("gatehouse-owner", "alice"),
    ] {
        assert_eq!(headers[name], value);
    }
}

#[tokio::test]
async fn without_data_there_is_no_body_and_an_empty_answer_is_none() {
    let (url, asked) = serve(|_| StatusCode::NO_CONTENT.into_response()).await;
    let outcome = call(settings(&url, EndpointMethod::Get), None).await;
    assert_eq!(outcome, Ok(None));
    let asked = asked.lock().unwrap();
    assert!(asked[0].1.is_empty() && !asked[0].0.contains_key("content-type"));
}

#[tokio::test]
async fn a_put_that_fails_twice_is_made_three_times_and_a_post_once() {
    let flaky = |count| match count {
        1 | 2 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => "done".into_response(),
    };
    let (url, asked) = serve(flaky).await;
    let outcome = call(settings(&url, EndpointMethod::Put), Some(true.into())).await;
    assert_eq!(outcome, Ok(Some("done".into())));
    assert_eq!(count(&asked), 3);

    let (url, asked) = serve(flaky).await;
    let outcome = call(settings(&url, EndpointMethod::Post), Some(true.into())).await;
    assert_eq!(code(outcome), 500);
    assert_eq!(count(&asked), 1);
}

#[tokio::test]
async fn tries_are_bounded_and_the_last_status_is_told() {
    let (url, asked) = serve(|_| StatusCode::SERVICE_UNAVAILABLE.into_response()).await;
    assert_eq!(
        code(call(settings(&url, EndpointMethod::Get), None).await),
        503
    );
    assert_eq!(count(&asked), 3);
    let (url, asked) = serve(|_| StatusCode::NOT_FOUND.into_response()).await;
    assert_eq!(
        code(call(settings(&url, EndpointMethod::Get), None).await),
        404
    );
    assert_eq!(count(&asked), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (elsewhere, fooled) = serve(|_| "hello".into_response()).await;
    let redirect = move |_| Redirect::temporary(&elsewhere).into_response();
    let (url, asked) = serve(redirect).await;
    assert_eq!(
        code(call(settings(&url, EndpointMethod::Get), None).await),
        502
    );
    assert_eq!((count(&asked), count(&fooled)), (1, 0));
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let endless = || stream::repeat_with(|| Ok::<_, Infallible>(vec![b'x'; 1024]));
    let (url, asked) = serve(move |_| Body::from_stream(endless()).into_response()).await;
    let denied = call(settings(&url, EndpointMethod::Get), None).await;
    assert_eq!(denied.as_ref().map_err(|denied| denied.code), Err(502));
    assert!(denied.unwrap_err().text.contains("32768"));
    assert_eq!(count(&asked), 1);
    let whole = "x".repeat(ANSWER_MAX_BYTES);
    let told = whole.clone();
    let (url, _) = serve(move |_| told.clone().into_response()).await;
    let outcome = call(settings(&url, EndpointMethod::Get), None).await;
    assert_eq!(outcome, Ok(Some(whole.into())));
}

#[tokio::test]
async fn an_answer_that_hangs_half_way_times_out_once() {
    let half = || stream::iter([Ok::<_, Infallible>("half")]).chain(stream::pending());
    let (url, asked) = serve(move |_| Body::from_stream(half()).into_response()).await;
    let mut settings = settings(&url, EndpointMethod::Get);
    settings.timeout = Duration::from_millis(100);
    assert_eq!(code(call(settings, None).await), 504);
    assert_eq!(count(&asked), 1);
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_502() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let denied = call(settings(&url, EndpointMethod::Post), None)
        .await
        .unwrap_err();
    assert_eq!(denied.code, 502);
    assert!(!denied.text.contains("127.0.0.1"), "{denied}");
}

#[tokio::test]
async fn what_may_not_be_called_is_refused_at_once() {
    let mut get = settings("http://127.0.0.1:9/", EndpointMethod::Get);
    get.owners = vec!["alice".into()];
    let endpoints = Endpoints::new(&[get]).unwrap();
    let refused = |owner: &str, name: &str, data: Option<Value>| {
        let caller = Identity::new(owner, "hall").unwrap();
        let called = endpoints.call(&caller, name, data.as_ref());
        called.err().map(|denied| denied.code)
    };
    assert_eq!(refused("alice", "alarm", None), None);
    assert_eq!(refused("alice", "alarm", Some(true.into())), Some(400));
    assert_eq!(refused("bob", "alarm", None), Some(403));
    assert_eq!(refused("", "alarm", None), Some(403));
    assert_eq!(refused("alice", "Alarm", None), Some(404));
}

#[tokio::test]
async fn calls_in_progress_are_bounded_for_each_and_for_all() {
    let named = |name: u32| Settings {
        name: name.to_string(),
        ..settings("http://127.0.0.1:9/", EndpointMethod::Get)
    };
    let endpoints = Endpoints::new(&(0..5).map(named).collect::<Vec<_>>()).unwrap();
    let call = |name: u32| endpoints.call(&hall(), &name.to_string(), None);
    let mut calls = Vec::new();
    for name in 0..4 {
        for _ in 0..CALLS_OF_ONE_MAX {
            calls.push(call(name).unwrap());
        }
        assert_eq!(call(name).err().map(|denied| denied.code), Some(503));
    }
    assert_eq!(calls.len(), CALLS_MAX);
    assert_eq!(call(4).err().map(|denied| denied.code), Some(503));
    calls.pop();
    assert!(call(4).is_ok());
}

#[test]
fn what_is_configured_wrongly_is_named_without_secrets() {
    let mut wrong = settings("https://", EndpointMethod::Get);
    wrong.headers = BTreeMap::from([("x-key".into(), "hu\nsh".into())]);
    let error = Endpoints::with_roots(&[wrong], RootCertStore::empty())
        .err()
        .unwrap();
    assert!(
        error.to_string().starts_with("endpoint \"alarm\": "),
        "{error}"
    );
    let mut wrong = settings("http://a/", EndpointMethod::Get);
    wrong.headers = BTreeMap::from([("x-key".into(), "hu\nsh".into())]);
    let error = Endpoints::with_roots(&[wrong], RootCertStore::empty())
        .err()
        .unwrap();
    assert!(error.to_string().contains("x-key"), "{error}");
    assert!(!error.to_string().contains("hu"), "{error}");
}

#[tokio::test]
async fn a_certificate_is_checked_against_the_roots() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let service = hyper_util::service::TowerToHyperService::new(
                Router::new().fallback(async || "safe"),
            );
            let stream = hyper_util::rt::TokioIo::new(stream);
            let server =
                hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
            let _ = server.serve_connection(stream, service).await;
        }
    });
    let settings = settings(&format!("https://localhost:{port}/"), EndpointMethod::Get);
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    for (roots, expected) in [
        (roots, Ok(Some("safe".into()))),
        (RootCertStore::empty(), Err(502)),
    ] {
        let endpoints = Endpoints::with_roots(std::slice::from_ref(&settings), roots).unwrap();
        let outcome = endpoints.call(&hall(), "alarm", None).unwrap().await;
        assert_eq!(outcome.map_err(|denied| denied.code), expected);
    }
}
