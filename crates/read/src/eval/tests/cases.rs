//! The promises that random filters would meet too rarely.

use super::table::{ENCODINGS, Encoding, MONEY, Row, array, batch, column, leaves, schema};
use super::{evaluate, rows};
use arrow::array::{ArrayRef, AsArray, Int32Array, NullArray, RecordBatch};
use arrow::datatypes::{DataType, Field as ArrowField, Schema as ArrowSchema};
use fastdata_types::expr::{ArithmeticOp, CompareOp};
use fastdata_types::schema::Field;
use fastdata_types::{ErrorKind, Expr, PrimitiveType, Schema, Value};
use std::sync::Arc;

fn literal(value: Value) -> Expr {
    let ty = value.primitive_type().unwrap();
    Expr::Literal(Some(value), ty)
}

fn compare(op: CompareOp, left: Expr, right: Expr) -> Expr {
    Expr::Compare { op, left: Box::new(left), right: Box::new(right) }
}

fn cast(expr: Expr, to: PrimitiveType) -> Expr {
    Expr::Cast { expr: Box::new(expr), to }
}

/// A table with one column.
fn one(ty: PrimitiveType, values: &[Option<Value>], encoding: Encoding) -> (Schema, RecordBatch, Expr) {
    let schema = Schema::new(0, vec![Field::optional(7, "c", ty.clone())]).unwrap();
    let values = array(values, &ty, encoding);
    let fields = vec![ArrowField::new("c", values.data_type().clone(), true)];
    let batch = RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), vec![values]).unwrap();
    let column = Expr::Column(fastdata_types::expr::Column { id: 7, path: vec!["c".to_owned()], ty: ty.into() });
    (schema, batch, column)
}

#[test]
fn nan_equals_nan_and_is_greatest_and_zeros_are_equal() {
    let nans = [f64::NAN, -f64::NAN, f64::from_bits(0x7ff8_0000_0000_0001)];
    let values: Vec<Option<Value>> =
        nans.iter().chain(&[f64::INFINITY, 0.0, -0.0]).map(|v| Some(Value::Double(*v))).chain([None]).collect();
    let (schema, batch, c) = one(PrimitiveType::Double, &values, Encoding::Plain);
    let result = |op, constant: f64| rows(&evaluate(&compare(op, c.clone(), literal(Value::Double(constant))), &schema, &batch).unwrap());
    let t = Some(true);
    let f = Some(false);
    assert_eq!(result(CompareOp::Eq, f64::NAN), [t, t, t, f, f, f, None]);
    assert_eq!(result(CompareOp::Gt, f64::INFINITY), [t, t, t, f, f, f, None]);
    assert_eq!(result(CompareOp::GtEq, f64::NAN), [t, t, t, f, f, f, None]);
    assert_eq!(result(CompareOp::Lt, f64::NAN), [f, f, f, t, t, t, None]);
    assert_eq!(result(CompareOp::Eq, -0.0), [f, f, f, f, t, t, None]);
    assert_eq!(result(CompareOp::Lt, 0.0), [f, f, f, f, f, f, None]);
    let list =
        Expr::InList { expr: Box::new(c), values: vec![Value::Double(f64::NAN), Value::Double(0.0)], has_null: false, negated: false };
    assert_eq!(rows(&evaluate(&list, &schema, &batch).unwrap()), [t, t, t, f, t, t, None]);
}

