//! The byte budget that compressed bytes in flight, decoded batches and queues draw from.
//!
//! Contract: permits are taken before memory is and given back when it is. A request larger than the whole budget is refused
//! with `budget-too-small` and the figure needed, at once. Waiting is fair (first come, first served).

use crate::error::{Error, ErrorKind, Result, Stage};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits are counted in units of this many bytes.
const UNIT: u64 = 1024;

#[derive(Debug)]
pub struct MemoryBudget {
    total: u64,
    semaphore: Arc<Semaphore>,
}

/// Bytes taken from a budget, returned when dropped.
#[derive(Debug)]
pub struct Permit {
    _units: Option<OwnedSemaphorePermit>,
    bytes: u64,
}

impl Permit {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives `bytes` of this permit to a new one (at most what it holds).
    pub fn split(&mut self, bytes: u64) -> Permit {
        let bytes = bytes.min(self.bytes);
        let units = units_of(bytes) as usize;
        let part = self._units.as_mut().and_then(|permit| permit.split(units.min(permit.num_permits())));
        self.bytes -= bytes;
        Permit { _units: part, bytes }
    }
}

fn units_of(bytes: u64) -> u64 {
    bytes.div_ceil(UNIT)
}

impl MemoryBudget {
    /// A budget below this many bytes reads nothing.
    pub const LEAST: u64 = 1 << 20;

    /// `total` bytes, at least [`LEAST`](Self::LEAST).
    pub fn new(total: u64) -> Arc<Self> {
        let total = total.max(Self::LEAST);
        let units = usize::try_from(units_of(total)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Arc::new(MemoryBudget { total, semaphore: Arc::new(Semaphore::new(units)) })
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn available(&self) -> u64 {
        self.semaphore.available_permits() as u64 * UNIT
    }

    fn units(&self, bytes: u64, what: &str) -> Result<u32> {
        if bytes > self.total {
            return Err(self.too_small(bytes, what));
        }
        Ok(units_of(bytes).min(u64::from(u32::MAX)) as u32)
    }

    /// The error for something of `bytes` that cannot fit, where `what` names it.
    pub fn too_small(&self, bytes: u64, what: &str) -> Error {
        let mib = |b: u64| b.div_ceil(1 << 20);
        Error::new(
            ErrorKind::BudgetTooSmall,
            Stage::Read,
            format!(
                "{what} needs {bytes} bytes ({} MiB) and the memory budget is {} bytes ({} MiB)",
                mib(bytes),
                self.total,
                mib(self.total)
            ),
        )
        .advice(format!("give at least --memory {}MiB", mib(bytes + bytes / 4)))
    }

    /// Waits until `bytes` are free; `what` names the thing in the refusal.
    pub async fn acquire(&self, bytes: u64, what: &str) -> Result<Permit> {
        let units = self.units(bytes, what)?;
        let permit = Arc::clone(&self.semaphore)
            .acquire_many_owned(units)
            .await
            .map_err(|_| Error::internal(Stage::Read, "the memory budget was closed"))?;
        Ok(Permit { _units: Some(permit), bytes })
    }

    /// Takes `bytes` if they are free now.
    pub fn try_acquire(&self, bytes: u64, what: &str) -> Result<Option<Permit>> {
        let units = self.units(bytes, what)?;
        Ok(Arc::clone(&self.semaphore).try_acquire_many_owned(units).ok().map(|permit| Permit { _units: Some(permit), bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_budget_is_refused_with_the_figure() {
        let budget = MemoryBudget::new(64 << 20);
        let error = budget.try_acquire(65 << 20, "page of column 'x'").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BudgetTooSmall);
        assert!(error.message().contains("65 MiB"), "{error}");
    }

    #[test]
    fn permits_return_when_dropped() {
        let budget = MemoryBudget::new(4 << 20);
        let mut a = budget.try_acquire(3 << 20, "a").unwrap().unwrap();
        assert!(budget.try_acquire(2 << 20, "b").unwrap().is_none());
        let part = a.split(1 << 20);
        drop(a);
        assert_eq!(budget.available(), 3 << 20);
        drop(part);
        assert_eq!(budget.available(), 4 << 20);
    }
}
