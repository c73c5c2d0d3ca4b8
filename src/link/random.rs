//! Fresh secret bytes from the operating system.

use rand::TryRng;
use rand::rngs::SysRng;

/// Why there are none.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random bytes: {0}")]
pub struct RandomError(rand::rngs::SysError);

/// # Errors
/// [`RandomError`].
pub fn random<const LEN: usize>() -> Result<[u8; LEN], RandomError> {
    let mut bytes = [0; LEN];
    SysRng.try_fill_bytes(&mut bytes).map_err(RandomError)?;
    Ok(bytes)
}
