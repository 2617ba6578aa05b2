//! Peak memory of the command: a scan stays within `--memory` plus 128 MiB on every table, whatever it writes.
//!
//! Contract: each table is scanned at 64 MiB and at 256 MiB. The scan succeeds, or is refused with `budget-too-small` and a figure; with that
//! figure it must succeed. Either way the peak stays within the budget of that run plus the allowance.

mod peak;
mod repeated;
mod tables;

use crate::corpus::{arguments, check_all, ledger, metadata_file, text};
use crate::support::corpus;
use peak::{Finished, watched};
use std::path::Path;
use tables::Made;

const ALLOWANCE_MIB: u64 = 128;

/// Scans at a budget; where it is refused, once more with the figure of the refusal. Returns what went wrong.
fn scan_within(directory: &Path, arguments: &[&str], mib: u64, rows: u64) -> Result<(), String> {
    let run = |mib: u64| {
        let budget = format!("{mib}MiB");
        let line = [&["scan", "--stats=json", "--timeout", "300s", "--memory", &budget], arguments].concat();
        let finished = watched(directory, &line);
        let within = finished.peak_mib <= mib + ALLOWANCE_MIB;
        let told = format!("fastdata {} peaked at {} MiB", line.join(" "), finished.peak_mib);
        eprintln!("{told}");
        within.then_some(finished).ok_or(told)
    };
    let first = run(mib)?;
    let finished = match refused(&first) {
        Some(figure) if figure > mib => run(figure)?,
        Some(figure) => return Err(format!("refused at {mib} MiB with the figure {figure} MiB: {}", first.stderr)),
        None => first,
    };
    match finished.rows() {
        Some(given) if given == rows => Ok(()),
        given => Err(format!("{arguments:?} at {mib} MiB: {rows} rows wanted, {given:?} given\n{}", finished.stderr)),
    }
}

/// The figure of a `budget-too-small`, in MiB.
fn refused(finished: &Finished) -> Option<u64> {
    let is_refusal = finished.status == Some(6) && finished.stderr.starts_with("error: budget-too-small\n");
    let figure = finished.stderr.split_once("give at least --memory ")?.1.split_once("MiB")?.0;
    figure.parse().ok().filter(|_| is_refusal)
}

/// Every output at 64 MiB, `none` at 256 MiB too.
fn holds(made: &Made, more: &[&str]) {
    let none: &[&str] = &["-o", "none"];
    let runs = [(64, none), (256, none), (64, &["-o", "parquet"]), (64, &["-o", "jsonl"]), (64, &["-o", "arrow"])];
    let failures: Vec<String> = runs
        .into_iter()
        .filter_map(|(mib, output)| {
            let arguments = [&["big.t", "--warehouse", "w"], more, output].concat();
            scan_within(made.directory(), &arguments, mib, made.rows).err()
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_wide_table_is_read_within_its_budget() {
    holds(&tables::wide(), &[]);
}

#[test]
fn a_long_table_is_read_within_its_budget() {
    holds(&tables::long(), &[]);
}

#[test]
fn one_huge_row_group_is_read_within_its_budget() {
    holds(&tables::huge_row_group(), &[]);
}

#[test]
fn many_small_files_are_read_within_their_budget() {
    holds(&tables::small_files(), &[]);
}

#[test]
fn long_lists_are_read_within_their_budget() {
    holds(&tables::long_lists(), &[]);
}

#[test]
fn many_position_and_equality_deletes_are_applied_within_their_budget() {
    holds(&tables::deletes(), &[]);
}

#[test]
fn many_deletion_vectors_are_applied_within_their_budget() {
    holds(&tables::vectors(), &[]);
}

#[test]
fn one_64_kib_value_repeated_a_million_times_is_read_within_its_budget() {
    let made = repeated::table();
    assert!(made.rows >= 1_000_000);
    let scan = |mib, rows, arguments: &[&str]| {
        scan_within(made.directory(), &[&["big.t", "--warehouse", "w"], arguments].concat(), mib, rows).unwrap_or_else(|e| panic!("{e}"));
    };
    scan(64, made.rows, &["-o", "none", "--strings", "view"]);
    // In other forms values are copied or hashed: enough of them to fill the budget many times.
    let rows = 20_000;
    scan(64, rows, &["-o", "none", "--strings", "dictionary", "--limit", &rows.to_string()]);
    scan(256, rows, &["-o", "none", "--limit", &rows.to_string()]);
    for output in ["none", "parquet", "jsonl", "arrow"] {
        scan(64, rows, &["-o", output, "--limit", &rows.to_string()]);
    }
}

#[test]
fn every_table_of_other_engines_is_read_within_64_mib() {
    let Some(corpus) = corpus() else { return };
    let ledger = ledger("tables.json");
    let passed: Vec<_> = ledger.into_iter().filter(|entry| text(entry, "outcome") == "passed").collect();
    assert!(passed.len() > 60, "{} tables are read", passed.len());
    check_all(&passed, |entry| {
        let (table, more) = (metadata_file(entry, &corpus), arguments(entry, &corpus));
        let line: Vec<&str> = ["-o", "none", &table].into_iter().chain(more.iter().map(String::as_str)).collect();
        scan_within(crate::support::root(), &line, 64, entry["rows"].as_u64().unwrap())
    });
}
