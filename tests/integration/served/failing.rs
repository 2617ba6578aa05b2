//! A failing store under the server: every scan is right or says why not, and ends.
//!
//! How: two tables lie in the testkit's S3 server, which does to the requests of each scan what the scan's seed holds: latency, 503,
//! resets, bodies that break off, and files that are replaced while they are read. Each seed is another scan: of a table with every kind of delete
//! or of a plain one, filtered or not, in lanes or not, shuffled or not. FASTDATA_SOAK asks for a thousand seeds.

use super::{Server, block_on, request, text_of};
use crate::support::soak;
use fastdata_client::{Client, ConnectOptions, PullOptions};
use fastdata_testkit::rest::{RestOptions, RestServer};
use fastdata_testkit::s3::{Change, Faults, S3Server};
use fastdata_testkit::table::{Built, Columns, Deletes, Evolution, History, Layout, Partitioning, Shape, build};
use fastdata_types::{Error, ErrorKind};
use futures::StreamExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TIME_LIMIT: Duration = Duration::from_secs(90);
/// Stores and servers that are tried at once: most of the time they wait.
const PARTS: u64 = 4;
/// Tables and what is asked of them, as JSON members.
const TABLES: [&str; 2] = ["test.deleted", "test.plain"];
const SELECTIONS: [&str; 4] = [
    "",
    r#", "filter": "id > 100 AND day IS NOT NULL""#,
    r#", "columns": ["id", "score"]"#,
    r#", "columns": ["score", "day"], "filter": "id % 3 = 1""#,
];

/// How a store fails, and how often seeds draw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Day {
    /// 5 % of 503, 1 % of resets, 1 % of bodies that break off.
    Moderate,
    /// Half of all requests fail.
    Hard,
    /// Moderate, and a data file is replaced in the middle.
    Changed,
    /// Nearly nothing gets through.
    Down,
}

impl Day {
    fn of(seed: u64) -> Day {
        match seed % 20 {
            0..=11 => Day::Moderate,
            12..=14 => Day::Hard,
            15..=18 => Day::Changed,
            _ => Day::Down,
        }
    }

    fn faults(self, seed: u64) -> Faults {
        let faults = |unavailable_per_mille, reset_per_mille, truncate_per_mille| Faults {
            seed,
            jitter: Duration::from_millis(seed % 7),
            unavailable_per_mille,
            retry_after: 1,
            reset_per_mille,
            truncate_per_mille,
            ..Faults::default()
        };
        match self {
            Day::Moderate | Day::Changed => faults(50, 10, 10),
            Day::Hard => faults(300, 100, 100),
            Day::Down => faults(960, 10, 10),
        }
    }
}

/// Rows, and a checksum that does not depend on their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Rows {
    rows: u64,
    checksum: u64,
}

async fn scan(uri: &str, json: &str) -> Result<Rows, Error> {
    let client = Client::connect(uri, ConnectOptions::default()).await?.with_retry_for(Duration::from_secs(2));
    let plan = client.plan(&request(json)).await?;
    let mut pull = plan.pull(PullOptions::default())?;
    let mut seen = Rows::default();
    while let Some(next) = pull.next().await {
        for row in text_of(&next?.1.batch) {
            let mut hasher = DefaultHasher::new();
            row.hash(&mut hasher);
            seen.checksum = seen.checksum.wrapping_add(hasher.finish());
            seen.rows += 1;
        }
    }
    Ok(seen)
}

/// The tables, the servers they lie in, and a folder with the configuration.
struct Lake {
    store: S3Server,
    _catalog: RestServer,
    folder: TempDir,
    /// Object keys of data files, and what takes their place.
    replacements: BTreeMap<&'static str, Vec<(String, Vec<u8>)>>,
    /// Rows by the testkit's model.
    rows: BTreeMap<&'static str, u64>,
}

fn shape(table: &str, seed: u64) -> Shape {
    let location = Some(format!("s3://lake/{}", table.replace('.', "/")));
    match table {
        "test.plain" => {
            let layout = Layout { location, rows: 8_000, row_group_rows: 500, page_rows: 100, ..Layout::default() };
            Shape { seed, layout, history: History { appends: 2, ..History::SINGLE }, ..Shape::default() }
        }
        _ => Shape {
            seed,
            first_format: 2,
            format: 3,
            columns: Columns::Nested,
            partitioning: Partitioning::Identity,
            layout: Layout { location, rows: 800, row_group_rows: 60, ..Layout::default() },
            deletes: Deletes { positions: true, equality: true, ..Deletes::VECTORS },
            evolution: Evolution { spec: false, ..Evolution::ALL },
            history: History { appends: 3, ..History::SINGLE },
        },
    }
}

