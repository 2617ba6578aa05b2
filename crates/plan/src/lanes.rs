//! Blocks -> lanes: the deterministic sequences that a scan is cut into.
//!
//! Contract: the lanes are a pure function of the plan and the request. Every row of a block is in exactly one part of exactly one lane, and lanes
//! that were asked for have as many rows each, as the manifests count them. The digest covers all that decides the rows of each lane and their
//! order, but for the shuffle's seed and epoch, which a cursor states beside it.
//!
//! How: the blocks are one line, in table order or permuted by a keyed hash of what they are, and each lane is a stretch of it. So lanes that are
//! neighbours share at most one row group, and whoever reads several in a row reads each row group once. A shuffled lane is cut into
//! windows in the same way; a position inside one is found again by reading that window alone.

use fastdata_types::lanes::{LANE_PLAN_VERSION, Lane, LanePlan, Part, PlanDigest, ShuffleKey};
use fastdata_types::plan::{Block, Extent, Share};
use fastdata_types::request::{Order, Shuffle};
use fastdata_types::{Error, Expr, Result, ScanPlan, ScanRequest, Stage};
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

#[cfg(test)]
mod tests;

/// The table property that maps names of files without field ids.
pub const NAME_MAPPING: &str = "schema.name-mapping.default";

/// A lane has so many parts where its rows allow: it can be split between them, and going on reads again what comes before in one of them.
const LEAST_PARTS: u64 = 4;

/// Each is a few hundred bytes of a plan, whoever asks for them.
const MOST_WINDOWS: u64 = 1 << 20;

/// A scan that asks for no lanes and no order has at most this many ...
const DEFAULT_LANES: u64 = 4;
/// ... of about so many bytes each, and of whole blocks: they are there to be pulled side by side.
const DEFAULT_LANE_BYTES: u64 = 64 << 20;

/// Cuts a plan into the lanes that the request asks for, or into a few that its size suggests. `filters` are the texts of every filter that
/// was bound into the plan.
pub fn lanes(plan: &ScanPlan, request: &ScanRequest, filters: &[&str]) -> Result<LanePlan> {
    let count = request.lanes.unwrap_or_else(|| default_lanes(plan, request)).max(1);
    let mut blocks = finer(plan, request)?;
    let digest = digest(plan, request, filters, count, &blocks);
    let shuffle = request.shuffle.map(|shuffle| ShuffleKey { seed: shuffle.seed, epoch: shuffle.epoch });
    if let Some(key) = shuffle {
        permute(plan, &mut blocks, key);
    }
    let stretches = match request.lanes {
        Some(_) => divide(plan, &blocks, u64::from(count))?,
        // Nobody chose their number, so they need not be equal.
        None => whole(blocks, u64::from(count)),
    };
    if let Some(shuffle) = request.shuffle {
        check_windows(plan, &stretches, &shuffle)?;
    }
    let parts = |blocks: Vec<Block>| match request.shuffle {
        Some(shuffle) => windows(plan, &blocks, &shuffle),
        None => {
            let blocks = match request.lanes {
                Some(_) if (blocks.len() as u64) < LEAST_PARTS => divide(plan, &blocks, LEAST_PARTS)?.concat(),
                _ => blocks,
            };
            Ok(blocks.into_iter().map(|block| Part { rows: rows_of(plan, &block), blocks: vec![block] }).collect())
        }
    };
    let lane = |(blocks, number): (Vec<Block>, u32)| Ok(Lane { number, parts: parts(blocks)? });
    let lanes = stretches.into_iter().zip(0..).map(lane).collect::<Result<_>>()?;
    Ok(LanePlan { digest, snapshot_id: plan.snapshot_id, schema_id: plan.schema.id, shuffle, lanes })
}

/// By the plan alone, so that every server cuts alike. One where the rows are wanted in table order, or only the first of them.
fn default_lanes(plan: &ScanPlan, request: &ScanRequest) -> u32 {
    if request.order == Order::Stable || request.limit.is_some() {
        return 1;
    }
    DEFAULT_LANES.min(plan.report.bytes / DEFAULT_LANE_BYTES).min(plan.blocks.len() as u64) as u32
}

