//! Other engines' tables in buckets of the names that their metadata has, read there as they are.
//!
//! How: the ledger says how each is read from its folder, with `--moved` or a rewrite; turned round, the same says where its files belong. Some tables of
//! different projects claim the same place with different files: they take turns.

use super::lake::filled;
use crate::corpus::{Answer, arguments, ask_with, check_all, ledger, metadata_file, outcome_as_listed, read, text};
use crate::support::{corpus, root};
use fastdata_testkit::services::minio::{self, Minio};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
    let page = std::fs::read_to_string(root().join("docs/stores/s3.md")).unwrap();
    let shown: String = page.lines().filter_map(|line| line.strip_prefix("export ")).map(|line| format!("{line}\n")).collect();
    let real = [
        ("http://minio.example.com:9000", minio.endpoint()),
        ("ACCESS-KEY", minio::ACCESS_KEY_ID),
        ("SECRET-KEY", minio::SECRET_ACCESS_KEY),
    ];
    let shown = filled(&shown, &real);
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
