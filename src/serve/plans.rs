//! Plans that were made, kept for the streams that come: planning once serves all lanes of a scan.
//!
//! Contract: a plan is a pure function of its key (who, what request, which snapshot and schema, by which names), so keeping one changes nothing
//! but time. A table is loaded again for each plan, but within the configured staleness, and for the streams of a plan at most every
//! [`FRESH`], so that a table dropped or a snapshot expired since is noticed; a state in which a ticket's snapshot is not there is no answer before it was loaded anew.
//! Concurrent calls for one plan wait for one planning, and only [`AT_ONCE`] tables are loaded and planned at a time: that takes memory beside the
//! budget. Whoever waits for a turn holds nothing that another with a turn waits for. What kept plans take is bounded, and so is the metadata of their tables,
//! which plans of one state share.

use super::caller::Caller;
use super::states::{self, Held, States};
use super::weights;
use crate::engine::{Engine, Lanes, Loaded, Pin};
use crate::telemetry::Metrics;
use fastdata_types::metadata::TableMetadata;
use fastdata_types::store::StoreCounters;
use fastdata_types::{Error, Result, ScanRequest, Stage, TableState};
use moka::future::Cache;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

#[cfg(test)]
mod tests;

/// Bytes that kept plans may take, about, beside the metadata of their tables.
const MOST_BYTES: u64 = 128 << 20;
/// A plan that nobody asked for in this time is dropped.
const IDLE: Duration = Duration::from_secs(600);
/// Streams of one plan that begin within this time look at the table once.
const FRESH: Duration = Duration::from_secs(1);
/// Tables that are loaded, and plans that are made of them, at a time.
pub(super) const AT_ONCE: usize = 8;

pub struct Plans {
    plans: Cache<Key, Arc<Lanes>>,
    /// What they are plans of.
    states: States,
    /// Tables as calls saw them last.
    recent: Cache<TableKey, Loaded>,
    /// Tables as plans may see them: empty where commits show at once.
    stale: Option<Cache<TableKey, Loaded>>,
    planning: Semaphore,
    metrics: Metrics,
}

