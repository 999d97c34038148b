//! Compiles the protobuf files without `protoc`: protox parses them, prost and
//! tonic generate the types and services, pbjson the canonical JSON mapping.

use std::{env, error::Error, fs, path::PathBuf};

use prost_build::Config;

const FILES: [&str; 9] = [
    "rapport/v1/common.proto",
    "rapport/v1/decision.proto",
    "rapport/v1/event.proto",
    "rapport/v1/customer.proto",
    "rapport/v1/merge.proto",
    "rapport/v1/privacy.proto",
    "rapport/v1/timeline.proto",
    "rapport/v1/analysis.proto",
    "rapport/v1/ruleset.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let set = protox::Compiler::new(["proto"])?
        .include_imports(true)
        .include_source_info(true)
        .open_files(FILES)?
        .encode_file_descriptor_set();
    let descriptors = out.join("rapport_descriptor.bin");
    fs::write(&descriptors, &set)?;

    let mut config = Config::new();
    config
        .file_descriptor_set_path(&descriptors)
        .skip_protoc_run()
        .compile_well_known_types()
        .extern_path(".google.protobuf", "::pbjson_types")
        .extern_path(".google.protobuf.Timestamp", "crate::grpc::timestamp::Timestamp")
        .extern_path(".google.protobuf.Struct", "crate::grpc::structs::Struct")
        .btree_map(["."]);
    tonic_prost_build::configure().codec_path("crate::grpc::codec::Codec").compile_with_config(
        config,
        &FILES,
        &["proto"],
    )?;

    pbjson_build::Builder::new().register_descriptors(&set)?.btree_map(["."]).emit_fields().build(&[".rapport.v1"])?;
    Ok(())
}
