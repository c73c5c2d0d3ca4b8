//! The fleet: devices by their owner, and all of them for the console.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::FutureExt;
use futures_util::stream::{self, Stream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::callers::guard::Pass;
use crate::handle::Gateway;
use crate::http::app::App;
use crate::http::extract::{Path, Query, device_id};
use crate::http::fleet_view::{self, DeviceJson, PAGE_DEFAULT, PAGE_MAX, PageJson};
use crate::http::lease::{Lease, Over};
use crate::http::problem::Problem;
use crate::http::resources::address::find;
use crate::http::routes::Routes;
use crate::metrics::Counted;
use crate::registry::Command;
use crate::registry::hub::Subscription;
use crate::registry::snapshot::Snapshot;
use crate::registry::watch::{Item, Need, Watch};

/// How many events wait for a client before they are conflated.
const QUEUE_MAX: usize = 4096;
/// Devices that are made JSON at a time.
const PORTION: usize = 256;
/// After how long without an event a comment is sent.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Adds the routes of this file.
pub fn routes(routes: Routes) -> Routes {
    routes
        .on(Method::GET, "/v3/users/{user}/devices", devices)
        .on(Method::GET, "/v3/users/{user}/devices/{device}", device)
        .on(Method::GET, "/v3/fleet", fleet)
        .on(Method::GET, "/v3/fleet/{id}", by_id)
        .on(Method::GET, "/v3/fleet/events", events)
        .on(Method::POST, "/v3/fleet/{id}/retry", retry)
        .on(Method::POST, "/v3/fleet/{id}/disconnect", disconnect)
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    after: u32,
    limit: Option<usize>,
}

async fn devices(
    State(app): State<Arc<App>>,
    Path(user): Path<String>,
    Query(page): Query<Page>,
) -> Json<PageJson> {
    let limit = page.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let snapshot = app.services.gateway.snapshot();
    let owner = fleet_view::owner(&user);
    Json(fleet_view::page(&snapshot, owner, page.after, limit))
}

async fn device(
    State(app): State<Arc<App>>,
    Path((user, device)): Path<(String, String)>,
) -> Result<Json<DeviceJson>, Problem> {
    let snapshot = app.services.gateway.snapshot();
    let view = find(&snapshot, &user, &device).map_err(Problem::not_found)?;
    Ok(Json(fleet_view::device(view)))
}

async fn by_id(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<DeviceJson>, Problem> {
    let id = device_id(&id)?;
    let snapshot = app.services.gateway.snapshot();
    let view = snapshot.devices.get(&id);
    let view = view.ok_or_else(|| Problem::unknown_device(id))?;
    Ok(Json(fleet_view::device(view)))
}

/// The whole list in portions, so that a large fleet is never in memory as text.
async fn fleet(State(app): State<Arc<App>>) -> Response {
    let snapshot = app.services.gateway.snapshot();
    let number = snapshot.event_number;
    let head = format!("{{\"event_number\":{number},\"devices\":[\n");
    let mut devices = snapshot.devices.clone().into_iter();
    let mut is_first = true;
    let portions = std::iter::from_fn(move || {
        let mut text = String::new();
        for (_, view) in devices.by_ref().take(PORTION) {
            if !std::mem::take(&mut is_first) {
                text.push_str(",\n");
            }
            text.push_str(&json_text(&fleet_view::device(&view)));
        }
        (!text.is_empty()).then_some(text)
    });
    let parts = std::iter::once(head).chain(portions);
    let parts = parts.chain(std::iter::once("]}\n".to_owned()));
    let parts = parts.map(|text| Ok::<_, Infallible>(Bytes::from(text)));
    let mut response = Body::from_stream(stream::iter(parts)).into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

async fn retry(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let id = device_id(&id)?;
    let gateway = &app.services.gateway;
    gateway.command(Command::RetryNow(vec![id])).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn disconnect(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = device_id(&id)?;
    let gateway = &app.services.gateway;
    if !gateway.snapshot().devices.contains_key(&id) {
        return Err(Problem::unknown_device(id));
    }
    gateway.command(Command::Disconnect(vec![id])).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct After {
    after: Option<u64>,
}

async fn events(
    State(app): State<Arc<App>>,
    Extension(pass): Extension<Pass>,
    Query(query): Query<After>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // A browser that comes back repeats the URL of before, and says here what it has seen since.
    let after = match headers.get("last-event-id") {
        Some(seen) => Some(last_event_id(seen)?),
        None => query.after,
    };
    let subscription = app.services.gateway.subscribe(QUEUE_MAX)?;
    let position = subscription.position();
    let follower = Follower {
        opened: Some(after.unwrap_or(position)),
        watch: match after {
            Some(after) => Watch::resume(position, after),
            None => Watch::from_now(position),
        },
        gap: None,
        subscription,
        gateway: app.services.gateway.clone(),
        lease: app.lease(&pass),
        _open: app.counts.event_stream(),
    };
    let heartbeat = KeepAlive::new().interval(HEARTBEAT);
    Ok(Sse::new(follower.run())
        .keep_alive(heartbeat)
        .into_response())
}

fn last_event_id(seen: &HeaderValue) -> Result<u64, Problem> {
    let number = seen.to_str().ok().and_then(|seen| seen.parse().ok());
    number.ok_or_else(|| Problem::bad_request("Last-Event-ID is no number of an event"))
}

/// One client that follows the events. Dropping it frees the subscriber's place.
struct Follower {
    /// The number from which on it follows, until it was told.
    opened: Option<u64>,
    watch: Watch,
    /// The numbers that are lost, until it is known how far the list reaches that makes up for
    /// them.
    gap: Option<(u64, u64)>,
    subscription: Subscription,
    gateway: Gateway,
    lease: Lease,
    _open: Counted,
}

impl Follower {
    fn run(self) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        stream::unfold(Some(self), |follower| async {
            let mut follower = follower?;
            match follower.next().await {
                Ok(event) => Some((Ok(event), Some(follower))),
                Err(why) => Some((Ok(end(&why)), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Event, String> {
        if let Some(number) = self.opened.take() {
            return Ok(told("open", number, &json!({ "number": number })));
        }
        loop {
            while let Some(item) = self.watch.poll_output() {
                if let Some(event) = self.event(item) {
                    return Ok(event);
                }
            }
            match self.watch.need() {
                Need::Snapshot => self.watch.handle_snapshot(&self.gateway.snapshot()),
                Need::History { after, until } => {
                    let history = self.gateway.events(after, until).await;
                    let history = history
                        .map_err(|error| format!("the event log cannot be read: {error}"))?;
                    self.watch.handle_history(history);
                }
                Need::Delivery => {
                    let delivery = tokio::select! {
                        biased;
                        // What waits when the gateway stops is told before the end is.
                        over = self.lease.over() => match (&over, self.subscription.next().now_or_never()) {
                            (Over::Stopping, Some(Some(delivery))) => Some(delivery),
                            _ => return Err(over.to_string()),
                        },
                        delivery = self.subscription.next() => delivery,
                    };
                    let delivery = delivery.ok_or_else(|| Over::Stopping.to_string())?;
                    self.watch.handle_delivery(delivery);
                }
            }
        }
    }

    /// A gap is told with the number up to which the list is whole; the client asks for the list.
    fn event(&mut self, item: Item) -> Option<Event> {
        match item {
            Item::Gap { from, to } => self.gap = Some((from, to)),
            Item::SnapshotBegin(_) | Item::Device(_) => {}
            Item::SnapshotEnd(number) => {
                let (from, to) = self.gap.take()?;
                return Some(told("gap", number, &json!({ "from": from, "to": to })));
            }
            Item::Event(delivery) => {
                let snapshot: Arc<Snapshot> = self.gateway.snapshot();
                let view = snapshot.devices.get(&delivery.event.device);
                let data = fleet_view::event(&delivery, view.map(AsRef::as_ref));
                return Some(told("status", delivery.event.number, &data));
            }
        }
        None
    }
}

fn told(name: &str, number: u64, data: &impl Serialize) -> Event {
    let event = Event::default().event(name).id(number.to_string());
    event.data(json_text(data))
}

/// What is made here has no maps with odd keys, so that it can always be written.
fn json_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn end(why: &str) -> Event {
    let data = json!({ "detail": why });
    Event::default().event("end").data(data.to_string())
}
