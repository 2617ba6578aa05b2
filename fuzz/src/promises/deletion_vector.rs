//! Deletion vectors. The input is what stands between magic and checksum, which no mutation would get right; as it comes it is tried as a
//! whole blob too.
//!
//! Promises, with the decoder of the `roaring` crate as the other opinion: the positions are the same in both; the cardinality that is
//! stated must be the one that is found; what was read can be written and read again; memory in proportion.

use super::containers::framed;
use super::{refused, within};
use fastdata_read::decode_deletion_vector;
use fastdata_types::ErrorKind;
use roaring::RoaringTreemap;

/// A run of four bytes becomes a bitmap of eight kilobytes at the most.
const PER_BYTE: usize = 4096;

pub fn deletion_vector(body: &[u8]) {
    if let Err(error) = within(PER_BYTE, body, || decode_deletion_vector(body, 0)) {
        refused(&error, &[ErrorKind::Corrupt]);
    }
    let other = RoaringTreemap::deserialize_from(body).ok();
    let cardinality = other.as_ref().map_or(0, RoaringTreemap::len);
    let blob = framed(body);
    let positions = match within(PER_BYTE, &blob, || decode_deletion_vector(&blob, cardinality)) {
        Ok(positions) => positions,
        Err(error) => {
            refused(&error, &[ErrorKind::Corrupt]);
            return round_trip(other.as_ref());
        }
    };
    assert!(other.is_some_and(|other| same(&other, &positions)), "two decoders, two answers");
    assert!(positions.max().is_none_or(|max| max <= i64::MAX as u64), "a negative position");
    assert!(decode_deletion_vector(&blob, cardinality + 1).is_err(), "a cardinality that is wrong was accepted");
    round_trip(Some(&positions));
}

/// Positions that fit signed 64 bits, written by the other implementation, come back as they are. An empty bitmap has a key too.
fn round_trip(positions: Option<&RoaringTreemap>) {
    let signed = |positions: &&RoaringTreemap| positions.bitmaps().all(|(key, _)| key <= i32::MAX as u32);
    let Some(positions) = positions.filter(signed) else { return };
    let mut body = Vec::new();
    positions.serialize_into(&mut body).expect("a vector in memory can be written");
    let again = decode_deletion_vector(&framed(&body), positions.len()).expect("what roaring writes is read");
    assert!(same(&again, positions), "what was written and read is not what it was");
}

/// The same positions, however they are held: by their containers, since there may be billions.
fn same(one: &RoaringTreemap, other: &RoaringTreemap) -> bool {
    one.len() == other.len() && one.is_subset(other)
}
