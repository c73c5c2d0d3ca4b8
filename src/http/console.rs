//! The files of the console, which are inside the binary.

/// One file, as it is served at `/assets/<name>`; [`PAGE`] is served at `/`.
pub struct Asset {
    pub name: &'static str,
    pub content_type: &'static str,
    pub body: &'static [u8],
}

/// The page itself.
pub const PAGE: &str = "index.html";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// A file of the folder `console`, or of a folder in it, under its last name.
macro_rules! asset {
    ($folder:literal, $name:literal, $content_type:ident) => {
        Asset {
            name: $name,
            content_type: $content_type,
            body: include_bytes!(concat!("console/", $folder, $name)),
        }
    };
}

/// Every file.
pub const ASSETS: &[Asset] = &[
    asset!("", "access.js", SCRIPT),
    asset!("", "api.js", SCRIPT),
    asset!("", "app.js", SCRIPT),
    asset!("", "chart.js", SCRIPT),
    asset!("", "connection.js", SCRIPT),
    asset!("", "device.js", SCRIPT),
    asset!("", "dom.js", SCRIPT),
    asset!("", "events.js", SCRIPT),
    asset!("", "feed.js", SCRIPT),
    asset!("", "fleet.js", SCRIPT),
    asset!("", "icon.svg", PICTURE),
    asset!("", "index.html", HTML),
    asset!("", "order.js", SCRIPT),
    asset!("", "pending.js", SCRIPT),
    asset!("", "resources.js", SCRIPT),
    asset!("", "sse.js", SCRIPT),
    asset!("", "status.js", SCRIPT),
    asset!("", "streams.js", SCRIPT),
    asset!("", "style.css", STYLE),
    asset!("", "table.js", SCRIPT),
    asset!("", "text.js", SCRIPT),
    asset!("vendor/uplot/", "uPlot.iife.min.js", SCRIPT),
    asset!("vendor/uplot/", "uPlot.min.css", STYLE),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn text(asset: &Asset) -> &str {
        std::str::from_utf8(asset.body).expect("UTF-8")
    }

    fn own() -> impl Iterator<Item = &'static Asset> {
        ASSETS
            .iter()
            .filter(|asset| !asset.name.starts_with("uPlot"))
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/console");
        let files = std::fs::read_dir(folder).expect("the folder");
        let files = files.map(|file| file.expect("readable").file_name());
        let files = files.map(|name| name.into_string().expect("UTF-8"));
        let files: BTreeSet<String> = files.filter(|name| name != "vendor").collect();
        let served: BTreeSet<String> = own().map(|asset| asset.name.to_owned()).collect();
        assert_eq!(served, files);
    }

    #[test]
    fn every_file_that_another_names_is_served() {
        let parts = own().flat_map(|asset| text(asset).split('"'));
        let named =
            parts.filter_map(|part| part.strip_prefix("assets/").or(part.strip_prefix("./")));
        let named: BTreeSet<&str> = named.collect();
        let served: BTreeSet<&str> = ASSETS.iter().map(|asset| asset.name).collect();
        let loaded: BTreeSet<&str> = served
            .iter()
            .copied()
            .filter(|name| *name != PAGE)
            .collect();
        assert_eq!(named, loaded);
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_nothing_is_taken_for_markup() {
        for asset in ASSETS {
            for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval("] {
                assert!(!text(asset).contains(markup), "{} has {markup}", asset.name);
            }
        }
        for asset in own() {
            // The name of a kind of picture, and no address.
            let elsewhere = text(asset).replace("http://www.w3.org/2000/svg", "");
            for inline in ["://", "style=\"", "<style", "onclick=\""] {
                assert!(!elsewhere.contains(inline), "{} has {inline}", asset.name);
            }
        }
    }
}
