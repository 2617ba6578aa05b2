//! Shares of one memory budget, one for each stream that is open.
//!
//! Contract: shares add up to the budget and [`BESIDE`] at most, are given back when dropped, and none is waited for: a program that reads two
//! streams in turn would wait for itself. The first has most of the budget, each further one half of what is left, and [`LEAST`] at least.

use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of the smallest share.
const LEAST: u64 = 4 << 20;
/// Bytes beside the budget that streams may have when it is given away: small ones, of a program that has many open.
const BESIDE: u64 = 96 << 20;

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
        let left = self.total.saturating_sub(taken.bytes);
        if taken.bytes + LEAST > self.total + BESIDE {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                Stage::Request,
                format!("{} streams of this lake are open and hold its memory budget of {} MiB", taken.shares, self.total >> 20),
            )
            .with_retryable(false)
            .advice("close the streams that are no longer read, or give the lake more memory"));
        }
        let bytes = if taken.shares == 0 { left / 4 * 3 } else { left / 2 }.max(LEAST);
        taken.bytes += bytes;
        taken.shares += 1;
        Ok(Share { of: Arc::clone(self), bytes })
    }

    /// The error of a stream that had a share, with what would give it more.
    pub(super) fn explained(&self, error: Error, share: u64) -> Error {
        let others = self.taken.lock().unwrap_or_else(PoisonError::into_inner).shares.saturating_sub(1);
        if error.kind() != ErrorKind::BudgetTooSmall || others == 0 {
            return error;
        }
        let mib = |bytes: u64| bytes >> 20;
        error
            .context(format!("a stream has {} of the lake's {} MiB, as {others} others are open", mib(share), mib(self.total)))
            .advice("close the streams that are no longer read, or give the lake more memory")
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
        assert!(held.iter().map(Share::bytes).sum::<u64>() <= (768 << 20) + BESIDE);
        assert!(held.len() >= 24, "{}", held.len());
        assert_eq!(held[0].bytes(), 576 << 20);
        assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
        assert!(refused.message().contains(&format!("{} streams", held.len())), "{refused}");
        held.clear();
        assert_eq!(shares.take().unwrap().bytes(), 576 << 20);
    }
}
