//! Serves the files of the console.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use sha2::{Digest, Sha256};

use crate::http::console::{ASSETS, Asset, PAGE};
use crate::http::extract::Path;
use crate::http::problem::Problem;
use crate::http::routes::Routes;

/// By name, each with the tag that changes with its bytes.
static BY_NAME: LazyLock<HashMap<&str, (&Asset, String)>> = LazyLock::new(|| {
    let tagged = |asset: &'static Asset| (asset.name, (asset, tag(asset.body)));
    ASSETS.iter().map(tagged).collect()
});

/// Adds the routes of this file.
pub fn routes(routes: Routes) -> Routes {
    routes
        .on(Method::GET, "/", page)
        .on(Method::GET, "/assets/{file}", asset)
}

async fn page(headers: HeaderMap) -> Result<Response, Problem> {
    serve(PAGE, &headers)
}

async fn asset(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    serve(&file, &headers)
}

/// A browser asks each time whether its copy is still good, so that a page never meets scripts of
/// another version.
fn serve(name: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let found = BY_NAME.get(name);
    let missing = || Problem::not_found(format!("the console has no file {name:?}"));
    let (asset, tag) = found.ok_or_else(missing)?;
    let known = headers.get_all(IF_NONE_MATCH).iter();
    let is_known = known.filter_map(|known| known.to_str().ok()).any(|known| {
        let mut tags = known.split(',').map(str::trim);
        tags.any(|known| known == "*" || known.trim_start_matches("W/") == tag)
    });
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        asset.body.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(ETAG, tag);
    }
    Ok(response)
}

fn tag(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    format!("\"{}\"", hex::encode(&digest[..16]))
}
