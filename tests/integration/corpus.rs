//! Tables that other engines wrote, and what their own tests expect of them.
//!
//! `tests/ledger/tables.json` names every table of the corpus, with what comes out and who says so. The test here runs them
//! through the command line and holds it to the ledger, so that nothing starts or stops being read in silence. The other
//! ledgers are run with what this file shares: `queries.rs`, `cells.rs`.

use crate::support::{corpus, fastdata, root};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) fn ledger(name: &str) -> Vec<Value> {
    read(&root().join("tests/ledger").join(name))
}

pub(super) fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(super) fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry[key].as_str().unwrap_or_else(|| panic!("{key} missing in {entry}"))
}

/// The command line of an entry: `{corpus}` stands for the corpus folder.
pub(super) fn arguments(entry: &Value, corpus: &Path) -> Vec<String> {
    let list = entry["arguments"].as_array().unwrap_or_else(|| panic!("arguments missing in {entry}"));
    list.iter().map(|argument| argument.as_str().unwrap().replace("{corpus}", corpus.to_str().unwrap())).collect()
}

pub(super) fn metadata_file(entry: &Value, corpus: &Path) -> String {
    corpus.join(text(entry, "table")).join("metadata").join(text(entry, "metadata")).to_str().unwrap().to_owned()
}

/// What a command answered.
pub(super) struct Answer {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    /// Rows of a scan that ran with `--stats=json`.
    pub fn rows(&self) -> Option<u64> {
        let stats: Value = serde_json::from_str(self.stderr.lines().last()?).ok()?;
        stats["rows"].as_u64()
    }

    pub fn is_refusal(&self, kind: &str, message: &str) -> bool {
        !self.success && self.stderr.lines().any(|line| line == format!("error: {kind}")) && self.stderr.contains(message)
    }
}

pub(super) fn ask(arguments: &[String]) -> Answer {
    ask_with(arguments, &[])
}

pub(super) fn ask_with(arguments: &[String], environment: &[(&str, &str)]) -> Answer {
    let output = fastdata(root()).args(arguments).envs(environment.iter().copied()).output().expect("the binary runs");
    Answer {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Checks every entry, a few at a time, and fails with all that is wrong.
pub(super) fn check_all(entries: &[Value], check: impl Fn(&Value) -> Result<(), String> + Sync) {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(entry) = entries.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(fault) = check(entry) {
                        lock(&wrong).push(fault);
                    }
                }
            });
        }
    });
    let wrong = lock(&wrong);
    assert!(wrong.is_empty(), "{} of {} entries:\n{}", wrong.len(), entries.len(), wrong.join("\n"));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn every_table_gives_what_the_ledger_says() {
    let Some(corpus) = corpus() else { return };
    let ledger = ledger("tables.json");
    let named: BTreeSet<&str> = ledger.iter().map(|entry| text(entry, "table")).collect();
    let known = read(&corpus.join("TABLES.json"));
    assert_eq!(named, known.iter().map(|table| text(table, "table")).collect(), "the ledger names every table once");
    assert_eq!((ledger.len(), known.len()), (90, 90));
    for table in &known {
        let entry = ledger.iter().find(|entry| entry["table"] == table["table"]).unwrap();
        let rows = &entry["rows"];
        match text(entry, "oracle") {
            "tests of its project" => assert_eq!(*rows, table["expected_rows"], "{entry}"),
            "pyiceberg 0.12" => assert_eq!(*rows, table["pyiceberg_0_12"], "{entry}"),
            "specification" => assert!(text(entry, "reason").len() > 40, "{entry}"),
            other => panic!("{other} is no oracle"),
        }
        assert!(table["expected_rows"].is_null() || *rows == table["expected_rows"], "{entry}");
    }
    check_all(&ledger, |entry| check(entry, &corpus));
}

fn check(entry: &Value, corpus: &Path) -> Result<(), String> {
    outcome_as_listed(entry, &metadata_file(entry, corpus), &arguments(entry, corpus), &[])
}

/// Whether a table comes out as its entry says, wherever its metadata file lies.
pub(super) fn outcome_as_listed(entry: &Value, metadata: &str, arguments: &[String], environment: &[(&str, &str)]) -> Result<(), String> {
    let outcome = text(entry, "outcome");
    let command = if outcome == "planned" { ["plan", "-o", "json"].as_slice() } else { &["scan", "-o", "none", "--stats=json"] };
    let mut line: Vec<String> = command.iter().map(|part| (*part).to_owned()).collect();
    line.push(metadata.to_owned());
    line.extend(arguments.iter().cloned());
    let answer = ask_with(&line, environment);
    let good = match outcome {
        "passed" => answer.success && answer.rows().is_some() && answer.rows() == entry["rows"].as_u64(),
        "refused" => answer.is_refusal(text(entry, "kind"), text(entry, "message")),
        "planned" => serde_json::from_str::<Value>(&answer.stdout)
            .is_ok_and(|plan| plan["files"] == entry["files"] && plan["rows_estimated"] == entry["rows"]),
        _ => false,
    };
    if good { Ok(()) } else { Err(format!("{entry}\n  {}\n  {}", answer.stdout, answer.stderr)) }
}
