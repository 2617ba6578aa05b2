//! What must hold of every kind of catalog.
//!
//! Contract: each check asks the command, with the configuration that docs/ shows, and compares with what was built. A check that means nothing for a
//! kind says why; what only the catalog itself does not do is told apart from what works, and asserted from the catalog's own answer, so that a
//! lack of ours cannot hide behind it.

use super::lake::{Kind, Lake, Ran, closed, quoted, ran};
use crate::served::Server;
use crate::support::soak;
use fastdata_testkit::table::{Built, Columns, Deletes, Evolution, History, Layout, Partitioning, Shape};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// Of a dead endpoint, for the refusal to come "soon".
pub const SOON: Duration = Duration::from_secs(15);

/// How a check came out, if it did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// All that the catalog itself does; what it does not.
    Part(String),
    /// It means nothing here, and why.
    None(String),
}

use Outcome::{None as Without, Part, Passed};

type Check = fn(&Tables) -> Outcome;

/// Name, as README's table has it, and the check.
pub const CHECKS: [(&str, Check); 12] = [
    ("list", list),
    ("load and scan", load),
    ("branches and tags", refs),
    ("time travel", time_travel),
    ("a commit is seen", staleness),
    ("deletes and evolution", deletes_and_evolution),
    ("deletion vectors (v3)", deletion_vectors),
    ("odd names", odd_names),
    ("2 000 tables", many_tables),
    ("a missing table", missing_table),
    ("wrong credentials", wrong_credentials),
    ("a dead endpoint", dead_endpoint),
];

/// Names that need quoting, encoding or care, and one that leads upwards where nobody takes care.
const ODD_NAMES: [&str; 8] = ["two words", "do.t", "quo\"te's", "ünï-日本", "100%41", "semi;colon&more=?#", "sl/ash", "back\\slash"];
const ODD_NAMESPACE: &str = "odd ones";

/// A lake with the tables that the checks ask for.
pub struct Tables {
    pub lake: Lake,
    /// Deletes of both kinds of format 2, evolution, four appends, a tag and a branch.
    orders: Built,
    /// Deletion vectors and defaults; why the catalog does not take it, where it does not.
    vectors: (Built, Result<(), String>),
    plain: Built,
}

impl Tables {
    pub fn of(lake: Lake) -> Tables {
        let evolution = Evolution { spec: false, ..Evolution::ALL };
        let orders = lake.build(
            "orders",
            &Shape {
                columns: Columns::Nested,
                partitioning: Partitioning::Identity,
                deletes: Deletes { positions: true, equality: true, ..Deletes::NONE },
                evolution,
                history: History { rollback: false, ..History::LONG },
                ..Shape::default()
            },
        );
        let vectors = lake.build(
            "vectors",
            &Shape {
                seed: 3,
                format: 3,
                deletes: Deletes::VECTORS,
                evolution,
                history: History { appends: 3, ..History::SINGLE },
                ..Shape::default()
            },
        );
        let plain = lake.build("plain", &Shape { layout: Layout { rows: 20, ..Layout::default() }, ..Shape::default() });
        lake.register(&["sales"], "orders", orders.table.metadata_location()).unwrap();
        lake.register(&["sales", "eu"], "plain", plain.table.metadata_location()).unwrap();
        let taken = lake.register(&["sales"], "vectors", vectors.table.metadata_location());
        Tables { lake, orders, vectors: (vectors, taken), plain }
    }

    fn orders_name(&self) -> String {
        self.lake.reference(&["sales"], "orders", &self.orders)
    }

    /// Scans a table through the catalog and its copy on disk, and compares all rows in their order. How many there were.
    fn same_rows(&self, reference: &str, built: &Built, arguments: &[&str]) -> usize {
        let more = [&["-o", "jsonl", "--order", "stable"], arguments].concat();
        let copy = built.table_folder();
        let wanted = ran(Path::new("/"), &[&["scan", copy.to_str().unwrap(), "--moved"], more.as_slice()].concat());
        assert_eq!(wanted.status, 0, "{}", wanted.stderr);
        let given = self.lake.succeed(&[&["scan", reference], more.as_slice()].concat());
        assert!(
            given.lines() == wanted.lines(),
            "{reference} {arguments:?}: {} lines, {} wanted",
            given.lines().len(),
            wanted.lines().len()
        );
        wanted.lines().len()
    }
}

