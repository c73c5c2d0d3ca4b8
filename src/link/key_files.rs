//! Link keys on disk, sealed: `fleet/*.key`, `device/<id>.key`, and `device/<id>.key.new` for a key
//! that a device was given and has not used yet. A file of 64 hex digits, an operator's own or of
//! an older version, is taken and sealed in its place.

use std::fs;
use std::path::{Path, PathBuf};

use super::keyring::LinkKeys;
use super::link_key::{LINK_KEY_LEN, LinkKey, LinkKeyError};
use super::private_file::{FileError, make_private_dir, remove, rename, write_private};
use super::random::RandomError;
pub use super::random::random;
use super::seal::{SealError, Sealer};
use super::sealed_file::{self, Found, SealedFileError, seal_in_place};
use crate::device::DeviceId;

const FLEET: &str = "fleet";
const DEVICE: &str = "device";
const ACTIVE: &str = ".key";
const PROVISIONAL: &str = ".key.new";
/// Sorts before every name with a later date, so that it counts as the oldest.
const FIRST_FLEET_KEY: &str = "0001";

/// Why the link keys could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Sealed(#[from] SealedFileError),
    #[error("{} holds no link key: {source}", path.display())]
    Key { path: PathBuf, source: LinkKeyError },
    #[error("{} is named after no device, write its ID from 1 to 4294967295 before .key", .0.display())]
    DeviceName(PathBuf),
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl KeyFileError {
    /// Whether the disk is full.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::File(error) | Self::Sealed(SealedFileError::File(error)) => error.is_no_space(),
            _ => false,
        }
    }
}

/// Reads all keys; the fleet key whose file name sorts last comes first.
///
/// # Errors
/// [`KeyFileError`], naming the file: a key that others can read, that another gateway key sealed,
/// or that is none, is not passed over.
pub fn load(dir: &Path, sealer: &Sealer) -> Result<LinkKeys, KeyFileError> {
    let mut fleet = Vec::new();
    for path in key_paths(&dir.join(FLEET), ACTIVE)?.iter().rev() {
        fleet.push(read(path, &purpose(None), sealer)?);
    }
    Ok(LinkKeys {
        fleet,
        devices: device_keys(dir, ACTIVE, sealer)?,
        provisional: device_keys(dir, PROVISIONAL, sealer)?,
    })
}

/// The fleet key that the gateway dials with first; `None` when there is none.
///
/// # Errors
/// [`KeyFileError`], naming the file.
pub fn newest_fleet_key(dir: &Path, sealer: &Sealer) -> Result<Option<LinkKey>, KeyFileError> {
    let paths = key_paths(&dir.join(FLEET), ACTIVE)?;
    let newest = paths.last();
    newest
        .map(|path| read(path, &purpose(None), sealer))
        .transpose()
}

/// The active key of one device; `None` when it has none of its own.
///
/// # Errors
/// [`KeyFileError`], naming the file.
pub fn device_key(
    dir: &Path,
    id: DeviceId,
    sealer: &Sealer,
) -> Result<Option<LinkKey>, KeyFileError> {
    let path = device_path(dir, id);
    if !fs::exists(&path).map_err(FileError::io(&path, "read"))? {
        return Ok(None);
    }
    read(&path, &purpose(Some(id)), sealer).map(Some)
}

/// Makes the first fleet key if there is none, and tells its file.
///
/// # Errors
/// [`KeyFileError`] when the directory or the file cannot be made.
pub fn ensure_fleet_key(dir: &Path, sealer: &Sealer) -> Result<Option<PathBuf>, KeyFileError> {
    if !key_paths(&dir.join(FLEET), ACTIVE)?.is_empty() {
        return Ok(None);
    }
    file_fleet_key(dir, &generate()?, sealer).map(Some)
}

/// A new link key from the operating system's random source.
///
/// # Errors
/// [`KeyFileError::Random`].
pub fn generate() -> Result<LinkKey, KeyFileError> {
    Ok(LinkKey::new(random::<LINK_KEY_LEN>()?))
}

