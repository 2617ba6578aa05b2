//! Which row groups are read when: files opened ahead, row groups in plan order, each with its memory before it starts.
//!
//! Contract: row groups start in plan order, and each belongs to the block that holds its start. Memory is reserved in that order too, in one
//! piece per row group, so that whoever started can finish. A row group that needs more in stable order takes it from the
//! ones after it: they are stopped, and come back here to start again.

use crate::ahead::Ahead;
use crate::footer::Footer;
use crate::need::{Bounds, Need};
use crate::open_file::OpenFile;
use crate::row_group::{Event, Piece, Sink, Turn, Unit};
use crate::scan::Scan;
use fastdata_types::plan::{Block, Extent};
use fastdata_types::request::Order;
use fastdata_types::stats::StatsCollector;
use fastdata_types::{Error, Result, Stage};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};

/// Row groups beyond those that decode whose bytes are fetched ahead, where memory allows: from a near and from a far store.
const FETCHED_AHEAD: (usize, usize) = (6, 30);
/// Compressed bytes of all row groups in flight, one larger row group excepted: what hides a store's latency. From a near store more would only
/// be written into fresh memory; from a far one it may be half of the budget.
const BYTES_IN_FLIGHT: u64 = 96 << 20;

/// A row group that was started.
pub(crate) struct Live {
    pub(crate) unit: Arc<Unit>,
    pub(crate) task: AbortHandle,
    /// Its events, in stable order; in fast order all share one channel.
    pub(crate) events: Option<mpsc::Receiver<Event>>,
}

/// What the schedule tells the stream.
pub(crate) enum Started {
    One(Live),
    /// There are no more; so many were started in all.
    All(u64),
    Failed(Error),
}

pub(crate) struct Schedule {
    pub(crate) scan: Arc<Scan>,
    pub(crate) started: mpsc::UnboundedSender<Started>,
    /// Row groups that were stopped, to be started again.
    pub(crate) returned: mpsc::UnboundedReceiver<Arc<Unit>>,
    /// While true nothing new starts.
    pub(crate) paused: watch::Receiver<bool>,
    /// In fast order: where all row groups report.
    pub(crate) shared: Option<mpsc::Sender<Event>>,
}

impl Schedule {
    pub(crate) async fn run(mut self) {
        let mut tasks = JoinSet::new();
        match self.start_all(&mut tasks).await {
            Ok(()) => while tasks.join_next().await.is_some() {},
            Err(error) => {
                // The stream may be gone.
                let _ = self.started.send(Started::Failed(error));
                // What was started before goes on: in stable order its rows come before the error.
                while tasks.join_next().await.is_some() {}
            }
        }
    }

