//! Reflection: tools such as `grpcurl` ask for the contracts, in both versions of the protocol.

use tonic_reflection::server::{Builder, Error};

use crate::grpc::contracts;
use crate::grpc::routes::Routes;

/// Adds both versions of the service. They tell the contracts of what is served under its newer
/// names; what the gateway keeps on disk is nobody's business.
///
/// # Errors
/// When the contracts do not fit together, which the build has seen to.
pub fn with_reflection(routes: Routes) -> Result<Routes, Error> {
    let v1 = builder().build_v1()?;
    let v1alpha = builder().build_v1alpha()?;
    Ok(routes.with(v1).with(v1alpha))
}

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_file_descriptor_set(contracts::of_services())
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_fit_together() {
        assert!(builder().build_v1().is_ok());
        assert!(builder().build_v1alpha().is_ok());
    }
}
