//! README's compatibility table, the results behind it, and the suite that both come from.
//!
//! Contract: `docs/results/compatibility.json` holds what each check of [`CHECKS`] came out as, for each kind; a run that differs fails.
//! `FASTDATA_COMPATIBILITY=write`, with `FASTDATA_SOAK=1`, has the file and README's table written anew instead, by the kinds that run.

use super::lake::{Kind, Lake};
use super::suite::{CHECKS, Outcome, Tables};
use crate::support::{root, soak};
use serde_json::{Map, Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

const RESULTS: &str = "docs/results/compatibility.json";
const BEGIN: &str = "<!-- compatibility: written by the tests -->\n";
const END: &str = "<!-- compatibility: end -->";

fn results() -> Map<String, Value> {
    let text = std::fs::read(root().join(RESULTS)).unwrap_or_else(|e| panic!("{RESULTS}: {e}"));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{RESULTS}: {e}"))
}

/// Runs every check, also behind one that fails.
fn run(kind: Kind) {
    let Some(lake) = Lake::open(kind) else { return };
    let program = lake.program();
    let tables = Tables::of(lake);
    let (mut outcomes, mut failed) = (Map::new(), Vec::new());
    for (name, check) in CHECKS {
        match catch_unwind(AssertUnwindSafe(|| check(&tables))) {
            Ok(outcome) => drop(outcomes.insert(name.to_owned(), told(&outcome))),
            Err(_) => failed.push(name),
        }
    }
    assert!(failed.is_empty(), "{kind:?}: failed: {}", failed.join(", "));
    let ran = json!({"program": program, "checks": outcomes});
    if std::env::var("FASTDATA_COMPATIBILITY").as_deref() == Ok("write") {
        assert!(soak() || !kind.is_rest(), "what is written of a REST catalog is of the long form: FASTDATA_SOAK=1");
        return write(kind, ran);
    }
    assert_eq!(results().get(kind.name()), Some(&ran), "{RESULTS} tells another result: FASTDATA_COMPATIBILITY=write writes it anew");
}

fn told(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Passed => json!({"outcome": "yes"}),
        Outcome::Part(lacking) => json!({"outcome": "part", "because": lacking}),
        Outcome::None(reason) => json!({"outcome": "none", "because": reason}),
    }
}

fn write(kind: Kind, ran: Value) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut results = if root().join(RESULTS).exists() { results() } else { Map::new() };
    results.insert(kind.name().to_owned(), ran);
    std::fs::write(root().join(RESULTS), format!("{:#}\n", Value::Object(results.clone()))).unwrap();
    if Kind::ALL.iter().all(|kind| results.contains_key(kind.name())) {
        let readme = root().join("README.md");
        let text = std::fs::read_to_string(&readme).unwrap();
        let (before, after) = around(&text);
        std::fs::write(readme, format!("{before}{BEGIN}{}{END}{after}", table(&results))).unwrap();
    }
}

/// What stands before and behind the table.
fn around(readme: &str) -> (&str, &str) {
    let (before, rest) = readme.split_once(BEGIN).expect("README.md has the place of the table");
    (before, rest.split_once(END).expect("README.md has the end of the table").1)
}

/// The table, and below it what is not a plain yes.
fn table(results: &Map<String, Value>) -> String {
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    let mut out = format!("\n| | {} |\n|---|{}\n", kinds.join(" | "), "---|".repeat(kinds.len()));
    let mut notes: Vec<String> = Vec::new();
    for (check, _) in CHECKS {
        let cells: Vec<String> = kinds
            .iter()
            .map(|kind| {
                let result = &results[*kind]["checks"][check];
                let word = match result["outcome"].as_str() {
                    Some("yes") => return "yes".to_owned(),
                    Some("part") => "part",
                    _ => "–",
                };
                let because = result["because"].as_str().unwrap_or_default().to_owned();
                let number = notes.iter().position(|known| *known == because).unwrap_or_else(|| {
                    notes.push(because);
                    notes.len() - 1
                });
                format!("{word} ({})", number + 1)
            })
            .collect();
        out.push_str(&format!("| {check} | {} |\n", cells.join(" | ")));
    }
    out.push('\n');
    let programs: Vec<String> =
        kinds.iter().map(|kind| format!("{kind}: {}", results[*kind]["program"].as_str().unwrap_or_default())).collect();
    out.push_str(&format!(
        "{}. Glue and Hive are untested: `make check-features` and `make soak` compile them, and `make test` does not. `make test` lists \
         240 tables of a REST catalog, `make soak` 2 000.\n\n",
        programs.join("; ")
    ));
    for (number, note) in notes.iter().enumerate() {
        out.push_str(&format!("{}. {note}\n", number + 1));
    }
    out.push('\n');
    out
}

#[test]
fn the_table_in_readme_is_what_the_results_say() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (before, after) = around(&readme);
    let shown = &readme[before.len() + BEGIN.len()..readme.len() - END.len() - after.len()];
    assert_eq!(shown, table(&results()), "FASTDATA_COMPATIBILITY=write writes it anew");
}

#[test]
fn every_promise_holds_with_a_sqlite_catalog() {
    run(Kind::Sqlite);
}

#[test]
fn every_promise_holds_with_a_postgresql_catalog() {
    run(Kind::Postgres);
}

#[test]
fn every_promise_holds_with_the_reference_rest_catalog() {
    run(Kind::Reference);
}

#[test]
fn every_promise_holds_behind_a_strict_door() {
    run(Kind::Door);
}

#[test]
fn every_promise_holds_with_nessie() {
    run(Kind::Nessie);
}

#[test]
fn every_promise_holds_with_table_folders() {
    run(Kind::Files);
}
