//! A delete set that is loaded once and kept for as long as data files need it.
//!
//! Contract: concurrent callers share one load; where the loading caller goes away, the next one loads. The set stays in memory until
//! every data file that refers to it has asked for it, and from then on as long as one of those still holds it: a scan over ten
//! thousand deletion vectors keeps those of the files it is reading. Asking again after that loads again.

use super::memory::{Asker, Holdings};
use fastdata_types::Result;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::Mutex;

#[derive(Debug)]
pub(super) struct SetCell<T> {
    asker: Asker,
    slot: Mutex<Slot<T>>,
    /// Data files that refer to the set and have not asked for it.
    waiting: AtomicUsize,
}

#[derive(Debug)]
enum Slot<T> {
    Empty,
    Kept(Arc<T>),
    InUse(Weak<T>),
}

impl<T> SetCell<T> {
    pub(super) fn new(holdings: &Arc<Holdings>, users: usize) -> Self {
        SetCell { asker: Asker::new(holdings), slot: Mutex::new(Slot::Empty), waiting: AtomicUsize::new(users) }
    }

    /// On whose behalf the set takes memory.
    pub(super) fn asker(&self) -> &Asker {
        &self.asker
    }

    /// The set, for the data file at this place in plan order.
    pub(super) async fn get(&self, place: u32, load: impl Future<Output = Result<T>>) -> Result<Arc<T>> {
        self.asker.also(place);
        let mut slot = self.slot.lock().await;
        let known = match &*slot {
            Slot::Empty => None,
            Slot::Kept(set) => Some(Arc::clone(set)),
            Slot::InUse(set) => set.upgrade(),
        };
        if let Some(set) = known {
            return Ok(set);
        }
        let set = Arc::new(load.await?);
        *slot = Slot::Kept(Arc::clone(&set));
        Ok(set)
    }

    /// One more data file has the set; the last one takes it over.
    pub(super) async fn asked(&self) {
        let before = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| Some(n.saturating_sub(1)));
        if before.unwrap_or(0) <= 1 {
            let mut slot = self.slot.lock().await;
            if let Slot::Kept(set) = &*slot {
                *slot = Slot::InUse(Arc::downgrade(set));
            }
        }
    }
}
