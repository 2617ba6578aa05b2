//! Inflates the blocks of Avro files: null, deflate, snappy, zstandard.
//!
//! Problem: a megabyte can inflate a thousandfold. Contract: one block gives at most [`MAX_BLOCK`] bytes and all blocks of a file at most
//! [`MAX_FILE`]; beyond that is `limit-exceeded`. However many threads decode, one block at a time may grow past
//! [`LARGE_BLOCK`], so the whole process stays below a fixed sum.

use fastdata_types::{Error, Result, Stage};
use flate2::{Decompress, FlushDecompress, Status};
use std::sync::{Mutex, MutexGuard};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

pub(crate) const MAX_BLOCK: usize = 64 << 20;
pub(crate) const MAX_FILE: u64 = 512 << 20;
const LARGE_BLOCK: usize = 8 << 20;
/// 32 MiB: writers of manifests stay far below.
const MAX_ZSTD_WINDOW_LOG: u32 = 25;

static ONE_LARGE_BLOCK: Mutex<()> = Mutex::new(());

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

impl Codec {
    pub fn parse(name: &[u8]) -> Option<Codec> {
        Some(match name {
            b"null" | b"" => Codec::Null,
            b"deflate" => Codec::Deflate,
            b"snappy" => Codec::Snappy,
            b"zstandard" => Codec::Zstandard,
            _ => return None,
        })
    }
}

/// Inflates one block after another into the same buffer.
pub(crate) struct Inflater {
    codec: Codec,
    buffer: Vec<u8>,
    total: u64,
    deflate: Option<Decompress>,
    zstd: Option<ZstdDecoder<'static>>,
    /// Held while the buffer is large; dropped after it.
    large: Option<MutexGuard<'static, ()>>,
}

impl Inflater {
    pub fn new(codec: Codec) -> Self {
        Inflater { codec, buffer: Vec::new(), total: 0, deflate: None, zstd: None, large: None }
    }

    /// The content of a block. Errors do not name the file.
    pub fn inflate<'a>(&'a mut self, block: &'a [u8]) -> Result<&'a [u8]> {
        let mut room =
            Room { limit: MAX_BLOCK.min(usize::try_from(MAX_FILE.saturating_sub(self.total)).unwrap_or(MAX_BLOCK)), large: None };
        if self.codec == Codec::Null {
            self.total = self.total.saturating_add(block.len() as u64);
            return if self.total > MAX_FILE { Err(too_large()) } else { Ok(block) };
        }
        if self.large.is_some() {
            self.buffer = Vec::new();
            self.large = None;
        }
        self.buffer.clear();
        match self.codec {
            Codec::Null => {}
            Codec::Deflate => self.deflate(block, &mut room)?,
            Codec::Snappy => self.snappy(block, &mut room)?,
            Codec::Zstandard => self.zstandard(block, &mut room)?,
        }
        room.check(self.buffer.len())?;
        self.large = room.large;
        self.total = self.total.saturating_add(self.buffer.len() as u64);
        Ok(&self.buffer)
    }

    fn deflate(&mut self, block: &[u8], room: &mut Room) -> Result<()> {
        let decoder = self.deflate.get_or_insert_with(|| Decompress::new(false));
        decoder.reset(false);
        let mut input = block;
        loop {
            room.make(&mut self.buffer, block.len())?;
            let (consumed, produced) = (decoder.total_in(), self.buffer.len());
            let status = decoder
                .decompress_vec(input, &mut self.buffer, FlushDecompress::None)
                .map_err(|e| corrupt("a deflate block cannot be inflated").source(e))?;
            let consumed = (decoder.total_in() - consumed) as usize;
            input = input.get(consumed..).unwrap_or_default();
            match status {
                Status::StreamEnd => return Ok(()),
                _ if consumed == 0 && self.buffer.len() == produced => return Err(corrupt("a deflate block ends early")),
                _ => {}
            }
        }
    }

    fn zstandard(&mut self, block: &[u8], room: &mut Room) -> Result<()> {
        let failed = |e: std::io::Error| corrupt("a zstandard block cannot be inflated").source(e);
        let decoder = match &mut self.zstd {
            Some(decoder) => decoder,
            none => {
                let mut decoder = ZstdDecoder::new().map_err(failed)?;
                decoder.set_parameter(DParameter::WindowLogMax(MAX_ZSTD_WINDOW_LOG)).map_err(failed)?;
                none.insert(decoder)
            }
        };
        decoder.reinit().map_err(failed)?;
        let mut input = InBuffer::around(block);
        let mut frame_open = true;
        while frame_open || input.pos() < block.len() {
            room.make(&mut self.buffer, block.len())?;
            let (consumed, produced) = (input.pos(), self.buffer.len());
            let hint = decoder.run(&mut input, &mut OutBuffer::around_pos(&mut self.buffer, produced)).map_err(failed)?;
            frame_open = hint != 0;
            if frame_open && input.pos() == consumed && self.buffer.len() == produced {
                return Err(corrupt("a zstandard block ends early"));
            }
        }
        Ok(())
    }

    /// Snappy blocks end with the CRC-32 of what they hold, big-endian.
    fn snappy(&mut self, block: &[u8], room: &mut Room) -> Result<()> {
        let failed = || corrupt("a snappy block cannot be inflated");
        let (body, checksum) = block.split_last_chunk::<4>().ok_or_else(failed)?;
        let length = snap::raw::decompress_len(body).map_err(|e| failed().source(e))?;
        // No snappy stream inflates this far: the length is a lie, refused before memory is taken for it.
        if length > body.len().saturating_mul(64) {
            return Err(failed());
        }
        room.check(length)?;
        self.buffer.resize(length, 0);
        snap::raw::Decoder::new().decompress(body, &mut self.buffer).map_err(|e| failed().source(e))?;
        if crc32fast::hash(&self.buffer) != u32::from_be_bytes(*checksum) {
            return Err(corrupt("the CRC of a snappy block does not match"));
        }
        Ok(())
    }
}

/// What one block may still take.
struct Room {
    limit: usize,
    large: Option<MutexGuard<'static, ()>>,
}

impl Room {
    fn check(&mut self, length: usize) -> Result<()> {
        if length > self.limit {
            return Err(too_large());
        }
        if length > LARGE_BLOCK && self.large.is_none() {
            self.large = Some(ONE_LARGE_BLOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        }
        Ok(())
    }

    /// Makes sure that the buffer has spare capacity, growing it in steps.
    fn make(&mut self, buffer: &mut Vec<u8>, compressed: usize) -> Result<()> {
        self.check(buffer.len())?;
        if buffer.len() < buffer.capacity() {
            return Ok(());
        }
        let step = if buffer.is_empty() { compressed.saturating_mul(4).clamp(32 << 10, 1 << 20) } else { buffer.len() };
        // One byte more than the limit, so that the byte too many is seen.
        let step = step.min((self.limit + 1).saturating_sub(buffer.len())).max(1);
        self.check((buffer.len() + step).min(self.limit))?;
        buffer.reserve_exact(step);
        Ok(())
    }
}

fn too_large() -> Error {
    Error::limit(Stage::Plan, format!("it inflates to more than {} MiB in one block or {} MiB in all", MAX_BLOCK >> 20, MAX_FILE >> 20))
        .advice("rewrite the table's manifests into smaller ones")
}

fn corrupt(message: &str) -> Error {
    Error::corrupt(Stage::Plan, message)
}
