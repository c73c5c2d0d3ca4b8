//! The gRPC services.

/// The messages and services of the contracts in `proto/`, nested as their packages are.
pub mod proto {
    pub mod gsdk {
        pub mod connect {
            tonic::include_proto!("gsdk.connect");
        }
        pub mod device {
            tonic::include_proto!("gsdk.device");
        }
        pub mod err {
            tonic::include_proto!("gsdk.err");
        }
    }
    pub mod gatehouse {
        pub mod v1 {
            tonic::include_proto!("gatehouse.v1");
        }
    }
}
