//! A scan whose snapshot and schema are fixed, and its rows from either side.

use super::exact::exact;
use super::shares::{Share, Shares};
use super::within::{capped, within};
use crate::engine::{Engine, Lanes, Means};
use crate::facts::{self, Answer, Body, Shards, ShardsRequest, integer};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use fastdata_client::{Plan, PullOptions};
use fastdata_types::ahead::ahead;
use fastdata_types::lanes::{Cursor, LanePosition, PlanDigest, ShuffleKey};
use fastdata_types::request::Order;
use fastdata_types::size::batch_bytes;
use fastdata_types::stats::{ScanStats, StatsCollector};
use fastdata_types::store::StoreCounters;
use fastdata_types::{Error, ErrorKind, MemoryBudget, Result, ScanRequest, Stage};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use serde::Serialize;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// A planned scan. Cheap to clone.
#[derive(Clone)]
pub struct Planned(Arc<Inner>);

struct Inner {
    of: Of,
    schema: SchemaRef,
    shares: Arc<Shares>,
    timeout: Option<Duration>,
    counts: OnceCell<Vec<u64>>,
    /// What planning and counting rows asked for, as far as no stream has counted it yet. What planning a served scan took is in its plan.
    uncounted: StatsCollector,
}

#[expect(clippy::large_enum_variant, reason = "one for each plan, behind its Arc")]
enum Of {
    Embedded { engine: Engine, lanes: Lanes },
    Served(Plan),
}

/// What is known of a planned scan before it is read.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanFacts {
    /// As it was asked for, at the snapshot and in the schema of the plan: whoever sends it gets the same plan.
    pub request: ScanRequest,
    pub plan_digest: PlanDigest,
    /// `None` for a table without snapshots.
    #[serde(with = "integer::optional")]
    pub snapshot_id: Option<i64>,
    pub schema_id: Option<i32>,
    pub lanes: u32,
    /// Rows of each lane by the manifests, before filters and deletes; empty where they are not told.
    pub lane_rows: Vec<u64>,
    /// Before filters and deletes.
    pub rows_estimated: Option<u64>,
    /// What the person who asked should know.
    pub notes: Vec<String>,
    pub planning_us: u64,
}

/// Batches of a scan. Nothing is read before the first is polled for; ends behind the first error.
pub struct Rows {
    pub schema: SchemaRef,
    pub stats: Arc<StatsCollector>,
    batches: BoxStream<'static, Result<RecordBatch>>,
}

impl Stream for Rows {
    type Item = Result<RecordBatch>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_next_unpin(cx)
    }
}

/// What the lanes of one stream may use.
pub(super) struct LaneMeans {
    /// Bytes for decoding them, where that happens here.
    pub decode: u64,
    /// Bytes of batches that wait for the consumer.
    pub queue: u64,
    pub stats: Arc<StatsCollector>,
}

/// Rows of a lane, and the position behind them.
pub(super) struct LaneRows {
    pub lane: u32,
    pub batch: RecordBatch,
    pub position: LanePosition,
}

impl Planned {
    pub(super) fn embedded(engine: Engine, lanes: Lanes, shares: Arc<Shares>, timeout: Option<Duration>) -> Result<Planned> {
        let schema = lanes.schema()?;
        let uncounted = StatsCollector::default();
        uncounted.add_store(&lanes.plan.report.storage);
        Ok(Planned(Arc::new(Inner { of: Of::Embedded { engine, lanes }, schema, shares, timeout, counts: OnceCell::new(), uncounted })))
    }

    pub(super) fn served(plan: Plan, shares: Arc<Shares>, timeout: Option<Duration>) -> Planned {
        let schema = Arc::clone(&plan.schema);
        let (counts, uncounted) = (OnceCell::new(), StatsCollector::default());
        Planned(Arc::new(Inner { of: Of::Served(plan), schema, shares, timeout, counts, uncounted }))
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.0.schema
    }

    fn request(&self) -> &ScanRequest {
        match &self.0.of {
            Of::Embedded { lanes, .. } => &lanes.request,
            Of::Served(plan) => &plan.request,
        }
    }

    pub(super) fn digest(&self) -> PlanDigest {
        match &self.0.of {
            Of::Embedded { lanes, .. } => lanes.lanes.digest,
            Of::Served(plan) => plan.digest,
        }
    }

