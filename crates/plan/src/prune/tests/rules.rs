use crate::manifest::list::FieldSummary;
use crate::prune::column::ColumnStats;
use crate::prune::{Domain, Pruner, partition};
use crate::testing::{column, compare, literal, schema, spec};
use fastdata_types::expr::CompareOp::{self, Eq, Gt, GtEq, Lt, LtEq, NotEq};
use fastdata_types::metadata::{MappedField, NameMapping};
use fastdata_types::schema::{Field, PrimitiveType as P, Schema, metadata_column};
use fastdata_types::{Expr, Value};

const DAY: i64 = 86_400_000_000;

struct Stats {
    lower: Option<Vec<u8>>,
    upper: Option<Vec<u8>>,
    values: Option<i64>,
    nulls: Option<i64>,
    nans: Option<i64>,
}

/// Bounds of a column without nulls and NaN, in a file of ten rows.
fn between(lower: Value, upper: Value) -> Stats {
    Stats { lower: lower.to_bytes(), upper: upper.to_bytes(), values: Some(10), nulls: Some(0), nans: Some(0) }
}

fn nothing() -> Stats {
    Stats { lower: None, upper: None, values: None, nulls: None, nans: None }
}

/// Whether a file whose every filter column has these statistics is kept.
fn keeps_in(schema: &Schema, filter: &Expr, stats: &Stats) -> bool {
    let Some(pruner) = Pruner::new(filter, schema, None) else { return true };
    let stats = ColumnStats {
        lower: stats.lower.as_deref(),
        upper: stats.upper.as_deref(),
        values: stats.values,
        nulls: stats.nulls,
        nans: stats.nans,
    };
    let domains: Vec<Domain> = pruner.columns().iter().map(|column| stats.domain(column, 10)).collect();
    pruner.may_match(&domains)
}

fn keeps(filter: &Expr, stats: &Stats) -> bool {
    keeps_in(&schema(), filter, stats)
}

fn id(op: CompareOp, value: i64) -> Expr {
    compare(column(1, P::Long), op, literal(Value::Long(value)))
}

fn f(op: CompareOp, value: f64) -> Expr {
    compare(column(3, P::Double), op, literal(Value::Double(value)))
}

fn name(op: CompareOp, value: &str) -> Expr {
    compare(column(2, P::String), op, literal(Value::String(value.into())))
}

fn not(inner: Expr) -> Expr {
    Expr::Not(Box::new(inner))
}

fn is_null(id: i32, ty: P, negated: bool) -> Expr {
    Expr::IsNull { expr: Box::new(column(id, ty)), negated }
}

fn is_in(values: &[i64], has_null: bool, negated: bool) -> Expr {
    Expr::InList { expr: Box::new(column(1, P::Long)), values: values.iter().map(|v| Value::Long(*v)).collect(), has_null, negated }
}

fn like(pattern: &str, negated: bool) -> Expr {
    Expr::Like { expr: Box::new(column(2, P::String)), pattern: pattern.into(), escape: Some('\\'), negated, case_insensitive: false }
}

#[test]
fn bounds_prune_comparisons_in_both_orders_and_under_not() {
    let file = between(Value::Long(10), Value::Long(20));
    for (filter, kept) in [
        (id(Lt, 10), false),
        (id(LtEq, 10), true),
        (id(Gt, 20), false),
        (id(GtEq, 20), true),
        (id(Eq, 9), false),
        (id(Eq, 15), true),
        (id(NotEq, 15), true),
        (compare(literal(Value::Long(10)), Gt, column(1, P::Long)), false),
        (compare(literal(Value::Long(10)), GtEq, column(1, P::Long)), true),
        (not(id(GtEq, 10)), false),
        (not(id(Gt, 10)), true),
        (not(not(id(Lt, 10))), false),
        (Expr::And(vec![id(Gt, 12), id(Lt, 10)]), false),
        (Expr::Or(vec![id(Gt, 12), id(Lt, 10)]), true),
        (not(Expr::Or(vec![id(Lt, 30), id(Gt, 50)])), false),
        (not(Expr::And(vec![id(Lt, 30), id(Gt, 15)])), true),
        (is_in(&[1, 5, 25], false, false), false),
        (is_in(&[1, 12], false, false), true),
        (is_in(&[1, 12], false, true), true),
        (is_in(&[1, 12], true, true), false),
    ] {
        assert_eq!(keeps(&filter, &file), kept, "{filter:?}");
    }
    let one = between(Value::Long(10), Value::Long(10));
    assert!(!keeps(&id(NotEq, 10), &one) && !keeps(&not(id(Eq, 10)), &one) && !keeps(&is_in(&[10], false, true), &one));
}