    async fn start_all(&mut self, tasks: &mut JoinSet<()>) -> Result<()> {
        let scan = Arc::clone(&self.scan);
        let files = by_file(&scan.plan.blocks);
        let far = scan.plan.files.first().is_some_and(|file| scan.plan.table.store.is_far(&file.path));
        let mut opened = Ahead::new(&scan, files, far);

        let mut pending: BTreeMap<u64, Arc<Unit>> = BTreeMap::new();
        let mut units: VecDeque<Unit> = VecDeque::new();
        let mut order = 0u64;
        let mut wanted = Wanted::new(&scan);
        let mut exhausted = false;
        let (fetched_ahead, most_bytes) = match far {
            true => (FETCHED_AHEAD.1, (scan.context.budget.total() / 2).max(BYTES_IN_FLIGHT)),
            false => (FETCHED_AHEAD.0, BYTES_IN_FLIGHT),
        };
        let in_flight = Arc::new(Semaphore::new(scan.threads + 1 + if scan.options.limit.is_some() { 0 } else { fetched_ahead }));
        let bytes_in_flight = Arc::new(Semaphore::new(kib(most_bytes) as usize));
        let mut previous_turn: Option<oneshot::Receiver<()>> = None;
        loop {
            while let Some(ended) = tasks.try_join_next() {
                survived(ended)?;
            }
            while let Ok(unit) = self.returned.try_recv() {
                pending.insert(unit.order, unit);
            }
            if pending.is_empty() && !exhausted {
                if let Some(unit) = units.pop_front() {
                    pending.insert(unit.order, Arc::new(unit));
                } else {
                    let next = async { if wanted.enough() { None } else { opened.next().await } };
                    let next = tokio::select! {
                        biased;
                        // The next file may wait for memory that the file of this one holds.
                        Some(unit) = self.returned.recv() => {
                            pending.insert(unit.order, unit);
                            continue;
                        }
                        next = next => next,
                    };
                    match next {
                        Some(opened) => {
                            let (file, number, blocks) = opened?;
                            StatsCollector::add(&scan.context.stats.files_read, 1);
                            units = units_of(&scan, &file, number, &blocks, &mut order, &mut wanted);
                        }
                        None => {
                            exhausted = true;
                            let _ = self.started.send(Started::All(order));
                        }
                    }
                    continue;
                }
            }
            let Some(unit) = pending.first_key_value().map(|(_, unit)| Arc::clone(unit)) else {
                // Everything was started; only what comes back is left to do.
                tokio::select! {
                    unit = self.returned.recv() => match unit {
                        Some(unit) => drop(pending.insert(unit.order, unit)),
                        None => return Ok(()),
                    },
                    Some(ended) = tasks.join_next() => survived(ended)?,
                }
                continue;
            };
            if *self.paused.borrow_and_update() {
                if self.paused.wait_for(|paused| !paused).await.is_err() {
                    return Ok(());
                }
                // Row groups came back meanwhile; they go first.
                continue;
            }
            let slot = Arc::clone(&in_flight).acquire_owned();
            let memory = async {
                let slot = slot.await.map_err(|_| Error::internal(Stage::Read, "the scan was closed"))?;
                let need = unit.need.learned(scan.pages_learned(), unit.bounds.ceiling);
                if need.total() > unit.bounds.ceiling {
                    return Err(unit.too_small(&scan, 0, 0));
                }
                let bytes = Arc::clone(&bytes_in_flight).acquire_many_owned(kib(need.compressed.min(most_bytes)));
                let bytes = bytes.await.map_err(|_| Error::internal(Stage::Read, "the scan was closed"))?;
                Ok::<_, Error>(((slot, bytes), need, scan.context.budget.acquire(need.total(), &unit.what()).await?))
            };
            let (slot, need, memory) = tokio::select! {
                biased;
                _ = self.paused.wait_for(|paused| *paused) => continue,
                memory = memory => memory?,
            };
            pending.remove(&unit.order);
            let stable = scan.options.order == Order::Stable;
            let (then, next_turn) = oneshot::channel();
            let turn = Turn { after: previous_turn.take().filter(|_| stable), then: Some(then) };
            previous_turn = Some(next_turn);
            let (events, receiver) = match &self.shared {
                Some(shared) => (shared.clone(), None),
                None => {
                    let (sender, receiver) = mpsc::channel(8);
                    (sender, Some(receiver))
                }
            };
            let sink = Sink { events, ask_to_reserve: stable };
            let read = Arc::clone(&unit).read(Arc::clone(&scan), need, memory, turn, sink);
            let task = tasks.spawn(async move {
                read.await;
                drop(slot);
            });
            if self.started.send(Started::One(Live { unit, task, events: receiver })).is_err() {
                return Ok(());
            }
        }
    }
}

/// A row group's task reports for itself, unless it panicked: then nobody else would say that its rows are missing.
fn survived(ended: Result<(), JoinError>) -> Result<()> {
    match ended {
        Err(error) if error.is_panic() => Err(Error::internal(Stage::Read, "the task that read a row group panicked").source(error)),
        _ => Ok(()),
    }
}

/// Bytes in the unit that they are counted in.
fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

/// A block and its place in the plan.
pub(crate) type Numbered = (u32, Block);

/// The openings of a scan: blocks in plan order, those of one file that follow one another together. A file whose blocks lie apart is
/// opened more than once.
pub(crate) fn openings(blocks: &[Block]) -> impl Iterator<Item = &[Block]> {
    blocks.chunk_by(|before, block| before.file == block.file)
}

