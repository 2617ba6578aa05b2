//! What a scan has to work with changes nothing: threads, memory, batch sizes, the form of strings; a limit cuts a prefix off.

use super::filter::any_sketch;
use super::wide::Wide;
use super::{Scanned, Table, any_shape, failed, hold, request, same, same_set, scan};
use fastdata_types::request::{Order, Sample, StringEncoding};
use fastdata_types::{ErrorKind, ScanRequest};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestCaseError;
use std::cell::Cell;

/// The figure that a refusal advises, in bytes.
fn advised(advice: &str) -> Option<u64> {
    let mib: u64 = advice.split_once("--memory ")?.1.split_once("MiB")?.0.parse().ok()?;
    Some(mib << 20)
}

/// Scans with a budget, or with the figure that its refusal advises, which must do.
fn scan_within(table: &Table, threads: usize, memory: u64, request: &ScanRequest) -> Result<Scanned, TestCaseError> {
    match scan(&table.engine(threads, memory)?, request) {
        Err(refusal) if refusal.kind() == ErrorKind::BudgetTooSmall => {
            let advice = refusal.advice_text().unwrap_or_default().to_owned();
            let figure = advised(&advice).ok_or_else(|| TestCaseError::fail(format!("no figure in {refusal:?}")))?;
            prop_assert!(figure > memory, "{} bytes refused, {} advised", memory, figure);
            scan(&table.engine(threads, figure)?, request).map_err(|e| failed(e.context(format!("after being told: {advice}"))))
        }
        other => other.map_err(failed),
    }
}

#[test]
fn any_threads_budget_and_batch_sizes_give_the_same_rows_in_the_same_order() {
    let sizes = (prop::option::of(1u32..200), prop::option::of(1i64..100_000));
    let memory = prop::sample::select(vec![1u64, 2, 5, 64, 4096]);
    let setups = prop::collection::vec((prop::sample::select(vec![1usize, 2, 5]), memory, sizes), 3..6);
    let strings = prop::sample::select(vec![StringEncoding::Utf8, StringEncoding::Utf8View, StringEncoding::Dictionary]);
    hold(14, (any_shape(), prop::option::of(any_sketch()), strings, setups), |(shape, sketch, strings, setups)| {
        let table = Table::make(&shape)?;
        let wide = Wide::current(&table);
        let filter = sketch.map(|sketch| sketch.on(&wide).sql()).unwrap_or_default();
        let plain = ScanRequest { filter, columns: wide.names(), ..request() };
        let wanted = scan(&table.engine(1, 1 << 30)?, &plain).map_err(failed)?.lines()?;
        for (threads, mib, (batch_rows, batch_bytes)) in setups {
            let asked = ScanRequest { batch_rows, batch_bytes, strings, ..plain.clone() };
            let what = format!("{threads} threads, {mib} MiB, {asked:?}");
            let stable = scan_within(&table, threads, mib << 20, &asked)?;
            same(&what, &wanted, &stable.lines()?)?;
            let most = asked.batch_rows();
            prop_assert!(stable.batches.iter().all(|batch| (1..=most).contains(&batch.num_rows())), "{}", what);
            let fast = scan_within(&table, threads, mib << 20, &ScanRequest { order: Order::Fast, ..asked })?;
            same_set(&what, &wanted, &fast.lines()?)?;
        }
        Ok(())
    });
}

#[test]
fn a_limit_gives_the_first_rows_in_stable_order_and_that_many_in_any() {
    let cut = Cell::new(0);
    let cases = hold(16, (any_shape(), prop::option::of(any_sketch()), any::<Index>(), 1usize..4), |(shape, sketch, index, threads)| {
        let table = Table::make(&shape)?;
        let wide = Wide::current(&table);
        let filter = sketch.map(|sketch| sketch.on(&wide).sql()).unwrap_or_default();
        let plain = ScanRequest { filter, columns: wide.names(), batch_rows: Some(16), ..request() };
        let engine = table.engine(threads, 64 << 20)?;
        let all = scan(&engine, &plain).map_err(failed)?.lines()?;
        for limit in [0, 1, index.index(all.len() + 2), all.len(), all.len() + 1] {
            let limited = ScanRequest { limit: Some(limit as i64), ..plain.clone() };
            let prefix = &all[..limit.min(all.len())];
            cut.set(cut.get() + u64::from(prefix.len() < all.len()));
            same(&format!("limit {limit}"), prefix, &scan(&engine, &limited).map_err(failed)?.lines()?)?;
            let fast = scan(&engine, &ScanRequest { order: Order::Fast, ..limited }).map_err(failed)?.lines()?;
            prop_assert_eq!(fast.len(), prefix.len(), "limit {} in fast order", limit);
            let mut left = all.clone();
            for row in &fast {
                let at = left.iter().position(|other| other == row);
                prop_assert!(at.is_some(), "limit {}: {} is no row, or comes twice", limit, row);
                left.swap_remove(at.unwrap_or_default());
            }
        }
        Ok(())
    });
    assert!(cut.get() > cases, "{} limits cut something off in {cases} cases", cut.get());
}

#[test]
fn a_sample_is_part_of_the_rows_in_their_order_and_the_same_for_the_same_seed() {
    hold(10, (any_shape(), any::<u64>(), 0.0f64..=1.0), |(shape, seed, fraction)| {
        let table = Table::make(&shape)?;
        let plain = ScanRequest { columns: Wide::current(&table).names(), ..request() };
        let all = scan(&table.engine(1, 64 << 20)?, &plain).map_err(failed)?.lines()?;
        let sample = |threads, fraction| {
            let asked = ScanRequest { sample: Some(Sample { fraction, seed }), ..plain.clone() };
            scan(&table.engine(threads, 64 << 20)?, &asked).map_err(failed)?.lines()
        };
        let some = sample(1, fraction)?;
        same("the same seed", &some, &sample(3, fraction)?)?;
        let mut rest = all.iter();
        prop_assert!(some.iter().all(|row| rest.any(|other| other == row)), "a sample of other rows, or in another order");
        same("everything", &all, &sample(1, 1.0)?)?;
        same("nothing", &[], &sample(1, 0.0)?)
    });
}