/// Writes a new key file in clear, as a device or `gatehouse simulate` takes it, and the
/// directories above it, for the owner alone.
///
/// # Errors
/// [`KeyFileError::File`], also when the file is there already.
pub fn write(path: &Path, key: &LinkKey) -> Result<(), KeyFileError> {
    if let Some(dir) = path.parent() {
        make_private_dir(dir)?;
    }
    Ok(write_private(path, &format!("{}\n", key.to_hex()))?)
}

/// Files a key of the fleet so that it counts as the newest, and tells its file.
///
/// # Errors
/// [`KeyFileError`] when the directory cannot be read or the file not be made.
pub fn file_fleet_key(dir: &Path, key: &LinkKey, sealer: &Sealer) -> Result<PathBuf, KeyFileError> {
    let path = next_fleet_path(dir)?;
    make_private_dir(&dir.join(FLEET))?;
    sealed_file::write(&path, &purpose(None), key.as_bytes(), sealer)?;
    Ok(path)
}

/// Files the first key of a device, and tells its file.
///
/// # Errors
/// [`KeyFileError`], also when the device has one.
pub fn file_device_key(
    dir: &Path,
    id: DeviceId,
    key: &LinkKey,
    sealer: &Sealer,
) -> Result<PathBuf, KeyFileError> {
    let path = device_path(dir, id);
    make_private_dir(&dir.join(DEVICE))?;
    sealed_file::write(&path, &purpose(Some(id)), key.as_bytes(), sealer)?;
    Ok(path)
}

/// Files a key that a device is being given: it counts only when the device has used it, then
/// [`promote`] it.
///
/// # Errors
/// [`KeyFileError`].
pub fn write_provisional(
    dir: &Path,
    id: DeviceId,
    key: &LinkKey,
    sealer: &Sealer,
) -> Result<(), KeyFileError> {
    put(dir, &provisional_path(dir, id), id, key, sealer)
}

/// Makes the provisional key of a device its active one, and tells whether there was one.
///
/// # Errors
/// [`KeyFileError::File`]; the old key then stays.
pub fn promote(dir: &Path, id: DeviceId) -> Result<bool, KeyFileError> {
    let from = provisional_path(dir, id);
    if !fs::exists(&from).map_err(FileError::io(&from, "read"))? {
        return Ok(false);
    }
    rename(&from, &device_path(dir, id))?;
    Ok(true)
}

/// Removes the provisional key of a device, and tells whether there was one.
///
/// # Errors
/// [`KeyFileError::File`].
pub fn drop_provisional(dir: &Path, id: DeviceId) -> Result<bool, KeyFileError> {
    Ok(remove(&provisional_path(dir, id))?)
}

/// Removes the active key of a device, and tells whether there was one.
///
/// # Errors
/// [`KeyFileError::File`].
pub fn remove_device_key(dir: &Path, id: DeviceId) -> Result<bool, KeyFileError> {
    Ok(remove(&device_path(dir, id))?)
}

/// Where the key of a device is.
pub fn device_path(dir: &Path, id: DeviceId) -> PathBuf {
    dir.join(DEVICE).join(format!("{id}{ACTIVE}"))
}

/// The folders that hold link keys, for whoever watches them.
pub fn folders(dir: &Path) -> [PathBuf; 2] {
    [dir.join(FLEET), dir.join(DEVICE)]
}

fn provisional_path(dir: &Path, id: DeviceId) -> PathBuf {
    dir.join(DEVICE).join(format!("{id}{PROVISIONAL}"))
}

/// Where the next fleet key goes, so that it sorts last: a number one above the highest.
fn next_fleet_path(dir: &Path) -> Result<PathBuf, KeyFileError> {
    let paths = key_paths(&dir.join(FLEET), ACTIVE)?;
    let numbers = paths
        .iter()
        .filter_map(|path| path.file_stem()?.to_str()?.parse::<u32>().ok());
    let name = numbers.max().map_or_else(
        || FIRST_FLEET_KEY.to_owned(),
        |highest| format!("{:04}", highest.saturating_add(1)),
    );
    Ok(fleet_path(dir, &name))
}

fn fleet_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(FLEET).join(format!("{name}{ACTIVE}"))
}

/// What a key is sealed as. A provisional key becomes the active one by its name alone.
fn purpose(device: Option<DeviceId>) -> String {
    match device {
        None => "link key of the fleet".to_owned(),
        Some(id) => format!("link key of device {id}"),
    }
}

