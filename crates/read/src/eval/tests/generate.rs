//! Random filters on random rows: the compiled filter and the oracle must agree, row by row, in every encoding.

use super::oracle;
use super::table::{ENCODINGS, MONEY, Row, batch, column, leaves, schema};
use super::{evaluate, rows};
use fastdata_types::expr::{ArithmeticOp, CompareOp};
use fastdata_types::{Expr, PrimitiveType, Value};
use proptest::prelude::*;

const WIDE: PrimitiveType = PrimitiveType::Decimal { precision: 14, scale: 4 };

/// Few values, so that rows meet constants; the odd ones of each type among them.
fn any_value(ty: &PrimitiveType) -> BoxedStrategy<Value> {
    use PrimitiveType as P;
    fn of<T: Clone + std::fmt::Debug + 'static>(values: &[T], value: fn(T) -> Value) -> BoxedStrategy<Value> {
        prop::sample::select(values.to_vec()).prop_map(value).boxed()
    }
    let day = 86_400_000_000i64;
    match ty {
        P::Boolean => of(&[true, false], Value::Boolean),
        P::Int => of(&[0, 1, 2, -1, 7, i32::MAX, i32::MIN], Value::Int),
        P::Long => of(&[0, 1, 2, -1, 7, 1 << 53, (1 << 53) + 1, i64::MAX, i64::MIN], Value::Long),
        P::Float => of(&[0.0, -0.0, 1.0, 0.1, -2.5, f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-45], Value::Float),
        P::Double => of(&[0.0, -0.0, 1.0, 0.1, -2.5, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5e-324, 1e19], Value::Double),
        P::Decimal { precision, scale } => {
            let (precision, scale) = (*precision, *scale);
            let most = 10i128.pow(u32::from(precision)) - 1;
            let unit = 10i128.pow(u32::from(scale));
            let values = vec![0, 1, -1, unit, 2 * unit, -unit, unit / 2, most, -most];
            prop::sample::select(values).prop_map(move |unscaled| Value::Decimal { unscaled, precision, scale }).boxed()
        }
        P::String => of(&["", "a", "A", "ab", "abc", "ba", "é", "%", "a_c", "7", " 7 ", "2020-01-01", "\u{1F600}x"], |v| {
            Value::String(v.to_owned())
        }),
        P::Date => of(&[0, 1, -1, 18_262, i32::MAX, i32::MIN], Value::Date),
        P::Time => of(&[0, 1, day - 1], Value::Time),
        P::Timestamp => of(&[0, 1, -1, day, -day, i64::MAX, i64::MIN], Value::Timestamp),
        P::Timestamptz => of(&[0, 1, -1, day, i64::MAX], Value::Timestamptz),
        P::TimestampNs => of(&[0, 1, -1, 1000, day, i64::MIN], Value::TimestampNs),
        P::Uuid => of(&[[0u8; 16], [1; 16], [0x80; 16], [0xff; 16]], Value::Uuid),
        P::Fixed(_) => of(&[[0u8, 0], [0, 1], [0xff, 0]], |v| Value::Fixed(v.to_vec())),
        P::Binary => of(&[&[][..], &[0], &[0, 1], &[0xff], &[0, 1, 2]], |v: &'static [u8]| Value::Binary(v.to_vec())),
        other => panic!("{other}"),
    }
}

fn any_row() -> impl Strategy<Value = Row> {
    let cells: Vec<BoxedStrategy<Option<Value>>> = leaves()
        .iter()
        .map(|(_, _, ty)| match ty {
            PrimitiveType::Unknown => Just(None).boxed(),
            ty => prop::option::weighted(0.8, any_value(ty)).boxed(),
        })
        .collect();
    (cells, prop::bool::weighted(0.2), prop::bool::weighted(0.2)).prop_map(|(leaves, st_null, in_null)| Row { leaves, st_null, in_null })
}

fn any_op() -> impl Strategy<Value = CompareOp> {
    use CompareOp::*;
    prop::sample::select(vec![Eq, NotEq, Lt, LtEq, Gt, GtEq])
}

fn columns_of(ty: &PrimitiveType) -> Vec<Expr> {
    leaves().iter().filter(|(_, _, leaf)| leaf == ty).map(|(_, path, _)| column(&path.join("."))).collect()
}

fn cast(expr: Expr, to: &PrimitiveType) -> Expr {
    Expr::Cast { expr: Box::new(expr), to: to.clone() }
}

