//! Secrets on disk: sealed under the gateway's key; one in clear is taken and sealed in its place.

use std::fs;
use std::path::{Path, PathBuf};

use super::key_files::random;
use super::private_file::{FileError, read_private, replace_private, write_private};
use super::random::RandomError;
use super::seal::{NONCE_LEN, SealError, Sealer, is_sealed};

/// Why a sealed file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SealedFileError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} cannot be unsealed: {source}", path.display())]
    Seal { path: PathBuf, source: SealError },
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// What a file of ours holds.
pub enum Found {
    Sealed(Vec<u8>),
    /// Not sealed: an operator's own, or made by an older version. Whoever reads it says whether
    /// it is good; then it is sealed with [`seal_in_place`].
    Clear(String),
}

/// Reads a file that only its owner may read.
///
/// # Errors
/// [`SealedFileError`], naming the file.
pub fn read(path: &Path, purpose: &str, sealer: &Sealer) -> Result<Found, SealedFileError> {
    let text = read_private(path)?;
    if !is_sealed(&text) {
        return Ok(Found::Clear(text));
    }
    let plain = sealer.unseal(purpose, &text);
    plain.map(Found::Sealed).map_err(|source| {
        let path = path.to_owned();
        SealedFileError::Seal { path, source }
    })
}

/// Writes a new file with mode 0600.
///
/// # Errors
/// [`SealedFileError::File`], also when there is one.
pub fn write(
    path: &Path,
    purpose: &str,
    plain: &[u8],
    sealer: &Sealer,
) -> Result<(), SealedFileError> {
    Ok(write_private(path, &line(purpose, plain, sealer)?)?)
}

/// Writes a file with mode 0600 in the place of one that may be there.
///
/// # Errors
/// [`SealedFileError::File`].
pub fn replace(
    path: &Path,
    purpose: &str,
    plain: &[u8],
    sealer: &Sealer,
) -> Result<(), SealedFileError> {
    Ok(replace_private(path, &line(purpose, plain, sealer)?)?)
}

/// Seals a secret that was found in clear. A file that cannot be replaced, or that is a link to
/// somebody else's, stays as it is, with a warning: the gateway works with it all the same.
pub fn seal_in_place(path: &Path, purpose: &str, plain: &[u8], sealer: &Sealer) {
    let path_shown = path.display();
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        tracing::warn!(path = %path_shown, "a secret is not sealed: its file is a symbolic link");
        return;
    }
    match replace(path, purpose, plain, sealer) {
        Ok(()) => {
            tracing::info!(path = %path_shown, "a secret that was in clear is now sealed under the gateway's key");
        }
        Err(error) => {
            tracing::warn!(path = %path_shown, %error, "a secret stays in clear, it could not be sealed");
        }
    }
}

fn line(purpose: &str, plain: &[u8], sealer: &Sealer) -> Result<String, RandomError> {
    let nonce = random::<NONCE_LEN>()?;
    Ok(format!("{}\n", sealer.seal(purpose, plain, nonce)))
}
