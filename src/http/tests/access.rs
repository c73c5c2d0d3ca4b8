//! Who may ask what.

use super::*;
use crate::http::rules::{RULES, Rule};

/// A request for a route, with something for each parameter.
fn request(rule: &Rule) -> String {
    let mut path = rule.path.to_owned();
    while let Some((before, rest)) = path.split_once('{') {
        let (_, after) = rest.split_once('}').expect("a parameter");
        path = format!("{before}7{after}");
    }
    format!("{} {path}", rule.method)
}

#[test]
fn the_router_serves_what_the_table_holds() {
    let routes = routes::all();
    let mut served: Vec<(&str, &str)> = routes
        .served()
        .iter()
        .map(|(method, path)| (method.as_str(), *path))
        .collect();
    let mut rules: Vec<_> = RULES.iter().map(|rule| (rule.method, rule.path)).collect();
    served.sort_unstable();
    rules.sort_unstable();
    assert_eq!(served, rules);
}

#[actix_rt::test]
async fn each_route_wants_its_role() {
    let world = world(|setup| setup.is_open = false).await;
    let mut shown = vec![
        (None, String::new()),
        (None, "authorization: Bearer gh_no".to_owned()),
    ];
    for role in Role::ALL {
        shown.push((Some(role), world.token(role).await));
    }
    for rule in RULES {
        for (role, header) in &shown {
            let line = request(rule);
            let request = format!("{line} HTTP/1.1\nhost: localhost\nconnection: close\n{header}");
            let status = world.send(&request).await.status().await;
            match (rule.needs, role) {
                (None, _) => assert!(![401, 403].contains(&status), "{line} {status}"),
                (Some(_), None) => assert_eq!(status, 401, "{line}"),
                (Some(needs), Some(role)) if *role < needs => {
                    assert_eq!(status, 403, "{line} {role}");
                }
                (Some(_), Some(role)) => {
                    assert!(![401, 403].contains(&status), "{line} {role} {status}");
                }
            }
        }
    }
    let unknown = world.ask("GET /v3/nothing").await;
    assert_eq!(
        unknown.status, 401,
        "strangers learn nothing of what is served"
    );
    assert_eq!(unknown.header("www-authenticate"), Some("bearer"));
    assert_eq!(world.ask("DELETE /v3/fleet").await.status, 401);
    world.stop().await;
}

#[actix_rt::test]
async fn loopback_is_an_operator_unless_it_shows_something_else() {
    let world = world(|_| {}).await;
    let viewer = world.token(Role::Viewer).await;
    let me = world.ask("GET /v3/whoami").await.json();
    assert_eq!(
        (&me["name"], &me["role"]),
        (&"anonymous".into(), &"operator".into())
    );
    let me = world.ask(&format!("GET /v3/whoami\n{viewer}")).await.json();
    assert_eq!(
        (&me["name"], &me["role"]),
        (&"token viewer".into(), &"viewer".into())
    );
    assert_eq!(
        world
            .ask("GET /v3/whoami\nauthorization: Bearer gh_no")
            .await
            .status,
        401
    );
    assert_eq!(world.ask("POST /v3/pending/7/approve").await.status, 403);
    world.stop().await;
}

