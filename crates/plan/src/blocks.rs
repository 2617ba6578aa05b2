//! Split offsets -> blocks: the byte ranges that a scan is cut into.
//!
//! Contract: the blocks of a file tile its bytes: the first begins at 0, the last ends at the file's size, so that each row group,
//! wherever it starts, is in exactly one. Sampling keeps a block by a keyed hash of its file's path and its start, so that the
//! same seed keeps the same blocks on every machine.

use fastdata_types::plan::{Block, DataFile};
use fastdata_types::request::Sample;
use fastdata_types::{Error, Result, Stage};
use xxhash_rust::xxh3::Xxh3;

#[cfg(test)]
mod tests;

/// A plan with more blocks than this is refused.
pub(crate) const MAX_BLOCKS: usize = 16 << 20;

/// The blocks of all files, in the files' order.
pub(crate) fn of_files(files: &[DataFile]) -> Result<Vec<Block>> {
    let mut blocks = Vec::with_capacity(files.len());
    for (file, index) in files.iter().zip(0..) {
        of_file(file, index, &mut blocks);
        if blocks.len() > MAX_BLOCKS {
            return Err(Error::limit(Stage::Plan, format!("the plan has more than {MAX_BLOCKS} blocks"))
                .advice("filter on a partition column, or compact the table's files"));
        }
    }
    Ok(blocks)
}

/// Offsets that do not ascend or lie beyond the file say nothing: the file is one block.
fn of_file(file: &DataFile, index: u32, blocks: &mut Vec<Block>) {
    let offsets = &file.split_offsets;
    let size = file.file_size;
    let ascending = offsets.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    let inside = offsets.first().is_none_or(|first| *first >= 0) && offsets.last().is_none_or(|last| i128::from(*last) < i128::from(size));
    let cuts = if ascending && inside { offsets.get(1..).unwrap_or_default() } else { &[] };
    let mut start = 0;
    for cut in cuts.iter().map(|cut| cut.unsigned_abs()).chain([size]) {
        blocks.push(Block::bytes(index, start, cut));
        start = cut;
    }
}

/// Keeps the sampled blocks, and of the files those that still have one.
pub(crate) fn sample(files: &mut Vec<DataFile>, blocks: &mut Vec<Block>, sample: Sample) {
    // 2^64 itself cannot be written down, so that a fraction of one keeps everything by its own rule.
    let threshold = (sample.fraction * 18_446_744_073_709_551_616.0) as u64;
    let kept = |path: &str, start: u64| {
        let mut hasher = Xxh3::with_seed(sample.seed);
        hasher.update(path.as_bytes());
        hasher.update(&start.to_le_bytes());
        sample.fraction >= 1.0 || hasher.digest() < threshold
    };
    blocks.retain(|block| files.get(block.file as usize).is_some_and(|file| kept(&file.path, block.extent.start)));
    let mut new_index = vec![u32::MAX; files.len()];
    let mut next = 0;
    for block in blocks.iter_mut() {
        let Some(index) = new_index.get_mut(block.file as usize) else { continue };
        if *index == u32::MAX {
            *index = next;
            next += 1;
        }
        block.file = *index;
    }
    let mut indexes = new_index.iter();
    files.retain(|_| indexes.next().is_some_and(|index| *index != u32::MAX));
}
