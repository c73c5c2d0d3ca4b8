//! The files of the console, inside the binary.

/// One file of the console.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Without a folder.
    pub name: &'static str,
    pub content_type: &'static str,
    pub body: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

macro_rules! asset {
    ($folder:literal, $name:literal, $content_type:ident) => {
        Asset {
            name: $name,
            content_type: $content_type,
            body: include_bytes!(concat!($folder, $name)),
        }
    };
}

/// The page.
pub const INDEX: Asset = asset!("", "index.html", HTML);

/// What the page loads from `assets/`.
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

/// The file of this name.
pub fn find(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_page_is_inside() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/console");
        let files = std::fs::read_dir(folder).expect("the folder");
        let files = files.map(|file| file.expect("readable").file_name());
        let files = files.map(|name| name.into_string().expect("UTF-8"));
        let served = |name: &String| !name.ends_with(".rs") && name != "vendor";
        let files: BTreeSet<String> = files.filter(served).collect();
        let own = ASSETS.iter().map(|asset| asset.name.to_owned());
        let own = own.filter(|name| !name.starts_with("uPlot"));
        let own: BTreeSet<String> = own.chain([INDEX.name.to_owned()]).collect();
        assert_eq!(own, files);
    }

    #[test]
    fn what_a_file_names_is_served() {
        let named = ASSETS.iter().chain([&INDEX]).flat_map(|asset| {
            let text = std::str::from_utf8(asset.body).expect("UTF-8");
            let own = !asset.name.starts_with("uPlot");
            let parts = text.split('"').filter(move |_| own);
            parts.filter_map(|part| part.strip_prefix("assets/").or(part.strip_prefix("./")))
        });
        let mut count = 0;
        for name in named {
            assert!(find(name).is_some(), "{name} is named and not served");
            count += 1;
        }
        assert!(count > ASSETS.len(), "only {count} were found");
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_nothing_is_read_as_markup() {
        for asset in ASSETS.iter().chain([&INDEX]) {
            let text = std::str::from_utf8(asset.body).expect("UTF-8");
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "https://"] {
                // The library names its home in its first lines.
                let elsewhere = forbidden == "https://" && asset.name.starts_with("uPlot");
                assert!(
                    elsewhere || !text.contains(forbidden),
                    "{} has {forbidden}",
                    asset.name
                );
            }
            assert!(!text.contains("style=\""), "{} has a style inline", asset.name);
        }
    }
}
