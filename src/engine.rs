//! The flow of a scan: name -> table -> snapshot -> plan -> batches.
//!
//! Contract: every surface (command line, Flight server, later Python and SQL) asks here and nowhere else, so that embedded and served
//! scans agree to the row. Nothing here does I/O of its own: the stages do. An engine answers for one caller ([`Engine::seen_by`]): what its access does
//! not grant does not exist, in whatever is asked, so that no surface can pass around it.

use crate::seen::{self, SeenCatalog};
use arrow::datatypes::SchemaRef;
use fastdata_plan as plan;
use fastdata_read::{LaneStart, LaneStream, ReadContext, ReadOptions};
use fastdata_types::access::by_current_names;
use fastdata_types::arrow_type::arrow_schema;
use fastdata_types::error::{edit_distance, nearest};
use fastdata_types::lanes::{LanePlan, LanePosition};
use fastdata_types::stats::StatsCollector;
use fastdata_types::store::StoreCounters;
use fastdata_types::{
    Access, BatchStream, Catalog, Error, ErrorKind, Expr, Field, Grant, MemoryBudget, PrimitiveType, Result, ScanPlan, ScanRequest, Schema,
    Stage, TableName, TableState, Value,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Resolves a reference that is a path (metadata file or table directory) instead of a name.
#[async_trait::async_trait]
pub trait PathTables: Send + Sync {
    /// The table, and what every store that was opened for it was asked.
    async fn load(&self, location: &str) -> Result<(TableState, StoreCounters)>;
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) catalogs: Arc<BTreeMap<String, Arc<dyn Catalog>>>,
    /// Where a name goes whose first part is no configured catalog.
    pub(crate) default_catalog: Option<String>,
    /// `None` where paths are refused: a server must not open what a caller names.
    pub(crate) paths: Option<Arc<dyn PathTables>>,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) pool: Arc<rayon::ThreadPool>,
    pub(crate) access: Arc<dyn Access>,
}

/// A planned scan and its rows.
pub struct Scan {
    pub plan: Arc<ScanPlan>,
    pub stream: BatchStream,
}

/// A plan cut into lanes.
#[derive(Debug, Clone)]
pub struct Lanes {
    pub plan: Arc<ScanPlan>,
    pub lanes: Arc<LanePlan>,
    pub request: ScanRequest,
}

/// What one stream of a lane may use, and where it reports.
#[derive(Debug, Clone)]
pub struct Means {
    pub budget: Arc<MemoryBudget>,
    pub stats: Arc<StatsCollector>,
}

/// The snapshot and schema that an earlier plan chose, so that commits made since do not show.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pin {
    pub table_uuid: Option<String>,
    pub snapshot_id: Option<i64>,
    pub schema_id: i32,
}

/// A table as it was loaded for the caller. What of it they may be told goes through the plans made of it.
#[derive(Debug, Clone)]
pub struct Loaded {
    state: Arc<TableState>,
    grant: Grant,
    /// What loading it asked of its store, and what was repeated after a fault of store or catalog.
    pub asked: StoreCounters,
}

impl Loaded {
    fn new(state: TableState, grant: Grant, mut asked: StoreCounters) -> Loaded {
        asked.retries += state.catalog_retries;
        Loaded { state: Arc::new(state), grant, asked }
    }

    /// What a plan at a pin depends on beside the pin: the names that grants are bound by, and the mapping of files without field ids.
    pub fn names(&self) -> (i32, Option<String>) {
        let metadata = &self.state.metadata;
        (metadata.current_schema_id, metadata.properties.get(plan::NAME_MAPPING).cloned())
    }
}

impl Lanes {
    /// The schema of every lane's batches.
    pub fn schema(&self) -> Result<SchemaRef> {
        Ok(Arc::new(arrow_schema(&self.plan.projection, self.request.strings)?))
    }

    /// With some parts of a lane only.
    pub fn part_of(&self, lane: u32, parts: (u32, u32)) -> Result<Lanes> {
        Ok(Lanes { lanes: Arc::new(self.lanes.part_of(lane, parts)?), ..self.clone() })
    }
}

/// One row of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedTable {
    pub catalog: String,
    pub name: TableName,
    /// The name that opens it here: with the catalog in front where there are several, or where its own first part would be taken for one.
    pub reference: TableName,
}

