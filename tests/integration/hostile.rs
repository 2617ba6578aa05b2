//! Tables made to harm their reader: each ends as the ledger says, in bounded memory, with no word of what lies elsewhere.

use crate::support::{corpus, python, root};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Peak memory beside the budget, in MiB.
pub(crate) const HEADROOM_MIB: u64 = 128;
pub(crate) const BUDGET_MIB: u64 = 64;

/// Runs commands under limits and without a network; one answer each.
pub(crate) fn run_limited(python: &Path, commands: &[Vec<String>]) -> Vec<Value> {
    let script = root().join("tests/interop/run_limited.py");
    let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines: String = commands.iter().map(|command| format!("{}\n", json!(command))).collect();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let answers: Vec<Value> = String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), commands.len(), "every command is answered");
    answers
}

pub(crate) fn scan(table: &Path) -> Vec<String> {
    let budget = format!("{BUDGET_MIB}MiB");
    [env!("CARGO_BIN_EXE_fastdata"), "scan", table.to_str().unwrap(), "-o", "none", "--timeout", "60s", "--memory", &budget, "--stats=json"]
        .map(str::to_owned)
        .to_vec()
}

fn rows_of(stderr: &str) -> Option<u64> {
    let stats: Value = serde_json::from_str(stderr.lines().last()?).ok()?;
    stats["rows"].as_u64()
}

#[test]
fn hostile_tables_end_as_the_ledger_says_in_bounded_memory() {
    let (Some(corpus), Some(python)) = (corpus(), python()) else { return };
    let made = tempfile::tempdir().unwrap();
    let generator = corpus.parent().unwrap().join("hostile/make_hostile.py");
    let output = Command::new(&python).arg(generator).arg(made.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made_tables: BTreeMap<String, Value> = serde_json::from_slice(&std::fs::read(made.path().join("EXPECT.json")).unwrap()).unwrap();
    let ledger: BTreeMap<String, Value> =
        serde_json::from_slice(&std::fs::read(root().join("tests/ledger/hostile.json")).unwrap()).unwrap();
    assert_eq!(ledger.keys().collect::<Vec<_>>(), made_tables.keys().collect::<Vec<_>>(), "the ledger names every table");
    assert_eq!(ledger.len(), 51);

    let commands: Vec<Vec<String>> = ledger.keys().map(|name| scan(&made.path().join(name))).collect();
    let mut wrong = Vec::new();
    for ((name, expected), answer) in ledger.iter().zip(run_limited(&python, &commands)) {
        let stderr = answer["stderr"].as_str().unwrap();
        let good = match (expected["rows"].as_u64(), expected["kind"].as_str()) {
            (Some(rows), _) => answer["status"] == 0 && rows_of(stderr) == Some(rows),
            (_, Some(kind)) => answer["status"].as_i64().is_some_and(|s| s > 0) && stderr.contains(&format!("error: {kind}\n")),
            _ => false,
        };
        let bounded = answer["peak_mib"].as_u64().unwrap() <= expected["peak_mib"].as_u64().unwrap_or(BUDGET_MIB + HEADROOM_MIB);
        if !good || !bounded || stderr.contains("root:") || stderr.contains("panicked") {
            wrong.push(format!("{name}: expected {expected}, got {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), ledger.len(), wrong.join("\n"));
}
