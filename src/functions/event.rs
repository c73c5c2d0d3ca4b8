//! The events that a device can subscribe to, their filters, and what they tell.

use crate::codec::pson::Value;
use crate::functions::refusal::denied;
use crate::identity::Identity;
use crate::session::asked::Denied;

const PROPERTY_UPDATE: &str = "device_property_update";
const STATE_CHANGE: &str = "device_state_change";

/// What a subscription to an event wants to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Changes of the device's own properties: of this one, or of all.
    Property { name: Option<Box<str>> },
    /// Comings and goings of the owner's devices: of this one, or of all.
    State { device: Option<Box<str>> },
}

impl Watched {
    /// What an event by its name and filters comes to for the device `own`.
    ///
    /// # Errors
    /// [`Denied`]: 404 for another event, 400 for filters that it does not have, 403 for the
    /// properties of another device.
    pub fn new(event: &str, filters: Option<&Value>, own: &Identity) -> Result<Self, Denied> {
        match event {
            PROPERTY_UPDATE => {
                let [name, device] = read(event, filters, ["property", "device"])?;
                if device.is_some_and(|device| *device != *own.device) {
                    let text = "a device hears of its own properties only";
                    return Err(denied(403, text));
                }
                Ok(Self::Property {
                    name: name.map(Into::into),
                })
            }
            STATE_CHANGE => {
                let [device] = read(event, filters, ["device"])?;
                Ok(Self::State {
                    device: device.map(Into::into),
                })
            }
            _ => {
                let text = format!("there are the events {PROPERTY_UPDATE} and {STATE_CHANGE}");
                Err(denied(404, text))
            }
        }
    }
}

/// What is told of a changed property; null stands for one that was deleted.
pub fn property_update(device: &str, name: &str, value: Value, unix_ms: u64) -> Value {
    Value::map([
        ("device", Value::from(device)),
        ("property", Value::from(name)),
        ("value", value),
        ("ts", Value::from(unix_ms)),
    ])
}

/// What is told of a device that came or went.
pub fn state_change(device: &str, is_connected: bool, unix_ms: u64) -> Value {
    let state = if is_connected {
        "connected"
    } else {
        "disconnected"
    };
    Value::map([
        ("device", Value::from(device)),
        ("state", Value::from(state)),
        ("ts", Value::from(unix_ms)),
    ])
}

/// The filters of an event, in the order of `known`.
fn read<'a, const N: usize>(
    event: &str,
    filters: Option<&'a Value>,
    known: [&str; N],
) -> Result<[Option<&'a str>; N], Denied> {
    let wrong = || {
        let text = format!(
            "the filters of {event} are a map of texts with {}",
            known.join(" or ")
        );
        denied(400, text)
    };
    let pairs = match filters {
        None | Some(Value::Null) => &[],
        Some(Value::Map(pairs)) => pairs.as_slice(),
        Some(_) => return Err(wrong()),
    };
    let mut found = [None; N];
    for (key, value) in pairs {
        let index = known.iter().position(|known| known == key);
        found[index.ok_or_else(wrong)?] = Some(value.as_str().ok_or_else(wrong)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(event: &str, filters: Option<Value>) -> Result<Watched, u16> {
        let own = Identity::new("alice", "hall").unwrap();
        Watched::new(event, filters.as_ref(), &own).map_err(|denied| denied.code)
    }

    #[test]
    fn events_are_known_by_name_and_filter() {
        let property = |name: Option<&str>| {
            let name = name.map(Into::into);
            Ok(Watched::Property { name })
        };
        let state = |device: Option<&str>| {
            let device = device.map(Into::into);
            Ok(Watched::State { device })
        };
        let filters = |key: &str, value: &str| Some(Value::map([(key, value)]));
        for (event, given, expected) in [
            (PROPERTY_UPDATE, None, property(None)),
            (PROPERTY_UPDATE, Some(Value::Null), property(None)),
            (
                PROPERTY_UPDATE,
                filters("property", "cfg"),
                property(Some("cfg")),
            ),
            (PROPERTY_UPDATE, filters("device", "hall"), property(None)),
            (PROPERTY_UPDATE, filters("device", "yard"), Err(403)),
            (STATE_CHANGE, None, state(None)),
            (STATE_CHANGE, filters("device", "yard"), state(Some("yard"))),
            (STATE_CHANGE, filters("property", "cfg"), Err(400)),
            (STATE_CHANGE, Some(Value::from(7_u32)), Err(400)),
            (
                STATE_CHANGE,
                Some(Value::map([("device", Value::from(7_u32))])),
                Err(400),
            ),
            ("alarm", None, Err(404)),
        ] {
            assert_eq!(watched(event, given.clone()), expected, "{event} {given:?}");
        }
    }

    #[test]
    fn an_unknown_event_is_told_which_there_are() {
        let own = Identity::new("alice", "hall").unwrap();
        let denied = Watched::new("alarm", None, &own).unwrap_err();
        for known in [PROPERTY_UPDATE, STATE_CHANGE] {
            assert!(denied.text.contains(known), "{denied}");
        }
    }
}
