//! What Prometheus gets.

use super::*;
use crate::access::Role;
use crate::metrics::{Meter, table};

#[actix_rt::test]
async fn a_scrape_is_a_viewers_and_has_the_format_of_prometheus() {
    let world = world(|setup| setup.is_open = false).await;
    assert_eq!(world.ask("GET /metrics").await.status, 401);
    let token = world.token(Role::Viewer).await;
    let answer = world.ask(&format!("GET /metrics\n{token}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let format = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(format));
    let help = table::PROCESS_OPEN_FDS.help;
    assert!(
        answer
            .body
            .contains(&format!("# HELP process_open_fds {help}")),
        "{answer:?}"
    );
    world.stop().await;
}

#[actix_rt::test]
async fn where_nothing_is_counted_a_scrape_says_so() {
    let world = world(|setup| setup.meter = Meter::off()).await;
    let answer = world.ask("GET /metrics").await;
    assert_eq!(answer.status, 404);
    assert!(answer.detail().contains("metrics.enabled"), "{answer:?}");
    world.stop().await;
}
