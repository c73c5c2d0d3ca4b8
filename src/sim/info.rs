//! What a simulated device tells about itself.

use crate::codec::pson::Value;

/// The content of `device/info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// 0 where the device knows only its name.
    pub id: u32,
    /// The number of its `device.Type`.
    pub device_type: u32,
    pub name: String,
}

impl Info {
    /// The answer to a Run of `device/info`: the fields under their names in the device API.
    pub fn to_value(&self) -> Value {
        Value::map([
            ("id", Value::from(self.id)),
            ("type", self.device_type.into()),
            ("name", self.name.as_str().into()),
            ("MACAddr", self.mac_address().into()),
            ("modelName", "Simulated".into()),
            ("firmwareVersion", env!("CARGO_PKG_VERSION").into()),
            ("kernelVersion", "1.0.0".into()),
            ("BSCoreVersion", "1.0.0".into()),
            ("boardVersion", "1.0.0".into()),
        ])
    }

    /// Of the addresses that anyone may give out, one for each ID.
    fn mac_address(&self) -> String {
        let [a, b, c, d] = self.id.to_be_bytes();
        format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    }
}
