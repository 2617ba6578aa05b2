//! Decompression that never writes more than the page header announced.

use parquet::basic::Compression;
use std::cell::RefCell;
use std::io::Read;

/// The inflating half of a codec, with the state it reuses from page to page.
pub(crate) enum Codec {
    None,
    Snappy(snap::raw::Decoder),
    Gzip,
    Brotli,
    Zstd,
    Lz4Raw,
    /// Hadoop's framing; writers also put LZ4 frames or bare blocks under this name.
    Lz4,
}

impl Codec {
    pub(crate) fn new(compression: Compression) -> Result<Codec, String> {
        Ok(match compression {
            Compression::UNCOMPRESSED => Codec::None,
            Compression::SNAPPY => Codec::Snappy(snap::raw::Decoder::new()),
            Compression::GZIP(_) => Codec::Gzip,
            Compression::BROTLI(_) => Codec::Brotli,
            Compression::ZSTD(_) => Codec::Zstd,
            Compression::LZ4_RAW => Codec::Lz4Raw,
            Compression::LZ4 => Codec::Lz4,
            other => return Err(format!("compression {other} is not supported")),
        })
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Codec::None)
    }

    /// Appends exactly `size` bytes to `out`, or fails.
    pub(crate) fn inflate(&mut self, input: &[u8], out: &mut Vec<u8>, size: usize) -> Result<(), String> {
        let before = out.len();
        let end = before.checked_add(size).ok_or("a page is too large")?;
        if size == 0 {
            return Ok(());
        }
        match self {
            Codec::None => out.extend_from_slice(input),
            Codec::Snappy(decoder) => {
                let stated = snap::raw::decompress_len(input).map_err(|e| e.to_string())?;
                if stated != size {
                    return Err(size_mismatch(stated, size));
                }
                out.resize(end, 0);
                let written = decoder.decompress(input, out.get_mut(before..).unwrap_or_default()).map_err(|e| e.to_string())?;
                out.truncate(before + written);
            }
            Codec::Gzip => read_at_most(flate2::read::MultiGzDecoder::new(input), out, size)?,
            Codec::Brotli => read_at_most(brotli::Decompressor::new(input, 4096), out, size)?,
            Codec::Zstd => zstd_frame(input, out, size)?,
            Codec::Lz4Raw => lz4_block(input, out, size)?,
            Codec::Lz4 => {
                if lz4_hadoop(input, out, size).is_err() {
                    out.truncate(before);
                    if read_at_most(lz4_flex::frame::FrameDecoder::new(input), out, size).is_err() || out.len() != end {
                        out.truncate(before);
                        lz4_block(input, out, size)?;
                    }
                }
            }
        }
        if out.len() != end {
            return Err(size_mismatch(out.len() - before, size));
        }
        Ok(())
    }
}

thread_local! {
    /// Its tables are large and cost more to set up than a small page to inflate: one per thread, not one per column.
    static ZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

fn zstd_frame(input: &[u8], out: &mut Vec<u8>, size: usize) -> Result<(), String> {
    let before = out.len() as u64;
    out.reserve_exact(size);
    ZSTD.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            None => slot.insert(zstd::bulk::Decompressor::new().map_err(|e| e.to_string())?),
        };
        let mut cursor = std::io::Cursor::new(out);
        cursor.set_position(before);
        decompressor.decompress_to_buffer(input, &mut cursor).map_err(|e| e.to_string()).map(drop)
    })
}

fn size_mismatch(found: usize, stated: usize) -> String {
    format!("a page inflates to {found} bytes and its header says {stated}")
}

fn read_at_most(reader: impl Read, out: &mut Vec<u8>, size: usize) -> Result<(), String> {
    out.reserve(size);
    let read = reader.take(size as u64 + 1).read_to_end(out).map_err(|e| e.to_string())?;
    if read > size { Err("a page inflates to more bytes than its header says".to_owned()) } else { Ok(()) }
}

fn lz4_block(input: &[u8], out: &mut Vec<u8>, size: usize) -> Result<(), String> {
    let before = out.len();
    out.resize(before + size, 0);
    let written = lz4_flex::block::decompress_into(input, out.get_mut(before..).unwrap_or_default()).map_err(|e| e.to_string())?;
    out.truncate(before + written);
    Ok(())
}

/// Blocks, each behind its inflated and deflated length, both big endian.
fn lz4_hadoop(mut input: &[u8], out: &mut Vec<u8>, size: usize) -> Result<(), String> {
    let bad = || "no Hadoop framing".to_owned();
    let end = out.len() + size;
    while let Some((prefix, rest)) = input.split_first_chunk::<8>() {
        let [a, b, c, d, e, f, g, h] = *prefix;
        let inflated = u32::from_be_bytes([a, b, c, d]) as usize;
        let deflated = u32::from_be_bytes([e, f, g, h]) as usize;
        if inflated > end - out.len() {
            return Err(bad());
        }
        let block = rest.get(..deflated).ok_or_else(bad)?;
        let before = out.len();
        lz4_block(block, out, inflated)?;
        if out.len() != before + inflated {
            return Err(bad());
        }
        input = rest.get(deflated..).unwrap_or_default();
    }
    if input.is_empty() && out.len() == end { Ok(()) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn inflate(codec: Compression, input: &[u8], size: usize) -> Result<Vec<u8>, String> {
        let mut out = vec![7];
        Codec::new(codec).unwrap().inflate(input, &mut out, size).map(|()| out)
    }

    #[test]
    fn a_page_that_inflates_beyond_its_header_is_stopped_there() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&vec![0; 8 << 20]).unwrap();
        let bomb = gzip.finish().unwrap();
        let mut out = Vec::new();
        assert!(Codec::Gzip.inflate(&bomb, &mut out, 1000).is_err());
        assert!(out.capacity() < 1 << 20, "{}", out.capacity());
        let zstd = zstd::bulk::compress(&vec![0; 8 << 20], 3).unwrap();
        assert!(inflate(Compression::ZSTD(Default::default()), &zstd, 1000).is_err());
        let snappy = snap::raw::Encoder::new().compress_vec(&vec![0; 1 << 20]).unwrap();
        assert!(inflate(Compression::SNAPPY, &snappy, 1000).is_err());
    }

    #[test]
    fn the_three_flavours_of_lz4_are_told_apart() {
        let data: Vec<u8> = (0..5000u32).map(|i| (i / 7) as u8).collect();
        let block = lz4_flex::block::compress(&data);
        let mut hadoop = (data.len() as u32).to_be_bytes().to_vec();
        hadoop.extend((block.len() as u32).to_be_bytes());
        hadoop.extend(&block);
        let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
        frame.write_all(&data).unwrap();
        let frame = frame.finish().unwrap();
        for input in [&hadoop, &frame, &block] {
            assert_eq!(&inflate(Compression::LZ4, input, data.len()).unwrap()[1..], &data);
        }
        assert_eq!(&inflate(Compression::LZ4_RAW, &block, data.len()).unwrap()[1..], &data);
    }
}
