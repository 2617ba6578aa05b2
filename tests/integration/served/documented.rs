//! The table of bad input in docs/errors.md: each row is put to a real server, and says what came back.

use super::private::{Issuer, Place, claims, client, unsigned};
use super::wire::{Call, Refused, Wire, command, path};
use super::{Server, block_on, request};
use crate::support::{python, root, succeed};
use arrow_flight::{FlightData, FlightInfo};
use fastdata_client::{Client, ConnectOptions, Plan, PullOptions};
use fastdata_testkit::authority::Authority;
use fastdata_types::lanes::{Cursor, PlanDigest};
use fastdata_types::proto::{self, StreamEvent, StreamMetadata};
use fastdata_types::{Error, ErrorKind};
use prost::Message;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// What the caller is told.
#[derive(Debug)]
struct Told {
    kind: String,
    /// None where no answer of the server's says so.
    code: String,
    retryable: bool,
    advice: String,
}

impl From<Box<Refused>> for Told {
    fn from(refused: Box<Refused>) -> Told {
        let detail = refused.detail.expect("an error without details");
        let text = format!("{}: {}; {}", detail.kind, detail.message, detail.advice);
        assert_eq!(refused.message, text, "clients without our messages read the same");
        let code = refused.code;
        Told { kind: detail.kind, code: format!("{code:?}"), retryable: detail.retryable, advice: detail.advice }
    }
}

impl From<Error> for Told {
    fn from(error: Error) -> Told {
        let advice = error.advice_text().unwrap_or_default().to_owned();
        Told { kind: error.kind().to_string(), code: "none".to_owned(), retryable: error.retryable(), advice }
    }
}