impl Engine {
    /// The engine as the caller with this access sees it. To be asked of the engine that sees everything.
    pub fn seen_by(&self, access: Arc<dyn Access>) -> Engine {
        if access.is_everything() {
            return self.clone();
        }
        let visible = self.catalogs.iter().filter(|(name, _)| access.sees_catalog(name));
        let seen = |(name, catalog): (&String, &Arc<dyn Catalog>)| {
            let seen: Arc<dyn Catalog> = Arc::new(SeenCatalog::new(name.clone(), Arc::clone(catalog), Arc::clone(&access)));
            (name.clone(), seen)
        };
        let catalogs: BTreeMap<_, _> = visible.map(seen).collect();
        let visible_default = self.default_catalog.clone().filter(|name| catalogs.contains_key(name));
        let only = || catalogs.keys().next().filter(|_| catalogs.len() == 1).cloned();
        Engine { default_catalog: visible_default.or_else(only), catalogs: Arc::new(catalogs), paths: None, access, ..self.clone() }
    }

    /// The engine with a memory budget of its own.
    pub fn within(&self, bytes: u64) -> Engine {
        Engine { budget: MemoryBudget::new(bytes), ..self.clone() }
    }

    pub fn budget(&self) -> &Arc<MemoryBudget> {
        &self.budget
    }

    pub fn catalogs(&self) -> &BTreeMap<String, Arc<dyn Catalog>> {
        &self.catalogs
    }

