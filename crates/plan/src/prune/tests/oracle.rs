//! Random files, statistics and filters: a file whose rows pass is never ruled out.
//!
//! The oracle evaluates the filter row by row, written without a look at the pruning code.

use crate::manifest::list::FieldSummary;
use crate::prune::column::ColumnStats;
use crate::prune::{Domain, Pruner, partition};
use crate::testing::{column, literal, spec};
use fastdata_types::expr::CompareOp;
use fastdata_types::metadata::PartitionSpec;
use fastdata_types::schema::{Field, PrimitiveType as P, Schema};
use fastdata_types::{Expr, Value};
use proptest::prelude::*;
use std::cmp::Ordering;

const COLUMNS: i32 = 7;

fn schema() -> Schema {
    let types = [P::Int, P::Long, P::Double, P::String, P::Date, P::Timestamp, P::Uuid];
    let fields = types.into_iter().zip(1..).map(|(ty, id)| Field::optional(id, format!("c{id}"), ty));
    Schema::new(0, fields.collect()).unwrap()
}

fn type_of(id: i32) -> P {
    schema().field_by_id(id).unwrap().ty.as_primitive().unwrap().clone()
}

/// Few different values, so that filters hit and miss.
fn value(id: i32) -> BoxedStrategy<Value> {
    let small = -12_i64..12;
    match type_of(id) {
        P::Int => small.prop_map(|v| Value::Int(v as i32)).boxed(),
        P::Long => small.prop_map(Value::Long).boxed(),
        P::Double => prop_oneof![
            6 => small.prop_map(|v| Value::Double(v as f64 / 2.0)),
            1 => Just(Value::Double(f64::NAN)),
            1 => Just(Value::Double(-0.0)),
            1 => Just(Value::Double(f64::INFINITY)),
        ]
        .boxed(),
        P::String => "[ab]{0,4}|ä[ab]".prop_map(Value::String).boxed(),
        P::Date => (-800_i32..800).prop_map(Value::Date).boxed(),
        P::Timestamp => (-60_i64..60).prop_map(|v| Value::Timestamp(v * 20 * 3_600_000_000 - 1)).boxed(),
        _ => prop::sample::select(vec![0x00_u8, 0x10, 0x7f, 0x80, 0x90, 0xff])
            .prop_map(|b| Value::Uuid([b, 0, 0, 0, 0, 0, 0, 0, 0xff - b, 0, 0, 0, 0, 0, 0, 0]))
            .boxed(),
    }
}

type Row = Vec<Option<Value>>;

fn row() -> impl Strategy<Value = Row> {
    (1..=COLUMNS).map(|id| prop_oneof![4 => value(id).prop_map(Some), 1 => Just(None)]).collect::<Vec<_>>()
}

fn op() -> impl Strategy<Value = CompareOp> {
    prop::sample::select(vec![CompareOp::Eq, CompareOp::NotEq, CompareOp::Lt, CompareOp::LtEq, CompareOp::Gt, CompareOp::GtEq])
}

fn predicate() -> BoxedStrategy<Expr> {
    let boxed = |id: i32| Box::new(column(id, type_of(id)));
    let comparison = (1..=COLUMNS).prop_flat_map(move |id| {
        (value(id), op(), any::<bool>()).prop_map(move |(v, op, swap)| {
            let (left, right) = if swap { (literal(v), column(id, type_of(id))) } else { (column(id, type_of(id)), literal(v)) };
            Expr::Compare { op, left: Box::new(left), right: Box::new(right) }
        })
    });
    let list =
        (1..=COLUMNS).prop_flat_map(move |id| {
            (prop::collection::vec(value(id), 0..4), any::<bool>(), any::<bool>())
                .prop_map(move |(values, has_null, negated)| Expr::InList { expr: boxed(id), values, has_null, negated })
        });
    let null = (1..=COLUMNS, any::<bool>()).prop_map(move |(id, negated)| Expr::IsNull { expr: boxed(id), negated });
    let like = ("[ab]{0,3}(%|_|%b|)", any::<bool>()).prop_map(move |(pattern, negated)| Expr::Like {
        expr: boxed(4),
        pattern,
        escape: None,
        negated,
        case_insensitive: false,
    });
    // Columns of two types, one widened to the other.
    let widened = (op(), -30_i64..30, 0..4).prop_map(|(op, v, which)| {
        let cast = |id: i32, to: P| Expr::Cast { expr: Box::new(column(id, type_of(id))), to };
        let (left, right) = match which {
            0 => (cast(1, P::Long), column(2, P::Long)),
            1 => (cast(1, P::Double), literal(Value::Double(v as f64 / 2.0))),
            2 => (cast(5, P::Timestamp), column(6, P::Timestamp)),
            _ => (cast(6, P::Date), literal(Value::Date(v as i32))),
        };
        Expr::Compare { op, left: Box::new(left), right: Box::new(right) }
    });
    prop_oneof![5 => comparison, 2 => list, 1 => null, 1 => like, 2 => widened].boxed()
}

