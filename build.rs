//! Compiles the protocol files to one descriptor set, which the server hands out by reflection.

use prost::Message;
use std::path::PathBuf;
use std::{env, error, fs};

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = ["arrow/flight/protocol/Flight.proto", "fastdata/v1/scan.proto", "fastdata/v1/stream.proto"];
    let descriptors = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    Ok(fs::write(out, descriptors.encode_to_vec())?)
}
