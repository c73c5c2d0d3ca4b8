use proptest::prelude::*;

use super::*;
use crate::codec::pson::tests::any_value;
use crate::sim::testing::House;

const NOW: Instant = Instant::ZERO;

fn resources(link: LinkKind) -> Resources {
    let state = DeviceState {
        key: (link != LinkKind::Plain).then(|| LinkKey::new([1; 32])),
        ..DeviceState::default()
    };
    Resources::new(Info::default(), BTreeSet::new(), link, Arc::new(state))
}

fn find(resources: &Resources, name: &str) -> Result<Resource, Denial> {
    resources.find(Some(&name.into()))
}

fn all() -> Vec<Resource> {
    let all = Resource::BASE.into_iter().chain(Resource::HOSTILE_PANEL);
    all.collect()
}

fn bad(result: Result<Option<Value>, Denial>) -> String {
    match result {
        Err(Denial::Because { code: 400, why }) => why,
        other => panic!("{other:?}"),
    }
}

fn list(ids: &[u32]) -> Value {
    Value::Array(ids.iter().copied().map(Value::from).collect())
}

#[test]
fn security_is_closed_to_plain_links() {
    for (link, is_open) in [
        (LinkKind::Plain, false),
        (LinkKind::Aes, true),
        (LinkKind::Tls, true),
    ] {
        let resources = resources(link);
        for name in ["security/ssl", "security/key"] {
            let found = find(&resources, name);
            let is_closed = matches!(found, Err(Denial::Because { code: 403, .. }));
            assert_eq!((found.is_ok(), is_closed), (is_open, !is_open), "{name}");
        }
        assert_eq!(find(&resources, "slaves"), Ok(Resource::Slaves));
    }
}

#[test]
fn what_a_device_lacks_is_as_unknown_as_any_other_name() {
    let lacking = [Resource::Slaves, Resource::Key].into();
    let state = Arc::<DeviceState>::default();
    let resources = Resources::new(Info::default(), lacking, LinkKind::Plain, state);
    for name in ["slaves", "security/key", "door", ""] {
        assert_eq!(find(&resources, name), Err(Denial::Unknown), "{name}");
    }
    assert_eq!(resources.find(None), Err(Denial::Unknown));
    let listed = resources.list();
    assert!(listed.get("network/ip").is_some() && listed.get("slaves").is_none());
}

#[test]
fn ssl_is_told_without_its_secrets() {
    let house = House::new();
    let mut resources = resources(LinkKind::Aes);
    let input = Value::map([
        ("enabled", Value::from(true)),
        ("root", house.root.as_str().into()),
        ("credential", "open sesame".into()),
    ]);
    let enabled = Value::map([("enabled", true)]);
    let answer = resources.run(Resource::Ssl, Some(&input), NOW);
    assert_eq!(answer, Ok(Some(enabled.clone())));
    assert_eq!(resources.run(Resource::Ssl, None, NOW), Ok(Some(enabled)));
    let ssl = &resources.state().ssl;
    assert_eq!(ssl.credential.as_deref(), Some("open sesame"));
    assert_eq!(ssl.root.as_deref(), Some(house.root.as_str()));
    for shown in [
        format!("{:?}", resources.sample(Resource::Ssl, NOW)),
        format!("{:?}", resources.state()),
    ] {
        assert!(
            !shown.contains("sesame") && !shown.contains("BEGIN"),
            "{shown}"
        );
    }
    // Root and credential stay for the next time.
    for is_enabled in [false, true] {
        let input = Value::map([("enabled", is_enabled)]);
        resources.run(Resource::Ssl, Some(&input), NOW).unwrap();
        assert_eq!(resources.state().ssl.enabled, is_enabled);
    }
    assert!(resources.state().ssl.root.is_some());
}

#[test]
fn bad_ssl_changes_nothing() {
    let mut resources = resources(LinkKind::Tls);
    let before = resources.state().clone();
    let on =
        |name: &'static str, value: Value| Value::map([("enabled", true.into()), (name, value)]);
    for (input, expected) in [
        (Value::map([("root", "x")]), "enabled is"),
        (Value::map([("enabled", true)]), "root is needed"),
        (on("root", "no certificate".into()), "root: "),
        (on("root", 5_u32.into()), "root is a text"),
        (on("credential", "a".repeat(257).into()), "256 bytes"),
    ] {
        let why = bad(resources.run(Resource::Ssl, Some(&input), NOW));
        assert!(why.contains(expected), "{why}");
    }
    assert!(Arc::ptr_eq(&before, resources.state()));
    let mut without_key = Resources::new(
        Info::default(),
        BTreeSet::new(),
        LinkKind::Tls,
        Arc::default(),
    );
    let off = Value::map([("enabled", false)]);
    let why = bad(without_key.run(Resource::Ssl, Some(&off), NOW));
    assert!(why.contains("security/key"), "{why}");
}