#[test]
fn missing_statistics_and_bounds_that_contradict_each_other_keep_the_file() {
    for filter in [id(Eq, 1), id(Lt, 1), is_null(1, P::Long, false), is_null(1, P::Long, true), like("a%", false), not(id(Eq, 1))] {
        assert!(keeps(&filter, &nothing()), "{filter:?}");
    }
    assert!(keeps(&id(Eq, 15), &between(Value::Long(20), Value::Long(10))));
    let short = Stats { lower: Some(vec![1, 2, 3]), upper: Some(vec![]), ..between(Value::Long(0), Value::Long(0)) };
    assert!(keeps(&id(Eq, 15), &short));
}

#[test]
fn null_counts_are_used_only_where_they_count_rows() {
    let counts = |values: Option<i64>, nulls: Option<i64>| Stats { values, nulls, ..nothing() };
    let (null, not_null) = (is_null(2, P::String, false), is_null(2, P::String, true));
    assert!(!keeps(&null, &counts(Some(10), Some(0))));
    assert!(keeps(&not_null, &counts(Some(10), Some(0))));
    assert!(!keeps(&not_null, &counts(Some(10), Some(10))));
    assert!(!keeps(&name(Eq, "x"), &counts(Some(10), Some(10))), "NULL = 'x' is not true");
    assert!(!keeps(&not(name(Eq, "x")), &counts(Some(10), Some(10))));
    // A value count that leaves nulls out, or of a column that the file lacks, says nothing.
    assert!(keeps(&not_null, &counts(Some(5), Some(5))));
    assert!(keeps(&null, &counts(Some(0), Some(0))));
    assert!(keeps(&not_null, &counts(Some(-1), Some(-1))));
    assert!(keeps(&null, &counts(Some(10), None)));
    // Below an optional struct a null count of zero may leave out the rows whose struct is null.
    assert!(keeps(&is_null(8, P::Int, false), &counts(Some(10), Some(0))));
    assert!(!keeps(&is_null(8, P::Int, true), &counts(Some(10), Some(10))));
}

#[test]
fn floats_are_not_pruned_by_order_without_a_known_nan_count_of_zero() {
    let file = |nans: Option<i64>| Stats { nans, ..between(Value::Double(1.0), Value::Double(2.0)) };
    for nans in [None, Some(1)] {
        for filter in [f(Gt, 5.0), f(GtEq, 5.0), f(Lt, 0.0), f(LtEq, 0.0), f(NotEq, 1.5), not(f(Lt, 5.0)), f(Eq, f64::NAN)] {
            assert!(keeps(&filter, &file(nans)), "{filter:?} {nans:?}");
        }
        assert!(!keeps(&f(Eq, 5.0), &file(nans)));
    }
    for filter in [f(Gt, 5.0), f(Lt, 0.0), not(f(Lt, 5.0)), f(Eq, f64::NAN)] {
        assert!(!keeps(&filter, &file(Some(0))), "{filter:?}");
    }
}

#[test]
fn a_nan_bound_is_no_bound() {
    let nan = || Value::Double(f64::NAN);
    assert!(keeps(&f(Lt, 0.0), &between(nan(), Value::Double(2.0))));
    assert!(keeps(&f(Eq, 5.0), &between(Value::Double(1.0), nan())));
    assert!(keeps(&f(Eq, 5.0), &between(nan(), nan())));
}

#[test]
fn zeros_of_both_signs_are_one_value() {
    assert!(keeps(&f(Eq, 0.0), &between(Value::Double(-0.0), Value::Double(-0.0))));
    assert!(keeps(&f(LtEq, -0.0), &between(Value::Double(0.0), Value::Double(1.0))));
    assert!(!keeps(&f(Lt, 0.0), &between(Value::Double(-0.0), Value::Double(1.0))));
}

