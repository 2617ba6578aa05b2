//! How many bytes of inflated pages are alive, exactly, and the line they may not cross.
//!
//! A page stays alive while a decoder reads it or a string view points into it, so its bytes are counted until its last
//! reference goes, wherever that is.

use super::recycle::PageBuffers;
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fastdata_types::Error;

/// Shared by all columns of one row group while it is decoded.
#[derive(Debug)]
pub(crate) struct PageMeter {
    limit: u64,
    buffers: Arc<PageBuffers>,
    live: AtomicU64,
    peak: AtomicU64,
    fault: Mutex<Option<Fault>>,
}

/// Why decoding stopped, kept here because the decoder's own error type cannot carry it.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Pages of this many bytes would be alive at once: more than was reserved.
    NeedsPages(u64),
    Failed(Error),
}

impl PageMeter {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        PageMeter::recycling(limit, Arc::default())
    }

    /// A meter whose pages take their buffers from these and return them.
    pub(crate) fn recycling(limit: u64, buffers: Arc<PageBuffers>) -> Arc<Self> {
        Arc::new(PageMeter { limit, buffers, live: AtomicU64::new(0), peak: AtomicU64::new(0), fault: Mutex::new(None) })
    }

    pub(super) fn buffers(&self) -> &Arc<PageBuffers> {
        &self.buffers
    }

    /// Counts `bytes` until the charge is dropped; `None` where they cross the line, which is noted.
    pub(crate) fn charge(self: &Arc<Self>, bytes: u64) -> Option<Charge> {
        let live = self.live.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let charge = Charge { meter: Arc::clone(self), bytes };
        if live > self.limit {
            self.fail(Fault::NeedsPages(live));
            return None;
        }
        self.peak.fetch_max(live, Ordering::Relaxed);
        Some(charge)
    }

    /// The most bytes that were alive at once.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Notes why decoding stops; the first fault stands, but a failure wins over a shortage.
    pub(crate) fn fail(&self, fault: Fault) {
        let mut slot = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*slot, &fault) {
            (None, _) | (Some(Fault::NeedsPages(_)), Fault::Failed(_)) => *slot = Some(fault),
            (Some(Fault::NeedsPages(known)), Fault::NeedsPages(more)) if more > known => *slot = Some(fault),
            _ => {}
        }
    }

    pub(crate) fn take_fault(&self) -> Option<Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    #[cfg(test)]
    pub(crate) fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub(crate) struct Charge {
    meter: Arc<PageMeter>,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.meter.live.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes that carry their charge with them.
pub(crate) fn charged(data: impl AsRef<[u8]> + Send + 'static, charge: Charge) -> Bytes {
    struct Owner<T> {
        data: T,
        _charge: Charge,
    }
    impl<T: AsRef<[u8]>> AsRef<[u8]> for Owner<T> {
        fn as_ref(&self) -> &[u8] {
            self.data.as_ref()
        }
    }
    Bytes::from_owner(Owner { data, _charge: charge })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_until_their_last_reference_goes() {
        let meter = PageMeter::new(100);
        let page = charged(vec![1u8; 60], meter.charge(60).unwrap());
        let view = page.slice(10..20);
        drop(page);
        assert_eq!(meter.live(), 60);
        assert!(meter.charge(50).is_none());
        assert!(matches!(meter.take_fault(), Some(Fault::NeedsPages(110))));
        drop(view);
        assert_eq!(meter.live(), 0);
    }
}