#[test]
fn a_column_below_a_null_struct_is_null() {
    let mut row = Row { leaves: vec![None; leaves().len()], st_null: false, in_null: false };
    let at = |id: i32| leaves().iter().position(|(leaf, ..)| *leaf == id).unwrap();
    row.leaves[at(41)] = Some(Value::Int(5));
    row.leaves[at(44)] = Some(Value::Double(1.0));
    let table = [row.clone(), Row { st_null: true, ..row.clone() }, Row { in_null: true, ..row }];
    let batch = batch(&table, Encoding::Plain);
    let five = compare(CompareOp::Eq, column("st.i"), literal(Value::Int(5)));
    assert_eq!(rows(&evaluate(&five, &schema(), &batch).unwrap()), [Some(true), None, Some(true)]);
    let not = Expr::Not(Box::new(five));
    assert_eq!(rows(&evaluate(&not, &schema(), &batch).unwrap()), [Some(false), None, Some(false)]);
    let is_null = |name: &str| Expr::IsNull { expr: Box::new(column(name)), negated: false };
    for (name, expected) in
        [("st", [false, true, false]), ("st.in", [false, true, true]), ("st.in.d", [false, true, true]), ("st.s", [true; 3])]
    {
        assert_eq!(rows(&evaluate(&is_null(name), &schema(), &batch).unwrap()), expected.map(Some), "{name}");
    }
}

#[test]
fn lists_of_ten_thousand_values_take_no_longer_per_row() {
    let values: Vec<Option<Value>> = (0..20_000).map(|i| Some(Value::String(format!("key-{i}")))).chain([None]).collect();
    for encoding in ENCODINGS {
        let (schema, batch, c) = one(PrimitiveType::String, &values, encoding);
        let members = (0..10_000).map(|i| Value::String(format!("key-{}", 2 * i))).collect();
        let list = Expr::InList { expr: Box::new(c), values: members, has_null: true, negated: true };
        let result = rows(&evaluate(&list, &schema, &batch).unwrap());
        assert_eq!(result.iter().filter(|row| **row == Some(false)).count(), 10_000, "{encoding:?}");
        assert_eq!(result.iter().filter(|row| row.is_none()).count(), 10_001, "{encoding:?}");
    }
}

