//! Bytes of objects: the store stage.
//!
//! Problem: tables refer to their files by locations that anybody may have written, on local disks and in S3-compatible stores that fail,
//! stall and change. Contract: `fastdata_types::store`. How, from a location to bytes:
//!
//! ```text
//! location -> rewrite -> policy -> beneath + local   (openat2, pread, recycled buffers)
//!                              `-> ranges -> s3 -> retry -> peer -> http   (coalesced, split, resumed, hedged, signed)
//! ```

mod beneath;
mod buffers;
mod environment;
mod http;
mod listing;
mod local;
mod location;
#[cfg(test)]
mod mutations;
mod peer;
mod policy;
mod ranges;
mod recent;
mod retry;
mod rewrite;
mod s3;
mod settings;
mod stores;
mod versions;

pub use peer::PARALLEL_REQUESTS;
pub use rewrite::moved;
pub use stores::Stores;
