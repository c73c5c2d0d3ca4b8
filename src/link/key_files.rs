//! Link keys on disk: `fleet/*.key` and `device/<id>.key`, 64 hex digits each.

use std::fs;
use std::path::{Path, PathBuf};

use rand::TryRng;
use rand::rngs::SysRng;

use super::keyring::LinkKeys;
use super::link_key::{LINK_KEY_LEN, LinkKey, LinkKeyError};
use super::private_file::{FileError, make_private_dir, read_private, write_private};
use crate::device::DeviceId;

const FLEET: &str = "fleet";
const DEVICE: &str = "device";
const EXTENSION: &str = "key";
/// Sorts before every name with a later date, so that it counts as the oldest.
const FIRST_FLEET_KEY: &str = "0001";

/// Why the link keys could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} holds no link key: {source}", path.display())]
    Key { path: PathBuf, source: LinkKeyError },
    #[error("{} is named after no device, write its ID from 1 to 4294967295 before .key", .0.display())]
    DeviceName(PathBuf),
    #[error("the operating system gives no random bytes: {0}")]
    Random(rand::rngs::SysError),
}

/// Reads all keys; the fleet key whose file name sorts last comes first.
///
/// # Errors
/// [`KeyFileError`], naming the file: a key that others can read, or that is none, is not passed
/// over.
pub fn load(dir: &Path) -> Result<LinkKeys, KeyFileError> {
    let fleet = key_paths(&dir.join(FLEET))?;
    let devices = key_paths(&dir.join(DEVICE))?;
    Ok(LinkKeys {
        fleet: fleet
            .iter()
            .rev()
            .map(|path| read(path))
            .collect::<Result<_, _>>()?,
        devices: devices
            .iter()
            .map(|path| Ok((device_of(path)?, read(path)?)))
            .collect::<Result<_, KeyFileError>>()?,
        provisional: Vec::new(),
    })
}

/// Makes the first fleet key if there is none, and tells its file.
///
/// # Errors
/// [`KeyFileError`] when the directory or the file cannot be made.
pub fn ensure_fleet_key(dir: &Path) -> Result<Option<PathBuf>, KeyFileError> {
    if !key_paths(&dir.join(FLEET))?.is_empty() {
        return Ok(None);
    }
    let path = fleet_path(dir, FIRST_FLEET_KEY);
    write(&path, &generate()?)?;
    Ok(Some(path))
}

/// A new link key from the operating system's random source.
///
/// # Errors
/// [`KeyFileError::Random`].
pub fn generate() -> Result<LinkKey, KeyFileError> {
    Ok(LinkKey::new(random::<LINK_KEY_LEN>()?))
}

/// Fresh secret bytes from the operating system.
///
/// # Errors
/// [`KeyFileError::Random`].
pub fn random<const LEN: usize>() -> Result<[u8; LEN], KeyFileError> {
    let mut bytes = [0; LEN];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(KeyFileError::Random)?;
    Ok(bytes)
}

/// Writes a new key file, and the directories above it, for the owner alone.
///
/// # Errors
/// [`KeyFileError::File`], also when the file is there already.
pub fn write(path: &Path, key: &LinkKey) -> Result<(), KeyFileError> {
    if let Some(dir) = path.parent() {
        make_private_dir(dir)?;
    }
    Ok(write_private(path, &format!("{}\n", key.to_hex()))?)
}

/// Where the key of a device is.
pub fn device_path(dir: &Path, id: DeviceId) -> PathBuf {
    dir.join(DEVICE).join(format!("{id}.{EXTENSION}"))
}

/// Where the next fleet key goes, so that it sorts last: a number one above the highest.
///
/// # Errors
/// [`KeyFileError::File`] when the directory cannot be read.
pub fn next_fleet_path(dir: &Path) -> Result<PathBuf, KeyFileError> {
    let highest = key_paths(&dir.join(FLEET))?
        .iter()
        .filter_map(|path| path.file_stem()?.to_str()?.parse::<u32>().ok())
        .max()
        .unwrap_or(0);
    Ok(fleet_path(
        dir,
        &format!("{:04}", highest.saturating_add(1)),
    ))
}

fn fleet_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(FLEET).join(format!("{name}.{EXTENSION}"))
}

/// The key files of a directory by name; none when it is not there.
fn key_paths(dir: &Path) -> Result<Vec<PathBuf>, KeyFileError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(FileError::io(dir, "read"))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(FileError::io(dir, "read"))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == EXTENSION)
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<LinkKey, KeyFileError> {
    LinkKey::from_hex(&read_private(path)?).map_err(|source| KeyFileError::Key {
        path: path.to_owned(),
        source,
    })
}

fn device_of(path: &Path) -> Result<DeviceId, KeyFileError> {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let id = stem
        .and_then(|stem| stem.parse().ok())
        .and_then(DeviceId::new);
    // One spelling only: 7.key and 007.key would be two keys of one device.
    id.filter(|id| stem == Some(id.to_string().as_str()))
        .ok_or_else(|| KeyFileError::DeviceName(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn key(seed: u8) -> LinkKey {
        LinkKey::new([seed; 32])
    }

    #[test]
    fn the_first_start_makes_one_fleet_key() {
        let dir = tempfile::tempdir().unwrap();
        let made = ensure_fleet_key(dir.path()).unwrap().unwrap();
        let mode = fs::metadata(&made).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let keys = load(dir.path()).unwrap();
        assert_eq!(keys.fleet.len(), 1);
        assert!(keys.devices.is_empty());
        assert_eq!(ensure_fleet_key(dir.path()).unwrap(), None);
        assert_eq!(load(dir.path()).unwrap().fleet, keys.fleet);
    }

    #[test]
    fn two_keys_are_never_the_same() {
        assert_ne!(generate().unwrap(), generate().unwrap());
    }

    #[test]
    fn the_name_that_sorts_last_is_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        for (name, seed) in [("0002", 2), ("0001", 1), ("0010", 10)] {
            write(&fleet_path(dir.path(), name), &key(seed)).unwrap();
        }
        fs::write(dir.path().join("fleet/README"), "no key").unwrap();
        assert_eq!(load(dir.path()).unwrap().fleet, [key(10), key(2), key(1)]);
        let next = next_fleet_path(dir.path()).unwrap();
        assert!(next.ends_with("fleet/0011.key"), "{}", next.display());
    }

    #[test]
    fn device_keys_are_named_by_id() {
        let dir = tempfile::tempdir().unwrap();
        let id = DeviceId::new(1001).unwrap();
        write(&device_path(dir.path(), id), &key(1)).unwrap();
        assert_eq!(load(dir.path()).unwrap().devices, [(id, key(1))]);
        for name in ["0", "01001", "door", "4294967296", "+7"] {
            let path = dir.path().join(format!("device/{name}.key"));
            write(&path, &key(2)).unwrap();
            let error = load(dir.path()).unwrap_err().to_string();
            assert!(
                error.contains("is named after no device"),
                "{name}: {error}"
            );
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn an_exposed_or_broken_key_stops_the_load_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = ensure_fleet_key(dir.path()).unwrap().unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "secret but short").unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("0001.key holds no link key"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn an_existing_key_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = fleet_path(dir.path(), "0001");
        write(&path, &key(1)).unwrap();
        assert!(write(&path, &key(2)).is_err());
        assert_eq!(load(dir.path()).unwrap().fleet, [key(1)]);
    }
}
