//! The column chunks of one row group, fetched whole or window by window, as the decoder takes them.

use crate::footer::chunk_range;
use crate::need::Need;
use crate::open_file::OpenFile;
use crate::pages::{ChunkCursor, PageMeter, RowGroupPages};
use crate::scan::Scan;
use bytes::Bytes;
use fastdata_types::{Error, Result, Stage};
use parquet::file::metadata::RowGroupMetaData;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// Chunks of one row group by leaf column.
#[derive(Default)]
pub(crate) struct Chunks {
    whole: HashMap<usize, Bytes>,
    windowed: Mutex<HashMap<usize, ChunkCursor>>,
}

/// The fetches of a row group's windows. They end when this is dropped, and with them whoever waits for a window.
#[derive(Default)]
pub(crate) struct Fetches {
    tasks: JoinSet<()>,
    windows: Vec<Delivery>,
}

/// How far one chunk has come, in bytes.
struct Delivery {
    length: u64,
    delivered: watch::Receiver<u64>,
    taken: Arc<AtomicU64>,
}

impl Fetches {
    pub(crate) fn is_windowed(&self) -> bool {
        !self.windows.is_empty()
    }

    /// Waits until every chunk has a window beside those that the decoder took, or has been delivered whole: then decoding hardly ever
    /// waits for one, which would keep a thread of the pool from everybody else.
    pub(crate) async fn ready(&mut self) {
        for Delivery { length, delivered, taken } in &mut self.windows {
            // A fetch that ended early has left its error to the decoder.
            let _ = delivered.wait_for(|bytes| bytes == length || *bytes > taken.load(Ordering::Relaxed)).await;
        }
    }

    /// Starts a task that fetches window after window, some at a time, while the last is waiting to be read.
    fn start(&mut self, scan: &Arc<Scan>, path: &str, range: Range<u64>, need: &Need) -> ChunkCursor {
        let (sender, receiver) = mpsc::channel(1);
        let (scan, path, length) = (Arc::clone(scan), path.to_owned(), range.end - range.start);
        let (progress, delivered) = watch::channel(0);
        let taken = Arc::new(AtomicU64::new(0));
        self.windows.push(Delivery { length, delivered, taken: Arc::clone(&taken) });
        let (window, ahead) = (need.window, need.ahead as usize);
        self.tasks.spawn(async move {
            let mut at = range.start;
            // Each by a task of its own: they go on while the reader takes its time, and end with this one.
            let (mut tasks, mut begun) = (JoinSet::new(), VecDeque::new());
            loop {
                while at < range.end && begun.len() < ahead {
                    let next = at..range.end.min(at.saturating_add(window));
                    at = next.end;
                    let (done, fetched) = oneshot::channel();
                    let (scan, path) = (Arc::clone(&scan), path.clone());
                    tasks.spawn(async move {
                        let read = scan.timers.storage(scan.plan.table.store.read_ranges(&path, std::slice::from_ref(&next))).await;
                        let _ = done.send(read);
                    });
                    begun.push_back(fetched);
                }
                let Some(fetched) = begun.pop_front() else { return };
                let read = fetched.await.unwrap_or_else(|_| Err(Error::internal(Stage::Read, "a fetch panicked")));
                let bytes =
                    read.and_then(|mut parts| parts.pop().ok_or_else(|| Error::internal(Stage::Read, "the store returned no bytes")));
                let arrived = bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
                if sender.send(bytes).await.is_err() || arrived == 0 {
                    return;
                }
                progress.send_modify(|bytes| *bytes += arrived);
                while tasks.try_join_next().is_some() {}
            }
        });
        ChunkCursor::windowed(length, receiver, taken)
    }
}

impl Chunks {
    /// Fetches whole chunks now, but for those that are `known` already, and starts fetching the large ones.
    pub(crate) async fn fetch(
        scan: &Arc<Scan>,
        file: &OpenFile,
        row_group: &RowGroupMetaData,
        leaves: &BTreeSet<usize>,
        need: &Need,
        known: HashMap<usize, Bytes>,
    ) -> Result<(Chunks, Fetches)> {
        let mut fetches = Fetches::default();
        let mut chunks = Chunks { whole: known, ..Chunks::default() };
        let whole: BTreeSet<usize> = chunks.whole.keys().copied().collect();
        let mut wanted: Vec<(usize, Range<u64>)> = Vec::new();
        for leaf in leaves.iter().filter(|leaf| !whole.contains(leaf)) {
            let column = row_group.columns().get(*leaf).ok_or_else(|| Error::corrupt(Stage::Read, "a row group lacks a column"))?;
            let range = chunk_range(column);
            if let Some(bytes) = file.content.as_ref().and_then(|content| content.bytes.get(&range)) {
                chunks.whole.insert(*leaf, bytes);
            } else if range.end - range.start <= need.longest_whole() {
                wanted.push((*leaf, range));
            } else {
                let cursor = fetches.start(scan, &file.facts.path, range, need);
                chunks.windowed.lock().unwrap_or_else(PoisonError::into_inner).insert(*leaf, cursor);
            }
        }
        if !wanted.is_empty() {
            let ranges: Vec<Range<u64>> = wanted.iter().map(|(_, range)| range.clone()).collect();
            let bytes = scan.timers.storage(scan.plan.table.store.read_ranges(&file.facts.path, &ranges)).await?;
            for ((leaf, range), bytes) in wanted.into_iter().zip(bytes) {
                if bytes.len() as u64 != range.end - range.start {
                    return Err(Error::internal(Stage::Read, "the store returned fewer bytes than it was asked for"));
                }
                chunks.whole.insert(leaf, bytes);
            }
        }
        Ok((chunks, fetches))
    }

    /// The whole chunks among these leaves.
    pub(crate) fn whole_of(&self, leaves: &BTreeSet<usize>) -> HashMap<usize, Bytes> {
        self.whole.iter().filter(|(leaf, _)| leaves.contains(leaf)).map(|(leaf, bytes)| (*leaf, bytes.clone())).collect()
    }

    /// The chunks as the source of the decoder's pages.
    pub(crate) fn pages<'a>(
        &'a self,
        file: &'a OpenFile,
        row_group: usize,
        meter: &Arc<PageMeter>,
    ) -> RowGroupPages<'a, impl Fn(usize) -> Option<ChunkCursor> + 'a> {
        let cursor = |leaf| match self.whole.get(&leaf) {
            Some(bytes) => Some(ChunkCursor::whole(bytes.clone())),
            None => self.windowed.lock().unwrap_or_else(PoisonError::into_inner).remove(&leaf),
        };
        RowGroupPages { metadata: &file.footer.metadata, row_group, meter: Arc::clone(meter), cursor }
    }
}
