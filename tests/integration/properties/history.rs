//! Time travel: every snapshot, branch, tag, moment and range gives the rows of the model, in the schema that goes with it.

use super::wide::Wide;
use super::{Table, any_shape, failed, hold, request, same, scan};
use fastdata_testkit::table::{History, Shape};
use fastdata_types::{ErrorKind, ScanRequest, Schema};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use std::collections::BTreeSet;

/// The rows of a snapshot in a schema, however it is asked for.
fn shows(table: &Table, request: ScanRequest, snapshot: i64, schema: &Schema) -> TestCaseResult {
    let rows = table.built.model.rows(snapshot, schema);
    let wide = Wide::of(table, schema, rows);
    let asked = ScanRequest { columns: wide.names(), ..request };
    let scanned = scan(&table.engine(2, 64 << 20)?, &asked).map_err(|e| failed(e.context(format!("{asked:?}"))))?;
    prop_assert_eq!(scanned.plan.snapshot_id, Some(snapshot), "{:?}", asked);
    same(&format!("{asked:?}"), &wide.lines(), &scanned.lines()?)
}

fn is_unknown(table: &Table, request: ScanRequest) -> TestCaseResult {
    match scan(&table.engine(1, 64 << 20)?, &request) {
        Err(e) if e.kind() == ErrorKind::NotFound && e.advice_text().is_some() => Ok(()),
        other => Err(proptest::test_runner::TestCaseError::fail(format!("{request:?} gave {:?}", other.map(|s| s.batches)))),
    }
}

fn every_state_is_the_models(shape: &Shape) -> TestCaseResult {
    let table = Table::make(shape)?;
    let (built, current) = (&table.built, table.built.schema());
    let model = &built.model;
    for snapshot in &model.snapshots {
        shows(&table, ScanRequest { snapshot_id: Some(snapshot.id), ..request() }, snapshot.id, &snapshot.schema)?;
    }
    for (name, id) in &built.refs {
        let own = &model.snapshot(*id).expect("refs name snapshots").schema;
        let schema = if name == "audit" { current } else { own };
        shows(&table, ScanRequest { r#ref: Some(name.clone()), ..request() }, *id, schema)?;
    }
    let main = built.table.current_snapshot_id().expect("every table has an append");
    shows(&table, ScanRequest { r#ref: Some("main".to_owned()), ..request() }, main, current)?;

    let log = built.table.snapshot_log();
    for (nth, entry) in log.iter().enumerate() {
        let own = &model.snapshot(entry.snapshot_id).expect("the log names snapshots").schema;
        let until = log.get(nth + 1).map_or(entry.timestamp_ms + 1_000_000, |next| next.timestamp_ms - 1);
        for time in BTreeSet::from([entry.timestamp_ms, until]) {
            shows(&table, ScanRequest { as_of_ms: Some(time), ..request() }, entry.snapshot_id, own)?;
        }
    }
    let before = log.first().map_or(0, |first| first.timestamp_ms - 1);
    is_unknown(&table, ScanRequest { as_of_ms: Some(before), ..request() })
}

fn every_range_is_the_appends_in_it(shape: &Shape) -> TestCaseResult {
    let table = Table::make(shape)?;
    let (built, model) = (&table.built, &table.built.model);
    let engine = table.engine(2, 64 << 20)?;
    for end in &model.snapshots {
        // What leads to the end, itself and the expired parent of the oldest included.
        let mut line = vec![end.id];
        let mut at = Some(end);
        while let Some(snapshot) = at {
            line.extend(snapshot.parent_id);
            at = snapshot.parent_id.and_then(|parent| model.snapshot(parent));
        }
        for from in line.iter().copied().chain(model.snapshots.iter().map(|s| s.id)).collect::<BTreeSet<i64>>() {
            let asked = ScanRequest { from_snapshot_id: Some(from), to_snapshot_id: Some(end.id), ..request() };
            if !line.contains(&from) {
                is_unknown(&table, asked)?;
                continue;
            }
            let rows = model.appended_rows(Some(from), end.id, built.schema());
            let wide = Wide::of(&table, built.schema(), rows);
            let asked = ScanRequest { columns: wide.names(), ..asked };
            let scanned = scan(&engine, &asked).map_err(|e| failed(e.context(format!("{asked:?}"))))?;
            same(&format!("{asked:?}"), &wide.lines(), &scanned.lines()?)?;
        }
    }
    Ok(())
}

fn with_history() -> impl Strategy<Value = Shape> {
    (any_shape(), 2usize..5, any::<bool>()).prop_map(|(shape, appends, long)| {
        let history = if long { History { expire: shape.history.expire, ..History::LONG } } else { shape.history };
        Shape { history: History { appends, ..history }, ..shape }.settled()
    })
}

#[test]
fn every_snapshot_ref_and_moment_gives_the_rows_of_the_model() {
    hold(8, with_history(), |shape| every_state_is_the_models(&shape));
}

#[test]
fn every_range_of_snapshots_gives_the_rows_that_its_appends_added() {
    hold(8, with_history(), |shape| every_range_is_the_appends_in_it(&shape));
}
