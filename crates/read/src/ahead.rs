//! Data files opened ahead of the row groups that are read, in the order of the plan.
//!
//! Problem: opening a file takes a round trip or two, and a file whose request has to be made again takes longer than those behind it.
//! Contract: [`Ahead::next`] gives files in the order of the plan; as many are being opened as their store is worth, and those that are
//! open already wait behind a slow one without keeping further ones from being begun. What waits is bounded by number and by the bytes of
//! its footers: where those take enough, a footer is parsed when its file is one of the next two, or when others have been handed over.

use crate::open_file::OpenFile;
use crate::scan::Scan;
use crate::schedule::Numbered;
use fastdata_types::{Error, Result, Stage};
use std::collections::VecDeque;
use std::iter::Enumerate;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Notify, oneshot, watch};
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
/// Parsed footers of files that are not handed over, one more excepted. A file of a hundred columns in a few row groups has a quarter of a mebibyte.
const FOOTER_BYTES: u64 = 32 << 20;
/// Files whose footers have room in any case: the one that is waited for, and the one behind it.
const NEXT: u64 = 2;

/// A file and its blocks.
pub(crate) type Opened = (Arc<OpenFile>, u32, Vec<Numbered>);

pub(crate) struct Ahead {
    scan: Arc<Scan>,
    /// By the number of the opening.
    files: Enumerate<std::vec::IntoIter<(u32, Vec<Numbered>)>>,
    begun: VecDeque<Begun>,
    most: Most,
    progress: Arc<Progress>,
    /// Ends them when the scan is dropped.
    tasks: JoinSet<()>,
}

struct Begun {
    file: u32,
    blocks: Vec<Numbered>,
    opened: oneshot::Receiver<Result<(OpenFile, FooterRoom)>>,
}

#[derive(Default)]
struct Progress {
    opening: AtomicUsize,
    ended: Notify,
    footers: watch::Sender<Footers>,
}

#[derive(Default)]
struct Footers {
    /// What the footers of files that are not handed over take in memory.
    bytes: u64,
    /// Files that are handed over.
    taken: u64,
}

/// A file's part of [`FOOTER_BYTES`], from before its footer is parsed until it is handed over.
pub(crate) struct FooterRoom {
    progress: Arc<Progress>,
    number: u64,
    bytes: u64,
}

impl FooterRoom {
    /// Waits for room for a footer that takes so many bytes at most.
    pub(crate) async fn take(&mut self, bytes: u64) {
        let mut changes = self.progress.footers.subscribe();
        loop {
            let mut is_room = false;
            self.progress.footers.send_if_modified(|footers| {
                is_room = footers.bytes < FOOTER_BYTES || self.number < footers.taken + NEXT;
                footers.bytes = footers.bytes.saturating_add(if is_room { bytes } else { 0 });
                // Nobody who waits gets room by this.
                false
            });
            if is_room {
                self.bytes = bytes;
                return;
            }
            // The other end is kept above.
            let _ = changes.changed().await;
        }
    }

    /// The footer takes so many bytes.
    pub(crate) fn keep(&mut self, bytes: u64) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        self.progress.footers.send_modify(|footers| footers.bytes = footers.bytes.saturating_sub(before).saturating_add(bytes));
    }
}

impl Drop for FooterRoom {
    fn drop(&mut self) {
        self.keep(0);
    }
}

impl Ahead {
    pub(crate) fn new(scan: &Arc<Scan>, files: Vec<(u32, Vec<Numbered>)>, far: bool) -> Ahead {
        let most = match (scan.options.limit.is_some(), far) {
            (true, _) => LIMITED,
            (false, true) => FAR,
            (false, false) => NEAR,
        };
        let files = files.into_iter().enumerate();
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
            self.progress.footers.send_modify(|footers| footers.taken += 1);
            let opened = opened.unwrap_or_else(|_| {
                let path = self.scan.plan.files.get(file as usize).map_or("", |file| file.path.as_str());
                Err(Error::internal(Stage::Read, format!("opening data file '{path}' failed")))
            });
            return Some(opened.map(|(opened, _room)| (Arc::new(opened), file, blocks)));
        }
    }

    fn begin(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        while self.may_begin() {
            let Some((number, (file, blocks))) = self.files.next() else { return };
            // In order, so that an opening never waits for one that was not begun.
            let opening = self.scan.deletes.opening(number as u32);
            let (done, opened) = oneshot::channel();
            let (scan, progress) = (Arc::clone(&self.scan), Arc::clone(&self.progress));
            progress.opening.fetch_add(1, Ordering::Relaxed);
            let mut room = FooterRoom { progress: Arc::clone(&progress), number: number as u64, bytes: 0 };
            self.tasks.spawn(async move {
                let opened = OpenFile::open(&scan, file, opening, &mut room).await;
                // Nobody waits where the scan was dropped.
                let _ = done.send(opened.map(|opened| (opened, room)));
                progress.opening.fetch_sub(1, Ordering::Relaxed);
                progress.ended.notify_one();
            });
            self.begun.push_back(Begun { file, blocks, opened });
        }
    }

    fn may_begin(&self) -> bool {
        self.begun.len() < self.most.ahead && self.progress.opening.load(Ordering::Relaxed) < self.most.opening
    }
}
