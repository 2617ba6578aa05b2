//! The queries that DuckDB's tests put to their tables, and the rows they expect.
//!
//! `tests/ledger/queries.json` has one entry for each query of the collection, in its order: *passed*, with the command line that
//! expresses it; *refused*, with kind and message; or *not expressible* in a scan, with the reason. The expected rows stay in the
//! collection and are read from there. Rows are compared value by value in DuckDB's own spelling, as a multiset: a scan has no order
//! by value, so that `ORDER BY` says nothing about it. Keys of an entry beside the command line:
//!
//! - `because`: why the command line asks the same.
//! - `compare`: `count` where the query counts rows; else the rows are compared.
//! - `named`: the columns that a query describes, where it leaves out some.
//! - `slice`: the characters of a text that the query takes, from 1, both inclusive.
//! - `keep`: the entries a map must have, where the query looks into one.
//! - `part`, of what is not expressible: the columns of the query's rows, from 0, that are compared all the same with the columns
//!   `columns` of what the command lists (`duckdb_text::listed`).

mod duckdb_text;

use crate::corpus::{Answer, arguments, ask, check_all, ledger, read, text};
use crate::support::corpus;
use duckdb_text::{cell, listed, restated};
use serde_json::Value;
use std::path::Path;

const QUERIES: usize = 129;

#[test]
fn every_query_is_answered_as_the_ledger_says() {
    let Some(corpus) = corpus() else { return };
    let (ledger, known) = (ledger("queries.json"), read(&corpus.join("QUERIES.json")));
    assert_eq!((ledger.len(), known.len()), (QUERIES, QUERIES));
    for (number, (entry, query)) in ledger.iter().zip(&known).enumerate() {
        assert_eq!(entry["query"], number, "the ledger names every query, in order");
        assert_eq!(entry["sql"], query["sql"], "the ledger has the text of query {number}");
    }
    check_all(&ledger, |entry| {
        let query = &known[usize::try_from(entry["query"].as_u64().unwrap()).unwrap()];
        check(entry, query, &corpus).map_err(|fault| format!("{entry}\n  {fault}"))
    });
}

fn check(entry: &Value, query: &Value, corpus: &Path) -> Result<(), String> {
    is_about_the_same_table(entry, query)?;
    match text(entry, "outcome") {
        "passed" => {
            let expected = results(query)?;
            match entry["compare"].as_str() {
                Some("count") => compare_count(entry, &expected, corpus),
                None => compare_rows(entry, &expected, corpus),
                Some(other) => Err(format!("{other} is no way to compare")),
            }
        }
        "refused" => {
            let (expects_error, has_reason) = (query["error"].is_string(), entry["reason"].is_string());
            if expects_error == has_reason {
                return Err("a refusal of what DuckDB refuses needs no reason, any other does".to_owned());
            }
            let answer = ask(&arguments(entry, corpus));
            let refused = answer.is_refusal(text(entry, "kind"), text(entry, "message"));
            if refused { Ok(()) } else { Err(format!("not refused so: {}{}", answer.stdout, answer.stderr)) }
        }
        "not expressible" => {
            assert!(text(entry, "reason").len() > 20, "{entry}");
            if entry["arguments"].is_null() { Ok(()) } else { compare_part(entry, &results(query)?, corpus) }
        }
        other => Err(format!("{other} is no outcome")),
    }
}

/// The command line is about the table that the query names, so that an entry cannot pass on another one.
fn is_about_the_same_table(entry: &Value, query: &Value) -> Result<(), String> {
    let (Some(table), Some(asked)) = (query["tables"][0].as_str(), entry["arguments"][1].as_str()) else { return Ok(()) };
    let named = format!("{{corpus}}/{table}");
    match asked.strip_prefix(&named) {
        Some(rest) if rest.is_empty() || rest.starts_with("/metadata/") => Ok(()),
        _ => Err(format!("{asked} is not the table {table}")),
    }
}

/// The query's rows, each cut into its cells.
fn results(query: &Value) -> Result<Vec<Vec<&str>>, String> {
    let rows = query["results"].as_array().ok_or("the query has no rows to compare with")?;
    Ok(rows.iter().map(|row| row.as_str().unwrap().split('\t').collect()).collect())
}

fn succeed(line: &[String]) -> Result<Answer, String> {
    let answer = ask(line);
    if answer.success { Ok(answer) } else { Err(format!("fails: {}", answer.stderr)) }
}

fn compare_count(entry: &Value, expected: &[Vec<&str>], corpus: &Path) -> Result<(), String> {
    let mut line = arguments(entry, corpus);
    let counted = if line[0] == "scan" {
        line.extend(["-o", "none", "--stats=json"].map(str::to_owned));
        succeed(&line)?.rows().ok_or("the scan says no number of rows")?
    } else {
        listing(&line)?.len() as u64
    };
    if expected == [[counted.to_string()]] { Ok(()) } else { Err(format!("counts {counted}, expected {expected:?}")) }
}

