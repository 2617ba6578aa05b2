//! The server's figures for Prometheus.
//!
//! Contract: one registry per server and no globals. Every metric has a typed method, so no caller spells a name; labels come from closed
//! sets (stages, outcomes, RPCs, gRPC codes, error kinds), never from a caller: no table, principal or address. Every series of a counter
//! exists from the start, with 0. Times are in seconds, sizes in bytes. docs/operations.md lists the names, and a test compares.

use fastdata_types::stats::ScanStats;
use fastdata_types::store::StoreCounters;
use fastdata_types::{Error, ErrorKind};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tonic::Code;

/// What [`Metrics::render`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One label; its name is the family's.
type Label = [(&'static str, &'static str); 1];
type Seconds = Counter<f64, AtomicU64>;

/// A stream that sent everything.
pub const OK: &str = "ok";

/// What is read off when the figures are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Levels {
    /// Bytes of the memory budget.
    pub memory_total: u64,
    /// Bytes of it that are taken.
    pub memory_in_use: u64,
    pub plan_cache_entries: u64,
}

type Sampler = Box<dyn Fn() -> Levels + Send + Sync>;

/// Cheap to clone: all clones count into the same figures.
#[derive(Clone)]
pub struct Metrics(Arc<Figures>);

struct Figures {
    registry: Registry,
    levels: OnceLock<Sampler>,
    plans: Family<Label, Counter>,
    plan_cache: Family<Label, Counter>,
    plan_cache_entries: Gauge,
    streams_started: Counter,
    streams_open: Gauge,
    streams_waiting: Gauge,
    streams_finished: Family<Label, Counter>,
    rows_sent: Counter,
    bytes_sent: Counter,
    rows_decoded: Counter,
    files_read: Counter,
    storage_requests: Counter,
    storage_bytes: Counter,
    storage_retries: Counter,
    storage_hedges: Counter,
    stage: Family<Label, Seconds>,
    memory_total: Gauge,
    memory_in_use: Gauge,
    errors: Family<Label, Counter>,
    connections_open: Gauge,
    connections_accepted: Counter,
    connections_refused: Family<Label, Counter>,
    accept_errors: Counter,
    requests: Family<[(&'static str, &'static str); 2], Counter>,
    requests_open: Gauge,
    request_duration: Family<Label, Histogram, fn() -> Histogram>,
    reloads: Family<Label, Counter>,
    log_lines_dropped: Counter,
    ready: Gauge,
    resident: Gauge,
}

/// Why a connection was closed before it had asked for anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The cap on open connections.
    Limit,
    /// A newer connection needed its place among those that have not asked for anything yet.
    Displaced,
    /// The TLS handshake failed.
    Handshake,
    /// The handshake, the preface or the first request took too long.
    Late,
}

impl Refusal {
    pub const ALL: [Refusal; 4] = [Refusal::Limit, Refusal::Displaced, Refusal::Handshake, Refusal::Late];

    pub fn name(self) -> &'static str {
        match self {
            Refusal::Limit => "limit",
            Refusal::Displaced => "displaced",
            Refusal::Handshake => "handshake",
            Refusal::Late => "late",
        }
    }
}

/// The RPCs that are told apart; whatever else a client asks for counts as `other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rpc(&'static str);

impl Rpc {
    pub const OTHER: Rpc = Rpc("other");
    pub const ALL: [Rpc; 14] = [
        Rpc("Handshake"),
        Rpc("ListFlights"),
        Rpc("GetFlightInfo"),
        Rpc("PollFlightInfo"),
        Rpc("GetSchema"),
        Rpc("DoGet"),
        Rpc("DoPut"),
        Rpc("DoExchange"),
        Rpc("DoAction"),
        Rpc("ListActions"),
        Rpc("Health.Check"),
        Rpc("Health.Watch"),
        Rpc("ServerReflectionInfo"),
        Rpc::OTHER,
    ];

