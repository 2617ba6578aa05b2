//! Metadata files may be compressed, whatever they are called; a few kilobytes may unfold into gigabytes.
//!
//! Contract: compression is told by the first bytes, never by the name. What unfolds to more than the limit is
//! `limit-exceeded` before memory is taken for it.
//!
//! How: the stream is unfolded twice, first into a small scratch buffer that only counts, then into a buffer of exactly that size.

use fastdata_types::{Error, Result, Stage};
use std::borrow::Cow;
use std::io::Read;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Largest zstd window that is accepted, as a power of two: 64 MiB.
const ZSTD_WINDOW_LOG: u32 = 26;

/// The bytes themselves, or what they unfold to.
pub fn inflate(bytes: &[u8], limit: u64) -> Result<Cow<'_, [u8]>> {
    if bytes.len() as u64 > limit {
        return Err(too_large(limit));
    }
    if bytes.starts_with(&GZIP) {
        unfold(|| Ok(flate2::read::MultiGzDecoder::new(bytes)), "gzip", limit).map(Cow::Owned)
    } else if bytes.starts_with(&ZSTD) {
        let open = || {
            let mut decoder = zstd::stream::read::Decoder::new(bytes)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Ok(decoder)
        };
        unfold(open, "zstd", limit).map(Cow::Owned)
    } else {
        Ok(Cow::Borrowed(bytes))
    }
}

fn unfold<R: Read>(open: impl Fn() -> std::io::Result<R>, codec: &str, limit: u64) -> Result<Vec<u8>> {
    let broken = |e: std::io::Error| Error::corrupt(Stage::Catalog, format!("the {codec} stream is damaged")).source(e);
    let length = std::io::copy(&mut open().map_err(broken)?.take(limit.saturating_add(1)), &mut std::io::sink()).map_err(broken)?;
    if length > limit {
        return Err(too_large(limit));
    }
    let mut out = Vec::with_capacity(length as usize);
    open().map_err(broken)?.take(length).read_to_end(&mut out).map_err(broken)?;
    Ok(out)
}

pub fn too_large(limit: u64) -> Error {
    Error::limit(Stage::Catalog, format!("table metadata is larger than {limit} bytes"))
        .advice("expire old snapshots and schemas of the table, which shrinks its metadata")
}
