//! Streams that break: what is cut is never taken for whole, and our client goes on where it broke.

use super::{Server, block_on, free_port, large, request, rows_of};
use crate::support::{fail, fastdata, succeed};
use fastdata_client::{Client, ConnectOptions, Plan, PullOptions};
use fastdata_types::ErrorKind;
use futures::StreamExt;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// SIGKILL and a new server with a new key on the same port: the scan goes on, and no row is lost or repeated.
#[test]
fn a_server_that_is_killed_and_comes_back_costs_a_client_nothing_but_time() {
    let listen = format!("127.0.0.1:{}", free_port());
    let arguments = ["--warehouse", "w", "--listen", &listen];
    let mut server = Server::with(large(), &arguments);
    for json in [
        r#"{"table": "tpch.lineitem", "batchRows": 500}"#,
        r#"{"table": "tpch.lineitem", "batchRows": 500, "lanes": 3, "shuffle": {"seed": "8", "windowRows": 4000}}"#,
    ] {
        block_on(async {
            let client = server.client().await;
            let plan = client.plan(&request(json)).await.unwrap();
            let mut expected = Vec::new();
            let mut whole = plan.pull(PullOptions::default()).unwrap();
            while let Some(next) = whole.next().await {
                expected.extend(super::text_of(&next.unwrap().1.batch));
            }
            assert_eq!(expected.len(), 180_566);
            // A small prefetch: most of the scan is still on the server when it dies.
            let mut pull = plan.pull(PullOptions { prefetch_bytes: 256 << 10, parallel: 2, ..Default::default() }).unwrap();
            let stats = std::sync::Arc::clone(&pull.stats);
            let mut rows = Vec::new();
            while let Some(next) = pull.next().await {
                let before = rows.len();
                rows.extend(super::text_of(&next.unwrap().1.batch));
                if before / 40_000 != rows.len() / 40_000 {
                    server.signal("KILL");
                    server.ended(Duration::from_secs(10));
                    server = Server::with(large(), &arguments);
                }
            }
            assert!(stats.retries.load(Ordering::Relaxed) > 0, "nothing was interrupted");
            rows.sort_unstable();
            expected.sort_unstable();
            assert!(rows == expected, "{json}: {} rows of {}", rows.len(), expected.len());
        });
    }
}

/// Asking again for a plan, and planning again for a ticket of another key: both are retries of the scan, each counted once.
#[test]
fn retries_of_planning_are_counted() {
    let listen = format!("127.0.0.1:{}", free_port());
    let arguments = ["--warehouse", "w", "--listen", &listen];
    let mut server = Server::with(large(), &arguments);
    let pulled = async |plan: &Plan| {
        let mut pull = plan.pull(PullOptions::default()).unwrap();
        let stats = std::sync::Arc::clone(&pull.stats);
        while let Some(next) = pull.next().await {
            next.unwrap();
        }
        stats.snapshot()
    };
    block_on(async {
        let wanted = request(r#"{"table": "tpch.customer", "lanes": 1}"#);
        let client = server.client().await;
        let calm = pulled(&client.plan(&wanted).await.unwrap()).await;
        server.signal("KILL");
        server.ended(Duration::from_secs(10));
        let start = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            tokio::task::block_in_place(|| Server::with(large(), &arguments))
        };
        let (plan, started) = tokio::join!(client.plan(&wanted), start);
        server = started;
        let plan = plan.unwrap();
        let late = pulled(&plan).await;
        assert!(calm.retries == 0 && late.retries > 0 && late.requests >= calm.requests, "{calm:?} {late:?}");

        server.signal("KILL");
        server.ended(Duration::from_secs(10));
        server = Server::with(large(), &arguments);
        // A connection, so that all that fails is the ticket.
        client.tables(None).await.unwrap();
        let replanned = pulled(&plan).await;
        assert!(replanned.retries == 1 && replanned.requests >= calm.requests, "{calm:?} {replanned:?}");
        let known = pulled(&plan).await;
        assert!(known.retries == 0 && known.requests < calm.requests, "what was counted is not counted again: {known:?}");
    });
}