fn key_of(location: &str) -> String {
    location.strip_prefix("s3://lake/").unwrap().to_owned()
}

/// The data files of the same table with other values, some of them with the size of the files that they replace.
fn replacements(built: &Built, other: &Built) -> Vec<(String, Vec<u8>)> {
    let bytes = |built: &Built, path: &str| {
        let below = path.strip_prefix(built.table.location()).unwrap().trim_start_matches('/');
        std::fs::read(built.table_folder().join(below)).unwrap()
    };
    let pairs = built.table.data_files().into_iter().zip(other.table.data_files()).enumerate();
    let replaced = pairs.map(|(n, (file, other_file))| {
        let (old, mut new) = (bytes(built, &file.path), bytes(other, &other_file.path));
        if n % 2 == 1 {
            new.resize(old.len(), 0);
            let footer = old.len().saturating_sub(2_000);
            new[footer..].copy_from_slice(&old[footer..]);
        }
        (key_of(&file.path), new)
    });
    replaced.collect()
}

impl Lake {
    async fn open() -> Lake {
        let folder = tempfile::tempdir().unwrap();
        let store = S3Server::start().await;
        let catalog = RestServer::start(RestOptions::default()).await;
        let (mut changed, mut rows) = (BTreeMap::new(), BTreeMap::new());
        for table in TABLES {
            let make = |seed: u64| build(&shape(table, seed), &folder.path().join(format!("{table}-{seed}"))).unwrap();
            let (built, other) = (make(1), make(2));
            let prefix = format!("{}/", key_of(built.table.location()));
            store.put_directory("lake", &prefix, &built.table_folder()).unwrap();
            let metadata = serde_json::from_slice(&std::fs::read(built.metadata_file()).unwrap()).unwrap();
            catalog.add_table(&["test"], table.strip_prefix("test.").unwrap(), built.table.metadata_location(), metadata);
            changed.insert(table, replacements(&built, &other));
            rows.insert(table, built.current_rows().len() as u64);
        }
        configure(folder.path(), &catalog.uri(), store.endpoint());
        Lake { store, _catalog: catalog, folder, replacements: changed, rows }
    }

    fn server(&self) -> Server {
        Server::with(self.folder.path(), &["--admin", "127.0.0.1:0"])
    }