/// The blocks of the plan, cut to the rows that a shuffle asks for.
fn finer(plan: &ScanPlan, request: &ScanRequest) -> Result<Vec<Block>> {
    let Some(most) = request.shuffle.and_then(|shuffle| shuffle.block_rows) else { return Ok(plan.blocks.clone()) };
    let mut blocks = Vec::with_capacity(plan.blocks.len());
    for block in &plan.blocks {
        let rows = rows_of(plan, block);
        let pieces = rows.div_ceil(u64::from(most.max(1))).max(1);
        check_count(blocks.len() as u64 + pieces)?;
        let at = |piece: u64| (u128::from(rows) * u128::from(piece) / u128::from(pieces)) as u64;
        blocks.extend((0..pieces).map(|piece| share_of(block, rows, at(piece), at(piece + 1))));
    }
    Ok(blocks)
}

fn check_windows(plan: &ScanPlan, stretches: &[Vec<Block>], shuffle: &Shuffle) -> Result<()> {
    let rows = stretches.iter().flatten().map(|block| rows_of(plan, block)).fold(0, u64::saturating_add);
    let windows = rows / shuffle.window_rows().max(1);
    if windows > MOST_WINDOWS {
        return Err(Error::limit(
            Stage::Plan,
            format!("{rows} rows in windows of {} are {windows} windows, and a plan has {MOST_WINDOWS} at most", shuffle.window_rows()),
        )
        .advice("shuffle larger windows"));
    }
    Ok(())
}

fn check_count(blocks: u64) -> Result<()> {
    if blocks > crate::blocks::MAX_BLOCKS as u64 {
        return Err(Error::limit(Stage::Plan, format!("the plan has more than {} blocks", crate::blocks::MAX_BLOCKS))
            .advice("ask for fewer lanes, or for larger blocks or windows"));
    }
    Ok(())
}

/// Of the `rows` rows of a block, by the manifest, those from one to another.
fn share_of(block: &Block, rows: u64, from: u64, to: u64) -> Block {
    if (from, to) == (0, rows) {
        return *block;
    }
    let share = match block.extent.share {
        Some(share) => Share { from: share.from + from, to: share.from + to, of: share.of },
        None => Share { from, to, of: rows },
    };
    Block { extent: Extent { share: Some(share), ..block.extent }, ..*block }
}

/// Cuts a line of blocks into stretches of as many rows each.
fn divide(plan: &ScanPlan, blocks: &[Block], stretches: u64) -> Result<Vec<Vec<Block>>> {
    let total: u64 = blocks.iter().map(|block| rows_of(plan, block)).fold(0, u64::saturating_add);
    check_count(blocks.len() as u64 + stretches)?;
    // Where a stretch ends, in rows from the beginning of the line.
    let end_of = |stretch: u64| (u128::from(total) * u128::from(stretch + 1) / u128::from(stretches)) as u64;
    let mut divided = vec![Vec::new(); stretches as usize];
    let (mut stretch, mut at) = (0, 0u64);
    for block in blocks {
        let rows = rows_of(plan, block);
        let mut from = 0;
        loop {
            // Rows that the manifest does not know of go with their neighbours.
            while stretch + 1 < stretches && end_of(stretch) <= at && rows > 0 {
                stretch += 1;
            }
            let last = stretch + 1 == stretches;
            let taken = if last { rows - from } else { (rows - from).min(end_of(stretch) - at) };
            if let Some(into) = divided.get_mut(stretch as usize) {
                into.push(share_of(block, rows, from, from + taken));
            }
            (from, at) = (from + taken, at.saturating_add(taken));
            if from >= rows {
                break;
            }
        }
    }
    Ok(divided)
}

