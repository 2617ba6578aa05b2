//! gRPC server reflection: grpcurl and its like list and describe what this server speaks, without our files.
//!
//! Contract: the Flight service, gRPC health and the messages of `proto/fastdata/v1`, in both versions of the reflection protocol that are
//! in use. Descriptions of types tell nothing of tables.

use fastdata_types::{Error, Result, Stage};
use tonic_reflection::server::Builder;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};
use tonic_reflection::server::v1alpha::{ServerReflection as ServerReflectionAlpha, ServerReflectionServer as ServerReflectionServerAlpha};

/// The compiled files below `proto/`, as a `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

fn failed(cause: impl std::fmt::Display) -> Error {
    Error::internal(Stage::Serve, format!("the descriptors of the protocol: {cause}"))
}

/// The service that current clients ask.
pub fn v1() -> Result<ServerReflectionServer<impl ServerReflection>> {
    builder().build_v1().map_err(failed)
}

/// The one that older clients ask.
pub fn v1alpha() -> Result<ServerReflectionServerAlpha<impl ServerReflectionAlpha>> {
    builder().build_v1alpha().map_err(failed)
}
