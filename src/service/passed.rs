//! Listening sockets that a service manager opened and hands over, so that they stay open while
//! the gateway is restarted: a device finds no closed port, its connection waits in the kernel.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

use crate::config::{Config, Listen};

/// What a listening socket is for. Its name is the `FileDescriptorName=` of the socket unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Face {
    Grpc,
    Http,
    Aes,
    Tls,
    /// TLS for stock IOTMP clients.
    TlsStock,
    Plain,
}

impl Face {
    pub const ALL: [Self; 6] = [
        Self::Grpc,
        Self::Http,
        Self::Aes,
        Self::Tls,
        Self::TlsStock,
        Self::Plain,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Aes => "aes",
            Self::Tls => "tls",
            Self::TlsStock => "tls_stock",
            Self::Plain => "plain",
        }
    }

    /// The key of the configuration that says where it listens.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Grpc => "grpc.listen",
            Self::Http => "http.listen",
            Self::Aes => "aes.listen",
            Self::Tls => "tls.listen",
            Self::TlsStock => "tls.stock_listen",
            Self::Plain => "plain.listen",
        }
    }

    /// Where the configuration has it listen; `None` for off.
    pub const fn configured(self, config: &Config) -> Option<SocketAddr> {
        let Listen(address) = match self {
            Self::Grpc => Listen(Some(config.grpc.listen)),
            Self::Http => config.http.listen,
            Self::Aes => config.aes.listen,
            Self::Tls => config.tls.listen,
            Self::TlsStock => config.tls.stock_listen,
            Self::Plain => config.plain.listen,
        };
        address
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|face| face.name() == name)
    }
}

impl fmt::Display for Face {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Sockets that were handed over, by what they are for.
#[derive(Debug, Default)]
pub struct Passed(BTreeMap<Face, TcpListener>);

/// Why what was handed over cannot be used; the text says what to mend.
#[derive(Debug, thiserror::Error)]
pub enum PassedError {
    #[error(
        "the service manager handed over {sockets} sockets and {names} names; give each socket \
         unit a FileDescriptorName="
    )]
    Count { sockets: usize, names: usize },
    #[error(
        "socket {place} of the service manager is named {name:?}, which says not what it is for; \
         set FileDescriptorName= in its unit to one of {}",
        Names
    )]
    Name { place: usize, name: String },
    #[error("two sockets of the service manager are named {0}; leave one of them out")]
    Twice(Face),
    #[error("the socket {face} of the service manager cannot be used: {source}")]
    Socket { face: Face, source: io::Error },
    #[error(
        "the service manager handed over a socket for {0}, which is off in the configuration; \
         set {key} to its address, or disable its socket unit", key = .0.key()
    )]
    Off(Face),
    #[error(
        "the socket {face} of the service manager listens on {passed}, and {key} = \
         \"{configured}\"; write the same address into both", key = .face.key()
    )]
    Address {
        face: Face,
        configured: SocketAddr,
        passed: SocketAddr,
    },
}

/// All names, for people.
struct Names;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Face::ALL.map(Face::name).join(", "))
    }
}

impl Passed {
    /// What this process was handed, if it was: once, and before any thread is started, because the
    /// environment that says so is cleared for the children of the process.
    ///
    /// # Errors
    /// [`PassedError`].
    pub fn from_environment() -> Result<Self, PassedError> {
        let names = std::env::var("LISTEN_FDNAMES").ok();
        let mut passed = ListenFd::from_env();
        let mut sockets = BTreeMap::new();
        for (at, face) in faces(names.as_deref(), passed.len())?
            .into_iter()
            .enumerate()
        {
            let failed = |source| PassedError::Socket { face, source };
            let socket = passed.take_tcp_listener(at).map_err(failed)?;
            let socket = socket.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
            socket.set_nonblocking(true).map_err(failed)?;
            sockets.insert(face, socket);
        }
        Ok(Self(sockets))
    }

    /// Takes the socket for this face, if it was handed over, once the configuration agrees.
    ///
    /// # Errors
    /// [`PassedError`] when it is off there, or listens elsewhere.
    pub fn take(
        &mut self,
        face: Face,
        configured: Option<SocketAddr>,
    ) -> Result<Option<TcpListener>, PassedError> {
        let Some(socket) = self.0.remove(&face) else {
            return Ok(None);
        };
        let configured = configured.ok_or(PassedError::Off(face))?;
        let failed = |source| PassedError::Socket { face, source };
        let passed = socket.local_addr().map_err(failed)?;
        if !agree(configured, passed) {
            return Err(PassedError::Address {
                face,
                configured,
                passed,
            });
        }
        Ok(Some(socket))
    }
}