/// What one call for a plan holds and has asked for.
struct Call<'a> {
    engine: &'a Engine,
    request: &'a ScanRequest,
    table: TableKey,
    /// From before a table is loaded until its plan is there; `None` while all that is needed is kept.
    turn: Option<SemaphorePermit<'a>>,
    asked: StoreCounters,
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
            let bytes = key.bytes() + weights::of_plan(lanes);
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let plans = Cache::builder().max_capacity(MOST_BYTES).weigher(weigh).time_to_idle(IDLE);
        let tables = |time| Cache::builder().max_capacity(256).time_to_live(time).build();
        Plans {
            plans: plans.support_invalidation_closures().build(),
            states: States::new(states::MOST_BYTES),
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

    /// Plans a request at the table's state now, or as it was within the staleness. Also what this call asked of storage and catalog.
    pub async fn plan(&self, engine: &Engine, caller: &Caller, request: &ScanRequest) -> Result<(Pin, Arc<Lanes>, StoreCounters)> {
        request.validate()?;
        let mut call = Call::new(engine, caller, request);
        let table = match &self.stale {
            Some(tables) => self.kept_table(&mut call, tables).await?,
            None => self.loaded(&mut call).await?,
        };
        let pin = engine.pin(&table, request)?;
        let lanes = self.at(&mut call, &table, &pin).await?;
        Ok((pin, lanes, call.asked))
    }

    /// The plan of a ticket: as it was made, on the table as it is now. Also what this call asked of storage and catalog.
    pub async fn pinned(&self, engine: &Engine, caller: &Caller, request: &ScanRequest, pin: &Pin) -> Result<(Arc<Lanes>, StoreCounters)> {
        let mut call = Call::new(engine, caller, request);
        let mut table = self.kept_table(&mut call, &self.recent).await?;
        if engine.check_pin(&table, request, pin).is_err() {
            // It may be older than the ticket, which another server made.
            table = self.loaded(&mut call).await?;
            engine.check_pin(&table, request, pin)?;
        }
        let lanes = self.at(&mut call, &table, pin).await?;
        Ok((lanes, call.asked))
    }

    /// A table as it is now.
    async fn loaded<'a>(&'a self, call: &mut Call<'a>) -> Result<Loaded> {
        self.take_turn(call).await?;
        let table = call.engine.load(&call.request.table).await?;
        call.asked.add(&table.asked);
        self.recent.insert(call.table.clone(), table.clone()).await;
        Ok(table)
    }

    /// A table as one of the caches has it.
    async fn kept_table<'a>(&'a self, call: &mut Call<'a>, tables: &Cache<TableKey, Loaded>) -> Result<Loaded> {
        if let Some(table) = tables.get(&call.table).await {
            return Ok(table);
        }
        self.take_turn(call).await?;
        let mut loaded = false;
        let load = async {
            loaded = true;
            call.engine.load(&call.request.table).await
        };
        let table = tables.try_get_with(call.table.clone(), load).await.map_err(shared)?;
        if loaded {
            call.asked.add(&table.asked);
        }
        Ok(table)
    }

    async fn take_turn<'a>(&'a self, call: &mut Call<'a>) -> Result<()> {
        if call.turn.is_none() {
            call.turn = Some(self.planning().await?);
        }
        Ok(())
    }

    /// A turn to load a table and to plan, for as long as it is held.
    pub async fn planning(&self) -> Result<SemaphorePermit<'_>> {
        self.planning.acquire().await.map_err(|_| Error::internal(Stage::Serve, "no plans are made any more"))
    }

    async fn at<'a>(&'a self, call: &mut Call<'a>, table: &Loaded, pin: &Pin) -> Result<Arc<Lanes>> {
        let key = Key { table: call.table.clone(), request: call.request.to_json()?, pin: pin.clone(), names: table.names() };
        let mut planned = false;
        let lanes = match self.plans.get(&key).await {
            Some(lanes) => lanes,
            None => {
                self.take_turn(call).await?;
                let plan = async {
                    planned = true;
                    let mut plan = call.engine.plan_at(table, call.request, pin).await?;
                    let metadata = self.metadata_of(&plan.table);
                    Arc::make_mut(&mut plan.table).metadata = metadata;
                    Ok::<_, Error>(Arc::new(call.engine.lanes(Arc::new(plan), call.request)?))
                };
                self.plans.try_get_with_by_ref(&key, plan).await.map_err(shared)?
            }
        };
        if planned {
            call.asked.add(&lanes.plan.report.storage);
            self.metrics.plan_cache_miss();
        } else {
            self.metrics.plan_cache_hit();
        }
        // Its state is in use, or was given up just now and is loaded again by another plan: then it is not kept beside that.
        if !Arc::ptr_eq(&self.metadata_of(&lanes.plan.table), &lanes.plan.table.metadata) {
            self.plans.invalidate(&key).await;
        }
        Ok(lanes)
    }

    /// The copy of a table's metadata that plans of this state share. Plans of states that are too many now are forgotten.
    fn metadata_of(&self, table: &TableState) -> Arc<TableMetadata> {
        let Held { metadata, given_up } = self.states.hold(table);
        if !given_up.is_empty() {
            let of_these = move |_: &Key, lanes: &Arc<Lanes>| given_up.contains_key(&(Arc::as_ptr(&lanes.plan.table.metadata) as usize));
            // It fails only where a cache does not support it.
            let _ = self.plans.invalidate_entries_if(of_these);
        }
        metadata
    }
}

impl Key {
    /// What its texts take.
    fn bytes(&self) -> usize {
        let TableKey { principal, groups, table } = &self.table;
        let groups: usize = groups.iter().map(|group| size_of::<String>() + group.len()).sum();
        let mapping = self.names.1.as_ref().map_or(0, String::len);
        size_of::<Key>() + principal.len() + groups + table.len() + self.request.len() + mapping
    }
}

impl<'a> Call<'a> {
    fn new(engine: &'a Engine, caller: &Caller, request: &'a ScanRequest) -> Call<'a> {
        Call { engine, request, table: TableKey::of(caller, request), turn: None, asked: StoreCounters::default() }
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
