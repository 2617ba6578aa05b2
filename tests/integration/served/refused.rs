//! What a server refuses: each thing by its kind, its gRPC code, whether repeating helps, and the next step.

use super::{Server, block_on, large, request};
use crate::support::python;
use fastdata_client::PullOptions;
use fastdata_types::lanes::{LanePosition, PlanDigest};
use fastdata_types::{ErrorKind, ScanRequest};
use futures::StreamExt;

/// A command, what is said of it, and the kind.
fn commands() -> Vec<(Vec<u8>, &'static str, ErrorKind)> {
    let invalid = ErrorKind::InvalidRequest;
    let names: Vec<String> = (0..100_000).map(|n| format!("\"column_{n}\"")).collect();
    vec![
        (b"SELECT 1".to_vec(), "no scan request", invalid),
        (vec![0xff; 64], "no scan request", invalid),
        (br#"{"table": "tpch.nation", "colums": ["a"]}"#.to_vec(), "colums", invalid),
        (br#"{"table": "tpch.nation", "limit": "many"}"#.to_vec(), "many", invalid),
        (br#"{"table": "tpch.nation", "lanes": 1000000}"#.to_vec(), "1000000 lanes", invalid),
        (br#"{"table": "tpch.nation", "lanes": 2, "limit": 3}"#.to_vec(), "limit", invalid),
        (br#"{"table": "tpch.nation", "filter": "n_nme = 'x'"}"#.to_vec(), "n_nme", ErrorKind::NotFound),
        (br#"{"table": "tpch.nation", "filter": "n_name > 3"}"#.to_vec(), "n_name", invalid),
        (br#"{"table": "tpch.nation", "columns": ["nme"]}"#.to_vec(), "nme", ErrorKind::NotFound),
        (br#"{"table": "tpch.nation", "snapshotId": "17"}"#.to_vec(), "17", ErrorKind::NotFound),
        (br#"{"table": "tpch.nation", "ref": "nowhere"}"#.to_vec(), "nowhere", ErrorKind::NotFound),
        (br#"{"table": "tpch.natoin"}"#.to_vec(), "natoin", ErrorKind::NotFound),
        (br#"{"table": "/etc/passwd"}"#.to_vec(), "by name", invalid),
        (format!(r#"{{"table": "tpch.nation", "filter": "{}"}}"#, "x".repeat(1 << 20)).into_bytes(), "bytes", ErrorKind::LimitExceeded),
        (format!(r#"{{"table": "tpch.nation", "columns": [{}]}}"#, names.join(",")).into_bytes(), "bytes", ErrorKind::LimitExceeded),
        (
            format!(r#"{{"table": "tpch.nation", "lanes": 4096, "filter": "n_name <> '{}'"}}"#, "x".repeat(2_000)).into_bytes(),
            "fewer lanes",
            ErrorKind::LimitExceeded,
        ),
    ]
}

/// The same over the wire for a client that knows nothing of ours, and the server takes it all in its stride.
#[test]
fn commands_that_make_no_sense_are_refused_by_name() {
    let server = Server::start();
    let Some(python) = python() else { return };
    let script = r#"
import json, sys
import pyarrow.flight as fl
client = fl.connect(sys.argv[1])
for line in sys.stdin:
    command = bytes.fromhex(line)
    try:
        client.get_flight_info(fl.FlightDescriptor.for_command(command))
        print(json.dumps(["", "accepted"]))
    except Exception as e:
        print(json.dumps([type(e).__name__, str(e)[:3000]]))
"#;
    let cases = commands();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let input: String = cases.iter().map(|(command, _, _)| hex(command) + "\n").collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("commands"), input).unwrap();
    let output = std::process::Command::new(python)
        .args(["-c", script, &server.uri])
        .stdin(std::fs::File::open(folder.path().join("commands")).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<(String, String)> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), cases.len());
    for ((command, said, kind), (class, message)) in cases.iter().zip(answers) {
        let command = String::from_utf8_lossy(&command[..command.len().min(80)]);
        assert!(message.contains(&format!("{kind}: ")) && message.contains(said), "{command}: {class}: {message}");
    }
    // Our client gets the same as an error of that kind.
    block_on(async {
        let client = server.client().await;
        for (command, said, kind) in commands() {
            let Ok(request) = ScanRequest::from_json(&command) else { continue };
            let error = client.plan(&request).await.err().unwrap();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(said) || error.advice_text().unwrap_or_default().contains(said), "{error:?}");
        }
    });
}

/// Positions and cursors that belong to something else.
#[test]
fn positions_of_elsewhere_are_refused() {
    let server = Server::of(large());
    block_on(async {
        let client = server.client().await;
        let plan = client.plan(&request(r#"{"table": "tpch.orders", "lanes": 2}"#)).await.unwrap();
        let pull = |lane: u32, position: LanePosition| {
            let mut cursor = plan.start();
            cursor.advance(lane, position);
            let options = PullOptions { lanes: Some(vec![lane]), cursor: Some(cursor), ..Default::default() };
            plan.pull(options).unwrap()
        };
        let error = pull(0, LanePosition::after(1 << 40)).next().await.unwrap().unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidRequest && error.message().contains("beyond"), "{error}");
        let mut whole = pull(0, LanePosition::default());
        let position = whole.next().await.unwrap().unwrap().1.position;
        let error = pull(1, position).next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        let mut cursor = plan.start();
        cursor.plan_digest = PlanDigest([9; 16]);
        let error = plan.pull(PullOptions { cursor: Some(cursor), ..Default::default() }).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::PlanMismatch);
        let error = plan.lane(7, LanePosition::default(), Default::default()).err().unwrap();
        assert!(error.message().contains("lane 7 of a plan of 2 lanes"), "{error}");
    });
}

/// What is quoted in an error may be long and in any script: the error keeps its kind, and nobody waits for it.
#[test]
fn long_errors_keep_their_kind() {
    let server = Server::start();
    block_on(async {
        let client = server.client().await;
        for name in ["漢".repeat(5_000), "ü".repeat(20_000), "x".repeat(100_000)] {
            let error = client.plan(&ScanRequest { r#ref: Some(name), ..ScanRequest::table("tpch.nation") }).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
    });
}

/// A table that is dropped, made anew, or whose snapshot expires between plan and get.
#[test]
fn a_table_that_changes_under_its_tickets_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    crate::support::succeed(folder.path(), &["demo", "w", "--scale", "0.002"]);
    let server = Server::of(folder.path());
    let script = r#"
import os, sys, time
import pyarrow.flight as fl
from pyiceberg.catalog.sql import SqlCatalog
root = os.path.abspath("w")
catalog = SqlCatalog("local", uri=f"sqlite:///{root}/catalog.db", warehouse=f"file://{root}")
client = fl.connect(sys.argv[1])
def ticket(*path):
    return client.get_flight_info(fl.FlightDescriptor.for_path(*path)).endpoints[0].ticket
def refused(ticket, *said):
    # The server may take a table's state for a second.
    time.sleep(1.1)
    try:
        client.do_get(ticket).read_all()
        sys.exit(f"accepted: {said}")
    except Exception as e:
        assert all(word in str(e) for word in said), e
table = catalog.load_table("tpch.customer")
before = ticket("tpch", "customer")
old = table.current_snapshot().snapshot_id
table.append(table.scan(limit=1).to_arrow())
assert client.do_get(before).read_all().num_rows == 300
table.maintenance.expire_snapshots().by_id(old).commit()
refused(before, "not-found", "the scan was planned with a snapshot that is gone")
before = ticket("tpch", "nation")
schema, rows = catalog.load_table("tpch.nation").schema(), catalog.load_table("tpch.nation").scan().to_arrow()
catalog.drop_table("tpch.nation")
refused(before, "not-found", "nation")
catalog.create_table("tpch.nation", schema).append(rows)
refused(before, "not-found", "made again")
assert client.do_get(ticket("tpch", "nation")).read_all().num_rows == 25
"#;
    let Some(python) = python() else { return };
    let output = std::process::Command::new(python).current_dir(folder.path()).args(["-c", script, &server.uri]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Whatever is no ticket gets one constant answer, and the connection goes on.
#[test]
fn whatever_is_no_ticket_gets_the_same_answer() {
    let server = Server::start();
    let script = r#"
import os, sys
import pyarrow.flight as fl
client = fl.connect(sys.argv[1])
good = client.get_flight_info(fl.FlightDescriptor.for_path("tpch", "nation")).endpoints[0].ticket.ticket
answers = set()
for bad in [b"", b"x", os.urandom(200), good[:-1], good + b"\x00", good[:50] + bytes([good[50] ^ 1]) + good[51:], b"{}" * 10_000]:
    try:
        client.do_get(fl.Ticket(bad)).read_all()
        sys.exit("accepted")
    except fl.FlightUnauthenticatedError as e:
        answers.add(str(e).split(". ")[0])
assert len(answers) == 1, answers
assert client.do_get(fl.Ticket(good)).read_all().num_rows == 25
try:
    client.do_get(fl.Ticket(b"x" * (2 << 20))).read_all()
    sys.exit("accepted")
except Exception as e:
    assert "1 MiB" in str(e), e
"#;
    super::scans::pyarrow(&server, script);
}

/// Streams are cancelled by plan, endpoints renewed, lanes cut in two.
#[test]
fn tickets_are_renewed_cut_in_two_and_cancelled() {
    let server = Server::with(large(), &["--warehouse", "w", "--admin", "127.0.0.1:0"]);
    let script = r#"
import json, sys, threading, time
import pyarrow as pa, pyarrow.flight as fl
client = fl.connect(sys.argv[1])
def info(**request):
    return client.get_flight_info(fl.FlightDescriptor.for_command(json.dumps(request).encode()))
orders = info(table="tpch.orders", columns=["o_orderkey"], lanes=2, batchRows=1000)
keys = lambda endpoints: sorted(k for e in endpoints for k in client.do_get(e.ticket).read_all().column(0).to_pylist())
whole = keys(orders.endpoints)
assert len(set(whole)) == 45000
# A lane in two, and the first half in two again.
def split(ticket):
    return [fl.FlightEndpoint.deserialize(r.body.to_pybytes()) for r in client.do_action(fl.Action("fastdata.v1.Split", ticket.ticket))]
halves = split(orders.endpoints[0].ticket)
assert len(halves) == 2
rows = [len(keys([h])) for h in halves]
assert min(rows) * 3 > max(rows), rows
assert keys(halves + [orders.endpoints[1]]) == whole
quarters = split(halves[0].ticket) + split(halves[1].ticket)
assert keys(quarters + [orders.endpoints[1]]) == whole
# A lane that was read in part is cut in what is left, and goes on from there.
reader = client.do_get(orders.endpoints[0].ticket)
first, position = [], None
while len(first) < 3000:
    chunk = reader.read_chunk()
    first += chunk.data.column(0).to_pylist()
    position = chunk.app_metadata.to_pybytes() if chunk.data.num_rows else position
# StreamMetadata{position} and Ticket{start} differ in the number of their field.
def start(metadata):
    return b"\x12" + metadata[1:]
ticket = fl.Ticket(orders.endpoints[0].ticket.ticket + start(position))
rest = split(ticket)
assert len(rest) == 2
assert sorted(first + keys(rest) + keys([orders.endpoints[1]])) == whole
part = client.do_get(rest[0].ticket).read_chunk()
behind = fl.Ticket(rest[0].ticket.ticket + start(part.app_metadata.to_pybytes()))
seen = part.data.column(0).to_pylist() + client.do_get(behind).read_all().column(0).to_pylist()
assert sorted(seen) == keys([rest[0]])
# One block cannot be cut.
assert len(split(info(table="tpch.nation").endpoints[0].ticket)) == 1
try:
    split(fl.Ticket(b"x"))
    sys.exit("accepted")
except fl.FlightUnauthenticatedError:
    pass
# Cancelling ends what runs, and says when nothing does.
lineitem = info(table="tpch.lineitem")
def cancel(info):
    body = info.serialize()
    head = b"\x0a" + bytes(varint(len(body)))
    return b"".join(r.body.to_pybytes() for r in client.do_action(fl.Action("CancelFlightInfo", head + body)))
def varint(n):
    out = []
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return out + [n]
assert cancel(lineitem) == b"\x08\x03", cancel(lineitem)
reader = client.do_get(lineitem.endpoints[0].ticket)
reader.read_chunk()
assert cancel(lineitem) == b"\x08\x01"
try:
    while True:
        reader.read_chunk()
    sys.exit("a cancelled stream went on")
except BaseException as e:
    # read_all would raise a keyboard interrupt: pyarrow takes a cancelled call for one.
    assert isinstance(e, fl.FlightCancelledError) and "the plan's streams were cancelled" in str(e), repr(e)
# Renewed for another lifetime.
body = lineitem.endpoints[0].serialize()
answer = list(client.do_action(fl.Action("RenewFlightEndpoint", b"\x0a" + bytes(varint(len(body))) + body)))
endpoint = fl.FlightEndpoint.deserialize(answer[0].body.to_pybytes())
assert endpoint.expiration_time.as_py() >= lineitem.endpoints[0].expiration_time.as_py()
assert client.do_get(endpoint.ticket).read_chunk().data.num_rows > 0
"#;
    super::scans::pyarrow(&server, script);
}