/// What each socket is for, by the names as they were handed over.
fn faces(names: Option<&str>, sockets: usize) -> Result<Vec<Face>, PassedError> {
    if sockets == 0 {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = names
        .map(|names| names.split(':').collect())
        .unwrap_or_default();
    if names.len() != sockets {
        let names = names.len();
        return Err(PassedError::Count { sockets, names });
    }
    let mut faces = Vec::new();
    for (at, name) in names.into_iter().enumerate() {
        let face = Face::named(name).ok_or_else(|| PassedError::Name {
            place: at + 1,
            name: name.to_owned(),
        })?;
        if faces.contains(&face) {
            return Err(PassedError::Twice(face));
        }
        faces.push(face);
    }
    Ok(faces)
}

/// Whether a socket is where it was configured. Port 0 is any; and a socket unit that names a port
/// alone listens on all addresses of both families, which `0.0.0.0` is taken to mean as well.
fn agree(configured: SocketAddr, passed: SocketAddr) -> bool {
    let (wanted, has) = (configured.ip().to_canonical(), passed.ip().to_canonical());
    let same_host = wanted == has || (wanted.is_unspecified() && has.is_unspecified());
    same_host && (configured.port() == 0 || configured.port() == passed.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(names: Option<&str>, sockets: usize) -> String {
        faces(names, sockets).expect_err("refused").to_string()
    }

    #[test]
    fn names_say_what_a_socket_is_for() {
        let all = "grpc:http:aes:tls:tls_stock:plain";
        assert_eq!(faces(Some(all), 6).unwrap(), Face::ALL);
        assert_eq!(faces(Some("tls:aes"), 2).unwrap(), [Face::Tls, Face::Aes]);
        assert!(faces(None, 0).unwrap().is_empty());
        assert!(faces(Some("whatever"), 0).unwrap().is_empty());
    }

    #[test]
    fn names_that_do_not_say_it_are_refused_with_what_would_be_right() {
        for (names, sockets) in [(None, 1), (Some("aes"), 2), (Some("aes:tls"), 1)] {
            let text = refused(names, sockets);
            assert!(text.contains("FileDescriptorName="), "{text}");
        }
        for name in ["unknown", "gatehouse.socket", "", "AES"] {
            let text = refused(Some(&format!("tls:{name}")), 2);
            assert!(text.starts_with("socket 2 "), "{text}");
            assert!(text.contains(&format!("{name:?}")), "{text}");
            assert!(
                text.contains("grpc, http, aes, tls, tls_stock, plain"),
                "{text}"
            );
        }
        assert!(refused(Some("aes:aes"), 2).contains("two sockets"));
    }

    #[test]
    fn the_address_must_be_the_configured_one() {
        for (configured, passed, agrees) in [
            ("127.0.0.1:4000", "127.0.0.1:4000", true),
            ("127.0.0.1:4000", "127.0.0.1:4001", false),
            ("127.0.0.1:4000", "0.0.0.0:4000", false),
            ("0.0.0.0:4000", "127.0.0.1:4000", false),
            ("0.0.0.0:4000", "[::]:4000", true),
            ("[::]:4000", "0.0.0.0:4000", true),
            ("127.0.0.1:4000", "[::ffff:127.0.0.1]:4000", true),
            ("127.0.0.1:0", "127.0.0.1:4000", true),
            ("[::1]:0", "127.0.0.1:4000", false),
        ] {
            let parse = |text: &str| text.parse().unwrap();
            assert_eq!(
                agree(parse(configured), parse(passed)),
                agrees,
                "{configured} {passed}"
            );
        }
    }

    #[test]
    fn a_socket_that_does_not_agree_is_refused_by_name() {
        let socket = || TcpListener::bind("127.0.0.1:0").unwrap();
        let with = |socket| Passed(BTreeMap::from([(Face::TlsStock, socket)]));
        let first = socket();
        let address = first.local_addr().unwrap();
        let taken = with(first).take(Face::TlsStock, Some(address));
        assert_eq!(taken.unwrap().unwrap().local_addr().unwrap(), address);
        let text = with(socket())
            .take(Face::TlsStock, None)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("tls.stock_listen") && text.contains("off"),
            "{text}"
        );
        let elsewhere = "127.0.0.1:9".parse().unwrap();
        let text = with(socket()).take(Face::TlsStock, Some(elsewhere));
        let text = text.unwrap_err().to_string();
        assert!(
            text.contains("tls.stock_listen = \"127.0.0.1:9\""),
            "{text}"
        );
        let mut none = Passed::default();
        assert!(none.take(Face::Grpc, None).unwrap().is_none());
    }
}
