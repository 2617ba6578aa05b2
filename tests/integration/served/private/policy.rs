//! What a policy hides does not exist, in every call: held against a server of a warehouse in which it really does not.

use super::{PEOPLE, Place, client, tables};
use crate::served::wire::{Call, Refused, Wire, command, path};
use crate::served::{Server, block_on, request};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow_flight::{FlightData, FlightInfo};
use fastdata_client::PullOptions;
use fastdata_types::lanes::LanePosition;
use fastdata_types::proto::{PlanMetadata, ScanStats, StreamEvent, StreamMetadata};
use fastdata_types::{Error, ErrorKind, Field, PrimitiveType as P, Schema, TableName, Value};
use fastdata_write::{FileOptions, TableOptions, Warehouse, values};
use futures::StreamExt;
use prost::Message;
use serde_json::{Value as Json, json};
use tonic::Code;

/// rootie sees everything, wendy some columns, rowan some rows, basil some of both, stranger nothing.
const POLICY: &str = r#"
[server.auth]
tokens = "tokens"
[[policy]]
principals = ["rootie"]
[[policy]]
principals = ["wendy"]
tables = ["hr.people"]
columns = ["id", "region", "address.city"]
[[policy]]
principals = ["rowan"]
tables = ["hr.people"]
filter = "salary < 100 AND region = 'EU'"
[[policy]]
principals = ["basil"]
tables = ["hr.people"]
columns = ["id", "region", "address.city"]
filter = "salary < 100 AND region = 'EU'"
[[policy]]
principals = ["wendy", "rowan", "basil"]
tables = ["hr.open"]
"#;
const CALLERS: [&str; 5] = ["rootie", "wendy", "rowan", "basil", "stranger"];
/// What none but rootie may read, or read of, anywhere.
const HIDDEN: [&str; 6] = ["ssn", "salary", "street", "payroll", "secret", "vault"];

/// A server of the whole warehouse, and one of what wendy may see of it. Both know the same tokens.
struct World {
    _place: Place,
    hiding: Server,
    without: Server,
    tokens: Vec<(&'static str, String)>,
}

impl World {
    fn new() -> World {
        let place = Place::new();
        tables(&place.path("without"), false);
        let tokens = CALLERS.map(|name| (name, place.token(name, &[]).0)).to_vec();
        let (hiding, without) = (place.serve(POLICY), place.serve_of("without", POLICY));
        World { _place: place, hiding, without, tokens }
    }

    fn token(&self, caller: &str) -> &str {
        &self.tokens.iter().find(|(name, _)| *name == caller).unwrap().1
    }

    async fn as_seen_by(&self, caller: &str) -> Wire {
        Wire::to(&self.hiding.uri, Some(self.token(caller))).await
    }

    /// The call's answers from both servers.
    async fn both(&self, caller: &str, call: &Call) -> [Result<Vec<Vec<u8>>, Box<Refused>>; 2] {
        let token = Some(self.token(caller));
        [Wire::to(&self.hiding.uri, token).await.ask(call.clone()).await, Wire::to(&self.without.uri, token).await.ask(call.clone()).await]
    }
}

/// Every action about a table, with a body for this request.
fn actions(request: &Json) -> Vec<Call> {
    let scans = ["Explain", "Count", "Files"].map(|name| (name, request.clone()));
    let shards = ("Shards", json!({"request": request, "shards": 2}));
    let calls = scans.into_iter().chain([shards]).map(|(name, body)| Call::Do(action(name), body.to_string().into_bytes()));
    calls.collect()
}

fn action(name: &str) -> &'static str {
    use fastdata::facts::actions::ACTIONS;
    ACTIONS.iter().map(|(action, _)| *action).find(|action| action.ends_with(&format!(".{name}"))).unwrap()
}

/// Every call that names a table.
fn about(table: &str) -> Vec<Call> {
    let request = json!({ "table": table });
    let parts: Vec<&str> = table.split('.').collect();
    let mut calls = actions(&request);
    calls.extend(["Describe", "Snapshots", "Refs"].map(|name| Call::Do(action(name), request.to_string().into_bytes())));
    calls.extend([Call::Info(path(&parts)), Call::Info(command(&request.to_string()))]);
    calls.extend([Call::Schema(path(&parts)), Call::Schema(command(&request.to_string()))]);
    assert_eq!(calls.iter().filter(|call| matches!(call, Call::Do(..))).count(), fastdata::facts::actions::ACTIONS.len());
    calls
}

