//! What the deletes of one scan take from the memory budget.
//!
//! Problem: delete sets stay in memory while data files are read, next to decoding, which needs memory to make progress; and files are
//! opened ahead, in no certain order. Contract: memory is reserved before it is used, and the deletes of one scan never take more than
//! half of the budget. The last half of that is for the data file whose turn it is: the first one in plan order whose deletes were
//! not handed out yet. Whoever finds no room waits for its turn, and then for the files before it to be read; where nothing will be given
//! back, what does not fit is refused with `budget-too-small` and the figure. So a scan finishes or is refused, it does not hang on its
//! own deletes. A caller that leaves data files out does not stop the others: after [`PATIENCE`] they need not wait their turn.

use fastdata_types::{Error, MemoryBudget, Permit, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// What a refusal adds for the steps after the one that was refused: pages of some columns more, and a table that grows.
const STILL_TO_COME: u64 = 1 << 20;

/// How long a data file waits for its turn.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 500 } else { 10_000 });

/// All reservations of one scan.
#[derive(Debug)]
pub(super) struct Holdings {
    budget: Arc<MemoryBudget>,
    state: Mutex<State>,
    /// Something was given back, or whose turn it is has changed.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    held: u64,
    /// Per place in plan order whether the deletes of the data file there were handed out.
    handed_out: Vec<bool>,
    /// The first place where they were not.
    turn: usize,
    /// Places whose data files have their deletes in memory now, and how often.
    live: BTreeMap<u32, usize>,
}

enum Taken {
    Yes,
    /// It is not this data file's turn.
    NotYet,
    /// An earlier data file will give memory back.
    Later,
    /// Together with what others hold it is this much, and nothing will be given back.
    Never(u64),
}

impl Holdings {
    /// `places` data files will be read.
    pub(super) fn new(budget: Arc<MemoryBudget>, places: usize) -> Arc<Self> {
        let state = State { handed_out: vec![false; places], ..State::default() };
        Arc::new(Holdings { budget, state: Mutex::new(state), changed: Notify::new() })
    }

    /// Bytes that the deletes of one scan may hold together.
    fn limit(&self) -> u64 {
        self.budget.total() / 2
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> u64 {
        self.state().held
    }

    /// The deletes of the data file at this place are handed out, and in memory until the returned value is dropped.
    pub(super) fn hand_out(self: &Arc<Self>, place: u32) -> Live {
        let mut state = self.state();
        *state.live.entry(place).or_default() += 1;
        if let Some(handed_out) = state.handed_out.get_mut(place as usize) {
            *handed_out = true;
        }
        while state.handed_out.get(state.turn) == Some(&true) {
            state.turn += 1;
        }
        drop(state);
        self.changed.notify_waiters();
        Live { holdings: Arc::clone(self), place }
    }

    fn take(&self, more: u64, place: u32, of: u64, patient: bool) -> Taken {
        let mut state = self.state();
        let together = state.held.saturating_add(more);
        if of > self.limit() {
            return Taken::Never(together);
        }
        if together > self.limit() / 2 {
            if patient && place as usize > state.turn {
                return Taken::NotYet;
            }
            if together > self.limit() {
                let earlier = state.live.range(..place).next().is_some();
                return if earlier { Taken::Later } else { Taken::Never(together) };
            }
        }
        state.held = together;
        Taken::Yes
    }

    fn give_back(&self, bytes: u64) {
        let mut state = self.state();
        state.held = state.held.saturating_sub(bytes);
        drop(state);
        self.changed.notify_waiters();
    }
}

/// A data file whose deletes are in memory.
#[derive(Debug)]
pub(super) struct Live {
    holdings: Arc<Holdings>,
    place: u32,
}

impl Drop for Live {
    fn drop(&mut self) {
        let mut state = self.holdings.state();
        if let Some(count) = state.live.get_mut(&self.place) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.live.remove(&self.place);
            }
        }
        drop(state);
        self.holdings.changed.notify_waiters();
    }
}

/// On whose behalf memory is taken: the first in plan order of the data files that wait for a delete set.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    holdings: Arc<Holdings>,
    place: Arc<AtomicU32>,
}

impl Asker {
    pub(super) fn new(holdings: &Arc<Holdings>) -> Self {
        Asker { holdings: Arc::clone(holdings), place: Arc::new(AtomicU32::new(u32::MAX)) }
    }

    /// The data file at this place waits, too.
    pub(super) fn also(&self, place: u32) {
        if self.place.fetch_min(place, Ordering::Relaxed) > place {
            self.holdings.changed.notify_waiters();
        }
    }

    /// An empty reservation; `what` names the delete set in a refusal.
    pub(super) fn reservation(&self, what: String) -> Reservation {
        Reservation { asker: self.clone(), what, permits: Vec::new(), bytes: 0 }
    }
}

/// Memory of one delete set, given back when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    asker: Asker,
    what: String,
    permits: Vec<Permit>,
    bytes: u64,
}

