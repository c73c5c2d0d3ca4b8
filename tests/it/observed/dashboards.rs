//! The dashboards as they are on disk.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::query::Query;

pub struct Dashboard {
    pub path: PathBuf,
    pub text: String,
    pub json: Json,
}

/// Every dashboard, by name.
pub fn all() -> Vec<Dashboard> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/dashboards");
    let entries = fs::read_dir(folder).expect("dashboards");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("text");
        let json = serde_json::from_str(&text);
        let json = json.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Dashboard { path, text, json }
    };
    paths.into_iter().map(read).collect()
}

impl Dashboard {
    pub fn title(&self) -> &str {
        self.json["title"].as_str().expect("a title")
    }

    pub fn panels(&self) -> &[Json] {
        self.json["panels"].as_array().expect("panels")
    }

    /// Everything that is asked of Prometheus: by panels, and for annotations.
    pub fn queries(&self) -> Vec<Query> {
        let mut queries = Vec::new();
        for panel in self.panels() {
            for target in list(&panel["targets"]) {
                let place = [
                    self.title(),
                    &text(&panel["title"]),
                    &text(&target["refId"]),
                ];
                queries.push(Query {
                    place: place.join(" / "),
                    expression: text(&target["expr"]),
                    is_watch: false,
                });
            }
        }
        for annotation in list(&self.json["annotations"]["list"]) {
            if annotation["builtIn"] != 1 {
                queries.push(Query {
                    place: format!(
                        "{} / annotation {}",
                        self.title(),
                        text(&annotation["name"])
                    ),
                    expression: text(&annotation["expr"]),
                    is_watch: true,
                });
            }
        }
        queries
    }
}

/// The expression of a panel with one target, by its title.
pub fn panel(dashboards: &[Dashboard], place: &str) -> String {
    let queries = dashboards.iter().flat_map(Dashboard::queries);
    let mut found = queries.filter(|query| query.place == place);
    found
        .next()
        .unwrap_or_else(|| panic!("no {place}"))
        .expression
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

fn text(json: &Json) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

/// Where a panel lies.
fn cells(panel: &Json) -> impl Iterator<Item = (u64, u64)> {
    let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
    let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
    assert!(x + w <= 24, "{} leaves the grid", panel["title"]);
    assert!(w > 0 && h > 0, "{} is empty", panel["title"]);
    (x..x + w).flat_map(move |x| (y..y + h).map(move |y| (x, y)))
}

/// Written as one dashboard is, so that a change of one line is a difference of one line.
fn tidy(json: &Json) -> String {
    let mut sorted = json.clone();
    sorted.sort_all_objects();
    format!("{sorted:#}\n")
}

#[test]
fn dashboards_are_tidy() {
    let dashboards = all();
    let mut uids = BTreeSet::new();
    assert!(dashboards.len() >= 5);
    for dashboard in &dashboards {
        let (path, json) = (dashboard.path.display(), &dashboard.json);
        if std::env::var_os("GATEHOUSE_BLESS").is_some() {
            fs::write(&dashboard.path, tidy(json)).expect("written");
        } else {
            let hint = "GATEHOUSE_BLESS=1 cargo test --test it dashboards_are_tidy writes it anew";
            assert_eq!(dashboard.text, tidy(json), "{path} is not tidy; {hint}");
        }
        let uid = text(&json["uid"]);
        assert!(uid.starts_with("gatehouse-") && uids.insert(uid), "{path}");
        assert_eq!(json["tags"][0], "gatehouse", "{path}");
        assert!(json["id"].is_null(), "{path}: an ID is the database's");
        let variables = list(&json["templating"]["list"]);
        let names: Vec<_> = variables.iter().map(|one| text(&one["name"])).collect();
        assert_eq!(names, ["datasource", "instance"], "{path}");
        assert_eq!(variables[1]["multi"], true, "{path}");
        assert_eq!(variables[1]["includeAll"], true, "{path}");
        assert!((8..=18).contains(&dashboard.panels().len()), "{path}");
        let (mut ids, mut titles, mut taken) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for panel in dashboard.panels() {
            let title = text(&panel["title"]);
            assert!(!title.is_empty() && titles.insert(title.clone()), "{path}");
            let id = panel["id"].as_u64().expect("a number");
            assert!(ids.insert(id), "{path}, {title}: its ID is there twice");
            assert!(
                text(&panel["description"]).ends_with('.'),
                "{path}, {title}"
            );
            let unit = text(&panel["fieldConfig"]["defaults"]["unit"]);
            assert!(!unit.is_empty(), "{path}, {title} has no unit");
            for cell in cells(panel) {
                assert!(taken.insert(cell), "{path}, {title} lies on another");
            }
            assert_eq!(
                panel["datasource"]["uid"], "${datasource}",
                "{path}, {title}"
            );
            assert!(!list(&panel["targets"]).is_empty(), "{path}, {title}");
            for target in list(&panel["targets"]) {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            }
        }
        for query in dashboard.queries() {
            for selector in query.selectors() {
                let is_chosen = selector.contains("instance=~\"$instance");
                assert!(is_chosen, "{}: {selector} is of every gateway", query.place);
            }
        }
    }
}
