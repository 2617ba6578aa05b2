//! The streams that run, by plan: what CancelFlightInfo ends.

use fastdata_types::lanes::PlanDigest;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// One scan of one principal: other columns of the same rows are another scan.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ScanKey {
    pub principal: String,
    pub digest: PlanDigest,
    pub request: String,
}

#[derive(Default)]
pub struct Running(Mutex<HashMap<ScanKey, (CancellationToken, usize)>>);

/// A stream that runs until this is dropped.
pub struct Run {
    running: Arc<Running>,
    key: ScanKey,
    pub cancel: CancellationToken,
}

impl Running {
    pub fn start(self: &Arc<Self>, key: ScanKey) -> Run {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (cancel, streams) = running.entry(key.clone()).or_default();
        *streams += 1;
        Run { running: Arc::clone(self), key, cancel: cancel.clone() }
    }

    /// Ends the streams of a scan that run now; false where there are none.
    pub fn cancel(&self, key: &ScanKey) -> bool {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        running.inspect(|(cancel, _)| cancel.cancel()).is_some()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut running = self.running.0.lock().unwrap_or_else(PoisonError::into_inner);
        // After a cancel the entry may be that of later streams.
        if let Some((cancel, streams)) = running.get_mut(&self.key)
            && !self.cancel.is_cancelled()
        {
            debug_assert!(!cancel.is_cancelled());
            *streams -= 1;
            if *streams == 0 {
                running.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_ends_the_streams_of_one_scan_and_none_that_come_later() {
        let running = Arc::new(Running::default());
        let key = |principal: &str| ScanKey { principal: principal.into(), digest: PlanDigest([1; 16]), request: String::new() };
        let (a, b, other) = (running.start(key("ada")), running.start(key("ada")), running.start(key("bob")));
        assert!(running.cancel(&key("ada")) && !running.cancel(&key("ada")));
        assert!(a.cancel.is_cancelled() && b.cancel.is_cancelled() && !other.cancel.is_cancelled());
        let later = running.start(key("ada"));
        drop((a, b));
        assert!(!later.cancel.is_cancelled() && running.cancel(&key("ada")));
        drop((other, later));
        assert!(running.0.lock().unwrap().is_empty());
    }
}
