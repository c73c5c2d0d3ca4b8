//! The table of calls and their tests in `tests/README.md`, held against the calls that a running
//! gateway serves and the tests that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use futures_util::future::join_all;
use gatehouse::access::calls::RULES;
use tonic::Code;

use crate::support::gateway::TestGateway;
use crate::support::{run, soon};

const TABLE: &str = "tests/README.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of all tables: what stands in back quotes in the first column, and in the second.
fn rows() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(root().join(TABLE)).expect("readable");
    let quoted = |column: &str| -> Vec<String> {
        let parts = column.split('`').skip(1).step_by(2);
        parts.map(str::to_owned).collect()
    };
    let row = |line: &str| {
        let columns: Vec<&str> = line.split('|').collect();
        let [_, first, second, _] = columns.as_slice() else {
            return None;
        };
        Some((quoted(first).pop()?, quoted(second)))
    };
    text.lines().filter_map(row).collect()
}

/// The names of all functions under a folder; those of both links are functions too.
fn functions(folder: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(path).expect("readable");
                let found = text.split("fn ").skip(1);
                names
                    .extend(found.filter_map(|rest| rest.split(['(', '<']).next().map(Into::into)));
            }
        }
    }
    names
}

/// Calls that a running gateway does not answer with UNIMPLEMENTED.
async fn served() -> BTreeSet<&'static str> {
    // Nobody is searched for long: the answer does not matter.
    let gateway = TestGateway::with(|config| {
        config.search.broadcast = vec!["127.0.0.1:9".parse().expect("an address")];
    })
    .await;
    let admin = gateway.admin().await;
    let asked = RULES.iter().map(|rule| {
        let mut grpc = tonic::client::Grpc::new(admin.clone());
        async move {
            soon("the channel", grpc.ready()).await.expect("ready");
            let path = format!("/{}", rule.call).parse().expect("a path");
            let codec = tonic_prost::ProstCodec::<(), ()>::default();
            let request = tonic::Request::new(());
            let answer = soon(rule.call, grpc.server_streaming(request, path, codec)).await;
            let code = match answer {
                Ok(_) => Code::Ok,
                Err(status) => status.code(),
            };
            (rule.call, code)
        }
    });
    let answered = join_all(asked).await.into_iter();
    let served = answered.filter(|(_, code)| *code != Code::Unimplemented);
    let served = served.map(|(call, _)| call).collect();
    gateway.stop().await;
    served
}

#[test]
fn every_served_call_has_a_row_and_no_other() {
    run(async {
        let served = served().await;
        let rows = rows();
        let calls = rows.iter().map(|(first, _)| first.as_str());
        let listed: BTreeSet<&str> = calls.filter(|first| first.contains('/')).collect();
        let missing: Vec<_> = served.difference(&listed).collect();
        let strange: Vec<_> = listed.difference(&served).collect();
        assert!(missing.is_empty(), "without a row: {missing:?}");
        assert!(strange.is_empty(), "not served: {strange:?}");
    });
}

#[test]
fn every_named_test_exists() {
    let known: BTreeSet<String> = functions("tests/it")
        .union(&functions("src"))
        .cloned()
        .collect();
    for (first, tests) in rows() {
        assert!(!tests.is_empty(), "{first} names no test");
        for test in tests {
            assert!(known.contains(&test), "{first} names {test}, which is gone");
        }
    }
}

#[test]
fn every_row_of_the_conformance_list_has_a_test() {
    let known: BTreeSet<String> = functions("tests/it/conformance")
        .union(&functions("tests/it"))
        .filter(|name| name.as_bytes().get(1) == Some(&b'_'))
        .cloned()
        .collect();
    let rows = rows();
    let named: BTreeSet<&String> = rows.iter().flat_map(|(_, tests)| tests).collect();
    let list = (1..=40).map(|row| format!("c_{row:02}_"));
    let list = list.chain((1..=10).map(|row| format!("x_{row:02}_")));
    for prefix in list.chain((1..=16).map(|row| format!("i_{row:02}_"))) {
        let tests: Vec<_> = known
            .iter()
            .filter(|name| name.starts_with(&prefix))
            .collect();
        assert!(!tests.is_empty(), "{prefix}… has no test");
        for test in tests {
            assert!(named.contains(test), "{test} is not in {TABLE}");
        }
    }
}
