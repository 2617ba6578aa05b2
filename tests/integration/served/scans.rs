//! Scans of a server are scans of the tables it serves: rows, notes, statistics, errors; our command and plain pyarrow.

use super::Server;
use crate::command_line::warehouse;
use crate::support::{fail, python, run, succeed};
use std::process::Command;

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
            // Times differ, and so do the shares of retries and batches; what planning asked the store for is told where it was planned.
            let lines =
                stderr.lines().filter(|line| !["  time  ", "  rate  ", "  rows  ", " storage  "].iter().any(|part| line.contains(part)));
            (output.status.code(), lines.map(str::to_owned).collect::<Vec<_>>())
        };
        let (local, served) = (shown(&["--warehouse", "w"]), shown(&["--server", &server.uri]));
        assert_eq!(local, served, "{arguments:?}");
        assert!(local.1.iter().any(|line| line.contains(said)), "{said} missing in {local:?}");
    }
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
