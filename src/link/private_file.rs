//! Files that hold secrets: nobody else reads them, and they appear whole or not at all.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// No key, certificate or chain that we read is longer, in bytes.
const FILE_MAX: u64 = 64 * 1024;
const OWNER_ONLY: u32 = 0o600;
const EVERYONE_READS: u32 = 0o644;

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{} cannot be {verb}: {source}", path.display())]
    Io {
        path: PathBuf,
        verb: &'static str,
        source: io::Error,
    },
    #[error("{} can be read by others (mode {mode:04o}), run: chmod 600 {}", path.display(), path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{} is there already and is never overwritten, move it away first", .0.display())]
    Exists(PathBuf),
    #[error("{} is larger than {FILE_MAX} bytes, it is no key or certificate", .0.display())]
    TooLarge(PathBuf),
}

impl FileError {
    pub fn io(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, verb, source }
    }
}

/// Reads a text that only its owner may read.
///
/// # Errors
/// [`FileError::Exposed`] when its group or others can read it.
pub fn read_private(path: &Path) -> Result<String, FileError> {
    let mut file = File::open(path).map_err(FileError::io(path, "read"))?;
    let metadata = file.metadata().map_err(FileError::io(path, "read"))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    read_text(&mut file, path)
}

/// Reads a text that anyone may read.
///
/// # Errors
/// [`FileError::Io`], [`FileError::TooLarge`].
pub fn read_public(path: &Path) -> Result<String, FileError> {
    let mut file = File::open(path).map_err(FileError::io(path, "read"))?;
    read_text(&mut file, path)
}

/// Writes a new file with mode 0600; it is on disk when this returns.
///
/// # Errors
/// [`FileError::Exists`] when there is one.
pub fn write_private(path: &Path, text: &str) -> Result<(), FileError> {
    write_new(path, text, OWNER_ONLY)
}

/// Writes a new file with mode 0644; it is on disk when this returns.
///
/// # Errors
/// [`FileError::Exists`] when there is one.
pub fn write_public(path: &Path, text: &str) -> Result<(), FileError> {
    write_new(path, text, EVERYONE_READS)
}

/// Makes a directory, and those above it, that only its owner may enter.
///
/// # Errors
/// [`FileError::Io`].
pub fn make_private_dir(path: &Path) -> Result<(), FileError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(FileError::io(path, "made"))
}

fn read_text(file: &mut File, path: &Path) -> Result<String, FileError> {
    let mut text = String::new();
    let read = file.take(FILE_MAX + 1).read_to_string(&mut text);
    read.map_err(FileError::io(path, "read"))?;
    if text.len() as u64 > FILE_MAX {
        return Err(FileError::TooLarge(path.to_owned()));
    }
    Ok(text)
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), FileError> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let write = || -> io::Result<NamedTempFile> {
        // The temporary file is born with mode 0600.
        let mut file = NamedTempFile::new_in(dir)?;
        file.write_all(text.as_bytes())?;
        fs::set_permissions(file.path(), Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    let file = write().map_err(FileError::io(path, "written"))?;
    file.persist_noclobber(path).map_err(|error| {
        if error.error.kind() == io::ErrorKind::AlreadyExists {
            FileError::Exists(path.to_owned())
        } else {
            FileError::io(path, "written")(error.error)
        }
    })?;
    // The name is on disk only with its directory.
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(FileError::io(path, "written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_private_file_is_its_owners_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        write_private(&path, "text").unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(read_private(&path).unwrap(), "text");
        let inner = dir.path().join("b/c");
        make_private_dir(&inner).unwrap();
        assert_eq!(mode(&inner), 0o700);
    }

    #[test]
    fn a_public_file_is_everyones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.crt");
        write_public(&path, "text").unwrap();
        assert_eq!(mode(&path), 0o644);
        assert_eq!(read_public(&path).unwrap(), "text");
    }

    #[test]
    fn an_exposed_secret_is_refused_with_the_mend() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        write_private(&path, "text").unwrap();
        for exposed in [0o640, 0o604, 0o620, 0o644] {
            fs::set_permissions(&path, Permissions::from_mode(exposed)).unwrap();
            let error = read_private(&path).unwrap_err().to_string();
            let mend = format!("(mode {exposed:04o}), run: chmod 600 {}", path.display());
            assert!(error.ends_with(&mend), "{error}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert!(read_private(&path).is_ok());
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_left_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        write_private(&path, "old").unwrap();
        let error = write_private(&path, "new").unwrap_err();
        assert!(matches!(error, FileError::Exists(_)), "{error}");
        assert_eq!(read_private(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_large_or_missing_file_is_told_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        let error = read_private(&path).unwrap_err().to_string();
        assert!(error.contains("a.key cannot be read"), "{error}");
        fs::write(&path, vec![b'a'; 65 * 1024]).unwrap();
        let error = read_public(&path).unwrap_err();
        assert!(matches!(error, FileError::TooLarge(_)), "{error}");
    }
}
