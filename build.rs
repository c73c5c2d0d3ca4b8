//! Compiles the contracts in `proto/` without `protoc`.

use std::path::PathBuf;

use prost::Message;

/// Every contract, by its path under `proto/`.
const CONTRACTS: [&str; 14] = [
    "admin.proto",
    "connect.proto",
    "device.proto",
    "device_1_7.proto",
    "err.proto",
    "network.proto",
    "rs485.proto",
    "wiegand.proto",
    "gatehouse/v1/fleet.proto",
    "gatehouse/v1/identities.proto",
    "gatehouse/v1/approvals.proto",
    "gatehouse/v1/access.proto",
    "gatehouse/v1/operation.proto",
    "store.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from("proto");
    for contract in CONTRACTS {
        println!("cargo:rerun-if-changed={}", root.join(contract).display());
    }
    let descriptors = protox::compile(CONTRACTS, [&root])?;
    // What the gateway itself reads of them needs no comments.
    let mut bare = descriptors.clone();
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("contracts.bin"), bare.encode_to_vec())?;
    tonic_prost_build::configure()
        // An RPC named `Connect` clashes with the generated client's own constructor.
        .build_transport(false)
        // One answer, two numberings of its fields.
        .extern_path(
            ".gsdk.device.GetCapabilityInfoResponse",
            "crate::grpc::capability::GetCapabilityInfoResponse",
        )
        .compile_fds(descriptors)?;
    Ok(())
}