fn filter() -> impl Strategy<Value = Expr> {
    predicate().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(Expr::And),
            prop::collection::vec(inner.clone(), 1..3).prop_map(Expr::Or),
            inner.clone().prop_map(|e| Expr::Not(Box::new(e))),
            (inner, any::<bool>()).prop_map(|(e, negated)| Expr::IsNull { expr: Box::new(e), negated }),
        ]
    })
}

fn scalar(expr: &Expr, row: &Row) -> Option<Value> {
    match expr {
        Expr::Column(c) => row[c.id as usize - 1].clone(),
        Expr::Literal(v, _) => v.clone(),
        Expr::Cast { expr, to } => Some(match (scalar(expr, row)?, to) {
            (Value::Int(v), P::Long) => Value::Long(v.into()),
            (Value::Int(v), P::Double) => Value::Double(v.into()),
            (Value::Date(v), P::Timestamp) => Value::Timestamp(i64::from(v) * 86_400_000_000),
            (Value::Timestamp(v), P::Date) => Value::Date(v.div_euclid(86_400_000_000) as i32),
            other => panic!("{other:?}"),
        }),
        other => panic!("{other:?}"),
    }
}

fn passes(expr: &Expr, row: &Row) -> Option<bool> {
    match expr {
        Expr::Compare { op, left, right } => Some(op.matches(scalar(left, row)?.order(&scalar(right, row)?).unwrap())),
        Expr::InList { expr, values, has_null, negated } => {
            let v = scalar(expr, row)?;
            let hit = values.iter().any(|x| v.order(x) == Some(Ordering::Equal));
            if hit {
                Some(!negated)
            } else if *has_null {
                None
            } else {
                Some(*negated)
            }
        }
        Expr::IsNull { expr, negated } => {
            let null = match **expr {
                Expr::Column(_) => scalar(expr, row).is_none(),
                _ => passes(expr, row).is_none(),
            };
            Some(null != *negated)
        }
        Expr::Like { expr, pattern, negated, .. } => {
            let Some(Value::String(text)) = scalar(expr, row) else { return None };
            Some(matches_like(&text.chars().collect::<Vec<_>>(), &pattern.chars().collect::<Vec<_>>()) != *negated)
        }
        Expr::And(parts) => {
            let parts: Vec<Option<bool>> = parts.iter().map(|p| passes(p, row)).collect();
            if parts.contains(&Some(false)) {
                Some(false)
            } else if parts.contains(&None) {
                None
            } else {
                Some(true)
            }
        }
        Expr::Or(parts) => {
            let parts: Vec<Option<bool>> = parts.iter().map(|p| passes(p, row)).collect();
            if parts.contains(&Some(true)) {
                Some(true)
            } else if parts.contains(&None) {
                None
            } else {
                Some(false)
            }
        }
        Expr::Not(inner) => passes(inner, row).map(|b| !b),
        other => panic!("{other:?}"),
    }
}

fn matches_like(text: &[char], pattern: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('%', rest)) => (0..=text.len()).any(|skip| matches_like(&text[skip..], rest)),
        Some(('_', rest)) => !text.is_empty() && matches_like(&text[1..], rest),
        Some((c, rest)) => text.first() == Some(c) && matches_like(&text[1..], rest),
    }
}