#[test]
fn a_key_is_taken_and_never_told() {
    let mut resources = resources(LinkKind::Aes);
    let input = |len| Value::map([("key", Value::Bytes(vec![9; len]))]);
    assert_eq!(
        resources.run(Resource::Key, Some(&input(32)), NOW),
        Ok(None)
    );
    assert_eq!(resources.state().key, Some(LinkKey::new([9; 32])));
    let hex = Value::map([("key", "09".repeat(32))]);
    for wrong in [Some(input(31)), Some(input(33)), Some(hex), None] {
        assert_eq!(
            bad(resources.run(Resource::Key, wrong.as_ref(), NOW)),
            KEY_WANTED
        );
    }
    let sample = resources.sample(Resource::Key, NOW);
    let expected = Value::map([("key", Value::Bytes(Vec::new()))]);
    assert_eq!(sample, Some(Value::map([("in", expected)])));
}

#[test]
fn each_list_of_slaves_replaces_its_own() {
    let mut resources = resources(LinkKind::Plain);
    let both = Value::map([("rs485", list(&[1, 2])), ("wiegand", list(&[3]))]);
    let answer = resources.run(Resource::Slaves, Some(&both), NOW);
    assert_eq!(answer, Ok(Some(both)));
    let one = Value::map([("rs485", list(&[]))]);
    let after = Value::map([("rs485", list(&[])), ("wiegand", list(&[3]))]);
    let answer = resources.run(Resource::Slaves, Some(&one), NOW);
    assert_eq!(answer, Ok(Some(after.clone())));
    for wrong in [list(&[0]), list(&[4, 4]), Value::from(4_u32), Value::Null] {
        let input = Value::map([("wiegand", wrong)]);
        let why = bad(resources.run(Resource::Slaves, Some(&input), NOW));
        assert!(why.starts_with("wiegand is a list"), "{why}");
    }
    assert_eq!(resources.run(Resource::Slaves, None, NOW), Ok(Some(after)));
}

#[test]
fn the_panel_is_there_when_it_is_asked_for() {
    let without = resources(LinkKind::Plain);
    assert_eq!(find(&without, "relay"), Err(Denial::Unknown));
    let mut resources = without.with_extras(&Resource::PANEL);
    assert_eq!(find(&resources, "relay"), Ok(Resource::Relay));
    assert!(find(&resources, panel::HOSTILE_NAME).is_err());
    let listed = resources.list();
    let function = |name: &str| listed.get(name)?.get("fn")?.as_unsigned();
    let functions = ["beep", "display", "temperature", "sum"].map(function);
    assert_eq!(functions, [Some(1), Some(2), Some(3), Some(4)]);
    let Value::Map(listed) = &listed else {
        panic!("{listed:?}");
    };
    assert_eq!(listed.len(), Resource::BASE.len() + Resource::PANEL.len());
    let on = Value::map([("on", true)]);
    let answer = resources.run(Resource::Relay, Some(&on), NOW);
    assert_eq!(answer, Ok(Some(on.clone())));
    let both = Value::map([("in", on.clone()), ("out", on)]);
    assert_eq!(resources.sample(Resource::Relay, NOW), Some(both));
    assert_eq!(resources.sample(Resource::Beep, NOW), None);
    assert_eq!(resources.run(Resource::Beep, None, NOW), Ok(None));
    assert_eq!(resources.state().panel.beeps, 1);
}

#[test]
fn a_run_without_input_empties_the_display() {
    let mut resources = resources(LinkKind::Plain).with_extras(&Resource::PANEL);
    let hello = Value::from("hello");
    assert_eq!(
        resources.run(Resource::Display, Some(&hello), NOW),
        Ok(None)
    );
    let shown = Some(Value::map([("in", hello)]));
    assert_eq!(resources.sample(Resource::Display, NOW), shown);
    assert_eq!(resources.run(Resource::Display, None, NOW), Ok(None));
    assert_eq!(&*resources.state().panel.display, "");
    let long = Value::from("a".repeat(257));
    assert!(bad(resources.run(Resource::Display, Some(&long), NOW)).contains("256 bytes"));
}

proptest! {
    /// Whatever is written, right or wrong: an Ok tells the whole new state, and an Error means
    /// that nothing has changed.
    #[test]
    fn an_answer_is_the_whole_new_state(
        resource in prop::sample::select(all()),
        name in prop::sample::select(&["rs485", "wiegand", "port", "enabled", "key", "on", "a"][..]),
        value in any_value(),
    ) {
        let mut resources = resources(LinkKind::Tls).with_extras(&Resource::HOSTILE_PANEL);
        let before = resources.state().clone();
        let input = Value::map([(name, value)]);
        match resources.run(resource, Some(&input), NOW) {
            Ok(answer) => {
                prop_assert_eq!(&answer, &resources.output(resource, NOW));
                let has_changed = !Arc::ptr_eq(&before, resources.state());
                prop_assert_eq!(has_changed, before != *resources.state());
            }
            Err(_) => prop_assert!(Arc::ptr_eq(&before, resources.state())),
        }
    }
}
