//! Plans that were made, kept for the streams that come: planning once serves all lanes of a scan.
//!
//! Contract: a plan is a pure function of its key (who, what request, which snapshot and schema, by which names), so keeping one changes nothing
//! but time. A table is loaded again for each plan, but within the configured staleness, and for the streams of a plan at most every
//! [`FRESH`], so that a table dropped or a snapshot expired since is noticed; a state in which a ticket's snapshot is not there is no answer before it was loaded anew.
//! Concurrent calls for one plan wait for one planning, and only [`AT_ONCE`] plans are made at a time: planning takes memory beside the budget.

use super::caller::Caller;
use crate::engine::{Engine, Lanes, Loaded, Pin};
use crate::telemetry::Metrics;
use fastdata_types::{Error, Result, ScanRequest, Stage};
use moka::future::Cache;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes that kept plans may take, about.
const MOST_BYTES: u64 = 128 << 20;
/// A plan that nobody asked for in this time is dropped.
const IDLE: Duration = Duration::from_secs(600);
/// Streams of one plan that begin within this time look at the table once.
const FRESH: Duration = Duration::from_secs(1);
/// Plans that are made at a time.
const AT_ONCE: usize = 8;
const FILE_BYTES: usize = 600;
const BLOCK_BYTES: usize = 48;

pub struct Plans {
    plans: Cache<Key, Arc<Lanes>>,
    /// Tables as calls saw them last.
    recent: Cache<TableKey, Loaded>,
    /// Tables as plans may see them: empty where commits show at once.
    stale: Option<Cache<TableKey, Loaded>>,
    planning: Semaphore,
    metrics: Metrics,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    table: TableKey,
    request: String,
    pin: Pin,
    names: (i32, Option<String>),
}

/// Policies may show one table to two callers differently.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TableKey {
    principal: String,
    groups: Vec<String>,
    table: String,
}

impl Plans {
    pub fn new(staleness: Duration, metrics: Metrics) -> Plans {
        let weigh = |key: &Key, lanes: &Arc<Lanes>| {
            let blocks: usize = lanes.lanes.lanes.iter().flat_map(|lane| &lane.parts).map(|part| part.blocks.len()).sum();
            let bytes = key.request.len() + lanes.plan.files.len() * FILE_BYTES + (blocks + lanes.plan.blocks.len()) * BLOCK_BYTES;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let tables = |time| Cache::builder().max_capacity(256).time_to_live(time).build();
        Plans {
            plans: Cache::builder().max_capacity(MOST_BYTES).weigher(weigh).time_to_idle(IDLE).build(),
            recent: tables(FRESH),
            stale: (!staleness.is_zero()).then(|| tables(staleness)),
            planning: Semaphore::new(AT_ONCE),
            metrics,
        }
    }

    /// How many plans are kept.
    pub fn kept(&self) -> u64 {
        self.plans.entry_count()
    }

    /// Plans a request at the table's state now, or as it was within the staleness.
    pub async fn plan(&self, engine: &Engine, caller: &Caller, request: &ScanRequest) -> Result<(Pin, Arc<Lanes>)> {
        request.validate()?;
        let key = TableKey::of(caller, request);
        let table = match &self.stale {
            Some(tables) => tables.try_get_with(key.clone(), engine.load(&request.table)).await.map_err(shared)?,
            None => engine.load(&request.table).await?,
        };
        if self.stale.is_none() {
            self.recent.insert(key.clone(), table.clone()).await;
        }
        let pin = engine.pin(&table, request)?;
        let lanes = self.at(engine, key, &table, request, &pin).await?;
        Ok((pin, lanes))
    }

    /// The plan of a ticket: as it was made, on the table as it is now.
    pub async fn pinned(&self, engine: &Engine, caller: &Caller, request: &ScanRequest, pin: &Pin) -> Result<Arc<Lanes>> {
        let key = TableKey::of(caller, request);
        let mut table = self.recent.try_get_with(key.clone(), engine.load(&request.table)).await.map_err(shared)?;
        if engine.check_pin(&table, request, pin).is_err() {
            // It may be older than the ticket, which another server made.
            table = engine.load(&request.table).await?;
            engine.check_pin(&table, request, pin)?;
            self.recent.insert(key.clone(), table.clone()).await;
        }
        self.at(engine, key, &table, request, pin).await
    }

    /// A turn to plan, for as long as it is held.
    pub async fn planning(&self) -> Result<SemaphorePermit<'_>> {
        self.planning.acquire().await.map_err(|_| Error::internal(Stage::Serve, "no plans are made any more"))
    }

    async fn at(&self, engine: &Engine, key: TableKey, table: &Loaded, request: &ScanRequest, pin: &Pin) -> Result<Arc<Lanes>> {
        let key = Key { table: key, request: request.to_json()?, pin: pin.clone(), names: table.names() };
        let mut planned = false;
        let lanes = self
            .plans
            .try_get_with(key, async {
                planned = true;
                let _turn = self.planning().await?;
                let plan = Arc::new(engine.plan_at(table, request, pin).await?);
                self.metrics.planning_read(&plan.report.storage);
                Ok::<_, Error>(Arc::new(engine.lanes(plan, request)?))
            })
            .await
            .map_err(shared)?;
        match planned {
            true => self.metrics.plan_cache_miss(),
            false => self.metrics.plan_cache_hit(),
        }
        Ok(lanes)
    }
}

impl TableKey {
    fn of(caller: &Caller, request: &ScanRequest) -> TableKey {
        TableKey { principal: caller.identity.principal.clone(), groups: caller.identity.groups.clone(), table: request.table.clone() }
    }
}

/// An error that several waited for.
fn shared(error: Arc<Error>) -> Error {
    error.copy()
}
