//! Compiles the contracts in `proto/` without `protoc`.

use std::path::PathBuf;

/// Every contract, by its path under `proto/`.
const CONTRACTS: [&str; 8] = [
    "device.proto",
    "err.proto",
    "connect.proto",
    "gatehouse/v1/fleet.proto",
    "gatehouse/v1/identities.proto",
    "gatehouse/v1/approvals.proto",
    "gatehouse/v1/access.proto",
    "store.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from("proto");
    for contract in CONTRACTS {
        println!("cargo:rerun-if-changed={}", root.join(contract).display());
    }
    let descriptors = protox::compile(CONTRACTS, [&root])?;
    tonic_prost_build::configure()
        // An RPC named `Connect` clashes with the generated client's own constructor.
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
