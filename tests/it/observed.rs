//! What an operator sees: dashboards, rules and the runbook as files, and each expression of them
//! asked of a real Prometheus that scrapes a gateway with a churning fleet.

mod dashboards;
mod far;
mod play;
mod prometheus;
mod query;
mod rules;
mod series;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use gatehouse::clock;
use gatehouse::metrics::table::{self, Kind};

use self::play::{Crowd, FLEET, Play};
use self::prometheus::{Prometheus, Series};
use self::query::Query;
use crate::support::{PATIENCE, needed, run};

/// Seconds since the Unix epoch.
fn unix_now() -> u64 {
    clock::now().unix_ms / 1000
}

/// The names under which a metric of the table is scraped.
fn names() -> BTreeSet<String> {
    let names = table::all().flat_map(|metric| match metric.kind {
        Kind::Histogram(_) => ["_bucket", "_sum", "_count"]
            .map(|end| format!("{}{end}", metric.name))
            .to_vec(),
        _ => vec![metric.name.to_owned()],
    });
    names.collect()
}

/// Everything that is asked: by dashboards, and by rules.
fn queries() -> Vec<Query> {
    let dashboards = dashboards::all();
    let panels = dashboards.iter().flat_map(dashboards::Dashboard::queries);
    let rules = rules::all();
    panels.chain(rules.iter().map(rules::Rule::query)).collect()
}

#[test]
fn dashboards_and_rules_name_metrics_that_there_are() {
    let known = names();
    let rules = rules::all();
    let recorded: BTreeSet<_> = rules.iter().map(|rule| rule.name.as_str()).collect();
    for query in queries() {
        for name in query.metrics() {
            let is_there =
                known.contains(name) || recorded.contains(name) || matches!(name, "up" | "ALERTS");
            assert!(is_there, "{}: there is no {name}", query.place);
        }
    }
}

/// Expressions that may give nothing here, each with its reason: `place | reason`.
fn may_be_empty() -> BTreeMap<&'static str, &'static str> {
    let lines = include_str!("observed/may_be_empty.txt").lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let split = |line: &'static str| line.split_once(" | ").expect("`place | reason`");
    lines.map(split).collect()
}

/// Asks until each expression gave something, and says which never did.
async fn without_data(prometheus: &Prometheus, queries: &[Query], since: u64) -> BTreeSet<String> {
    let expected = may_be_empty();
    let (mut missing, begun): (Vec<_>, _) = (queries.iter().collect(), Instant::now());
    loop {
        let mut still = Vec::new();
        for query in missing {
            let asked = query.asked("4s");
            if !prometheus.ever(&asked, since).await {
                still.push(query);
            }
        }
        missing = still;
        let waits_for = |query: &&&Query| !expected.contains_key(query.place.as_str());
        if missing.iter().filter(waits_for).count() == 0 || begun.elapsed() > PATIENCE {
            return missing.iter().map(|query| query.place.clone()).collect();
        }
        prometheus.next_scrape().await;
    }
}