#[test]
fn an_invisible_table_is_a_missing_one_in_every_call() {
    let world = World::new();
    block_on(async {
        // The names that hide something, near misses of them, and other spellings.
        let names =
            ["hr.secret", "hr.secre", "hr.SECRET", "local.hr.secret", "vault.gold", "vault.god", "local.vault.gold", "nowhere.gold"];
        for caller in ["wendy", "stranger"] {
            for name in names {
                for call in about(name) {
                    let [hiding, without] = world.both(caller, &call).await;
                    let refused = hiding.clone().unwrap_err();
                    assert_eq!(refused.code, Code::NotFound, "{caller}: {call:?}: {refused:?}");
                    assert_eq!(hiding, without, "{caller}: {call:?}");
                }
            }
            for namespace in ["", "hr", "local", "local.hr", "vault", "local.vault", "vaul", "nowhere"] {
                let [hiding, without] = world.both(caller, &Call::List(namespace.to_owned())).await;
                assert_eq!(hiding, without, "{caller}: {namespace}");
            }
        }
        let listed = async |caller: &str| {
            let flights = world.as_seen_by(caller).await.messages::<FlightInfo>(Call::List(String::new())).await;
            flights.into_iter().map(|flight| flight.flight_descriptor.unwrap().path.join(".")).collect::<Vec<_>>()
        };
        assert_eq!(listed("wendy").await, ["hr.open", "hr.people"]);
        assert!(listed("stranger").await.is_empty());
        assert_eq!(listed("rootie").await, ["hr.open", "hr.people", "hr.secret", "vault.gold"]);
    });
}

