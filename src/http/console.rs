//! The files of the console, which are inside the binary.

/// One file, as it is served at `/assets/<name>`; [`PAGE`] is served at `/`.
pub struct Asset {
    pub name: &'static str,
    pub content_type: &'static str,
    pub body: &'static [u8],
}

/// The page itself.
pub const PAGE: &str = "index.html";

/// A file of the folder `console` under its last name.
macro_rules! asset {
    ($name:literal, $path:literal, $content_type:literal) => {
        Asset {
            name: $name,
            content_type: $content_type,
            body: include_bytes!(concat!("console/", $path)),
        }
    };
}

/// Every file.
pub const ASSETS: &[Asset] = &[asset!(
    "index.html",
    "index.html",
    "text/html; charset=utf-8"
)];