/// `promtool check metrics` has no complaint about what a gateway says.
fn is_well_formed(scrape: &str) {
    let Some(promtool) = needed::program("promtool", &["--version"], "promtool") else {
        return;
    };
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    let mut input = check.stdin.take().expect("piped");
    input.write_all(scrape.as_bytes()).expect("it reads");
    drop(input);
    let output = check.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// Waits until these alerts fire.
async fn until_firing(prometheus: &Prometheus, wanted: &[&str]) {
    let begun = Instant::now();
    loop {
        let firing = prometheus.firing().await;
        if wanted
            .iter()
            .all(|one| firing.iter().any(|other| other == one))
        {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{wanted:?}, and only {firing:?} fire"
        );
        prometheus.next_scrape().await;
    }
}

/// Waits until the dashboards show the fleet as it is, and the gateway lists it so. All figures
/// together: while devices come and go, one alone may be right by chance.
async fn the_fleet_is_shown_whole(play: &Play, prometheus: &Prometheus) {
    let dashboards = dashboards::all();
    // The one that asks is no part of the fleet, and nobody finds the one that is absent.
    let (whole, absent) = (FLEET + 1, 1);
    let of_all = |place, count: usize| (place, None, count);
    let of_link = |link, count| {
        let place = "Gatehouse: fleet / Sessions by link / A";
        (place, Some(link), count)
    };
    let expected = [
        of_all("Gatehouse: fleet / Devices connected / A", whole),
        of_link("aes", 400),
        of_link("tls", 60),
        of_link("plain", 41),
        of_all("Gatehouse: fleet / Not connected / A", absent),
        of_all("Gatehouse: fleet / Devices by status / A", whole + absent),
        of_all(
            "Gatehouse: fleet / Devices by who dials and origin / A",
            whole + absent,
        ),
        of_all(
            "Gatehouse: links and TLS / Sessions by link and proof / A",
            whole,
        ),
    ];
    let begun = Instant::now();
    loop {
        let mut wrong = Vec::new();
        for (place, link, count) in expected {
            let query = Query {
                place: place.to_owned(),
                expression: dashboards::panel(&dashboards, place),
                is_watch: false,
            };
            let shown = prometheus.query(&query.substituted("4s")).await;
            let is_asked = |series: &&Series| link.is_none_or(|link| series.labels["link"] == link);
            let sum: f64 = shown
                .iter()
                .filter(is_asked)
                .map(|series| series.value)
                .sum();
            if sum != count as f64 {
                wrong.push(format!("{place}: {sum} and not {count}: {shown:?}"));
            }
        }
        let listed = play.connected().await;
        if wrong.is_empty() && listed == whole {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{listed} are listed as connected; {wrong:#?}"
        );
        prometheus.next_scrape().await;
    }
}

/// Draws each dashboard from the same answers.
fn draw(prometheus: &Prometheus, since: u64) {
    let Some(python) = needed::python("matplotlib") else {
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboards");
    std::fs::create_dir_all(&pictures).expect("a folder");
    let status = Command::new(python)
        .arg(root.join("tests/python/dashboards.py"))
        .arg(format!("http://{}", prometheus.address))
        .args([since, unix_now() + 1].map(|time| time.to_string()))
        .arg(&pictures)
        .args(dashboards::all().iter().map(|one| &one.path))
        .status();
    assert!(status.expect("Python runs").success());
    // Those that documents show are refreshed only when somebody asks for it.
    if std::env::var_os("GATEHOUSE_PICTURES").is_some() {
        let docs = root.join("docs/dashboards");
        std::fs::create_dir_all(&docs).expect("a folder");
        for dashboard in dashboards::all() {
            let name = dashboard.path.with_extension("png");
            let name = name.file_name().expect("a name");
            std::fs::copy(pictures.join(name), docs.join(name)).expect("copied");
        }
    }
}

#[test]
fn grafanas_own_model_has_a_place_for_all_that_dashboards_say() {
    let Some(python) = needed::python("grafana_foundation_sdk") else {
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/grafana_model.py");
    let read = |dashboards: &[PathBuf]| {
        let mut command = Command::new(&python);
        let output = command.arg(&script).args(dashboards).output();
        let output = output.expect("Python runs");
        let told = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&told).into_owned(),
        )
    };
    let paths: Vec<_> = dashboards::all().into_iter().map(|one| one.path).collect();
    let (is_whole, told) = read(&paths);
    assert!(is_whole, "{told}");
    // It would have been told.
    let misspelt = tempfile::NamedTempFile::new().expect("a file");
    let text = std::fs::read_to_string(&paths[0]).expect("a dashboard");
    std::fs::write(&misspelt, text.replace("\"fieldConfig\"", "\"fieldConfg\"")).expect("written");
    let (is_whole, told) = read(&[misspelt.path().to_owned()]);
    assert!(!is_whole && told.contains(".fieldConfg is lost"), "{told}");
}

#[test]
fn every_panel_and_every_rule_shows_something_of_a_live_fleet() {
    let Some(program) = prometheus::program() else {
        return;
    };
    run(async {
        let mut play = Play::start().await;
        let mut crowd = Crowd::gather().await;
        let prometheus = Prometheus::start(&program, &[play.gateway.http, crowd.gateway.http]);
        prometheus.ready().await;
        let churning = play.fleet(&["--churn", "20s"]).await;
        let bad = play.bad();
        play.clients().await;
        play.gateway.hang_up();
        // Prometheus takes some seconds to its first one.
        prometheus.next_scrape().await;
        let since = unix_now();

        let queries = queries();
        let missing = without_data(&prometheus, &queries, since).await;
        let expected = may_be_empty();
        let expected: BTreeSet<_> = expected.into_keys().map(str::to_owned).collect();
        assert_eq!(missing, expected, "these gave nothing, and these were to");
        assert!(
            expected.len() * 20 <= queries.len(),
            "too many may be empty"
        );

        until_firing(&prometheus, &FIRE).await;
        drop((churning, bad));
        let _steady = play.fleet(&[]).await;
        the_fleet_is_shown_whole(&play, &prometheus).await;
        is_well_formed(&play.scrape().await);
        crowd.gateway.kill();
        until_firing(&prometheus, &["GatehouseDown"]).await;
        draw(&prometheus, since);
        play.end().await;
    });
}

/// What such a fleet and such a crowd bring to fire.
const FIRE: [&str; 4] = [
    "GatehouseAcceptHeld",
    "GatehouseKeepAliveLosses",
    "GatehouseReconnectStorm",
    "GatehouseSubscriberConflation",
];