    pub(super) fn shuffle(&self) -> Option<ShuffleKey> {
        self.request().shuffle.map(|shuffle| ShuffleKey { seed: shuffle.seed, epoch: shuffle.epoch })
    }

    pub fn lanes(&self) -> u32 {
        match &self.0.of {
            Of::Embedded { lanes, .. } => lanes.lanes.lanes.len() as u32,
            Of::Served(plan) => plan.lanes(),
        }
    }

    pub fn facts(&self) -> PlanFacts {
        let (snapshot_id, schema_id, lane_rows, rows_estimated, notes, planning_us) = match &self.0.of {
            Of::Embedded { lanes, .. } => {
                let plan = &lanes.plan;
                let rows = lanes.lanes.lanes.iter().map(|lane| lane.rows()).collect();
                (plan.snapshot_id, Some(plan.schema.id), rows, Some(plan.report.rows_estimated), plan.notes(), plan.report.planning_us)
            }
            Of::Served(plan) => {
                let told = &plan.metadata;
                let rows = told.lane_rows.clone();
                (told.snapshot_id, told.schema_id, rows, plan.rows_estimated, told.notes.clone(), told.planning_us)
            }
        };
        let limit = self.request().limit.map(i64::unsigned_abs);
        PlanFacts {
            request: self.request().pinned(snapshot_id, schema_id),
            plan_digest: self.digest(),
            snapshot_id,
            schema_id,
            lanes: self.lanes(),
            lane_rows,
            rows_estimated: rows_estimated.map(|rows| limit.map_or(rows, |limit| rows.min(limit))),
            notes,
            planning_us,
        }
    }

    /// A cursor at the beginning of every lane.
    pub fn start(&self) -> Cursor {
        match &self.0.of {
            Of::Embedded { lanes, .. } => Cursor::start(&lanes.lanes),
            Of::Served(plan) => plan.start(),
        }
    }

    /// Refuses a cursor of another plan, snapshot, epoch or number of lanes.
    pub fn check(&self, cursor: &Cursor) -> Result<()> {
        match &self.0.of {
            Of::Embedded { lanes, .. } => cursor.check(&lanes.lanes),
            Of::Served(plan) => plan.check(cursor),
        }
    }

    pub(super) fn shares(&self) -> Arc<Shares> {
        Arc::clone(&self.0.shares)
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.0.timeout
    }

    pub(super) fn share(&self) -> Result<Share> {
        self.0.shares.take()
    }

    /// Statistics of one stream: they begin with the time that planning took, and the first ones with all that it asked for.
    pub(super) fn stats(&self) -> Arc<StatsCollector> {
        let stats = match &self.0.of {
            Of::Embedded { lanes, .. } => Engine::stats_of(&lanes.plan),
            Of::Served(plan) => {
                let stats = StatsCollector::default();
                stats.planning_us.store(plan.metadata.planning_us, Ordering::Relaxed);
                Arc::new(stats)
            }
        };
        stats.add_all(&self.0.uncounted.take());
        stats
    }

    /// The rows: of every lane, or of some of them one after the other. With `batch_rows` every batch has so many, the last excepted.
    pub fn rows(&self, lanes: Option<Vec<u32>>, batch_rows: Option<usize>) -> Result<Rows> {
        if batch_rows == Some(0) {
            return Err(Error::invalid(Stage::Request, "batches of 0 rows").advice("ask for batches of at least 1 row"));
        }
        let stats = self.stats();
        let (planned, counted) = (self.clone(), Arc::clone(&stats));
        let start = async move { planned.started(lanes, counted) };
        let batches = futures::stream::once(start).try_flatten().boxed();
        let batches = match batch_rows {
            Some(rows) => exact(batches, rows),
            None => batches,
        };
        Ok(Rows { schema: Arc::clone(self.schema()), stats, batches: capped(batches, self.0.timeout) })
    }

