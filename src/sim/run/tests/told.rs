//! Devices that do as they are told, over real sockets.

use super::*;
use crate::sim::testing::House;
use crate::sim::tls::{Options, Tls, Turned};

/// Writes and takes the answer.
async fn write(gateway: &mut Gateway, resource: &str, input: Value) -> Option<Value> {
    let run = Run {
        stream_id: Some(9),
        resource: Some(Value::from(resource)),
        payload: Some(input),
        ..Run::default()
    };
    gateway.send(Message::Run(run)).await;
    match gateway.next().await.unwrap() {
        Message::Ok(answer) => answer.payload,
        other => panic!("{other:?}"),
    }
}

fn dial(to: SocketAddr) -> Value {
    Value::map([
        ("connectionMode", Value::from(1_u32)),
        ("serverAddr", to.ip().to_string().into()),
        ("serverPort", u32::from(to.port()).into()),
        ("SSLServerPort", u32::from(to.port()).into()),
    ])
}

fn listen_again() -> Value {
    Value::map([("connectionMode", 0_u32)])
}

fn quick(security: Security) -> Spec {
    Spec {
        redial: REDIAL,
        ..spec(security)
    }
}

async fn said_goodbye(gateway: &mut Gateway) {
    assert!(matches!(
        gateway.next().await,
        Ok(Message::Disconnect { .. })
    ));
    assert!(gateway.next().await.is_err());
}

#[tokio::test]
async fn a_listening_device_dials_when_told_to_and_listens_again() {
    let mut watched = Watched::listening(quick(aes()));
    let home = watched.device.address().unwrap();
    assert_eq!(watched.device.state().ip.port, home.port());
    let mut gateway = Gateway::new(watched.connect().await, aes(), Role::Dialled).await;
    gateway.admit().await;
    let listener = TcpListener::bind(FREE).await.unwrap();
    let server = listener.local_addr().unwrap();
    let answer = write(&mut gateway, "network/ip", dial(server)).await;
    let state = watched.device.state();
    assert_eq!(answer, Some(state.ip.to_value()));
    said_goodbye(&mut gateway).await;

    let mut gateway = Gateway::accepted(&listener, aes()).await;
    gateway.admit().await;
    assert_eq!(watched.device.address(), None);
    assert!(soon(TcpStream::connect(home)).await.is_err());
    // It is where it was told to be, over a break as well.
    watched.device.cut();
    assert!(gateway.next().await.is_err());
    let mut gateway = Gateway::accepted(&listener, aes()).await;
    gateway.admit().await;

    write(&mut gateway, "network/ip", listen_again()).await;
    said_goodbye(&mut gateway).await;
    assert_eq!(soon(watched.device.until_listening()).await, Some(home));
    let mut gateway = Gateway::new(watched.connect().await, aes(), Role::Dialled).await;
    gateway.admit().await;
    while watched.next().await != Event::Listens(home) {}
    assert_eq!(watched.device.counts().written, 2);
}

#[tokio::test]
async fn a_device_that_began_by_dialling_listens_when_told_to() {
    let listener = TcpListener::bind(FREE).await.unwrap();
    let server = listener.local_addr().unwrap();
    let watched = Watched::dialling(spec(aes()), dialling(server));
    let mut gateway = Gateway::accepted(&listener, aes()).await;
    gateway.admit().await;
    assert_eq!(watched.device.state().ip.server_port, server.port());
    write(&mut gateway, "network/ip", listen_again()).await;
    said_goodbye(&mut gateway).await;
    let at = soon(watched.device.until_listening()).await.unwrap();
    assert_eq!(at.ip(), server.ip());
    assert_eq!(watched.device.state().ip.port, at.port());
    let stream = soon(TcpStream::connect(at)).await.unwrap();
    let mut gateway = Gateway::new(stream, aes(), Role::Dialled).await;
    gateway.admit().await;
}

#[tokio::test]
async fn another_port_is_listened_at_from_the_next_link_on() {
    let watched = Watched::listening(spec(Security::Plain));
    let home = watched.device.address().unwrap();
    let port = {
        let free = TcpListener::bind(FREE).await.unwrap();
        free.local_addr().unwrap().port()
    };
    let stream = watched.connect().await;
    let mut gateway = Gateway::new(stream, Security::Plain, Role::Dialled).await;
    gateway.admit().await;
    let input = Value::map([("port", u32::from(port))]);
    write(&mut gateway, "network/ip", input).await;
    said_goodbye(&mut gateway).await;
    let other = SocketAddr::new(home.ip(), port);
    while soon(TcpStream::connect(other)).await.is_err() {}
    assert_eq!(watched.device.address(), Some(other));
}