#[test]
fn bounds_are_decoded_by_their_length() {
    // A long column that was an int, a timestamp that was a date, a double that was a float.
    let was_int = between(Value::Int(10), Value::Int(20));
    assert!(keeps(&id(Eq, 15), &was_int) && !keeps(&id(Eq, 25), &was_int) && !keeps(&id(Lt, 10), &was_int));
    let was_date = between(Value::Date(10), Value::Date(11));
    let ts = |op, v| compare(column(5, P::Timestamp), op, literal(Value::Timestamp(v)));
    assert!(keeps(&ts(GtEq, 11 * DAY), &was_date) && !keeps(&ts(Gt, 11 * DAY), &was_date));
    let was_float = between(Value::Float(0.1), Value::Float(0.1));
    assert!(keeps(&f(Eq, f64::from(0.1_f32)), &was_float) && !keeps(&f(Eq, 0.1), &was_float));
}

#[test]
fn promoted_columns_prune_through_widening_casts() {
    let wide = |inner: Expr, to: P, op: CompareOp, value: Value| compare(Expr::Cast { expr: Box::new(inner), to }, op, literal(value));
    let narrow = Schema::new(
        0,
        vec![
            Field::optional(1, "i", P::Int),
            Field::optional(3, "f", P::Float),
            Field::optional(4, "d", P::Date),
            Field::optional(5, "s", P::String),
        ],
    )
    .unwrap();
    let ints = between(Value::Int(10), Value::Int(20));
    for (to, low, high) in [
        (P::Long, Value::Long(1 << 40), Value::Long(15)),
        (P::Double, Value::Double(20.5), Value::Double(19.5)),
        (
            P::Decimal { precision: 20, scale: 2 },
            Value::Decimal { unscaled: 2001, precision: 20, scale: 2 },
            Value::Decimal { unscaled: 2000, precision: 20, scale: 2 },
        ),
    ] {
        assert!(!keeps_in(&narrow, &wide(column(1, P::Int), to.clone(), GtEq, low), &ints), "{to}");
        assert!(keeps_in(&narrow, &wide(column(1, P::Int), to.clone(), GtEq, high), &ints), "{to}");
    }
    let floats = between(Value::Float(0.5), Value::Float(1.5));
    assert!(!keeps_in(&narrow, &wide(column(3, P::Float), P::Double, Gt, Value::Double(1.6)), &floats));
    let dates = between(Value::Date(10), Value::Date(11));
    assert!(!keeps_in(&narrow, &wide(column(4, P::Date), P::Timestamp, Gt, Value::Timestamp(12 * DAY)), &dates));
    assert!(keeps_in(&narrow, &wide(column(4, P::Date), P::Timestamp, Eq, Value::Timestamp(11 * DAY)), &dates));
    // A cast that does not fit, and one that does not keep the order, say nothing.
    let far = between(Value::Date(i32::MAX - 1), Value::Date(i32::MAX));
    assert!(keeps_in(&narrow, &wide(column(4, P::Date), P::TimestampNs, Lt, Value::TimestampNs(0)), &far));
    let strings = between(Value::String("5".into()), Value::String("6".into()));
    assert!(keeps_in(&narrow, &wide(column(5, P::String), P::Int, Eq, Value::Int(100)), &strings));
}

#[test]
fn truncated_string_bounds_are_bounds_and_no_values() {
    // "abcdefghijklmnopq..." truncated to 16 characters, the upper one counted up.
    let file = between(Value::String("abcdefghijklmnop".into()), Value::String("abcdefghijklmnoq".into()));
    assert!(keeps(&name(Eq, "abcdefghijklmnopqrst"), &file));
    assert!(keeps(&name(Gt, "abcdefghijklmnopzzz"), &file));
    assert!(keeps(&name(NotEq, "abcdefghijklmnop"), &file));
    assert!(!keeps(&name(Eq, "b"), &file));
    let not_utf8 = Stats { lower: Some(vec![0xff, 0xfe]), upper: Some(vec![0xff]), ..nothing() };
    assert!(keeps(&name(Eq, "a"), &not_utf8));
}

