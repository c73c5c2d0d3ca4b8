//! The key files as the vault changes them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::device::DeviceId;
use crate::link::key_files::{self, KeyFileError};
use crate::link::keyring::LinkKeys;
use crate::link::link_key::LinkKey;
use crate::link::private_file::{self, FileError};
use crate::link::seal::Sealer;

const DEVICES: &str = "device";
/// Until when the key before holds: milliseconds since the Unix epoch, in decimal.
const GRACE: &str = "grace";

/// What the key files hold.
#[derive(Debug, Default)]
pub struct Loaded {
    pub keys: LinkKeys,
    /// Until when the key before a provisional one holds, in milliseconds since the Unix epoch;
    /// without an end where the device is not named.
    pub graces: HashMap<DeviceId, u64>,
}

/// Where link keys are kept. All calls block, and return once the change is on disk. Each can be
/// repeated: what is done already is no error.
pub trait KeyStore: Send + Sync {
    /// # Errors
    /// [`KeyFileError`], naming the file.
    fn load(&self) -> Result<Loaded, KeyFileError>;

    /// Writes the key of a device that has none.
    ///
    /// # Errors
    /// [`KeyFileError`], also when there is one.
    fn write(&self, id: DeviceId, key: &LinkKey) -> Result<(), KeyFileError>;

    /// Writes a key that the device has not used yet, in the place of an earlier such.
    ///
    /// # Errors
    /// [`KeyFileError`].
    fn write_provisional(
        &self,
        id: DeviceId,
        key: &LinkKey,
        old_holds_until: Option<u64>,
    ) -> Result<(), KeyFileError>;

    /// Makes the provisional key the device's own, in one step.
    ///
    /// # Errors
    /// [`KeyFileError`].
    fn promote(&self, id: DeviceId) -> Result<(), KeyFileError>;

    /// # Errors
    /// [`KeyFileError`].
    fn drop_provisional(&self, id: DeviceId) -> Result<(), KeyFileError>;

    /// Removes the key of a device, the provisional one too.
    ///
    /// # Errors
    /// [`KeyFileError`].
    fn remove(&self, id: DeviceId) -> Result<(), KeyFileError>;
}

/// The key files of a directory, as [`key_files`] reads them.
#[derive(Clone, Debug)]
pub struct KeyDir {
    dir: PathBuf,
    sealer: Sealer,
}

impl KeyDir {
    pub const fn new(dir: PathBuf, sealer: Sealer) -> Self {
        Self { dir, sealer }
    }

    fn grace(&self, id: DeviceId) -> PathBuf {
        key_files::device_path(&self.dir, id).with_extension(GRACE)
    }

    /// Until when the keys before provisional ones hold.
    fn graces(&self) -> Result<HashMap<DeviceId, u64>, KeyFileError> {
        let mut found = HashMap::new();
        let dir = &self.dir.join(DEVICES);
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            entries => entries.map_err(FileError::io(dir, "read"))?,
        };
        for entry in entries {
            let path = entry.map_err(FileError::io(dir, "read"))?.path();
            if path.extension().is_some_and(|own| own == GRACE) {
                found.insert(device_of(&path)?, read_grace(&path)?);
            }
        }
        Ok(found)
    }
}

impl KeyStore for KeyDir {
    fn load(&self) -> Result<Loaded, KeyFileError> {
        Ok(Loaded {
            keys: key_files::load(&self.dir, &self.sealer)?,
            graces: self.graces()?,
        })
    }

    fn write(&self, id: DeviceId, key: &LinkKey) -> Result<(), KeyFileError> {
        key_files::file_device_key(&self.dir, id, key, &self.sealer).map(|_| ())
    }

    /// The grace is written first: alone it says nothing.
    fn write_provisional(
        &self,
        id: DeviceId,
        key: &LinkKey,
        old_holds_until: Option<u64>,
    ) -> Result<(), KeyFileError> {
        self.drop_provisional(id)?;
        if let Some(until) = old_holds_until {
            let path = self.grace(id);
            private_file::make_private_dir(&self.dir.join(DEVICES))?;
            private_file::write_private(&path, &format!("{until}\n"))?;
        }
        key_files::write_provisional(&self.dir, id, key, &self.sealer)
    }

    fn promote(&self, id: DeviceId) -> Result<(), KeyFileError> {
        key_files::promote(&self.dir, id)?;
        remove_file(&self.grace(id))
    }