/// A server that is gone, or one that neither answers nor ends, is no wish of the user and no fault of ours.
#[test]
fn a_server_that_stays_away_is_unavailable_after_the_retry_time() {
    for signal in ["KILL", "STOP"] {
        let server = Server::of(large());
        block_on(async {
            let client = server.client().await.with_retry_for(Duration::from_secs(2));
            let plan = client.plan(&request(r#"{"table": "tpch.lineitem", "batchRows": 1000}"#)).await.unwrap();
            let mut pull = plan.pull(PullOptions { prefetch_bytes: 1 << 20, ..Default::default() }).unwrap();
            pull.next().await.unwrap().unwrap();
            server.signal(signal);
            let mut last = Ok(());
            while let Some(next) = pull.next().await {
                last = next.map(drop);
            }
            let error = last.expect_err("a cut stream was taken for a whole one");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{signal}: {error}");
            assert!(error.message().contains(&server.uri), "{signal}: {error}");
        });
    }
}

/// Commits during a scan do not show in it, nor after its server came back; a new plan sees them at once.
#[test]
fn a_scan_keeps_its_snapshot_through_commits_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &["demo", "w", "--scale", "0.002"]);
    let listen = format!("127.0.0.1:{}", free_port());
    let arguments = ["--warehouse", "w", "--listen", &listen];
    let mut server = Server::with(folder.path(), &arguments);
    let Some(python) = crate::support::python() else { return };
    block_on(async {
        let client = server.client().await;
        let json = r#"{"table": "tpch.customer", "lanes": 2, "batchRows": 20}"#;
        let plan = client.plan(&request(json)).await.unwrap();
        let (first, cursor) = rows_of(&plan, &[0, 1], &plan.start(), 2).await;
        let taken: usize = first.iter().map(Vec::len).sum();
        let append = r#"
import os, sys
from pyiceberg.catalog.sql import SqlCatalog
root = os.path.abspath("w")
table = SqlCatalog("local", uri=f"sqlite:///{root}/catalog.db", warehouse=f"file://{root}").load_table("tpch.customer")
table.append(table.scan(limit=7).to_arrow())
"#;
        let output = std::process::Command::new(python).current_dir(folder.path()).args(["-c", append]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let rows: usize = rows_of(&plan, &[0, 1], &cursor, usize::MAX).await.0.iter().map(Vec::len).sum();
        assert_eq!(rows + taken, 300, "the commit shows in a scan that began before it");
        server.signal("KILL");
        server.ended(Duration::from_secs(10));
        server = Server::with(folder.path(), &arguments);
        // The tickets are of a key that is gone, and the newest snapshot is another one now.
        let rows: usize = rows_of(&plan, &[0, 1], &cursor, usize::MAX).await.0.iter().map(Vec::len).sum();
        assert_eq!(rows + taken, 300);
        let fresh = client.plan(&request(json)).await.unwrap();
        assert_eq!(fresh.rows_estimated, Some(307));
        let error = fresh.check(&cursor).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PlanMismatch);
    });
}

