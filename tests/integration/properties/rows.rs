//! What comes back: every row of the model, in table order, and of a filtered scan those that the filter lets pass.

use super::filter::{Sketch, any_sketch};
use super::wide::Wide;
use super::{Table, any_shape, failed, hold, read, request, runtime, same, scan};
use fastdata_testkit::table::{Shape, lines};
use fastdata_types::ScanRequest;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use std::cell::Cell;

fn full_scan_is_the_model(shape: &Shape) -> TestCaseResult {
    let table = Table::make(shape)?;
    let engine = table.engine(2, 64 << 20)?;
    let wide = Wide::current(&table);
    let scanned = scan(&engine, &ScanRequest { columns: wide.names(), ..request() }).map_err(failed)?;
    same("every column", &wide.lines(), &scanned.lines()?)?;
    let plain = scan(&engine, &request()).map_err(failed)?;
    same("the table's columns", &lines(&table.built.current_values()), &plain.lines()?)
}

/// The shapes that take one axis at a time: what a report of a failure would begin with.
#[test]
fn a_full_scan_returns_every_row_in_table_order_on_each_axis() {
    let failures: Vec<String> = Shape::one_at_a_time()
        .into_iter()
        .filter_map(|(name, shape)| full_scan_is_the_model(&shape).err().map(|failure| format!("{name}: {failure}")))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_full_scan_returns_every_row_in_table_order_wherever_axes_meet() {
    hold(24, any_shape(), |shape| full_scan_is_the_model(&shape));
}

/// How often filters did something, so that the property is not held by filters that pass all or nothing.
#[derive(Default)]
struct Effects {
    split: Cell<u64>,
    pruned: Cell<u64>,
}

fn filtered_scan_is_the_full_scan_filtered(shape: &Shape, sketches: &[Sketch], effects: &Effects) -> TestCaseResult {
    let table = Table::make(shape)?;
    let engine = table.engine(2, 64 << 20)?;
    let wide = Wide::current(&table);
    let columns = wide.names();
    for sketch in sketches {
        let filter = sketch.on(&wide);
        let text = filter.sql();
        let passing = wide.rows.iter().filter(|row| filter.passes(row) == Some(true));
        let wanted = lines(passing);
        effects.split.set(effects.split.get() + u64::from(!wanted.is_empty() && wanted.len() < wide.rows.len()));
        let request = ScanRequest { filter: text.clone(), columns: columns.clone(), ..request() };
        let pruned = runtime().block_on(engine.plan(&request)).map_err(|e| failed(e.context(&text)))?;
        let gone =
            pruned.report.files_pruned_by_partition + pruned.report.files_pruned_by_bounds + pruned.report.manifests_pruned_by_summary;
        effects.pruned.set(effects.pruned.get() + gone);

        // The same filter over every file: what pruning must not change.
        let all = ScanRequest { filter: String::new(), ..request.clone() };
        let mut unpruned = runtime().block_on(engine.plan(&all)).map_err(failed)?;
        unpruned.filter = pruned.filter.clone();
        for (what, plan) in [("pruned", pruned), ("over every file", unpruned)] {
            let scanned = runtime().block_on(read(&engine, plan, &request)).map_err(|e| failed(e.context(&text)))?;
            same(&format!("{what}: {text}"), &wanted, &scanned.lines()?)?;
        }
        // Where the filter reads columns that are not returned.
        let narrow = ScanRequest { columns: vec!["id".to_owned()], ..request };
        let scanned = scan(&engine, &narrow).map_err(failed)?;
        prop_assert_eq!(wanted.len(), scanned.lines()?.len(), "id where {}", text);
    }
    Ok(())
}

#[test]
fn a_filtered_scan_returns_the_full_scan_filtered_by_hand_and_pruning_changes_nothing() {
    let effects = Effects::default();
    let inputs = (any_shape(), prop::collection::vec(any_sketch(), 1..6));
    let cases = hold(24, inputs, |(shape, sketches)| filtered_scan_is_the_full_scan_filtered(&shape, &sketches, &effects));
    assert!(effects.split.get() * 2 > cases, "{} filters told rows apart in {cases} cases", effects.split.get());
    assert!(effects.pruned.get() * 2 > cases, "{} files or manifests were pruned in {cases} cases", effects.pruned.get());
}
