//! Whatever the command shows of a local table, it shows of a served one: the same text and the same JSON.

use crate::command_line::warehouse;
use crate::corpus::ledger;
use crate::served::Server;
use crate::support::{corpus, fail, python, root, run, succeed};
use fastdata::facts::actions::ACTIONS;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Every command that shows facts, of one table.
const SHOWN: [&[&str]; 6] = [&["describe"], &["snapshots"], &["files"], &["plan"], &["count"], &["shards", "-n", "3"]];

/// Exit status, standard output and standard error, how long planning took aside.
fn said(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(directory, arguments);
    let out = String::from_utf8(output.stdout).unwrap();
    let out = match serde_json::from_str::<Value>(&out) {
        Ok(Value::Object(mut members)) if members.contains_key("planning_us") => {
            members.insert("planning_us".to_owned(), Value::Null);
            Value::Object(members).to_string()
        }
        _ => out.lines().filter(|line| !line.starts_with("planned in")).map(|line| format!("{line}\n")).collect(),
    };
    (output.status.code(), out, String::from_utf8(output.stderr).unwrap())
}

/// Holds both sides to each other; the local answer.
fn same(directory: &Path, local: &[&str], uri: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let here = said(directory, &[arguments, local].concat());
    let there = said(directory, &[arguments, &["--server", uri]].concat());
    assert_eq!(here, there, "{arguments:?}");
    here
}

fn json_of(directory: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&succeed(directory, &[arguments, &["-o", "json"]].concat())).unwrap()
}

#[test]
fn a_served_table_shows_what_a_local_one_shows() {
    let server = Server::start();
    let local = ["--warehouse", "w"];
    for listing in [&["tables"][..], &["tables", "-o", "json"], &["tables", "tpch"], &["tables", "local.demo", "-o", "json"]] {
        let (status, out, _) = same(warehouse(), &local, &server.uri, listing);
        assert!(status == Some(0) && !out.is_empty(), "{listing:?}");
    }
    let tables = succeed(warehouse(), &["tables", "--warehouse", "w"]);
    assert!(tables.lines().count() >= 9, "{tables}");
    for table in tables.lines() {
        for command in SHOWN {
            for format in ["table", "json"] {
                let (status, out, err) = same(warehouse(), &local, &server.uri, &[command, &[table, "-o", format]].concat());
                assert!(status == Some(0) && !out.is_empty(), "{command:?} {table}: {err}");
            }
        }
    }
}

#[test]
fn every_way_to_select_rows_is_the_same_on_both_sides() {
    let server = Server::start();
    let snapshots = json_of(warehouse(), &["snapshots", "demo.events", "--warehouse", "w"]);
    let first = snapshots[0]["snapshotId"].as_str().unwrap();
    for selection in [
        &["--where", "user_id > 100", "--select", "user_id,kind"][..],
        &["--snapshot", first],
        &["--ref", "main"],
        &["--as-of", "2100-01-01"],
        &["--from", first],
        &["--sample", "0.5", "--seed", "3"],
    ] {
        for command in [&["files"][..], &["plan"], &["count"], &["shards", "-n", "2"]] {
            let arguments = [command, &["demo.events", "-o", "json"], selection].concat();
            let (status, _, err) = same(warehouse(), &["--warehouse", "w"], &server.uri, &arguments);
            assert_eq!(status, Some(0), "{arguments:?}: {err}");
        }
    }
}

/// The kind, the message and the next step come over the wire.
#[test]
fn errors_of_facts_are_the_same_on_both_sides() {
    let server = Server::start();
    for arguments in [
        &["describe", "tpch.lineitme"][..],
        &["snapshots", "nosuch.lineitem"],
        &["describe", "lineitem"],
        &["plan", "tpch.lineitem", "--where", "l_orderkey > 1 AND l_comment > 7"],
        &["count", "tpch.lineitem", "--ref", "mian"],
        &["files", "tpch.lineitem", "--snapshot", "17"],
        &["shards", "tpch.lineitem", "-n", "0"],
        &["shards", "tpch.lineitem", "-n", "5000"],
        &["shards", "tpch.lineitem", "-n", "2", "--limit", "3"],
        &["tables", "tcph"],
    ] {
        let (status, out, err) = same(warehouse(), &["--warehouse", "w"], &server.uri, arguments);
        assert!(status == Some(2) && out.is_empty() && err.contains("help: "), "{arguments:?}: {err}");
    }
    let (status, message) = fail(warehouse(), &["describe", "/etc/passwd", "--server", &server.uri]);
    assert!(status == 2 && message.contains("by name"), "{message}");
}