#[test]
fn casts_hold_their_value_or_fail_without_telling_it() {
    use PrimitiveType as P;
    let money = Value::Decimal { unscaled: -250, precision: 9, scale: 2 };
    let decimal = |unscaled, precision, scale| Value::Decimal { unscaled, precision, scale };
    let text = |text: &str| Value::String(text.to_owned());
    let uuid = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255];
    let held: Vec<(Value, Value)> = vec![
        (Value::Double(2.9), Value::Int(2)),
        (Value::Float(-2.9), Value::Long(-2)),
        (Value::Double(-9223372036854775808.0), Value::Long(i64::MIN)),
        (Value::Long((1 << 24) + 1), Value::Float(16_777_216.0)),
        (Value::Double(0.1), Value::Float(0.1)),
        (Value::Double(2.345), decimal(235, 9, 2)),
        (Value::Double(-0.005), decimal(-1, 9, 2)),
        (Value::Double(1e-300), decimal(0, 9, 2)),
        (money.clone(), Value::Int(-2)),
        (money.clone(), Value::Double(-2.5)),
        (money.clone(), Value::Float(-2.5)),
        (money.clone(), decimal(-3, 5, 0)),
        (money.clone(), decimal(-25000, 9, 4)),
        (money.clone(), text("-2.50")),
        (decimal(5, 9, 2), text("0.05")),
        (Value::Boolean(true), Value::Int(1)),
        (Value::Boolean(false), text("false")),
        (Value::Int(-7), text("-7")),
        (Value::Date(-1), text("1969-12-31")),
        (Value::Time(3_600_000_001), text("01:00:00.000001")),
        (Value::Timestamp(-1), text("1969-12-31T23:59:59.999999")),
        (Value::Timestamptz(0), text("1970-01-01T00:00:00Z")),
        (Value::TimestampNs(1), text("1970-01-01T00:00:00.000000001")),
        (Value::TimestampNs(-1), Value::Timestamp(-1)),
        (Value::Timestamp(-1), Value::Date(-1)),
        (Value::Date(1), Value::TimestamptzNs(86_400_000_000_000)),
        (Value::Timestamp(5), Value::Timestamptz(5)),
        (Value::Uuid(uuid), text("00010203-0405-0607-0809-0a0b0c0d0eff")),
        (text("00010203-0405-0607-0809-0A0B0C0D0EFF"), Value::Uuid(uuid)),
        (text(" 1e3 "), Value::Int(1000)),
        (text("2.345"), decimal(235, 9, 2)),
        (text("-2.5e-1"), decimal(-25, 9, 2)),
        (text("0.1"), Value::Float(0.1)),
        (text("-Infinity"), Value::Double(f64::NEG_INFINITY)),
        (text("NaN"), Value::Float(f32::NAN)),
        (text("TRUE"), Value::Boolean(true)),
        (text("2020-01-01 00:00:00"), Value::Date(18_262)),
        (text("1970-01-01T01:00:00+01:00"), Value::Timestamptz(0)),
        (text("1970-01-01"), Value::TimestamptzNs(0)),
        (text("00:00:00.5"), Value::Time(500_000)),
        (Value::Fixed(vec![1, 2]), Value::Binary(vec![1, 2])),
    ];
    for (from, to) in held {
        let (source, target) = (from.primitive_type().unwrap(), to.primitive_type().unwrap());
        for encoding in ENCODINGS {
            let (schema, batch, c) = one(source.clone(), &[Some(from.clone()), None], encoding);
            let same = compare(CompareOp::Eq, cast(c, target.clone()), literal(to.clone()));
            assert_eq!(rows(&evaluate(&same, &schema, &batch).unwrap()), [Some(true), None], "{from:?} to {to:?}");
        }
    }
    let failing = [
        (Value::Long(1 << 31), P::Int),
        (Value::Double(f64::NAN), P::Long),
        (Value::Double(9223372036854775808.0), P::Long),
        (Value::Float(f32::INFINITY), P::Int),
        (Value::Double(1e10), MONEY),
        (Value::Double(f64::NAN), MONEY),
        (decimal(99_999, 5, 0), P::Decimal { precision: 5, scale: 1 }),
        (decimal(999, 3, 1), P::Decimal { precision: 2, scale: 0 }),
        (Value::Date(i32::MAX), P::TimestampNs),
        (Value::Timestamp(i64::MAX), P::TimestampNs),
        (Value::Timestamp(i64::MAX), P::String),
        (text("secret"), P::Int),
        (text("2.5"), P::Int),
        (text("1e400"), P::Double),
        (text("secret"), P::Uuid),
        (text("secret"), P::Boolean),
        (text("12345678.9"), P::Decimal { precision: 5, scale: 0 }),
        (text("2020-01-01T00:00:00Z"), P::Timestamp),
        (text("2020-01-01 10:00:00"), P::Date),
        (text("1e2147483647"), P::Long),
        (text("1e99999999999999999999"), MONEY),
    ];
    for (from, to) in failing {
        let (schema, batch, c) = one(from.primitive_type().unwrap(), &[None, Some(from.clone())], Encoding::Plain);
        let filter = Expr::IsNull { expr: Box::new(cast(c, to.clone())), negated: false };
        let error = evaluate(&filter, &schema, &batch).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{from:?} to {to}: {error}");
        assert!(error.message().contains("CAST(c AS") && !error.message().contains("secret"), "{error}");
    }
}

#[test]
fn entries_of_a_dictionary_that_no_row_uses_cannot_fail() {
    let (schema, batch, c) = one(PrimitiveType::String, &[Some(Value::String("7".to_owned())), None], Encoding::WideDictionary);
    let seven = compare(CompareOp::Eq, cast(c, PrimitiveType::Int), literal(Value::Int(7)));
    assert_eq!(rows(&evaluate(&seven, &schema, &batch).unwrap()), [Some(true), None]);
}

