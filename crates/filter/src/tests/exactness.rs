//! A comparison with a constant means what exact arithmetic says, whatever the column's type.

use super::{bound, show};
use crate::number::Number;
use fastdata_types::expr::CompareOp;
use fastdata_types::value::order_f64;
use fastdata_types::{Expr, Value};
use proptest::prelude::*;
use std::cmp::Ordering;

const OPS: [(&str, CompareOp); 6] = [
    ("=", CompareOp::Eq),
    ("<>", CompareOp::NotEq),
    ("<", CompareOp::Lt),
    ("<=", CompareOp::LtEq),
    (">", CompareOp::Gt),
    (">=", CompareOp::GtEq),
];

/// What the bound comparison says of a row whose column has that value.
fn holds(expr: &Expr, value: &Value) -> bool {
    match expr {
        Expr::Compare { op, left, right } => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(_), Expr::Literal(Some(constant), _)) => op.matches(value.order(constant).unwrap()),
            _ => panic!("{}", show(expr)),
        },
        Expr::InList { values, negated, .. } => values.iter().any(|member| value.order(member).unwrap().is_eq()) != *negated,
        Expr::Not(inner) => !holds(inner, value),
        other => panic!("{}", show(other)),
    }
}

fn exact(value: &Value) -> Option<Number> {
    match value {
        Value::Int(v) => Some(Number::from_unscaled(i128::from(*v), 0)),
        Value::Long(v) => Some(Number::from_unscaled(i128::from(*v), 0)),
        Value::Decimal { unscaled, scale, .. } => Some(Number::from_unscaled(*unscaled, *scale)),
        _ => None,
    }
}

/// Floats are compared with the double nearest to the constant; a constant beyond all doubles is still short of infinity.
fn order(value: &Value, constant: &str) -> Ordering {
    let number = Number::parse(constant).unwrap();
    let with_double = |value: f64| match number.to_f64() {
        f64::INFINITY => order_f64(value, f64::MAX).then(Ordering::Less),
        f64::NEG_INFINITY => order_f64(value, f64::MIN).then(Ordering::Greater),
        nearest => order_f64(value, nearest),
    };
    match value {
        Value::Float(v) => with_double(f64::from(*v)),
        Value::Double(v) => with_double(*v),
        exactly => exact(exactly).unwrap().order(&number),
    }
}

fn any_constant() -> impl Strategy<Value = String> {
    prop_oneof![
        (any::<i64>(), 0usize..25).prop_map(|(digits, places)| {
            let text = format!("{:025}", digits.unsigned_abs());
            let (whole, fraction) = text.split_at(25 - places);
            format!("{}{whole}.{fraction}", if digits < 0 { "-" } else { "" })
        }),
        (-300i64..300, -3i32..24).prop_map(|(digits, exponent)| format!("{digits}e{exponent}")),
        (-40i64..40, 0u32..4).prop_map(|(quarters, nines)| format!("{}{}", quarters as f64 / 4.0, "9".repeat(nines as usize))),
        prop::sample::select(vec![
            "2147483647",
            "2147483648",
            "-2147483648",
            "-2147483649",
            "2147483647.5",
            "-2147483648.5",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808.1",
            "9999999.99",
            "9999999.999",
            "10000000",
            "-9999999.991",
            "0.005",
            "-0.005",
            "16777217",
            "9007199254740993",
            "1e39",
            "-1e39",
            "3.4028235e38",
            "3.4028236e38",
            "1e-46",
            "1e400",
            "-1e400",
            "0.1",
            "-0.0",
        ])
        .prop_map(str::to_owned),
    ]
}

