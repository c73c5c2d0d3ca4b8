//! `gatehouse simulate` as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Child;
use std::sync::OnceLock;

use tempfile::TempDir;

/// A link key in a file, for devices that no gateway need let in.
pub fn key_file() -> String {
    static FILE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FILE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("device.key");
        std::fs::write(&path, "07".repeat(32)).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).expect("made private");
        (directory, path)
    });
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// Reads what it says until so many devices listen.
pub fn until_listening(child: &mut Child, count: u32) {
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut listening = 0;
    while listening < count {
        let line = lines.next().expect("it runs").expect("readable");
        listening += u32::from(line.contains("\"listens\""));
    }
    // Who talks must not block on a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
}

/// A UDP port that was free a moment ago.
pub fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
    socket.local_addr().expect("bound").port()
}
