//! Whether the server takes new requests: one handle for the admin port, the health service and the drain.

use super::Metrics;
use std::sync::Arc;
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not listening yet.
    Starting,
    Serving,
    /// Told to stop: running streams finish, nothing new is taken.
    Draining,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Serving => "serving",
            Phase::Draining => "draining",
        }
    }
}

/// Cheap to clone; all clones see and set the same phase. There is no way back from [`Phase::Draining`].
#[derive(Debug, Clone)]
pub struct Readiness {
    phase: Arc<watch::Sender<Phase>>,
    metrics: Metrics,
}

impl Readiness {
    pub(super) fn new(metrics: Metrics) -> Readiness {
        Readiness { phase: Arc::new(watch::Sender::new(Phase::Starting)), metrics }
    }

    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub fn serving(&self) {
        self.advance(Phase::Serving);
    }

    pub fn draining(&self) {
        self.advance(Phase::Draining);
    }

    /// Sees every change from now on, and the phase as it is.
    pub fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let moves = *phase != to && *phase != Phase::Draining;
            if moves {
                *phase = to;
                self.metrics.set_ready(to == Phase::Serving);
            }
            moves
        });
    }
}