/// Bounds as a writer makes them: no NaN; uuids in either order; strings truncated to one character where the mask says so.
struct Column {
    lower: Option<Vec<u8>>,
    upper: Option<Vec<u8>>,
    nulls: i64,
    nans: i64,
}

fn stats_of(rows: &[Row], id: i32, mask: u32) -> Column {
    let values: Vec<&Value> = rows.iter().filter_map(|r| r[id as usize - 1].as_ref()).collect();
    let signed = |v: &Value| match v {
        Value::Uuid(b) => (i64::from_be_bytes(b[..8].try_into().unwrap()), i64::from_be_bytes(b[8..].try_into().unwrap())),
        _ => (0, 0),
    };
    let order = |a: &&&Value, b: &&&Value| match a {
        Value::Uuid(_) if mask & 1 == 1 => signed(a).cmp(&signed(b)),
        _ => a.order(b).unwrap(),
    };
    let numbers: Vec<&Value> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    let lower = numbers.iter().min_by(order).map(|v| match v {
        Value::String(s) if mask & 2 == 2 => s.chars().take(1).collect::<String>().into_bytes(),
        v => v.to_bytes().unwrap(),
    });
    let upper = numbers.iter().max_by(order).map(|v| match v {
        Value::String(s) if mask & 2 == 2 && s.chars().count() > 1 => {
            s.chars().take(1).map(|c| char::from_u32(c as u32 + 1).unwrap()).collect::<String>().into_bytes()
        }
        v => v.to_bytes().unwrap(),
    });
    Column { lower, upper, nulls: (rows.len() - values.len()) as i64, nans: values.iter().filter(|v| v.is_nan()).count() as i64 }
}

fn partition_spec() -> impl Strategy<Value = PartitionSpec> {
    let field = prop::sample::select(vec![
        (1, "identity"),
        (2, "identity"),
        (3, "identity"),
        (4, "identity"),
        (6, "identity"),
        (7, "identity"),
        (1, "bucket[3]"),
        (2, "bucket[4]"),
        (4, "bucket[2]"),
        (7, "bucket[3]"),
        (5, "bucket[3]"),
        (1, "truncate[5]"),
        (2, "truncate[3]"),
        (4, "truncate[1]"),
        (4, "truncate[2]"),
        (5, "year"),
        (5, "month"),
        (5, "day"),
        (6, "year"),
        (6, "month"),
        (6, "day"),
        (6, "hour"),
        (2, "void"),
        (2, "evil"),
    ]);
    prop::collection::vec(field, 0..3).prop_map(|fields| spec(0, &fields))
}

/// The tuple of a row; `old_java` writes negative time values one too high.
fn tuple(spec: &PartitionSpec, row: &Row, old_java: bool) -> Vec<Option<Value>> {
    let of = |field: &fastdata_types::metadata::PartitionField| {
        let value = field.transform.apply(row[field.source_id as usize - 1].as_ref()?)?;
        let time = matches!(field.transform.to_string().as_str(), "year" | "month" | "day" | "hour");
        Some(match value {
            Value::Int(v) if time && old_java && v < 0 => Value::Int(v + 1),
            Value::Date(v) if time && old_java && v < 0 => Value::Date(v + 1),
            value => value,
        })
    };
    spec.fields.iter().map(of).collect()
}

fn same(a: &[Option<Value>], b: &[Option<Value>]) -> bool {
    a.iter().zip(b).all(|(a, b)| match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.order(b) == Some(Ordering::Equal),
        _ => false,
    })
}

fn domains(pruner: &Pruner, rows: &[Row], masks: &[u32]) -> Vec<Domain> {
    let of = |column: &crate::prune::PruneColumn| {
        let mask = masks[column.id as usize - 1];
        let known = stats_of(rows, column.id, mask);
        let stats = ColumnStats {
            lower: known.lower.as_deref().filter(|_| mask & 4 == 0),
            upper: known.upper.as_deref().filter(|_| mask & 8 == 0),
            values: (mask & 16 == 0).then_some(rows.len() as i64),
            nulls: (mask & 32 == 0).then_some(known.nulls),
            nans: (mask & 64 == 0).then_some(known.nans),
        };
        stats.domain(column, rows.len() as u64)
    };
    pruner.columns().iter().map(of).collect()
}

