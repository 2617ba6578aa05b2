//! Random tables through the whole engine, held to a brute-force model of them.
//!
//! Problem: what breaks a reader is seldom one feature and often two at once: an equality delete on a column that was promoted, in a file
//! without ids, under an evolved spec. Contract: for every table of `fastdata_testkit::table` the engine returns the rows of the model, whatever
//! is asked (filter, projection, snapshot, limit) and whatever it has to work with (threads, memory, batch sizes). How: a case is a point on the
//! testkit's axes and a request; both shrink to the plainest that still fails. Runs are the same every time; `FASTDATA_PROPTEST_CASES` makes them
//! longer, `FASTDATA_PROPTEST_SEED` other ones.

mod filter;
mod history;
mod literal;
mod policy;
mod projection;
mod resources;
mod rows;
mod wide;

use arrow::array::RecordBatch;
use fastdata::assemble::{self, Paths};
use fastdata::config::Settings;
use fastdata::engine::Engine;
use fastdata_testkit::table::{Built, Columns, Deletes, Evolution, History, Layout, Partitioning, Shape, build, lines};
use fastdata_types::request::Order;
use fastdata_types::{Error, ScanPlan, ScanRequest, Value};
use fastdata_write::values;
use futures::TryStreamExt;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestCaseResult, TestRng, TestRunner};
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;
use tokio::runtime::Runtime;

type Row = Vec<Option<Value>>;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Runs a property over random inputs: `cases` of them unless the environment says how many. Returns how many.
fn hold<S: Strategy>(cases: u32, inputs: S, property: impl Fn(S::Value) -> TestCaseResult) -> u64 {
    let cases = setting("FASTDATA_PROPTEST_CASES").map_or(cases, |cases| u32::try_from(cases).unwrap_or(u32::MAX));
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&setting("FASTDATA_PROPTEST_SEED").unwrap_or(0).to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    runner.run(&inputs, property).unwrap_or_else(|failure| panic!("{failure}"));
    u64::from(cases)
}

/// A point anywhere on the axes; shrinks one axis after the other to its plainest value.
fn any_shape() -> impl Strategy<Value = Shape> {
    (any::<u64>().no_shrink(), prop::collection::vec(prop::bool::weighted(0.92), 7)).prop_map(|(seed, kept)| {
        let mut shape = Shape::random(seed);
        let plain = Shape { seed, layout: Layout { rows: shape.layout.rows, ..Layout::default() }, ..Shape::default() };
        let mut axes = kept.into_iter();
        let mut reset = |reset: &mut dyn FnMut()| {
            if axes.next() == Some(false) {
                reset();
            }
        };
        reset(&mut || shape.columns = Columns::Flat);
        reset(&mut || shape.partitioning = Partitioning::None);
        reset(&mut || shape.layout = plain.layout.clone());
        reset(&mut || shape.deletes = Deletes::NONE);
        reset(&mut || shape.evolution = Evolution::NONE);
        reset(&mut || shape.history = History::SINGLE);
        reset(&mut || shape.layout.rows = 5);
        shape.settled()
    })
}

/// A table on disk, with its model.
struct Table {
    built: Built,
    _folder: TempDir,
}

impl Table {
    fn make(shape: &Shape) -> Result<Table, TestCaseError> {
        let folder = tempfile::tempdir().map_err(|e| TestCaseError::fail(e.to_string()))?;
        let built = build(shape, folder.path()).map_err(failed)?;
        Ok(Table { built, _folder: folder })
    }

    /// An engine over the table's warehouse.
    fn engine(&self, threads: usize, memory: u64) -> Result<Engine, TestCaseError> {
        let settings = Settings { threads, memory: Some(memory), ..Settings::default() };
        assemble::engine(&settings, Some(&self.built.folder), Paths::Refused).map_err(failed)
    }
}

/// Everything, in table order.
fn request() -> ScanRequest {
    ScanRequest { order: Order::Stable, ..ScanRequest::table("test.t") }
}

fn failed(error: Error) -> TestCaseError {
    TestCaseError::fail(format!("{error:?}"))
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a tokio runtime"))
}

/// What a scan returned.
struct Scanned {
    plan: Arc<ScanPlan>,
    batches: Vec<RecordBatch>,
}

impl Scanned {
    /// A line of text per row, exact in every bit.
    fn lines(&self) -> Result<Vec<String>, TestCaseError> {
        let mut rows: Vec<Row> = Vec::new();
        for batch in &self.batches {
            rows.extend(values::rows(batch, &self.plan.projection).map_err(failed)?);
        }
        Ok(lines(&rows))
    }
}

fn scan(engine: &Engine, request: &ScanRequest) -> Result<Scanned, Error> {
    runtime().block_on(async {
        let plan = engine.plan(request).await?;
        read(engine, plan, request).await
    })
}

async fn read(engine: &Engine, plan: ScanPlan, request: &ScanRequest) -> Result<Scanned, Error> {
    let scan = engine.read(Arc::new(plan), request)?;
    Ok(Scanned { plan: scan.plan, batches: scan.stream.try_collect().await? })
}

/// Fails with the first differences between two lists of rows.
fn same(what: &str, wanted: &[String], given: &[String]) -> TestCaseResult {
    if wanted == given {
        return Ok(());
    }
    let at = wanted.iter().zip(given).take_while(|(w, g)| w == g).count();
    let line = |rows: &[String]| rows.get(at).cloned().unwrap_or_else(|| "nothing".to_owned());
    Err(TestCaseError::fail(format!(
        "{what}: {} rows wanted, {} given; at row {at}\n  wanted {}\n  given  {}",
        wanted.len(),
        given.len(),
        line(wanted),
        line(given)
    )))
}

/// The same in any order.
fn same_set(what: &str, wanted: &[String], given: &[String]) -> TestCaseResult {
    let sorted = |rows: &[String]| {
        let mut rows = rows.to_vec();
        rows.sort();
        rows
    };
    same(what, &sorted(wanted), &sorted(given))
}
