//! The resources of a simulated device: what they tell, and what can be written to them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::codec::pson::Value;
use crate::device::LinkKind;
use crate::identity::CREDENTIAL_MAX;
use crate::link::link_key::{LINK_KEY_LEN, LinkKey};
use crate::sim::info::Info;
use crate::sim::panel;
use crate::sim::state::DeviceState;
use crate::sim::tls;
use crate::time::Instant;

/// The codes of an Error, as in HTTP.
const BAD_INPUT: u64 = 400;
const FORBIDDEN: u64 = 403;

/// One that a device can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    Info,
    Ip,
    Ssl,
    Key,
    Slaves,
    Temperature,
    Humidity,
    /// Seconds.
    Counter,
    Relay,
    Sum,
    /// Careless: a Run without an input empties it.
    Display,
    /// The device drops its link once it has answered.
    Reboot,
    Beep,
    /// Its name and what it tells are markup and what moves a terminal.
    Hostile,
}

impl Resource {
    /// What every device has for its gateway.
    pub const BASE: [Self; 5] = [Self::Info, Self::Ip, Self::Ssl, Self::Key, Self::Slaves];

    /// Sensors, switches and buttons.
    pub const PANEL: [Self; 8] = [
        Self::Temperature,
        Self::Humidity,
        Self::Counter,
        Self::Relay,
        Self::Sum,
        Self::Display,
        Self::Reboot,
        Self::Beep,
    ];

    /// The same and [`Resource::Hostile`].
    pub const HOSTILE_PANEL: [Self; 9] = [
        Self::Temperature,
        Self::Humidity,
        Self::Counter,
        Self::Relay,
        Self::Sum,
        Self::Display,
        Self::Reboot,
        Self::Beep,
        Self::Hostile,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "device/info",
            Self::Ip => "network/ip",
            Self::Ssl => "security/ssl",
            Self::Key => "security/key",
            Self::Slaves => "slaves",
            Self::Temperature => "temperature",
            Self::Humidity => "humidity",
            Self::Counter => "counter",
            Self::Relay => "relay",
            Self::Sum => "sum",
            Self::Display => "display",
            Self::Reboot => "reboot",
            Self::Beep => "beep",
            Self::Hostile => panel::HOSTILE_NAME,
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        let all = Self::BASE.into_iter().chain(Self::HOSTILE_PANEL);
        all.into_iter().find(|resource| resource.name() == name)
    }

    /// As Describe numbers it: 1 does something, 2 takes, 3 tells, 4 takes and tells.
    const fn function(self) -> u64 {
        match self {
            Self::Reboot | Self::Beep => 1,
            Self::Key | Self::Display => 2,
            Self::Info | Self::Temperature | Self::Humidity | Self::Counter | Self::Hostile => 3,
            Self::Ip | Self::Ssl | Self::Slaves | Self::Relay | Self::Sum => 4,
        }
    }

    /// Whether it does something and neither takes nor tells anything.
    pub const fn is_action(self) -> bool {
        self.function() == 1
    }

    pub const fn takes_input(self) -> bool {
        matches!(self.function(), 2 | 4)
    }

    /// Whether it is closed to plain links.
    const fn is_guarded(self) -> bool {
        matches!(self, Self::Ssl | Self::Key)
    }
}

/// Why a Run or Describe is answered with an Error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// There is no such resource; the Error says no more than that.
    Unknown,
    Because {
        code: u64,
        why: String,
    },
}

/// The resources as they are on one link.
#[derive(Clone, Debug)]
pub struct Resources {
    info: Info,
    extras: &'static [Resource],
    lacking: BTreeSet<Resource>,
    link: LinkKind,
    state: Arc<DeviceState>,
}

impl Resources {
    /// Those of a device that lacks some, over a link of this kind.
    pub const fn new(
        info: Info,
        lacking: BTreeSet<Resource>,
        link: LinkKind,
        state: Arc<DeviceState>,
    ) -> Self {
        Self {
            info,
            extras: &[],
            lacking,
            link,
            state,
        }
    }

    /// With these beside the base.
    #[must_use]
    pub const fn with_extras(mut self, extras: &'static [Resource]) -> Self {
        self.extras = extras;
        self
    }

    pub const fn state(&self) -> &Arc<DeviceState> {
        &self.state
    }

    /// Changes what is kept beside the resources.
    pub fn state_mut(&mut self) -> &mut DeviceState {
        Arc::make_mut(&mut self.state)
    }

