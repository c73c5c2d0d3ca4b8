//! The buckets that devices write to.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::{Method, StatusCode};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value as JsonValue;

use crate::codec::pson::json::to_json;
use crate::device::DeviceId;
use crate::http::app::App;
use crate::http::extract::{Path, Query};
use crate::http::fleet_view::owner;
use crate::http::problem::Problem;
use crate::http::routes::Routes;
use crate::registry::snapshot::Snapshot;
use crate::store::bucket::POINTS_MAX;
use crate::store::{BucketInfo, BucketName, Point, Range};

const ALL: &str = "/v3/users/{user}/buckets";
const ONE: &str = "/v3/users/{user}/buckets/{bucket}";
const DATA: &str = "/v3/users/{user}/buckets/{bucket}/data";
/// Points in an answer that says no number.
const ITEMS: usize = 1000;

/// Adds the routes of this file.
pub fn routes(routes: Routes) -> Routes {
    routes
        .on(Method::GET, ALL, all)
        .on(Method::GET, DATA, data)
        .on(Method::DELETE, ONE, delete)
}

#[derive(Serialize)]
struct Shown {
    bucket: Box<str>,
    points: u64,
    first_ts: u64,
    last_ts: u64,
}

#[derive(Serialize)]
struct ShownPoint {
    ts: u64,
    device: String,
    val: JsonValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    items: Option<usize>,
    from: Option<u64>,
    until: Option<u64>,
    #[serde(default)]
    sort: Sort,
    /// What lets the caller in may stand beside them.
    #[serde(rename = "authorization")]
    _authorization: Option<IgnoredAny>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sort {
    Asc,
    #[default]
    Desc,
}

async fn all(
    State(app): State<Arc<App>>,
    Path(user): Path<String>,
) -> Result<Json<Vec<Shown>>, Problem> {
    let buckets = app.services.store.buckets(owner(&user)).await;
    let buckets = buckets.map_err(Problem::unavailable)?;
    Ok(Json(buckets.into_iter().map(Shown::from).collect()))
}

async fn data(
    State(app): State<Arc<App>>,
    Path((user, bucket)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Json<Vec<ShownPoint>>, Problem> {
    let name = bucket_of(&user, &bucket)?;
    let points = app.services.store.points(name, range(&asked)?).await;
    let points = points.map_err(Problem::unavailable)?;
    Ok(Json(shown(points, &app.services.gateway.snapshot())))
}

async fn delete(
    State(app): State<Arc<App>>,
    Path((user, bucket)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let name = bucket_of(&user, &bucket)?;
    let deleted = app.services.store.delete_bucket(name).await;
    deleted?;
    Ok(StatusCode::NO_CONTENT)
}

fn bucket_of(user: &str, bucket: &str) -> Result<BucketName, Problem> {
    let name = BucketName {
        owner: owner(user).into(),
        name: bucket.into(),
    };
    if name.is_valid() {
        return Ok(name);
    }
    Err(Problem::bad_request(format!(
        "{bucket:?} of {user:?} names no bucket: each is 1 to 64 characters, none of them a control \
         character"
    )))
}

fn range(asked: &Asked) -> Result<Range, Problem> {
    let max = asked.items.unwrap_or(ITEMS);
    if !(1..=POINTS_MAX).contains(&max) {
        let detail = format!("\"items\" is {max}; it is a number from 1 to {POINTS_MAX}");
        return Err(Problem::bad_request(detail));
    }
    Ok(Range {
        from_unix_ms: asked.from.unwrap_or(0),
        until_unix_ms: asked.until.unwrap_or(u64::MAX),
        max,
        newest_first: asked.sort == Sort::Desc,
    })
}

fn shown(points: Vec<Point>, snapshot: &Snapshot) -> Vec<ShownPoint> {
    let mut names: HashMap<DeviceId, String> = HashMap::new();
    let point = |point: Point| {
        let name = names.entry(point.device);
        ShownPoint {
            ts: point.unix_ms,
            device: name
                .or_insert_with(|| name_of(point.device, snapshot))
                .clone(),
            val: to_json(&point.value),
        }
    };
    points.into_iter().map(point).collect()
}

/// The name of a device within its owner's.
fn name_of(id: DeviceId, snapshot: &Snapshot) -> String {
    let listed = snapshot.devices.get(&id);
    if let Some(identity) = listed.and_then(|view| view.identity.as_ref()) {
        return identity.device.to_string();
    }
    let mut named = snapshot.names.iter();
    let named = named.find(|(_, named)| **named == id);
    named.map_or_else(
        || id.to_string(),
        |(identity, _)| identity.device.to_string(),
    )
}

impl From<BucketInfo> for Shown {
    fn from(info: BucketInfo) -> Self {
        Self {
            bucket: info.name,
            points: info.points,
            first_ts: info.first_unix_ms,
            last_ts: info.last_unix_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::codec::pson::Value;
    use crate::identity::Identity;

    fn asked(query: &str) -> Result<Range, String> {
        let uri = format!("/?{query}").parse().expect("a target");
        let asked = axum::extract::Query::<Asked>::try_from_uri(&uri);
        let asked = asked.map_err(|error| error.body_text())?;
        range(&asked).map_err(|problem| problem.detail.into_owned())
    }

    #[test]
    fn a_range_is_asked_for() {
        let all = Range {
            from_unix_ms: 0,
            until_unix_ms: u64::MAX,
            max: ITEMS,
            newest_first: true,
        };
        assert_eq!(asked(""), Ok(all));
        let some = Range {
            from_unix_ms: 5,
            until_unix_ms: 9,
            max: 3,
            newest_first: false,
        };
        assert_eq!(
            asked("items=3&from=5&until=9&sort=asc&authorization=x"),
            Ok(some)
        );
        for (query, named) in [
            ("items=0", "from 1 to 10000"),
            ("items=10001", "from 1 to 10000"),
            ("items=x", "items"),
            ("from=-1", "from"),
            ("sort=up", "asc"),
            ("limit=3", "limit"),
        ] {
            let error = asked(query).expect_err(query);
            assert!(error.contains(named), "{query}: {error}");
        }
    }

    #[test]
    fn points_tell_the_name_of_their_device() {
        let id = |id| DeviceId::new(id).expect("above zero");
        let mut snapshot = Snapshot::default();
        let away = Identity::new("anna", "door").expect("a name");
        snapshot.names.insert(away, id(0xC000_0001));
        let point = |device, unix_ms| Point {
            unix_ms,
            device: id(device),
            value: Value::Float(20.5),
        };
        let shown = shown(vec![point(0xC000_0001, 1), point(7, 2)], &snapshot);
        assert_eq!(
            serde_json::to_value(shown).expect("JSON"),
            json!([
                {"ts": 1, "device": "door", "val": 20.5},
                {"ts": 2, "device": "7", "val": 20.5},
            ])
        );
    }

    #[test]
    fn a_bucket_has_a_name() {
        assert!(bucket_of("~", "log").is_ok());
        assert!(bucket_of("anna", "a b").is_ok());
        for (user, bucket) in [("~", "\n"), ("\u{7}", "log")] {
            assert!(bucket_of(user, bucket).is_err());
        }
    }
}
