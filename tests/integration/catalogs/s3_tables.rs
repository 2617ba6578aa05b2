//! Other engines' tables in buckets of the names that their metadata has, read there as they are.
//!
//! How: the ledger says how each is read from its folder, with `--moved` or a rewrite; turned round, the same says where its files belong. Some tables of
//! different projects claim the same place with different files: they take turns.

use super::lake::{Ran, closed, filled};
use super::suite::SOON;
use crate::corpus::{Answer, arguments, ask_with, check_all, ledger, metadata_file, outcome_as_listed, read, text};
use crate::support::{corpus, fastdata, root};
use fastdata_testkit::services::minio::{self, Minio};
use fastdata_testkit::table::{Layout, Shape, build};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A table's entry in the ledger, and what has to be where.
struct Placed {
    entry: Value,
    /// Location of each file, and where it is now.
    files: BTreeMap<String, PathBuf>,
    metadata: String,
    /// What the command line needs beside the table.
    arguments: Vec<String>,
}

/// Locations and the folders that stand for them, longest first.
type Places = Vec<(String, PathBuf)>;

fn placed(entry: &Value, location: &str, corpus: &Path) -> Placed {
    let given = arguments(entry, corpus);
    let table = corpus.join(text(entry, "table"));
    let values = |flag: &str| given.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1].clone()).collect::<Vec<_>>();
    let mut places: Places = values("--rewrite")
        .iter()
        .map(|rewrite| rewrite.split_once('=').map(|(from, to)| (from.trim_end_matches('/').to_owned(), PathBuf::from(to))).unwrap())
        .collect();
    if places.is_empty() {
        places.push((location.trim_end_matches('/').to_owned(), table.clone()));
    }
    let allowed: Vec<PathBuf> = values("--allow").iter().map(PathBuf::from).collect();
    let mut files = BTreeMap::new();
    for folder in allowed.iter().chain([&table]) {
        add_files(folder, &places, &mut files);
    }
    let arguments = allowed.iter().flat_map(|folder| ["--allow".to_owned(), location_of(folder, &places)]).collect();
    let metadata = location_of(Path::new(&metadata_file(entry, corpus)), &places);
    Placed { entry: entry.clone(), files, metadata, arguments }
}

fn location_of(path: &Path, places: &Places) -> String {
    let found = places.iter().find_map(|(location, folder)| Some((location, path.strip_prefix(folder).ok()?)));
    let (location, below) = found.unwrap_or_else(|| panic!("{} has no place in a bucket", path.display()));
    format!("{location}/{}", below.display()).trim_end_matches('/').to_owned()
}

fn add_files(folder: &Path, places: &Places, files: &mut BTreeMap<String, PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_files(&path, places, files);
        } else {
            let location = location_of(&path, places);
            let (_, key) = location.split_once("://").unwrap();
            files.insert(key.to_owned(), path);
        }
    }
}

/// Tables whose files do not stand in each other's place, turn by turn.
fn turns(tables: Vec<Placed>) -> Vec<Vec<Placed>> {
    let mut turns: Vec<(BTreeMap<String, PathBuf>, Vec<Placed>)> = Vec::new();
    for table in tables {
        let same = |a: &Path, b: &Path| a == b || std::fs::read(a).unwrap() == std::fs::read(b).unwrap();
        let fits =
            |files: &BTreeMap<String, PathBuf>| table.files.iter().all(|(key, path)| files.get(key).is_none_or(|there| same(there, path)));
        match turns.iter_mut().find(|(files, _)| fits(files)) {
            Some((files, tables)) => {
                files.extend(table.files.clone());
                tables.push(table);
            }
            None => turns.push((table.files.clone(), vec![table])),
        }
    }
    turns.into_iter().map(|(_, tables)| tables).collect()
}

#[test]
fn tables_of_other_engines_are_read_in_buckets_of_their_own_names() {
    let (Some(corpus), Some(minio)) = (corpus(), Minio::start()) else { return };
    let known = read(&corpus.join("TABLES.json"));
    let location = |entry: &Value| text(known.iter().find(|table| table["table"] == entry["table"]).unwrap(), "location").to_owned();
    let tables: Vec<Placed> = ledger("tables.json")
        .iter()
        .filter(|entry| ["s3://", "s3a://"].iter().any(|scheme| location(entry).starts_with(scheme)))
        .map(|entry| placed(entry, &location(entry), &corpus))
        .collect();
    assert_eq!(tables.len(), 41);
    let shown = documented_environment(minio.endpoint(), minio::ACCESS_KEY_ID, minio::SECRET_ACCESS_KEY);
    let environment: Vec<(&str, &str)> = shown.lines().filter_map(|line| line.split_once('=')).collect();
    for tables in turns(tables) {
        for (key, path) in tables.iter().flat_map(|table| &table.files) {
            let (bucket, key) = key.split_once('/').unwrap();
            minio.put(bucket, key, std::fs::read(path).unwrap());
        }
        let entries: Vec<Value> = tables.iter().map(|table| table.entry.clone()).collect();
        check_all(&entries, |entry| {
            let table = tables.iter().find(|table| table.entry["table"] == entry["table"]).unwrap();
            check(table, &corpus, &environment)
        });
    }
}