/// A count is the number of rows that a scan prints, and says what it was read from.
#[test]
fn a_count_is_the_number_of_rows_that_a_scan_returns() {
    let snapshots = json_of(warehouse(), &["snapshots", "demo.events", "--warehouse", "w"]);
    let first = snapshots[0]["snapshotId"].as_str().unwrap();
    for (arguments, source) in [
        (&["tpch.lineitem"][..], "metadata"),
        (&["tpch.lineitem", "--limit", "7"], "metadata"),
        (&["tpch.lineitem", "--limit", "0"], "metadata"),
        (&["tpch.lineitem", "--where", "l_quantity > 49"], "rows"),
        (&["tpch.lineitem", "--where", "l_quantity > 49", "--limit", "5"], "rows"),
        (&["tpch.lineitem", "--sample", "0.4", "--seed", "1"], "footers"),
        (&["demo.events", "--snapshot", first], "metadata"),
        (&["demo.events", "--from", first], "metadata"),
    ] {
        let rows = succeed(warehouse(), &[&["scan", "-o", "jsonl", "--warehouse", "w"], arguments].concat()).lines().count();
        let count = json_of(warehouse(), &[&["count", "--warehouse", "w"], arguments].concat());
        assert_eq!(count, json!({"rows": rows.to_string(), "exact": true, "source": source}), "{arguments:?}");
        let text = succeed(warehouse(), &[&["count", "--warehouse", "w"], arguments].concat());
        assert_eq!(text, format!("{rows}\n"), "{arguments:?}");
    }
    for table in succeed(warehouse(), &["tables", "--warehouse", "w"]).lines() {
        let rows = succeed(warehouse(), &["scan", table, "-o", "jsonl", "--warehouse", "w"]).lines().count();
        assert_eq!(succeed(warehouse(), &["count", table, "--warehouse", "w"]), format!("{rows}\n"), "{table}");
    }
}