fn put(
    dir: &Path,
    path: &Path,
    id: DeviceId,
    key: &LinkKey,
    sealer: &Sealer,
) -> Result<(), KeyFileError> {
    make_private_dir(&dir.join(DEVICE))?;
    let purpose = purpose(Some(id));
    Ok(sealed_file::replace(
        path,
        &purpose,
        key.as_bytes(),
        sealer,
    )?)
}

/// The key files of a directory by name; none when it is not there.
fn key_paths(dir: &Path, ending: &str) -> Result<Vec<PathBuf>, KeyFileError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(FileError::io(dir, "read"))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(FileError::io(dir, "read"))?.path();
        if stem(&path, ending).is_some() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn stem<'a>(path: &'a Path, ending: &str) -> Option<&'a str> {
    path.file_name()?.to_str()?.strip_suffix(ending)
}

fn device_keys(
    dir: &Path,
    ending: &str,
    sealer: &Sealer,
) -> Result<Vec<(DeviceId, LinkKey)>, KeyFileError> {
    let paths = key_paths(&dir.join(DEVICE), ending)?;
    let keys = paths.iter().map(|path| {
        let id = device_of(path, ending)?;
        Ok((id, read(path, &purpose(Some(id)), sealer)?))
    });
    keys.collect()
}

fn read(path: &Path, purpose: &str, sealer: &Sealer) -> Result<LinkKey, KeyFileError> {
    match sealed_file::read(path, purpose, sealer)? {
        Found::Sealed(plain) => {
            let key = plain.try_into().map_err(|_| SealedFileError::Seal {
                path: path.to_owned(),
                source: SealError::Damaged,
            })?;
            Ok(LinkKey::new(key))
        }
        Found::Clear(text) => {
            let key = LinkKey::from_hex(&text).map_err(|source| KeyFileError::Key {
                path: path.to_owned(),
                source,
            })?;
            seal_in_place(path, purpose, key.as_bytes(), sealer);
            Ok(key)
        }
    }
}