/// Stretches of whole blocks, of about as many bytes each.
fn whole(blocks: Vec<Block>, stretches: u64) -> Vec<Vec<Block>> {
    let bytes = |block: &Block| block.extent.end - block.extent.start;
    let total: u128 = blocks.iter().map(|block| u128::from(bytes(block))).sum();
    let mut divided = vec![Vec::new(); stretches as usize];
    let mut before = 0u128;
    for block in blocks {
        let middle = before + u128::from(bytes(&block)) / 2;
        before += u128::from(bytes(&block));
        let stretch = (middle * u128::from(stretches) / total.max(1)).min(u128::from(stretches) - 1);
        if let Some(into) = divided.get_mut(stretch as usize) {
            into.push(block);
        }
    }
    divided
}

/// Rows of a block by the manifest: its bytes' share of the file's.
fn rows_of(plan: &ScanPlan, block: &Block) -> u64 {
    if let Some(share) = block.extent.share {
        return share.to - share.from;
    }
    let Some(file) = plan.files.get(block.file as usize) else { return 0 };
    let bytes = block.extent.end - block.extent.start;
    let rows = u128::from(file.record_count) * u128::from(bytes) / u128::from(file.file_size.max(1));
    u64::try_from(rows).unwrap_or(u64::MAX)
}

/// Sorts by a keyed hash of what each block is: the same permutation on every machine.
fn permute(plan: &ScanPlan, blocks: &mut [Block], key: ShuffleKey) {
    let seed = xxh3_64_with_seed(&key.epoch.to_le_bytes(), key.seed);
    blocks.sort_by_cached_key(|block| {
        let mut hasher = Xxh3::with_seed(seed);
        hash_block(plan, block, &mut hasher);
        (hasher.digest(), block.file, place_of(block))
    });
}

/// Where a block lies in its file.
fn place_of(block: &Block) -> (u64, u64) {
    (block.extent.start, block.extent.share.map_or(0, |share| share.from))
}

fn hash_block(plan: &ScanPlan, block: &Block, hasher: &mut Xxh3) {
    hash_text(plan.files.get(block.file as usize).map_or("", |file| file.path.as_str()), hasher);
    let Extent { start, end, share } = block.extent;
    let share = share.map_or([0, 0, 0], |share| [share.from, share.to, share.of]);
    [start, end].iter().chain(&share).for_each(|word| hasher.update(&word.to_le_bytes()));
}

fn hash_text(text: &str, hasher: &mut Xxh3) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

/// Parts of as many rows each, and at most those of a window; each in table order, as its rows are permuted anyhow.
fn windows(plan: &ScanPlan, blocks: &[Block], shuffle: &Shuffle) -> Result<Vec<Part>> {
    let rows = blocks.iter().map(|block| rows_of(plan, block)).fold(0, u64::saturating_add);
    let count = rows.div_ceil(shuffle.window_rows().max(1)).max(1);
    let part = |mut blocks: Vec<Block>| {
        blocks.sort_by_key(|block| (block.file, place_of(block)));
        Part { rows: blocks.iter().map(|block| rows_of(plan, block)).fold(0, u64::saturating_add), blocks }
    };
    Ok(divide(plan, blocks, count)?.into_iter().filter(|blocks| !blocks.is_empty()).map(part).collect())
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
    let bound = bound_columns(plan);
    hasher.update(&(bound.len() as u64).to_le_bytes());
    bound.iter().for_each(|id| hasher.update(&id.to_le_bytes()));
    hasher.update(&lanes.to_le_bytes());
    let window = request.shuffle.map_or(0, |shuffle| shuffle.window_rows());
    hasher.update(&window.to_le_bytes());
    hasher.update(&(blocks.len() as u64).to_le_bytes());
    blocks.iter().for_each(|block| hash_block(plan, block, &mut hasher));
    PlanDigest(hasher.digest128().to_be_bytes())
}

/// The columns that the names in the filters mean, as they follow one another. A grant goes by the names of the current schema, so that after a
/// rename the same text may be about another column of the same snapshot and schema: its own, and the caller's where columns are hidden.
fn bound_columns(plan: &ScanPlan) -> Vec<i32> {
    let mut ids = Vec::new();
    if let Some(filter) = &plan.filter {
        filter.walk(&mut |expr| {
            if let Expr::Column(column) = expr {
                ids.push(column.id);
            }
        });
    }
    ids
}