#[test]
fn a_hidden_column_is_an_unknown_one_in_every_call() {
    let world = World::new();
    block_on(async {
        let columns = ["ssn", "snn", "salary", "address.street", "address.streat", "_file", "_pos", "_partition"];
        let filters =
            ["ssn = 'ssn-1'", "snn = 'x'", "salary > 3", "salary / 0 > 1", "address.street LIKE 'a%'", "_pos > 1", "_file IS NULL"];
        let requests = columns.map(|column| json!({"table": "hr.people", "columns": [column]})).into_iter();
        let requests = requests.chain(filters.map(|filter| json!({"table": "hr.people", "filter": filter})));
        for request in requests {
            let mut calls = actions(&request);
            calls.extend([Call::Info(command(&request.to_string())), Call::Schema(command(&request.to_string()))]);
            for call in calls {
                let [hiding, without] = world.both("wendy", &call).await;
                assert!(hiding.is_err(), "{call:?}");
                assert_eq!(hiding, without, "{call:?}");
                // Not so for those who see them, metadata columns with an unset value aside.
                if matches!(call, Call::Schema(_)) && !request.to_string().contains("nn") && !request.to_string().contains("streat") {
                    assert!(world.as_seen_by("rootie").await.ask(call.clone()).await.is_ok(), "{call:?}");
                }
            }
        }
        // What is visible has the schema of a table that has no more, to the byte.
        for call in [Call::Schema(path(&["hr", "people"])), Call::Schema(command(r#"{"table": "hr.people", "columns": ["address"]}"#))] {
            let [hiding, without] = world.both("wendy", &call).await;
            assert!(hiding.is_ok() && hiding == without, "{call:?}");
        }
        for caller in ["wendy", "basil"] {
            let wire = world.as_seen_by(caller).await;
            for call in about("hr.people") {
                let answer = wire.ask(call.clone()).await;
                let said: Vec<u8> = answer.map_or_else(|refused| refused.details, |messages| messages.concat());
                let said = String::from_utf8_lossy(&said).to_lowercase();
                let told: Vec<_> = HIDDEN.iter().filter(|word| said.contains(**word)).collect();
                assert!(told.is_empty(), "{caller}: {call:?} tells of {told:?}: {said}");
            }
        }
        let (seen, twin) = (world.as_seen_by("wendy").await, Wire::to(&world.without.uri, Some(world.token("rootie"))).await);
        let [seen, twin] = [seen.json(action("Describe"), TABLE).await, twin.json(action("Describe"), TABLE).await];
        assert_eq!((&seen["schema"], &seen["partitionSpecs"], &seen["rows"]), (&twin["schema"], &twin["partitionSpecs"], &json!("180")));
        assert_eq!((&seen["location"], &seen["metadataLocation"], &seen["properties"]), (&json!(""), &json!(""), &json!({})));
    });
}

const TABLE: &str = r#"{"table": "hr.people"}"#;

/// The ids that rowan and basil may see.
fn visible() -> Vec<i64> {
    (0..PEOPLE).filter(|id| id % 3 == 0 && *id < 100).collect()
}

#[test]
fn a_row_filter_is_part_of_every_scan() {
    let world = World::new();
    block_on(async {
        for caller in ["rowan", "basil"] {
            let ours = client(&world.hiding.uri, Some(world.token(caller))).await.unwrap();
            let ids = async |json: String| {
                let plan = ours.plan(&request(&json)).await.unwrap();
                let mut pull = plan.pull(PullOptions::default()).unwrap();
                let mut ids = vec![];
                while let Some(next) = pull.next().await {
                    let batch = next.unwrap().1.batch;
                    ids.extend(batch.column_by_name("id").unwrap().as_primitive::<Int64Type>().values().iter().copied());
                }
                ids.sort_unstable();
                ids
            };
            let first = ours.action(action("Snapshots"), TABLE.into()).await.unwrap();
            let first: Json = serde_json::from_slice(&first).unwrap();
            let first = first[0]["snapshotId"].as_str().unwrap().to_owned();
            let of = |more: &str| format!(r#"{{"table": "hr.people"{more}}}"#);
            for whole in ["", r#", "columns": ["id"]"#, r#", "order": "ORDER_STABLE""#, r#", "lanes": 3"#] {
                assert_eq!(ids(of(whole)).await, visible(), "{caller}: {whole}");
            }
            assert_eq!(ids(of(r#", "lanes": 2, "shuffle": {"seed": "7"}"#)).await, visible(), "{caller}");
            let above = |least: i64| visible().into_iter().filter(|id| *id >= least).collect::<Vec<_>>();
            assert_eq!(ids(of(r#", "filter": "id >= 50""#)).await, above(50));
            assert_eq!(ids(of(r#", "filter": "region IS NULL OR region = 'US'""#)).await, [0i64; 0]);
            // A filter that fails on a hidden row never meets one.
            assert_eq!(ids(of(r#", "filter": "9 / (id - 101) < 1""#)).await, visible());
            let limited = ids(of(r#", "limit": 5"#)).await;
            assert!(limited.len() == 5 && limited.iter().all(|id| visible().contains(id)), "{limited:?}");
            let old: Vec<i64> = visible().into_iter().filter(|id| *id < PEOPLE / 3).collect();
            assert_eq!(ids(of(&format!(r#", "snapshotId": "{first}""#))).await, old);
            assert_eq!(ids(of(&format!(r#", "fromSnapshotId": "{first}""#))).await, above(PEOPLE / 3));
        }
    });
}

/// Numbers of a JSON value that are not zero, by path.
fn figures(path: &str, value: &Json) -> Vec<String> {
    match value {
        Json::Object(members) => members.iter().flat_map(|(name, value)| figures(&format!("{path}.{name}"), value)).collect(),
        Json::Array(items) => items.iter().flat_map(|item| figures(path, item)).collect(),
        Json::Number(number) if number.as_f64() != Some(0.0) => vec![path.to_owned()],
        Json::String(text) if text.parse::<u64>().is_ok_and(|number| number != 0) => vec![path.to_owned()],
        _ => vec![],
    }
}

/// The statistics of the end record of a plan's first lane.
async fn end_record(wire: &Wire, info: &FlightInfo) -> ScanStats {
    let ticket = info.endpoint[0].ticket.as_ref().unwrap().ticket.to_vec();
    let messages = wire.messages::<FlightData>(Call::Get(ticket)).await;
    match StreamMetadata::decode(messages.last().unwrap().app_metadata.clone()).unwrap().of {
        Some(StreamEvent::End(record)) => record.stats.unwrap(),
        other => panic!("no end record: {other:?}"),
    }
}

#[test]
fn nothing_counts_hidden_rows() {
    let world = World::new();
    block_on(async {
        for (caller, hides_rows) in [("rootie", false), ("wendy", false), ("rowan", true), ("basil", true)] {
            let wire = world.as_seen_by(caller).await;
            let info = wire.messages::<FlightInfo>(Call::Info(path(&["hr", "people"]))).await.remove(0);
            let metadata = PlanMetadata::decode(info.app_metadata.clone()).unwrap();
            assert_eq!(
                (info.total_records == -1, info.total_bytes == -1, metadata.lane_rows.is_empty()),
                (hides_rows, hides_rows, hides_rows)
            );
            let stats = end_record(&wire, &info).await;
            let told = [stats.rows_decoded, stats.rows_filtered, stats.rows_deleted, stats.files_read, stats.row_groups_read];
            let bytes = [stats.requests, stats.bytes_fetched, stats.row_groups_pruned, stats.delete_files_read];
            let none = told.iter().chain(&bytes).all(|figure| *figure == 0);
            assert_eq!(none, hides_rows, "{caller}: {stats:?}");
            let planning = metadata.planning.unwrap();
            assert_eq!((planning.requests == 0, planning.bytes_fetched == 0), (hides_rows, hides_rows), "{caller}: {planning:?}");
            let explained = figures("", &wire.json(action("Explain"), TABLE).await);
            let counts = explained.iter().filter(|path| ![".snapshot_id", ".schema_id", ".planning_us"].contains(&path.as_str())).count();
            assert_eq!(counts == 0, hides_rows, "{caller}: {explained:?}");
            let shards = wire.json(action("Shards"), r#"{"request": {"table": "hr.people"}, "shards": 2}"#).await;
            let shards: Vec<_> = figures("", &shards["shards"]).into_iter().filter(|path| path != ".lane").collect();
            assert_eq!(shards.is_empty(), hides_rows, "{caller}: {shards:?}");
            let exact = wire.json(action("Shards"), r#"{"request": {"table": "hr.people"}, "shards": 2, "exact": true}"#).await;
            let yields = |shard: &Json| shard["exactRows"].as_str().unwrap().parse::<usize>().unwrap();
            let exact: usize = exact["shards"].as_array().unwrap().iter().map(yields).sum();
            assert_eq!(exact, if hides_rows { visible().len() } else { PEOPLE as usize }, "{caller}");
            for part in ["Describe", "Snapshots"] {
                let text = wire.json(action(part), TABLE).await.to_string();
                assert_eq!(text.contains("\"total-records\""), !hides_rows, "{caller}: {text}");
            }
            let described = wire.json(action("Describe"), TABLE).await;
            let totals = ["rows", "bytes", "dataFiles", "deleteFiles"].map(|name| described[name].is_null());
            assert_eq!(totals, [hides_rows; 4], "{caller}: {described}");
            // What is counted is what is seen.
            let rows = if hides_rows { visible().len() } else { PEOPLE as usize };
            let counted = wire.json(action("Count"), TABLE).await;
            assert_eq!(counted["rows"], json!(rows.to_string()), "{caller}");
            let counted = wire.json(action("Count"), r#"{"table": "hr.people", "filter": "id >= 90", "limit": 3}"#).await;
            assert_eq!(counted["rows"], json!("3"), "{caller}");
            let counted = wire.json(action("Count"), r#"{"table": "hr.people", "filter": "id >= 90"}"#).await;
            let above = if hides_rows { visible().iter().filter(|id| **id >= 90).count() } else { 90 };
            assert_eq!(counted["rows"], json!(above.to_string()), "{caller}");
            let files = wire.ask(Call::Do(action("Files"), TABLE.into())).await;
            assert_eq!(
                files.as_ref().err().map(|refused| refused.code),
                (caller != "rootie").then_some(Code::PermissionDenied),
                "{files:?}"
            );
        }
    });
}

#[test]
fn a_ticket_is_its_principals_alone() {
    let world = World::new();
    block_on(async {
        let root = world.as_seen_by("rootie").await;
        let info = root.messages::<FlightInfo>(Call::Info(path(&["hr", "people"]))).await.remove(0);
        let endpoint = info.endpoint[0].clone();
        let ticket = endpoint.ticket.clone().unwrap().ticket.to_vec();
        for thief in ["wendy", "basil", "stranger"] {
            let wire = world.as_seen_by(thief).await;
            let forged = wire.ask(Call::Get(b"forged".to_vec())).await.unwrap_err();
            assert_eq!(forged.code, Code::Unauthenticated);
            let renew = arrow_flight::RenewFlightEndpointRequest::new(endpoint.clone()).encode_to_vec();
            let cancel = arrow_flight::CancelFlightInfoRequest::new(info.clone()).encode_to_vec();
            for call in [
                Call::Get(ticket.clone()),
                Call::Do("fastdata.v1.Split", ticket.clone()),
                Call::Do("RenewFlightEndpoint", renew),
                Call::Do("CancelFlightInfo", cancel),
            ] {
                assert_eq!(wire.ask(call.clone()).await.unwrap_err(), forged, "{thief}: {call:?}");
            }
        }
        assert!(root.ask(Call::Get(ticket)).await.is_ok(), "it is good for whom it is for");
    });
}

/// A ticket that is past its time says so to its principal and to nobody else.
#[test]
fn an_expired_ticket_tells_its_principal_alone() {
    let place = Place::new();
    let (alice, bob) = (place.token("alice", &[]).0, place.token("bob", &[]).0);
    let server = place.serve("[server.auth]\ntokens = \"tokens\"\n[server.tickets]\nlifetime = \"1ms\"\n");
    block_on(async {
        let (alice, bob) = (Wire::to(&server.uri, Some(&alice)).await, Wire::to(&server.uri, Some(&bob)).await);
        let info = alice.messages::<FlightInfo>(Call::Info(path(&["hr", "people"]))).await.remove(0);
        let expires = PlanMetadata::decode(info.app_metadata.clone()).unwrap().expires_at_ms;
        while super::now_ms() <= expires {
            tokio::task::yield_now().await;
        }
        let ticket = info.endpoint[0].ticket.clone().unwrap().ticket.to_vec();
        let forged = bob.ask(Call::Get(b"forged".to_vec())).await.unwrap_err();
        for call in [Call::Get(ticket.clone()), Call::Do("fastdata.v1.Split", ticket)] {
            let own = alice.ask(call.clone()).await.unwrap_err();
            assert_eq!((own.code, own.detail.unwrap().kind.as_str()), (Code::Unauthenticated, "ticket-expired"));
            assert_eq!(bob.ask(call).await.unwrap_err(), forged);
        }
    });
}

/// Names in a rule are those of the current schema. A rename by which its filter means another column ends what was begun; other changes do not.
#[test]
fn a_lane_does_not_go_on_with_the_rows_of_another_column() {
    let place = Place::empty();
    let warehouse = Warehouse::open(&place.path("w")).unwrap();
    let fields = vec![Field::required(1, "id", P::Long), Field::optional(2, "region", P::String), Field::optional(3, "area", P::String)];
    let options = TableOptions::new(Schema::new(0, fields).unwrap());
    let mut table = warehouse.create_table(&TableName::new(["hr"], "people"), options).unwrap();
    let eu = |is: bool| Some(Value::String(if is { "eu" } else { "us" }.to_owned()));
    let rows: Vec<_> = (0..100).map(|id| vec![Some(Value::Long(id)), eu(id % 2 == 0), eu(id % 5 == 0)]).collect();
    let batch = values::batch(table.schema(), &rows).unwrap();
    let mut change = table.change();
    change.append(&[batch], &FileOptions::default()).unwrap();
    change.commit().unwrap();
    let token = place.token("ada", &[]).0;
    let rule = "[server.auth]\ntokens = \"tokens\"\n[[policy]]\nprincipals = [\"ada\"]\nfilter = \"region = 'eu'\"\n";
    let server = place.serve(rule);
    block_on(async {
        let ada = client(&server.uri, Some(&token)).await.unwrap();
        let asked = request(r#"{"table": "hr.people", "lanes": 1, "columns": ["id"]}"#);
        let plan = ada.plan(&asked).await.unwrap();
        let rest = async || {
            let mut lane = plan.lane(0, LanePosition::after(10), Default::default())?;
            let mut ids = vec![];
            while let Some(next) = lane.next().await? {
                ids.extend(next.batch.column(0).as_primitive::<Int64Type>().values().iter().copied());
            }
            Ok::<_, Error>(ids)
        };
        let expected: Vec<i64> = (20..100).step_by(2).collect();
        table.update_schema(|schema| schema.add("", Field::optional(0, "more", P::Long)).map(drop)).unwrap();
        // With a new plan the server sees what has changed.
        ada.plan(&asked).await.unwrap();
        assert_eq!(rest().await.unwrap(), expected);
        table.update_schema(|schema| schema.rename("region", "region_old").and_then(|()| schema.rename("area", "region"))).unwrap();
        let now = ada.plan(&asked).await.unwrap();
        let error = rest().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PlanMismatch, "{error:?}");
        // A cursor is refused by the plan of the same snapshot and schema, too.
        let again = ada.plan(&asked.pinned(plan.metadata.snapshot_id, plan.metadata.schema_id)).await.unwrap();
        for plan_now in [&now, &again] {
            assert_eq!(plan_now.check(&plan.start()).unwrap_err().kind(), ErrorKind::PlanMismatch);
        }
    });
}