/// The lanes come back with the request that reads them, and that request has the same lanes again.
#[test]
fn shards_are_the_lanes_of_a_pinned_request() {
    let server = Server::start();
    let client = Client::new(&server);
    let ask = |request: Value, shards: u64| client.ask("Shards", &json!({"request": request, "shards": shards}));
    let snapshots = json_of(warehouse(), &["snapshots", "demo.events", "--warehouse", "w"]);
    let (first, last) = (&snapshots[0]["snapshotId"], &snapshots[snapshots.as_array().unwrap().len() - 1]["snapshotId"]);
    let schema = json_of(warehouse(), &["describe", "demo.events", "--warehouse", "w"])["schema"]["id"].clone();
    let count = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
    let Some(answer) = ask(json!({"table": "demo.events", "ref": "main"}), 4) else { return };
    assert_eq!(answer["request"], json!({"table": "demo.events", "snapshotId": last, "schemaId": schema, "lanes": 4}));
    assert_eq!(answer["snapshotId"], *last);
    let shards = answer["shards"].as_array().unwrap();
    assert_eq!(shards.iter().map(|shard| shard["lane"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let plan = json_of(warehouse(), &["plan", "demo.events", "--warehouse", "w"]);
    // A block's rows are its share of the file's, rounded down.
    let (stated, of_shards) = (plan["rows_estimated"].as_u64().unwrap(), shards.iter().map(|shard| count(&shard["rows"])).sum::<u64>());
    let blocks = shards.iter().map(|shard| shard["blocks"].as_u64().unwrap()).sum::<u64>();
    assert!(of_shards <= stated && stated < of_shards + blocks, "{of_shards} of {stated} rows in {blocks} blocks");
    assert!(
        shards.iter().all(|shard| count(&shard["bytes"]) > 0 && shard["files"].as_u64() > Some(0) && shard["blocks"].as_u64() > Some(0))
    );
    let again = ask(answer["request"].clone(), 4).unwrap();
    assert_eq!(again, answer);
    let shuffled = ask(json!({"table": "demo.events", "shuffle": {"seed": "1"}}), 4).unwrap();
    assert_ne!(shuffled["planDigest"], answer["planDigest"]);
    let range = ask(json!({"table": "demo.events", "fromSnapshotId": first}), 2).unwrap();
    assert_eq!(
        range["request"],
        json!({"table": "demo.events", "fromSnapshotId": first, "toSnapshotId": last, "schemaId": schema, "lanes": 2})
    );
    assert_eq!(ask(range["request"].clone(), 2).unwrap(), range);
}

/// The rows that a lane yields are those that it is said to yield.
#[test]
fn exact_counts_of_lanes_are_what_the_lanes_yield() {
    let server = Server::start();
    let selection = ["tpch.lineitem", "--where", "l_quantity > 30"];
    let shards = json_of(warehouse(), &[&["shards", "-n", "3", "--exact", "--server", &server.uri], &selection[..]].concat());
    for (lane, shard) in shards["shards"].as_array().unwrap().iter().enumerate() {
        let lane = lane.to_string();
        let scan = [&["scan", "--lanes", "3", "--lane", &lane, "--warehouse", "w"], &selection[..]].concat();
        let rows = succeed(warehouse(), &scan).lines().count();
        assert!(rows > 0 && shard["exactRows"] == json!(rows.to_string()), "lane {lane} yields {rows}: {shard}");
    }
    let text = succeed(warehouse(), &["shards", "demo.events", "-n", "2", "--exact", "--warehouse", "w"]);
    assert!(text.contains("rows, counted"), "{text}");
}

/// pyarrow, without any stubs of ours.
struct Client<'a> {
    server: &'a Server,
}

impl<'a> Client<'a> {
    fn new(server: &'a Server) -> Self {
        Client { server }
    }

    /// `None` where there is no pyarrow here.
    fn run(&self, script: &str, arguments: &[&str]) -> Option<Result<String, String>> {
        let script = format!("import sys\nimport pyarrow.flight as fl\nclient = fl.connect(sys.argv[1])\n{script}");
        let output = Command::new(python()?).args(["-c", &script, &self.server.uri]).args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Some(if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) })
    }

    fn action(&self, kind: &str, body: &str) -> Option<Result<String, String>> {
        let script =
            "sys.stdout.write(b''.join(r.body.to_pybytes() for r in client.do_action((sys.argv[2], sys.argv[3].encode()))).decode())";
        self.run(script, &[kind, body])
    }

    fn ask(&self, action: &str, body: &Value) -> Option<Value> {
        let answer = self.action(&format!("fastdata.v1.{action}"), &body.to_string())?;
        Some(serde_json::from_str(&answer.unwrap_or_else(|e| panic!("{action} {body}: {e}"))).unwrap())
    }
}

