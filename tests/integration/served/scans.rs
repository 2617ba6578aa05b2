//! Scans of a server are scans of the tables it serves: rows, notes, statistics, errors; our command and plain pyarrow.

use super::{Server, block_on, request};
use crate::command_line::warehouse;
use crate::support::{fail, python, run, succeed};
use fastdata::assemble::{self, Paths};
use fastdata::config::Settings;
use fastdata::lake::{FeedOptions, Lake, Last, Planned};
use fastdata_types::stats::ScanStats;
use fastdata_types::store::StoreCounters;
use futures::StreamExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs a script with the server's address as its first argument; `None` where there is no Python here.
pub fn pyarrow_with(server: &Server, script: &str, more: &[&str]) -> Option<String> {
    let output = Command::new(python()?).args(["-c", script, &server.uri]).args(more).output().unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), server.log());
    Some(String::from_utf8(output.stdout).unwrap())
}

pub fn pyarrow(server: &Server, script: &str) -> Option<String> {
    pyarrow_with(server, script, &[])
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_served_scan_returns_what_a_local_one_does() {
    let server = Server::start();
    for arguments in [
        &["tpch.nation"][..],
        &["tpch.lineitem", "--select", "l_orderkey,l_comment", "--where", "l_quantity > 49"],
        &["demo.events"],
        &["tpch.customer", "--strings", "dictionary", "--limit", "10", "--order", "stable"],
        &["tpch.customer", "--strings", "view"],
        &["tpch.nation", "--where", "n_name = 'ATLANTIS'"],
    ] {
        let local: Vec<&str> = [&["scan"], arguments, &["--warehouse", "w"]].concat();
        let served: Vec<&str> = [&["scan"], arguments, &["--server", &server.uri]].concat();
        let (local, served) = (succeed(warehouse(), &local), succeed(warehouse(), &served));
        assert_eq!(sorted(&local), sorted(&served), "{arguments:?}");
    }
}

/// Notes, counts, statistics and errors too, the times and what only one side knows aside.
#[test]
fn a_served_scan_shows_what_a_local_one_shows() {
    let server = Server::start();
    let snapshots = succeed(warehouse(), &["snapshots", "demo.events", "-o", "json", "--warehouse", "w"]);
    let snapshots: Vec<serde_json::Value> = serde_json::from_str(&snapshots).unwrap();
    let first = snapshots[0]["snapshotId"].as_str().unwrap();
    for (arguments, said) in [
        (&["scan", "demo.events", "--from", first, "-o", "none"][..], "note: "),
        (&["scan", "tpch.lineitem", "--where", "l_quantity > 49", "-o", "none", "--stats"], " filtered out"),
        (&["scan", "tpch.lineitem", "-o", "table"], "the first 40 rows"),
        (&["scan", "tpch.lineitme"], "help: did you mean"),
        (&["scan", "tpch.lineitem", "--snapshot", "1"], "help: ask for one of the snapshots"),
    ] {
        let shown = |side: &[&str]| {
            let output = run(warehouse(), &[arguments, side].concat());
            let stderr = String::from_utf8(output.stderr).unwrap().replace("catalog 'local'", "catalog");
            // Times differ, and so do the shares of batches. What the storage was asked is compared where it cannot depend on the time.
            let lines =
                stderr.lines().filter(|line| !["  time  ", "  rate  ", "  rows  ", " storage  "].iter().any(|part| line.contains(part)));
            (output.status.code(), lines.map(str::to_owned).collect::<Vec<_>>())
        };
        let (local, served) = (shown(&["--warehouse", "w"]), shown(&["--server", &server.uri]));
        assert_eq!(local, served, "{arguments:?}");
        assert!(local.1.iter().any(|line| line.contains(said)), "{said} missing in {local:?}");
    }
}

/// What a scan asked of storage, by what it says of itself.
fn asked(arguments: &[&str]) -> (StoreCounters, Duration) {
    let started = Instant::now();
    let output = run(warehouse(), &[arguments, &["-o", "none", "--stats=json"]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    let stats: ScanStats = serde_json::from_str(said.lines().last().unwrap()).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {said}"));
    let ScanStats { requests, bytes_fetched: bytes, retries, hedges, .. } = stats;
    (StoreCounters { requests, bytes, retries, hedges }, started.elapsed())
}

/// The same of a server. It looks at a table again for a stream that begins a second after its plan; filters that rule nothing out make new plans.
fn served(server: &Server, arguments: &[&str], filter: &str) -> StoreCounters {
    for number in 1..=20 {
        let filter = format!("{filter} AND l_orderkey > -{number}");
        let (counted, took) = asked(&[arguments, &["--where", &filter, "--server", &server.uri]].concat());
        if took < Duration::from_millis(900) {
            return counted;
        }
    }
    panic!("every scan of a small table took a second");
}

/// Planning included, and lanes that a server reads side by side each for themselves.
#[test]
fn a_served_scan_asks_storage_for_what_a_local_one_does() {
    let server = Server::start();
    let filter = "l_quantity > 49";
    let where_ = format!("{filter} AND l_orderkey > 0");
    let local = |more: &[&str]| asked(&[&["scan", "tpch.lineitem", "--where", &where_, "--warehouse", "w"], more].concat()).0;
    let whole = local(&[]);
    assert!(whole.requests > 4 && whole.bytes > 1000, "{whole:?}");
    assert_eq!(served(&server, &["scan", "tpch.lineitem"], filter), whole);

    // Here one lane after the other by a command of its own, which plans for itself.
    let engine = assemble::engine(&Settings::default(), Some(&warehouse().join("w")), Paths::Refused).unwrap();
    let request = request(&format!(r#"{{"table": "tpch.lineitem", "filter": "{where_}", "lanes": 4}}"#));
    let planning = block_on(engine.plan(&request)).unwrap().report.storage;
    assert!(planning.requests >= 3, "metadata, list and manifest: {planning:?}");
    let mut sum = planning;
    for lane in ["0", "1", "2", "3"] {
        sum.add(&local(&["--lanes", "4", "--lane", lane]).since(&planning));
    }
    assert_eq!(served(&server, &["scan", "tpch.lineitem", "--lanes", "4"], filter), sum);
    // Of a plan that the server kept, only looking at the table.
    let again = || asked(&["scan", "tpch.nation", "--server", &server.uri]).0;
    assert!(again().requests > again().requests, "a plan was made twice, or counted twice");
}

/// A feed that reads two places at once counts each once, and planning with them.
#[test]
fn a_feed_counts_what_its_places_ask_for_once() {
    let engine = assemble::engine(&Settings::default(), Some(&warehouse().join("w")), Paths::Refused).unwrap();
    let lake = Lake::embedded(engine);
    let request = request(r#"{"table": "tpch.lineitem", "lanes": 4, "batchRows": 100}"#);
    block_on(async {
        let options = |last| FeedOptions { rank: 0, world: 1, batch_rows: 100, last, interleave: 2, cursor: None };
        let fed = async |planned: &Planned, last| {
            let mut feed = planned.feed(options(last)).await.unwrap();
            while feed.next().await.unwrap().is_some() {}
            feed.stats.snapshot()
        };
        let planned = lake.plan(&request).await.unwrap();
        let both = fed(&planned, Last::Uneven).await;
        let again = fed(&planned, Last::Uneven).await;
        let planning = both.requests - again.requests;
        assert!(planning >= 3, "planning was counted {planning} times more than nothing");
        let mut one_by_one = planning;
        for lanes in [vec![0, 1], vec![2, 3]] {
            let mut rows = planned.rows(Some(lanes), None).unwrap();
            while rows.next().await.transpose().unwrap().is_some() {}
            one_by_one += rows.stats.snapshot().requests;
        }
        assert_eq!(both.requests, one_by_one);
        let counting = fed(&planned, Last::Drop).await;
        assert!(counting.requests > again.requests && counting.rows_decoded <= again.rows_decoded, "{counting:?} {again:?}");
    });
}

/// The store that found the metadata is not the one that reads the data.
#[test]
fn a_moved_table_counts_as_many_requests_as_one_that_stayed() {
    let table = warehouse().join("w/tpch/nation");
    let copy = tempfile::tempdir().unwrap();
    let moved = copy.path().join("nation");
    let copied = Command::new("cp").arg("-r").arg(&table).arg(&moved).status().unwrap();
    assert!(copied.success());
    let stayed = asked(&["scan", table.to_str().unwrap()]).0;
    assert_eq!(asked(&["scan", moved.to_str().unwrap(), "--moved"]).0, stayed);
    assert!(stayed.requests >= 6, "folder, metadata, list, manifest, footer, data: {stayed:?}");
}

#[test]
fn errors_keep_their_kind_over_the_wire() {
    let server = Server::start();
    for (arguments, status, text) in [
        (&["scan", "tpch.lineitme"][..], 2, "lineitem"),
        (&["scan", "tpch.lineitem", "--where", "l_comment > 7"], 2, "l_comment"),
        (&["scan", "/etc/passwd"], 2, "by name"),
    ] {
        let (code, message) = fail(warehouse(), &[arguments, &["--server", &server.uri]].concat());
        assert_eq!(code, status, "{message}");
        assert!(message.contains(text), "{message}");
    }
}

/// Plain pyarrow, without any stubs of ours.
#[test]
fn pyarrow_pulls_a_demo_table() {
    let server = Server::start();
    let script = r#"
import json, sys
import pyarrow as pa, pyarrow.flight as fl
client = fl.connect(sys.argv[1])
names = ["/".join(p.decode() for p in f.descriptor.path) for f in client.list_flights()]
assert "tpch/nation" in names and "demo/events" in names, names
info = client.get_flight_info(fl.FlightDescriptor.for_path("tpch", "nation"))
table = client.do_get(info.endpoints[0].ticket).read_all()
assert table.num_rows == 25 and table.schema.equals(info.schema), (table.num_rows, table.schema, info.schema)
assert info.total_records == 25
schema = client.get_schema(fl.FlightDescriptor.for_path("tpch", "nation")).schema
assert schema.equals(info.schema)
request = {"table": "tpch.lineitem", "columns": ["l_orderkey", "l_shipmode"], "filter": "l_quantity > 49", "strings": "STRINGS_DICTIONARY"}
info = client.get_flight_info(fl.FlightDescriptor.for_command(json.dumps(request).encode()))
table = pa.concat_tables(client.do_get(e.ticket).read_all() for e in info.endpoints)
assert table.column_names == ["l_orderkey", "l_shipmode"] and table.num_rows > 0
try:
    client.get_flight_info(fl.FlightDescriptor.for_command(b'{"table": "tpch.lineitem", "colums": []}'))
    sys.exit("an unknown field was accepted")
except Exception as e:
    assert "colums" in str(e), e
try:
    client.do_get(fl.Ticket(b"forged")).read_all()
    sys.exit("a forged ticket was accepted")
except Exception as e:
    assert "ticket" in str(e), e
print(table.num_rows)
"#;
    let Some(rows) = pyarrow(&server, script) else { return };
    let expected =
        succeed(warehouse(), &["scan", "tpch.lineitem", "--where", "l_quantity > 49", "--warehouse", "w", "--select", "l_orderkey"]);
    assert_eq!(rows.trim(), expected.lines().count().to_string());
}

/// The catalog and the metadata that the demo writes are the Iceberg ecosystem's own.
#[test]
fn pyiceberg_opens_the_demo_warehouse() {
    let Some(python) = python() else { return };
    let script = r#"
import os, sys
from pyiceberg.catalog.sql import SqlCatalog
root = os.path.abspath("w")
catalog = SqlCatalog("local", uri=f"sqlite:///{root}/catalog.db", warehouse=f"file://{root}")
print(catalog.load_table("tpch.nation").scan().to_arrow().num_rows, catalog.load_table("tpch.lineitem").scan().to_arrow().num_rows)
"#;
    let output = Command::new(python).current_dir(warehouse()).args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lineitem = succeed(warehouse(), &["scan", "tpch.lineitem", "--warehouse", "w", "--select", "l_orderkey"]).lines().count();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), format!("25 {lineitem}"));
}

/// Several endpoints at once, and every compression.
#[test]
fn pyarrow_pulls_all_endpoints_at_once() {
    let server = Server::start();
    let script = r#"
import json, sys
from concurrent.futures import ThreadPoolExecutor
import pyarrow as pa, pyarrow.flight as fl
client = fl.connect(sys.argv[1])
def pull(**more):
    request = {"table": "tpch.lineitem", "lanes": 6, "columns": ["l_orderkey", "l_linenumber", "l_comment"], **more}
    info = client.get_flight_info(fl.FlightDescriptor.for_command(json.dumps(request).encode()))
    with ThreadPoolExecutor(6) as pool:
        tables = list(pool.map(lambda e: client.do_get(e.ticket).read_all(), info.endpoints))
    assert len(tables) == 6 and all(t.num_rows for t in tables)
    return pa.concat_tables(tables).sort_by([("l_orderkey", "ascending"), ("l_linenumber", "ascending")])
plain = pull()
for compression in ["COMPRESSION_LZ4", "COMPRESSION_ZSTD"]:
    assert pull(compression=compression).equals(plain), compression
print(plain.num_rows)
"#;
    let Some(rows) = pyarrow(&server, script) else { return };
    let expected = succeed(warehouse(), &["count", "tpch.lineitem", "--warehouse", "w"]);
    assert_eq!(rows.trim(), expected.trim());
    for compression in ["lz4", "zstd"] {
        let scan = |more: &[&str]| succeed(warehouse(), &[&["scan", "tpch.customer", "--order", "stable"], more].concat());
        assert_eq!(scan(&["--server", &server.uri, "--compression", compression]), scan(&["--warehouse", "w"]), "{compression}");
    }
}
