//! Clients of the gRPC APIs.

use std::net::SocketAddr;

use gatehouse::grpc::proto::gatehouse::v1::fleet_client::FleetClient;
use gatehouse::grpc::proto::gsdk::connect::connect_client::ConnectClient;
use gatehouse::grpc::proto::gsdk::connect::{
    AcceptFilter, AddAsyncConnectionRequest, AsyncConnectInfo, ConnectInfo, ConnectRequest,
    DeviceInfo, GetDeviceListRequest, SetAcceptFilterRequest, Status, StatusChange,
    SubscribeStatusRequest,
};
use gatehouse::time::unix_seconds;
use http::Uri;
use tonic::Streaming;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tower::util::MapRequest;

use super::soon;

type Request = http::Request<tonic::body::Body>;
pub type Client = ConnectClient<Channel>;
/// A client that was built for the package names without a prefix.
pub type BareClient = ConnectClient<MapRequest<Channel, fn(Request) -> Request>>;

/// Opens a channel that trusts nothing but `ca`.
pub async fn channel(
    address: SocketAddr,
    host: &str,
    ca: &str,
) -> Result<Channel, tonic::transport::Error> {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
    Endpoint::from_shared(format!("https://{host}:{}", address.port()))?
        .tls_config(tls)?
        .connect()
        .await
}

/// A channel whose calls carry a token.
pub type Admin = InterceptedService<Channel, Bearer>;

/// Puts a token beside each call.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(
        &mut self,
        mut request: tonic::Request<()>,
    ) -> Result<tonic::Request<()>, tonic::Status> {
        let metadata = request.metadata_mut();
        metadata.insert("authorization", self.0.clone());
        Ok(request)
    }
}

pub fn with_token(channel: Channel, token: &str) -> Admin {
    let value = format!("Bearer {token}").parse().expect("a header");
    InterceptedService::new(channel, Bearer(value))
}

pub fn bare(channel: Channel) -> BareClient {
    ConnectClient::new(MapRequest::new(channel, without_prefix))
}

pub fn fleet(channel: Channel) -> FleetClient<Channel> {
    FleetClient::new(channel)
}

fn without_prefix(mut request: Request) -> Request {
    let mut parts = request.uri().clone().into_parts();
    let path = request.uri().path().replace("/gsdk.", "/");
    parts.path_and_query = Some(path.parse().expect("a path"));
    *request.uri_mut() = Uri::from_parts(parts).expect("a URI");
    request
}

pub fn auto(id: u32, address: SocketAddr) -> AsyncConnectInfo {
    AsyncConnectInfo {
        device_id: id,
        ip_addr: address.ip().to_string(),
        port: address.port().into(),
        use_ssl: false,
    }
}

pub fn connect_to(address: SocketAddr) -> ConnectRequest {
    ConnectRequest {
        connect_info: Some(ConnectInfo {
            ip_addr: address.ip().to_string(),
            port: address.port().into(),
            use_ssl: false,
        }),
    }
}

pub async fn add(client: &mut Client, infos: Vec<AsyncConnectInfo>) {
    let request = AddAsyncConnectionRequest {
        connect_infos: infos,
    };
    client.add_async_connection(request).await.expect("added");
}

pub async fn set_filter(client: &mut Client, filter: AcceptFilter) {
    let request = SetAcceptFilterRequest {
        filter: Some(filter),
    };
    client.set_accept_filter(request).await.expect("filter set");
}

pub async fn allow_all(client: &mut Client) {
    let filter = AcceptFilter {
        allow_all: true,
        ..AcceptFilter::default()
    };
    set_filter(client, filter).await;
}

pub async fn list(client: &mut Client) -> Vec<DeviceInfo> {
    let list = client.get_device_list(GetDeviceListRequest {}).await;
    list.expect("a list").into_inner().device_infos
}

pub async fn listed(client: &mut Client, id: u32) -> Option<DeviceInfo> {
    let list = list(client).await;
    list.into_iter().find(|info| info.device_id == id)
}

/// A status stream that is read as it goes.
pub struct Statuses {
    stream: Streaming<StatusChange>,
    pub seen: Vec<StatusChange>,
}

impl Statuses {
    pub async fn subscribe(client: &mut Client, queue_size: i32) -> Self {
        let request = SubscribeStatusRequest { queue_size };
        let stream = soon("the status stream", client.subscribe_status(request)).await;
        Self {
            stream: stream.expect("subscribed").into_inner(),
            seen: Vec::new(),
        }
    }

    /// The next change.
    pub async fn next(&mut self) -> Result<StatusChange, tonic::Status> {
        let change = soon("a status change", self.stream.message()).await?;
        let change = change.ok_or_else(|| tonic::Status::ok("the stream ended"))?;
        self.seen.push(change);
        Ok(change)
    }

    /// Reads on until this device has this status.
    pub async fn wait_for(&mut self, id: u32, status: Status) -> StatusChange {
        loop {
            let change = self.next().await.expect("the stream goes on");
            if change.device_id == id && change.status() == status {
                let now = unix_seconds(gatehouse::clock::now().unix_ms);
                assert!(now.abs_diff(change.timestamp) < 120, "{change:?} at {now}");
                return change;
            }
        }
    }

    /// What was seen of one device so far.
    pub fn of(&self, id: u32) -> Vec<Status> {
        let mine = self.seen.iter().filter(|change| change.device_id == id);
        mine.map(StatusChange::status).collect()
    }
}