#[test]
fn like_prunes_by_its_literal_beginning_only() {
    let file = between(Value::String("car".into()), Value::String("cat".into()));
    for (pattern, kept) in [
        ("ca%", true),
        ("cat%", true),
        ("cats%", false),
        ("cas%", true),
        ("d%", false),
        ("b%", false),
        ("%x", true),
        ("_x", true),
        ("cas", true),
        ("dog", false),
        (r"\%%", false),
        ("b_%", false),
    ] {
        assert_eq!(keeps(&like(pattern, false), &file), kept, "{pattern}");
    }
    assert!(!keeps(&like("ca%", true), &file) && !keeps(&like("%", true), &file));
    assert!(keeps(&like("cat%", true), &file) && keeps(&like("ca%t", true), &file) && keeps(&like("ca_", true), &file));
    let Expr::Like { expr, pattern, escape, negated, .. } = like("CAR%", false) else { unreachable!() };
    assert!(keeps(&Expr::Like { expr, pattern, escape, negated, case_insensitive: true }, &file));
}

#[test]
fn uuids_are_pruned_only_where_both_orders_agree() {
    let uuid = |first: u8| Value::Uuid([first, 0, 0, 0, 0, 0, 0, 0, first, 0, 0, 0, 0, 0, 0, 0]);
    let u = |op, v| compare(column(6, P::Uuid), op, literal(v));
    let file = between(uuid(0x20), uuid(0x60));
    assert!(!keeps(&u(Eq, uuid(0x10)), &file) && !keeps(&u(Eq, uuid(0x70)), &file) && keeps(&u(Eq, uuid(0x40)), &file));
    assert!(keeps(&u(Lt, uuid(0x10)), &file), "an order comparison was pruned");
    // 0xa0..0x20 is a range under signed order only, 0x20..0xa0 under unsigned order only.
    for value in [0xb0, 0xf0, 0x10, 0x00] {
        assert!(keeps(&u(Eq, uuid(value)), &between(uuid(0xa0), uuid(0x20))), "{value:x}");
    }
    for value in [0x40, 0x80, 0x90] {
        assert!(keeps(&u(Eq, uuid(value)), &between(uuid(0x20), uuid(0xa0))), "{value:x}");
    }
    // Inside under signed order, below the lower bound under unsigned order.
    let halves = |high: u8, low: u8| Value::Uuid([high, 0, 0, 0, 0, 0, 0, 0, low, 0, 0, 0, 0, 0, 0, 0]);
    assert!(keeps(&u(Eq, halves(0x20, 0x10)), &between(halves(0x20, 0x80), halves(0x30, 0x10))));
    assert!(!keeps(&u(Eq, uuid(0x50)), &between(uuid(0x40), uuid(0x40))));
    assert!(!keeps(&u(NotEq, uuid(0x40)), &between(uuid(0x40), uuid(0x40))));
}

#[test]
fn metadata_columns_lists_and_dropped_and_re_added_columns_are_never_pruned_by() {
    let mut fields = schema().fields;
    fields.push(Field::required(metadata_column::POS, "_pos", P::Long));
    fields.push(Field::required(42, "name", P::String));
    let schema = Schema::new(0, fields).unwrap();
    let file = between(Value::Long(10), Value::Long(20));
    let pos = compare(column(metadata_column::POS, P::Long), Eq, literal(Value::Long(5)));
    assert!(keeps_in(&schema, &pos, &file));
    let ints = between(Value::Int(10), Value::Int(20));
    let element = compare(column(10, P::Int), Eq, literal(Value::Int(5)));
    assert!(keeps_in(&schema, &element, &ints), "a column in a list was pruned by");
    let leaf = compare(column(8, P::Int), Eq, literal(Value::Int(5)));
    assert!(!keeps_in(&schema, &leaf, &ints), "a leaf of a struct has statistics");
    // The filter names id 42; the file's statistics are those of the dropped column 2: the pruner asks for its own id.
    let again = compare(column(42, P::String), Eq, literal(Value::String("x".into())));
    assert_eq!(Pruner::new(&again, &schema, None).unwrap().columns()[0].id, 42);
}