/// An expression of the type. `failing` ones may overflow or meet a value that does not cast.
fn any_operand(ty: PrimitiveType, depth: u32, failing: bool) -> BoxedStrategy<Expr> {
    use PrimitiveType as P;
    let literal_type = ty.clone();
    let literal = prop::option::weighted(0.9, any_value(&ty)).prop_map(move |value| Expr::Literal(value, literal_type.clone())).boxed();
    let mut choices = vec![(2, literal)];
    let columns = columns_of(&ty);
    if !columns.is_empty() {
        choices.push((6, prop::sample::select(columns).boxed()));
    }
    let unknown = ty.clone();
    choices.push((1, Just(cast(column("nothing"), &unknown)).boxed()));
    if depth > 0 {
        let safe: &[PrimitiveType] = match ty {
            P::Long => &[P::Int, P::Boolean, MONEY],
            P::Double => &[P::Int, P::Long, P::Float, MONEY],
            P::Timestamp => &[P::TimestampNs, P::Timestamptz],
            P::Binary => &[P::Fixed(2)],
            P::String => &[P::Long],
            _ => &[],
        };
        let risky: &[PrimitiveType] = match ty {
            P::Int => &[P::Long],
            P::Long => &[P::Double, P::String],
            P::Date => &[P::String, P::Timestamp],
            P::Timestamp => &[P::Date],
            P::TimestampNs => &[P::Timestamp],
            _ => &[],
        };
        for from in safe.iter().chain(if failing { risky } else { &[] }) {
            let to = ty.clone();
            choices.push((1, any_operand(from.clone(), depth - 1, failing).prop_map(move |inner| cast(inner, &to)).boxed()));
        }
        let side = match ty {
            P::Double => Some(any_operand(P::Double, depth - 1, failing)),
            P::Long if failing => Some(any_operand(P::Long, depth - 1, failing)),
            // Products are exact only where the sides have no more places than half of the type's.
            WIDE if failing => Some(any_operand(MONEY, 0, false).prop_map(|inner| cast(inner, &WIDE)).boxed()),
            _ => None,
        };
        if let Some(side) = side {
            let result = ty.clone();
            let ops = prop::sample::select(vec![
                ArithmeticOp::Add,
                ArithmeticOp::Subtract,
                ArithmeticOp::Multiply,
                ArithmeticOp::Modulo,
                ArithmeticOp::Divide,
            ]);
            let arithmetic = (ops, side.clone(), side.clone()).prop_map(move |(op, left, right)| {
                let decimal = matches!(result, P::Decimal { .. });
                let op = if decimal && op == ArithmeticOp::Divide { ArithmeticOp::Add } else { op };
                Expr::Arithmetic { op, left: Box::new(left), right: Box::new(right), ty: result.clone() }
            });
            choices.push((3, arithmetic.boxed()));
            choices.push((1, side.prop_map(|inner| Expr::Negate(Box::new(inner))).boxed()));
        }
    }
    prop::strategy::Union::new_weighted(choices).boxed()
}

fn any_type() -> impl Strategy<Value = PrimitiveType> {
    let mut types: Vec<PrimitiveType> = leaves().into_iter().map(|(_, _, ty)| ty).filter(|ty| *ty != PrimitiveType::Unknown).collect();
    types.push(WIDE);
    prop::sample::select(types)
}

fn any_condition(failing: bool) -> BoxedStrategy<Expr> {
    let compare = (any_type(), any_op()).prop_flat_map(move |(ty, op)| {
        (any_operand(ty.clone(), 2, failing), any_operand(ty, 2, failing)).prop_map(move |(left, right)| Expr::Compare {
            op,
            left: Box::new(left),
            right: Box::new(right),
        })
    });
    let in_list =
        (any_type(), prop::bool::ANY, prop::bool::ANY).prop_flat_map(move |(ty, has_null, negated)| {
            (any_operand(ty.clone(), 1, failing), prop::collection::vec(any_value(&ty), 1..14))
                .prop_map(move |(expr, values)| Expr::InList { expr: Box::new(expr), values, has_null, negated })
        });
    let like = (
        any_operand(PrimitiveType::String, 1, failing),
        prop::collection::vec(prop::sample::select(vec!["a", "b", "%", "_", "é", "!%", "!_", "A", "\\", "c"]), 0..5),
        prop::bool::ANY,
        prop::bool::ANY,
        prop::bool::ANY,
    )
        .prop_map(|(expr, parts, escaped, negated, case_insensitive)| {
            let escape = escaped.then_some('!');
            Expr::Like { expr: Box::new(expr), pattern: parts.concat(), escape, negated, case_insensitive }
        });
    let names = vec!["st", "st.in", "st.in.d", "st.s", "s", "i", "nothing", "b"];
    let is_null =
        (prop::sample::select(names), prop::bool::ANY).prop_map(|(name, negated)| Expr::IsNull { expr: Box::new(column(name)), negated });
    let is_null_of = (any_type().prop_flat_map(move |ty| any_operand(ty, 1, failing)), prop::bool::ANY)
        .prop_map(|(expr, negated)| Expr::IsNull { expr: Box::new(expr), negated });
    let leaf = prop_oneof![
        6 => compare, 2 => in_list, 2 => like, 1 => is_null, 1 => is_null_of,
        1 => any_operand(PrimitiveType::Boolean, 0, failing)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Expr::And),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Expr::Or),
            inner.clone().prop_map(|inner| Expr::Not(Box::new(inner))),
            (any_op(), inner.clone(), inner).prop_map(|(op, left, right)| Expr::Compare {
                op,
                left: Box::new(left),
                right: Box::new(right)
            }),
        ]
    })
    .boxed()
}

fn agree(expr: &Expr, table: &[Row]) {
    let expected: Result<Vec<Option<bool>>, ()> =
        table.iter().map(|row| oracle::value(expr, row).map(|value| value.map(|value| value == Value::Boolean(true)))).collect();
    for encoding in ENCODINGS {
        let actual = evaluate(expr, &schema(), &batch(table, encoding));
        match (&expected, &actual) {
            (Ok(expected), Ok(actual)) => assert_eq!(expected, &rows(actual), "{encoding:?}"),
            (Err(()), Err(error)) => assert_eq!(error.kind(), fastdata_types::ErrorKind::InvalidRequest, "{error:?}"),
            // A constant fails once, whether or not there is a row to fail on.
            (Ok(expected), Err(error)) if expected.is_empty() => assert_eq!(error.kind(), fastdata_types::ErrorKind::InvalidRequest),
            (expected, actual) => panic!("{encoding:?}: {actual:?} where {expected:?} was expected"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn filters_agree_with_the_oracle(expr in any_condition(false), table in prop::collection::vec(any_row(), 0..12)) {
        agree(&expr, &table);
    }

    #[test]
    fn filters_that_may_fail_do_so_where_the_oracle_does(expr in any_condition(true), table in prop::collection::vec(any_row(), 0..4)) {
        agree(&expr, &table);
    }
}
