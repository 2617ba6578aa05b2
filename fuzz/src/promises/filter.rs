//! The text of a filter.
//!
//! Promises: a typed boolean expression as `fastdata_types::expr` describes it, or an error whose position lies in the text; parentheses
//! and white space around the text change nothing; memory and depth are bounded.

use super::{refused, within};
use fastdata_types::schema::{Field, StructType, metadata_column};
use fastdata_types::{Error, ErrorKind, Expr, PrimitiveType, Schema, Type};
use std::sync::OnceLock;

/// Tokens, tree and expression together. Some forms use an operand several times.
const PER_BYTE: usize = 16 << 10;
/// Nesting of the text is bounded at 200; a form such as IS DISTINCT FROM puts some levels of its own around each.
const MAX_DEPTH: usize = 2_000;

pub fn filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let expr = match within(PER_BYTE, bytes, || fastdata_filter::bind(text, schema())) {
        Ok(expr) => expr,
        Err(error) => {
            use ErrorKind::*;
            refused(&error, &[InvalidRequest, NotFound, Unsupported, LimitExceeded]);
            return position_lies_in(text, &error);
        }
    };
    assert!(depth(&expr) <= MAX_DEPTH, "an expression {} deep", depth(&expr));
    is_typed(&expr);
    // A comment may end the text: the parenthesis stands on a line of its own. A deep or long text may lack the room for it.
    match fastdata_filter::bind(&format!(" (\n{text}\n) "), schema()) {
        Ok(same) => assert_eq!(format!("{same:?}"), format!("{expr:?}"), "parentheses change the meaning"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::LimitExceeded, "parentheses change the meaning: {error:?}"),
    }
}

/// `filter, character 8` or `filter, line 2, character 8`; a text that is too long has no position.
fn position_lies_in(text: &str, error: &Error) {
    let message = error.message();
    let place = message.strip_prefix("filter").unwrap_or_else(|| panic!("no place in {error:?}"));
    let number_after = |word: &str| -> Option<usize> {
        let rest = place.get(..place.find(": ")?)?.split_once(word)?.1;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let Some(character) = number_after(", character ") else {
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "no place in {error:?}");
        return;
    };
    let line = number_after(", line ").unwrap_or(1);
    let lines: Vec<&str> = text.split('\n').collect();
    let found = line.checked_sub(1).and_then(|at| lines.get(at)).unwrap_or_else(|| panic!("no such line: {error:?}"));
    assert!((1..=found.chars().count() + 1).contains(&character), "no such character: {error:?}");
}

fn depth(expr: &Expr) -> usize {
    let below = match expr {
        Expr::Column(_) | Expr::Literal(..) => 0,
        Expr::Cast { expr, .. }
        | Expr::Negate(expr)
        | Expr::InList { expr, .. }
        | Expr::IsNull { expr, .. }
        | Expr::Like { expr, .. }
        | Expr::Not(expr) => depth(expr),
        Expr::Arithmetic { left, right, .. } | Expr::Compare { left, right, .. } => depth(left).max(depth(right)),
        Expr::And(parts) | Expr::Or(parts) => parts.iter().map(depth).max().unwrap_or(0),
        Expr::Guarded { guard, then } => depth(guard).max(depth(then)),
    };
    below + 1
}

/// What `fastdata_types::expr` promises to those who plan and read.
fn is_typed(expr: &Expr) {
    let boolean = |part: &Expr| part.data_type() == Some(PrimitiveType::Boolean);
    assert!(boolean(expr), "no condition: {expr:?}");
    expr.walk(&mut |part| {
        let good = match part {
            Expr::Compare { left, right, .. } => left.data_type().is_some() && left.data_type() == right.data_type(),
            Expr::Arithmetic { left, right, ty, .. } => [left, right].iter().all(|side| side.data_type().as_ref() == Some(ty)),
            Expr::Negate(inner) => inner.data_type().is_some_and(|ty| ty.is_numeric()),
            Expr::InList { expr, values, .. } => {
                !values.is_empty()
                    && values.iter().all(|value| value.primitive_type().is_some() && value.primitive_type() == expr.data_type())
            }
            Expr::Like { expr, .. } => expr.data_type() == Some(PrimitiveType::String),
            Expr::Not(inner) => boolean(inner),
            Expr::And(parts) | Expr::Or(parts) => parts.len() > 1 && parts.iter().all(boolean),
            Expr::Literal(Some(value), ty) => value.primitive_type().as_ref() == Some(ty),
            Expr::Cast { expr, .. } => expr.data_type().is_some(),
            Expr::IsNull { .. } => true,
            // No text says it.
            Expr::Guarded { .. } => false,
            Expr::Column(_) | Expr::Literal(None, _) => true,
        };
        assert!(good, "a wrong type in {part:?}");
    });
}

/// A column of each type, and every kind of name.
fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
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
            Field::optional(52, "pairs", Type::map(53, P::String, 54, false, P::Int)),
            Field::optional(60, "a.b", Type::structure(vec![Field::optional(61, "c", P::Int)])),
        ];
        fields.extend(metadata_column::fields(StructType { fields: vec![] }));
        Schema::new(0, fields).expect("the ids are unique")
    })
}