fn listed(ran: &Ran) -> BTreeSet<(Vec<String>, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let entry = |entry: &Value| (entry["namespace"].as_array().unwrap().iter().map(text).collect(), text(&entry["name"]));
    ran.json().as_array().unwrap().iter().map(entry).collect()
}

fn named(namespace: &[&str], name: &str) -> (Vec<String>, String) {
    (namespace.iter().map(|level| (*level).to_owned()).collect(), name.to_owned())
}

fn list(tables: &Tables) -> Outcome {
    if tables.lake.kind == Kind::Files {
        return Without("no catalog lists them".to_owned());
    }
    // One server may serve several kinds: only these namespaces are this one's.
    let nested = named(&["sales", "eu"], "plain");
    let mut wanted = BTreeSet::from([named(&["sales"], "orders"), nested.clone()]);
    wanted.extend(tables.vectors.1.is_ok().then(|| named(&["sales"], "vectors")));
    let all = listed(&tables.lake.succeed(&["tables", "-o", "json"]));
    assert!(all.is_superset(&wanted), "{all:?}");
    let mut sales = listed(&tables.lake.succeed(&["tables", "lake.sales", "-o", "json"]));
    if tables.vectors.1.is_err() {
        // A catalog may list what it refused, and cannot answer for.
        sales.remove(&named(&["sales"], "vectors"));
    }
    assert_eq!(sales, wanted);
    assert_eq!(listed(&tables.lake.succeed(&["tables", "sales.eu", "-o", "json"])), BTreeSet::from([nested]));
    tables.lake.run(&["tables", "lake.sails"]).assert_refused("not-found", 2, &["sales"]);
    Passed
}

fn load(tables: &Tables) -> Outcome {
    let reference = tables.orders_name();
    let described = tables.lake.succeed(&["describe", &reference, "-o", "json"]).json();
    assert_eq!(described["location"], tables.orders.table.location());
    let names: Vec<&str> = tables.orders.schema().fields.iter().map(|field| field.name.as_str()).collect();
    let shown: Vec<&str> = described["schema"]["fields"].as_array().unwrap().iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(shown, names);
    // Twice the same question: once by brute force, once by the copy on disk.
    let count = tables.lake.succeed(&["count", &reference]).stdout;
    assert_eq!(count.trim(), tables.orders.current_rows().len().to_string());
    assert_eq!(tables.same_rows(&reference, &tables.orders, &[]).to_string(), count.trim());
    if tables.lake.kind != Kind::Files {
        let doctor = tables.lake.run(&["doctor", &reference]);
        assert_eq!(doctor.status, 0, "{doctor:?}");
    }
    Passed
}

/// The ids that the catalog's own answer has, where a server is between.
fn answered_ids(tables: &Tables) -> Option<BTreeSet<i64>> {
    let answer = tables.lake.answered(&["sales"], "orders")?.unwrap();
    Some(answer["metadata"]["snapshots"].as_array().unwrap().iter().map(|s| s["snapshot-id"].as_i64().unwrap()).collect())
}

fn refs(tables: &Tables) -> Outcome {
    let (reference, answer) = (tables.orders_name(), tables.lake.answered(&["sales"], "orders").map(Result::unwrap));
    let mut lacking = Vec::new();
    for (name, id) in &tables.orders.refs {
        let is_answered = answer.as_ref().is_none_or(|answer| answer["metadata"]["refs"][name]["snapshot-id"].as_i64() == Some(*id));
        if !is_answered {
            lacking.push(name.as_str());
            tables.lake.run(&["scan", &reference, "--ref", name]).assert_refused("not-found", 2, &[name]);
            continue;
        }
        assert!(tables.same_rows(&reference, &tables.orders, &["--ref", name]) > 0);
    }
    tables.lake.run(&["scan", &reference, "--ref", "frist"]).assert_refused("not-found", 2, &["frist"]);
    match lacking.is_empty() {
        true => Passed,
        false => Without("the catalog answers the current snapshot only; its own branches and tags are another thing".to_owned()),
    }
}

