//! Avro container files and deletion vectors, taken apart and put together again.
//!
//! Problem: a mutation of a compressed block or of a checksummed blob is refused before anything interesting happens. Contract:
//! [`inflated`] is the same Avro file without compression; [`framed`] puts length, magic and checksum around the body of a deletion
//! vector and [`bodies`] finds such bodies in any file. What is no such file gives nothing.

use std::io::Read;

const AVRO_MAGIC: &[u8] = b"Obj\x01";
const SYNC_LENGTH: usize = 16;
const VECTOR_MAGIC: [u8; 4] = [0xD1, 0xD3, 0x39, 0x64];

/// Key and value.
type Entry<'a> = (&'a [u8], &'a [u8]);

/// The entries of an Avro file's header, and what follows them.
fn header(file: &[u8]) -> Option<(Vec<Entry<'_>>, &[u8])> {
    let mut rest = file.strip_prefix(AVRO_MAGIC)?;
    let mut entries = Vec::new();
    loop {
        let count = long(&mut rest)?;
        if count == 0 {
            return Some((entries, rest));
        }
        if count < 0 {
            long(&mut rest)?;
        }
        for _ in 0..count.unsigned_abs() {
            entries.push((bytes(&mut rest)?, bytes(&mut rest)?));
        }
    }
}

/// Whether it is an Avro file whose blocks are compressed.
pub fn is_compressed(file: &[u8]) -> bool {
    let codec = header(file).and_then(|(entries, _)| entries.into_iter().find(|(key, _)| *key == b"avro.codec"));
    codec.is_some_and(|(_, codec)| codec != b"null")
}

/// The file with its blocks inflated and the codec `null`; `None` where it has another codec than deflate.
pub fn inflated(file: &[u8]) -> Option<Vec<u8>> {
    let (mut entries, rest) = header(file)?;
    let codec = entries.iter_mut().find(|(key, _)| *key == b"avro.codec").filter(|(_, codec)| *codec == b"deflate")?;
    codec.1 = b"null";
    let mut out = AVRO_MAGIC.to_vec();
    put_long(&mut out, entries.len() as i64);
    for (key, value) in entries {
        put_bytes(&mut out, key);
        put_bytes(&mut out, value);
    }
    put_long(&mut out, 0);
    let (sync, mut rest) = rest.split_at_checked(SYNC_LENGTH)?;
    out.extend(sync);
    while !rest.is_empty() {
        put_long(&mut out, long(&mut rest)?);
        let mut content = Vec::new();
        flate2::read::DeflateDecoder::new(bytes(&mut rest)?).take(16 << 20).read_to_end(&mut content).ok()?;
        put_bytes(&mut out, &content);
        let (end, after) = rest.split_at_checked(SYNC_LENGTH)?;
        out.extend(end);
        rest = after;
    }
    Some(out)
}

/// A deletion vector's blob around this body: length, magic, body, checksum.
pub fn framed(body: &[u8]) -> Vec<u8> {
    let inner = [&VECTOR_MAGIC, body].concat();
    [&(inner.len() as u32).to_be_bytes()[..], &inner, &crc32fast::hash(&inner).to_be_bytes()].concat()
}

/// The bodies of all deletion vectors in the bytes of a file, with or without a Puffin frame.
pub fn bodies(file: &[u8]) -> Vec<Vec<u8>> {
    let body = |at: usize| {
        let length = u32::from_be_bytes(file.get(at.checked_sub(4)?..at)?.try_into().ok()?) as usize;
        let inner = file.get(at..at.checked_add(length)?)?;
        let checksum = file.get(at + length..at + length + 4)?;
        (checksum == crc32fast::hash(inner).to_be_bytes()).then(|| inner[VECTOR_MAGIC.len()..].to_vec())
    };
    (0..file.len()).filter(|at| file[*at..].starts_with(&VECTOR_MAGIC)).filter_map(body).collect()
}

fn long(rest: &mut &[u8]) -> Option<i64> {
    let mut raw = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, after) = rest.split_first()?;
        *rest = after;
        raw |= u64::from(first & 0x7f) << shift;
        if *first < 0x80 {
            return Some((raw >> 1) as i64 ^ -((raw & 1) as i64));
        }
    }
    None
}

fn bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(long(rest)?).ok()?;
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

fn put_bytes(out: &mut Vec<u8>, value: &[u8]) {
    put_long(out, value.len() as i64);
    out.extend(value);
}