    /// Every table of every catalog, or of one namespace (`ns` or `catalog.ns`), which must be there.
    pub async fn tables(&self, namespace: Option<&str>) -> Result<Vec<ListedTable>> {
        let parts = namespace.map(TableName::parse_parts).transpose()?.unwrap_or_default();
        let (only, namespace) = match parts.split_first() {
            Some((first, rest)) if self.catalogs.contains_key(first) => (Some(first.clone()), rest.to_vec()),
            Some(_) => (self.default_catalog.clone(), parts),
            None => (None, vec![]),
        };
        let mut listed = Vec::new();
        let (mut exists, mut others) = (namespace.is_empty(), Vec::new());
        for (name, catalog) in self.catalogs.iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only == *name)) {
            let tables = catalog.list((!namespace.is_empty()).then_some(&namespace[..])).await;
            let nothing = match &tables {
                Ok(tables) => tables.is_empty(),
                Err(e) => e.kind() == ErrorKind::NotFound,
            };
            if nothing && !namespace.is_empty() {
                let known = catalog.namespaces().await.map_err(|e| of_catalog(name, e))?;
                if !known.iter().any(|known| known.starts_with(&namespace)) {
                    others.extend(known.iter().map(|known| known.join(".")));
                    continue;
                }
            }
            exists = true;
            listed.extend(tables.map_err(|e| of_catalog(name, e))?.into_iter().map(|table| ListedTable {
                catalog: name.clone(),
                reference: self.reference(name, &table),
                name: table,
            }));
        }
        if exists { Ok(listed) } else { Err(unknown_namespace(&namespace.join("."), &others)) }
    }

    fn reference(&self, catalog: &str, table: &TableName) -> TableName {
        let reads_as_catalog = table.namespace.first().is_some_and(|first| self.catalogs.contains_key(first));
        let in_front = (self.catalogs.len() > 1 || reads_as_catalog).then(|| catalog.to_owned());
        TableName { namespace: in_front.into_iter().chain(table.namespace.iter().cloned()).collect(), name: table.name.clone() }
    }

    /// The current state of the table that a reference names, as far as the caller may be told it.
    pub async fn table(&self, reference: &str) -> Result<TableState> {
        let Loaded { state, grant, .. } = self.load(reference).await?;
        seen::told(Arc::unwrap_or_clone(state), &grant)
    }

    /// Loads a table once for several questions: its whole state, and what the caller may see of it.
    pub async fn load(&self, reference: &str) -> Result<Loaded> {
        if is_path(reference) {
            return match &self.paths {
                Some(paths) => paths.load(reference).await.map(|(state, asked)| Loaded::new(state, Grant::default(), asked)),
                None => Err(Error::invalid(Stage::Request, "a server reads tables by name, not by path")
                    .advice("name the table as namespace.table")),
            };
        }
        let parts = TableName::parse_parts(reference)?;
        let ((catalog_name, catalog), mut parts) = self.catalog_of(reference, parts)?;
        let Some(name) = parts.pop().filter(|_| !parts.is_empty()) else {
            return Err(Error::invalid(Stage::Request, format!("table name '{reference}' has no namespace"))
                .advice("write namespace.table, or ./path for a table directory; `fastdata tables` lists what there is"));
        };
        let name = TableName { namespace: parts, name };
        let state = catalog.load(&name).await.map_err(|e| self.perhaps_of_another(&name, e))?;
        // What is not granted was not loaded.
        let grant = self.access.grant(catalog_name, &name);
        let grant = grant.ok_or_else(|| Error::internal(Stage::Request, format!("table '{reference}' was loaded without a grant")))?;
        let asked = state.store.counters();
        Ok(Loaded::new(state, grant, asked))
    }

    /// A table that is not there, where its first namespace is nearly the name of a catalog.
    fn perhaps_of_another(&self, name: &TableName, error: Error) -> Error {
        let first = name.namespace.first().map_or("", String::as_str);
        let meant = self.catalogs.keys().find(|known| *known != first && edit_distance(first, known) <= 2);
        match meant.filter(|_| error.kind() == ErrorKind::NotFound) {
            Some(meant) => {
                let advice = format!("'{first}' is no configured catalog: did you mean '{meant}'?");
                let others = error.advice_text().map(|advice| format!("; {advice}")).unwrap_or_default();
                error.advice(advice + &others)
            }
            None => error,
        }
    }

    /// The first part is a catalog only if one of that name is configured.
    fn catalog_of(&self, reference: &str, mut parts: Vec<String>) -> Result<(NamedCatalog<'_>, Vec<String>)> {
        if parts.len() > 1
            && let Some(catalog) = self.catalogs.get_key_value(&parts[0])
        {
            parts.remove(0);
            return Ok((catalog, parts));
        }
        if let Some(catalog) = self.default_catalog.as_ref().and_then(|name| self.catalogs.get_key_value(name)) {
            return Ok((catalog, parts));
        }
        if self.catalogs.is_empty() && !self.access.is_everything() {
            return Err(Error::not_found(Stage::Catalog, format!("there is no table '{reference}'"))
                .advice("no table is visible with these credentials: ask the operator of the server for a grant"));
        }
        if self.catalogs.is_empty() {
            return Err(Error::new(ErrorKind::Config, Stage::Config, format!("no catalog to look up '{reference}' in"))
                .advice("give --warehouse DIR, or name catalogs in fastdata.toml, or give a table directory such as ./table"));
        }
        let known: Vec<&str> = self.catalogs.keys().map(String::as_str).collect();
        let near = nearest(&parts[0], known.iter().copied());
        let meant = if near.is_empty() { String::new() } else { format!("did you mean {}? ", near.join(" or ")) };
        Err(Error::not_found(Stage::Request, format!("'{}' is no configured catalog and there is no default one", parts[0]))
            .advice(format!("{meant}start the name with one of: {}; or set default-catalog", known.join(", "))))
    }

    /// The snapshot and schema that a request chooses now.
    pub fn pin(&self, table: &Loaded, request: &ScanRequest) -> Result<Pin> {
        let selection = plan::select(&table.state.metadata, request)?;
        let uuid = table.state.metadata.uuid.clone();
        Ok(Pin { table_uuid: uuid, snapshot_id: selection.snapshot_id(), schema_id: selection.schema().id })
    }

    /// Decides what a scan would read, without reading it.
    pub async fn plan(&self, request: &ScanRequest) -> Result<ScanPlan> {
        request.validate()?;
        let table = self.load(&request.table).await?;
        let selection = plan::select(&table.state.metadata, request)?;
        let mut plan = self.plan_selected(&table, request, selection).await?;
        // The table was loaded for this plan alone.
        plan.report.storage.add(&table.asked);
        Ok(plan)
    }

    /// Plans a request at the snapshot and schema that were chosen for it before. The plan's report is without what loading the table took.
    pub async fn plan_at(&self, table: &Loaded, request: &ScanRequest, pin: &Pin) -> Result<ScanPlan> {
        self.plan_selected(table, request, self.selection_at(table, request, pin)?).await
    }

    /// Whether what was chosen for a request is still there.
    pub fn check_pin(&self, table: &Loaded, request: &ScanRequest, pin: &Pin) -> Result<()> {
        self.selection_at(table, request, pin).map(drop)
    }

    fn selection_at(&self, table: &Loaded, request: &ScanRequest, pin: &Pin) -> Result<plan::Selection> {
        let metadata = &table.state.metadata;
        if metadata.uuid != pin.table_uuid {
            return Err(Error::not_found(
                Stage::Request,
                format!("table '{}' was dropped and made again since it was planned", request.table),
            )
            .advice("plan the scan again"));
        }
        plan::select_pinned(metadata, request, pin.snapshot_id, pin.schema_id)
    }

    /// What of a grant does not fit the current state of a table: columns that are not there, a filter that does not bind.
    pub async fn misfits(&self, catalog: &str, name: &TableName, grant: &Grant) -> Result<Vec<Error>> {
        let catalog = self.catalogs.get(catalog).ok_or_else(|| Error::not_found(Stage::Catalog, format!("no catalog '{catalog}'")))?;
        let state = catalog.load(name).await?;
        let selection = plan::select(&state.metadata, &ScanRequest::table(&state.display_name))?;
        let schema = selection.bindable_schema(&state.metadata)?;
        let columns = grant.columns.iter().flatten().filter_map(|column| schema.resolve(column).err());
        let filter = grant.filter.iter().filter_map(|text| fastdata_filter::bind(text, &schema).err());
        Ok(columns.chain(filter).collect())
    }

    /// The schema of a scan's batches, from the table's metadata alone.
    pub async fn schema(&self, request: &ScanRequest) -> Result<SchemaRef> {
        request.validate()?;
        let table = self.load(&request.table).await?;
        let selection = plan::select(&table.state.metadata, request)?;
        let visible = Visible::of(&table.state, &table.grant, &selection)?;
        visible.filter(request)?;
        Ok(Arc::new(arrow_schema(&visible.project(request)?, request.strings)?))
    }

    async fn plan_selected(&self, table: &Loaded, request: &ScanRequest, selection: plan::Selection) -> Result<ScanPlan> {
        let started = Instant::now();
        let Loaded { state, grant, .. } = table.clone();
        // A table that is kept is planned for several callers at once.
        let state = state.counted().map_or(state, Arc::new);
        let before = state.store.counters();
        let visible = Visible::of(&state, &grant, &selection)?;
        let projection = visible.project(request)?;
        let filter = visible.filter(request)?.map(Arc::new);
        let mut plan = plan::plan(state, request, selection, projection, filter, &self.pool).await?;
        plan.grant = grant;
        plan.report.planning_us = started.elapsed().as_micros() as u64;
        plan.report.storage = plan.table.store.counters().since(&before);
        Ok(plan)
    }

    pub async fn scan(&self, request: &ScanRequest) -> Result<Scan> {
        let plan = self.plan(request).await?;
        self.read(Arc::new(plan), request)
    }

    /// Reads what was planned. Call it inside a tokio runtime.
    pub fn read(&self, plan: Arc<ScanPlan>, request: &ScanRequest) -> Result<Scan> {
        let means = self.means(&plan);
        self.read_with(plan, request, means)
    }

    /// The same, within a budget that is this stream's alone.
    pub fn read_with(&self, plan: Arc<ScanPlan>, request: &ScanRequest, means: Means) -> Result<Scan> {
        let stream = fastdata_read::read(Arc::clone(&plan), options_of(request), self.context(means))?;
        Ok(Scan { plan, stream })
    }

    /// Cuts a plan into the lanes that its request asks for; one, where it asks for none.
    pub fn lanes(&self, plan: Arc<ScanPlan>, request: &ScanRequest) -> Result<Lanes> {
        // A grant's filter decides the rows as the caller's does.
        let filters: Vec<&str> = [request.filter.as_str()].into_iter().chain(plan.grant.filter.as_deref()).collect();
        let lanes = Arc::new(plan::lanes(&plan, request, &filters)?);
        Ok(Lanes { plan, lanes, request: request.clone() })
    }

    /// Reads lanes one after the other, each from its position on, within a budget that is this stream's alone. A row group that several have rows of
    /// is read once. Call it inside a tokio runtime.
    pub fn read_lanes(&self, of: &Lanes, lanes: Vec<(u32, LanePosition)>, means: Means) -> Result<LaneStream> {
        let start = LaneStart { plan: Arc::clone(&of.lanes), lanes };
        fastdata_read::read_lanes(Arc::clone(&of.plan), start, options_of(&of.request), self.context(means))
    }

    /// Counts the rows that each lane yields, for runs that need equal steps.
    pub async fn count_lanes(&self, of: &Lanes, means: Means) -> Result<Vec<u64>> {
        fastdata_read::count_lanes(&of.plan, &of.lanes, self.context(means)).await
    }

    /// The engine's own budget, and statistics that begin with the plan.
    pub fn means(&self, plan: &ScanPlan) -> Means {
        let stats = Engine::stats_of(plan);
        stats.add_store(&plan.report.storage);
        Means { budget: Arc::clone(&self.budget), stats }
    }

    fn context(&self, means: Means) -> ReadContext {
        ReadContext { budget: means.budget, pool: Arc::clone(&self.pool), stats: means.stats }
    }

    /// Statistics of one of several streams of a plan: they begin with the time that planning took, and without its requests, which one of them
    /// is to count.
    pub fn stats_of(plan: &ScanPlan) -> Arc<StatsCollector> {
        let stats = StatsCollector::default();
        stats.planning_us.store(plan.report.planning_us, Ordering::Relaxed);
        Arc::new(stats)
    }
}