#[test]
fn division_by_zero_is_null_in_every_type_and_an_overflow_names_the_expression() {
    use ArithmeticOp::{Divide, Modulo, Multiply, Subtract};
    let zero_of = |ty: &PrimitiveType| match ty {
        PrimitiveType::Long => Value::Long(0),
        PrimitiveType::Double => Value::Double(-0.0),
        _ => Value::Decimal { unscaled: 0, precision: 9, scale: 2 },
    };
    for (value, ops) in [
        (Value::Long(5), vec![Divide, Modulo]),
        (Value::Double(5.0), vec![Divide, Modulo]),
        (Value::Decimal { unscaled: 500, precision: 9, scale: 2 }, vec![Modulo]),
    ] {
        let ty = value.primitive_type().unwrap();
        let (schema, batch, c) = one(ty.clone(), &[Some(zero_of(&ty)), Some(value.clone())], Encoding::Plain);
        for op in ops {
            for (left, right) in [(literal(value.clone()), c.clone()), (c.clone(), c.clone()), (c.clone(), literal(zero_of(&ty)))] {
                let by_zero = matches!(right, Expr::Literal(..));
                let quotient = Expr::Arithmetic { op, left: Box::new(left), right: Box::new(right), ty: ty.clone() };
                let null = Expr::IsNull { expr: Box::new(quotient), negated: false };
                assert_eq!(rows(&evaluate(&null, &schema, &batch).unwrap()), [Some(true), Some(by_zero)], "{ty} {op:?}");
            }
        }
    }
    let (schema, batch, c) = one(PrimitiveType::Long, &[Some(Value::Long(i64::MIN)), None], Encoding::Plain);
    let minus_one = || Box::new(literal(Value::Long(-1)));
    for (op, text) in [(Multiply, "'c * -1' leaves the range of the type long"), (Divide, "'c / -1' leaves"), (Subtract, "")] {
        let filter = compare(
            CompareOp::Gt,
            Expr::Arithmetic { op, left: Box::new(c.clone()), right: minus_one(), ty: PrimitiveType::Long },
            literal(Value::Long(0)),
        );
        match evaluate(&filter, &schema, &batch) {
            Ok(result) => assert!(text.is_empty() && rows(&result) == [Some(false), None]),
            Err(error) => assert!(!text.is_empty() && error.message().contains(text), "{error}"),
        }
    }
    let rest = Expr::Arithmetic { op: Modulo, left: Box::new(c.clone()), right: minus_one(), ty: PrimitiveType::Long };
    assert_eq!(rows(&evaluate(&compare(CompareOp::Eq, rest, literal(Value::Long(0))), &schema, &batch).unwrap()), [Some(true), None]);
    let negated = compare(CompareOp::Gt, Expr::Negate(Box::new(c)), literal(Value::Long(0)));
    assert!(evaluate(&negated, &schema, &batch).unwrap_err().message().contains("'-c'"));
}

#[test]
fn a_decided_condition_does_not_hide_the_error_of_a_later_one() {
    let (schema, batch, c) = one(PrimitiveType::Long, &[Some(Value::Long(i64::MAX))], Encoding::Plain);
    let one_more =
        Expr::Arithmetic { op: ArithmeticOp::Add, left: Box::new(c), right: Box::new(literal(Value::Long(1))), ty: PrimitiveType::Long };
    let fails = compare(CompareOp::Gt, one_more, literal(Value::Long(0)));
    for (all, first) in [(true, false), (false, true)] {
        let first = literal(Value::Boolean(first));
        let parts = vec![first, fails.clone()];
        let filter = if all { Expr::And(parts) } else { Expr::Or(parts) };
        assert!(evaluate(&filter, &schema, &batch).is_err());
    }
}

