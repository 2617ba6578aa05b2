//! What the deletes of one scan take from the memory budget.
//!
//! Problem: delete sets stay in memory for as long as data files refer to them, next to decoding, which needs memory to make
//! progress. Contract: memory is reserved before it is used; the deletes of one scan never take more than half of the budget, and
//! what would take more is refused with `budget-too-small` and the figure. Waiting for memory that others hold ends after
//! [`PATIENCE`] with the same kind, marked retryable: a scan finishes or is refused, it never hangs.

use fastdata_types::{Error, MemoryBudget, Permit, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a reservation waits for memory that other work holds.
const PATIENCE: Duration = Duration::from_secs(60);

/// All reservations of one scan.
#[derive(Debug)]
pub(super) struct Holdings {
    budget: Arc<MemoryBudget>,
    held: AtomicU64,
}

impl Holdings {
    pub(super) fn new(budget: Arc<MemoryBudget>) -> Arc<Self> {
        Arc::new(Holdings { budget, held: AtomicU64::new(0) })
    }

    /// Bytes that the deletes of one scan may hold together.
    fn limit(&self) -> u64 {
        self.budget.total() / 2
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

/// Memory of one delete set, given back when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    holdings: Arc<Holdings>,
    what: String,
    permits: Vec<Permit>,
    bytes: u64,
}

impl Reservation {
    /// An empty reservation; `what` names the delete set in a refusal.
    pub(super) fn new(holdings: &Arc<Holdings>, what: String) -> Self {
        Reservation { holdings: Arc::clone(holdings), what, permits: Vec::new(), bytes: 0 }
    }

    /// Takes what is missing to `bytes`, waiting for it where others hold it.
    pub(super) async fn grow_to(&mut self, bytes: u64) -> Result<()> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let holdings = Arc::clone(&self.holdings);
        let together = holdings.held.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        self.bytes += more;
        let outcome = match together > holdings.limit() {
            true => Err(self.refusal(together)),
            false => match tokio::time::timeout(PATIENCE, holdings.budget.acquire(more, &self.what)).await {
                Ok(permit) => permit,
                Err(_) => Err(self.refusal(together).with_retryable(true).advice(format!(
                    "other work holds the memory budget of {} bytes: raise --memory, or run fewer scans at once",
                    holdings.budget.total()
                ))),
            },
        };
        match outcome {
            Ok(permit) => self.permits.push(permit),
            Err(error) => {
                holdings.held.fetch_sub(more, Ordering::Relaxed);
                self.bytes -= more;
                return Err(error);
            }
        }
        Ok(())
    }

    fn refusal(&self, together: u64) -> Error {
        // Deletes may take half of the budget, so the budget that is needed is twice what they take.
        self.holdings.budget.too_small(
            together.saturating_mul(2).max(self.holdings.budget.total().saturating_add(1)),
            &format!("{} ({together} bytes of deletes held at once, which may take half of the budget)", self.what),
        )
    }

    /// Gives back what exceeds `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        while let Some(mut last) = self.permits.pop() {
            let excess = self.bytes.saturating_sub(bytes);
            if excess == 0 {
                self.permits.push(last);
                return;
            }
            let back = excess.min(last.bytes());
            self.bytes -= back;
            self.holdings.held.fetch_sub(back, Ordering::Relaxed);
            if back < last.bytes() {
                drop(last.split(back));
                self.permits.push(last);
            }
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.holdings.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastdata_types::ErrorKind;

    #[tokio::test]
    async fn deletes_take_at_most_half_of_the_budget_and_say_what_they_need() {
        let budget = MemoryBudget::new(8 << 20);
        let holdings = Holdings::new(Arc::clone(&budget));
        let mut first = Reservation::new(&holdings, "delete file 'a'".into());
        first.grow_to(3 << 20).await.unwrap();
        let mut second = Reservation::new(&holdings, "delete file 'b'".into());
        let error = second.grow_to(2 << 20).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BudgetTooSmall);
        assert!(error.message().contains("'b'") && error.message().contains(&(10 << 20).to_string()), "{error}");
        first.shrink_to(1 << 20);
        second.grow_to(2 << 20).await.unwrap();
        assert_eq!(holdings.held(), 3 << 20);
        assert_eq!(budget.available(), 5 << 20);
        drop((first, second));
        assert_eq!((holdings.held(), budget.available()), (0, 8 << 20));
    }
}
