//! The properties that the gateway keeps for devices.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::{Method, StatusCode};
use serde_json::{Map, Value as JsonValue};

use crate::codec::pson::Value;
use crate::codec::pson::json::{from_json, to_json};
use crate::device::DeviceId;
use crate::http::app::App;
use crate::http::extract::{self, Path};
use crate::http::problem::Problem;
use crate::http::resources::address::known_id;
use crate::http::routes::Routes;
use crate::store::PropertyError;

const ALL: &str = "/v3/users/{user}/devices/{device}/properties";
const ONE: &str = "/v3/users/{user}/devices/{device}/properties/{name}";

/// Adds the routes of this file.
pub fn routes(routes: Routes) -> Routes {
    routes
        .on(Method::GET, ALL, all)
        .on(Method::GET, ONE, one)
        .on(Method::PUT, ONE, put)
        .on(Method::DELETE, ONE, delete)
}

type OneOf = Path<(String, String, String)>;

async fn all(
    State(app): State<Arc<App>>,
    Path((user, device)): Path<(String, String)>,
) -> Result<Json<JsonValue>, Problem> {
    let id = device_of(&app, &user, &device)?;
    let properties = app.services.store.properties(id).await;
    let properties = properties.map_err(Problem::unavailable)?;
    let pair = |(name, value): (Box<str>, Value)| (name.into(), to_json(&value));
    let properties: Map<_, _> = properties.into_iter().map(pair).collect();
    Ok(Json(properties.into()))
}

async fn one(
    State(app): State<Arc<App>>,
    Path((user, device, name)): OneOf,
) -> Result<Json<JsonValue>, Problem> {
    let id = device_of(&app, &user, &device)?;
    let value = app.services.store.property(id, &name).await;
    let value = value.map_err(Problem::unavailable)?;
    let value = value.ok_or_else(|| no_such(&name))?;
    Ok(Json(to_json(&value)))
}

async fn put(
    State(app): State<Arc<App>>,
    Path((user, device, name)): OneOf,
    extract::Json(value): extract::Json<JsonValue>,
) -> Result<StatusCode, Problem> {
    let id = device_of(&app, &user, &device)?;
    let value = from_json(&value).map_err(|error| Problem::bad_request(error.to_string()))?;
    set(&app, id, &name, Some(value)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete(
    State(app): State<Arc<App>>,
    Path((user, device, name)): OneOf,
) -> Result<StatusCode, Problem> {
    let id = device_of(&app, &user, &device)?;
    set(&app, id, &name, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// On disk when this is `Ok`, and told to the device if it follows the property.
async fn set(
    app: &App,
    device: DeviceId,
    name: &str,
    value: Option<Value>,
) -> Result<(), PropertyError> {
    app.services
        .functions
        .set_property(device, name, value)
        .await
}

/// Also of a device that is not connected and not listed, where its name was given an ID once.
fn device_of(app: &App, user: &str, device: &str) -> Result<DeviceId, Problem> {
    let snapshot = app.services.gateway.snapshot();
    known_id(&snapshot, user, device).map_err(Problem::not_found)
}

fn no_such(name: &str) -> Problem {
    Problem::not_found(format!("the device has no property {name:?}"))
}

impl From<PropertyError> for Problem {
    fn from(error: PropertyError) -> Self {
        let status = StatusCode::from_u16(error.code());
        let status = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        Self::new(status, error.to_string())
    }
}