type NamedCatalog<'a> = (&'a String, &'a Arc<dyn Catalog>);

/// What may be named in a scan of one selection.
struct Visible {
    /// The table's columns at this snapshot, and the metadata columns.
    bindable: Schema,
    table_schema: Schema,
    /// The grant's filter, bound to all columns.
    guard: Option<Expr>,
    is_part: bool,
}

impl Visible {
    fn of(table: &TableState, grant: &Grant, selection: &plan::Selection) -> Result<Visible> {
        let whole = selection.bindable_schema(&table.metadata)?;
        let (current, schema) = (table.metadata.current_schema(), selection.schema());
        let offered: Vec<Field> = whole.fields.iter().filter(|field| schema.fields.iter().all(|own| own.id != field.id)).cloned().collect();
        let guard = match &grant.filter {
            None => None,
            Some(text) => {
                let mut fields = by_current_names(&current.fields, &schema.fields);
                fields.extend(offered.iter().cloned());
                let bound = Schema::new(schema.id, fields).and_then(|schema| fastdata_filter::bind(text, &schema));
                Some(bound.map_err(|cause| unbindable(table, cause))?)
            }
        };
        let (fields, more) = (grant.table_fields(current, schema), grant.metadata_fields(&offered)?);
        if fields.is_empty() && more.is_empty() && grant.hides_columns() {
            let message = format!("no column of table '{}' is granted at this snapshot", table.display_name);
            return Err(Error::new(ErrorKind::PermissionDenied, Stage::Request, message)
                .advice("read the current snapshot, or ask the operator of the server for a grant"));
        }
        let table_schema = Schema::new(schema.id, fields.clone())?;
        let bindable = Schema::new(schema.id, fields.into_iter().chain(more).collect())?;
        Ok(Visible { bindable, table_schema, guard, is_part: grant.hides_columns() })
    }

