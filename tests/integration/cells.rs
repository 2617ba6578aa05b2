//! Other engines' tables, cell by cell, as pyiceberg reads them.
//!
//! `tests/ledger/pyiceberg.json` has one entry for each table: *equal*; *different*, with every difference, which side is right by the
//! specification and why; *pyiceberg fails*, with its error; *fastdata refuses*, where `tables.json` has the reason; or *no data*, where the
//! data files are not in the collection. Beside it, of each snapshot of the table, how many have which outcome. A difference that is not listed
//! fails the test, and so does a listed one that is gone.

use crate::corpus::{arguments, ledger, metadata_file, text};
use crate::support::{corpus, python, root};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the script says of each request, in order.
fn compare(python: &Path, requests: &[Value]) -> Vec<Value> {
    let script = root().join("tests/interop/pyiceberg_cells.py");
    let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines: String = requests.iter().map(|request| format!("{request}\n")).collect();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let answers: Vec<Value> = String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), requests.len(), "every table is compared");
    answers
}

fn request(table: &Value, corpus: &Path) -> Value {
    let (metadata, arguments) = (metadata_file(table, corpus), arguments(table, corpus));
    let mut command = vec![env!("CARGO_BIN_EXE_fastdata"), "scan", &metadata, "-o", "arrow"];
    command.extend(arguments.iter().map(String::as_str));
    json!({"metadata": metadata, "arguments": arguments, "command": command})
}

#[test]
fn the_comparison_sees_every_kind_of_difference() {
    let Some(python) = python() else { return };
    let output = Command::new(python).arg(root().join("tests/interop/pyiceberg_cells_test.py")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_cell_is_as_pyiceberg_reads_it_or_the_ledger_says_why_not() {
    let (Some(corpus), Some(python)) = (corpus(), python()) else { return };
    let (tables, ledger) = (ledger("tables.json"), ledger("pyiceberg.json"));
    let names = |entries: &[Value]| entries.iter().map(|entry| text(entry, "table").to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&ledger), names(&tables), "the ledger names every table, in the order of tables.json");

    let has_data = |table: &&Value| text(table, "outcome") != "planned";
    let requests: Vec<Value> = tables.iter().filter(has_data).map(|table| request(table, &corpus)).collect();
    let mut answers = compare(&python, &requests).into_iter();
    let mut wrong = Vec::new();
    for (entry, table) in ledger.iter().zip(&tables) {
        let answer = if has_data(&table) { answers.next().unwrap() } else { json!({"outcome": "no data"}) };
        if !is_as_listed(entry, table, &answer) {
            wrong.push(format!("{entry}\n  {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} tables:\n{}", wrong.len(), ledger.len(), wrong.join("\n"));
}

fn is_as_listed(entry: &Value, table: &Value, answer: &Value) -> bool {
    let outcome = text(entry, "outcome");
    if answer["outcome"] != outcome || entry["snapshots"] != outcomes_of_snapshots(answer) {
        return false;
    }
    let same_rows = table["rows"] == answer["rows"];
    let begins_as_listed = || text(answer, "error").starts_with(text(entry, "error"));
    match outcome {
        "equal" => same_rows && entry["cells"] == answer["cells"],
        "different" => {
            let is_explained = ["fastdata", "pyiceberg", "neither"].contains(&text(entry, "right")) && text(entry, "because").len() > 40;
            is_explained && same_rows && entry["differences"] == answer["differences"]
        }
        "pyiceberg fails" => begins_as_listed() && text(entry, "because").len() > 20,
        "fastdata refuses" => {
            let kind = format!("error: {}", text(table, "kind"));
            let is_refused = text(answer, "error").lines().any(|line| line == kind);
            is_refused && text(table, "outcome") == "refused" && entry["pyiceberg_rows"] == answer["pyiceberg_rows"]
        }
        "no data" => true,
        _ => false,
    }
}

/// How many snapshots of the table have which outcome; null where there is none to ask for.
fn outcomes_of_snapshots(answer: &Value) -> Value {
    let mut counts = BTreeMap::new();
    for snapshot in answer["snapshots"].as_object().into_iter().flatten().map(|(_, snapshot)| snapshot) {
        *counts.entry(text(snapshot, "outcome")).or_insert(0u64) += 1;
    }
    if counts.is_empty() { Value::Null } else { json!(counts) }
}
