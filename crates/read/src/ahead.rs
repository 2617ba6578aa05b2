//! Data files opened ahead of the row groups that are read, in the order of the plan.
//!
//! Problem: opening a file takes a round trip or two, and a file whose request has to be made again takes longer than those behind it.
//! Contract: [`Ahead::next`] gives files in the order of the plan; as many are being opened as their store is worth, and those that are
//! open already wait behind a slow one without keeping further ones from being begun. What waits is bounded by number and by the bytes of
//! its footers.

use crate::open_file::OpenFile;
use crate::scan::Scan;
use crate::schedule::Numbered;
use fastdata_types::{Error, Result, Stage};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

/// How many files are opened ahead.
struct Most {
    /// At a time.
    opening: usize,
    /// Being opened, or open and waiting for those before them.
    ahead: usize,
}

const NEAR: Most = Most { opening: 32, ahead: 32 };
/// Each takes a round trip, and now and then one takes several: those behind it go on.
const FAR: Most = Most { opening: 64, ahead: 256 };
/// Under a limit few files are needed.
const LIMITED: Most = Most { opening: 2, ahead: 2 };
/// Footers of files that wait, beyond what [`NEAR`] has.
const FOOTER_BYTES: u64 = 32 << 20;

/// A file and its blocks.
pub(crate) type Opened = (Arc<OpenFile>, u32, Vec<Numbered>);

pub(crate) struct Ahead {
    scan: Arc<Scan>,
    files: std::vec::IntoIter<(u32, Vec<Numbered>)>,
    begun: VecDeque<Begun>,
    most: Most,
    progress: Arc<Progress>,
    /// Ends them when the scan is dropped.
    tasks: JoinSet<()>,
}

struct Begun {
    file: u32,
    blocks: Vec<Numbered>,
    opened: oneshot::Receiver<Result<OpenFile>>,
}

#[derive(Default)]
struct Progress {
    opening: AtomicUsize,
    /// Bytes of the footers that wait.
    footers: AtomicU64,
    ended: Notify,
}

impl Ahead {
    pub(crate) fn new(scan: &Arc<Scan>, files: Vec<(u32, Vec<Numbered>)>, far: bool) -> Ahead {
        let most = match (scan.options.limit.is_some(), far) {
            (true, _) => LIMITED,
            (false, true) => FAR,
            (false, false) => NEAR,
        };
        let files = files.into_iter();
        Ahead { scan: Arc::clone(scan), files, begun: VecDeque::new(), most, progress: Arc::default(), tasks: JoinSet::new() }
    }

    /// The next file of the plan, opened. May be dropped before it is done and called again.
    pub(crate) async fn next(&mut self) -> Option<Result<Opened>> {
        loop {
            self.begin();
            let head = self.begun.front_mut()?;
            let opened = tokio::select! {
                biased;
                opened = &mut head.opened => opened,
                () = self.progress.ended.notified() => continue,
            };
            let Begun { file, blocks, .. } = self.begun.pop_front()?;
            let opened = opened.unwrap_or_else(|_| {
                let path = self.scan.plan.files.get(file as usize).map_or("", |file| file.path.as_str());
                Err(Error::internal(Stage::Read, format!("opening data file '{path}' failed")))
            });
            return Some(opened.map(|opened| {
                self.progress.footers.fetch_sub(opened.footer.memory_bytes(), Ordering::Relaxed);
                (Arc::new(opened), file, blocks)
            }));
        }
    }

    fn begin(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        while self.may_begin() {
            let Some((file, blocks)) = self.files.next() else { return };
            let (done, opened) = oneshot::channel();
            let (scan, progress) = (Arc::clone(&self.scan), Arc::clone(&self.progress));
            progress.opening.fetch_add(1, Ordering::Relaxed);
            self.tasks.spawn(async move {
                let opened = OpenFile::open(&scan, file).await;
                if let Ok(opened) = &opened {
                    progress.footers.fetch_add(opened.footer.memory_bytes(), Ordering::Relaxed);
                }
                // Nobody waits where the scan was dropped.
                let _ = done.send(opened);
                progress.opening.fetch_sub(1, Ordering::Relaxed);
                progress.ended.notify_one();
            });
            self.begun.push_back(Begun { file, blocks, opened });
        }
    }

    fn may_begin(&self) -> bool {
        let is_room = self.begun.len() < NEAR.ahead || self.progress.footers.load(Ordering::Relaxed) < FOOTER_BYTES;
        self.begun.len() < self.most.ahead && self.progress.opening.load(Ordering::Relaxed) < self.most.opening && is_room
    }
}
