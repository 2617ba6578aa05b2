//! Blocks -> lanes: the deterministic sequences that a scan is cut into.
//!
//! Contract: the lanes are a pure function of the plan and the request. Every block is in exactly one part of exactly one lane; where files are
//! cut finer than their split offsets, the new blocks tile the same rows. The digest covers all that decides the rows of each
//! lane and their order, but for the shuffle's seed and epoch, which a cursor states beside it.
//!
//! How: blocks are cut by rows of the manifest's record count where there are too few of them or they are too large, permuted by a keyed
//! hash of what they are, and dealt to the lanes in turn. A shuffled lane groups its blocks into windows of whole blocks, so that a
//! position inside one is found again by reading that window alone.

use fastdata_types::lanes::{LANE_PLAN_VERSION, Lane, LanePlan, Part, PlanDigest, ShuffleKey};
use fastdata_types::plan::{Block, Extent};
use fastdata_types::request::{Order, Shuffle};
use fastdata_types::{Error, Result, ScanPlan, ScanRequest, Stage};
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

#[cfg(test)]
mod tests;

/// Below this, a lane's share of the rows would depend on how blocks happen to fall.
const BLOCKS_PER_LANE: u64 = 4;
/// The table property that maps names of files without field ids.
pub const NAME_MAPPING: &str = "schema.name-mapping.default";

/// A scan that asks for no lanes and no order has at most this many ...
const DEFAULT_LANES: u64 = 4;
/// ... of about so many bytes each, and of whole blocks: they are there to be pulled side by side.
const DEFAULT_LANE_BYTES: u64 = 64 << 20;

/// Cuts a plan into the lanes that the request asks for, or into a few that its size suggests. `filters` are the texts of every filter that
/// was bound into the plan.
pub fn lanes(plan: &ScanPlan, request: &ScanRequest, filters: &[&str]) -> Result<LanePlan> {
    let count = request.lanes.unwrap_or_else(|| default_lanes(plan, request)).max(1);
    let mut blocks = cut(plan, request, count)?;
    let digest = digest(plan, request, filters, count, &blocks);
    let shuffle = request.shuffle.map(|shuffle| ShuffleKey { seed: shuffle.seed, epoch: shuffle.epoch });
    if let Some(key) = shuffle {
        permute(plan, &mut blocks, key);
    }
    let mut dealt: Vec<Vec<Block>> = vec![Vec::new(); count as usize];
    for (block, lane) in blocks.into_iter().zip((0..count as usize).cycle()) {
        if let Some(dealt) = dealt.get_mut(lane) {
            dealt.push(block);
        }
    }
    let parts = |blocks: Vec<Block>| match request.shuffle {
        Some(shuffle) => windows(plan, blocks, &shuffle),
        None => blocks.into_iter().map(|block| Part { rows: rows_of(plan, &block), blocks: vec![block] }).collect(),
    };
    let lanes = dealt.into_iter().zip(0..).map(|(blocks, number)| Lane { number, parts: parts(blocks) }).collect();
    Ok(LanePlan { digest, snapshot_id: plan.snapshot_id, shuffle, lanes })
}

/// By the plan alone, so that every server cuts alike. One where the rows are wanted in table order, or only the first of them.
fn default_lanes(plan: &ScanPlan, request: &ScanRequest) -> u32 {
    if request.order == Order::Stable || request.limit.is_some() {
        return 1;
    }
    DEFAULT_LANES.min(plan.report.bytes / DEFAULT_LANE_BYTES).min(plan.blocks.len() as u64) as u32
}

/// The blocks of the plan, those of a file finer where it must be.
fn cut(plan: &ScanPlan, request: &ScanRequest, lanes: u32) -> Result<Vec<Block>> {
    let wanted = BLOCKS_PER_LANE * u64::from(lanes);
    let too_few = request.lanes.is_some() && lanes > 1 && (plan.blocks.len() as u64) < wanted;
    let total: u64 = plan.files.iter().map(|file| file.record_count).fold(0, u64::saturating_add);
    let by_count = too_few.then(|| total.div_ceil(wanted).max(1));
    let by_window = request.shuffle.map(|shuffle| shuffle.block_rows());
    // A sample is a choice among blocks: cutting those finer would need to know which rows they hold.
    let Some(target) = by_count.into_iter().chain(by_window).min().filter(|_| request.sample.is_none()) else {
        return Ok(plan.blocks.clone());
    };
    let mut blocks = Vec::with_capacity(plan.blocks.len());
    let mut rest = plan.blocks.as_slice();
    while let Some(first) = rest.first() {
        let (of_file, after) = rest.split_at(rest.iter().take_while(|block| block.file == first.file).count());
        rest = after;
        let largest = of_file.iter().map(|block| rows_of(plan, block)).max().unwrap_or(0);
        match plan.files.get(first.file as usize) {
            Some(file) if largest > target => cut_by_rows(first.file, file.record_count, target, &mut blocks),
            _ => blocks.extend_from_slice(of_file),
        }
        if blocks.len() > crate::blocks::MAX_BLOCKS {
            return Err(Error::limit(Stage::Plan, format!("the plan has more than {} blocks", crate::blocks::MAX_BLOCKS))
                .advice("ask for fewer lanes or larger blocks"));
        }
    }
    Ok(blocks)
}

