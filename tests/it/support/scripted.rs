//! A device whose resources a test fills and reads: what is written is merged, and the answer is
//! the whole new state.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use gatehouse::codec::dialect::Dialect;
use gatehouse::codec::frame::{self, Split};
use gatehouse::codec::message::{self, Answer, Authentication, Connect, Message, StreamId};
use gatehouse::codec::pson::Value;
use gatehouse::link::link_key::LinkKey;
use gatehouse::sim::link::{Link, Role, Security};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the device holds, and how it answers.
#[derive(Default)]
pub struct State {
    pub resources: BTreeMap<&'static str, Value>,
    /// Every input, in order.
    pub written: Vec<(String, Value)>,
    /// Answered with an Error.
    pub refused: BTreeSet<&'static str>,
    /// Never answered.
    pub ignored: BTreeSet<&'static str>,
    /// Answered as if nothing was written.
    pub stubborn: BTreeSet<&'static str>,
}

/// Listens for the gateway; it stops when it is dropped.
pub struct Scripted {
    pub id: u32,
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Scripted {
    /// A device with this serial number and credential that has these resources.
    pub async fn listen(
        id: u32,
        key: LinkKey,
        credential: &str,
        resources: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State {
            resources: resources.into_iter().collect(),
            ..State::default()
        }));
        let (credential, served) = (credential.as_bytes().to_vec(), Arc::clone(&state));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accepts");
                let security = Security::Aes(key.clone());
                if let Ok(link) = Link::open(stream, &security, Role::Accepted).await {
                    serve(link, id, credential.clone(), &served).await;
                }
            }
        });
        Self {
            id,
            address,
            state,
            task,
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    pub fn holds(&self, resource: &str, key: &str) -> Option<Value> {
        self.state().resources.get(resource)?.get(key).cloned()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Leads one conversation, until the link ends.
async fn serve(mut link: Link, id: u32, credential: Vec<u8>, state: &Mutex<State>) {
    let connect = Message::Connect(Connect {
        stream_id: Some(1),
        authentication: Authentication::Credentials {
            username: String::new(),
            device: id.to_string(),
            credential,
        },
        keep_alive: Some(60),
    });
    let mut received = Vec::new();
    let mut said = vec![connect];
    loop {
        for message in said.drain(..) {
            let mut bytes = Vec::new();
            message::encode(Dialect::Current, &message, &mut bytes);
            if link.write(&bytes).await.is_err() {
                return;
            }
        }
        if link.read(&mut received).await.is_err() {
            return;
        }
        while let Ok(Split::Frame(frame)) = frame::split(&received, frame::BODY_MAX) {
            let end = frame.body.end;
            let body = &received[frame.body];
            let message = message::decode(Dialect::Current, frame.message_type, body);
            said.extend(answer(
                &message.expect("a message"),
                &mut state.lock().expect("ok"),
            ));
            received.drain(..end);
        }
    }
}

fn answer(message: &Message, state: &mut State) -> Option<Message> {
    match message {
        Message::Run(run) => {
            let resource = run.resource.as_ref()?.as_str()?;
            if state.ignored.contains(resource) {
                return None;
            }
            let known = state.resources.contains_key(resource);
            if !known || state.refused.contains(resource) {
                return Some(Message::Error(said(run.stream_id, "not today")));
            }
            if let Some(input) = &run.payload {
                write(state, resource, input);
            }
            Some(Message::Ok(Answer {
                stream_id: run.stream_id,
                parameters: None,
                payload: state.resources.get(resource).cloned(),
            }))
        }
        Message::Describe { stream_id, .. } => {
            let function = || Value::map([("fn", 4_u64)]);
            let names = state.resources.keys().map(|name| (*name, function()));
            Some(Message::Ok(Answer {
                stream_id: *stream_id,
                parameters: None,
                payload: Some(Value::map(names)),
            }))
        }
        _ => None,
    }
}

fn said(stream_id: Option<StreamId>, text: &str) -> Answer {
    Answer {
        stream_id,
        parameters: Some(Value::Unsigned(403)),
        payload: Some(Value::map([("error", text)])),
    }
}

fn write(state: &mut State, resource: &str, input: &Value) {
    state.written.push((resource.to_owned(), input.clone()));
    if state.stubborn.contains(resource) {
        return;
    }
    let (Some(Value::Map(held)), Value::Map(input)) = (state.resources.get_mut(resource), input)
    else {
        return;
    };
    for (key, value) in input {
        match held.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value.clone(),
            None => held.push((key.clone(), value.clone())),
        }
    }
}