    /// The RPC of a request's path, `/package.Service/Method`.
    pub fn of_path(path: &str) -> Rpc {
        let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else { return Rpc::OTHER };
        let known = |wanted: &str| Self::ALL.into_iter().find(|rpc| rpc.0 == wanted).unwrap_or(Rpc::OTHER);
        match service {
            "arrow.flight.protocol.FlightService" if !method.contains('.') => known(method),
            "grpc.health.v1.Health" => known(&format!("Health.{method}")),
            "grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection" => known(method),
            _ => Rpc::OTHER,
        }
    }

    pub fn name(self) -> &'static str {
        self.0
    }
}

/// The name of a gRPC code as the specification of gRPC writes it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Where the time of a scan goes. `wire` is writing messages, `client` waiting for the client to take them.
pub const STAGES: [&str; 7] = ["planning", "storage", "decode", "filter", "delete", "wire", "client"];

fn stage_micros(stats: &ScanStats) -> [u64; 7] {
    [stats.planning_us, stats.storage_us, stats.decode_us, stats.filter_us, stats.delete_us, stats.wire_us, stats.consumer_us]
}

fn latencies() -> Histogram {
    Histogram::new([0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0])
}

/// A family whose series all exist from the start.
fn with_series<C: Default + Clone>(label: &'static str, values: impl IntoIterator<Item = &'static str>) -> Family<Label, C> {
    let family = Family::<Label, C>::default();
    for value in values {
        drop(family.get_or_create(&[(label, value)]));
    }
    family
}

fn kinds() -> impl Iterator<Item = &'static str> {
    ErrorKind::ALL.into_iter().map(ErrorKind::name)
}

impl Metrics {
    pub fn new() -> Metrics {
        let mut figures = Figures {
            registry: Registry::with_prefix("fastdata"),
            levels: OnceLock::new(),
            plans: with_series("outcome", std::iter::once(OK).chain(kinds())),
            plan_cache: with_series("result", ["hit", "miss"]),
            plan_cache_entries: Gauge::default(),
            streams_started: Counter::default(),
            streams_open: Gauge::default(),
            streams_waiting: Gauge::default(),
            streams_finished: with_series("outcome", std::iter::once(OK).chain(kinds())),
            rows_sent: Counter::default(),
            bytes_sent: Counter::default(),
            rows_decoded: Counter::default(),
            files_read: Counter::default(),
            storage_requests: Counter::default(),
            storage_bytes: Counter::default(),
            storage_retries: Counter::default(),
            storage_hedges: Counter::default(),
            stage: with_series("stage", STAGES),
            memory_total: Gauge::default(),
            memory_in_use: Gauge::default(),
            errors: with_series("kind", kinds()),
            connections_open: Gauge::default(),
            connections_accepted: Counter::default(),
            connections_refused: with_series("reason", Refusal::ALL.map(Refusal::name)),
            accept_errors: Counter::default(),
            requests: Family::default(),
            requests_open: Gauge::default(),
            request_duration: Family::new_with_constructor(latencies),
            reloads: with_series("outcome", [OK, "failed"]),
            log_lines_dropped: Counter::default(),
            ready: Gauge::default(),
            resident: Gauge::default(),
        };
        for rpc in Rpc::ALL {
            drop(figures.requests.get_or_create(&[("rpc", rpc.name()), ("code", code_name(Code::Ok))]));
            drop(figures.request_duration.get_or_create(&[("rpc", rpc.name())]));
        }
        figures.register();
        Metrics(Arc::new(figures))
    }

    /// Has `levels` asked whenever the figures are; the first one given stays.
    pub fn sample(&self, levels: impl Fn() -> Levels + Send + Sync + 'static) {
        let _ = self.0.levels.set(Box::new(levels));
    }

    /// A plan that was made or found.
    pub fn planned(&self) {
        self.0.plans.get_or_create(&[("outcome", OK)]).inc();
    }

    /// What a call for a plan asked of the store, loading the table included.
    pub fn planning_read(&self, storage: &StoreCounters) {
        self.0.storage_requests.inc_by(storage.requests);
        self.0.storage_bytes.inc_by(storage.bytes);
        self.0.storage_retries.inc_by(storage.retries);
        self.0.storage_hedges.inc_by(storage.hedges);
    }