fn device_of(path: &Path, ending: &str) -> Result<DeviceId, KeyFileError> {
    let stem = stem(path, ending);
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

    fn id(id: u32) -> DeviceId {
        DeviceId::new(id).unwrap()
    }

    fn sealer() -> Sealer {
        Sealer::new([5; 32])
    }

    fn loaded(dir: &Path) -> LinkKeys {
        load(dir, &sealer()).unwrap()
    }

    fn refused(dir: &Path) -> String {
        load(dir, &sealer()).unwrap_err().to_string()
    }

    #[test]
    fn the_first_start_makes_one_fleet_key() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(newest_fleet_key(dir.path(), &sealer()).unwrap(), None);
        let made = ensure_fleet_key(dir.path(), &sealer()).unwrap().unwrap();
        assert!(made.ends_with("fleet/0001.key"), "{}", made.display());
        let mode = fs::metadata(&made).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let keys = loaded(dir.path());
        assert_eq!(keys.fleet.len(), 1);
        assert!(keys.devices.is_empty() && keys.provisional.is_empty());
        let text = fs::read_to_string(made).unwrap();
        assert!(!text.contains(&keys.fleet[0].to_hex()), "{text}");
        assert_eq!(ensure_fleet_key(dir.path(), &sealer()).unwrap(), None);
        assert_eq!(loaded(dir.path()).fleet, keys.fleet);
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
        assert_eq!(loaded(dir.path()).fleet, [key(10), key(2), key(1)]);
        let next = file_fleet_key(dir.path(), &key(11), &sealer()).unwrap();
        assert!(next.ends_with("fleet/0011.key"), "{}", next.display());
        let newest = newest_fleet_key(dir.path(), &sealer()).unwrap();
        assert_eq!(newest, Some(key(11)));
    }

    #[test]
    fn device_keys_are_named_by_id() {
        let dir = tempfile::tempdir().unwrap();
        write(&device_path(dir.path(), id(1001)), &key(1)).unwrap();
        assert_eq!(loaded(dir.path()).devices, [(id(1001), key(1))]);
        for name in ["0", "01001", "door", "4294967296", "+7"] {
            for ending in [ACTIVE, PROVISIONAL] {
                let path = dir.path().join(format!("device/{name}{ending}"));
                write(&path, &key(2)).unwrap();
                let error = refused(dir.path());
                assert!(
                    error.contains("is named after no device"),
                    "{name}: {error}"
                );
                fs::remove_file(path).unwrap();
            }
        }
    }

    #[test]
    fn a_key_in_clear_is_sealed_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let fleet = fleet_path(dir.path(), "0001");
        let device = device_path(dir.path(), id(7));
        write(&fleet, &key(1)).unwrap();
        write(&device, &key(7)).unwrap();
        for _ in 0..2 {
            let keys = loaded(dir.path());
            assert_eq!(keys.fleet, [key(1)]);
            assert_eq!(keys.devices, [(id(7), key(7))]);
        }
        for path in [fleet, device] {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("gatehouse-sealed-v1:"), "{text}");
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_key_behind_a_symbolic_link_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("mine");
        write(&elsewhere, &key(1)).unwrap();
        fs::create_dir(dir.path().join(FLEET)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, fleet_path(dir.path(), "0001")).unwrap();
        assert_eq!(loaded(dir.path()).fleet, [key(1)]);
        let text = fs::read_to_string(elsewhere).unwrap();
        assert_eq!(text.trim(), key(1).to_hex());
    }

    #[test]
    fn a_sealed_key_opens_in_its_place_and_under_its_gateway_key_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = file_device_key(dir.path(), id(7), &key(7), &sealer()).unwrap();
        let error = load(dir.path(), &Sealer::new([6; 32])).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("7.key") && error.contains("another gateway key"),
            "{error}"
        );
        fs::rename(path, device_path(dir.path(), id(8))).unwrap();
        let error = refused(dir.path());
        assert!(error.contains("another secret"), "{error}");
    }

    #[test]
    fn a_provisional_key_stands_apart_until_it_is_promoted() {
        let dir = tempfile::tempdir().unwrap();
        let sealer = sealer();
        file_device_key(dir.path(), id(7), &key(1), &sealer).unwrap();
        write_provisional(dir.path(), id(7), &key(2), &sealer).unwrap();
        write_provisional(dir.path(), id(7), &key(3), &sealer).unwrap();
        let keys = loaded(dir.path());
        assert_eq!(keys.devices, [(id(7), key(1))]);
        assert_eq!(keys.provisional, [(id(7), key(3))]);
        assert!(promote(dir.path(), id(7)).unwrap());
        assert!(!promote(dir.path(), id(7)).unwrap());
        let keys = loaded(dir.path());
        assert_eq!(keys.devices, [(id(7), key(3))]);
        assert!(keys.provisional.is_empty());
        let active = device_key(dir.path(), id(7), &sealer).unwrap();
        assert_eq!(active, Some(key(3)));

        write_provisional(dir.path(), id(7), &key(4), &sealer).unwrap();
        assert!(drop_provisional(dir.path(), id(7)).unwrap());
        assert!(!drop_provisional(dir.path(), id(7)).unwrap());
        assert!(remove_device_key(dir.path(), id(7)).unwrap());
        assert!(!remove_device_key(dir.path(), id(7)).unwrap());
        let keys = loaded(dir.path());
        assert!(keys.devices.is_empty() && keys.provisional.is_empty());
        assert_eq!(device_key(dir.path(), id(7), &sealer).unwrap(), None);
    }

    #[test]
    fn an_exposed_or_broken_key_stops_the_load_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = ensure_fleet_key(dir.path(), &sealer()).unwrap().unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let error = refused(dir.path());
        assert!(error.contains("chmod 600"), "{error}");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "secret but short").unwrap();
        let error = refused(dir.path());
        assert!(error.contains("0001.key holds no link key"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "secret but short");
    }

    #[test]
    fn an_existing_key_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = fleet_path(dir.path(), "0001");
        write(&path, &key(1)).unwrap();
        assert!(write(&path, &key(2)).is_err());
        file_device_key(dir.path(), id(7), &key(7), &sealer()).unwrap();
        assert!(file_device_key(dir.path(), id(7), &key(8), &sealer()).is_err());
        let keys = loaded(dir.path());
        assert_eq!(keys.fleet, [key(1)]);
        assert_eq!(keys.devices, [(id(7), key(7))]);
    }
}
