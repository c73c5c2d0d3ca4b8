//! A device that is led from one way of connecting to the other by calls alone.

use std::time::Duration;

use gatehouse::grpc::proto::gatehouse::v1::approvals_client::ApprovalsClient;
use gatehouse::grpc::proto::gatehouse::v1::fleet_client::FleetClient;
use gatehouse::grpc::proto::gatehouse::v1::identities_client::IdentitiesClient;
use gatehouse::grpc::proto::gatehouse::v1::{
    ApproveRequest, ListIdentitiesRequest, ListPendingRequest, Proof, SecretKind,
};
use gatehouse::grpc::proto::gsdk::connect::{
    ConnectionMode, DeleteAsyncConnectionRequest, DisconnectRequest, EnableSslRequest,
    SetConnectionModeRequest, Status,
};

use crate::support::client::{Statuses, add, auto, listed};
use crate::support::device::{self, Spec};
use crate::support::gateway::TestGateway;
use crate::support::{run, soon};

const ID: u32 = 1001;
const REDIAL: Duration = Duration::from_millis(50);

#[test]
fn a_device_is_switched_to_tls_and_to_dialling_by_calls_alone() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut client = gateway.client().await;
        let mut statuses = Statuses::subscribe(&mut client, 64).await;
        let admin = gateway.admin().await;
        let mut approvals = ApprovalsClient::new(admin.clone());
        let mut identities = IdentitiesClient::new(admin.clone());
        let mut fleet = FleetClient::new(admin);

        // Dialled, over aes, with the fleet key.
        let device = device::listen(Spec::new(ID, &gateway).redial(REDIAL)).await;
        add(&mut client, vec![auto(ID, device.address())]).await;
        statuses.wait_for(ID, Status::TcpConnected).await;

        // It is told to dial, and loses its connection.
        let mode = SetConnectionModeRequest {
            device_id: ID,
            connection_mode: ConnectionMode::DeviceToServer.into(),
        };
        client.set_connection_mode(mode).await.expect("set");
        let delete = DeleteAsyncConnectionRequest {
            device_i_ds: vec![ID],
        };
        client.delete_async_connection(delete).await.expect("gone");
        statuses.wait_for(ID, Status::Disconnected).await;

        // It dials, and nobody has said that it may.
        statuses.wait_for(ID, Status::TcpNotAllowed).await;
        let pending = approvals.list_pending(ListPendingRequest {}).await;
        let pending = pending.expect("a list").into_inner().devices;
        assert_eq!((pending.len(), pending[0].device_id), (1, ID));
        assert_eq!(pending[0].proof(), Proof::FleetKey);

        // It is approved, comes in, and is given a link key of its own.
        let approve = ApproveRequest {
            device_ids: vec![ID],
            enrol: true,
        };
        approvals.approve(approve).await.expect("approved");
        statuses.wait_for(ID, Status::TcpConnected).await;
        let enrolled = async {
            loop {
                let list = identities.list(ListIdentitiesRequest {}).await;
                let list = list.expect("a list").into_inner().identities;
                if list
                    .iter()
                    .any(|one| one.kind() == SecretKind::LinkKey && !one.rotating)
                {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        soon("the enrolment", enrolled).await;

        // It is given the root and a credential, over the link that it proved itself on.
        let enable = EnableSslRequest { device_id: ID };
        client.enable_ssl(enable).await.expect("enabled");
        let disconnect = DisconnectRequest {
            device_i_ds: vec![ID],
        };
        client.disconnect(disconnect).await.expect("disconnected");
        statuses.wait_for(ID, Status::TlsConnected).await;
        let info = listed(&mut client, ID).await.expect("listed");
        assert_eq!(info.connection_mode(), ConnectionMode::DeviceToServer);
        assert!(info.use_ssl && !info.auto_reconnect);
        let request = gatehouse::grpc::proto::gatehouse::v1::GetRequest { device_id: ID };
        let view = fleet.get(request).await.expect("listed").into_inner();
        let session = view.device.and_then(|device| device.session).expect("up");
        assert_eq!(session.proof(), Proof::Credential);
        gateway.stop().await;
    });
}