fn any_value() -> impl Strategy<Value = (&'static str, Value)> {
    let money = |unscaled: i128| ("price", Value::Decimal { unscaled, precision: 9, scale: 2 });
    prop_oneof![
        prop_oneof![any::<i32>(), -20..20, Just(i32::MAX), Just(i32::MIN)].prop_map(|v| ("n", Value::Int(v))),
        prop_oneof![any::<i64>(), -20i64..20, Just(i64::MAX), Just(i64::MIN)].prop_map(|v| ("id", Value::Long(v))),
        prop_oneof![-999_999_999i128..=999_999_999, -2000i128..2000, Just(999_999_999), Just(-999_999_999)].prop_map(money),
        prop_oneof![
            any::<f32>(),
            (-40i32..40).prop_map(|v| v as f32 / 4.0),
            Just(f32::MAX),
            Just(0.1),
            Just(f32::NAN),
            Just(f32::INFINITY)
        ]
        .prop_map(|v| ("f", Value::Float(v))),
        prop_oneof![
            any::<f64>(),
            (-40i32..40).prop_map(|v| f64::from(v) / 4.0),
            Just(f64::MAX),
            Just(0.1),
            Just(f64::NAN),
            Just(f64::NEG_INFINITY)
        ]
        .prop_map(|v| ("d", Value::Double(v))),
    ]
}

/// A moment as a constant of nine digits, and as nanoseconds.
fn moment_text(nanos: i128) -> String {
    let moment = chrono::DateTime::from_timestamp(nanos.div_euclid(1_000_000_000) as i64, nanos.rem_euclid(1_000_000_000) as u32).unwrap();
    moment.format("%Y-%m-%d %H:%M:%S%.9f").to_string()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn numbers_compare_exactly((column, value) in any_value(), constant in any_constant(), flip in prop::bool::ANY) {
        for (text, op) in OPS {
            let expr = if flip { bound(&format!("{constant} {text} {column}")) } else { bound(&format!("{column} {text} {constant}")) };
            let op = if flip { op.flip() } else { op };
            prop_assert_eq!(holds(&expr, &value), op.matches(order(&value, &constant)), "{} {} {}: {} for {:?}", column, text, constant, show(&expr), value);
        }
        let listed = bound(&format!("{column} IN ({constant}, {constant})"));
        if !matches!(listed, Expr::Or(_)) {
            prop_assert_eq!(holds(&listed, &value), order(&value, &constant).is_eq(), "{}", show(&listed));
        }
    }

    #[test]
    fn moments_compare_exactly(
        constant in prop_oneof![-3 * DAY..3 * DAY, Just(0), Just(DAY), Just(-DAY), Just(1), Just(-1), -100 * 365 * DAY..100 * 365 * DAY, Just(900 * 365 * DAY)],
        column in prop::sample::select(vec![("day", DAY), ("at", 1000), ("at_ns", 1), ("tz", 1000), ("tz_ns", 1)]),
        ticks in -5i64..5, near in prop::bool::ANY, typed in prop::bool::ANY,
    ) {
        let (name, unit) = column;
        let ticks = if near { (constant.div_euclid(unit) as i64).saturating_add(ticks) } else { ticks };
        let value = match name {
            "day" => Value::Date(ticks as i32),
            "at" => Value::Timestamp(ticks),
            "at_ns" => Value::TimestampNs(ticks),
            "tz" => Value::Timestamptz(ticks),
            _ => Value::TimestamptzNs(ticks),
        };
        // The constant itself must fit into its type: microseconds reach further than nanoseconds.
        let constant = if typed { constant } else { constant.div_euclid(1000) * 1000 };
        let written = moment_text(constant);
        let written = if typed && constant.abs() < i128::from(i64::MAX) { format!("TIMESTAMP(9) '{written}'") } else { format!("'{written}'") };
        for (text, op) in OPS {
            let expr = bound(&format!("{name} {text} {written}"));
            let order = (i128::from(ticks) * unit).cmp(&constant);
            prop_assert_eq!(holds(&expr, &value), op.matches(order), "{} {} {}: {} for {:?}", name, text, written, show(&expr), value);
        }
    }
}

const DAY: i128 = 86_400_000_000_000;