    /// What scans return while nothing fails.
    async fn undisturbed(&self, server: &Server) -> BTreeMap<(&'static str, &'static str), Rows> {
        let mut all = BTreeMap::new();
        for table in TABLES {
            for selection in SELECTIONS {
                let rows = scan(&server.uri, &format!(r#"{{"table": "{table}"{selection}}}"#)).await.unwrap();
                assert!(rows.rows > 100, "{table}{selection}: {rows:?}");
                all.insert((table, selection), rows);
            }
            assert_eq!(all[&(table, "")].rows, self.rows[table], "{table}");
        }
        all
    }

    fn change(&self, table: &str, random: &mut StdRng) -> Change {
        let (key, bytes) = self.replacements[table].choose(random).unwrap();
        Change { bucket: "lake".to_owned(), key: key.clone(), after: random.random_range(1..4), bytes: bytes.clone().into() }
    }
}

fn configure(folder: &Path, catalog: &str, store: &str) {
    let settings = format!(
        r#"default-catalog = "lake"
[catalogs.lake]
type = "rest"
uri = "{catalog}"
"s3.endpoint" = "{store}"
"s3.region" = "us-east-1"
"s3.path-style-access" = true
"s3.access-key-id" = "test"
"s3.secret-access-key" = "secret"
"fastdata.s3.retry-timeout" = "3"
"#
    );
    std::fs::write(folder.join("fastdata.toml"), settings).unwrap();
}

/// Lanes, order and sizes, which change nothing about which rows there are.
fn manner(random: &mut StdRng) -> String {
    let mut json = format!(r#", "batchRows": {}"#, random.random_range(50..2_000));
    if random.random_bool(0.6) {
        json.push_str(&format!(r#", "lanes": {}"#, random.random_range(1..6)));
        if random.random_bool(0.6) {
            let (seed, window) = (random.random_range(0..100), random.random_range(100..3_000));
            json.push_str(&format!(r#", "shuffle": {{"seed": "{seed}", "windowRows": {window}}}"#));
        }
    }
    json
}

/// Whether a scan on such a day may end with such an error. What is said of a replaced file names it.
fn is_expected(error: &Error, replaced: Option<&str>) -> bool {
    let is_replaced = replaced.is_some_and(|key| error.kind() == ErrorKind::Corrupt && error.message().contains(key));
    is_replaced || (error.kind() == ErrorKind::Unavailable && error.retryable())
}

/// What became of some scans.
#[derive(Default)]
struct Tally {
    outcomes: BTreeMap<(Day, String), u32>,
    requests: usize,
    faults: usize,
    longest: Duration,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        other.outcomes.into_iter().for_each(|(outcome, count)| *self.outcomes.entry(outcome).or_default() += count);
        self.requests += other.requests;
        self.faults += other.faults;
        self.longest = self.longest.max(other.longest);
    }

    fn right(&self, day: Day) -> u32 {
        self.outcomes.get(&(day, "right".to_owned())).copied().unwrap_or_default()
    }

    fn all(&self, day: Day) -> u32 {
        self.outcomes.iter().filter(|((of, _), _)| *of == day).map(|(_, count)| count).sum()
    }
}

/// One scan for each seed, of a store and a server of their own.
async fn scan_all(seeds: Range<u64>) -> Tally {
    let lake = Lake::open().await;
    let mut server = lake.server();
    let expected = lake.undisturbed(&server).await;
    lake.store.take_log();
    let mut tally = Tally::default();
    for seed in seeds {
        let (day, mut random) = (Day::of(seed), StdRng::seed_from_u64(seed));
        let (table, selection) = (*TABLES.choose(&mut random).unwrap(), *SELECTIONS.choose(&mut random).unwrap());
        let json = format!(r#"{{"table": "{table}"{selection}{}}}"#, manner(&mut random));
        let change = (day == Day::Changed).then(|| lake.change(table, &mut random));
        let replaced = change.as_ref().map(|change| change.key.clone());
        if replaced.is_some() {
            // A server remembers what an object was when it saw it first.
            server = lake.server();
        }
        lake.store.suffer(Some(Faults { change, ..day.faults(seed) }));
        let began = Instant::now();
        let scanned = tokio::time::timeout(TIME_LIMIT, scan(&server.uri, &json)).await;
        tally.longest = tally.longest.max(began.elapsed());
        lake.store.suffer(None);
        let outcome = match scanned.unwrap_or_else(|_| panic!("seed {seed} ({day:?}) hangs: {json}")) {
            Ok(rows) => {
                assert_eq!(rows, expected[&(table, selection)], "seed {seed} ({day:?}): {json}");
                "right".to_owned()
            }
            Err(error) => {
                assert!(is_expected(&error, replaced.as_deref()), "seed {seed} ({day:?}): {json}: {error}\n{}", server.log());
                error.kind().to_string()
            }
        };
        *tally.outcomes.entry((day, outcome)).or_default() += 1;
        let log = lake.store.take_log();
        tally.requests += log.len();
        tally.faults += log.iter().filter(|request| request.fault.is_some()).count();
        if replaced.is_some() {
            server = lake.server();
        }
    }
    // What failed left nothing behind.
    for series in ["fastdata_streams_open", "fastdata_memory_in_use_bytes"] {
        server.await_metric(series, Duration::from_secs(10), |value| value == 0.0);
    }
    tally
}

#[test]
fn a_failing_store_costs_time_or_an_error_and_never_rows() {
    let seeds = if soak() { 1_000 } else { 40 };
    let started = Instant::now();
    let mut tally = Tally::default();
    let parts = (0..PARTS).map(|part| scan_all(seeds * part / PARTS..seeds * (part + 1) / PARTS));
    block_on(futures::future::join_all(parts)).into_iter().for_each(|part| tally.add(part));
    let Tally { outcomes, requests, faults, longest } = &tally;
    let took = started.elapsed();
    eprintln!("{seeds} scans of a failing store in {took:?}, the longest {longest:?}: {faults} faults in {requests} requests");
    outcomes.iter().for_each(|((day, outcome), count)| eprintln!("  {day:?}: {outcome} {count}"));
    assert!(*faults > seeds as usize, "the store hardly failed");
    assert!(tally.right(Day::Moderate) * 100 >= tally.all(Day::Moderate) * 99, "{outcomes:?}");
    assert!(tally.right(Day::Changed) < tally.all(Day::Changed) && tally.right(Day::Down) < tally.all(Day::Down), "{outcomes:?}");
}