fn summaries(spec: &PartitionSpec, types: &[P], tuples: &[Vec<Option<Value>>], mask: u32) -> Vec<FieldSummary> {
    let of = |(at, ty): (usize, &P)| {
        let rows: Vec<Row> = tuples.iter().map(|t| vec![t[at].clone()]).collect();
        let known = stats_of(&rows, 1, mask & 1);
        let nan = ty.is_float().then_some(known.nans > 0).filter(|_| mask & 4 == 0);
        FieldSummary { contains_null: known.nulls > 0, contains_nan: nan, lower: known.lower.filter(|_| mask & 8 == 0), upper: known.upper }
    };
    assert_eq!(spec.fields.len(), types.len());
    types.iter().enumerate().map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn pruning_never_drops_a_file_whose_rows_match(
        rows in prop::collection::vec(row(), 1..6),
        filter in filter(),
        spec in partition_spec(),
        masks in prop::collection::vec(0_u32..128, COLUMNS as usize),
        old_java in any::<bool>(),
    ) {
        let schema = schema();
        let Some(pruner) = Pruner::new(&filter, &schema, None) else { return Ok(()) };
        let matching = |rows: &[Row]| rows.iter().any(|row| passes(&filter, row) == Some(true));

        // One file of all rows, by its column statistics.
        let kept = pruner.may_match(&domains(&pruner, &rows, &masks));
        prop_assert!(kept || !matching(&rows), "bounds lost a row");

        // One file per partition, by tuple and by both.
        let mut files: Vec<(Vec<Option<Value>>, Vec<Row>)> = Vec::new();
        for row in &rows {
            let tuple = tuple(&spec, row, old_java);
            match files.iter_mut().find(|(t, _)| same(t, &tuple)) {
                Some((_, rows)) => rows.push(row.clone()),
                None => files.push((tuple, vec![row.clone()])),
            }
        }
        for (tuple, rows) in &files {
            let by_tuple = partition::of_tuple(pruner.columns(), &spec, tuple, &vec![true; tuple.len()]);
            prop_assert!(pruner.may_match(&by_tuple) || !matching(rows), "the tuple {tuple:?} of {spec:?} lost a row");
            let both: Vec<Domain> = by_tuple.iter().zip(domains(&pruner, rows, &masks)).map(|(a, b)| a.and(&b)).collect();
            prop_assert!(pruner.may_match(&both) || !matching(rows), "tuple and bounds together lost a row");
        }

        // The manifest of all these files, by its summaries.
        let types: Vec<P> = spec.fields.iter().map(|f| f.transform.result_type(&type_of(f.source_id))).collect();
        let tuples: Vec<_> = files.iter().map(|(tuple, _)| tuple.clone()).collect();
        let summaries = summaries(&spec, &types, &tuples, masks[0]);
        let by_summary = partition::of_summaries(pruner.columns(), &spec, &types, &summaries);
        prop_assert!(pruner.may_match(&by_summary) || !matching(&rows), "the summaries {summaries:?} of {spec:?} lost a row");
    }
}

/// Keeping everything would pass the test above.
#[test]
fn pruning_does_prune() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut dropped, mut droppable) = (0, 0);
    for _ in 0..2000 {
        let row = row().new_tree(&mut runner).unwrap().current();
        let filter = predicate().new_tree(&mut runner).unwrap().current();
        let Some(pruner) = Pruner::new(&filter, &schema(), None) else { continue };
        if passes(&filter, &row) != Some(true) {
            droppable += 1;
            dropped += u32::from(!pruner.may_match(&domains(&pruner, std::slice::from_ref(&row), &[0; COLUMNS as usize])));
        }
    }
    assert!(dropped * 10 > droppable * 7, "only {dropped} of {droppable} files without a match were pruned");
}