    pub fn plan_failed(&self, error: &Error) {
        self.0.plans.get_or_create(&[("outcome", error.kind().name())]).inc();
    }

    pub fn plan_cache_hit(&self) {
        self.0.plan_cache.get_or_create(&[("result", "hit")]).inc();
    }

    pub fn plan_cache_miss(&self) {
        self.0.plan_cache.get_or_create(&[("result", "miss")]).inc();
    }

    /// An error that a caller was told.
    pub fn error(&self, kind: ErrorKind) {
        self.0.errors.get_or_create(&[("kind", kind.name())]).inc();
    }

    pub(super) fn stream_started(&self) {
        self.0.streams_started.inc();
        self.0.streams_open.inc();
    }

    /// `outcome` is [`OK`] or the name of an error kind.
    pub(super) fn stream_finished(&self, outcome: &'static str) {
        self.0.streams_open.dec();
        self.0.streams_finished.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub fn streams_open(&self) -> u64 {
        u64::try_from(self.0.streams_open.get()).unwrap_or(0)
    }

    /// A stream that waits for memory, for as long as the answer lives.
    pub fn waiting(&self) -> Level {
        Level::of(&self.0.streams_waiting)
    }

    pub(super) fn sent(&self, rows: u64, bytes: u64) {
        self.0.rows_sent.inc_by(rows);
        self.0.bytes_sent.inc_by(bytes);
    }

    /// What a scan did between two readings of its statistics.
    pub(super) fn progressed(&self, before: &ScanStats, now: &ScanStats) {
        let stages = ["planning", "storage", "decode", "filter", "delete", "wire", "client"];
        for ((stage, before), now) in stages.into_iter().zip(stage_micros(before)).zip(stage_micros(now)) {
            let seconds = Duration::from_micros(now.saturating_sub(before)).as_secs_f64();
            self.0.stage.get_or_create(&[("stage", stage)]).inc_by(seconds);
        }
        self.0.rows_decoded.inc_by(now.rows_decoded.saturating_sub(before.rows_decoded));
        self.0.files_read.inc_by(now.files_read.saturating_sub(before.files_read));
        self.0.storage_requests.inc_by(now.requests.saturating_sub(before.requests));
        self.0.storage_bytes.inc_by(now.bytes_fetched.saturating_sub(before.bytes_fetched));
        self.0.storage_retries.inc_by(now.retries.saturating_sub(before.retries));
        self.0.storage_hedges.inc_by(now.hedges.saturating_sub(before.hedges));
    }

    /// A connection that is open for as long as the answer lives.
    pub fn connected(&self) -> Level {
        self.0.connections_accepted.inc();
        Level::of(&self.0.connections_open)
    }

    pub fn refused(&self, why: Refusal) {
        self.0.connections_refused.get_or_create(&[("reason", why.name())]).inc();
    }

    pub fn accept_failed(&self) {
        self.0.accept_errors.inc();
    }

    /// A request that is being answered, for as long as the answer lives.
    pub fn request_open(&self) -> Level {
        Level::of(&self.0.requests_open)
    }

    /// A request that was answered in full, or given up.
    pub fn request(&self, rpc: Rpc, code: Code, took: Duration) {
        self.0.requests.get_or_create(&[("rpc", rpc.name()), ("code", code_name(code))]).inc();
        self.0.request_duration.get_or_create(&[("rpc", rpc.name())]).observe(took.as_secs_f64());
    }

    pub fn reloaded(&self, worked: bool) {
        self.0.reloads.get_or_create(&[("outcome", if worked { OK } else { "failed" })]).inc();
    }

    pub(super) fn log_line_dropped(&self) {
        self.0.log_lines_dropped.inc();
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.0.ready.set(i64::from(ready));
    }

    /// Everything, as OpenMetrics text.
    pub fn render(&self) -> String {
        let figures = &*self.0;
        if let Some(levels) = figures.levels.get() {
            let levels = levels();
            figures.memory_total.set(clamp(levels.memory_total));
            figures.memory_in_use.set(clamp(levels.memory_in_use));
            figures.plan_cache_entries.set(clamp(levels.plan_cache_entries));
        }
        figures.resident.set(clamp(resident_bytes().unwrap_or(0)));
        let mut text = String::new();
        // Writing to a string fails only where a metric cannot be encoded, and then what is there is still true.
        let _ = encode(&mut text, &figures.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Figures {
    fn register(&mut self) {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let start_time = Gauge::<f64, AtomicU64>::default();
        start_time.set(started);
        let to = &mut self.registry;
        to.register("plans", "Scans planned, by outcome: ok or the kind of the error", self.plans.clone());
        to.register("plan_cache_requests", "Look-ups in the cache of plans", self.plan_cache.clone());
        to.register("plan_cache_entries", "Plans in the cache", self.plan_cache_entries.clone());
        to.register("streams_started", "Streams that DoGet began", self.streams_started.clone());
        to.register("streams_open", "Streams that are being sent", self.streams_open.clone());
        to.register("streams_waiting", "Streams that wait for memory", self.streams_waiting.clone());
        to.register("streams_finished", "Streams that ended, by outcome: ok or the kind of the error", self.streams_finished.clone());
        to.register("rows_sent", "Rows put on the wire", self.rows_sent.clone());
        to.register_with_unit("sent", "Bytes of messages put on the wire", Unit::Bytes, self.bytes_sent.clone());
        to.register("rows_decoded", "Rows decoded, before filters and deletes", self.rows_decoded.clone());
        to.register("files_read", "Data files opened", self.files_read.clone());
        to.register("storage_requests", "Requests to storage", self.storage_requests.clone());
        to.register_with_unit("storage_read", "Bytes read from storage", Unit::Bytes, self.storage_bytes.clone());
        to.register("storage_retries", "Requests to storage that were repeated", self.storage_retries.clone());
        to.register("storage_hedges", "Requests to storage that were sent beside a late one", self.storage_hedges.clone());
        to.register_with_unit("stage", "Where the time of scans went, by stage", Unit::Seconds, self.stage.clone());
        to.register_with_unit("memory_budget", "The memory budget", Unit::Bytes, self.memory_total.clone());
        to.register_with_unit("memory_in_use", "What is taken of the memory budget", Unit::Bytes, self.memory_in_use.clone());
        to.register("errors", "Errors that callers were told, by kind", self.errors.clone());
        to.register("connections_open", "Connections that are open", self.connections_open.clone());
        to.register("connections_accepted", "Connections that were let in", self.connections_accepted.clone());
        to.register(
            "connections_refused",
            "Connections closed before they asked for anything, by reason",
            self.connections_refused.clone(),
        );
        to.register("accept_errors", "Failures to accept a connection", self.accept_errors.clone());
        to.register("requests", "Requests that were answered, by RPC and gRPC code", self.requests.clone());
        to.register("requests_open", "Requests that are being answered", self.requests_open.clone());
        to.register_with_unit(
            "request_duration",
            "From a request's headers to the end of its answer, by RPC",
            Unit::Seconds,
            self.request_duration.clone(),
        );
        to.register("reloads", "Re-readings of tokens, keys and certificates, by outcome", self.reloads.clone());
        to.register("log_lines_dropped", "Lines of the log that were lost because nobody took them", self.log_lines_dropped.clone());
        to.register("ready", "1 while the server takes new requests", self.ready.clone());
        to.register_with_unit("process_resident_memory", "Resident memory of the process", Unit::Bytes, self.resident.clone());
        to.register_with_unit("process_start_time", "When the process started, from the Unix epoch", Unit::Seconds, start_time);
        to.register("build", "The version of fastdata", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    }
}

/// Counts one up while it lives.
#[derive(Debug)]
pub struct Level(Gauge);

impl Level {
    fn of(gauge: &Gauge) -> Level {
        gauge.inc();
        Level(gauge.clone())
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Resident bytes of this process, where the system tells.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests;
