//! A filter evaluated on one row of values, as slowly and plainly as possible.

use super::table::Row;
use fastdata_types::expr::ArithmeticOp;
use fastdata_types::value::{parse_date, parse_decimal};
use fastdata_types::{Expr, PrimitiveType, Value};

/// `Err` where the row has no value: an overflow, a cast that does not hold. Every part is evaluated.
pub fn value(expr: &Expr, row: &Row) -> Result<Option<Value>, ()> {
    let truth = |expr: &Expr| -> Result<Option<bool>, ()> {
        Ok(match value(expr, row)? {
            None => None,
            Some(Value::Boolean(v)) => Some(v),
            Some(other) => panic!("{other:?}"),
        })
    };
    let boolean = |v: Option<bool>| Ok(v.map(Value::Boolean));
    match expr {
        Expr::Column(column) => Ok(row.value(column.id)),
        Expr::Literal(v, _) => Ok(v.clone()),
        Expr::Cast { expr, to } => value(expr, row)?.map(|v| cast(v, to).ok_or(())).transpose(),
        Expr::Arithmetic { op, left, right, ty } => match (value(left, row)?, value(right, row)?) {
            (Some(a), Some(b)) => arithmetic(*op, a, b, ty),
            _ => Ok(None),
        },
        Expr::Negate(inner) => Ok(match value(inner, row)? {
            None => None,
            Some(Value::Long(v)) => Some(Value::Long(v.checked_neg().ok_or(())?)),
            Some(Value::Float(v)) => Some(Value::Float(-v)),
            Some(Value::Double(v)) => Some(Value::Double(-v)),
            Some(Value::Decimal { unscaled, precision, scale }) => Some(Value::Decimal { unscaled: -unscaled, precision, scale }),
            Some(other) => panic!("{other:?}"),
        }),
        Expr::Compare { op, left, right } => match (value(left, row)?, value(right, row)?) {
            (Some(a), Some(b)) => boolean(Some(op.matches(a.order(&b).unwrap()))),
            _ => Ok(None),
        },
        Expr::InList { expr, values, has_null, negated } => match value(expr, row)? {
            None => Ok(None),
            Some(v) if values.iter().any(|member| v.order(member).unwrap().is_eq()) => boolean(Some(!negated)),
            Some(_) if *has_null => Ok(None),
            Some(_) => boolean(Some(*negated)),
        },
        Expr::IsNull { expr, negated } => {
            let null = match expr.as_ref() {
                Expr::Column(column) => row.is_null(column.id),
                other => value(other, row)?.is_none(),
            };
            boolean(Some(null != *negated))
        }
        Expr::Like { expr, pattern, escape, negated, case_insensitive } => Ok(match value(expr, row)? {
            None => None,
            Some(Value::String(text)) => {
                let fold = |text: &str| if *case_insensitive { text.to_lowercase() } else { text.to_owned() };
                let (text, pattern): (Vec<char>, Vec<char>) = (fold(&text).chars().collect(), fold(pattern).chars().collect());
                Some(Value::Boolean(like(&pattern, &text, *escape) != *negated))
            }
            Some(other) => panic!("{other:?}"),
        }),
        Expr::And(parts) | Expr::Or(parts) => {
            let decisive = matches!(expr, Expr::Or(_));
            let parts = parts.iter().map(truth).collect::<Result<Vec<_>, ()>>()?;
            boolean(if parts.contains(&Some(decisive)) {
                Some(decisive)
            } else if parts.contains(&None) {
                None
            } else {
                Some(!decisive)
            })
        }
        Expr::Not(inner) => boolean(truth(inner)?.map(|v| !v)),
        Expr::Guarded { guard, then } => match truth(guard)? {
            Some(true) => boolean(truth(then)?),
            _ => boolean(Some(false)),
        },
    }
}

fn like(pattern: &[char], text: &[char], escape: Option<char>) -> bool {
    match pattern {
        [] => text.is_empty(),
        [e, plain, rest @ ..] if Some(*e) == escape => text.first() == Some(plain) && like(rest, &text[1..], escape),
        ['%', rest @ ..] => (0..=text.len()).any(|taken| like(rest, &text[taken..], escape)),
        ['_', rest @ ..] => !text.is_empty() && like(rest, &text[1..], escape),
        [plain, rest @ ..] => text.first() == Some(plain) && like(rest, &text[1..], escape),
    }
}

