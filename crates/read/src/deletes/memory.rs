//! What the deletes of one scan take from the memory budget.
//!
//! Problem: delete sets stay in memory while data files are read, next to decoding, which needs memory to make progress; and files are
//! opened ahead, in no certain order, a file whose blocks lie apart more than once. Contract: memory is reserved before it is used, and the
//! deletes of one scan never take more than half of the budget. The last half of that is for the opening whose turn it is: the first one in the
//! order of reading whose deletes were not handed out yet. Whoever finds no room waits for its turn, and then for the openings before it to be
//! read; where nothing will be given back, what does not fit is refused with `budget-too-small` and the figure. So a scan finishes or is
//! refused, it does not hang on its own deletes. What is in memory is shared with an opening ahead of its turn only while the first half holds
//! it all: those before it could give nothing back. A caller that leaves openings out does not stop the others: after [`PATIENCE`] they need not wait
//! for the turn of one that was not begun.

use fastdata_types::{Error, MemoryBudget, Permit, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// What a refusal adds for the steps after the one that was refused: pages of some columns more, and a table that grows.
const STILL_TO_COME: u64 = 1 << 20;

/// How long an opening waits for the turn of one that was not begun.
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
    /// In the order of reading.
    openings: Vec<Progress>,
    /// The first opening whose deletes were not handed out.
    turn: usize,
    /// Openings whose deletes are in memory now, and how often.
    live: BTreeMap<u32, usize>,
}

/// How far an opening is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Progress {
    ToCome,
    Begun,
    HandedOut,
}

enum Taken {
    Yes,
    /// It is not this opening's turn.
    NotYet,
    /// An earlier opening will give memory back.
    Later,
    /// Together with what others hold it is this much, and nothing will be given back.
    Never(u64),
}

impl Holdings {
    pub(super) fn new(budget: Arc<MemoryBudget>, openings: usize) -> Arc<Self> {
        let state = State { openings: vec![Progress::ToCome; openings], ..State::default() };
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

    /// An opening will ask for its deletes, unless the returned value is dropped before.
    pub(super) fn begin(self: &Arc<Self>, number: u32) -> Opening {
        if let Some(progress @ Progress::ToCome) = self.state().openings.get_mut(number as usize) {
            *progress = Progress::Begun;
        }
        Opening { holdings: Arc::clone(self), number }
    }

    /// The deletes of an opening are handed out, and in memory until the returned value is dropped.
    pub(super) fn hand_out(self: &Arc<Self>, opening: u32) -> Live {
        let mut state = self.state();
        *state.live.entry(opening).or_default() += 1;
        if let Some(progress) = state.openings.get_mut(opening as usize) {
            *progress = Progress::HandedOut;
        }
        while state.openings.get(state.turn) == Some(&Progress::HandedOut) {
            state.turn += 1;
        }
        drop(state);
        self.changed.notify_waiters();
        Live { holdings: Arc::clone(self), opening }
    }

    fn take(&self, more: u64, opening: u32, of: u64, patient: bool) -> Taken {
        let mut state = self.state();
        let together = state.held.saturating_add(more);
        if of > self.limit() {
            return Taken::Never(together);
        }
        if together > self.limit() / 2 {
            // However long the one whose turn it is waits for those before it: what they give back is for that one.
            let is_begun = state.openings.get(state.turn) == Some(&Progress::Begun);
            if opening as usize > state.turn && (patient || is_begun) {
                return Taken::NotYet;
            }
            if together > self.limit() {
                let earlier = state.live.range(..opening).next().is_some();
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

/// An opening that was begun.
#[derive(Debug)]
pub(crate) struct Opening {
    holdings: Arc<Holdings>,
    number: u32,
}

impl Opening {
    /// Its place in the order of reading.
    pub(super) fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(progress @ Progress::Begun) = self.holdings.state().openings.get_mut(self.number as usize) {
            *progress = Progress::ToCome;
        }
    }
}

/// An opening whose deletes are in memory.
#[derive(Debug)]
pub(super) struct Live {
    holdings: Arc<Holdings>,
    opening: u32,
}

impl Drop for Live {
    fn drop(&mut self) {
        let mut state = self.holdings.state();
        if let Some(count) = state.live.get_mut(&self.opening) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.live.remove(&self.opening);
            }
        }
        drop(state);
        self.holdings.changed.notify_waiters();
    }
}

/// On whose behalf memory is taken: the first in the order of reading of the openings that wait for a delete set.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    holdings: Arc<Holdings>,
    waiting: Arc<Mutex<Vec<u32>>>,
}

impl Asker {
    pub(super) fn new(holdings: &Arc<Holdings>) -> Self {
        Asker { holdings: Arc::clone(holdings), waiting: Arc::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<u32>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn first(&self) -> u32 {
        self.waiting().iter().min().copied().unwrap_or(u32::MAX)
    }

    /// An opening waits for the set, until the returned value is dropped.
    pub(super) fn waits(&self, opening: u32) -> Waits<'_> {
        let mut waiting = self.waiting();
        let is_first = waiting.iter().all(|other| opening < *other);
        waiting.push(opening);
        drop(waiting);
        if is_first {
            self.holdings.changed.notify_waiters();
        }
        Waits { asker: self, opening }
    }

    /// Whether an opening may hold a set that is in memory. One ahead of its turn may not where that would keep the last half from others.
    pub(super) fn may_hold(&self, opening: u32, patient: bool) -> bool {
        matches!(self.holdings.take(0, opening, 0, patient), Taken::Yes)
    }

    /// Waits for a change after this call; false where none came for so long that an opening need not be patient.
    pub(super) fn changed(&self) -> impl Future<Output = bool> + Send + '_ {
        let changed = self.holdings.changed.notified();
        async move { tokio::time::timeout(PATIENCE, changed).await.is_ok() }
    }

