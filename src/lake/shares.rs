//! Shares of one memory budget, one for each stream that is open.
//!
//! Contract: shares add up to the budget at most, are given back when dropped, and none is waited for: a program that reads two streams in
//! turn would wait for itself. The first has most of the budget, each further one half of what is left.

use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::sync::{Arc, Mutex, PoisonError};

/// A share is no smaller than this part of the budget.
const LEAST: u64 = 128;

pub(super) struct Shares {
    total: u64,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    bytes: u64,
    shares: u64,
}

/// A part of the budget, until it is dropped.
pub(super) struct Share {
    of: Arc<Shares>,
    bytes: u64,
}

impl Shares {
    pub(super) fn new(total: u64) -> Arc<Shares> {
        Arc::new(Shares { total, taken: Mutex::default() })
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn take(self: &Arc<Self>) -> Result<Share> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.total - taken.bytes;
        let least = self.total / LEAST;
        if left < least {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                Stage::Request,
                format!("{} streams of this lake are open and hold its memory budget of {} MiB", taken.shares, self.total >> 20),
            )
            .with_retryable(false)
            .advice("close the streams that are no longer read, or give the lake more memory"));
        }
        let bytes = if taken.shares == 0 { left / 4 * 3 } else { left / 2 }.max(least);
        taken.bytes += bytes;
        taken.shares += 1;
        Ok(Share { of: Arc::clone(self), bytes })
    }
}

impl Share {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.bytes -= self.bytes;
        taken.shares -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_exceed_the_budget_and_come_back() {
        let shares = Shares::new(768 << 20);
        let mut held = Vec::new();
        let refused = loop {
            match shares.take() {
                Ok(share) => held.push(share),
                Err(error) => break error,
            }
        };
        assert!(held.iter().map(Share::bytes).sum::<u64>() <= 768 << 20);
        assert!(held.len() >= 6, "{}", held.len());
        assert_eq!(held[0].bytes(), 576 << 20);
        assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
        assert!(refused.message().contains(&format!("{} streams", held.len())), "{refused}");
        held.clear();
        assert_eq!(shares.take().unwrap().bytes(), 576 << 20);
    }
}
