//! Both ends of a link, and the bytes between them.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::{
    ClientConfig, ClientConnection, Connection, Error, HandshakeKind, ProtocolVersion,
    ServerConfig, ServerConnection,
};

use super::super::{Hello, TlsLinkError, TlsStream};
use crate::device::DeviceId;
use crate::link::tls::device::DeviceTls;

/// Our end, used as the wire uses it.
pub struct Gateway {
    tls: Arc<DeviceTls>,
    hello: Option<Hello>,
    stream: Option<TlsStream>,
    plain: Vec<u8>,
    out: Vec<u8>,
}

impl Gateway {
    pub fn server(tls: &Arc<DeviceTls>) -> Self {
        Self {
            tls: Arc::clone(tls),
            hello: Some(Hello::default()),
            stream: None,
            plain: Vec::new(),
            out: Vec::new(),
        }
    }

    pub fn client(tls: &Arc<DeviceTls>) -> Self {
        let mut out = Vec::new();
        let stream = TlsStream::connect(Arc::clone(tls), &mut out).unwrap();
        Self {
            hello: None,
            stream: Some(stream),
            out,
            ..Self::server(tls)
        }
    }

    pub fn take(&mut self, bytes: &[u8]) -> Result<(), TlsLinkError> {
        if let Some(stream) = &mut self.stream {
            return stream.receive(bytes, &mut self.plain, &mut self.out);
        }
        let mut hello = self.hello.take().unwrap();
        if hello.read(bytes)? {
            let tls = Arc::clone(&self.tls);
            self.stream = Some(TlsStream::accept(hello, tls, &mut self.out)?);
        } else {
            self.hello = Some(hello);
        }
        Ok(())
    }

    pub fn sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn stream(&mut self) -> &mut TlsStream {
        self.stream.as_mut().unwrap()
    }

    pub fn say(&mut self, plain: &[u8]) {
        let mut out = std::mem::take(&mut self.out);
        self.stream().encrypt(plain, &mut out).unwrap();
        self.out = out;
    }

    pub fn close(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        self.stream().close(&mut out).unwrap();
        self.out = out;
    }

    pub fn take_plain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.plain)
    }

    pub fn peer_closed(&mut self) -> bool {
        self.stream().peer_closed()
    }

    pub fn retained(&mut self) -> usize {
        self.stream().retained()
    }

    pub fn is_up(&mut self) -> bool {
        self.stream().is_up()
    }

    pub fn devices(&mut self) -> Option<Vec<DeviceId>> {
        let certificate = self.stream().certificate();
        certificate.map(|certificate| certificate.devices.to_vec())
    }

    pub fn shown(&mut self) -> Option<Vec<u8>> {
        self.stream().certificate_der().map(<[u8]>::to_vec)
    }
}

/// The device's end.
pub struct Device(pub Connection, Option<Error>, Vec<u8>);

impl Device {
    pub fn client(config: ClientConfig) -> Self {
        Self::shared_client(&Arc::new(config))
    }

    /// One that may resume what another with this configuration began.
    pub fn shared_client(config: &Arc<ClientConfig>) -> Self {
        let name = "gateway".try_into().unwrap();
        let client = ClientConnection::new(Arc::clone(config), name).unwrap();
        Self(client.into(), None, Vec::new())
    }

    pub fn server(config: ServerConfig) -> Self {
        let server = ServerConnection::new(Arc::new(config)).unwrap();
        Self(server.into(), None, Vec::new())
    }

    pub fn version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    pub fn has_resumed(&self) -> bool {
        self.0.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub fn sent(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.1.is_none() {
            self.0.read_tls(&mut bytes).unwrap();
            self.1 = self.0.process_new_packets().err();
            self.hear();
        }
    }

    /// Why it takes the link for failed.
    pub fn refusal(&mut self) -> Option<Error> {
        self.1.take()
    }

    pub fn say(&mut self, plain: &[u8]) {
        self.0.writer().write_all(plain).unwrap();
    }

    pub fn close(&mut self) {
        self.0.send_close_notify();
    }

    fn hear(&mut self) {
        // It says `WouldBlock` at the end of what is there.
        let _ = self.0.reader().read_to_end(&mut self.2);
    }

    pub fn heard(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.2)
    }

    pub fn peer_closed(&mut self) -> bool {
        matches!(self.0.reader().read(&mut [0]), Ok(0))
    }
}

/// Hands bytes to and fro, in pieces of up to `cut`, until both wait or ours refuses. The device
/// has heard its last words then.
pub fn meet(gateway: &mut Gateway, device: &mut Device, cut: usize) -> Result<(), TlsLinkError> {
    let mut result = Ok(());
    loop {
        let (down, up) = (gateway.sent(), device.sent());
        if down.is_empty() && up.is_empty() {
            return result;
        }
        for piece in down.chunks(cut) {
            device.take(piece);
        }
        for piece in up.chunks(cut) {
            if result.is_ok() {
                result = gateway.take(piece);
            }
        }
    }
}
