//! Manifests and manifest lists.
//!
//! Promises: a number of entries or an error that names the file; the same answer every time; a file that lost its end is refused or
//! holds no more than the whole; memory in proportion to the file, or below a fixed bound where the file is compressed.

use super::containers::is_compressed;
use super::{refused, within, within_bytes};
use fastdata_types::{ErrorKind, Result};

const NAME: &str = "s3://bucket/table/metadata/file.avro";
/// Of Avro's schema JSON, at most 1 MiB, as a tree of values; entries take less.
const PER_BYTE: usize = 160;
/// Where blocks are compressed: one block of 64 MiB while it grows, and the manifests of a list.
const COMPRESSED: usize = 512 << 20;

pub fn manifest(bytes: &[u8]) {
    check(bytes, |bytes| fastdata_plan::manifest::decode(NAME, bytes));
}

pub fn manifest_list(bytes: &[u8]) {
    check(bytes, |bytes| fastdata_plan::manifest::decode_list(NAME, bytes));
}

fn check(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<u64>) {
    let outcome = match is_compressed(bytes) {
        true => within_bytes(COMPRESSED, bytes, || decode(bytes)),
        false => within(PER_BYTE, bytes, || decode(bytes)),
    };
    let entries = match outcome {
        Ok(entries) => entries,
        Err(error) => {
            refused(&error, &[ErrorKind::Corrupt, ErrorKind::Unsupported, ErrorKind::LimitExceeded]);
            assert!(error.message().contains(NAME), "the error does not name the file: {error:?}");
            return;
        }
    };
    assert_eq!(decode(bytes).ok(), Some(entries), "two answers for one file");
    let end = bytes.len().saturating_sub(1);
    assert!(decode(&bytes[..end]).is_err(), "a file without its last byte was read");
    if let Ok(fewer) = decode(&bytes[..bytes.len() / 2]) {
        assert!(fewer <= entries, "half a file has {fewer} entries, the whole one {entries}");
    }
}
