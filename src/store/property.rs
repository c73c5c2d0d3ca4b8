//! Properties: values that the gateway keeps for a device, each under a name.

/// The longest name of a property or a bucket, in characters.
pub const NAME_MAX: usize = 64;

/// Why a property was not changed; nothing was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    #[error("the device has {0} properties already, which is as many as one may have")]
    TooMany(usize),
    #[error("the value has {bytes} bytes; a property has {max} at most")]
    TooLarge { bytes: usize, max: usize },
    #[error(
        "the property's name is not 1 to {NAME_MAX} characters, or has a control character in it"
    )]
    BadName,
    /// The disk refuses, too much waits for it, or the store is closed.
    #[error("the property was not stored: {0}")]
    NotStored(String),
}

/// Whether a property or a bucket can have this name: 1 to [`NAME_MAX`] characters, none of them a
/// control character.
pub fn is_name(name: &str) -> bool {
    let length = name.chars().take(NAME_MAX + 1).count();
    (1..=NAME_MAX).contains(&length) && !name.chars().any(char::is_control)
}