    fn started(&self, lanes: Option<Vec<u32>>, stats: Arc<StatsCollector>) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let share = self.share()?;
        let begun = Instant::now();
        let batches = match &self.0.of {
            Of::Embedded { engine, lanes: of } => {
                let means = Means { budget: MemoryBudget::new(share.bytes()), stats: Arc::clone(&stats) };
                match (lanes, of.request.lanes) {
                    (None, None) => engine.read_with(Arc::clone(&of.plan), &of.request, means)?.stream.boxed(),
                    (numbers, _) => {
                        let numbers = numbers.unwrap_or_else(|| (0..self.lanes()).collect());
                        let starts = numbers.into_iter().map(|lane| (lane, LanePosition::default())).collect();
                        engine.read_lanes(of, starts, means)?.map_ok(|next| next.batch).boxed()
                    }
                }
            }
            Of::Served(plan) => {
                let ordered = plan.request.lanes.is_some() || plan.request.order == Order::Stable;
                let options =
                    PullOptions { lanes, ordered, prefetch_bytes: share.bytes() / 2, stats: Arc::clone(&stats), ..Default::default() };
                plan.pull(options)?.batches().boxed()
            }
        };
        let held = (batches, share);
        let shares = Arc::clone(&self.0.shares);
        Ok(futures::stream::unfold(held, move |(mut batches, share)| {
            let (stats, shares) = (Arc::clone(&stats), Arc::clone(&shares));
            async move {
                let next = batches.next().await.map(|next| next.map_err(|error| shares.explained(error, share.bytes())));
                if let Some(Ok(batch)) = &next {
                    stats.came(batch.num_rows(), begun);
                }
                stats.total_us.store(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
                next.map(|next| (next, (batches, share)))
            }
        })
        .boxed())
    }

    /// Reads lanes one after the other, each from its position on, ahead of whoever consumes. Must be called within a tokio runtime.
    pub(super) fn read(&self, lanes: Vec<(u32, LanePosition)>, means: &LaneMeans) -> Result<BoxStream<'static, Result<LaneRows>>> {
        let stats = Arc::clone(&means.stats);
        let what = format!("reading lanes {:?}", lanes.iter().map(|(lane, _)| lane).collect::<Vec<_>>());
        let rows = match &self.0.of {
            Of::Embedded { engine, lanes: of } => {
                let stream = engine.read_lanes(of, lanes, Means { budget: MemoryBudget::new(means.decode), stats })?;
                stream.map_ok(|next| LaneRows { lane: next.lane, batch: next.batch, position: next.position }).boxed()
            }
            Of::Served(plan) => {
                let plan = plan.clone();
                let open = move |(lane, position)| {
                    let stream = plan.lane(lane, position, Arc::clone(&stats))?.into_stream();
                    Ok(stream.map_ok(move |next| LaneRows { lane, batch: next.batch, position: next.position }))
                };
                futures::stream::iter(lanes).map(open).try_flatten().boxed()
            }
        };
        Ok(ahead(rows, means.queue, |next: &LaneRows| batch_bytes(&next.batch), what))
    }

    /// Rows that each lane yields, exactly. Worked out once.
    pub async fn counts(&self) -> Result<&[u64]> {
        let count = async || match &self.0.of {
            Of::Embedded { engine, lanes } => {
                let share = self.share()?;
                let means = Means { budget: MemoryBudget::new(share.bytes()), stats: Arc::default() };
                let stats = Arc::clone(&means.stats);
                let counts = engine.count_lanes(lanes, means).await;
                // Rows that were counted are no rows of a stream.
                let ScanStats { requests, bytes_fetched, retries, hedges, .. } = stats.snapshot();
                self.0.uncounted.add_store(&StoreCounters { requests, bytes: bytes_fetched, retries, hedges });
                counts
            }
            Of::Served(plan) => {
                let asked = ShardsRequest { request: self.facts().request, shards: self.lanes(), exact: true };
                let (answer, retries) = plan.client().patient_action(Shards::ACTION, asked.to_bytes()?).await?;
                StatsCollector::add(&self.0.uncounted.retries, retries);
                let answer: Shards = facts::parsed(&answer, Shards::ACTION)?;
                if answer.plan_digest != plan.digest {
                    return Err(Error::new(ErrorKind::PlanMismatch, Stage::Client, "the server counts the lanes of another plan")
                        .advice("the table's schema, the server's version or the rights on it have changed: begin the scan again"));
                }
                let uncounted = || Error::corrupt(Stage::Client, "the server answered without counting the lanes");
                answer.shards.iter().map(|shard| shard.exact_rows.ok_or_else(uncounted)).collect()
            }
        };
        within(self.0.timeout, "counting rows", self.0.counts.get_or_try_init(count)).await.map(Vec::as_slice)
    }
}