fn time_travel(tables: &Tables) -> Outcome {
    let (reference, answered) = (tables.orders_name(), answered_ids(tables));
    let is_answered = |id: i64| answered.as_ref().is_none_or(|ids| ids.contains(&id));
    let (mut seen, mut lacking) = (0, 0);
    for snapshot in &tables.orders.model.snapshots {
        let id = snapshot.id.to_string();
        if is_answered(snapshot.id) {
            assert_eq!(tables.same_rows(&reference, &tables.orders, &["--snapshot", &id]), rows_at(tables, snapshot.id), "{id}");
            seen += 1;
        } else {
            tables.lake.run(&["scan", &reference, "--snapshot", &id]).assert_refused("not-found", 2, &[&id]);
            lacking += 1;
        }
    }
    for entry in tables.orders.table.snapshot_log() {
        let time = entry.timestamp_ms.to_string();
        // Of a time whose snapshot is not answered, no other snapshot is.
        match is_answered(entry.snapshot_id) {
            true => {
                assert_eq!(tables.same_rows(&reference, &tables.orders, &["--as-of", &time]), rows_at(tables, entry.snapshot_id), "{time}")
            }
            false => tables.lake.run(&["scan", &reference, "--as-of", &time]).assert_refused("not-found", 2, &["as of"]),
        }
    }
    assert!(seen > 0);
    match lacking {
        0 => Passed,
        _ => Without("the catalog answers the current snapshot only".to_owned()),
    }
}

/// Rows of a snapshot, in the schema that goes with it.
fn rows_at(tables: &Tables, id: i64) -> usize {
    tables.orders.model.rows(id, tables.orders.schema()).len()
}

/// A server that was started before a commit answers with it.
fn staleness(tables: &Tables) -> Outcome {
    let lake = &tables.lake;
    let mut built = lake.build("moving", &Shape { seed: 9, layout: Layout { rows: 30, ..Layout::default() }, ..Shape::default() });
    lake.register(&["moving"], "moving", built.table.metadata_location()).unwrap();
    let reference = lake.reference(&["moving"], "moving", &built);
    // A server reads no folders.
    let server = (lake.kind != Kind::Files).then(|| Server::with(lake.folder.path(), &[]));
    let counts = || {
        let own = lake.succeed(&["count", &reference]).stdout.trim().to_owned();
        let served = server.as_ref().map(|server| lake.succeed(&["count", &reference, "--server", &server.uri]).stdout.trim().to_owned());
        assert!(served.as_ref().is_none_or(|served| *served == own), "{own} here, {served:?} served");
        own
    };
    assert_eq!(counts(), "30");
    let batch = built.current_batch().unwrap();
    for wanted in ["60", "120"] {
        let rows: Vec<_> = std::iter::repeat_n(batch.clone(), wanted.parse::<usize>().unwrap() / 60).collect();
        let mut change = built.table.change();
        change.append(&rows, &fastdata_write::FileOptions::default()).unwrap();
        change.commit().unwrap();
        lake.commit(&["moving"], "moving", &built);
        assert_eq!(counts(), wanted);
    }
    Passed
}

fn deletes_and_evolution(tables: &Tables) -> Outcome {
    let reference = tables.orders_name();
    for more in [&[][..], &["--where", "id > 100 AND kind IS NOT NULL"], &["--select", "user.full_name,id", "--limit", "70"]] {
        assert!(tables.same_rows(&reference, &tables.orders, more) > 50);
    }
    let stats = tables.lake.run(&["scan", &reference, "-o", "none", "--stats=json"]);
    let stats: Value = serde_json::from_str(stats.stderr.lines().last().unwrap()).unwrap();
    assert!(stats["rows_deleted"].as_u64().unwrap() > 0, "{stats}");
    Passed
}

fn deletion_vectors(tables: &Tables) -> Outcome {
    let (built, taken) = &tables.vectors;
    if let Err(said) = taken {
        assert!(said.contains("400") || said.contains("500"), "{said}");
        let ran = tables.lake.run(&["scan", "lake.sales.vectors", "-o", "none"]);
        assert!(ran.status != 0 && ran.stderr.contains("sales.vectors"), "{ran:?}");
        return Without("the catalog itself takes no tables of format 3".to_owned());
    }
    let reference = tables.lake.reference(&["sales"], "vectors", built);
    let count = tables.lake.succeed(&["count", &reference]).stdout;
    assert_eq!(count.trim(), built.current_rows().len().to_string());
    assert!(tables.same_rows(&reference, built, &["--select", "id,_row_id"]) > 50);
    Passed
}

