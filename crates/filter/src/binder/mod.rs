//! A tree becomes an expression: names become columns, constants take types, casts go where types differ.
//!
//! Contract: see the crate. A comparison whose constant the column's type does not hold is restated in the column's type; where
//! it then holds for every value or for none, it is compared with the least value of the type, so that NULL still gives NULL.

mod comparison;
mod computation;
mod faults;
mod pattern;

use crate::literal::Constant;
use crate::names;
use crate::position::Source;
use crate::tree::{Node, Tree, Truth};
use fastdata_types::expr::{Column, CompareOp};
use fastdata_types::{Expr, PrimitiveType, Result, Schema, Type, Value};

/// The most terms that an operand which has to be repeated may have (`x BETWEEN a AND b` is `x >= a AND x <= b`).
const MAX_REPEATED: usize = 1000;

pub(crate) struct Binder<'s, 'a> {
    source: &'s Source<'a>,
    schema: &'s Schema,
}

/// A bound operand. Constants keep what they were written as until they meet a type.
#[derive(Debug, Clone)]
enum Operand {
    Constant(Constant),
    Typed(Expr, PrimitiveType),
    Nested(Column),
}

impl Binder<'_, '_> {
    pub fn new<'s, 'a>(source: &'s Source<'a>, schema: &'s Schema) -> Binder<'s, 'a> {
        Binder { source, schema }
    }

    /// The whole filter.
    pub fn filter(&self, node: &Node) -> Result<Expr> {
        self.boolean(node, "the filter")
    }

    fn boolean(&self, node: &Node, what: &str) -> Result<Expr> {
        let operand = self.operand(node)?;
        match operand {
            Operand::Typed(expr, PrimitiveType::Boolean) => Ok(expr),
            Operand::Typed(expr, PrimitiveType::Unknown) => Ok(cast_to(expr, &PrimitiveType::Boolean)),
            Operand::Constant(Constant::Value(value @ Value::Boolean(_))) => Ok(literal(value)),
            Operand::Constant(Constant::Null(None | Some(PrimitiveType::Boolean))) => Ok(Expr::Literal(None, PrimitiveType::Boolean)),
            other => {
                let given = self.describe(&other, node);
                Err(self.invalid(node, format_args!("{what} must be a condition, not {given}")).advice("compare it with something"))
            }
        }
    }

    fn operand(&self, node: &Node) -> Result<Operand> {
        Ok(match &node.tree {
            Tree::Column(names) => {
                let column = names::resolve(self.source, self.schema, names, node.range.start)?;
                match &column.ty {
                    Type::Primitive(ty) => {
                        let ty = ty.clone();
                        Operand::Typed(Expr::Column(column), ty)
                    }
                    _ => Operand::Nested(column),
                }
            }
            Tree::Null => Operand::Constant(Constant::Null(None)),
            Tree::Boolean(value) => constant(Value::Boolean(*value)),
            Tree::Number(number) => Operand::Constant(Constant::Number(number.clone())),
            Tree::Text(text) => Operand::Constant(Constant::Text(text.clone())),
            Tree::Binary(bytes) => constant(Value::Binary(bytes.clone())),
            Tree::Typed(ty, text) => self.cast(node, Operand::Constant(Constant::Text(text.clone())), ty)?,
            Tree::Cast(inner, ty) => self.cast(inner, self.operand(inner)?, ty)?,
            Tree::Negate(inner) => self.negate(inner)?,
            Tree::Plus(inner) => {
                let operand = self.operand(inner)?;
                self.numeric(inner, &operand)?;
                operand
            }
            Tree::Arithmetic(op, left, right) => self.arithmetic(node, *op, left, right)?,
            _ => condition(self.condition(node)?),
        })
    }

