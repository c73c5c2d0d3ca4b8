//! What another configuration changes while the gateway runs: which keys count at once, and which
//! from the next start on.

use std::collections::BTreeMap;

use super::{Config, Functions};

/// What comes of another configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The settings in force from now on: the new ones where they count at once, the present ones
    /// elsewhere.
    pub config: Config,
    /// The keys that count at once and differ from the present, with their sections.
    pub applied: Vec<String>,
    /// The keys that differ from the present and count from the next start on.
    pub needs_restart: Vec<String>,
}

impl Change {
    /// One key cannot count at once here: it is told among those that need a restart. Its value in
    /// `config` is the caller's to put back.
    pub fn postpone(&mut self, key: &str) {
        let applied = self.applied.len();
        self.applied.retain(|other| other != key);
        if self.applied.len() < applied {
            self.needs_restart.push(key.to_owned());
            self.needs_restart.sort();
        }
    }
}

impl Config {
    /// What comes of `new` in place of the settings in force.
    pub fn change_to(&self, new: &Self) -> Change {
        let config = self.adopting(new);
        Change {
            applied: differing(self, &config),
            needs_restart: differing(&config, new),
            config,
        }
    }

    /// The present settings with those of `new` that count at once. All that is named here is
    /// applied by the gateway's reload.
    fn adopting(&self, new: &Self) -> Self {
        let mut config = self.clone();
        config.dial.clone_from(&new.dial);
        config.reconnect.clone_from(&new.reconnect);
        config.takeover.clone_from(&new.takeover);
        config.session.clone_from(&new.session);
        // What a WebSocket may carry is set up with its server.
        config.session.frame_in_max_bytes = self.session.frame_in_max_bytes;
        config.drain.clone_from(&new.drain);
        config.inbound.clone_from(&new.inbound);
        config.inbound.handshakes_at_once_max = self.inbound.handshakes_at_once_max;
        config.registry.clone_from(&new.registry);
        // That many are remembered from the start on.
        config.registry.trouble_max = self.registry.trouble_max;
        config.compat.accept_filter_by_address = new.compat.accept_filter_by_address;
        config.log.level.clone_from(&new.log.level);
        config.log.slow_after = new.log.slow_after;
        config.store.clone_from(&new.store);
        config.events.clone_from(&new.events);
        config.access.audit_keep_max = new.access.audit_keep_max;
        config.functions = Functions {
            in_flight_max: self.functions.in_flight_max,
            streams_max: self.functions.streams_max,
            retained_max: self.functions.retained_max,
            ..new.functions.clone()
        };
        config.credential.clone_from(&new.credential);
        config
    }
}

/// The keys in which two configurations differ, in the order of the alphabet.
fn differing(one: &Config, other: &Config) -> Vec<String> {
    let (before, after) = (keys(one), keys(other));
    let mut found: Vec<String> = before
        .keys()
        .chain(after.keys())
        .filter(|key| before.get(*key) != after.get(*key))
        .cloned()
        .collect();
    // What is shown of these hides secrets, so they are compared as they are.
    if one.credential != other.credential {
        found.push("credential".to_owned());
    }
    if one.endpoint != other.endpoint {
        found.push("endpoint".to_owned());
    }
    found.sort();
    found.dedup();
    found
}