/// The file of each opening, and its blocks.
fn by_file(blocks: &[Block]) -> Vec<(u32, Vec<Numbered>)> {
    let mut numbered = (0..).zip(blocks.iter().copied());
    openings(blocks).filter_map(|run| Some((run.first()?.file, numbered.by_ref().take(run.len()).collect()))).collect()
}

/// The row groups of a file's blocks, in the blocks' order. Blocks that follow one another within a row group are read in one go.
fn units_of(scan: &Scan, file: &Arc<OpenFile>, number: u32, blocks: &[Numbered], order: &mut u64, wanted: &mut Wanted) -> VecDeque<Unit> {
    let stated = scan.plan.files.get(number as usize).map_or(0, |file| file.file_size);
    let mut groups: Vec<(usize, Vec<Piece>)> = Vec::new();
    for (block, Block { extent, .. }) in blocks {
        for (row_group, rows) in rows_within(extent, &file.footer, stated) {
            let piece = Piece { rows, block: *block };
            match groups.last_mut() {
                Some((last, pieces)) if *last == row_group && pieces.last().is_some_and(|before| before.rows.end <= piece.rows.start) => {
                    pieces.push(piece);
                }
                _ => groups.push((row_group, vec![piece])),
            }
        }
    }
    let mut units = VecDeque::new();
    for (row_group, pieces) in groups {
        if wanted.enough() {
            StatsCollector::add(&scan.context.stats.row_groups_pruned, 1);
            continue;
        }
        let metadata = file.footer.metadata.row_group(row_group);
        let all = metadata.num_rows().max(0) as u64;
        let rows = pieces.iter().map(|piece| piece.rows.end - piece.rows.start).sum();
        let bounds = Bounds {
            batch_rows: scan.options.batch_rows.max(1),
            batch_bytes: scan.options.batch_bytes.max(1),
            ceiling: scan.ceiling(),
            rows: wanted.of(file, rows).or((rows < all).then_some(rows)),
            far: scan.plan.table.store.is_far(&file.facts.path),
        };
        let need = Need::of(file, metadata, &bounds);
        units.push_back(Unit { order: *order, pieces, file: Arc::clone(file), row_group, need, bounds });
        *order += 1;
    }
    units
}

/// The row groups that a block has rows of, and which, counted from the row group's first. `stated` is the file's size by the manifest.
fn rows_within(extent: &Extent, footer: &Footer, stated: u64) -> Vec<(usize, Range<u64>)> {
    // The manifest may be wrong about the size: what lies beyond belongs to the last block.
    let end = if extent.end >= stated { u64::MAX } else { extent.end };
    let groups = footer.metadata.row_groups().iter().enumerate();
    let groups = groups.filter(|(_, metadata)| (extent.start..end).contains(&Footer::start(metadata)));
    let groups: Vec<(usize, u64)> = groups.map(|(at, _)| (at, footer.rows(at).end - footer.rows(at).start)).collect();
    let total = groups.iter().map(|(_, rows)| rows).sum();
    let wanted = extent.share.map_or(0..total, |share| share.rows(total));
    let mut before = 0;
    let mut within = Vec::new();
    for (row_group, rows) in groups {
        let rows = wanted.start.max(before)..wanted.end.min(before + rows);
        if !rows.is_empty() {
            within.push((row_group, rows.start - before..rows.end - before));
        }
        before += footer.rows(row_group).end - footer.rows(row_group).start;
    }
    within
}

/// How many rows a limit still asks for, where the rows that survive can be told without reading them.
struct Wanted {
    left: Option<u64>,
}

impl Wanted {
    fn new(scan: &Scan) -> Self {
        Wanted { left: scan.options.limit.filter(|_| scan.plan.filter.is_none() && scan.plan.deletes.is_empty()) }
    }

    fn enough(&self) -> bool {
        self.left == Some(0)
    }

    /// Takes the rows of a row group; `Some` where fewer than all of them are wanted.
    fn of(&mut self, file: &OpenFile, rows: u64) -> Option<u64> {
        let left = self.left.as_mut().filter(|_| file.deciding.is_none())?;
        let taken = rows.min(*left);
        *left -= taken;
        (taken < rows).then_some(taken)
    }
}