    /// The nodes that are true, false or NULL.
    fn condition(&self, node: &Node) -> Result<Expr> {
        match &node.tree {
            Tree::Compare(op, left, right) => self.compare(*op, left, right, &self.operand(left)?, &self.operand(right)?),
            Tree::And(parts) => Ok(Expr::And(parts.iter().map(|part| self.boolean(part, "an operand of AND")).collect::<Result<_>>()?)),
            Tree::Or(parts) => Ok(Expr::Or(parts.iter().map(|part| self.boolean(part, "an operand of OR")).collect::<Result<_>>()?)),
            Tree::Not(inner) => Ok(match self.boolean(inner, "the operand of NOT")? {
                Expr::Literal(Some(Value::Boolean(value)), _) => literal(Value::Boolean(!value)),
                inner => Expr::Not(Box::new(inner)),
            }),
            Tree::IsNull { operand, negated } => Ok(self.is_null(self.operand(operand)?, *negated)),
            Tree::Is { operand, truth, negated } => self.is(operand, *truth, *negated),
            Tree::Distinct { left, right, negated } => self.distinct(left, right, *negated),
            Tree::Between { operand, low, high, negated } => {
                let value = self.operand(operand)?;
                self.repeatable(operand, &value)?;
                let both = Expr::And(vec![
                    self.compare(CompareOp::GtEq, operand, low, &value, &self.operand(low)?)?,
                    self.compare(CompareOp::LtEq, operand, high, &value, &self.operand(high)?)?,
                ]);
                Ok(if *negated { Expr::Not(Box::new(both)) } else { both })
            }
            Tree::In { operand, items, negated } => self.in_list(operand, items, *negated),
            Tree::Like { operand, pattern, escape, negated, case_insensitive } => {
                self.like(operand, pattern, escape.as_deref(), *negated, *case_insensitive)
            }
            _ => Err(self.invalid(node, "a condition is needed here")),
        }
    }

    fn is_null(&self, operand: Operand, negated: bool) -> Expr {
        let expr = match operand {
            Operand::Constant(constant) => return literal(Value::Boolean(matches!(constant, Constant::Null(_)) != negated)),
            Operand::Typed(expr, _) => expr,
            Operand::Nested(column) => Expr::Column(column),
        };
        Expr::IsNull { expr: Box::new(expr), negated }
    }

    fn is(&self, node: &Node, truth: Truth, negated: bool) -> Result<Expr> {
        let expr = self.boolean(node, "the operand of IS TRUE, IS FALSE and IS UNKNOWN")?;
        if truth == Truth::Unknown {
            return Ok(Expr::IsNull { expr: Box::new(expr), negated });
        }
        self.repeatable(node, &condition(expr.clone()))?;
        let known = Expr::IsNull { expr: Box::new(expr.clone()), negated: true };
        let holds = Expr::And(vec![if truth == Truth::True { expr } else { Expr::Not(Box::new(expr)) }, known]);
        Ok(if negated { Expr::Not(Box::new(holds)) } else { holds })
    }

    /// `a IS NOT DISTINCT FROM b`: equal, or both NULL; never NULL itself.
    fn distinct(&self, left: &Node, right: &Node, negated: bool) -> Result<Expr> {
        let (l, r) = (self.operand(left)?, self.operand(right)?);
        let null = |operand: &Operand| matches!(operand, Operand::Constant(Constant::Null(_)));
        if null(&l) || null(&r) {
            return Ok(self.is_null(if null(&l) { r } else { l }, !negated));
        }
        self.repeatable(left, &l)?;
        self.repeatable(right, &r)?;
        let mut equal = vec![self.compare(CompareOp::Eq, left, right, &l, &r)?];
        let mut both_null = Vec::new();
        for operand in [l, r] {
            equal.push(self.is_null(operand.clone(), true));
            both_null.push(self.is_null(operand, false));
        }
        let same = Expr::Or(vec![Expr::And(equal), Expr::And(both_null)]);
        Ok(if negated { same } else { Expr::Not(Box::new(same)) })
    }

    /// Refuses an operand too large to be repeated.
    fn repeatable(&self, node: &Node, operand: &Operand) -> Result<()> {
        let mut terms = 0usize;
        if let Operand::Typed(expr, _) = operand {
            expr.walk(&mut |part| {
                terms += match part {
                    Expr::InList { values, .. } => values.len(),
                    _ => 1,
                }
            });
        }
        if terms > MAX_REPEATED {
            return Err(self.source.limit(node.range.start, format_args!("this operand has more than {MAX_REPEATED} terms")));
        }
        Ok(())
    }
}

fn constant(value: Value) -> Operand {
    Operand::Constant(Constant::Value(value))
}

/// A condition whose value is already known is a constant.
fn condition(expr: Expr) -> Operand {
    match expr {
        Expr::Literal(Some(value), _) => constant(value),
        Expr::Literal(None, ty) => Operand::Constant(Constant::Null(Some(ty))),
        expr => Operand::Typed(expr, PrimitiveType::Boolean),
    }
}

fn literal(value: Value) -> Expr {
    let ty = value.primitive_type().unwrap_or(PrimitiveType::Unknown);
    Expr::Literal(Some(value), ty)
}

fn cast_to(expr: Expr, to: &PrimitiveType) -> Expr {
    if expr.data_type().as_ref() == Some(to) {
        return expr;
    }
    match expr {
        Expr::Literal(None, _) => Expr::Literal(None, to.clone()),
        expr => Expr::Cast { expr: Box::new(expr), to: to.clone() },
    }
}
