//! The gateway's key file: what seals its secrets at rest.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::private_file::{FileError, make_private_dir, read_private, write_private};
use super::random::{RandomError, random};
use super::seal::{SEAL_KEY_LEN, Sealer, is_sealed};
use crate::config::{certs_dir, keys_dir};

/// Enough of a file to see whether it is sealed, in bytes.
const BEGINNING: u64 = 64;

/// Why there is no key to seal with.
#[derive(Debug, thiserror::Error)]
pub enum GatewayKeyError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} holds no gateway key, which is 64 hex digits; bring back the file that was there", .0.display())]
    Content(PathBuf),
    #[error(
        "the gateway's key file {} is not there, but {} was sealed under it; bring the key file \
         back from a backup; where it is lost for good, `gatehouse certs --help` says how to do \
         without what it sealed",
        key.display(),
        sealed.display()
    )]
    Lost { key: PathBuf, sealed: PathBuf },
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Reads the key file at `path`, and makes it when nothing in the data directory is sealed yet.
///
/// # Errors
/// [`GatewayKeyError`]; an existing file is never overwritten.
pub fn open(path: &Path, data_dir: &Path) -> Result<Sealer, GatewayKeyError> {
    if is_there(path)? {
        return read(path);
    }
    if let Some(sealed) = first_sealed(data_dir)? {
        return Err(GatewayKeyError::Lost {
            key: path.to_owned(),
            sealed,
        });
    }
    if path.parent() == Some(data_dir) {
        make_private_dir(data_dir)?;
    }
    let key = random::<SEAL_KEY_LEN>()?;
    match write_private(path, &format!("{}\n", hex::encode(key))) {
        // Another process was faster: its key is the key.
        Err(FileError::Exists(_)) => read(path),
        written => {
            written?;
            tracing::info!(path = %path.display(), "made the gateway's key file; keep a copy of it where the data directory is not");
            Ok(Sealer::new(key))
        }
    }
}

/// Reads the key file at `path`, which must be there.
///
/// # Errors
/// [`GatewayKeyError`].
pub fn read(path: &Path) -> Result<Sealer, GatewayKeyError> {
    let text = read_private(path)?;
    let mut key = [0; SEAL_KEY_LEN];
    hex::decode_to_slice(text.trim(), &mut key)
        .map_err(|_| GatewayKeyError::Content(path.to_owned()))?;
    Ok(Sealer::new(key))
}

fn is_there(path: &Path) -> Result<bool, FileError> {
    fs::exists(path).map_err(FileError::io(path, "read"))
}

/// A file of the data directory that only the lost key opens.
fn first_sealed(data_dir: &Path) -> Result<Option<PathBuf>, FileError> {
    let keys = keys_dir(data_dir);
    let dirs = [keys.join("fleet"), keys.join("device"), keys];
    for dir in dirs.iter().chain([&certs_dir(data_dir)]) {
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(FileError::io(dir, "read"))?,
        };
        for entry in entries {
            let path = entry.map_err(FileError::io(dir, "read"))?.path();
            if path.is_file() && begins_sealed(&path).map_err(FileError::io(&path, "read"))? {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}

fn begins_sealed(path: &Path) -> io::Result<bool> {
    let mut beginning = Vec::new();
    File::open(path)?
        .take(BEGINNING)
        .read_to_end(&mut beginning)?;
    Ok(is_sealed(&String::from_utf8_lossy(&beginning)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_first_start_makes_the_key_and_the_next_reads_it() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("gateway.key");
        let made = open(&path, data.path()).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = made.seal("test", b"secret", [0; 12]);
        let again = open(&path, data.path()).unwrap();
        assert_eq!(again.unseal("test", &text).unwrap(), b"secret");
    }

    #[test]
    fn a_lost_key_is_told_and_not_replaced() {
        for name in [
            "keys/fleet/0001.key",
            "keys/device/7.key.new",
            "keys/tickets",
            "certs/ca_key.pem",
        ] {
            let data = tempfile::tempdir().unwrap();
            let path = data.path().join("gateway.key");
            let sealer = open(&path, data.path()).unwrap();
            let sealed = data.path().join(name);
            make_private_dir(sealed.parent().unwrap()).unwrap();
            write_private(&sealed, &sealer.seal("x", b"secret", [0; 12])).unwrap();
            fs::remove_file(&path).unwrap();
            let error = open(&path, data.path()).unwrap_err().to_string();
            assert!(
                error.contains(name) && error.contains("gateway.key"),
                "{error}"
            );
            assert!(!path.exists());
        }
    }

    #[test]
    fn secrets_in_clear_do_not_ask_for_an_old_key() {
        let data = tempfile::tempdir().unwrap();
        let fleet = data.path().join("keys/fleet");
        make_private_dir(&fleet).unwrap();
        write_private(&fleet.join("0001.key"), &"ab".repeat(32)).unwrap();
        assert!(open(&data.path().join("gateway.key"), data.path()).is_ok());
    }

    #[test]
    fn a_key_elsewhere_is_used_and_a_broken_or_exposed_one_told() {
        let data = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let path = elsewhere.path().join("mine");
        open(&path, data.path()).unwrap();
        assert!(path.exists() && !data.path().join("gateway.key").exists());
        fs::write(&path, "secret").unwrap();
        let error = open(&path, data.path()).unwrap_err().to_string();
        assert!(
            error.contains("64 hex digits") && !error.contains("secret"),
            "{error}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = open(&path, data.path()).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