    fn all(&self) -> impl Iterator<Item = Resource> {
        let all = Resource::BASE
            .into_iter()
            .chain(self.extras.iter().copied());
        all.filter(|resource| !self.lacking.contains(resource))
    }

    /// Which of them has this name.
    ///
    /// # Errors
    /// [`Denial`] when the device lacks it, or when the link is not good enough for it.
    pub fn find(&self, name: Option<&Value>) -> Result<Resource, Denial> {
        let found = name.and_then(Value::as_str).and_then(Resource::named);
        let resource = found
            .filter(|found| self.all().any(|resource| resource == *found))
            .ok_or(Denial::Unknown)?;
        if resource.is_guarded() && self.link == LinkKind::Plain {
            let why = format!("{} is closed to plain links", resource.name());
            return Err(Denial::Because {
                code: FORBIDDEN,
                why,
            });
        }
        Ok(resource)
    }

    /// A Run: takes the input, if there is one and the resource takes any, and answers with the
    /// whole new state of the resource as far as it tells it.
    ///
    /// # Errors
    /// [`Denial::Because`] of an input that is not right; nothing has changed then.
    pub fn run(
        &mut self,
        resource: Resource,
        input: Option<&Value>,
        now: Instant,
    ) -> Result<Option<Value>, Denial> {
        let input = input.filter(|input| **input != Value::Null);
        let written = match (resource, input) {
            (Resource::Key, None) => Err(KEY_WANTED.to_owned()),
            (Resource::Display, None) => self.write(resource, &"".into()),
            (Resource::Reboot | Resource::Beep, _) => self.write(resource, &Value::Null),
            (_, None) => Ok(()),
            (_, Some(input)) => self.write(resource, input),
        };
        written.map_err(|why| Denial::Because {
            code: BAD_INPUT,
            why,
        })?;
        Ok(self.output(resource, now))
    }

    /// What Describe tells of all of them.
    pub fn list(&self) -> Value {
        let functions = self
            .all()
            .map(|resource| (resource.name(), Value::map([("fn", resource.function())])));
        Value::map(functions)
    }

    /// What Describe tells of one: what it takes and what it tells, by the state that it is in.
    /// A secret is shown as an empty one. `None` where it takes and tells nothing.
    pub fn sample(&self, resource: Resource, now: Instant) -> Option<Value> {
        let input = self.input(resource).map(|input| ("in", input));
        let output = self.output(resource, now).map(|output| ("out", output));
        let has_any = input.is_some() || output.is_some();
        has_any.then(|| Value::map(input.into_iter().chain(output)))
    }

    /// What a stream of it shows: what it tells, or else what was written to it. `None` where
    /// there is nothing to show.
    pub fn shown(&self, resource: Resource, now: Instant) -> Option<Value> {
        match resource {
            Resource::Key => None,
            Resource::Display => self.input(resource),
            _ => self.output(resource, now),
        }
    }

    /// What was written to it, with a secret as an empty one.
    pub fn input(&self, resource: Resource) -> Option<Value> {
        let panel = &self.state.panel;
        match resource {
            Resource::Info
            | Resource::Temperature
            | Resource::Humidity
            | Resource::Counter
            | Resource::Hostile
            | Resource::Reboot
            | Resource::Beep => None,
            Resource::Ip => Some(self.state.ip.to_value()),
            Resource::Slaves => Some(self.slaves()),
            Resource::Relay => Some(panel.relay()),
            Resource::Sum => Some(panel.summands()),
            Resource::Display => Some(panel.display.as_ref().into()),
            Resource::Ssl => Some(Value::map([
                ("enabled", Value::from(self.state.ssl.enabled)),
                ("root", "".into()),
                ("credential", "".into()),
            ])),
            Resource::Key => Some(Value::map([("key", Value::Bytes(Vec::new()))])),
        }
    }

    /// What it tells.
    pub fn output(&self, resource: Resource, now: Instant) -> Option<Value> {
        let (panel, seed) = (&self.state.panel, u64::from(self.info.id));
        match resource {
            Resource::Temperature => Some(panel::temperature(seed, now)),
            Resource::Humidity => Some(panel::humidity(seed, now)),
            Resource::Counter => Some(panel::counter(now)),
            Resource::Hostile => Some(panel::hostile()),
            Resource::Relay => Some(panel.relay()),
            Resource::Sum => Some(panel.sum()),
            Resource::Info => Some(self.info.to_value()),
            Resource::Ip => Some(self.state.ip.to_value()),
            Resource::Ssl => Some(Value::map([("enabled", self.state.ssl.enabled)])),
            Resource::Slaves => Some(self.slaves()),
            Resource::Key | Resource::Display | Resource::Reboot | Resource::Beep => None,
        }
    }