#[test]
fn a_column_that_the_name_mapping_leaves_out_rules_nothing_out() {
    let mapped = |id: i32, names: &[&str], fields: Vec<MappedField>| MappedField {
        field_id: Some(id),
        names: names.iter().map(|&name| name.to_owned()).collect(),
        fields,
    };
    let in_struct = |below: Vec<MappedField>| mapped(7, &["s"], below);
    let mapping = |fields: Vec<MappedField>| Some(NameMapping { fields });
    let uses = |id: i32, ty: P, mapping: &Option<NameMapping>| {
        Pruner::new(&is_null(id, ty, false), &schema(), mapping.as_ref()).unwrap().columns().len() == 1
    };
    for (id, ty, mapping, used) in [
        (2, P::String, None, true),
        (2, P::String, mapping(vec![mapped(2, &["name"], vec![])]), true),
        (2, P::String, mapping(vec![mapped(1, &["id"], vec![])]), false),
        (2, P::String, mapping(vec![mapped(2, &[], vec![])]), false),
        (2, P::String, mapping(vec![]), false),
        (8, P::Int, mapping(vec![in_struct(vec![mapped(8, &["x"], vec![])])]), true),
        (8, P::Int, mapping(vec![in_struct(vec![])]), false),
        (8, P::Int, mapping(vec![mapped(8, &["x"], vec![])]), false),
    ] {
        assert_eq!(uses(id, ty, &mapping), used, "column {id} under {mapping:?}");
    }
}

/// Whether files of this partition tuple are kept.
fn keeps_tuple(filter: &Expr, fields: &[(i32, &str)], tuple: &[Option<Value>]) -> bool {
    let pruner = Pruner::new(filter, &schema(), None).unwrap();
    let domains = partition::of_tuple(pruner.columns(), &spec(0, fields), tuple, &vec![true; tuple.len()]);
    pruner.may_match(&domains)
}

fn ts(op: CompareOp, micros: i64) -> Expr {
    compare(column(5, P::Timestamp), op, literal(Value::Timestamp(micros)))
}

#[test]
fn identity_partitions_are_values() {
    let tuple = [Some(Value::Long(5))];
    assert!(keeps_tuple(&id(Eq, 5), &[(1, "identity")], &tuple) && !keeps_tuple(&id(NotEq, 5), &[(1, "identity")], &tuple));
    assert!(!keeps_tuple(&id(Eq, 5), &[(1, "identity")], &[None]));
    assert!(keeps_tuple(&is_null(1, P::Long, false), &[(1, "identity")], &[None]));
    assert!(keeps_tuple(&f(Gt, 1e300), &[(3, "identity")], &[Some(Value::Double(f64::NAN))]), "NaN is greater than all");
    assert!(!keeps_tuple(&f(Lt, 1e300), &[(3, "identity")], &[Some(Value::Double(1e301))]));
}

#[test]
fn buckets_prune_equality_and_in_but_no_order() {
    // bucket[16](34) is 3 (the hash is in the specification).
    let fields = [(1, "bucket[16]")];
    assert!(keeps_tuple(&id(Eq, 34), &fields, &[Some(Value::Int(3))]));
    assert!(!keeps_tuple(&id(Eq, 34), &fields, &[Some(Value::Int(4))]));
    assert!(!keeps_tuple(&is_in(&[34], false, false), &fields, &[Some(Value::Int(4))]));
    for filter in [id(Lt, 34), id(GtEq, 34), id(NotEq, 34), not(id(Eq, 34)), is_in(&[34], false, true)] {
        assert!(keeps_tuple(&filter, &fields, &[Some(Value::Int(4))]), "{filter:?}");
    }
}

