//! A delete set that is loaded once and kept for as long as data files need it.
//!
//! Contract: concurrent callers share one load; where the loading caller goes away, the next one loads. The set stays in memory until
//! every data file that refers to it has asked for it, and from then on as long as one of those still holds it: a scan over ten
//! thousand deletion vectors keeps those of the files it is reading. Where the deletes of the scan take little it stays for data files that
//! will be opened again, too; where they take much, asking again loads again.

use super::memory::{Asker, Holdings};
use fastdata_types::Result;
use std::future::Future;
use std::sync::{Arc, Weak};
use tokio::sync::Mutex;

#[derive(Debug)]
pub(super) struct SetCell<T> {
    asker: Asker,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    slot: Slot<T>,
    to_come: Users,
}

#[derive(Debug)]
enum Slot<T> {
    Empty,
    Kept(Arc<T>),
    InUse(Weak<T>),
}

/// Who refers to a set and has not asked for it.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Users {
    files: usize,
    /// Of all those files.
    openings: usize,
}

impl Users {
    /// One more data file, which is opened so many times.
    pub(super) fn add(&mut self, openings: usize) {
        self.files += 1;
        self.openings += openings;
    }
}

impl<T> SetCell<T> {
    pub(super) fn new(holdings: &Arc<Holdings>, users: Users) -> Self {
        SetCell { asker: Asker::new(holdings), state: Mutex::new(State { slot: Slot::Empty, to_come: users }) }
    }

    /// On whose behalf the set takes memory.
    pub(super) fn asker(&self) -> &Asker {
        &self.asker
    }

    /// The set, for this opening. One ahead of its turn waits where memory is short, and does not hold the set meanwhile: it would still
    /// be there when those before have given it back.
    pub(super) async fn get<L: Future<Output = Result<T>>>(&self, opening: u32, load: impl Fn() -> L) -> Result<Arc<T>> {
        let _waits = self.asker.waits(opening);
        let mut patient = true;
        loop {
            let changed = self.asker.changed();
            let set = self.known_or_loaded(&load).await?;
            if self.asker.may_hold(opening, patient) {
                return Ok(set);
            }
            drop(set);
            patient = changed.await;
        }
    }

    async fn known_or_loaded<L: Future<Output = Result<T>>>(&self, load: &impl Fn() -> L) -> Result<Arc<T>> {
        let mut state = self.state.lock().await;
        let known = match &state.slot {
            Slot::Empty => None,
            Slot::Kept(set) => Some(Arc::clone(set)),
            Slot::InUse(set) => set.upgrade(),
        };
        if let Some(set) = known {
            return Ok(set);
        }
        let set = Arc::new(load().await?);
        state.slot = Slot::Kept(Arc::clone(&set));
        Ok(set)
    }

    /// One more opening has the set, the first of its data file or not; where nobody is to come for whom it stays, it takes the set over.
    pub(super) async fn asked(&self, is_first: bool) {
        let mut state = self.state.lock().await;
        state.to_come.openings = state.to_come.openings.saturating_sub(1);
        state.to_come.files = state.to_come.files.saturating_sub(usize::from(is_first));
        let stays = state.to_come.files > 0 || (state.to_come.openings > 0 && self.asker.has_room());
        if let (false, Slot::Kept(set)) = (stays, &state.slot) {
            state.slot = Slot::InUse(Arc::downgrade(set));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Reservation;
    use super::*;
    use fastdata_types::MemoryBudget;

    const MIB: u64 = 1 << 20;

    /// A set of one data file.
    fn set_of(holdings: &Arc<Holdings>, openings: usize) -> SetCell<Reservation> {
        SetCell::new(holdings, Users { files: 1, openings })
    }

    /// Three MiB: of a budget of eight, more than half of what deletes may take.
    async fn load(cell: &SetCell<Reservation>) -> Result<Reservation> {
        let mut memory = cell.asker().reservation("set".into());
        memory.grow_to(3 * MIB).await?;
        Ok(memory)
    }

    #[tokio::test]
    async fn an_opening_ahead_of_its_turn_does_not_hold_on_to_what_those_before_it_give_back() {
        let holdings = Holdings::new(MemoryBudget::new(8 * MIB), 3);
        let (twice, once) = (set_of(&holdings, 2), set_of(&holdings, 1));
        let first = twice.get(0, || load(&twice)).await.unwrap();
        twice.asked(true).await;
        let live = holdings.hand_out(0);
        let mut ahead = Box::pin(twice.get(2, || load(&twice)));
        assert!(futures::poll!(ahead.as_mut()).is_pending());
        drop((first, live));
        assert_eq!(holdings.held(), 0);
        let second = once.get(1, || load(&once)).await.unwrap();
        once.asked(true).await;
        let live = holdings.hand_out(1);
        assert!(futures::poll!(ahead.as_mut()).is_pending(), "there is no room for both");
        drop((second, live));
        assert_eq!(ahead.await.unwrap().bytes(), 3 * MIB);
    }

    /// Not for the one that asked first: before that one there is nothing to wait for, and the set would be refused.
    #[tokio::test]
    async fn a_set_that_is_loaded_again_takes_memory_for_the_opening_that_asks_now() {
        let holdings = Holdings::new(MemoryBudget::new(8 * MIB), 3);
        let (twice, once) = (set_of(&holdings, 2), set_of(&holdings, 1));
        let first = twice.get(0, || load(&twice)).await.unwrap();
        twice.asked(true).await;
        drop((first, holdings.hand_out(0)));
        let second = once.get(1, || load(&once)).await.unwrap();
        once.asked(true).await;
        let live = holdings.hand_out(1);
        let mut again = Box::pin(twice.get(2, || load(&twice)));
        assert!(futures::poll!(again.as_mut()).is_pending());
        drop((second, live));
        assert_eq!(again.await.unwrap().bytes(), 3 * MIB);
    }
}