fn odd_names(tables: &Tables) -> Outcome {
    let lake = &tables.lake;
    let (mut refused, mut unlisted) = (Vec::new(), Vec::new());
    for name in ODD_NAMES {
        if lake.kind == Kind::Files {
            if name.contains('/') {
                continue;
            }
            // The folder is what is odd.
            let built = lake.build(&format!("{ODD_NAMESPACE}/{name}"), &Shape::default());
            let folder = built.table_folder();
            let rows = tables.same_rows(folder.to_str().unwrap(), &built, &[]);
            assert_eq!(rows, built.current_rows().len());
            continue;
        }
        let location = tables.plain.table.metadata_location();
        let reference = quoted(&[ODD_NAMESPACE], name);
        match lake.register(&[ODD_NAMESPACE], name, location) {
            Ok(()) if lake.answered(&[ODD_NAMESPACE], name).is_none_or(|answer| answer.is_ok()) => {
                assert_eq!(tables.same_rows(&reference, &tables.plain, &[]), tables.plain.current_rows().len(), "{name}");
            }
            taken => {
                assert_ne!(lake.run(&["scan", &reference, "-o", "none"]).status, 0);
                refused.push(name);
                // It may be there without being reachable by any client.
                unlisted.extend(taken.is_err().then_some(name));
            }
        }
    }
    if lake.kind == Kind::Files {
        return Passed;
    }
    let wanted: BTreeSet<_> = ODD_NAMES.iter().filter(|name| !unlisted.contains(name)).map(|name| named(&[ODD_NAMESPACE], name)).collect();
    assert_eq!(listed(&lake.succeed(&["tables", "lake.\"odd ones\"", "-o", "json"])), wanted);
    // Files in odd places, too.
    let below = "odd é%41 +&=;/places";
    let built = lake.build(below, &Shape { partitioning: Partitioning::Identity, ..Shape::default() });
    let is_placed = match lake.register(&["places"], "odd", built.table.metadata_location()) {
        Ok(()) => {
            assert_eq!(tables.same_rows("lake.places.odd", &built, &[]), built.current_rows().len());
            true
        }
        Err(said) => {
            assert!(said.contains("Illegal character in path"), "{said}");
            false
        }
    };
    let mut lacking = Vec::new();
    if !refused.is_empty() {
        lacking.push(format!("answers for no name like {}", refused.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ")));
    }
    if !is_placed {
        lacking.push("takes no location that is not a URI as it stands".to_owned());
    }
    match lacking.is_empty() {
        true => Passed,
        false => Part(format!("the catalog itself {}", lacking.join(", and "))),
    }
}

/// 2 000 of them; fewer in the short form where each is a request of a third of a second.
fn many_tables(tables: &Tables) -> Outcome {
    let lake = &tables.lake;
    if lake.kind == Kind::Files {
        return Without("no catalog lists them".to_owned());
    }
    // More than a page of Nessie's, even in the short form.
    let count = if lake.kind.is_rest() && !soak() { 240 } else { 2000 };
    let names: Vec<String> = (0..count).map(|n| format!("t{n:04}")).collect();
    lake.register_all(&["many"], &names, tables.plain.table.metadata_location());
    let started = Instant::now();
    let found = listed(&lake.succeed(&["tables", "lake.many", "-o", "json"]));
    eprintln!("{:?}: {count} tables listed in {:.2} s", lake.kind, started.elapsed().as_secs_f64());
    assert_eq!(found, names.iter().map(|name| named(&["many"], name)).collect());
    let last = format!("lake.many.\"{}\"", names.last().unwrap());
    assert_eq!(lake.succeed(&["count", &last]).stdout.trim(), tables.plain.current_rows().len().to_string());
    lake.run(&["scan", "lake.many.\"t9999\""]).assert_refused("not-found", 2, &["t9999", "did you mean"]);
    Passed
}

fn missing_table(tables: &Tables) -> Outcome {
    let lake = &tables.lake;
    if lake.kind == Kind::Files {
        let folder = lake.folder.path().join("w/nothing");
        lake.run(&["scan", folder.to_str().unwrap()]).assert_refused("not-found", 2, &["nothing"]);
        return Passed;
    }
    lake.run(&["scan", "lake.sales.ordres"]).assert_refused("not-found", 2, &["sales.ordres", "did you mean: sales.orders"]);
    lake.run(&["scan", "lake.sails.orders"]).assert_refused("not-found", 2, &["sails.orders", "did you mean: sales.orders"]);
    lake.run(&["describe", "sales.eu.plane"]).assert_refused("not-found", 2, &["sales.eu.plain"]);
    // What a catalog would make of a name is no second name for a table, which the rules of a server would not know.
    for second in [
        r#"sales."orders@main""#,
        "sales.\"`orders`\"",
        r#"sales."orders#2024-01-01T00:00:00Z""#,
        r#"sales."orders ""#,
        r#""sales.eu".plain"#,
    ] {
        lake.run(&["scan", &format!("lake.{second}"), "-o", "none"]).assert_refused("not-found", 2, &["sales"]);
    }
    Passed
}

/// Refused by whoever asks for some: the catalog, and the store.
fn wrong_credentials(tables: &Tables) -> Outcome {
    let lake = &tables.lake;
    let refused_with = |changes: &[(&str, &str)], named: &[&str]| {
        let folder = lake.changed(changes);
        let ran = ran(folder.path(), &["scan", "lake.sales.orders", "-o", "none"]);
        ran.assert_refused("unauthenticated", 5, named);
        assert!(!ran.stderr.contains("wrong-secret"), "{ran:?}");
    };
    match lake.kind {
        Kind::Sqlite | Kind::Files => return Without("files have no credentials".to_owned()),
        Kind::Postgres => refused_with(&[("reader:reader-password@", "reader:wrong-secret@")], &["password"]),
        Kind::Door | Kind::Nessie => {
            refused_with(&[("reader:reader-secret", "reader:wrong-secret")], &["invalid_client"]);
            refused_with(&[("credential = ", "token = ")], &["401"]);
        }
        Kind::Reference => {}
    }
    if let (Some(secret), Some(key)) = (lake.value("SECRET-KEY"), lake.value("ACCESS-KEY")) {
        refused_with(&[(secret, "wrong-secret")], &["SignatureDoesNotMatch"]);
        refused_with(&[(key, "nobody")], &["InvalidAccessKeyId"]);
    }
    match lake.kind {
        Kind::Reference => Part("the catalog itself takes any; the store refuses".to_owned()),
        _ => Passed,
    }
}

fn dead_endpoint(tables: &Tables) -> Outcome {
    let (lake, dead) = (&tables.lake, closed());
    let unreachable = |shown: &str, real: &str| {
        let folder = lake.changed(&[(lake.value(shown).unwrap(), real)]);
        let started = Instant::now();
        let ran = ran(folder.path(), &["scan", "lake.sales.orders", "-o", "none"]);
        ran.assert_refused("unavailable", 7, &[&dead, "trying again may help"]);
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    };
    match lake.kind {
        Kind::Files => return Without("there is none".to_owned()),
        Kind::Sqlite => {
            let nothing = lake.folder.path().join("nothing");
            let folder = lake.changed(&[(lake.value("/data/warehouse").unwrap(), nothing.to_str().unwrap())]);
            ran(folder.path(), &["tables"]).assert_refused("not-found", 2, &["nothing/catalog.db"]);
            return Without("a file is none; a missing one is not-found".to_owned());
        }
        Kind::Postgres => unreachable("db.example.com:5432", &dead),
        Kind::Reference => unreachable("http://catalog.example.com:8181", &format!("http://{dead}")),
        Kind::Door => unreachable("https://catalog.example.com", &format!("http://{dead}")),
        Kind::Nessie => unreachable("https://nessie.example.com/iceberg", &format!("http://{dead}/iceberg")),
    }
    if lake.value("http://minio.example.com:9000").is_some() {
        unreachable("http://minio.example.com:9000", &format!("http://{dead}"));
    }
    Passed
}