#[test]
fn truncated_partitions_are_ranges() {
    let fields = [(1, "truncate[10]")];
    let tuple = [Some(Value::Long(-10))];
    assert!(keeps_tuple(&id(Eq, -1), &fields, &tuple) && keeps_tuple(&id(Eq, -10), &fields, &tuple));
    assert!(!keeps_tuple(&id(Eq, 0), &fields, &tuple) && !keeps_tuple(&id(Lt, -10), &fields, &tuple));
    let fields = [(2, "truncate[2]")];
    let ab = [Some(Value::String("ab".into()))];
    for (filter, kept) in [
        (name(Eq, "abzzz"), true),
        (name(Gt, "abzzz"), true),
        (name(Gt, "ac"), false),
        (name(Eq, "a"), false),
        (like("abc%", false), true),
        (like("b%", false), false),
        (like("a%", true), false),
        (like("abc%", true), true),
    ] {
        assert_eq!(keeps_tuple(&filter, &fields, &ab), kept, "{filter:?}");
    }
    assert!(!keeps_tuple(&name(Eq, "ab"), &fields, &[Some(Value::String("a".into()))]), "shorter than the width is whole");
    let far = [Some(Value::Long(i64::MAX - 3))];
    assert!(keeps_tuple(&id(Gt, i64::MAX - 1), &[(1, "truncate[10]")], &far));
}

#[test]
fn truncated_partitions_of_the_least_integers_wrap_around() {
    let fields = [(1, "truncate[10]")];
    let least = [Some(Value::Long(i64::MAX - 1))];
    assert!(keeps_tuple(&id(Eq, i64::MIN), &fields, &least) && keeps_tuple(&id(Lt, 0), &fields, &least));
    let least_int = [Some(Value::Long(i64::from(i32::MAX) - 1))];
    assert!(keeps_tuple(&id(Lt, 0), &fields, &least_int), "of an int that was promoted");
    assert!(!keeps_tuple(&id(Gt, i64::from(i32::MAX) + 9), &fields, &least_int));
    let below = [Some(Value::Long(i64::from(i32::MAX) - 27))];
    assert!(!keeps_tuple(&id(Lt, 0), &fields, &below));
}

#[test]
fn time_partitions_are_ranges() {
    let day = |op, d| compare(column(4, P::Date), op, literal(Value::Date(d)));
    assert!(keeps_tuple(&ts(GtEq, 365 * DAY), &[(5, "year")], &[Some(Value::Int(1))]));
    assert!(!keeps_tuple(&ts(Lt, 365 * DAY), &[(5, "year")], &[Some(Value::Int(1))]));
    assert!(!keeps_tuple(&ts(GtEq, 730 * DAY), &[(5, "year")], &[Some(Value::Int(1))]));
    assert!(keeps_tuple(&day(Eq, 58), &[(4, "month")], &[Some(Value::Int(1))]));
    assert!(!keeps_tuple(&day(Eq, 59), &[(4, "month")], &[Some(Value::Int(1))]));
    assert!(!keeps_tuple(&ts(Eq, 2 * DAY), &[(5, "day")], &[Some(Value::Date(1))]));
    assert!(keeps_tuple(&ts(Eq, 2 * DAY - 1), &[(5, "day")], &[Some(Value::Date(1))]));
    assert!(!keeps_tuple(&ts(Lt, DAY / 24), &[(5, "hour")], &[Some(Value::Int(1))]));
    assert!(keeps_tuple(&ts(Lt, 0), &[(5, "year")], &[Some(Value::Int(i32::MIN))]), "a year that no calendar knows");
}

#[test]
fn negative_values_of_time_transforms_may_be_one_too_high() {
    // -1 microsecond is year -1; older Java wrote 0. -367 days is year -2; older Java wrote -1.
    for (transform, value) in [("year", Value::Int(0)), ("month", Value::Int(0)), ("day", Value::Date(0)), ("hour", Value::Int(0))] {
        assert!(keeps_tuple(&ts(Eq, -1), &[(5, transform)], &[Some(value)]), "{transform}");
    }
    assert!(keeps_tuple(&ts(Eq, -367 * DAY), &[(5, "year")], &[Some(Value::Int(-1))]));
    assert!(!keeps_tuple(&ts(Eq, -1), &[(5, "year")], &[Some(Value::Int(1))]));
    assert!(!keeps_tuple(&ts(GtEq, 365 * DAY), &[(5, "year")], &[Some(Value::Int(0))]), "it is never too low");
}