/// Every key with its section, and its value.
fn keys(config: &Config) -> BTreeMap<String, toml::Value> {
    // Only a path that is no Unicode text cannot be written; it differs from nothing then, and the
    // file that names it could not hold it either.
    let table = toml::Table::try_from(config).unwrap_or_default();
    let mut keys = BTreeMap::new();
    for (name, value) in table {
        match value {
            toml::Value::Table(section) => {
                for (key, value) in section {
                    keys.insert(format!("{name}.{key}"), value);
                }
            }
            value => drop(keys.insert(name, value)),
        }
    }
    keys.remove("credential");
    keys.remove("endpoint");
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../docs/service.md");

    fn change(text: &str) -> Change {
        let new = Config::parse(text).unwrap();
        Config::default().change_to(&new)
    }

    #[test]
    fn the_same_changes_nothing() {
        let change = change("");
        assert_eq!(change.config, Config::default());
        assert!(change.applied.is_empty() && change.needs_restart.is_empty());
    }

    #[test]
    fn what_counts_at_once_is_told_from_what_needs_a_restart() {
        let change = change(
            "[log]\nlevel = \"debug\"\nformat = \"json\"\n[aes]\nlisten = \"\"\n\
             [drain]\npace = 7\n[inbound]\nwaiting_max = 9\nhandshakes_at_once_max = 3\n",
        );
        assert_eq!(
            change.applied,
            ["drain.pace", "inbound.waiting_max", "log.level"]
        );
        assert_eq!(
            change.needs_restart,
            ["aes.listen", "inbound.handshakes_at_once_max", "log.format"]
        );
        assert_eq!(change.config.log.level, "debug");
        assert_eq!(change.config.aes, Config::default().aes);
    }

    #[test]
    fn what_cannot_count_here_is_postponed() {
        let mut change = change("[log]\nlevel = \"debug\"\nformat = \"json\"\n");
        change.postpone("log.level");
        change.postpone("drain.pace");
        assert!(change.applied.is_empty());
        assert_eq!(change.needs_restart, ["log.format", "log.level"]);
    }

    #[test]
    fn what_needs_a_restart_is_told_until_there_was_one() {
        let text = "[log]\nformat = \"json\"\n[drain]\npace = 7\n";
        let first = change(text);
        let second = first.config.change_to(&Config::parse(text).unwrap());
        assert!(second.applied.is_empty());
        assert_eq!(second.needs_restart, ["log.format"]);
    }

    #[test]
    fn a_secret_that_differs_is_seen_though_it_is_not_shown() {
        let credential = |digit: &str| {
            let digest = digit.repeat(64);
            format!("[[credential]]\ndevice = \"1\"\ndigest = \"sha256:{digest}\"\n")
        };
        let [one, other] = ["1", "2"].map(|digit| Config::parse(&credential(digit)).unwrap());
        assert_eq!(one.change_to(&other).applied, ["credential"]);
        let endpoint = |secret: &str| {
            let headers = format!("headers = {{ authorization = \"{secret}\" }}");
            format!("[[endpoint]]\nname = \"a\"\nurl = \"https://a.example\"\n{headers}\n")
        };
        let [one, other] = ["x", "y"].map(|secret| Config::parse(&endpoint(secret)).unwrap());
        assert_eq!(one.change_to(&other).needs_restart, ["endpoint"]);
    }

    /// Other values that a key of this type may have, the first that fits is taken.
    fn others(value: &toml::Value) -> Vec<toml::Value> {
        let texts = [
            "7s",
            "7m",
            "7h",
            "127.0.0.1:9",
            "http://127.0.0.1:9",
            "warn",
            "json",
            "required",
            "client",
            "plain",
            "1.0",
            "elsewhere",
        ];
        let lists = [
            "a.example",
            "10.0.0.0/8",
            "https://a.example",
            "1.2",
            "1.2.3.4:5",
        ];
        match value {
            toml::Value::Integer(number) => vec![(number + 1).into(), (number - 1).into()],
            toml::Value::Boolean(flag) => vec![(!flag).into()],
            toml::Value::Table(_) => {
                vec![toml::Table::from_iter([("a".to_owned(), "b".into())]).into()]
            }
            toml::Value::Array(_) => lists.map(|text| vec![text].into()).into(),
            _ => texts.map(Into::into).into(),
        }
    }

    /// Keys of which none may stand alone.
    const TOGETHER: [&str; 2] = ["trace.certificate", "trace.key"];

    /// This key, and those that it cannot stand without.
    fn with_its_like(key: &str) -> Vec<&str> {
        match TOGETHER.contains(&key) {
            true => TOGETHER.to_vec(),
            false => vec![key],
        }
    }

    /// The default with one key changed.
    fn with_another(key: &str, value: &toml::Value) -> Option<Config> {
        others(value).into_iter().find_map(|other| {
            let lines = with_its_like(key);
            let lines = lines.iter().map(|key| format!("{key} = {other}\n"));
            let config = Config::parse(&lines.collect::<String>()).ok()?;
            (config != Config::default()).then_some(config)
        })
    }

    #[test]
    fn the_page_lists_what_counts_at_once() {
        let mut at_once = vec!["credential".to_owned()];
        for (key, value) in keys(&Config::default()) {
            let config = with_another(&key, &value);
            let config = config.unwrap_or_else(|| panic!("no other value for {key} = {value}"));
            let change = Config::default().change_to(&config);
            let told = [&change.applied[..], &change.needs_restart].concat();
            assert_eq!(told, with_its_like(&key), "one key, told once");
            at_once.extend(change.applied);
        }
        at_once.sort();
        let (_, list) = PAGE.split_once("<!-- counts at once -->").unwrap();
        let (list, _) = list.split_once("<!-- end -->").unwrap();
        let listed: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
        assert_eq!(listed, at_once);
    }
}