    fn project(&self, request: &ScanRequest) -> Result<Schema> {
        if self.is_part {
            // A hidden metadata column is as unknown as any other; the planner would say why it is not offered.
            request.columns.iter().try_for_each(|column| self.bindable.resolve(column).map(drop))?;
        }
        plan::project(&self.bindable, &request.columns, &self.table_schema)
    }

    fn filter(&self, request: &ScanRequest) -> Result<Option<Expr>> {
        let asked = match request.filter.trim() {
            "" => None,
            text => Some(fastdata_filter::bind(text, &self.bindable)?),
        };
        let Some(guard) = &self.guard else { return Ok(asked) };
        let all = || Expr::Literal(Some(Value::Boolean(true)), PrimitiveType::Boolean);
        Ok(Some(Expr::Guarded { guard: Box::new(guard.clone()), then: Box::new(asked.unwrap_or_else(all)) }))
    }
}

/// The filter is the operator's: neither its text nor its columns are told.
fn unbindable(table: &TableState, cause: Error) -> Error {
    tracing::warn!(table = table.display_name, error = %cause, "the policy's row filter does not bind: the scan is refused");
    let message = format!("the policy's row filter does not fit table '{}' at this snapshot, so no row can be shown", table.display_name);
    Error::new(ErrorKind::PermissionDenied, Stage::Plan, message)
        .advice("read the current snapshot, or ask the operator of the server to mend the policy")
}

/// Whether a text is a filter, whatever the table.
pub fn check_filter(text: &str) -> Result<()> {
    fastdata_filter::check_syntax(text)
}