/// Ranges of about equal size; what the file holds beyond its stated rows belongs to the last.
fn cut_by_rows(file: u32, rows: u64, target: u64, blocks: &mut Vec<Block>) {
    let pieces = rows.div_ceil(target).clamp(1, crate::blocks::MAX_BLOCKS as u64 + 1);
    let at = |piece: u64| (u128::from(rows) * u128::from(piece) / u128::from(pieces)) as u64;
    blocks.extend((0..pieces).map(|piece| Block::rows(file, at(piece), if piece + 1 == pieces { u64::MAX } else { at(piece + 1) })));
}

/// Rows of a block by the manifest: for a range of bytes its share of the file's.
fn rows_of(plan: &ScanPlan, block: &Block) -> u64 {
    let Some(file) = plan.files.get(block.file as usize) else { return 0 };
    match block.extent {
        Extent::Rows { start, end } => end.min(file.record_count).saturating_sub(start),
        Extent::Bytes { start, end } => {
            let share = u128::from(file.record_count) * u128::from(end - start) / u128::from(file.file_size.max(1));
            u64::try_from(share).unwrap_or(u64::MAX)
        }
    }
}

/// Sorts by a keyed hash of what each block is: the same permutation on every machine.
fn permute(plan: &ScanPlan, blocks: &mut [Block], key: ShuffleKey) {
    let seed = xxh3_64_with_seed(&key.epoch.to_le_bytes(), key.seed);
    blocks.sort_by_cached_key(|block| {
        let mut hasher = Xxh3::with_seed(seed);
        hash_block(plan, block, &mut hasher);
        (hasher.digest(), block.file, start_of(block))
    });
}

fn start_of(block: &Block) -> u64 {
    match block.extent {
        Extent::Bytes { start, .. } | Extent::Rows { start, .. } => start,
    }
}

fn hash_block(plan: &ScanPlan, block: &Block, hasher: &mut Xxh3) {
    let path = plan.files.get(block.file as usize).map_or("", |file| file.path.as_str());
    let (kind, start, end) = match block.extent {
        Extent::Bytes { start, end } => (0u64, start, end),
        Extent::Rows { start, end } => (1, start, end),
    };
    hash_text(path, hasher);
    [kind, start, end].iter().for_each(|word| hasher.update(&word.to_le_bytes()));
}

fn hash_text(text: &str, hasher: &mut Xxh3) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

/// Groups of consecutive blocks of at most `window_rows` rows, one block at least; each in table order, as its rows are permuted anyhow.
fn windows(plan: &ScanPlan, blocks: Vec<Block>, shuffle: &Shuffle) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for block in blocks {
        let rows = rows_of(plan, &block);
        match parts.last_mut() {
            Some(part) if part.rows.saturating_add(rows) <= shuffle.window_rows() => {
                part.blocks.push(block);
                part.rows += rows;
            }
            _ => parts.push(Part { blocks: vec![block], rows }),
        }
    }
    for part in &mut parts {
        part.blocks.sort_by_key(|block| (block.file, start_of(block)));
    }
    parts
}

fn digest(plan: &ScanPlan, request: &ScanRequest, filters: &[&str], lanes: u32, blocks: &[Block]) -> PlanDigest {
    let mut hasher = Xxh3::new();
    let metadata = &plan.table.metadata;
    hasher.update(&LANE_PLAN_VERSION.to_le_bytes());
    hash_text(metadata.uuid.as_deref().unwrap_or(&metadata.location), &mut hasher);
    let snapshot = [plan.snapshot_id, request.from_snapshot_id];
    snapshot.iter().for_each(|id| hasher.update(&[u8::from(id.is_some())]));
    snapshot.iter().for_each(|id| hasher.update(&id.unwrap_or_default().to_le_bytes()));
    hasher.update(&plan.schema.id.to_le_bytes());
    hash_text(metadata.properties.get(NAME_MAPPING).map_or("", String::as_str), &mut hasher);
    hasher.update(&(filters.len() as u64).to_le_bytes());
    filters.iter().for_each(|filter| hash_text(filter.trim(), &mut hasher));
    hasher.update(&lanes.to_le_bytes());
    let window = request.shuffle.map_or(0, |shuffle| shuffle.window_rows());
    hasher.update(&window.to_le_bytes());
    hasher.update(&(blocks.len() as u64).to_le_bytes());
    blocks.iter().for_each(|block| hash_block(plan, block, &mut hasher));
    PlanDigest(hasher.digest128().to_be_bytes())
}
