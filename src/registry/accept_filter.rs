//! Which devices may dial in.

/// The accept filter of the Connect API. The default lets nobody in.
///
/// What was set is kept word for word, because `GetAcceptFilter` answers exactly that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptFilter {
    pub allow_all: bool,
    /// As given: order and repetitions are kept.
    pub device_ids: Vec<u32>,
    pub ip_addrs: Vec<String>,
    /// Entry `i` belongs to `ip_addrs[i]`; missing or empty means that one host.
    pub subnet_masks: Vec<String>,
}
impl AcceptFilter {
    pub fn accepts(
        &self,
        id: crate::device::DeviceId,
        _address: std::net::IpAddr,
        _by_address: bool,
    ) -> bool {
        self.allow_all || self.device_ids.contains(&id.get())
    }
}
