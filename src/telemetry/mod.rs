//! What an operator sees of a running server: figures, lines of log, and whether it is ready.
//!
//! Contract: [`Telemetry`] is made once per server and is cheap to clone; everything that happens is told to it through typed methods.
//! Nothing here blocks a request: figures are atomics, lines go through a bounded queue, and what nobody takes is dropped and counted.

pub mod admin;
pub mod log;
pub mod metrics;
mod readiness;
mod scan;

pub use log::{Event, Format, Log};
pub use metrics::Metrics;
pub use readiness::{Phase, Readiness};
pub use scan::{ScanFacts, ScanRecord};

use fastdata_types::stats::StatsCollector;
use fastdata_types::{Error, Result};
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct Telemetry {
    pub metrics: Metrics,
    pub log: Log,
    pub readiness: Readiness,
}

impl Telemetry {
    /// Lines go to standard error.
    pub fn new(format: Format) -> Result<Telemetry> {
        Telemetry::with_sink(format, Box::new(std::io::stderr()))
    }

    pub fn with_sink(format: Format, sink: Box<dyn std::io::Write + Send>) -> Result<Telemetry> {
        let metrics = Metrics::new();
        let log = Log::new(format, sink, metrics.clone())?;
        Ok(Telemetry { readiness: Readiness::new(metrics.clone()), metrics, log })
    }

    /// A stream that begins. The record writes its line and counts its outcome when it is dropped.
    pub fn scan(&self, facts: ScanFacts, stats: Arc<StatsCollector>) -> ScanRecord {
        ScanRecord::open(self.clone(), facts, stats)
    }

    /// A plan that failed: counted, and one line.
    pub fn plan_failed(&self, principal: &str, peer: Option<std::net::SocketAddr>, table: Option<&str>, error: &Error) {
        self.metrics.plan_failed(error);
        self.log.write(&Event::PlanFailed { principal, peer, table, error });
    }
}