#[test]
fn pyarrow_gets_the_json_that_the_command_prints() {
    let server = Server::start();
    let client = Client::new(&server);
    let script = "import json\nprint(json.dumps([[a.type, a.description] for a in client.list_actions()]))";
    let Some(listed) = client.run(script, &[]) else { return };
    assert_eq!(serde_json::from_str::<Value>(&listed.unwrap()).unwrap(), json!(fastdata::serve::actions::all().collect::<Vec<_>>()));
    let body = json!({"table": "demo.events"}).to_string();
    for (action, command) in
        [("Describe", "describe"), ("Snapshots", "snapshots"), ("Files", "files"), ("Explain", "plan"), ("Count", "count")]
    {
        let mut answer: Value = serde_json::from_str(&client.action(&format!("fastdata.v1.{action}"), &body).unwrap().unwrap()).unwrap();
        let mut printed = json_of(warehouse(), &[command, "demo.events", "--warehouse", "w"]);
        for side in [&mut answer, &mut printed] {
            if let Some(planned) = side.get_mut("planning_us") {
                *planned = Value::Null;
            }
        }
        assert_eq!(answer, printed, "{action}");
    }
    let refs = client.ask("Refs", &json!({"table": "demo.events"})).unwrap();
    assert_eq!(refs, json_of(warehouse(), &["describe", "demo.events", "--warehouse", "w"])["refs"]);
    for (kind, body, said) in [
        ("fastdata.v1.Describe", r#"{"table": "demo.events", "filter": "user_id = 1"}"#, "nothing else"),
        ("fastdata.v1.Describe", r#"{"tabel": "demo.events"}"#, "tabel"),
        ("fastdata.v1.Count", "", "no scan request"),
        ("fastdata.v1.Shards", r#"{"request": {"table": "demo.events"}}"#, "shards"),
        ("fastdata.v1.Shards", r#"{"request": {"table": "demo.events", "lanes": 3}, "shards": 2}"#, "another number of lanes"),
        ("fastdata.v1.Descrbe", r#"{"table": "demo.events"}"#, "no action 'fastdata.v1.Descrbe'"),
    ] {
        let message = client.action(kind, body).unwrap().unwrap_err();
        assert!(message.contains(said), "{kind} {body}: {message}");
    }
    let paths = "print([b'/'.join(f.descriptor.path).decode() for f in client.list_flights(b'tpch')])";
    let paths = client.run(paths, &[]).unwrap().unwrap();
    assert!(paths.contains("'tpch/nation'") && !paths.contains("demo/"), "{paths}");
}

/// Folders of the corpus as catalogs: a name, the folder, what locations begin with, and tables in it.
const CATALOGS: [(&str, &str, &[&str], &[&str]); 3] = [
    (
        "lake",
        "iceberg-cxx/tests/warehouse",
        &["s3://warehouse/", "s3a://warehouse/"],
        &["gperov/test", "deletion_vectors", "streams/default_value", "empty/empty"],
    ),
    (
        "spark",
        "iceberg-cxx/tests/tables",
        &["s3://warehouse/", "s3a://warehouse/"],
        &["dangling_deletes", "granular_deletes", "partition_evolution", "types/unsupported_types"],
    ),
    (
        "duck",
        "duckdb-iceberg/data/persistent",
        &["data/persistent/"],
        &[
            "equality_deletes/warehouse/mydb/mytable",
            "name_mapping/warehouse_1/mydb/t1",
            "hive_partitioned_table",
            "iceberg_v1_deprecated/default/legacy_v1",
            "legacy_bare_deletion_vector/warehouse/default/legacy_bare_deletion_vector",
        ],
    ),
];

/// A folder whose configuration names those catalogs, and each table's reference with the rows that the ledger knows.
pub fn catalogs(corpus: &Path, python: &Path) -> (TempDir, BTreeMap<String, Value>) {
    let folder = tempfile::tempdir().unwrap();
    let (mut tables, mut rows, mut settings) = (BTreeMap::new(), Vec::new(), String::new());
    let ledger = ledger("tables.json");
    for (catalog, below, locations, names) in CATALOGS {
        let database = folder.path().join(catalog);
        fastdata_write::Warehouse::open(&database).unwrap();
        let base = corpus.join(below);
        let rewrites: Vec<String> = locations.iter().map(|from| format!("{from}={}/", base.display())).collect();
        settings += &format!(
            "[catalogs.{catalog}]\ntype = \"sql\"\nuri = \"sqlite:///{}/catalog.db\"\nwarehouse = \"{}\"\nrewrites = {rewrites:?}\n",
            database.display(),
            base.display()
        );
        for name in names {
            let entry = ledger.iter().find(|entry| entry["table"] == format!("{below}/{name}")).unwrap_or_else(|| panic!("no {name}"));
            let metadata = base.join(name).join("metadata").join(entry["metadata"].as_str().unwrap());
            let table = name.replace('/', "_");
            rows.push(json!([database.join("catalog.db"), table, metadata]));
            tables.insert(format!("{catalog}.db.{table}"), entry["rows"].clone());
        }
    }
    std::fs::write(folder.path().join("fastdata.toml"), settings).unwrap();
    let script = "import json, sqlite3, sys\nfor db, table, metadata in json.loads(sys.argv[1]):\n    c = sqlite3.connect(db)\n    \
        c.execute(\"INSERT INTO iceberg_tables VALUES ('local', 'db', ?, ?, NULL, 'TABLE')\", (table, metadata))\n    c.commit()";
    let output = Command::new(python).args(["-c", script, &Value::from(rows).to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (folder, tables)
}

#[test]
fn other_engines_tables_show_the_same_served() {
    let (Some(corpus), Some(python)) = (corpus(), python()) else { return };
    let (folder, tables) = catalogs(&corpus, &python);
    let server = Server::with(folder.path(), &[]);
    let (_, listed, _) = same(folder.path(), &[], &server.uri, &["tables"]);
    assert_eq!(listed.lines().collect::<BTreeSet<_>>(), tables.keys().map(String::as_str).collect());
    same(folder.path(), &[], &server.uri, &["tables", "spark", "-o", "json"]);
    let mut sources = BTreeSet::new();
    for (table, rows) in &tables {
        for command in SHOWN {
            for format in ["table", "json"] {
                let (status, out, err) = same(folder.path(), &[], &server.uri, &[command, &[table, "-o", format]].concat());
                // A table that is refused can still be described; counting it is refused as a scan is.
                let refused = rows.is_null() && !["describe", "snapshots"].contains(&command[0]);
                assert!(status == Some(0) || (refused && status == Some(4)), "{command:?} {table}: {status:?} {err}");
                if command == ["count"] && format == "json" && !rows.is_null() {
                    let count: Value = serde_json::from_str(&out).unwrap();
                    assert_eq!(count["rows"], rows.to_string(), "{table}");
                    sources.insert(count["source"].as_str().unwrap().to_owned());
                }
            }
        }
    }
    assert_eq!(sources.into_iter().collect::<Vec<_>>(), ["footers", "metadata", "rows"]);
    same(folder.path(), &[], &server.uri, &["count", "lake.db.gperov_test", "--ref", "test-branch", "-o", "json"]);
    // A column was dropped since the snapshot: by its id alone it would be read with that column.
    let table = "duck.db.name_mapping_warehouse_1_mydb_t1";
    let shards = json_of(folder.path(), &["shards", table, "-n", "2"]);
    let (snapshot, schema) = (shards["request"]["snapshotId"].as_str().unwrap(), shards["request"]["schemaId"].to_string());
    let again = |more: &[&str]| {
        json_of(folder.path(), &[&["shards", table, "-n", "2", "--snapshot", snapshot], more].concat())["planDigest"].clone()
    };
    assert_eq!(again(&["--schema-id", &schema]), shards["planDigest"]);
    assert_ne!(again(&[]), shards["planDigest"]);
}

/// docs/actions.md names every action, and the members of what it answers.
#[test]
fn the_document_of_actions_is_the_codes() {
    let text = std::fs::read_to_string(root().join("docs/actions.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `fastdata.v1.")).count();
    assert_eq!(rows, ACTIONS.len());
    let server = Server::start();
    let client = Client::new(&server);
    for (action, _) in ACTIONS {
        let row = text.lines().find(|line| line.starts_with(&format!("| `{action}` |"))).unwrap_or_else(|| panic!("no row of {action}"));
        let cell = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let documented: BTreeSet<&str> = cell.split('`').skip(1).step_by(2).collect();
        let name = action.strip_prefix("fastdata.v1.").unwrap();
        let request = json!({"table": "demo.events"});
        let body = if name == "Shards" { json!({"request": request, "shards": 2}) } else { request };
        let Some(answer) = client.ask(name, &body) else { return };
        let one = answer.get(0).unwrap_or(&answer);
        let members: BTreeSet<&str> = one.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(documented, members, "{action}");
    }
}
