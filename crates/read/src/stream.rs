//! The consumer's end of a scan: events of the row groups, in the order asked for, as a stream of batches.
//!
//! Contract: the stream ends with success only when every row group that was started has said that it is done. It ends after the
//! first error. Dropping it stops every task and keeps queued decode jobs from running. A batch's memory stays reserved until the next one is
//! asked for.

use crate::row_group::{Event, Hold, Unit};
use crate::scan::Scan;
use crate::schedule::{Live, Schedule, Started};
use arrow::array::RecordBatch;
use fastdata_types::request::Order;
use fastdata_types::stats::StatsCollector;
use fastdata_types::store::StoreCounters;
use fastdata_types::{Error, Permit, Result, Stage};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub(crate) struct Consumer {
    scan: Arc<Scan>,
    schedule: JoinHandle<()>,
    started: mpsc::UnboundedReceiver<Started>,
    returning: mpsc::UnboundedSender<Arc<Unit>>,
    pausing: watch::Sender<bool>,
    shared: Option<mpsc::Receiver<Event>>,
    live: BTreeMap<u64, Live>,
    /// Row groups that were stopped and did not start again yet.
    stopped: BTreeSet<u64>,
    /// How many row groups there are, once that is known.
    all: Option<u64>,
    done: u64,
    rows_left: Option<u64>,
    held: Option<Hold>,
    handed_over: Option<Instant>,
    /// An error of the schedule, which comes after the rows of what was started before.
    failed: Option<Error>,
    /// The place in the plan of the block that the last batch is of; in stable order only.
    block: u32,
    counters: StoreCounters,
    finished: bool,
}

impl Consumer {
    /// Starts the scan; must be called within a tokio runtime.
    pub(crate) fn start(scan: Arc<Scan>) -> Consumer {
        let (started_sender, started) = mpsc::unbounded_channel();
        let (returning, returned) = mpsc::unbounded_channel();
        let (pausing, paused) = watch::channel(false);
        let (shared_sender, shared) = match scan.options.order {
            Order::Stable => (None, None),
            Order::Fast => {
                let (sender, receiver) = mpsc::channel(256);
                (Some(sender), Some(receiver))
            }
        };
        let schedule = Schedule { scan: Arc::clone(&scan), started: started_sender, returned, paused, shared: shared_sender };
        Consumer {
            counters: scan.plan.table.store.counters(),
            rows_left: scan.options.limit,
            schedule: tokio::spawn(schedule.run()),
            scan,
            started,
            returning,
            pausing,
            shared,
            live: BTreeMap::new(),
            stopped: BTreeSet::new(),
            all: None,
            done: 0,
            held: None,
            handed_over: None,
            failed: None,
            block: 0,
            finished: false,
        }
    }

    /// The place in the plan of the block that the last batch is of; in stable order only.
    pub(crate) fn block(&self) -> u32 {
        self.block
    }

    /// The next batch, cut where the limit is reached; `None` at the end and after an error.
    pub(crate) async fn next(&mut self) -> Option<Result<RecordBatch>> {
        self.held = None;
        if let Some(since) = self.handed_over.take() {
            StatsCollector::add(&self.scan.context.stats.consumer_us, since.elapsed().as_micros() as u64);
        }
        if self.finished || self.rows_left == Some(0) {
            self.finish();
            return None;
        }
        let next = match self.scan.options.order {
            Order::Fast => self.next_fast().await,
            Order::Stable => self.next_stable().await,
        };
        self.count_requests();
        match next {
            Ok(Some((batch, hold))) => {
                let batch = self.limited(batch);
                self.held = Some(hold);
                self.handed_over = Some(Instant::now());
                if self.rows_left == Some(0) {
                    self.finish();
                }
                Some(Ok(batch))
            }
            Ok(None) => {
                self.finish();
                None
            }
            Err(error) => {
                self.finish();
                Some(Err(error))
            }
        }
    }

    async fn next_fast(&mut self) -> Result<Option<(RecordBatch, Hold)>> {
        loop {
            if self.all == Some(self.done) {
                return Ok(None);
            }
            // Once every row group has dropped its end of the channel, only the schedule can say how the scan ended.
            let started = match &mut self.shared {
                None => self.started.recv().await.ok_or_else(lost)?,
                Some(shared) => tokio::select! {
                    event = shared.recv() => {
                        match event {
                            Some(Event::Batch(_, batch, hold)) => return Ok(Some((batch, hold))),
                            Some(Event::Done) => self.done += 1,
                            Some(Event::Failed(error)) => return Err(error),
                            Some(Event::Reserve(..)) => return Err(lost()),
                            None => self.shared = None,
                        }
                        continue;
                    }
                    Some(started) = self.started.recv() => started,
                },
            };
            match started {
                Started::One(_) => {}
                Started::All(all) => self.all = Some(all),
                Started::Failed(error) => return Err(error),
            }
        }
    }

