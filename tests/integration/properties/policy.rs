//! What a policy leaves: the rows of a full scan for which its filter is true, in the columns that it grants.

use super::filter::{Sketch, any_sketch};
use super::wide::Wide;
use super::{Table, any_shape, failed, hold, request, same, scan};
use fastdata::auth::{Identity, Policy};
use fastdata::config::Rule;
use fastdata_testkit::table::lines;
use fastdata_types::{ErrorKind, ScanRequest, Schema};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use std::cell::Cell;

/// Sums and patterns need an int and a string, which these are in every table.
const ALWAYS: [&str; 2] = ["_spec_id", "_file"];

/// The columns of `wide` that are kept, and their rows.
fn part(wide: &Wide, kept: &[bool]) -> Wide {
    let keeps: Vec<bool> =
        wide.schema.fields.iter().zip(kept.iter().cycle()).map(|(f, kept)| *kept || ALWAYS.contains(&f.name.as_str())).collect();
    let fields = wide.schema.fields.iter().zip(&keeps).filter(|(_, keep)| **keep).map(|(field, _)| field.clone()).collect();
    let row = |row: &Vec<_>| row.iter().zip(&keeps).filter(|(_, keep)| **keep).map(|(value, _)| Clone::clone(value)).collect();
    Wide { schema: Schema::new(wide.schema.id, fields).expect("ids stay unique"), rows: wide.rows.iter().map(row).collect() }
}

fn a_policy_leaves_its_rows(table: &Table, kept: &[bool], policy: &Sketch, asked: &Sketch, split: &Cell<u64>) -> TestCaseResult {
    let whole = Wide::current(table);
    let guard = policy.on(&whole);
    let visible =
        Wide { schema: whole.schema.clone(), rows: whole.rows.iter().filter(|row| guard.passes(row) == Some(true)).cloned().collect() };
    split.set(split.get() + u64::from(!visible.rows.is_empty() && visible.rows.len() < whole.rows.len()));
    // Constants of the caller's filter come from all rows: it asks for what is hidden too.
    let (all, visible) = (part(&whole, kept), part(&visible, kept));
    let filter = asked.on(&all);
    let wanted = lines(visible.rows.iter().filter(|row| filter.passes(row) == Some(true)));
    let rule = Rule { principals: vec!["*".to_owned()], columns: Some(all.names()), filter: Some(guard.sql()), ..Rule::default() };
    let engine = table.engine(2, 64 << 20)?.seen_by(Policy::new(vec![rule]).of(&Identity::anonymous()));
    let what = format!("{} of {:?} where {}", filter.sql(), all.names(), guard.sql());
    let request = ScanRequest { columns: all.names(), filter: filter.sql(), ..request() };
    let scanned = scan(&engine, &request).map_err(|e| failed(e.context(&what)))?;
    same(&what, &wanted, &scanned.lines()?)?;
    let hidden = whole.names().into_iter().find(|name| !all.names().contains(name));
    if let Some(name) = hidden {
        for request in [
            ScanRequest { columns: vec![name.clone()], ..super::request() },
            ScanRequest { filter: format!("{name} IS NULL"), ..super::request() },
        ] {
            let error = scan(&engine, &request).err().map(|e| e.kind());
            prop_assert_eq!(error, Some(ErrorKind::NotFound), "{} of {:?}", name, all.names());
        }
    }
    Ok(())
}

#[test]
fn the_rows_seen_are_those_of_a_full_scan_for_which_the_policys_filter_is_true() {
    let split = Cell::new(0);
    let inputs = (any_shape(), prop::collection::vec(any::<bool>(), 1..30), any_sketch(), any_sketch());
    let cases =
        hold(40, inputs, |(shape, kept, policy, asked)| a_policy_leaves_its_rows(&Table::make(&shape)?, &kept, &policy, &asked, &split));
    assert!(split.get() * 4 > cases, "{} policies told rows apart in {cases} cases", split.get());
}
