//! The first admin token: whoever can read the gateway's data directory owns the gateway, so it is
//! written there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::access::tokens::{RANDOM_BYTES, TokenText, digest};
use crate::callers::credentials::{Credentials, TokensError};
use crate::link::private_file::{FileError, read_private, write_private};

/// Its file in the data directory.
pub const FILE: &str = "admin.token";
/// Its name among the tokens.
pub const NAME: &str = "first-admin";
/// The file until the token is stored.
const UNFINISHED: &str = "admin.token.new";

/// Why there is no first token.
#[derive(Debug, thiserror::Error)]
pub enum FirstTokenError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the first admin token was not made: {0}")]
    Token(#[from] TokensError),
}

/// Makes the first admin token and writes it to `admin.token`, if there is no token at all and no
/// such file: at the first start, or when every token was revoked and the file taken away. Gives
/// back the path when it did.
///
/// A stop at any instant leaves either nothing that counts, or a token and its file.
///
/// # Errors
/// [`FirstTokenError`].
pub async fn ensure(
    credentials: &Credentials,
    data_dir: &Path,
    random: &[u8; RANDOM_BYTES],
) -> Result<Option<PathBuf>, FirstTokenError> {
    let (file, unfinished) = (data_dir.join(FILE), data_dir.join(UNFINISHED));
    if unfinished.exists() {
        let text = read_private(&unfinished)?;
        let tokens = credentials.tokens();
        let made = tokens.get(NAME).map(|token| token.stored.digest);
        if made == Some(digest(text.trim_end())) {
            rename(&unfinished, &file)?;
            return Ok(Some(file));
        }
        fs::remove_file(&unfinished).map_err(FileError::io(&unfinished, "removed"))?;
    }
    if file.exists() || !credentials.tokens().is_empty() {
        return Ok(None);
    }
    let text = TokenText::new(random);
    write_private(&unfinished, &format!("{}\n", text.as_str()))?;
    credentials.create_admin(NAME, random).await?;
    rename(&unfinished, &file)?;
    Ok(Some(file))
}

fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    let named = fs::rename(from, to);
    let dir = to.parent().unwrap_or(Path::new("."));
    // The name is on disk only with its directory.
    named
        .and_then(|()| File::open(dir)?.sync_all())
        .map_err(FileError::io(to, "written"))
}
