//! What filters mean and what is refused, each by the words it is refused with.

mod exactness;
mod meaning;
mod refusals;
mod texts;

use crate::bind;
use fastdata_types::expr::ArithmeticOp;
use fastdata_types::schema::{Field, metadata_column};
use fastdata_types::{Error, ErrorKind, Expr, PrimitiveType, Schema, Type, Value};

fn schema() -> Schema {
    use PrimitiveType as P;
    let address = Type::structure(vec![Field::optional(42, "city", P::String), Field::optional(43, "zip", P::Int)]);
    let mut fields = vec![
        Field::required(1, "id", P::Long),
        Field::optional(2, "n", P::Int),
        Field::optional(3, "f", P::Float),
        Field::optional(4, "d", P::Double),
        Field::optional(5, "price", P::Decimal { precision: 9, scale: 2 }),
        Field::optional(6, "city", P::String),
        Field::optional(7, "day", P::Date),
        Field::optional(8, "at", P::Timestamp),
        Field::optional(9, "tz", P::Timestamptz),
        Field::optional(10, "at_ns", P::TimestampNs),
        Field::optional(11, "u", P::Uuid),
        Field::optional(12, "bin", P::Binary),
        Field::optional(13, "fix", P::Fixed(2)),
        Field::optional(14, "ok", P::Boolean),
        Field::optional(15, "nothing", P::Unknown),
        Field::optional(16, "time", P::Time),
        Field::optional(17, "shape", P::Variant),
        Field::optional(18, "wide", P::Decimal { precision: 38, scale: 0 }),
        Field::optional(19, "tiny", P::Decimal { precision: 38, scale: 38 }),
        Field::optional(20, "odd name", P::Int),
        Field::optional(21, "Order", P::Int),
        Field::optional(22, "order", P::Int),
        Field::optional(23, "tz_ns", P::TimestamptzNs),
        Field::optional(40, "user", Type::structure(vec![Field::optional(41, "address", address)])),
        Field::optional(50, "tags", Type::list(51, false, P::String)),
        Field::optional(60, "a.b", Type::structure(vec![Field::optional(61, "c", P::Int)])),
        Field::optional(62, "a", Type::structure(vec![Field::optional(63, "b.c", P::Int)])),
    ];
    fields.extend(metadata_column::fields(fastdata_types::schema::StructType { fields: vec![] }));
    Schema::new(0, fields).unwrap()
}

fn bound(text: &str) -> Expr {
    bind(text, &schema()).unwrap_or_else(|error| panic!("{text}: {error} ({:?})", error.advice_text()))
}

fn refused(text: &str) -> Error {
    match bind(text, &schema()) {
        Ok(expr) => panic!("{text} became {}", show(&expr)),
        Err(error) => error,
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Boolean(v) => v.to_string(),
        Value::Int(v) => v.to_string(),
        Value::Long(v) => format!("{v}L"),
        Value::Float(v) => format!("{v:?}f"),
        Value::Double(v) => format!("{v:?}"),
        Value::Decimal { unscaled, precision, scale } => format!("{unscaled}e-{scale}({precision})"),
        Value::String(v) => format!("'{v}'"),
        other => format!("{other:?}"),
    }
}

/// Compact: casts are `expr::type`, NULL carries its type.
fn show(expr: &Expr) -> String {
    let list = |parts: &[Expr], word: &str| format!("({})", parts.iter().map(show).collect::<Vec<_>>().join(word));
    let not = |negated: bool| if negated { "NOT " } else { "" };
    match expr {
        Expr::Column(column) => column.path.join("."),
        Expr::Literal(None, ty) => format!("NULL:{ty}"),
        Expr::Literal(Some(v), ty) => {
            assert_eq!(v.primitive_type().as_ref(), Some(ty));
            value(v)
        }
        Expr::Cast { expr, to } => format!("{}::{to}", show(expr)),
        Expr::Arithmetic { op, left, right, ty } => {
            let op = match op {
                ArithmeticOp::Add => "+",
                ArithmeticOp::Subtract => "-",
                ArithmeticOp::Multiply => "*",
                ArithmeticOp::Divide => "/",
                ArithmeticOp::Modulo => "%",
            };
            format!("({} {op} {}):{ty}", show(left), show(right))
        }
        Expr::Negate(inner) => format!("-{}", show(inner)),
        Expr::Compare { op, left, right } => format!("{} {op:?} {}", show(left), show(right)),
        Expr::InList { expr, values, has_null, negated } => {
            let null = if *has_null { " NULL" } else { "" };
            format!("{} {}IN [{}{null}]", show(expr), not(*negated), values.iter().map(value).collect::<Vec<_>>().join(" "))
        }
        Expr::IsNull { expr, negated } => format!("{} IS {}NULL", show(expr), not(*negated)),
        Expr::Like { expr, pattern, escape, negated, case_insensitive } => {
            format!("{} {}LIKE{} '{pattern}' {escape:?}", show(expr), not(*negated), if *case_insensitive { "i" } else { "" })
        }
        Expr::And(parts) => list(parts, " AND "),
        Expr::Or(parts) => list(parts, " OR "),
        Expr::Not(inner) => format!("NOT {}", show(inner)),
        Expr::Guarded { .. } => panic!("no text says it"),
    }
}

/// Every promise of `expr.rs` about types.
fn check_types(expr: &Expr) {
    expr.walk(&mut |part| match part {
        Expr::Compare { left, right, .. } => assert!(left.data_type().is_some() && left.data_type() == right.data_type(), "{}", show(part)),
        Expr::Arithmetic { left, right, ty, .. } => {
            assert!(left.data_type().as_ref() == Some(ty) && right.data_type().as_ref() == Some(ty), "{}", show(part));
        }
        Expr::InList { expr, values, .. } => {
            assert!(!values.is_empty());
            for value in values {
                assert_eq!(value.primitive_type(), expr.data_type(), "{}", show(part));
            }
        }
        Expr::Like { expr, .. } => assert_eq!(expr.data_type(), Some(PrimitiveType::String)),
        Expr::Not(inner) => assert_eq!(inner.data_type(), Some(PrimitiveType::Boolean)),
        Expr::And(parts) | Expr::Or(parts) => {
            assert!(parts.iter().all(|part| part.data_type() == Some(PrimitiveType::Boolean)));
        }
        Expr::Literal(Some(value), ty) => assert_eq!(value.primitive_type().as_ref(), Some(ty)),
        Expr::Cast { expr, .. } => assert!(expr.data_type().is_some()),
        _ => {}
    });
    assert_eq!(expr.data_type(), Some(PrimitiveType::Boolean));
}

#[track_caller]
fn means(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let expr = bound(text);
        check_types(&expr);
        assert_eq!(show(&expr), *expected, "{text}");
    }
}

#[track_caller]
fn refuses(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let error = refused(text);
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{text}: {error}");
        assert!(error.message().contains(expected), "{text}: {}", error.message());
        assert!(error.message().starts_with("filter, "), "{text}: {}", error.message());
    }
}