    /// Whether the deletes of the scan take so little that a set may stay for openings to come: half of what is there for those ahead of
    /// their turn.
    pub(super) fn has_room(&self) -> bool {
        self.holdings.state().held <= self.holdings.limit() / 4
    }

    /// An empty reservation; `what` names the delete set in a refusal.
    pub(super) fn reservation(&self, what: String) -> Reservation {
        Reservation { asker: self.clone(), what, permits: Vec::new(), bytes: 0 }
    }
}

/// An opening that waits for a delete set.
pub(super) struct Waits<'a> {
    asker: &'a Asker,
    opening: u32,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut waiting = self.asker.waiting();
        if let Some(at) = waiting.iter().position(|opening| *opening == self.opening) {
            waiting.swap_remove(at);
        }
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
            match holdings.take(more, self.asker.first(), bytes, patient) {
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

    fn reservation(holdings: &Arc<Holdings>, opening: u32, what: &str) -> Reservation {
        let asker = Asker::new(holdings);
        asker.waiting().push(opening);
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
    async fn what_an_earlier_opening_holds_is_waited_for() {
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
    async fn a_set_that_an_earlier_opening_waits_for_is_loaded_in_that_ones_turn() {
        let holdings = Holdings::new(MemoryBudget::new(8 * MIB), 3);
        let asker = Asker::new(&holdings);
        let _later = asker.waits(2);
        let mut shared = asker.reservation("shared".into());
        let waiting = tokio::spawn(async move { shared.grow_to(3 * MIB).await.map(|()| shared) });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let _earlier = asker.waits(0);
        assert_eq!(waiting.await.unwrap().unwrap().bytes(), 3 * MIB);
    }

    #[tokio::test]
    async fn an_opening_that_never_comes_does_not_stop_the_others() {
        let holdings = Holdings::new(MemoryBudget::new(8 * MIB), 2);
        drop(holdings.begin(0));
        reservation(&holdings, 1, "later").grow_to(3 * MIB).await.unwrap();
    }

    #[tokio::test]
    async fn those_behind_an_opening_that_waits_in_its_turn_do_not_lose_patience() {
        let holdings = Holdings::new(MemoryBudget::new(8 * MIB), 3);
        let mut first = reservation(&holdings, 0, "first");
        first.grow_to(3 * MIB).await.unwrap();
        let live = holdings.hand_out(0);
        let opening = holdings.begin(1);
        let grown = |mut memory: Reservation| async move { memory.grow_to(2 * MIB).await.map(|()| memory) };
        let second = tokio::spawn(grown(reservation(&holdings, 1, "second")));
        let mut ahead = reservation(&holdings, 2, "ahead");
        let ahead = tokio::spawn(async move { ahead.grow_to(MIB).await.map(|()| ahead) });
        tokio::time::sleep(PATIENCE * 2).await;
        assert!(!second.is_finished() && !ahead.is_finished(), "it would take what is given back to the second");
        drop((first, live));
        let _second = second.await.unwrap().unwrap();
        let _live = holdings.hand_out(opening.number());
        assert_eq!(ahead.await.unwrap().unwrap().bytes(), MIB);
    }
}
