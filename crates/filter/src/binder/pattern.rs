//! LIKE and ILIKE.

use super::comparison::compare_exprs;
use super::{Binder, Operand, cast_to, literal};
use crate::literal::Constant;
use crate::tree::{Node, Tree};
use fastdata_types::expr::CompareOp;
use fastdata_types::{Expr, PrimitiveType, Result, Value};

impl Binder<'_, '_> {
    pub(super) fn like(&self, node: &Node, pattern: &Node, escape: Option<&Node>, negated: bool, case_insensitive: bool) -> Result<Expr> {
        let word = if case_insensitive { "ILIKE" } else { "LIKE" };
        let expr = match self.operand(node)? {
            Operand::Typed(expr, PrimitiveType::String) => expr,
            Operand::Typed(expr, PrimitiveType::Unknown) => cast_to(expr, &PrimitiveType::String),
            Operand::Constant(Constant::Null(_)) => Expr::Literal(None, PrimitiveType::String),
            Operand::Constant(Constant::Text(text) | Constant::Value(Value::String(text))) => literal(Value::String(text)),
            other => {
                let given = self.describe(&other, node);
                return Err(self.invalid(node, format_args!("{word} matches strings, not {given}")));
            }
        };
        let escape = match escape.map(|node| (node, &node.tree)) {
            None => None,
            Some((node, Tree::Text(text))) => {
                let mut characters = text.chars();
                match (characters.next(), characters.next()) {
                    (Some(escape), None) => Some(escape),
                    _ => return Err(self.invalid(node, "ESCAPE takes one character")),
                }
            }
            Some((node, _)) => return Err(self.invalid(node, "ESCAPE takes one character in single quotes")),
        };
        match &pattern.tree {
            Tree::Null => Ok(compare_exprs(CompareOp::Eq, expr, Expr::Literal(None, PrimitiveType::String))),
            Tree::Text(text) => {
                if let Some(escape) = escape
                    && !escapes_are_complete(text, escape)
                {
                    return Err(self.invalid(pattern, "the pattern ends with its escape character"));
                }
                Ok(Expr::Like { expr: Box::new(expr), pattern: text.clone(), escape, negated, case_insensitive })
            }
            _ => Err(self.invalid(pattern, format_args!("the pattern of {word} must be a string in single quotes"))),
        }
    }
}

/// Whether every escape character of a pattern is followed by the character it makes plain.
fn escapes_are_complete(pattern: &str, escape: char) -> bool {
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        if c == escape && characters.next().is_none() {
            return false;
        }
    }
    true
}
