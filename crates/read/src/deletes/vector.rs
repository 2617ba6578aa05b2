//! Deletion vectors (spec "Deletion Vectors"; Puffin spec "deletion-vector-v1 blob type").
//!
//! Problem: a blob says which positions of one data file are deleted, and every byte of it may be a lie. Contract: the blob's length,
//! magic, CRC-32, key order, completeness and cardinality are all checked; what fails is `corrupt`; memory stays within a small multiple of
//! the blob's size, or within the allowance given. How: the 64-bit frame is parsed here, each 32-bit bitmap by the checking
//! decoder of `roaring`.
//!
//! ```text
//! length of magic + vector   4 bytes, big endian
//! magic                      D1 D3 39 64
//! vector                     number of bitmaps, 8 bytes little endian; then key (4 bytes) and bitmap, keys ascending
//! CRC-32 of magic + vector   4 bytes, big endian
//! ```

use fastdata_types::{Error, Result, Stage};
use roaring::{RoaringBitmap, RoaringTreemap};

const MAGIC: [u8; 4] = [0xD1, 0xD3, 0x39, 0x64];
/// The highest key: positions are signed 64-bit numbers and never negative.
const MAX_KEY: u32 = i32::MAX as u32;
/// The shortest encoding of one key with its bitmap.
const SHORTEST_BITMAP: usize = 4 + 8;

/// Why a blob was not decoded.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It contradicts the specification, or the manifest.
    Corrupt(String),
    /// The positions take more memory than was allowed.
    Allowance,
}

/// Decodes the blob of one deletion vector; `expected_cardinality` is the record count that the manifest states.
pub fn decode_deletion_vector(blob: &[u8], expected_cardinality: u64) -> Result<RoaringTreemap> {
    decode(blob, expected_cardinality, u64::MAX).map_err(|refusal| match refusal {
        Refusal::Corrupt(why) => Error::corrupt(Stage::Read, format!("deletion vector: {why}")),
        Refusal::Allowance => Error::internal(Stage::Read, "deletion vector: exceeds an unlimited allowance"),
    })
}

/// The same within `allowance` bytes of decoded positions.
pub(super) fn decode(blob: &[u8], expected_cardinality: u64, allowance: u64) -> Result<RoaringTreemap, Refusal> {
    let corrupt = |why: String| Refusal::Corrupt(why);
    let (length, rest) = blob.split_first_chunk::<4>().ok_or_else(|| corrupt("shorter than its length field".into()))?;
    let (body, crc) = rest.split_last_chunk::<4>().ok_or_else(|| corrupt("shorter than its checksum".into()))?;
    let length = u32::from_be_bytes(*length);
    if usize::try_from(length) != Ok(body.len()) {
        return Err(corrupt(format!("the length field says {length} bytes, the manifest leaves {}", body.len())));
    }
    let vector = body.strip_prefix(&MAGIC).ok_or_else(|| corrupt("the magic number is wrong".into()))?;
    let stated = u32::from_be_bytes(*crc);
    let computed = crc32fast::hash(body);
    if stated != computed {
        return Err(corrupt(format!("CRC mismatch: stated {stated:08x}, computed {computed:08x}")));
    }
    let positions = decode_positions(vector, allowance)?;
    let cardinality = positions.len();
    if cardinality != expected_cardinality {
        return Err(corrupt(format!("it holds {cardinality} positions, the manifest says {expected_cardinality}")));
    }
    Ok(positions)
}

/// The 64-bit portable form: ascending keys, each with a 32-bit bitmap, and nothing after them.
fn decode_positions(vector: &[u8], allowance: u64) -> Result<RoaringTreemap, Refusal> {
    let corrupt = |why: String| Refusal::Corrupt(why);
    let (count, mut rest) = vector.split_first_chunk::<8>().ok_or_else(|| corrupt("the number of bitmaps is missing".into()))?;
    let count = u64::from_le_bytes(*count);
    if count > (rest.len() / SHORTEST_BITMAP) as u64 {
        return Err(corrupt(format!("it claims {count} bitmaps in {} bytes", rest.len())));
    }
    let mut bitmaps: Vec<(u32, RoaringBitmap)> = Vec::new();
    let mut used = 0u64;
    for _ in 0..count {
        let (key, after) = rest.split_first_chunk::<4>().ok_or_else(|| corrupt("it ends inside a key".into()))?;
        let key = u32::from_le_bytes(*key);
        if key > MAX_KEY {
            return Err(corrupt(format!("key {key} stands for negative positions")));
        }
        if bitmaps.last().is_some_and(|(last, _)| key <= *last) {
            return Err(corrupt("its keys do not ascend".into()));
        }
        rest = after;
        let bitmap = RoaringBitmap::deserialize_from(&mut rest).map_err(|e| corrupt(format!("bitmap of key {key}: {e}")))?;
        used = used.saturating_add(bitmap_bytes(&bitmap));
        if used > allowance {
            return Err(Refusal::Allowance);
        }
        bitmaps.push((key, bitmap));
    }
    if !rest.is_empty() {
        return Err(corrupt(format!("{} bytes follow the last bitmap", rest.len())));
    }
    Ok(RoaringTreemap::from_bitmaps(bitmaps))
}

/// Bytes that these positions take in memory, not less than they do.
pub(super) fn treemap_bytes(positions: &RoaringTreemap) -> u64 {
    positions.bitmaps().map(|(_, bitmap)| bitmap_bytes(bitmap)).sum()
}

fn bitmap_bytes(bitmap: &RoaringBitmap) -> u64 {
    let s = bitmap.statistics();
    // A container is its descriptor and one allocation.
    let containers = u64::from(s.n_containers) * 80;
    96 + containers + s.n_bytes_array_containers + s.n_bytes_run_containers + s.n_bytes_bitset_containers
}