impl Reservation {
    /// Takes what is missing to `bytes`, waiting for it where others will give it back.
    pub(super) async fn grow_to(&mut self, bytes: u64) -> Result<()> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let holdings = Arc::clone(&self.asker.holdings);
        let mut patient = true;
        loop {
            let changed = holdings.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match holdings.take(more, self.asker.place.load(Ordering::Relaxed), bytes, patient) {
                Taken::Yes => break,
                Taken::NotYet => patient = tokio::time::timeout(PATIENCE, changed).await.is_ok(),
                Taken::Later => changed.await,
                Taken::Never(together) => return Err(self.refusal(together)),
            }
        }
        self.bytes = bytes;
        match holdings.budget.acquire(more, &self.what).await {
            Ok(permit) => self.permits.push(permit),
            Err(error) => {
                self.bytes -= more;
                holdings.give_back(more);
                return Err(error);
            }
        }
        Ok(())
    }

    fn refusal(&self, together: u64) -> Error {
        let budget = &self.asker.holdings.budget;
        // Deletes may take half of the budget, so the budget that is needed is twice what they take.
        let needed = together.saturating_add(STILL_TO_COME).saturating_mul(2).max(budget.total().saturating_add(1));
        budget.too_small(needed, &format!("{} ({together} bytes of deletes at once, which may take half of the budget)", self.what))
    }

    /// Gives back what exceeds `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        while let Some(mut last) = self.permits.pop() {
            let back = self.bytes.saturating_sub(bytes).min(last.bytes());
            if back < last.bytes() {
                drop(last.split(back));
                self.permits.push(last);
            }
            self.bytes -= back;
            self.asker.holdings.give_back(back);
            if self.bytes <= bytes {
                return;
            }
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.permits.clear();
        self.asker.holdings.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastdata_types::ErrorKind;

    const MIB: u64 = 1 << 20;

    fn reservation(holdings: &Arc<Holdings>, place: u32, what: &str) -> Reservation {
        let asker = Asker::new(holdings);
        asker.also(place);
        asker.reservation(what.to_owned())
    }

    #[tokio::test]
    async fn deletes_take_at_most_half_of_the_budget_and_say_what_they_need() {
        let budget = MemoryBudget::new(8 * MIB);
        let holdings = Holdings::new(Arc::clone(&budget), 1);
        let mut first = reservation(&holdings, 0, "delete file 'a'");
        first.grow_to(3 * MIB).await.unwrap();
        let mut second = reservation(&holdings, 0, "delete file 'b'");
        let error = second.grow_to(2 * MIB).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BudgetTooSmall);
        assert!(error.message().contains("'b'") && error.message().contains(&(12 * MIB).to_string()), "{error}");
        first.shrink_to(MIB);
        second.grow_to(2 * MIB).await.unwrap();
        assert_eq!(holdings.held(), 3 * MIB);
        assert_eq!(budget.available(), 5 * MIB);
        drop((first, second));
        assert_eq!((holdings.held(), budget.available()), (0, 8 * MIB));
    }

    #[tokio::test]
    async fn what_an_earlier_data_file_holds_is_waited_for() {
        let holdings = Holdings::new(MemoryBudget::new(8 * MIB), 2);
        let mut first = reservation(&holdings, 0, "a");
        first.grow_to(3 * MIB).await.unwrap();
        let live = holdings.hand_out(0);
        let mut second = reservation(&holdings, 1, "b");
        assert_eq!(second.grow_to(5 * MIB).await.unwrap_err().kind(), ErrorKind::BudgetTooSmall, "alone it is too large");
        let waiting = tokio::spawn(async move { second.grow_to(2 * MIB).await.map(|()| second) });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop((first, live));
        assert_eq!(waiting.await.unwrap().unwrap().bytes(), 2 * MIB);
    }

    #[tokio::test]
    async fn files_opened_ahead_leave_room_for_the_one_whose_turn_it_is() {
        let holdings = Holdings::new(MemoryBudget::new(8 * MIB), 3);
        let mut ahead = reservation(&holdings, 2, "ahead");
        ahead.grow_to(2 * MIB).await.unwrap();
        let waiting = tokio::spawn(async move { ahead.grow_to(3 * MIB).await.map(|()| ahead) });
        tokio::task::yield_now().await;
        let mut first = reservation(&holdings, 0, "first");
        first.grow_to(2 * MIB).await.unwrap();
        let (one, _two) = (holdings.hand_out(0), holdings.hand_out(1));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "its turn, and no room");
        drop((first, one));
        assert_eq!(waiting.await.unwrap().unwrap().bytes(), 3 * MIB);
    }

    #[tokio::test]
    async fn a_set_that_an_earlier_data_file_waits_for_is_loaded_in_that_ones_turn() {
        let holdings = Holdings::new(MemoryBudget::new(8 * MIB), 3);
        let asker = Asker::new(&holdings);
        asker.also(2);
        let mut shared = asker.reservation("shared".into());
        let waiting = tokio::spawn(async move { shared.grow_to(3 * MIB).await.map(|()| shared) });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        asker.also(0);
        assert_eq!(waiting.await.unwrap().unwrap().bytes(), 3 * MIB);
    }

    #[tokio::test]
    async fn a_data_file_that_never_comes_does_not_stop_the_others() {
        let holdings = Holdings::new(MemoryBudget::new(8 * MIB), 2);
        reservation(&holdings, 1, "later").grow_to(3 * MIB).await.unwrap();
    }
}