#[test]
fn void_and_unknown_transforms_and_absent_fields_never_prune() {
    for transform in ["void", "evil[3]", "bucket[0]", "truncate[0]", "bucket[4294967296]"] {
        for tuple in [None, Some(Value::Long(7))] {
            assert!(keeps_tuple(&id(Eq, 5), &[(1, transform)], &[tuple]), "{transform}");
        }
    }
    let pruner = Pruner::new(&id(Eq, 5), &schema(), None).unwrap();
    let absent = partition::of_tuple(pruner.columns(), &spec(0, &[(1, "identity")]), &[None], &[false]);
    assert!(pruner.may_match(&absent), "a field that the manifest does not hold was read as NULL");
}

#[test]
fn summaries_prune_by_every_transform_and_keep_what_they_do_not_know() {
    let kept = |filter: &Expr, field: (i32, &str), ty: P, null: bool, nan: Option<bool>, bounds: Option<(Value, Value)>| {
        let pruner = Pruner::new(filter, &schema(), None).unwrap();
        let (lower, upper) = bounds.map_or((None, None), |(lower, upper)| (lower.to_bytes(), upper.to_bytes()));
        let summary = FieldSummary { contains_null: null, contains_nan: nan, lower, upper };
        let domains = partition::of_summaries(pruner.columns(), &spec(0, &[field]), &[ty], &[summary]);
        pruner.may_match(&domains)
    };
    let longs = |a, b| Some((Value::Long(a), Value::Long(b)));
    let ints = |a, b| Some((Value::Int(a), Value::Int(b)));
    assert!(!kept(&id(Eq, 9), (1, "identity"), P::Long, false, None, longs(1, 8)));
    assert!(kept(&id(Eq, 9), (1, "identity"), P::Long, false, None, None), "missing bounds");
    assert!(kept(&id(Eq, 9), (1, "identity"), P::Long, false, None, longs(8, 1)), "bounds the wrong way round");
    assert!(!kept(&is_null(1, P::Long, false), (1, "identity"), P::Long, false, None, longs(1, 8)));
    assert!(kept(&is_null(1, P::Long, false), (1, "identity"), P::Long, true, None, longs(1, 8)));
    // Written when the field was an int.
    assert!(!kept(&id(Eq, 9), (1, "identity"), P::Long, false, None, ints(1, 8)));
    assert!(!kept(&id(Eq, 34), (1, "bucket[16]"), P::Int, false, None, ints(4, 9)));
    assert!(kept(&id(Eq, 34), (1, "bucket[16]"), P::Int, false, None, ints(2, 9)));
    assert!(!kept(&id(Eq, 30), (1, "truncate[10]"), P::Long, false, None, longs(0, 20)));
    assert!(kept(&id(Eq, 29), (1, "truncate[10]"), P::Long, false, None, longs(0, 20)));
    assert!(!kept(&ts(GtEq, 2 * DAY), (5, "day"), P::Date, false, None, Some((Value::Date(0), Value::Date(1)))));
    assert!(kept(&ts(Eq, -1), (5, "day"), P::Date, false, None, Some((Value::Date(0), Value::Date(1)))), "one too high");
    let doubles = Some((Value::Double(1.0), Value::Double(2.0)));
    assert!(kept(&f(Gt, 5.0), (3, "identity"), P::Double, false, None, doubles.clone()));
    assert!(kept(&f(Gt, 5.0), (3, "identity"), P::Double, false, Some(true), doubles.clone()));
    assert!(!kept(&f(Gt, 5.0), (3, "identity"), P::Double, false, Some(false), doubles));
    for transform in ["void", "evil[3]"] {
        assert!(kept(&id(Eq, 9), (1, transform), P::Long, false, None, longs(1, 8)), "{transform}");
    }
    // As many summaries as fields, or none are used.
    let pruner = Pruner::new(&id(Eq, 9), &schema(), None).unwrap();
    assert!(pruner.may_match(&partition::of_summaries(pruner.columns(), &spec(0, &[(1, "identity")]), &[P::Long], &[])));
}

#[test]
fn a_filter_that_is_never_true_prunes_everything() {
    let null = Expr::Literal(None, P::Long);
    assert!(!keeps(&compare(column(1, P::Long), Eq, null), &nothing()));
    assert!(!keeps(&literal(Value::Boolean(false)), &nothing()));
    assert!(keeps(&literal(Value::Boolean(true)), &nothing()));
}
