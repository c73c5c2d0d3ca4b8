//! Pages of others, other names, and forms.

use super::*;

#[actix_rt::test]
async fn a_host_that_is_not_ours_gets_nothing() {
    let world = world(|setup| setup.http.hosts = vec!["door.example.com".to_owned()]).await;
    let port = world.address.port();
    for (host, status) in [
        ("localhost".to_owned(), 200),
        (format!("LOCALHOST.:{port}"), 200),
        (format!("127.0.0.1:{port}"), 200),
        ("gate.example.org".to_owned(), 200),
        ("door.example.com:80".to_owned(), 200),
        ("evil.example".to_owned(), 421),
        ("localhost.evil.example".to_owned(), 421),
        ("192.0.2.77".to_owned(), 421),
        ("[2001:db8::77]:4080".to_owned(), 421),
        ("localhost:99999".to_owned(), 400),
        ("a b".to_owned(), 400),
        ("user@localhost".to_owned(), 400),
    ] {
        for path in ["/v3/whoami", "/", "/healthz"] {
            let request = format!("GET {path} HTTP/1.1\nhost: {host}\nconnection: close");
            let answer = world.send(&request).await.answer().await;
            assert_eq!(answer.status, status, "{host} {path}");
            if status == 421 {
                assert!(answer.detail().contains("http.hosts"), "{answer:?}");
            }
        }
    }
    for request in [
        "GET /v3/whoami HTTP/1.1\nconnection: close",
        "GET /v3/whoami HTTP/1.1\nhost: localhost\nhost: evil.example\nconnection: close",
        "GET http://evil.example/v3/whoami HTTP/1.1\nhost: localhost\nconnection: close",
    ] {
        let answer = world.send(request).await.answer().await;
        assert_eq!(answer.status, 400, "{request}");
    }
    world.stop().await;
}

#[actix_rt::test]
async fn a_page_of_another_origin_gets_nothing() {
    let world =
        world(|setup| setup.http.origins = vec!["https://app.example.org".to_owned()]).await;
    for (header, status) in [
        ("origin: http://localhost", 200),
        ("origin: https://app.example.org", 200),
        ("origin: https://localhost", 403),
        ("origin: http://localhost:3000", 403),
        ("origin: http://evil.example", 403),
        ("origin: null", 403),
        ("sec-fetch-site: same-origin", 200),
        ("sec-fetch-site: none", 200),
        ("sec-fetch-site: same-site", 403),
        ("sec-fetch-site: cross-site", 403),
        (
            "sec-fetch-site: cross-site\norigin: https://app.example.org",
            200,
        ),
        ("origin: http://localhost\norigin: http://evil.example", 403),
    ] {
        let answer = world.ask(&format!("GET /v3/fleet\n{header}")).await;
        assert_eq!(answer.status, status, "{header}");
        let is_listed = header.contains("app.example.org");
        let allowed = is_listed.then_some("https://app.example.org");
        assert_eq!(answer.header("access-control-allow-origin"), allowed);
        let upgrade = "connection: upgrade\nupgrade: websocket\nsec-websocket-version: 13\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
        if status == 403 {
            let answer = world
                .ask(&format!("GET /v3/fleet/events\n{header}\n{upgrade}"))
                .await;
            assert_eq!(answer.status, 403, "{header}");
            let answer = world
                .ask(&format!("POST /v3/fleet/7/retry\n{header}"))
                .await;
            assert_eq!(answer.status, 403, "{header}");
        }
    }
    let link = "sec-fetch-site: cross-site\nsec-fetch-mode: navigate\nsec-fetch-dest: document";
    assert_eq!(world.ask(&format!("GET /\n{link}")).await.status, 200);
    assert_eq!(
        world.ask(&format!("GET /v3/fleet\n{link}")).await.status,
        403
    );
    assert!(world.store.audit(0, 10).await.expect("read").is_empty());
    world.stop().await;
}

#[actix_rt::test]
async fn a_preflight_is_answered_to_listed_origins_alone() {
    let world =
        world(|setup| setup.http.origins = vec!["https://app.example.org".to_owned()]).await;
    let ask = |origin: &str| {
        format!(
            "OPTIONS /v3/fleet/7/retry\norigin: {origin}\naccess-control-request-method: POST\n\
             access-control-request-headers: authorization, content-type"
        )
    };
    let answer = world.ask(&ask("https://app.example.org")).await;
    assert_eq!(answer.status, 200);
    let headers = answer.header("access-control-allow-headers").expect("told");
    assert!(headers.contains("authorization") && headers.contains("content-type"));
    let answer = world.ask(&ask("https://evil.example")).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("access-control-allow-headers"), None);
    world.stop().await;
}

#[actix_rt::test]
async fn a_form_is_refused_and_json_that_is_none_is_told_where() {
    let world = world(|_| {}).await;
    let admin = world.token(Role::Admin).await;
    for content in [
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/jsonp",
    ] {
        for body in ["", "\n\n{}"] {
            let request =
                format!("POST /v3/pending/7/approve\n{admin}\ncontent-type: {content}{body}");
            assert_eq!(world.ask(&request).await.status, 415, "{content}");
        }
    }
    let ask = |body: &str| {
        format!(
            "POST /v3/pending/7/approve\n{admin}\ncontent-type: application/json; charset=utf-8\n\n{body}"
        )
    };
    let answer = world.ask(&ask("{\"enrol\":\n  oops}")).await;
    assert_eq!(answer.status, 400);
    assert!(answer.detail().contains("line 2 column 3"), "{answer:?}");
    assert_eq!(world.ask(&ask("{\"enroll\":true}")).await.status, 400);
    assert_eq!(world.ask(&ask("{\"enrol\":true}")).await.status, 404);
    let untyped = format!("POST /v3/pending/7/approve\n{admin}\n\n{{}}");
    assert_eq!(world.ask(&untyped).await.status, 415);
    let large = ask(&" ".repeat((1 << 20) + 1));
    assert_eq!(world.ask(&large).await.status, 413);
    world.stop().await;
}

#[actix_rt::test]
async fn every_answer_tells_browsers_to_be_careful() {
    let world = world(|_| {}).await;
    for request in [
        "GET /",
        "GET /v3/nothing",
        "GET /v3/whoami\norigin: null",
        "PUT /v3/fleet",
    ] {
        let answer = world.ask(request).await;
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("set-cookie"), None);
        assert!(answer.header("cache-control").is_some());
    }
    let answer = world.ask("PUT /v3/fleet").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("get")));
    assert!(answer.detail().contains("GET"));
    assert_eq!(world.ask("GET /v3/nothing").await.status, 404);
    assert_eq!(world.ask("GET /v3/users/%ff/devices").await.status, 400);
    assert_eq!(
        world.ask("GET /v3/users/~/devices?limit=x").await.status,
        400
    );
    world.stop().await;
}

#[actix_rt::test]
async fn the_console_is_kept_until_it_changes() {
    let world = world(|_| {}).await;
    let page = world.ask("GET /").await;
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(page.body.contains("Gatehouse"));
    let tag = page.header("etag").expect("a tag");
    let again = world
        .ask(&format!(
            "GET /assets/index.html\nif-none-match: \"x\", {tag}"
        ))
        .await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let other = world.ask("GET /\nif-none-match: \"x\"").await;
    assert_eq!(other.status, 200);
    assert_eq!(world.ask("GET /assets/nothing.js").await.status, 404);
    world.stop().await;
}