/// The lines of docs/stores/s3.md that set the environment, with these values.
fn documented_environment(endpoint: &str, key: &str, secret: &str) -> String {
    let page = std::fs::read_to_string(root().join("docs/stores/s3.md")).unwrap();
    let shown: String = page.lines().filter_map(|line| line.strip_prefix("export ")).map(|line| format!("{line}\n")).collect();
    filled(&shown, &[("http://minio.example.com:9000", endpoint), ("ACCESS-KEY", key), ("SECRET-KEY", secret)])
}

/// Without a catalog, with the environment of the page: its promises where the store does not give the table.
#[test]
fn a_table_given_by_location_says_what_its_store_refuses() {
    let Some(minio) = Minio::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let location = "s3://static/sales/orders".to_owned();
    let shape = Shape { layout: Layout { location: Some(location.clone()), ..Layout::default() }, ..Shape::default() };
    let built = build(&shape, folder.path()).unwrap();
    minio.put_directory("static", "sales/orders/", &built.table_folder());
    let scan = |table: &str, environment: &str, more: &[(&str, &str)]| {
        let mut command = fastdata(folder.path());
        command.args(["scan", table, "-o", "jsonl"]).envs(environment.lines().filter_map(|line| line.split_once('='))).envs(more.to_vec());
        Ran::of(command)
    };
    let right = documented_environment(minio.endpoint(), minio::ACCESS_KEY_ID, minio::SECRET_ACCESS_KEY);
    for spelled in [location.as_str(), "s3a://static/sales/orders"] {
        let ran = scan(spelled, &right, &[]);
        assert_eq!((ran.status, ran.stderr.as_str(), ran.lines().len()), (0, "", built.current_rows().len()));
    }
    scan("s3://static/sales/ordres", &right, &[]).assert_refused("not-found", 2, &["s3://static/sales/ordres"]);

    let wrong = documented_environment(minio.endpoint(), minio::ACCESS_KEY_ID, "wrong-secret");
    let ran = scan(&location, &wrong, &[]);
    ran.assert_refused("unauthenticated", 5, &["SignatureDoesNotMatch", "s3://static/sales/orders"]);
    assert!(!ran.stderr.contains("wrong-secret"), "{ran:?}");
    scan(&location, &documented_environment(minio.endpoint(), "nobody", "wrong-secret"), &[]).assert_refused(
        "unauthenticated",
        5,
        &["InvalidAccessKeyId"],
    );

    // A session that lists the bucket and opens another prefix.
    let policy = r#"{"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::static"},
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::static/other/*"}]}"#;
    let session = minio.assume_role(Duration::from_secs(900), Some(policy));
    let narrow = documented_environment(minio.endpoint(), &session.access_key_id, &session.secret_access_key);
    let token = session.session_token.as_deref().unwrap();
    scan(&location, &narrow, &[("AWS_SESSION_TOKEN", token)]).assert_refused("permission-denied", 5, &["s3://static/sales/orders"]);

    let dead = closed();
    let started = Instant::now();
    scan(&location, &documented_environment(&format!("http://{dead}"), "any", "any"), &[]).assert_refused(
        "unavailable",
        7,
        &[&dead, "trying again may help"],
    );
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

/// As the ledger has it, and cell by cell as from the folder.
fn check(table: &Placed, corpus: &Path, environment: &[(&str, &str)]) -> Result<(), String> {
    outcome_as_listed(&table.entry, &table.metadata, &table.arguments, environment)?;
    if table.entry["outcome"] != "passed" {
        return Ok(());
    }
    let scan = |metadata: &str, more: &[String], environment: &[(&str, &str)]| {
        let line = ["scan", "-o", "jsonl", "--order", "stable", metadata].map(str::to_owned);
        ask_with(&[line.as_slice(), more].concat(), environment)
    };
    let here = scan(&metadata_file(&table.entry, corpus), &arguments(&table.entry, corpus), &[]);
    let there = scan(&table.metadata, &table.arguments, environment);
    let same = |a: &Answer, b: &Answer| a.success && b.success && a.stdout == b.stdout;
    if same(&here, &there) { Ok(()) } else { Err(format!("{}: {} {}", table.metadata, here.stderr, there.stderr)) }
}
