//! The record of one stream: its figures while it runs, its line when it ends.
//!
//! Contract: a record writes exactly one line and counts exactly one outcome, when it is dropped. One that nobody finished belongs to a client
//! that went away: `cancelled`; one that is dropped by a panic is `internal`. Figures reach the metrics while the stream runs, so that a long
//! stream shows as a rate and not as a step at its end.

use super::Telemetry;
use super::log::{Event, Scan, message_of};
use super::metrics::OK;
use fastdata_types::stats::{ScanStats, StatsCollector};
use fastdata_types::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the figures of a running stream are passed on.
const EVERY: Duration = Duration::from_secs(1);

/// What is known when a stream begins.
#[derive(Debug, Clone, Default)]
pub struct ScanFacts {
    pub principal: String,
    pub peer: Option<SocketAddr>,
    pub table: String,
    pub snapshot_id: Option<i64>,
    /// In hexadecimal digits; empty where the scan has no lanes.
    pub plan_digest: String,
    pub lane: Option<u32>,
}

#[derive(Debug)]
pub struct ScanRecord {
    telemetry: Telemetry,
    facts: ScanFacts,
    stats: Arc<StatsCollector>,
    began: Instant,
    rows: u64,
    bytes: u64,
    /// What the metrics know already.
    told: ScanStats,
    told_at: Instant,
    ended: Option<(&'static str, Option<String>)>,
}

impl ScanRecord {
    pub(super) fn open(telemetry: Telemetry, facts: ScanFacts, stats: Arc<StatsCollector>) -> ScanRecord {
        telemetry.metrics.stream_started();
        let now = Instant::now();
        ScanRecord { telemetry, facts, stats, began: now, rows: 0, bytes: 0, told: ScanStats::default(), told_at: now, ended: None }
    }

    /// Rows or bytes were handed to the connection.
    pub fn sent(&mut self, rows: u64, bytes: u64) {
        self.rows += rows;
        self.bytes += bytes;
        self.telemetry.metrics.sent(rows, bytes);
        if self.told_at.elapsed() >= EVERY {
            self.tell();
        }
    }

    /// The stream sent everything. The first end that is told counts.
    pub fn complete(&mut self) {
        self.ended.get_or_insert((OK, None));
    }

    /// The stream ended with this error.
    pub fn fail(&mut self, error: &Error) {
        self.ended.get_or_insert_with(|| (error.kind().name(), message_of(error).map(str::to_owned)));
    }

    fn tell(&mut self) -> ScanStats {
        let now = self.stats.snapshot();
        self.telemetry.metrics.progressed(&self.told, &now);
        self.told_at = Instant::now();
        self.told = now.clone();
        now
    }
}

impl Drop for ScanRecord {
    fn drop(&mut self) {
        let stats = self.tell();
        let unfinished = if std::thread::panicking() { ErrorKind::Internal } else { ErrorKind::Cancelled };
        let (outcome, message) = self.ended.take().unwrap_or((unfinished.name(), None));
        self.telemetry.metrics.stream_finished(outcome);
        self.telemetry.log.write(&Event::Scan(Scan {
            principal: &self.facts.principal,
            peer: self.facts.peer,
            table: &self.facts.table,
            snapshot_id: self.facts.snapshot_id,
            plan_digest: &self.facts.plan_digest,
            lane: self.facts.lane,
            outcome,
            message: message.as_deref(),
            rows: self.rows,
            bytes: self.bytes,
            duration: self.began.elapsed(),
            wire: Duration::from_micros(stats.wire_us),
            stats: &stats,
        }));
    }
}

#[cfg(test)]
mod tests;