fn arithmetic(op: ArithmeticOp, a: Value, b: Value, ty: &PrimitiveType) -> Result<Option<Value>, ()> {
    use ArithmeticOp::*;
    match (a, b, ty) {
        (Value::Long(a), Value::Long(b), _) => {
            let (a, b) = (i128::from(a), i128::from(b));
            let exact = match op {
                Add => a + b,
                Subtract => a - b,
                Multiply => a * b,
                Divide | Modulo if b == 0 => return Ok(None),
                Divide => a / b,
                Modulo => a % b,
            };
            i64::try_from(exact).map(|v| Some(Value::Long(v))).map_err(|_| ())
        }
        (Value::Double(a), Value::Double(b), _) => Ok(Some(Value::Double(match op {
            Add => a + b,
            Subtract => a - b,
            Multiply => a * b,
            Divide | Modulo if b == 0.0 => return Ok(None),
            Divide => a / b,
            Modulo => a % b,
        }))),
        (Value::Decimal { unscaled: a, .. }, Value::Decimal { unscaled: b, .. }, PrimitiveType::Decimal { precision, scale }) => {
            let unscaled = match op {
                Add => a + b,
                Subtract => a - b,
                Multiply => a * b / 10i128.pow(u32::from(*scale)),
                Divide => panic!("decimals are divided as doubles"),
                Modulo if b == 0 => return Ok(None),
                Modulo => a % b,
            };
            if unscaled.abs() >= 10i128.pow(u32::from(*precision)) {
                return Err(());
            }
            Ok(Some(Value::Decimal { unscaled, precision: *precision, scale: *scale }))
        }
        other => panic!("{other:?}"),
    }
}

/// The casts that the generated expressions use.
fn cast(value: Value, to: &PrimitiveType) -> Option<Value> {
    use PrimitiveType as P;
    const DAY: i64 = 86_400_000_000;
    Some(match (value, to) {
        (Value::Int(v), P::Long) => Value::Long(i64::from(v)),
        (Value::Int(v), P::Double) => Value::Double(f64::from(v)),
        (Value::Long(v), P::Int) => Value::Int(v.try_into().ok()?),
        (Value::Long(v), P::Double) => Value::Double(v as f64),
        (Value::Float(v), P::Double) => Value::Double(f64::from(v)),
        (Value::Double(v), P::Long) => {
            let whole = v.trunc();
            if !(whole >= i64::MIN as f64 && whole < i64::MAX as f64) {
                return None;
            }
            Value::Long(whole as i64)
        }
        (Value::Decimal { unscaled, scale, .. }, P::Double) => Value::Double(format!("{unscaled}e-{scale}").parse().unwrap()),
        (Value::Decimal { unscaled, scale, .. }, P::Long) => Value::Long((unscaled / 10i128.pow(u32::from(scale))).try_into().ok()?),
        (Value::Decimal { unscaled, scale: before, .. }, P::Decimal { precision, scale }) => {
            let unscaled = unscaled * 10i128.pow(u32::from(scale - before));
            if unscaled.abs() >= 10i128.pow(u32::from(*precision)) {
                return None;
            }
            Value::Decimal { unscaled, precision: *precision, scale: *scale }
        }
        (Value::Date(days), P::Timestamp) => Value::Timestamp(i64::from(days).checked_mul(DAY)?),
        (Value::Timestamp(micros), P::Date) => Value::Date(micros.div_euclid(DAY).try_into().ok()?),
        (Value::Timestamp(micros), P::TimestampNs) => Value::TimestampNs(micros.checked_mul(1000)?),
        (Value::Timestamptz(micros), P::Timestamp) => Value::Timestamp(micros),
        (Value::TimestampNs(nanos), P::Timestamp) => Value::Timestamp(nanos.div_euclid(1000)),
        (Value::Fixed(bytes), P::Binary) => Value::Binary(bytes),
        (Value::String(text), P::Long) => Value::Long(parse_decimal(text.trim(), 0)?.try_into().ok()?),
        (Value::String(text), P::Date) => Value::Date(parse_date(text.trim())?),
        (Value::Long(v), P::String) => Value::String(v.to_string()),
        (Value::Boolean(v), P::Long) => Value::Long(i64::from(v)),
        (other, to) => panic!("{other:?} to {to}"),
    })
}