fn options_of(request: &ScanRequest) -> ReadOptions {
    ReadOptions {
        batch_rows: request.batch_rows(),
        batch_bytes: request.batch_bytes(),
        order: request.order,
        strings: request.strings,
        limit: request.limit.map(|limit| limit as u64),
    }
}

/// Whether a table reference is a path rather than a name: a URL, something with a slash, or a metadata file.
pub fn is_path(reference: &str) -> bool {
    reference.contains("://")
        || reference.starts_with("file:")
        || reference.starts_with('/')
        || reference == "."
        || reference == ".."
        || (reference.contains('/') && !reference.contains('"'))
        || reference.ends_with(".metadata.json")
        || reference.ends_with(".metadata.json.gz")
}

/// An error of one catalog among several, which it names.
fn of_catalog(name: &str, error: Error) -> Error {
    if error.message().contains(&format!("catalog '{name}'")) { error } else { error.context(format!("catalog '{name}'")) }
}

fn unknown_namespace(wanted: &str, known: &[String]) -> Error {
    let error = Error::not_found(Stage::Catalog, format!("no namespace '{wanted}'"));
    let near = nearest(wanted, known.iter().map(String::as_str));
    if !near.is_empty() {
        return error.advice(format!("did you mean: {}", near.join(", ")));
    }
    if known.is_empty() {
        return error.advice("there are no namespaces");
    }
    let some = known.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
    error.advice(format!("the namespaces are: {some}{}", if known.len() > 10 { ", ..." } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastdata_types::store::{StoreFactory, StoreScope};

    /// A catalog that asked three times for what it gives.
    #[derive(Debug)]
    struct Shaky(TableState);

    #[async_trait::async_trait]
    impl Catalog for Shaky {
        async fn list(&self, _: Option<&[String]>) -> Result<Vec<TableName>> {
            Ok(vec![])
        }
        async fn namespaces(&self) -> Result<Vec<Vec<String>>> {
            Ok(vec![])
        }
        async fn some_tables(&self) -> Vec<TableName> {
            vec![]
        }
        async fn load(&self, _: &TableName) -> Result<TableState> {
            Ok(self.0.clone())
        }
        async fn check(&self) -> Result<String> {
            Ok(String::new())
        }
    }

    #[tokio::test]
    async fn retries_of_the_catalog_are_those_of_the_scan() {
        let metadata = r#"{"format-version": 2, "table-uuid": "u", "location": "/t", "last-sequence-number": 0, "last-updated-ms": 0,
            "last-column-id": 1, "current-schema-id": 0, "last-partition-id": 999, "default-spec-id": 0, "default-sort-order-id": 0,
            "schemas": [{"type": "struct", "schema-id": 0, "fields": [{"id": 1, "name": "a", "required": false, "type": "long"}]}],
            "partition-specs": [{"spec-id": 0, "fields": []}], "sort-orders": [{"order-id": 0, "fields": []}]}"#;
        let state = TableState {
            display_name: "ns.t".to_owned(),
            metadata_location: "/t/metadata/v1.metadata.json".to_owned(),
            metadata: Arc::new(fastdata_catalog::parse_metadata(metadata.as_bytes()).unwrap()),
            store: fastdata_store::Stores::with_environment(Default::default())
                .open(StoreScope { allowed: vec!["/t".to_owned()], ..StoreScope::default() })
                .unwrap(),
            notes: vec![],
            catalog_retries: 3,
        };
        let engine = Engine {
            catalogs: Arc::new([("shaky".to_owned(), Arc::new(Shaky(state)) as Arc<dyn Catalog>)].into()),
            default_catalog: Some("shaky".to_owned()),
            paths: None,
            budget: MemoryBudget::new(16 << 20),
            pool: Arc::new(rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap()),
            access: Arc::new(fastdata_types::Everything),
        };
        let scan = engine.scan(&ScanRequest::table("ns.t")).await.unwrap();
        assert_eq!(scan.stream.stats.snapshot().retries, 3);
    }

    #[test]
    fn names_with_quotes_are_no_paths() {
        for path in ["./t", "/t", "s3://b/t", "a/b", "v1.metadata.json", "00001-a.gz.metadata.json", "file:/x", "."] {
            assert!(is_path(path), "{path}");
        }
        for name in ["ns.t", "c.ns.t", r#"ns."a/b""#, "t"] {
            assert!(!is_path(name), "{name}");
        }
    }
}
