//! What operators decided beside the managed list: who was refused, who is to be enrolled, and
//! which slaves stand behind a device.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;

use crate::device::DeviceId;
use crate::registry::accept_filter::AcceptFilter;
use crate::registry::records::{Record, RecordKey, Refusal, Slaves};

#[derive(Debug, Default)]
pub struct Decisions {
    refusals: OrdMap<DeviceId, Arc<Refusal>>,
    enrolments: BTreeSet<DeviceId>,
    slaves: Arc<Vec<Slaves>>,
}

impl Decisions {
    /// As they were stored, but for what has lost its meaning: refusals that expired, and the
    /// slaves where `forgets_slaves`. The keys of those are returned, to be deleted.
    pub fn restore(
        records: Vec<Record>,
        forgets_slaves: bool,
        unix_ms: u64,
    ) -> (Self, Vec<RecordKey>) {
        let mut decisions = Self::default();
        let mut slaves = Vec::new();
        let mut stale = Vec::new();
        for record in records {
            match record {
                Record::Slaves(_) if forgets_slaves => stale.push(record.key()),
                Record::Slaves(of) => slaves.push(of),
                Record::Refusal(refusal) if refusal.expires_unix_ms <= unix_ms => {
                    stale.push(RecordKey::Refusal(refusal.device));
                }
                Record::Refusal(refusal) => decisions.refuse(refusal),
                Record::Enrolment(device) => decisions.enrol(device),
                // Others keep those.
                Record::Credential(_) | Record::Token(_) => {}
            }
        }
        decisions.set_slaves(slaves);
        (decisions, stale)
    }

    /// The refusal of this device, if it still holds.
    pub fn refusal(&self, id: DeviceId, unix_ms: u64) -> Option<&Refusal> {
        let refusal = self.refusals.get(&id)?;
        (refusal.expires_unix_ms > unix_ms).then_some(refusal.as_ref())
    }

    /// All of them, expired ones among them; cheap to clone.
    pub fn refusals(&self) -> &OrdMap<DeviceId, Arc<Refusal>> {
        &self.refusals
    }

    pub fn expired(&self, unix_ms: u64) -> Vec<DeviceId> {
        let all = self.refusals.values();
        all.filter(|refusal| refusal.expires_unix_ms <= unix_ms)
            .map(|refusal| refusal.device)
            .collect()
    }

    pub fn refuse(&mut self, refusal: Refusal) {
        self.refusals.insert(refusal.device, Arc::new(refusal));
    }

    /// Forgets a refusal; whether there was one.
    pub fn pardon(&mut self, id: DeviceId) -> bool {
        self.refusals.remove(&id).is_some()
    }

    pub fn is_enrolment(&self, id: DeviceId) -> bool {
        self.enrolments.contains(&id)
    }

    pub fn enrol(&mut self, id: DeviceId) {
        self.enrolments.insert(id);
    }

    /// Takes an enrolment back, or it is done; whether there was one.
    pub fn end_enrolment(&mut self, id: DeviceId) -> bool {
        self.enrolments.remove(&id)
    }

    /// By ascending parent.
    pub fn slaves(&self) -> &Arc<Vec<Slaves>> {
        &self.slaves
    }

    /// Of two entries of one parent the later one counts.
    pub fn set_slaves(&mut self, slaves: Vec<Slaves>) {
        self.slaves = Arc::new(by_parent(slaves));
    }
}

/// One entry a parent, the last one named, by ascending parent.
pub fn by_parent(slaves: Vec<Slaves>) -> Vec<Slaves> {
    let by_parent: std::collections::BTreeMap<_, _> = slaves
        .into_iter()
        .map(|slaves| (slaves.parent, slaves))
        .collect();
    by_parent.into_values().collect()
}

/// The filter with single IDs taken out, then others put in behind the rest. An ID that is in both
/// lists is in.
pub fn change_filter(filter: &AcceptFilter, add: &[DeviceId], remove: &[DeviceId]) -> AcceptFilter {
    let removed: BTreeSet<u32> = remove.iter().map(|id| id.get()).collect();
    let mut changed = filter.clone();
    changed.device_ids.retain(|id| !removed.contains(id));
    let mut listed: BTreeSet<u32> = changed.device_ids.iter().copied().collect();
    let new = add
        .iter()
        .map(|id| id.get())
        .filter(|id| listed.insert(*id));
    changed.device_ids.extend(new);
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u32) -> DeviceId {
        DeviceId::new(id).unwrap()
    }

    fn refusal(device: u32, expires_unix_ms: u64) -> Refusal {
        Refusal {
            device: id(device),
            by: "operator".into(),
            unix_ms: 1,
            expires_unix_ms,
        }
    }

    fn slaves(parent: u32, rs485: &[u32]) -> Slaves {
        Slaves {
            parent: id(parent),
            rs485: rs485.iter().copied().map(id).collect(),
            wiegand: Vec::new(),
        }
    }

    #[test]
    fn single_ids_of_the_filter_change_and_the_rest_stays() {
        let filter = AcceptFilter {
            device_ids: vec![3, 9, 3, 1],
            ip_addrs: vec!["192.0.2.1".to_owned()],
            ..AcceptFilter::default()
        };
        let changed = change_filter(&filter, &[id(4), id(9), id(4), id(1)], &[id(3), id(4)]);
        assert_eq!(changed.device_ids, [9, 1, 4]);
        assert_eq!(changed.ip_addrs, filter.ip_addrs);
        assert_eq!(change_filter(&filter, &[], &[]), filter);
    }

    #[test]
    fn what_lost_its_meaning_is_not_restored() {
        let records = || {
            vec![
                Record::Refusal(refusal(1, 100)),
                Record::Refusal(refusal(2, 101)),
                Record::Slaves(slaves(9, &[91])),
                Record::Slaves(slaves(8, &[81])),
                Record::Enrolment(id(3)),
            ]
        };
        let (kept, stale) = Decisions::restore(records(), false, 100);
        assert_eq!(stale, [RecordKey::Refusal(id(1))]);
        assert!(kept.refusal(id(1), 100).is_none() && kept.refusal(id(2), 100).is_some());
        assert!(kept.refusal(id(2), 101).is_none());
        assert!(kept.is_enrolment(id(3)));
        assert_eq!(**kept.slaves(), [slaves(8, &[81]), slaves(9, &[91])]);
        let (kept, stale) = Decisions::restore(records(), true, 0);
        assert_eq!(stale, [9, 8].map(|parent| RecordKey::Slaves(id(parent))));
        assert!(kept.slaves().is_empty());
    }
}