fn compare_rows(entry: &Value, expected: &[Vec<&str>], corpus: &Path) -> Result<(), String> {
    let line = arguments(entry, corpus);
    if line[0] == "scan" {
        let (types, rows) = scan(entry, &line)?;
        let expected = expected.iter().map(|row| row.iter().zip(&types).map(|(cell, ty)| restated(cell, ty)).collect()).collect();
        return same(expected, rows);
    }
    let expected = expected.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect()).collect();
    let is_named = |row: &Vec<String>| entry["named"].as_array().is_none_or(|names| names.contains(&Value::from(row[0].as_str())));
    same(expected, listing(&line)?.into_iter().filter(is_named).collect())
}

/// Of the rows whose status is not DELETED, the distinct combinations of the columns that can be compared.
fn compare_part(entry: &Value, expected: &[Vec<&str>], corpus: &Path) -> Result<(), String> {
    let part: Vec<usize> = numbers(&entry["part"]);
    let live = expected.iter().filter(|row| !row.contains(&"DELETED"));
    let mut expected: Vec<Vec<String>> = live.map(|row| part.iter().map(|&at| row[at].to_owned()).collect()).collect();
    expected.sort();
    expected.dedup();
    let columns = numbers(&entry["columns"]);
    let listed = listing(&arguments(entry, corpus))?;
    same(expected, listed.iter().map(|row| columns.iter().map(|&at| row[at].clone()).collect()).collect())
}

fn same(mut expected: Vec<Vec<String>>, mut found: Vec<Vec<String>>) -> Result<(), String> {
    expected.sort();
    found.sort();
    if expected == found { Ok(()) } else { Err(format!("expected {expected:?}\n  found    {found:?}")) }
}

fn numbers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|number| usize::try_from(number.as_u64().unwrap()).unwrap()).collect()
}

/// What `describe`, `files` or `snapshots` lists, each line as the cells of `duckdb_text::listed`.
fn listing(line: &[String]) -> Result<Vec<Vec<String>>, String> {
    let mut line = line.to_vec();
    line.extend(["-o", "json"].map(str::to_owned));
    let document: Value = serde_json::from_str(&succeed(&line)?.stdout).map_err(|error| error.to_string())?;
    let rows = if line[0] == "describe" { &document["schema"]["fields"] } else { &document };
    Ok(rows.as_array().ok_or("no list")?.iter().map(|row| listed(&line[0], row)).collect())
}

/// The types of a scan's columns and its rows in DuckDB's spelling.
fn scan(entry: &Value, line: &[String]) -> Result<(Vec<String>, Vec<Vec<String>>), String> {
    let fields = fields(line)?;
    let mut line = line.to_vec();
    line.extend(["-o", "jsonl"].map(str::to_owned));
    let mut rows = Vec::new();
    for row in succeed(&line)?.stdout.lines() {
        let row: Value = serde_json::from_str(row).map_err(|error| error.to_string())?;
        if !is_kept(entry, &row) {
            continue;
        }
        rows.push(fields.iter().map(|field| sliced(entry, text(field, "name"), cell(&row[text(field, "name")], field))).collect());
    }
    Ok((fields.iter().map(|field| text(field, "type").to_owned()).collect(), rows))
}

/// The columns of a scan, in order, as `describe` tells of them; `_file` is a string.
fn fields(line: &[String]) -> Result<Vec<Value>, String> {
    let value_of = |flag: &str| line.iter().position(|argument| argument == flag).map(|at| &line[at + 1]);
    let mut describe = vec!["describe".to_owned(), line[1].clone(), "-o".to_owned(), "json".to_owned()];
    describe.extend(line.iter().filter(|&argument| argument == "--moved").cloned());
    for flag in ["--rewrite", "--allow"] {
        describe.extend(value_of(flag).into_iter().flat_map(|value| [flag.to_owned(), value.clone()]));
    }
    let document: Value = serde_json::from_str(&succeed(&describe)?.stdout).map_err(|error| error.to_string())?;
    let mut fields = document["schema"]["fields"].as_array().ok_or("no fields")?.clone();
    fields.push(serde_json::json!({"name": "_file", "type": "string"}));
    let Some(select) = value_of("--select") else {
        fields.pop();
        return Ok(fields);
    };
    let named = |name: &str| fields.iter().find(|field| text(field, "name") == name).cloned();
    select.split(',').map(|name| named(name).ok_or_else(|| format!("no column {name}"))).collect()
}

fn is_kept(entry: &Value, row: &Value) -> bool {
    let Some(keep) = entry["keep"].as_object() else { return true };
    keep.iter().all(|(column, entries)| entries.as_object().unwrap().iter().all(|(key, value)| row[column][key] == *value))
}

fn sliced(entry: &Value, column: &str, cell: String) -> String {
    let slice = &entry["slice"][column];
    if slice.is_null() {
        return cell;
    }
    let ends = numbers(slice);
    cell.chars().skip(ends[0] - 1).take(ends[1] + 1 - ends[0]).collect()
}
