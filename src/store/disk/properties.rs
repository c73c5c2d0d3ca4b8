//! Properties on disk.

use std::io;

use sled::IVec;

use super::{Disk, DiskError};
use crate::codec::pson::Value;
use crate::device::DeviceId;
use crate::store::property::{self, Properties, Property, PropertyChange, PropertyError};
use crate::store::record::device_key;

/// So many properties are put back in one batch.
const AT_ONCE: usize = 1000;

/// What was there before a change of a property that is not acknowledged yet.
pub struct Before {
    key: Vec<u8>,
    value: Option<IVec>,
}

impl Before {
    /// Whether it is of this property.
    pub fn is_of(&self, device: DeviceId, name: &str) -> bool {
        self.key == property::key(device, name)
    }

    /// The value that was there.
    pub fn value(&self) -> Option<Value> {
        let (_, value) = property::decode(&self.key, self.value.as_ref()?).ok()?;
        Some(value)
    }

    /// Puts it into the properties of this device, if it is one of them, sorted by name.
    pub fn put_back(&self, device: DeviceId, properties: &mut Properties) {
        let name = self.key.strip_prefix(&device_key(device));
        let Some(name) = name.and_then(|name| std::str::from_utf8(name).ok()) else {
            return;
        };
        let place = properties.binary_search_by(|(other, _)| (**other).cmp(name));
        match (place, self.value()) {
            (Ok(place), Some(value)) => properties[place].1 = value,
            (Ok(place), None) => drop(properties.remove(place)),
            (Err(place), Some(value)) => properties.insert(place, (name.into(), value)),
            (Err(_), None) => {}
        }
    }
}

impl Disk {
    /// Applies a change of a property, unless the device has so many already; what was there
    /// before. It is on disk after [`Self::sync`].
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn change_property(
        &self,
        change: &PropertyChange,
        properties_max: usize,
    ) -> Result<Result<Before, PropertyError>, DiskError> {
        let (device, name) = (change.device, &*change.name);
        let key = property::key(device, name);
        let value = self.properties.get(&key)?;
        match &change.pson {
            None => {
                self.properties.remove(&key)?;
            }
            Some(_) if value.is_none() && self.has_properties(device, properties_max)? => {
                return Ok(Err(PropertyError::TooMany(properties_max)));
            }
            Some(pson) => {
                let record = property::encode(device, name, pson);
                self.properties.insert(&key, record)?;
            }
        }
        Ok(Ok(Before { key, value }))
    }

    /// Takes changes back, which were made in this order.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn take_back(&self, changes: &[Before]) -> Result<(), DiskError> {
        for Before { key, value } in changes.iter().rev() {
            match value {
                Some(value) => self.properties.insert(key, value)?,
                None => self.properties.remove(key)?,
            };
        }
        Ok(())
    }

    /// Has these properties and no others.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn replace_properties(&self, properties: &[Property]) -> Result<(), DiskError> {
        self.properties.clear()?;
        for some in properties.chunks(AT_ONCE) {
            self.put_properties(some)?;
        }
        Ok(())
    }

    /// `None` when there is none, or it does not decode and was moved aside.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn property(&self, device: DeviceId, name: &str) -> Result<Option<Value>, DiskError> {
        let key = property::key(device, name);
        let Some(record) = self.properties.get(&key)? else {
            return Ok(None);
        };
        match property::decode(&key, &record) {
            Ok((_, value)) => Ok(Some(value)),
            Err(error) => {
                self.copy_aside(&self.properties, &key, &record, &error)?;
                self.properties.remove(&key)?;
                Ok(None)
            }
        }
    }

    /// The properties of a device by name. Those that do not decode are moved aside.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn properties(&self, device: DeviceId) -> Result<Properties, DiskError> {
        let mut found = Vec::new();
        for entry in self.properties.scan_prefix(device_key(device)) {
            let (key, record) = entry?;
            match property::decode(&key, &record) {
                Ok((property, value)) => found.push((property.name, value)),
                Err(error) => {
                    self.copy_aside(&self.properties, &key, &record, &error)?;
                    self.properties.remove(&key)?;
                }
            }
        }
        Ok(found)
    }

    /// Hands over every property that decodes, until `take` fails.
    ///
    /// # Errors
    /// [`DiskError`], also for an error of `take`.
    pub fn each_property(
        &self,
        mut take: impl FnMut(Property) -> io::Result<()>,
    ) -> Result<(), DiskError> {
        for entry in &self.properties {
            let (key, record) = entry?;
            if let Ok((property, _)) = property::decode(&key, &record) {
                take(property)?;
            }
        }
        Ok(())
    }

    /// Moves aside what does not decode.
    pub(super) fn check_properties(&self) -> Result<(), DiskError> {
        self.take(&self.properties, |key, record| {
            property::decode(key, record).map(|_| ())
        })
    }

    fn has_properties(&self, device: DeviceId, count: usize) -> Result<bool, DiskError> {
        let mut keys = self.properties.scan_prefix(device_key(device)).keys();
        match count.checked_sub(1) {
            None => Ok(true),
            Some(before) => Ok(keys.nth(before).transpose()?.is_some()),
        }
    }
}
