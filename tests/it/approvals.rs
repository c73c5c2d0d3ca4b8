//! The pending list as a workflow: who waits, who is refused, and who shows nothing.

use gatehouse::config::Listen;
use gatehouse::grpc::proto::gatehouse::v1::approvals_client::ApprovalsClient;
use gatehouse::grpc::proto::gatehouse::v1::{
    ChangeAcceptFilterRequest, Link, ListPendingRequest, ListRefusedRequest, ListUnprovenRequest,
    RefuseRequest,
};
use gatehouse::grpc::proto::gsdk::connect::{GetAcceptFilterRequest, Status};
use tonic::Code;

use crate::support::client::{Admin, Statuses};
use crate::support::device::{self, Spec};
use crate::support::gateway::TestGateway;
use crate::support::{run, soon};

async fn pending(client: &mut ApprovalsClient<Admin>) -> Vec<u32> {
    let list = client.list_pending(ListPendingRequest {}).await;
    let devices = list.expect("a list").into_inner().devices;
    devices.iter().map(|device| device.device_id).collect()
}

async fn refused(client: &mut ApprovalsClient<Admin>) -> Vec<(u32, String)> {
    let list = client.list_refused(ListRefusedRequest {}).await;
    let refusals = list.expect("a list").into_inner().refusals;
    let of = |refusal: gatehouse::grpc::proto::gatehouse::v1::Refusal| {
        // It counts from when it was asked for, which is before it is decided.
        let holds = refusal.expires_unix_ms.checked_sub(refusal.unix_ms);
        assert!(holds.is_some_and(|ms| ms <= 60_000), "{refusal:?}");
        (refusal.device_id, refusal.by)
    };
    refusals.into_iter().map(of).collect()
}

#[test]
fn a_refused_device_pends_no_more_until_it_is_let_in() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut connect = gateway.client().await;
        let mut client = ApprovalsClient::new(gateway.admin().await);
        let mut statuses = Statuses::subscribe(&mut connect, 16).await;
        let _device = device::dial(Spec::new(7, &gateway), gateway.aes());
        statuses.wait_for(7, Status::TcpNotAllowed).await;
        assert_eq!(pending(&mut client).await, [7]);

        let refuse = |ids: &[u32]| RefuseRequest {
            device_ids: ids.to_vec(),
            for_seconds: 60,
        };
        let error = client.refuse(refuse(&[7, 8])).await.expect_err("8");
        assert_eq!(error.code(), Code::NotFound);
        assert_eq!(refused(&mut client).await, [], "nothing of it is done");
        client.refuse(refuse(&[7])).await.expect("refused");
        assert_eq!(pending(&mut client).await, [0_u32; 0]);
        let by = "token first-admin".to_owned();
        assert_eq!(refused(&mut client).await, [(7, by)]);

        let change = ChangeAcceptFilterRequest {
            add_device_ids: vec![7, 9],
            remove_device_ids: vec![8],
        };
        client.change_accept_filter(change).await.expect("changed");
        statuses.wait_for(7, Status::TcpConnected).await;
        assert_eq!(refused(&mut client).await, []);
        let filter = connect.get_accept_filter(GetAcceptFilterRequest {}).await;
        let filter = filter.expect("told").into_inner().filter.expect("one");
        assert_eq!((filter.allow_all, filter.device_i_ds), (false, vec![7, 9]));
        gateway.stop().await;
    });
}

#[test]
fn who_shows_no_proof_is_listed_apart() {
    run(async {
        let gateway = TestGateway::with(|config| {
            config.plain.listen = Listen(Some(([127, 0, 0, 1], 0).into()));
        })
        .await;
        let mut client = ApprovalsClient::new(gateway.admin().await);
        let stranger = Spec::new(1002, &gateway).plain();
        let _stranger = device::dial(stranger, gateway.plain());
        let listed = async {
            loop {
                let list = client.list_unproven(ListUnprovenRequest {}).await;
                let peers = list.expect("a list").into_inner().peers;
                if let Some(peer) = peers.into_iter().next() {
                    return peer;
                }
                tokio::task::yield_now().await;
            }
        };
        let peer = soon("the stranger", listed).await;
        assert_eq!(peer.identity.as_ref().expect("a name").device, "1002");
        assert_eq!(peer.link(), Link::Plain);
        assert!(peer.tries >= 1 && peer.cause.is_some());
        assert_eq!(pending(&mut client).await, [0_u32; 0]);
        gateway.stop().await;
    });
}