    fn drop_provisional(&self, id: DeviceId) -> Result<(), KeyFileError> {
        key_files::drop_provisional(&self.dir, id)?;
        remove_file(&self.grace(id))
    }

    fn remove(&self, id: DeviceId) -> Result<(), KeyFileError> {
        self.drop_provisional(id)?;
        key_files::remove_device_key(&self.dir, id).map(|_| ())
    }
}

fn remove_file(path: &Path) -> Result<(), KeyFileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => {
            removed.map_err(FileError::io(path, "removed"))?;
            sync_dir_of(path)
        }
    }
}

/// A name comes and goes on disk only with its directory.
fn sync_dir_of(path: &Path) -> Result<(), KeyFileError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    Ok(synced.map_err(FileError::io(dir, "written"))?)
}

fn device_of(path: &Path) -> Result<DeviceId, KeyFileError> {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let id = stem
        .and_then(|stem| stem.parse().ok())
        .and_then(DeviceId::new);
    id.filter(|id| stem == Some(id.to_string().as_str()))
        .ok_or_else(|| KeyFileError::DeviceName(path.to_owned()))
}

fn read_grace(path: &Path) -> Result<u64, KeyFileError> {
    let text = private_file::read_private(path)?;
    let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, "it is no number; remove it");
    let until = text.trim().parse().map_err(wrong);
    Ok(until.map_err(FileError::io(path, "read"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u32) -> DeviceId {
        DeviceId::new(id).unwrap()
    }

    fn key(seed: u8) -> LinkKey {
        LinkKey::new([seed; 32])
    }

    /// The own and the provisional key of device 7, and the grace.
    fn of_seven(store: &KeyDir) -> (Option<LinkKey>, Option<LinkKey>, Option<u64>) {
        let Loaded { keys, mut graces } = store.load().unwrap();
        let of = |keys: Vec<(DeviceId, LinkKey)>| {
            let mut found = keys.into_iter().filter(|(device, _)| *device == id(7));
            found.next().map(|(_, key)| key)
        };
        (
            of(keys.devices),
            of(keys.provisional),
            graces.remove(&id(7)),
        )
    }

    #[test]
    fn a_key_goes_through_its_life() {
        let dir = tempfile::tempdir().unwrap();
        let store = KeyDir::new(dir.path().to_owned(), Sealer::new([9; 32]));
        assert_eq!(of_seven(&store), (None, None, None));
        store.write_provisional(id(7), &key(1), None).unwrap();
        assert_eq!(of_seven(&store), (None, Some(key(1)), None));
        store.promote(id(7)).unwrap();
        assert_eq!(of_seven(&store), (Some(key(1)), None, None));
        store.write_provisional(id(7), &key(2), Some(99)).unwrap();
        assert_eq!(of_seven(&store), (Some(key(1)), Some(key(2)), Some(99)));
        store.write_provisional(id(7), &key(3), Some(98)).unwrap();
        store.drop_provisional(id(7)).unwrap();
        assert_eq!(of_seven(&store), (Some(key(1)), None, None));
        store.write_provisional(id(7), &key(4), Some(97)).unwrap();
        store.promote(id(7)).unwrap();
        store.promote(id(7)).unwrap();
        assert_eq!(of_seven(&store), (Some(key(4)), None, None));
        store.write_provisional(id(7), &key(5), None).unwrap();
        store.remove(id(7)).unwrap();
        store.remove(id(7)).unwrap();
        assert_eq!(of_seven(&store), (None, None, None));
    }

    #[test]
    fn a_key_is_never_overwritten_by_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = KeyDir::new(dir.path().to_owned(), Sealer::new([9; 32]));
        store.write(id(7), &key(1)).unwrap();
        store.write(id(7), &key(2)).unwrap_err();
        assert_eq!(of_seven(&store), (Some(key(1)), None, None));
    }

    #[test]
    fn what_is_no_grace_is_told_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = KeyDir::new(dir.path().to_owned(), Sealer::new([9; 32]));
        store.write_provisional(id(7), &key(1), Some(1)).unwrap();
        fs::write(store.grace(id(7)), "soon").unwrap();
        let error = store.load().unwrap_err().to_string();
        assert!(error.contains("7.grace cannot be read"), "{error}");
    }
}