/// What is evaluated on hidden rows must not show: neither by an error of its own nor by the text of the guard.
#[test]
fn what_a_guard_hides_is_not_evaluated() {
    let values = [Some(Value::Long(1)), Some(Value::Long(i64::MAX)), None, Some(Value::Long(3))];
    let (schema, batch, c) = one(PrimitiveType::Long, &values, Encoding::Plain);
    let one_more = |c: &Expr| Expr::Arithmetic {
        op: ArithmeticOp::Add,
        left: Box::new(c.clone()),
        right: Box::new(literal(Value::Long(1))),
        ty: PrimitiveType::Long,
    };
    let above = |left: Expr, than: i64| compare(CompareOp::Gt, left, literal(Value::Long(than)));
    let guarded = |guard: Expr, then: Expr| Expr::Guarded { guard: Box::new(guard), then: Box::new(then) };
    let small = compare(CompareOp::Lt, c.clone(), literal(Value::Long(100)));
    let fails = above(one_more(&c), 2);
    assert!(evaluate(&Expr::And(vec![small.clone(), fails.clone()]), &schema, &batch).is_err(), "an AND evaluates both sides");
    let passed = evaluate(&guarded(small.clone(), fails.clone()), &schema, &batch).unwrap();
    assert_eq!(rows(&passed), [Some(false), Some(false), Some(false), Some(true)]);
    let passed = evaluate(&guarded(small, above(c.clone(), 1)), &schema, &batch).unwrap();
    assert_eq!(rows(&passed), [Some(false), Some(false), Some(false), Some(true)]);
    let nothing = guarded(literal(Value::Boolean(false)), fails.clone());
    assert_eq!(rows(&evaluate(&nothing, &schema, &batch).unwrap()), [Some(false); 4]);
    assert!(evaluate(&guarded(literal(Value::Boolean(true)), fails.clone()), &schema, &batch).is_err());
    let error = evaluate(&guarded(fails, literal(Value::Boolean(true))), &schema, &batch).unwrap_err();
    assert!(error.kind() == ErrorKind::PermissionDenied && !error.message().contains("c + 1"), "{error}");
}

#[test]
fn patterns_match_characters_not_bytes() {
    let texts = ["", "a", "ab", "aab", "aXbXc", "é", "É", "İ", "\u{1F600}", "100%", "a\\_c", "line\nbreak", "aaab", "aXb"];
    let values: Vec<Option<Value>> = texts.iter().map(|v| Some(Value::String((*v).to_owned()))).chain([None]).collect();
    let matched = |pattern: &str, escape: Option<char>, case_insensitive: bool| -> Vec<&str> {
        let mut found: Option<Vec<&str>> = None;
        for encoding in ENCODINGS {
            let (schema, batch, c) = one(PrimitiveType::String, &values, encoding);
            let like = Expr::Like { expr: Box::new(c), pattern: pattern.to_owned(), escape, negated: false, case_insensitive };
            let result = rows(&evaluate(&like, &schema, &batch).unwrap());
            assert_eq!(result.last(), Some(&None));
            let these = texts.iter().zip(&result).filter(|(_, row)| **row == Some(true)).map(|(text, _)| *text).collect();
            assert!(found.is_none() || found.as_ref() == Some(&these), "{encoding:?}");
            found = Some(these);
        }
        found.unwrap()
    };
    assert_eq!(matched("_", None, false), ["a", "é", "É", "İ", "\u{1F600}"]);
    assert_eq!(matched("é", None, true), ["é", "É"]);
    assert_eq!(matched("a%b", None, false), ["ab", "aab", "aaab", "aXb"]);
    let long = format!("{}needle{}", "é".repeat(100), "x".repeat(100));
    let found = |text: &str, pattern: &str| super::super::like::Pattern::new(pattern, None, false).matches(text);
    assert!(found(&long, "%é%needle%x%") && found(&long, "%éneedlex%") && !found(&long, "%needle%é%") && !found(&long, "%Needle%"));
    assert_eq!(matched("a%ab", None, false), ["aab", "aaab"]);
    assert_eq!(matched("%X%X%", None, false), ["aXbXc"]);
    assert_eq!(matched("ab%b", None, false), Vec::<&str>::new());
    assert_eq!(matched("%X%", None, false), ["aXbXc", "aXb"]);
    assert_eq!(matched("a_%b", None, false), ["aab", "aaab", "aXb"]);
    assert_eq!(matched("100!%", Some('!'), false), ["100%"]);
    assert_eq!(matched("%\\_c", None, false), ["a\\_c"]);
    assert_eq!(matched("line_break", None, false), ["line\nbreak"]);
    assert_eq!(matched("%", None, false).len(), texts.len());
    assert_eq!(matched("", None, false), [""]);
    let slow = super::super::like::Pattern::new(&"%a_".repeat(20), None, false);
    assert!(!slow.matches(&"a".repeat(39)) && slow.matches(&"a".repeat(40)));
}