#[actix_rt::test]
async fn a_ticket_opens_one_stream() {
    let world = world(|setup| setup.is_open = false).await;
    let viewer = world.token(Role::Viewer).await;
    let made = world
        .ask(&format!("POST /v3/tickets\n{viewer}"))
        .await
        .json();
    assert_eq!(made["expires_in"], 30);
    let ticket = made["ticket"].as_str().expect("a ticket");
    let whoami = world.ask(&format!("GET /v3/whoami?ticket={ticket}")).await;
    assert_eq!(whoami.status, 401, "it is for streams");
    let plain = world
        .ask(&format!("GET /v3/fleet/events?ticket={ticket}"))
        .await;
    assert_eq!(plain.status, 401, "it is for who asks for a stream");
    let stream = format!(
        "GET /v3/fleet/events?ticket={ticket} HTTP/1.1\nhost: localhost\nconnection: close\n\
         accept: text/event-stream"
    );
    let mut first = world.send(&stream).await;
    assert_eq!(first.status().await, 200);
    first.until("event: open").await;
    let second = world.send(&stream).await.answer().await;
    assert_eq!(second.status, 401);
    assert!(second.detail().contains("POST /v3/tickets"));

    world.callers.revoke("viewer").await.expect("revoked");
    let end = first.until("\n\n").await + &first.until("event: end\n").await;
    assert!(end.contains("event: end"));
    assert!(first.until("\n\n").await.contains("revoked"));
    world.stop().await;
}

#[actix_rt::test]
async fn a_ticket_is_worth_no_more_than_its_token() {
    let world = world(|setup| setup.is_open = false).await;
    let viewer = world.token(Role::Viewer).await;
    let made = world
        .ask(&format!("POST /v3/tickets\n{viewer}"))
        .await
        .json();
    let ticket = made["ticket"].as_str().expect("a ticket");
    world.callers.revoke("viewer").await.expect("revoked");
    let request = format!("GET /v3/fleet/events?ticket={ticket}\naccept: text/event-stream");
    assert_eq!(world.ask(&request).await.status, 401);
    world.stop().await;
}

#[actix_rt::test]
async fn a_token_in_the_url_is_taken_where_the_configuration_says_so() {
    for is_taken in [false, true] {
        let world = world(|setup| {
            setup.is_open = false;
            setup.http.token_in_url = is_taken;
        })
        .await;
        let viewer = world.token(Role::Viewer).await;
        let token = viewer.split(' ').next_back().expect("a token").to_owned();
        let ask = |query: String| format!("GET /v3/whoami?{query}");
        let status = if is_taken { 200 } else { 401 };
        let answer = world.ask(&ask(format!("authorization={token}"))).await;
        assert_eq!(answer.status, status);
        let answer = world
            .ask(&ask(format!("authorization=Bearer+{token}")))
            .await;
        assert_eq!(answer.status, status);
        let twice = ask(format!("authorization={token}&authorization={token}"));
        assert_eq!(world.ask(&twice).await.status, 401);
        let both = format!("{}\n{viewer}", ask(format!("authorization={token}")));
        assert_eq!(world.ask(&both).await.status, 401);
        world.stop().await;
    }
}

#[actix_rt::test]
async fn what_changes_something_is_in_the_audit_log() {
    let world = world(|setup| setup.is_open = false).await;
    let admin = world.token(Role::Admin).await;
    let viewer = world.token(Role::Viewer).await;
    world.ask("POST /v3/fleet/7/retry").await;
    world
        .ask(&format!("POST /v3/fleet/7/retry\n{viewer}"))
        .await;
    world
        .ask(&format!("POST /v3/fleet/%1b/disconnect\n{admin}"))
        .await;
    let json = "content-type: application/json\n\n{\"enrol\":true}";
    world
        .ask(&format!("POST /v3/pending/7/approve\n{admin}\n{json}"))
        .await;
    world.ask(&format!("GET /v3/fleet\n{admin}")).await;
    let entries = world.store.audit(0, 10).await.expect("read");
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            format!(
                "{}|{}|{}|{}",
                entry.caller, entry.call, entry.arguments, entry.result
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "nobody|POST /v3/fleet/{id}/retry||UNAUTHENTICATED",
            "token viewer|POST /v3/fleet/{id}/retry|id \"7\"|PERMISSION_DENIED",
            "token admin|POST /v3/fleet/{id}/disconnect|id \"\\u{1b}\"|INVALID_ARGUMENT",
            "token admin|POST /v3/pending/{id}/approve|id \"7\" enrol true|NOT_FOUND",
        ]
    );
    world.stop().await;
}
