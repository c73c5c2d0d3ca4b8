//! Files that hold secrets: nobody else reads them, and they appear whole or not at all.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;
use tempfile::NamedTempFile;

/// No key, certificate or chain that we read is longer, in bytes.
const FILE_MAX: u64 = 64 * 1024;
/// No revocation list or index that we read is longer, in bytes: a million certificates.
const LIST_MAX: u64 = 256 * 1024 * 1024;
const ROOT_USER: u32 = 0;
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
    #[error("{} is larger than {max} bytes, it is not what its name says", path.display())]
    TooLarge { path: PathBuf, max: u64 },
}

impl FileError {
    /// Whether the disk is full.
    pub fn is_no_space(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, Self::Io { source, .. } if full.contains(&source.kind()))
    }

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
    if mode & 0o077 != 0 && !(is_handed_to_us(&metadata) && mode & 0o037 == 0) {
        return Err(FileError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    read_text(&mut file, path, FILE_MAX)
}

/// A secret that the system mounts for a service (a systemd credential, a Kubernetes secret)
/// belongs to root and is read through the group.
fn is_handed_to_us(metadata: &Metadata) -> bool {
    metadata.uid() == ROOT_USER && !Uid::effective().is_root()
}

/// Reads a text that anyone may read.
///
/// # Errors
/// [`FileError::Io`], [`FileError::TooLarge`].
pub fn read_public(path: &Path) -> Result<String, FileError> {
    let mut file = File::open(path).map_err(FileError::io(path, "read"))?;
    read_text(&mut file, path, FILE_MAX)
}

/// Reads a text that grows with the fleet; empty when the file is not there.
///
/// # Errors
/// [`FileError::Io`], [`FileError::TooLarge`].
pub fn read_list(path: &Path) -> Result<String, FileError> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        file => read_text(
            &mut file.map_err(FileError::io(path, "read"))?,
            path,
            LIST_MAX,
        ),
    }
}

/// Writes a new file with mode 0600; it is on disk when this returns.
///
/// # Errors
/// [`FileError::Exists`] when there is one.
pub fn write_private(path: &Path, text: &str) -> Result<(), FileError> {
    write_new(path, text, OWNER_ONLY)
}

/// Writes a file with mode 0600, in the place of one that may be there; whoever reads it meanwhile
/// finds the old text or the new one.
///
/// # Errors
/// [`FileError::Io`]; the old file is then untouched.
pub fn replace_private(path: &Path, text: &str) -> Result<(), FileError> {
    replace(path, text, OWNER_ONLY)
}

/// As [`replace_private`], with mode 0644.
///
/// # Errors
/// [`FileError::Io`]; the old file is then untouched.
pub fn replace_public(path: &Path, text: &str) -> Result<(), FileError> {
    replace(path, text, EVERYONE_READS)
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

/// Appends a line to a file that everyone may read, and makes it when it is not there. A line that
/// a crash cut short is ended first, so that it spoils itself alone.
///
/// # Errors
/// [`FileError::Io`].
pub fn append_line(path: &Path, line: &str) -> Result<(), FileError> {
    let append = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(EVERYONE_READS)
            .open(path)?;
        let end = if ends_its_line(&mut file)? { "" } else { "\n" };
        // One call: lines of two processes do not mix.
        file.write_all(format!("{end}{line}\n").as_bytes())?;
        file.sync_all()?;
        sync_dir(dir_of(path))
    };
    append().map_err(FileError::io(path, "written"))
}

/// Keeps what a file holds now under its name with a date behind it, and tells that name; `None`
/// when there is no such file.
///
/// # Errors
/// [`FileError::Io`].
pub fn keep_copy(path: &Path, date: &str) -> Result<Option<PathBuf>, FileError> {
    if !fs::exists(path).map_err(FileError::io(path, "read"))? {
        return Ok(None);
    }
    let mut copy = path.as_os_str().to_owned();
    copy.push(format!(".{date}"));
    // A second copy in the same second.
    while fs::exists(&copy).map_err(FileError::io(path, "read"))? {
        copy.push("-2");
    }
    let copy = PathBuf::from(copy);
    // It keeps the mode of the file.
    fs::copy(path, &copy).map_err(FileError::io(&copy, "written"))?;
    Ok(Some(copy))
}

/// Removes a file, and tells whether there was one.
///
/// # Errors
/// [`FileError::Io`].
pub fn remove(path: &Path) -> Result<bool, FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        removed => removed.map_err(FileError::io(path, "removed"))?,
    }
    sync_dir(dir_of(path)).map_err(FileError::io(path, "removed"))?;
    Ok(true)
}

/// Gives a file another name in its directory, in the place of one that may be there.
///
/// # Errors
/// [`FileError::Io`].
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to)
        .and_then(|()| sync_dir(dir_of(to)))
        .map_err(FileError::io(from, "renamed"))
}

fn read_text(file: &mut File, path: &Path, max: u64) -> Result<String, FileError> {
    let mut text = String::new();
    let read = file.take(max + 1).read_to_string(&mut text);
    read.map_err(FileError::io(path, "read"))?;
    if text.len() as u64 > max {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
            max,
        });
    }
    Ok(text)
}

fn ends_its_line(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), FileError> {
    let file = temporary(path, text, mode)?;
    file.persist_noclobber(path).map_err(|error| {
        if error.error.kind() == io::ErrorKind::AlreadyExists {
            FileError::Exists(path.to_owned())
        } else {
            FileError::io(path, "written")(error.error)
        }
    })?;
    sync_dir(dir_of(path)).map_err(FileError::io(path, "written"))
}

fn replace(path: &Path, text: &str, mode: u32) -> Result<(), FileError> {
    let file = temporary(path, text, mode)?;
    file.persist(path)
        .map_err(|error| error.error)
        .and_then(|_| sync_dir(dir_of(path)))
        .map_err(FileError::io(path, "written"))
}

/// The whole text on disk beside its place.
fn temporary(path: &Path, text: &str, mode: u32) -> Result<NamedTempFile, FileError> {
    let write = || -> io::Result<NamedTempFile> {
        // The temporary file is born with mode 0600.
        let mut file = NamedTempFile::new_in(dir_of(path))?;
        file.write_all(text.as_bytes())?;
        fs::set_permissions(file.path(), Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    write().map_err(FileError::io(path, "written"))
}

fn dir_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// A name is on disk only with its directory.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
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
        assert!(matches!(error, FileError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn a_file_is_replaced_whole_and_its_copy_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        assert_eq!(keep_copy(&path, "now").unwrap(), None);
        replace_private(&path, "one").unwrap();
        let first = keep_copy(&path, "now").unwrap().unwrap();
        replace_private(&path, "two").unwrap();
        let second = keep_copy(&path, "now").unwrap().unwrap();
        assert_ne!(first, second);
        assert_eq!(read_private(&path).unwrap(), "two");
        assert_eq!(read_private(&first).unwrap(), "one");
        assert_eq!(mode(&first), 0o600);
        replace_public(&path, "three").unwrap();
        assert_eq!(mode(&path), 0o644);
        assert!(remove(&path).unwrap() && !remove(&path).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_line_that_was_cut_short_spoils_itself_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        assert_eq!(read_list(&path).unwrap(), "");
        append_line(&path, "one").unwrap();
        append_line(&path, "two").unwrap();
        let text = read_list(&path).unwrap();
        assert_eq!(text, "one\ntwo\n");
        fs::write(&path, &text[..5]).unwrap();
        append_line(&path, "three").unwrap();
        assert_eq!(read_list(&path).unwrap(), "one\nt\nthree\n");
    }
}
