//! How many functions of one device are in progress. What wants no answer is in no list of its
//! session, and would be without bound.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::device::DeviceId;

pub(super) struct Places {
    /// Of one device.
    max: usize,
    taken: Mutex<HashMap<DeviceId, usize>>,
}

/// One function in progress, until it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    device: DeviceId,
}

impl Places {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            taken: Mutex::default(),
        })
    }

    /// `None` when the device has as many as it may.
    pub(super) fn take(self: &Arc<Self>, device: DeviceId) -> Option<Place> {
        let mut taken = self.taken();
        let count = taken.entry(device).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Place {
            places: self.clone(),
            device,
        })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<DeviceId, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(count) = taken.get_mut(&self.device) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_device_and_given_back() {
        let places = Places::new(2);
        let [one, two] = [1, 2].map(|id| DeviceId::new(id).unwrap());
        let kept = [places.take(one).unwrap(), places.take(one).unwrap()];
        assert!(places.take(one).is_none());
        assert!(places.take(two).is_some());
        drop(kept);
        assert!(places.take(one).is_some());
        assert!(places.taken().is_empty());
    }
}