#[test]
fn a_batch_that_is_not_as_announced_is_an_error_of_ours() {
    let schema = Schema::new(0, vec![Field::optional(7, "c", PrimitiveType::Long)]).unwrap();
    let column = |id: i32| {
        let column = fastdata_types::expr::Column { id, path: vec!["c".to_owned()], ty: PrimitiveType::Long.into() };
        compare(CompareOp::Eq, Expr::Column(column), literal(Value::Long(1)))
    };
    let with = |array: ArrayRef| {
        let fields = vec![ArrowField::new("c", array.data_type().clone(), true)];
        RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), vec![array]).unwrap()
    };
    let narrow = with(Arc::new(Int32Array::from(vec![1])));
    let error = evaluate(&column(7), &schema, &narrow).unwrap_err();
    assert!(error.kind() == ErrorKind::Internal && error.message().contains("column 'c' comes as Int32, not as Int64"), "{error}");
    assert_eq!(evaluate(&column(8), &schema, &narrow).unwrap_err().kind(), ErrorKind::Internal);
    let empty = RecordBatch::new_empty(Arc::new(ArrowSchema::empty()));
    assert_eq!(evaluate(&column(7), &schema, &empty).unwrap_err().kind(), ErrorKind::Internal);
    let absent = with(Arc::new(NullArray::new(2)));
    assert_eq!(rows(&evaluate(&column(7), &schema, &absent).unwrap()), [None, None]);
    assert!(evaluate(&literal(Value::Long(1)), &schema, &narrow).is_err(), "a filter is a condition");
}

#[test]
fn constants_alone_decide_every_row() {
    let (schema, batch, _) = one(PrimitiveType::Int, &[Some(Value::Int(1)), None], Encoding::Plain);
    for (value, expected) in [(Some(true), Some(true)), (Some(false), Some(false)), (None, None)] {
        let constant = Expr::Literal(value.map(Value::Boolean), PrimitiveType::Boolean);
        assert_eq!(rows(&evaluate(&constant, &schema, &batch).unwrap()), [expected; 2]);
        assert_eq!(rows(&evaluate(&constant, &schema, &batch.slice(0, 0)).unwrap()), []);
    }
}

#[test]
fn values_of_no_length_are_compared_too() {
    let (schema, batch, c) = one(PrimitiveType::Fixed(0), &[Some(Value::Fixed(vec![])), None], Encoding::Plain);
    assert_eq!(batch.column(0).as_fixed_size_binary().value_length(), 0);
    assert_eq!(batch.column(0).data_type(), &DataType::FixedSizeBinary(0));
    let same = compare(CompareOp::Eq, c, literal(Value::Fixed(vec![])));
    assert_eq!(rows(&evaluate(&same, &schema, &batch).unwrap()), [Some(true), None]);
}

#[test]
fn deep_filters_need_little_stack() {
    let work = || {
        let (schema, batch, c) = one(PrimitiveType::Long, &[Some(Value::Long(1)), None], Encoding::Plain);
        let is_one = compare(CompareOp::Eq, c.clone(), literal(Value::Long(1)));
        let nots = (0..600).fold(is_one.clone(), |inner, _| Expr::Not(Box::new(inner)));
        let pairs = (0..300).fold(is_one, |inner, _| Expr::Not(Box::new(Expr::And(vec![literal(Value::Boolean(true)), inner]))));
        let signs = (0..600).fold(c, |inner, _| Expr::Negate(Box::new(inner)));
        for filter in [nots, pairs, compare(CompareOp::Eq, signs, literal(Value::Long(1)))] {
            assert_eq!(rows(&evaluate(&filter, &schema, &batch).unwrap()), [Some(true), None]);
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
}
