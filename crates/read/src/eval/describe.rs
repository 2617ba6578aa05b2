//! An expression as text, for messages: what the user wrote, with the casts that were put in.

use fastdata_types::expr::ArithmeticOp;
use fastdata_types::{Expr, Value};

const MOST: usize = 80;

pub(super) fn describe(expr: &Expr) -> String {
    let mut out = String::new();
    write(expr, &mut out);
    if out.chars().count() > MOST {
        out = out.chars().take(MOST).chain("...".chars()).collect();
    }
    out
}

fn write(expr: &Expr, out: &mut String) {
    if out.len() > 4 * MOST {
        return;
    }
    match expr {
        Expr::Column(column) => out.push_str(&column.path.join(".")),
        Expr::Literal(value, _) => literal(value.as_ref(), out),
        Expr::Cast { expr, to } => {
            out.push_str("CAST(");
            write(expr, out);
            out.push_str(&format!(" AS {to})"));
        }
        Expr::Arithmetic { op, left, right, .. } => {
            operand(left, out);
            out.push_str(match op {
                ArithmeticOp::Add => " + ",
                ArithmeticOp::Subtract => " - ",
                ArithmeticOp::Multiply => " * ",
                ArithmeticOp::Divide => " / ",
                ArithmeticOp::Modulo => " % ",
            });
            operand(right, out);
        }
        Expr::Negate(inner) => {
            out.push('-');
            operand(inner, out);
        }
        Expr::Compare { .. }
        | Expr::InList { .. }
        | Expr::IsNull { .. }
        | Expr::Like { .. }
        | Expr::And(_)
        | Expr::Or(_)
        | Expr::Not(_)
        | Expr::Guarded { .. } => out.push_str("(a condition)"),
    }
}

fn operand(expr: &Expr, out: &mut String) {
    let nested = matches!(expr, Expr::Arithmetic { .. });
    if nested {
        out.push('(');
    }
    write(expr, out);
    if nested {
        out.push(')');
    }
}

fn literal(value: Option<&Value>, out: &mut String) {
    match value {
        None => out.push_str("NULL"),
        Some(Value::Int(v)) => out.push_str(&v.to_string()),
        Some(Value::Long(v)) => out.push_str(&v.to_string()),
        Some(Value::Float(v)) => out.push_str(&v.to_string()),
        Some(Value::Double(v)) => out.push_str(&v.to_string()),
        Some(Value::Decimal { unscaled, scale, .. }) => out.push_str(&super::text_cast::decimal_text(*unscaled, *scale)),
        Some(Value::String(v)) => out.push_str(&format!("'{v}'")),
        Some(_) => out.push_str("(a constant)"),
    }
}