/// Resuming late decodes no more than a window and a block beyond what is left.
#[test]
fn resuming_deep_in_an_epoch_reads_one_window_again_at_most() {
    let server = Server::of(large());
    block_on(async {
        let client = server.client().await;
        // Without a shuffle a block is a whole file here: the largest has 7 011 rows.
        for (shuffle, again) in [("", 7_011), (r#", "shuffle": {"seed": "4", "windowRows": 2000, "blockRows": 1000}"#, 2_000 + 1_000)] {
            let json =
                format!(r#"{{"table": "tpch.orders", "lanes": 1, "batchRows": 500, "columns": ["o_orderkey", "o_comment"]{shuffle}}}"#);
            let plan = client.plan(&request(&json)).await.unwrap();
            let total = 45_000u64;
            let mut pull = plan.pull(PullOptions { lanes: Some(vec![0]), ..Default::default() }).unwrap();
            let (mut cursor, mut rows) = (plan.start(), 0);
            while rows < total * 9 / 10 {
                let (lane, next) = pull.next().await.unwrap().unwrap();
                rows += next.batch.num_rows() as u64;
                cursor.advance(lane, next.position);
            }
            drop(pull);
            let mut rest = plan.pull(PullOptions { cursor: Some(cursor), ..Default::default() }).unwrap();
            while let Some(next) = rest.next().await {
                rows += next.unwrap().1.batch.num_rows() as u64;
            }
            assert_eq!(rows, total);
            let stats = rest.stats.snapshot();
            assert!(stats.rows_decoded <= stats.rows + again, "{shuffle}: {} rows decoded for {}", stats.rows_decoded, stats.rows);
        }
    });
}

/// An authentic ticket that has expired: our client plans again and goes on; a plain one is told so.
#[test]
fn expired_tickets_are_renewed_on_the_way() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fastdata.toml"), "[server.tickets]\nlifetime = \"1s\"\n").unwrap();
    let warehouse = large().join("w");
    let server = Server::with(folder.path(), &["--warehouse", warehouse.to_str().unwrap()]);
    block_on(async {
        let client = server.client().await;
        let plan = client.plan(&request(r#"{"table": "tpch.orders", "lanes": 4, "batchRows": 1000}"#)).await.unwrap();
        let (first, cursor) = rows_of(&plan, &[0, 1, 2, 3], &plan.start(), 2).await;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let (rest, _) = rows_of(&plan, &[0, 1, 2, 3], &cursor, usize::MAX).await;
        let seen: BTreeSet<&String> = first.iter().chain(&rest).flatten().collect();
        assert_eq!(seen.len(), 45_000);
    });
    let script = r#"
import sys, time
import pyarrow.flight as fl
client = fl.connect(sys.argv[1])
info = client.get_flight_info(fl.FlightDescriptor.for_path("tpch", "nation"))
time.sleep(1.2)
try:
    client.do_get(info.endpoints[0].ticket).read_all()
    sys.exit("an expired ticket was accepted")
except fl.FlightUnauthenticatedError as e:
    assert "ticket-expired" in str(e), e
renewed = info.endpoints[0]
fresh = client.get_flight_info(fl.FlightDescriptor.for_path("tpch", "nation"))
assert client.do_get(fresh.endpoints[0].ticket).read_all().num_rows == 25
"#;
    super::scans::pyarrow(&server, script);
}

/// Running streams outlive the ticket: expiry never cuts one.
#[test]
fn expiry_does_not_cut_a_running_stream() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fastdata.toml"), "[server.tickets]\nlifetime = \"1s\"\n").unwrap();
    let warehouse = large().join("w");
    let server = Server::with(folder.path(), &["--warehouse", warehouse.to_str().unwrap(), "--admin", "127.0.0.1:0"]);
    block_on(async {
        let plan = server.client().await.plan(&request(r#"{"table": "tpch.lineitem", "batchRows": 1000}"#)).await.unwrap();
        let mut pull = plan.pull(PullOptions { prefetch_bytes: 1 << 20, ..Default::default() }).unwrap();
        let mut rows = pull.next().await.unwrap().unwrap().1.batch.num_rows();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        while let Some(next) = pull.next().await {
            rows += next.unwrap().1.batch.num_rows();
        }
        assert!(rows > 150_000);
        assert_eq!(pull.stats.retries.load(Ordering::Relaxed), 0);
    });
    assert_eq!(server.metric("fastdata_streams_started_total"), 1.0);
}

/// Two servers with one key serve each other's tickets; keys rotate with overlap; a key of another server is worth nothing.
#[test]
fn servers_that_share_a_key_serve_each_others_tickets() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = large().join("w");
    let keys = |name: &str, keys: &[&str]| {
        let text: String = keys.iter().enumerate().map(|(n, key)| format!("k{n} {key}\n")).collect();
        std::fs::write(folder.path().join(name), text).unwrap();
    };
    let (old, new) = ("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=");
    let server = |name: &str| {
        let config = folder.path().join(format!("{name}.toml"));
        std::fs::write(&config, format!("[server.tickets]\nkeys = \"{}\"\n", folder.path().join(name).display())).unwrap();
        Server::with(
            folder.path(),
            &["--warehouse", warehouse.to_str().unwrap(), "--config", config.to_str().unwrap(), "--admin", "127.0.0.1:0"],
        )
    };
    keys("a", &[old]);
    keys("b", &[old]);
    let (a, b) = (server("a"), server("b"));
    let script = r#"
import sys
import pyarrow.flight as fl
here, there = fl.connect(sys.argv[1]), fl.connect(sys.argv[2])
ticket = here.get_flight_info(fl.FlightDescriptor.for_path("tpch", "nation")).endpoints[0].ticket
try:
    print(there.do_get(ticket).read_all().num_rows)
except fl.FlightUnauthenticatedError as e:
    print("refused" if "the ticket is not valid here" in str(e) else e)
"#;
    let pulled = |from: &Server, at: &Server| super::scans::pyarrow_with(from, script, &[&at.uri]);
    let Some(rows) = pulled(&a, &b) else { return };
    assert_eq!(rows.trim(), "25");
    let reload = |server: &Server, times: f64| {
        server.signal("HUP");
        server.await_metric("fastdata_reloads_total{outcome=\"ok\"}", Duration::from_secs(10), |count| count >= times);
    };
    // a seals with the new key while b knows it already; then b forgets the old one.
    keys("b", &[old, new]);
    reload(&b, 2.0);
    keys("a", &[new, old]);
    reload(&a, 2.0);
    assert_eq!(pulled(&a, &b).unwrap().trim(), "25");
    assert_eq!(pulled(&b, &a).unwrap().trim(), "25");
    keys("a", &[new]);
    reload(&a, 4.0);
    assert_eq!(pulled(&b, &a).unwrap().trim(), "refused");
    // A broken file changes nothing.
    std::fs::write(folder.path().join("a"), "nonsense").unwrap();
    a.signal("HUP");
    a.await_metric("fastdata_reloads_total{outcome=\"failed\"}", Duration::from_secs(10), |count| count >= 1.0);
    assert_eq!(pulled(&a, &b).unwrap().trim(), "25");
}

/// Replicas see a commit at different times: a ticket is good wherever it goes, and a plan is of the names that stand now.
#[test]
fn a_replica_that_saw_an_older_table_serves_a_newer_ticket() {
    let Some(python) = crate::support::python() else { return };
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &["demo", "w", "--scale", "0.002"]);
    std::fs::write(folder.path().join("keys"), "k MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n").unwrap();
    std::fs::write(folder.path().join("fastdata.toml"), "[server.tickets]\nkeys = \"keys\"\n").unwrap();
    std::fs::write(folder.path().join("stale.toml"), "[server]\nstaleness = \"1h\"\n[server.tickets]\nkeys = \"keys\"\n").unwrap();
    let (a, b) = (Server::of(folder.path()), Server::of(folder.path()));
    let stale = Server::with(folder.path(), &["--warehouse", "w", "--config", "stale.toml"]);
    let script = r#"
import os, sys
import pyarrow.flight as fl
from pyiceberg.catalog.sql import SqlCatalog
root = os.path.abspath("w")
catalog = SqlCatalog("local", uri=f"sqlite:///{root}/catalog.db", warehouse=f"file://{root}")
a, b, stale = (fl.connect(uri) for uri in sys.argv[1:])
info = lambda client: client.get_flight_info(fl.FlightDescriptor.for_path("tpch", "customer"))
rows = lambda client, info: sum(client.do_get(e.ticket).read_all().num_rows for e in info.endpoints)
old = info(a)
assert info(stale).total_records == 300
table = catalog.load_table("tpch.customer")
table.append(table.scan(limit=7).to_arrow())
new = info(b)
assert rows(a, new) == 307, "the ticket of a newer snapshot"
assert rows(a, old) == 300 and rows(b, old) == 300
assert info(a).total_records == 307, "a new plan sees a commit at once"
assert info(stale).total_records == 300, "within the staleness it need not"
assert rows(stale, new) == 307
digests = lambda: [bytes(info(client).app_metadata)[2:34] for client in (a, b)]
before = digests()
with table.transaction() as change:
    change.set_properties({"schema.name-mapping.default": "[]"})
after = digests()
assert before[0] == before[1] and after[0] == after[1] and before[0] != after[0], (before, after)
"#;
    let output =
        std::process::Command::new(python).current_dir(folder.path()).args(["-c", script, &a.uri, &b.uri, &stale.uri]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What answers is no fastdata server: its streams have no end record.
#[test]
fn a_stream_without_an_end_record_is_not_whole() {
    let Some(python) = crate::support::python() else { return };
    let script = r#"
import pyarrow as pa, pyarrow.flight as fl
class Other(fl.FlightServerBase):
    def get_flight_info(self, context, descriptor):
        return fl.FlightInfo(pa.schema([("a", pa.int64())]), descriptor, [fl.FlightEndpoint(b"t", [])], 3, 3)
server = Other("grpc://127.0.0.1:0")
print(server.port, flush=True)
server.serve()
"#;
    let mut child = std::process::Command::new(python).args(["-c", script]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut port).unwrap();
    let (status, message) = fail(large(), &["scan", "a.b", "--server", &format!("grpc://127.0.0.1:{}", port.trim())]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(status == 4 && message.contains("no fastdata server"), "{status}: {message}");
}

/// The command waits for a server that restarts, and its output is what it would have been.
#[test]
fn the_command_goes_on_after_a_restart() {
    use std::io::{BufRead, BufReader};
    let listen = format!("127.0.0.1:{}", free_port());
    let arguments = ["--warehouse", "w", "--listen", &listen];
    let mut server = Server::with(large(), &arguments);
    let uri = server.uri.clone();
    let scan = ["scan", "tpch.lineitem", "--order", "stable", "--batch-rows", "1000"];
    let mut client = fastdata(large()).args(scan).args(["--server", &uri]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(client.stdout.take().unwrap());
    let mut text = String::new();
    for _ in 0..5_000 {
        reader.read_line(&mut text).unwrap();
    }
    server.signal("KILL");
    server.ended(Duration::from_secs(10));
    server = Server::with(large(), &arguments);
    std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
    assert!(client.wait().unwrap().success());
    assert!(text == succeed(large(), &[&scan[..], &["--warehouse", "w"]].concat()), "the rows differ");
    drop(server);
}

#[test]
fn an_unreachable_server_is_unavailable() {
    block_on(async {
        let error = Client::connect("grpc://127.0.0.1:1", ConnectOptions::default()).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("127.0.0.1:1"), "{error}");
    });
}
