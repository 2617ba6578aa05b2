//! The thin server, pulled by our client and by plain pyarrow.

use crate::command_line::warehouse;
use crate::support::{fail, fastdata, python, run, succeed};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A server on a free port, ended when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) uri: String,
}

impl Server {
    pub(crate) fn start() -> Server {
        Server::of(warehouse())
    }

    fn of(warehouse: &Path) -> Server {
        Server::with(warehouse, &["--warehouse", "w"])
    }

    /// Of what the arguments and the configuration in the directory name.
    pub(crate) fn with(directory: &Path, arguments: &[&str]) -> Server {
        let serve = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
        let mut child = fastdata(directory).args(serve).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let uri = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("unexpected first line: {line}")).to_owned();
        Server { child, uri }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// How it ended, and after what time.
    fn ended(&mut self, within: Duration) -> (ExitStatus, Duration) {
        let started = Instant::now();
        while started.elapsed() < within {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, started.elapsed());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server is alive after {within:?}");
    }
}

/// A table of more bytes than a connection holds in flight.
fn large() -> &'static Path {
    static WAREHOUSE: OnceLock<TempDir> = OnceLock::new();
    let make = || {
        let directory = tempfile::tempdir().unwrap();
        succeed(directory.path(), &["demo", "w", "--scale", "0.03"]);
        directory
    };
    WAREHOUSE.get_or_init(make).path()
}

/// A client that has printed one row of the large table and now waits for its reader.
fn half_way(server: &Server) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut client = fastdata(large())
        .args(["scan", "tpch.lineitem", "--batch-rows", "1000", "--server", &server.uri])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(client.stdout.take().unwrap());
    reader.read_line(&mut String::new()).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    (client, reader)
}

/// A server that is gone, or one that neither answers nor ends, is no wish of the user and no fault of ours.
#[test]
fn a_server_that_dies_or_stalls_half_way_is_unavailable() {
    for signal in ["KILL", "STOP"] {
        let server = Server::of(large());
        let (mut client, mut reader) = half_way(&server);
        server.signal(signal);
        let started = Instant::now();
        std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
        let mut message = String::new();
        client.stderr.take().unwrap().read_to_string(&mut message).unwrap();
        assert_eq!(client.wait().unwrap().code(), Some(7), "{signal}: {message}");
        assert!(message.starts_with("error: unavailable\n") && message.contains("trying again may help"), "{signal}: {message}");
        assert!(message.contains(&server.uri), "{signal}: {message}");
        assert!(started.elapsed() < Duration::from_secs(60), "{signal}: {:?}", started.elapsed());
    }
}

/// A client that has stopped reading must not keep a server alive.
#[test]
fn a_second_signal_ends_a_server_at_once_whoever_it_serves() {
    for (first, second, status) in [("INT", "INT", 130), ("INT", "TERM", 143)] {
        let mut server = Server::of(large());
        let (mut client, reader) = half_way(&server);
        server.signal(first);
        std::thread::sleep(Duration::from_millis(500));
        assert!(server.child.try_wait().unwrap().is_none(), "running streams are finished first");
        server.signal(second);
        assert_eq!(server.ended(Duration::from_secs(5)).0.code(), Some(status));
        drop(reader);
        client.wait().unwrap();
    }
}

#[test]
fn streams_that_outlive_the_grace_of_a_stopped_server_are_cut() {
    let mut server = Server::of(large());
    let (mut client, mut reader) = half_way(&server);
    server.signal("TERM");
    let (status, took) = server.ended(fastdata::serve::GRACE + Duration::from_secs(20));
    assert!(status.success() && took > fastdata::serve::GRACE - Duration::from_secs(2), "{status} after {took:?}");
    std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
    assert_eq!(client.wait().unwrap().code(), Some(7));
}

#[test]
fn an_idle_server_stops_at_the_first_signal() {
    let mut server = Server::start();
    succeed(warehouse(), &["scan", "tpch.region", "--server", &server.uri]);
    server.signal("TERM");
    assert!(server.ended(Duration::from_secs(10)).0.success());
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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

/// Answering with one stream would give every rank the whole table.
#[test]
fn a_server_refuses_lanes_and_shuffles_by_name() {
    let server = Server::start();
    for more in [&["--lanes", "4", "--lane", "0"][..], &["--lanes", "1", "--shuffle-seed", "3"]] {
        let (status, message) = fail(warehouse(), &[&["scan", "demo.events", "--server", &server.uri], more].concat());
        assert!(status == 3 && message.contains("lanes and shuffles"), "{status}: {message}");
    }
    let plain = succeed(warehouse(), &["scan", "tpch.nation", "--server", &server.uri]);
    let compressed = succeed(warehouse(), &["scan", "tpch.nation", "--server", &server.uri, "--compression", "zstd"]);
    assert_eq!(sorted(&plain), sorted(&compressed));
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
            // Times differ, and so do the shares of retries and batches.
            let lines = stderr.lines().filter(|line| !["  time  ", "  rate  ", "  rows  "].iter().any(|part| line.contains(part)));
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
        (&["scan", "tpch.region", "--lanes", "2"], 3, "lanes"),
    ] {
        let (code, message) = fail(warehouse(), &[arguments, &["--server", &server.uri]].concat());
        assert_eq!(code, status, "{message}");
        assert!(message.contains(text), "{message}");
    }
}

#[test]
fn an_unreachable_server_is_unavailable() {
    let (status, message) = fail(warehouse(), &["scan", "a.b", "--server", "grpc://127.0.0.1:1"]);
    assert_eq!(status, 7, "{message}");
    assert!(message.contains("127.0.0.1:1"), "{message}");
}

#[test]
fn only_loopback_is_served() {
    let output = run(warehouse(), &["serve", "--warehouse", "w", "--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("loopback"));
}

/// Plain pyarrow, without any stubs of ours.
#[test]
fn pyarrow_pulls_a_demo_table() {
    let Some(python) = python() else { return };
    let server = Server::start();
    let script = r#"
import json, sys
import pyarrow.flight as fl
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
table = client.do_get(info.endpoints[0].ticket).read_all()
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
    let output = Command::new(python).args(["-c", script, &server.uri]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected =
        succeed(warehouse(), &["scan", "tpch.lineitem", "--where", "l_quantity > 49", "--warehouse", "w", "--select", "l_orderkey"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected.lines().count().to_string());
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