#[tokio::test]
async fn tls_is_what_secures_the_next_link_and_aes_again_when_it_is_off() {
    let house = House::new();
    let mut watched = Watched::listening(quick(aes()));
    let mut gateway = Gateway::new(watched.connect().await, aes(), Role::Dialled).await;
    gateway.admit().await;
    let enable = Value::map([
        ("enabled", Value::from(true)),
        ("root", house.root.as_str().into()),
        ("credential", "given".into()),
    ]);
    let answer = write(&mut gateway, "security/ssl", enable).await;
    assert_eq!(answer, Some(Value::map([("enabled", true)])));
    // The present link is as it was.
    let listener = TcpListener::bind(FREE).await.unwrap();
    let server = listener.local_addr().unwrap();
    write(&mut gateway, "network/ip", dial(server)).await;
    said_goodbye(&mut gateway).await;

    let end = house.gateway_end();
    let mut gateway = Gateway::accepted(&listener, end.clone()).await;
    assert!(gateway.link.kind().starts_with("tls"));
    let connect = gateway.connect().await;
    let Authentication::Credentials { credential, .. } = connect.authentication else {
        panic!("{connect:?}");
    };
    assert_eq!(credential, b"given");
    gateway
        .send(Message::Ok(super::answer(connect.stream_id)))
        .await;
    let disable = Value::map([("enabled", false)]);
    write(&mut gateway, "security/ssl", disable).await;
    drop(gateway);
    Gateway::accepted(&listener, aes()).await.admit().await;
    let linked = Event::Linked("tls 1.3");
    while soon(watched.reports.recv()).await.unwrap().event != linked {}
}

#[tokio::test]
async fn a_new_key_opens_the_next_link() {
    let listener = TcpListener::bind(FREE).await.unwrap();
    let to = listener.local_addr().unwrap();
    let watched = Watched::dialling(spec(aes()), dialling(to));
    let mut gateway = Gateway::accepted(&listener, aes()).await;
    gateway.admit().await;
    let key = Value::map([("key", Value::Bytes(vec![8; 32]))]);
    assert_eq!(write(&mut gateway, "security/key", key).await, None);
    drop(gateway);
    let other = LinkKey::new([8; 32]);
    Gateway::accepted(&listener, Security::Aes(other.clone()))
        .await
        .admit()
        .await;
    assert_eq!(watched.device.state().key, Some(other));
}

#[tokio::test]
async fn a_tls_device_is_the_client_also_when_it_is_dialled() {
    let house = House::new();
    let watched = Watched::listening(spec(house.device()));
    assert!(watched.device.state().ssl.enabled);
    let end = house.gateway_end();
    // The TLS server, though it dialled.
    let mut gateway = Gateway::new(watched.connect().await, end, Role::Accepted).await;
    gateway.admit().await;
    assert!(watched.device.until(|counts| counts.up == 1).await);
}

#[tokio::test]
async fn why_tls_failed_is_told_in_words() {
    let (house, other) = (House::new(), House::new());
    let mut watched = Watched::listening(spec(house.device()));
    let end = other.gateway_end();
    let link = soon(Link::open(watched.connect().await, &end, Role::Accepted)).await;
    assert!(link.is_err());
    assert_eq!(watched.next().await, Event::Opened);
    let why = "no link came about: the gateway's certificate is not signed by the device's root";
    assert_eq!(watched.next().await, Event::Ended(why.to_owned()));
}

#[tokio::test]
async fn without_what_it_needs_a_device_makes_no_tls_links() {
    let house = House::new();
    let options = Options {
        turned: Some(Turned::Anyone),
        ..Options::default()
    };
    assert!(Tls::new(&house.root, &options).is_err());
    let mut watched = Watched::listening(Spec {
        tls: options,
        ..spec(aes())
    });
    let mut gateway = Gateway::new(watched.connect().await, aes(), Role::Dialled).await;
    gateway.admit().await;
    let enable = Value::map([
        ("enabled", Value::from(true)),
        ("root", house.root.as_str().into()),
    ]);
    write(&mut gateway, "security/ssl", enable).await;
    drop(gateway);
    while !watched.next().await.is_ended() {}
    let _stream = watched.connect().await;
    assert_eq!(watched.next().await, Event::Opened);
    let Event::Ended(why) = watched.next().await else {
        panic!("it is no end");
    };
    assert!(why.starts_with("no link can be made: "), "{why}");
}