    fn slaves(&self) -> Value {
        Value::map([
            ("rs485", ids(&self.state.slaves.rs485)),
            ("wiegand", ids(&self.state.slaves.wiegand)),
        ])
    }

    fn write(&mut self, resource: Resource, input: &Value) -> Result<(), String> {
        let mut state = DeviceState::clone(&self.state);
        match resource {
            // They only tell: an input is passed over.
            Resource::Info
            | Resource::Temperature
            | Resource::Humidity
            | Resource::Counter
            | Resource::Hostile => return Ok(()),
            Resource::Relay => state.panel.switch_relay(input)?,
            Resource::Sum => state.panel.add_up(input)?,
            Resource::Display => state.panel.show(input)?,
            Resource::Reboot => state.panel.reboots += 1,
            Resource::Beep => state.panel.beeps += 1,
            Resource::Ip => state.ip = state.ip.merged(input)?,
            Resource::Ssl => write_ssl(&mut state, input)?,
            Resource::Key => state.key = Some(key(input)?),
            Resource::Slaves => {
                replace(&mut state.slaves.rs485, input, "rs485")?;
                replace(&mut state.slaves.wiegand, input, "wiegand")?;
            }
        }
        // What says the same again is no change.
        if state != *self.state {
            self.state = Arc::new(state);
        }
        Ok(())
    }
}

const KEY_WANTED: &str = "key is 32 bytes";

fn key(input: &Value) -> Result<LinkKey, String> {
    let bytes: Option<[u8; LINK_KEY_LEN]> = match input.get("key") {
        Some(Value::Bytes(bytes)) => bytes.as_slice().try_into().ok(),
        _ => None,
    };
    bytes.map(LinkKey::new).ok_or_else(|| KEY_WANTED.to_owned())
}

fn write_ssl(state: &mut DeviceState, input: &Value) -> Result<(), String> {
    let ssl = &mut state.ssl;
    match input.get("enabled") {
        Some(Value::Bool(enabled)) => ssl.enabled = *enabled,
        _ => return Err("enabled is true or false".to_owned()),
    }
    if let Some(root) = given(input, "root")? {
        tls::roots(root).map_err(|error| format!("root: {error}"))?;
        ssl.root = Some(root.into());
    }
    if let Some(credential) = given(input, "credential")? {
        if credential.len() > CREDENTIAL_MAX {
            return Err(format!("credential has {CREDENTIAL_MAX} bytes at most"));
        }
        ssl.credential = Some(credential.into());
    }
    if ssl.enabled && ssl.root.is_none() {
        return Err("root is needed to enable tls links".to_owned());
    }
    if !ssl.enabled && state.key.is_none() {
        return Err("the device has no link key, write security/key first".to_owned());
    }
    Ok(())
}

/// A text that is there; an empty one says nothing.
fn given<'a>(input: &'a Value, name: &str) -> Result<Option<&'a str>, String> {
    match input.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(format!("{name} is a text")),
    }
}

/// Puts the list of this name in place of the old one, if there is one.
fn replace(old: &mut Vec<u32>, input: &Value, name: &str) -> Result<(), String> {
    let Value::Map(_) = input else {
        return Err("the input is a map of rs485, wiegand or both".to_owned());
    };
    let Some(list) = input.get(name) else {
        return Ok(());
    };
    let wrong = || format!("{name} is a list of device IDs, 1 to 4294967295, each once");
    let Value::Array(list) = list else {
        return Err(wrong());
    };
    let id = |value: &Value| value.as_unsigned()?.try_into().ok().filter(|id| *id != 0);
    let ids: Option<Vec<u32>> = list.iter().map(id).collect();
    let ids = ids.ok_or_else(wrong)?;
    if ids.iter().collect::<BTreeSet<_>>().len() < ids.len() {
        return Err(wrong());
    }
    *old = ids;
    Ok(())
}

fn ids(ids: &[u32]) -> Value {
    Value::Array(ids.iter().copied().map(Value::from).collect())
}

#[cfg(test)]
mod tests;