    async fn next_stable(&mut self) -> Result<Option<(RecordBatch, Hold)>> {
        loop {
            if self.all == Some(self.done) {
                return Ok(None);
            }
            let head = self.live.get_mut(&self.done).and_then(|live| live.events.as_mut());
            let Some(events) = head else {
                if let Some(error) = self.failed.take() {
                    return Err(error);
                }
                let started = self.started.recv().await;
                self.note(started.ok_or_else(lost)?);
                continue;
            };
            match events.recv().await {
                Some(Event::Batch(block, batch, hold)) => {
                    self.block = block;
                    return Ok(Some((batch, hold)));
                }
                Some(Event::Reserve(bytes, reply)) => self.reserve(bytes, reply).await?,
                Some(Event::Done) => {
                    self.live.remove(&self.done);
                    self.done += 1;
                }
                Some(Event::Failed(error)) => return Err(error),
                None => return Err(lost()),
            }
        }
    }

    fn note(&mut self, started: Started) {
        match started {
            Started::One(live) => {
                self.stopped.remove(&live.unit.order);
                // One that overtook a stopped one would keep the memory that the stopped one waits for.
                match self.stopped.first().is_some_and(|stopped| *stopped < live.unit.order) {
                    true => self.give_back(live),
                    false => drop(self.live.insert(live.unit.order, live)),
                }
            }
            Started::All(all) => self.all = Some(all),
            Started::Failed(error) => self.failed = Some(error),
        }
    }

    /// Gives the first row group in order the memory it asks for, from those after it if need be: they are stopped and start again.
    async fn reserve(&mut self, bytes: u64, reply: oneshot::Sender<Result<Permit>>) -> Result<()> {
        let budget = Arc::clone(&self.scan.context.budget);
        let what = self.live.get(&self.done).map(|live| live.unit.what()).unwrap_or_default();
        let permit = match budget.try_acquire(bytes, &what)? {
            Some(permit) => permit,
            None => {
                self.pausing.send_replace(true);
                for (_, later) in self.live.split_off(&(self.done + 1)) {
                    self.give_back(later);
                }
                let waiting = budget.acquire(bytes, &what);
                tokio::pin!(waiting);
                let permit = loop {
                    tokio::select! {
                        biased;
                        started = self.started.recv() => match started.ok_or_else(lost)? {
                            Started::One(later) if later.unit.order > self.done => self.give_back(later),
                            other => self.note(other),
                        },
                        permit = &mut waiting => break permit?,
                    }
                };
                self.pausing.send_replace(false);
                permit
            }
        };
        // The row group that asked may have been dropped with the scan.
        let _ = reply.send(Ok(permit));
        Ok(())
    }

    fn give_back(&mut self, live: Live) {
        live.task.abort();
        self.stopped.insert(live.unit.order);
        // The schedule is gone only where the scan is.
        let _ = self.returning.send(Arc::clone(&live.unit));
    }

    fn limited(&mut self, batch: RecordBatch) -> RecordBatch {
        let Some(left) = &mut self.rows_left else { return batch };
        let rows = batch.num_rows().min(usize::try_from(*left).unwrap_or(usize::MAX));
        *left -= rows as u64;
        if rows < batch.num_rows() { batch.slice(0, rows) } else { batch }
    }

    /// Adds what the store did since the last call.
    fn count_requests(&mut self) {
        let now = self.scan.plan.table.store.counters();
        let before = std::mem::replace(&mut self.counters, now);
        self.scan.context.stats.add_store(&now.since(&before));
    }

    /// Stops everything that still runs.
    fn finish(&mut self) {
        self.finished = true;
        self.scan.cancel();
        self.schedule.abort();
        self.live.clear();
        self.shared = None;
        self.count_requests();
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Counts a batch as returned to the caller.
pub(crate) fn count_returned(stats: &StatsCollector, batch: &RecordBatch) {
    StatsCollector::add(&stats.rows, batch.num_rows() as u64);
    StatsCollector::add(&stats.batches, 1);
    StatsCollector::add(&stats.bytes_returned, fastdata_types::size::batch_bytes(batch));
}

fn lost() -> Error {
    Error::internal(Stage::Read, "a row group ended without saying so")
}