type Tolds = Vec<(&'static str, Told)>;

async fn refused(wire: &Wire, call: Call) -> Told {
    wire.ask(call).await.expect_err("accepted").into()
}

async fn planned(wire: &Wire, json: &str) -> Vec<u8> {
    let info = wire.messages::<FlightInfo>(Call::Info(command(json))).await.remove(0);
    info.endpoint[0].ticket.clone().unwrap().ticket.to_vec()
}

fn starting(ticket: &[u8], start: proto::LanePosition) -> Call {
    Call::Get([ticket, &proto::Ticket { sealed: vec![], start: Some(start) }.encode_to_vec()].concat())
}

async fn commands(wire: &Wire) -> Tolds {
    let names: Vec<String> = (0..100_000).map(|n| format!("column_{n}")).collect();
    let of = |changes: serde_json::Value| {
        let mut request = json!({"table": "tpch.nation"});
        request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        command(&request.to_string())
    };
    let inputs = [
        ("bytes that are no request", arrow_flight::FlightDescriptor::new_cmd(vec![0xff; 64])),
        ("JSON with an unknown field", of(json!({"colums": ["n_name"]}))),
        ("JSON with a field of the wrong type", of(json!({"limit": "many"}))),
        ("1 000 000 lanes", of(json!({"lanes": 1_000_000}))),
        ("a filter of 1 MiB", of(json!({"filter": format!("n_name = '{}'", "x".repeat(1 << 20))}))),
        ("100 000 columns", of(json!({ "columns": names }))),
        ("a column that is not there", of(json!({"columns": ["n_nme"]}))),
        ("a snapshot that is not there, or has expired", of(json!({"snapshotId": "17"}))),
    ];
    let mut told = vec![];
    for (input, descriptor) in inputs {
        told.push((input, refused(wire, Call::Info(descriptor)).await));
    }
    told
}

async fn positions(wire: &Wire) -> Tolds {
    let ticket = planned(wire, r#"{"table": "tpch.orders", "lanes": 2}"#).await;
    let other = planned(wire, r#"{"table": "tpch.orders", "lanes": 3}"#).await;
    let messages = wire.messages::<FlightData>(Call::Get(other)).await;
    let event = messages.iter().find_map(|message| StreamMetadata::decode(message.app_metadata.clone()).unwrap().of);
    let Some(StreamEvent::Position(position)) = event else { panic!("no position") };
    let beyond = proto::LanePosition { rows: 1 << 40, hint: None };
    vec![
        ("a position beyond the lane's end", refused(wire, starting(&ticket, beyond)).await),
        ("a position of another plan", refused(wire, starting(&ticket, position)).await),
        ("bytes that are no ticket, or another's ticket", refused(wire, Call::Get(b"forged".to_vec())).await),
    ]
}

/// Cursors are compared before anything is asked.
async fn cursors(uri: &str) -> Tolds {
    let plan = client(uri, None).await.unwrap().plan(&request(r#"{"table": "tpch.orders", "lanes": 2}"#)).await.unwrap();
    let pull = |plan: &Plan, cursor: Cursor| plan.pull(PullOptions { cursor: Some(cursor), ..Default::default() }).err().expect("accepted");
    let of_plan = Cursor { plan_digest: PlanDigest([9; 16]), ..plan.start() };
    let of_snapshot = Cursor { snapshot_id: Some(17), ..plan.start() };
    vec![("a cursor of another plan", pull(&plan, of_plan).into()), ("a cursor of another snapshot", pull(&plan, of_snapshot).into())]
}

const CHANGES: &str = r#"
import os
from pyiceberg.catalog.sql import SqlCatalog
root = os.path.abspath("w")
catalog = SqlCatalog("local", uri=f"sqlite:///{root}/catalog.db", warehouse=f"file://{root}")
table = catalog.load_table("tpch.region")
old = table.current_snapshot().snapshot_id
table.append(table.scan(limit=1).to_arrow())
table.maintenance.expire_snapshots().by_id(old).commit()
schema = catalog.load_table("tpch.nation").schema()
catalog.drop_table("tpch.nation")
catalog.create_table("tpch.nation", schema)
catalog.drop_table("tpch.supplier")
"#;

/// What changes under tickets. The server may take a table's state for a second.
async fn changed_tables(wire: &Wire, python: &Path, folder: &Path) -> Tolds {
    let inputs = [
        ("a ticket whose snapshot has expired since", "tpch.region"),
        ("a ticket whose table was dropped since", "tpch.supplier"),
        ("a ticket whose table was dropped and made again since", "tpch.nation"),
    ];
    let mut tickets = vec![];
    for (input, table) in inputs {
        tickets.push((input, planned(wire, &json!({ "table": table }).to_string()).await));
    }
    let output = std::process::Command::new(python).current_dir(folder).args(["-c", CHANGES]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut told = vec![];
    for (input, ticket) in tickets {
        let since = Instant::now();
        let refused = loop {
            match wire.ask(Call::Get(ticket.clone())).await {
                Err(refused) => break refused,
                Ok(_) => assert!(since.elapsed() < Duration::from_secs(5), "{input}: accepted still"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        told.push((input, refused.into()));
    }
    told
}

/// Callers who are not known, and a ticket past its time.
async fn callers(place: &Place) -> Tolds {
    let issuer = Issuer::of(place);
    let server = place.serve(&format!("{}[server.tickets]\nlifetime = \"1ms\"\n", super::private::JWT));
    let ask = async |token: Option<&str>| refused(&Wire::to(&server.uri, token).await, Call::Info(path(&["hr", "people"]))).await;
    let wire = Wire::to(&server.uri, Some(&issuer.sign(&claims(json!({}))))).await;
    let expired = Call::Get(planned(&wire, r#"{"table": "hr.people"}"#).await);
    // Longer than the ticket's life is one more call.
    while wire.ask(expired.clone()).await.is_ok() {}
    vec![
        ("an expired ticket", refused(&wire, expired).await),
        ("no token, or an unknown one", ask(None).await),
        ("a signed token with `alg: none`", ask(Some(&unsigned(&claims(json!({}))))).await),
        ("a signed token that has expired", ask(Some(&issuer.sign(&claims(json!({"exp": 1_000_000_000}))))).await),
    ]
}

/// The handshake ends before anything can be asked.
async fn certificates(place: &Place) -> Tolds {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("others").client("alice"));
    let server = authority.server();
    for (name, text) in [
        ("server.pem", &server.certificate),
        ("server.key", &server.key),
        ("ca.pem", &authority.certificate),
        ("stranger.pem", &stranger.certificate),
        ("stranger.key", &stranger.key),
    ] {
        place.write(name, text);
    }
    let server = place.serve("[server.tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\nclient-ca = \"ca.pem\"\n");
    let ask = async |certificate| {
        let options = ConnectOptions { ca: Some(place.path("ca.pem")), certificate, ..Default::default() };
        let refused = async { Client::connect(&server.uri, options).await?.plan(&request(r#"{"table": "hr.people"}"#)).await };
        Told::from(refused.await.err().expect("accepted"))
    };
    let strangers = (place.path("stranger.pem"), place.path("stranger.key"));
    vec![
        ("a client certificate of another authority", ask(Some(strangers)).await),
        ("no client certificate, where one is required", ask(None).await),
    ]
}

#[test]
fn the_table_of_bad_input_says_what_a_server_says() {
    let Some(python) = python() else { return };
    let (folder, place) = (tempfile::tempdir().unwrap(), Place::new());
    succeed(folder.path(), &["demo", "w", "--scale", "0.002"]);
    let server = Server::of(folder.path());
    let mut told = block_on(async {
        let wire = Wire::to(&server.uri, None).await;
        let mut told = commands(&wire).await;
        told.extend(positions(&wire).await);
        told.extend(cursors(&server.uri).await);
        told.extend(changed_tables(&wire, &python, folder.path()).await);
        told.extend(callers(&place).await);
        told.extend(certificates(&place).await);
        told
    });
    let text = std::fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let table = text.lines().skip_while(|line| !line.starts_with("| input |")).skip(2).take_while(|line| line.starts_with('|'));
    for row in table {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [input, kind, code, retry, advice] = cells[..] else { panic!("five cells: {row}") };
        let at = told.iter().position(|(known, _)| *known == input).unwrap_or_else(|| panic!("nothing puts this to a server: {row}"));
        let (_, told) = told.remove(at);
        assert_eq!((kind, code), (&*format!("`{}`", told.kind), &*told.code), "{row}");
        assert_eq!(retry, if told.retryable { "yes" } else { "no" }, "{row}");
        assert!(!advice.is_empty() && told.advice.starts_with(advice.trim_end_matches(" ...")), "{row}\nbut: {}", told.advice);
        let known = ErrorKind::from_name(&told.kind).unwrap();
        assert!(code == "none" || code == format!("{:?}", fastdata::serve::code_of(known)), "{row}");
    }
    let rows = told.iter().map(|(input, told)| {
        let retry = if told.retryable { "yes" } else { "no" };
        format!("| {input} | `{}` | {} | {retry} | {} |\n", told.kind, told.code, told.advice)
    });
    assert!(told.is_empty(), "docs/errors.md lacks\n{}", rows.collect::<String>());
}
