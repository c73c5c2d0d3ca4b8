//! Which role each call of the services wants, and which calls change something. A call that has no
//! row here is not served, whatever code there is for it.

use crate::access::Role;
use crate::access::Role::{Admin, Operator, Viewer};

/// What a call wants and does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `gsdk.connect.Connect/AddAsyncConnection`.
    pub call: &'static str,
    /// The least role that may make it; `None`: whoever reaches the port.
    pub needs: Option<Role>,
    /// It changes something, and is written to the audit log.
    pub changes: bool,
}

/// The rule of a call by its full name.
pub fn rule(call: &str) -> Option<Rule> {
    RULES.iter().find(|rule| rule.call == call).copied()
}

/// Every rule, in the order of the contracts.
pub const RULES: &[Rule] = &[
    changes(Operator, "gsdk.connect.Connect/Connect"),
    changes(Operator, "gsdk.connect.Connect/AddAsyncConnection"),
    changes(Operator, "gsdk.connect.Connect/DeleteAsyncConnection"),
    changes(Operator, "gsdk.connect.Connect/SetAcceptFilter"),
    reads(Viewer, "gsdk.connect.Connect/GetAcceptFilter"),
    reads(Viewer, "gsdk.connect.Connect/GetPendingList"),
    reads(Viewer, "gsdk.connect.Connect/GetDeviceList"),
    changes(Operator, "gsdk.connect.Connect/Disconnect"),
    changes(Operator, "gsdk.connect.Connect/DisconnectAll"),
    // It sends datagrams into the network.
    reads(Operator, "gsdk.connect.Connect/SearchDevice"),
    reads(Viewer, "gsdk.connect.Connect/GetSlaveDevice"),
    changes(Operator, "gsdk.connect.Connect/SetSlaveDevice"),
    changes(Operator, "gsdk.connect.Connect/SetConnectionMode"),
    changes(Operator, "gsdk.connect.Connect/SetConnectionModeMulti"),
    changes(Operator, "gsdk.connect.Connect/EnableSSL"),
    changes(Operator, "gsdk.connect.Connect/EnableSSLMulti"),
    changes(Operator, "gsdk.connect.Connect/DisableSSL"),
    changes(Operator, "gsdk.connect.Connect/DisableSSLMulti"),
    reads(Viewer, "gsdk.connect.Connect/SubscribeStatus"),
    reads(Viewer, "gsdk.device.Device/GetInfo"),
    reads(Viewer, "gsdk.device.Device/GetCapability"),
    reads(Viewer, "gsdk.device.Device/GetCapabilityInfo"),
    changes(Operator, "gsdk.device.Device/DeleteRootCA"),
    changes(Operator, "gsdk.device.Device/Lock"),
    changes(Operator, "gsdk.device.Device/LockMulti"),
    changes(Operator, "gsdk.device.Device/Unlock"),
    changes(Operator, "gsdk.device.Device/UnlockMulti"),
    changes(Operator, "gsdk.device.Device/Reboot"),
    changes(Operator, "gsdk.device.Device/RebootMulti"),
    changes(Operator, "gsdk.device.Device/FactoryReset"),
    changes(Operator, "gsdk.device.Device/FactoryResetMulti"),
    changes(Operator, "gsdk.device.Device/ClearDB"),
    changes(Operator, "gsdk.device.Device/ClearDBMulti"),
    changes(Operator, "gsdk.device.Device/ResetConfig"),
    changes(Operator, "gsdk.device.Device/ResetConfigMulti"),
    changes(Operator, "gsdk.device.Device/UpgradeFirmware"),
    changes(Operator, "gsdk.device.Device/UpgradeFirmwareMulti"),
    reads(Viewer, "gsdk.device.Device/GetHashKey"),
    changes(Operator, "gsdk.device.Device/SetHashKey"),
    reads(Viewer, "gsdk.network.Network/GetIPConfig"),
    changes(Operator, "gsdk.network.Network/SetIPConfig"),
    changes(Operator, "gsdk.network.Network/SetIPConfigMulti"),
    reads(Viewer, "gsdk.network.Network/GetWLANConfig"),
    changes(Operator, "gsdk.network.Network/SetWLANConfig"),
    changes(Operator, "gsdk.network.Network/SetWLANConfigMulti"),
    reads(Operator, "gsdk.rs485.RS485/SearchDevice"),
    reads(Viewer, "gsdk.rs485.RS485/GetDevice"),
    changes(Operator, "gsdk.rs485.RS485/SetDevice"),
    reads(Viewer, "gsdk.rs485.RS485/GetConfig"),
    changes(Operator, "gsdk.rs485.RS485/SetConfig"),
    changes(Operator, "gsdk.rs485.RS485/SetConfigMulti"),
    reads(Operator, "gsdk.wiegand.Wiegand/SearchDevice"),
    reads(Viewer, "gsdk.wiegand.Wiegand/GetDevice"),
    changes(Operator, "gsdk.wiegand.Wiegand/SetDevice"),
    reads(Viewer, "gsdk.wiegand.Wiegand/GetConfig"),
    changes(Operator, "gsdk.wiegand.Wiegand/SetConfig"),
    changes(Operator, "gsdk.wiegand.Wiegand/SetConfigMulti"),
    reads(Viewer, "gsdk.admin.Admin/GetInfo"),
    reads(Viewer, "gatehouse.v1.Fleet/Watch"),
    reads(Viewer, "gatehouse.v1.Fleet/Get"),
    reads(Viewer, "gatehouse.v1.Fleet/List"),
    changes(Operator, "gatehouse.v1.Fleet/RetryNow"),
    reads(Viewer, "gatehouse.v1.Fleet/Top"),
    reads(Viewer, "gatehouse.v1.Approvals/ListPending"),
    reads(Viewer, "gatehouse.v1.Approvals/ListUnproven"),
    reads(Viewer, "gatehouse.v1.Approvals/ListRefused"),
    changes(Admin, "gatehouse.v1.Approvals/Approve"),
    changes(Admin, "gatehouse.v1.Approvals/Refuse"),
    changes(Operator, "gatehouse.v1.Approvals/ChangeAcceptFilter"),
    changes(Admin, "gatehouse.v1.Identities/Add"),
    reads(Admin, "gatehouse.v1.Identities/List"),
    changes(Admin, "gatehouse.v1.Identities/Remove"),
    changes(Admin, "gatehouse.v1.Identities/Rotate"),
    changes(Admin, "gatehouse.v1.Identities/Enrol"),
    reads(Viewer, "gatehouse.v1.Access/WhoAmI"),
    changes(Admin, "gatehouse.v1.Access/CreateToken"),
    reads(Admin, "gatehouse.v1.Access/ListTokens"),
    changes(Admin, "gatehouse.v1.Access/RevokeToken"),
    reads(Admin, "gatehouse.v1.Access/ListAudit"),
    // A load balancer has no credentials, and learns no more than that the gateway runs.
    open("grpc.health.v1.Health/Check"),
    open("grpc.health.v1.Health/Watch"),
    reads(
        Viewer,
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ),
    reads(
        Viewer,
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ),
    reads(Viewer, "gatehouse.v1.Operation/GetLogLevel"),
    changes(Admin, "gatehouse.v1.Operation/SetLogLevel"),
];

const fn open(call: &'static str) -> Rule {
    Rule {
        call,
        needs: None,
        changes: false,
    }
}

const fn reads(needs: Role, call: &'static str) -> Rule {
    Rule {
        call,
        needs: Some(needs),
        changes: false,
    }
}

const fn changes(needs: Role, call: &'static str) -> Rule {
    Rule {
        call,
        needs: Some(needs),
        changes: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_one_rule() {
        for rule in RULES {
            let alike = RULES.iter().filter(|other| other.call == rule.call);
            assert_eq!(alike.count(), 1, "{}", rule.call);
        }
        assert_eq!(rule("gsdk.connect.Connect/Nonsense"), None);
    }

    #[test]
    fn a_viewer_changes_nothing() {
        let wrong = RULES
            .iter()
            .find(|rule| rule.changes && rule.needs < Some(Operator));
        assert_eq!(wrong, None);
    }
}
