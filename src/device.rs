//! The words for a device that every room shares, with their values on the wire.

use std::fmt;
use std::num::NonZeroU32;

/// The number of a device, 1 … 4,294,967,295. Zero is no device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(NonZeroU32);

impl DeviceId {
    /// The first number of the top quarter of the range: devices that are known by a name and not
    /// by a serial number get theirs from here on.
    pub const FIRST_NAMED: u32 = 0xC000_0000;

    pub const fn new(id: u32) -> Option<Self> {
        match NonZeroU32::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "device {}", self.0)
    }
}

/// Who opens the TCP connection (`connect.ConnectionMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum ConnectionMode {
    /// The gateway dials.
    ServerToDevice = 0,
    /// The device dials.
    DeviceToServer = 1,
}

impl ConnectionMode {
    pub const ALL: [Self; 2] = [Self::ServerToDevice, Self::DeviceToServer];

    /// The stable name, as in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServerToDevice => "server_to_device",
            Self::DeviceToServer => "device_to_server",
        }
    }
}

/// How a device came into the managed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `Connect`: leaves the list when its session ends.
    Direct,
    /// `AddAsyncConnection`: dialled again for ever, until deleted; survives a restart.
    Auto,
    /// The device dialled: listed as long as it is connected.
    Inbound,
}

impl Origin {
    pub const ALL: [Self; 3] = [Self::Direct, Self::Auto, Self::Inbound];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Auto => "auto",
            Self::Inbound => "inbound",
        }
    }
}

/// What secures the byte path to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    Plain,
    Aes,
    Tls,
}

impl LinkKind {
    pub const ALL: [Self; 3] = [Self::Plain, Self::Aes, Self::Tls];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Aes => "aes",
            Self::Tls => "tls",
        }
    }
}

/// The status of a device (`connect.Status`), with its value on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Status {
    Disconnected = 0x000,
    TcpConnected = 0x001,
    TlsConnected = 0x002,
    TryToConnect = 0x004,
    TcpCannotConnect = 0x100,
    TcpNotAllowed = 0x101,
    TlsCannotConnect = 0x200,
    TlsNotAllowed = 0x201,
}

impl Status {
    pub const ALL: [Self; 8] = [
        Self::Disconnected,
        Self::TcpConnected,
        Self::TlsConnected,
        Self::TryToConnect,
        Self::TcpCannotConnect,
        Self::TcpNotAllowed,
        Self::TlsCannotConnect,
        Self::TlsNotAllowed,
    ];

    /// The status of a session on `link`.
    pub const fn connected(link: LinkKind) -> Self {
        match link {
            LinkKind::Plain | LinkKind::Aes => Self::TcpConnected,
            LinkKind::Tls => Self::TlsConnected,
        }
    }

    /// The status of a device that cannot be reached over `link`.
    pub const fn cannot_connect(link: LinkKind) -> Self {
        match link {
            LinkKind::Plain | LinkKind::Aes => Self::TcpCannotConnect,
            LinkKind::Tls => Self::TlsCannotConnect,
        }
    }

    /// The status of a device that was refused on `link`.
    pub const fn not_allowed(link: LinkKind) -> Self {
        match link {
            LinkKind::Plain | LinkKind::Aes => Self::TcpNotAllowed,
            LinkKind::Tls => Self::TlsNotAllowed,
        }
    }

    pub const fn is_connected(self) -> bool {
        matches!(self, Self::TcpConnected | Self::TlsConnected)
    }

    pub const fn wire(self) -> i32 {
        self as i32
    }

    pub fn from_wire(wire: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.wire() == wire)
    }

    /// The name in the Connect API, as it is printed everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "DISCONNECTED",
            Self::TcpConnected => "TCP_CONNECTED",
            Self::TlsConnected => "TLS_CONNECTED",
            Self::TryToConnect => "TRY_TO_CONNECT",
            Self::TcpCannotConnect => "TCP_CANNOT_CONNECT",
            Self::TcpNotAllowed => "TCP_NOT_ALLOWED",
            Self::TlsCannotConnect => "TLS_CANNOT_CONNECT",
            Self::TlsNotAllowed => "TLS_NOT_ALLOWED",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which attempt at a session a message belongs to: each dial and each accepted connection gets
/// the next number, and what an older one still says is ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u64);

impl Generation {
    /// The `n`-th dial of the gateway. Dials and accepted connections are counted apart, by the
    /// registry and by the listeners, and never get the same number.
    pub const fn dialled(n: u64) -> Self {
        Self(n * 2)
    }

    /// The `n`-th accepted connection.
    pub const fn accepted(n: u64) -> Self {
        Self(n * 2 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
