//! A tree becomes an expression: names become columns, constants take types, casts go where types differ.
//!
//! Contract: see the crate. A comparison whose constant the column's type does not hold is restated in the column's type; where
//! it then holds for every value or for none, it is compared with the least value of the type, so that NULL still gives NULL.

use crate::arithmetic;
use crate::literal::{Constant, Fit, Misfit, cast, fit};
use crate::names;
use crate::parser::{Node, Tree, Truth};
use crate::position::{Source, shorten};
use crate::types::{self, castable, common, has_zone, is_zoneless, least};
use fastdata_types::expr::{ArithmeticOp, Column, CompareOp};
use fastdata_types::{Error, Expr, PrimitiveType, Result, Schema, Type, Value};
use std::cmp::Ordering;

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

    fn compare(&self, op: CompareOp, left: &Node, right: &Node, l: &Operand, r: &Operand) -> Result<Expr> {
        let mismatch = || self.mismatch(left, right, l, r);
        match (l, r) {
            (Operand::Nested(_), _) | (_, Operand::Nested(_)) => Err(mismatch()),
            (Operand::Constant(Constant::Null(_)), Operand::Constant(_)) | (Operand::Constant(_), Operand::Constant(Constant::Null(_))) => {
                Ok(Expr::Literal(None, PrimitiveType::Boolean))
            }
            // A string takes the other's type: it must stand on the right.
            (Operand::Constant(Constant::Text(_)), Operand::Constant(other)) if !matches!(other, Constant::Text(_)) => {
                self.compare(op.flip(), right, left, r, l)
            }
            (Operand::Constant(alone), Operand::Constant(other)) => match alone.alone() {
                (Some(value), Some(ty)) => self.compare_constant(op, right, Expr::Literal(Some(value), ty.clone()), &ty, other, &mismatch),
                _ => Err(mismatch()),
            },
            (Operand::Constant(constant), Operand::Typed(expr, ty)) => {
                self.compare_constant(op.flip(), left, expr.clone(), ty, constant, &mismatch)
            }
            (Operand::Typed(expr, ty), Operand::Constant(constant)) => {
                self.compare_constant(op, right, expr.clone(), ty, constant, &mismatch)
            }
            (Operand::Typed(a, ta), Operand::Typed(b, tb)) => {
                let ty = common(ta, tb).ok_or_else(mismatch)?;
                Ok(compare_exprs(op, cast_to(a.clone(), &ty), cast_to(b.clone(), &ty)))
            }
        }
    }

    /// `expr op constant`, where `at` is the constant's node.
    fn compare_constant(
        &self,
        op: CompareOp,
        at: &Node,
        expr: Expr,
        ty: &PrimitiveType,
        constant: &Constant,
        mismatch: &dyn Fn() -> Error,
    ) -> Result<Expr> {
        let (value, alone) = constant.alone();
        if value.is_none() {
            if alone.is_some_and(|alone| common(ty, &alone).is_none()) {
                return Err(mismatch());
            }
            return Ok(compare_exprs(op, expr, Expr::Literal(None, ty.clone())));
        }
        if *ty == PrimitiveType::Unknown
            && let (Some(value), Some(alone)) = (value, &alone)
        {
            return Ok(compare_exprs(op, cast_to(expr, alone), Expr::Literal(Some(value), alone.clone())));
        }
        match fit(constant, ty) {
            Ok(place) => Ok(restate(op, expr, ty, place)),
            Err(Misfit::Text(why)) => Err(self.invalid(at, format_args!("{} {why}", self.source.quote(&at.range)))),
            Err(Misfit::Types) => {
                let wider = alone.and_then(|alone| common(ty, &alone)).ok_or_else(mismatch)?;
                let place = fit(constant, &wider).map_err(|_| mismatch())?;
                Ok(restate(op, cast_to(expr, &wider), &wider, place))
            }
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

    fn in_list(&self, node: &Node, items: &[Node], negated: bool) -> Result<Expr> {
        let operand = self.operand(node)?;
        let bound = items.iter().map(|item| self.operand(item)).collect::<Result<Vec<_>>>()?;
        if let Operand::Typed(expr, ty) = &operand
            && *ty != PrimitiveType::Unknown
            && let Some(list) = self.constants(node, items, &operand, ty, &bound)?
        {
            let (mut values, has_null) = list;
            values.sort_by(|a, b| a.order(b).unwrap_or(Ordering::Equal));
            values.dedup_by(|a, b| a.order(b) == Some(Ordering::Equal));
            if let [value] = values.as_slice()
                && !has_null
            {
                let op = if negated { CompareOp::NotEq } else { CompareOp::Eq };
                return Ok(compare_exprs(op, expr.clone(), literal(value.clone())));
            }
            if !values.is_empty() {
                return Ok(Expr::InList { expr: Box::new(expr.clone()), values, has_null, negated });
            }
        }
        if items.len() > 1 {
            self.repeatable(node, &operand)?;
        }
        let mut any = Vec::with_capacity(items.len());
        for (item, value) in items.iter().zip(&bound) {
            any.push(self.compare(CompareOp::Eq, node, item, &operand, value)?);
        }
        let any = match (any.pop(), any.is_empty()) {
            (Some(one), true) => one,
            (last, _) => Expr::Or(any.into_iter().chain(last).collect()),
        };
        Ok(if negated { Expr::Not(Box::new(any)) } else { any })
    }

    /// The values of a list of constants that `ty` holds, and whether NULL is among them. Those it does not hold equal nothing.
    /// `None` where one is no constant, or must be compared in another type.
    fn constants(
        &self,
        node: &Node,
        items: &[Node],
        operand: &Operand,
        ty: &PrimitiveType,
        bound: &[Operand],
    ) -> Result<Option<(Vec<Value>, bool)>> {
        let (mut values, mut has_null) = (Vec::with_capacity(bound.len()), false);
        for (item, value) in items.iter().zip(bound) {
            match value {
                Operand::Constant(Constant::Null(None)) => has_null = true,
                Operand::Constant(constant) => match fit(constant, ty) {
                    Ok(Fit::Exact(value)) => values.push(value),
                    Ok(_) => {}
                    Err(Misfit::Types) => {
                        if constant.alone().1.and_then(|alone| common(ty, &alone)).is_none() {
                            return Err(self.mismatch(node, item, operand, value));
                        }
                        return Ok(None);
                    }
                    Err(Misfit::Text(why)) => return Err(self.invalid(item, format_args!("{} {why}", self.source.quote(&item.range)))),
                },
                _ => return Ok(None),
            }
        }
        Ok(Some((values, has_null)))
    }

    fn like(&self, node: &Node, pattern: &Node, escape: Option<&Node>, negated: bool, case_insensitive: bool) -> Result<Expr> {
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

    fn numeric(&self, node: &Node, operand: &Operand) -> Result<PrimitiveType> {
        let ty = match operand {
            Operand::Constant(Constant::Null(None)) => Some(PrimitiveType::Long),
            Operand::Constant(constant) => constant.alone().1,
            Operand::Typed(_, PrimitiveType::Unknown) => Some(PrimitiveType::Long),
            Operand::Typed(_, ty) => Some(ty.clone()),
            Operand::Nested(_) => None,
        };
        match ty {
            Some(ty) if ty.is_numeric() => Ok(ty),
            _ => Err(self.invalid(node, format_args!("cannot compute with {}: it is no number", self.describe(operand, node)))),
        }
    }

    fn negate(&self, node: &Node) -> Result<Operand> {
        let operand = self.operand(node)?;
        let ty = self.numeric(node, &operand)?;
        let wide = if ty == PrimitiveType::Int { PrimitiveType::Long } else { ty };
        Ok(match operand {
            Operand::Constant(Constant::Number(number)) => Operand::Constant(Constant::Number(number.negated())),
            Operand::Constant(Constant::Value(Value::Float(v))) => constant(Value::Float(-v)),
            Operand::Constant(Constant::Value(Value::Double(v))) => constant(Value::Double(-v)),
            Operand::Constant(Constant::Value(Value::Decimal { unscaled, precision, scale })) => {
                constant(Value::Decimal { unscaled: -unscaled, precision, scale })
            }
            Operand::Constant(Constant::Value(Value::Int(v))) => constant(Value::Long(-i64::from(v))),
            Operand::Constant(Constant::Value(Value::Long(v))) => match v.checked_neg() {
                Some(v) => constant(Value::Long(v)),
                None => return Err(self.overflow(node, &wide)),
            },
            Operand::Typed(expr, _) => Operand::Typed(Expr::Negate(Box::new(cast_to(expr, &wide))), wide),
            Operand::Constant(_) | Operand::Nested(_) => Operand::Constant(Constant::Null(Some(wide))),
        })
    }

    fn arithmetic(&self, node: &Node, op: ArithmeticOp, left: &Node, right: &Node) -> Result<Operand> {
        let (l, r) = (self.operand(left)?, self.operand(right)?);
        let (mut lt, mut rt) = (self.numeric(left, &l)?, self.numeric(right, &r)?);
        // A number beside a float is a double, and NULL is of the other's type.
        for (this, ty, other) in [(&l, &mut lt, &r), (&r, &mut rt, &l)] {
            if matches!(this, Operand::Constant(Constant::Null(None))) {
                *ty = self.numeric(left, other).unwrap_or(PrimitiveType::Long);
            }
        }
        let ty = arithmetic::result_type(op, &lt, &rt).map_err(|why| {
            self.invalid(node, format_args!("'{}' {why}", self.source.quote(&node.range))).advice("cast one side to DOUBLE")
        })?;
        let (l, r) = (self.typed(left, l, &ty)?, self.typed(right, r, &ty)?);
        Ok(match (l, r) {
            (Expr::Literal(Some(a), _), Expr::Literal(Some(b), _)) => match arithmetic::compute(op, &a, &b) {
                Ok(Some(value)) => constant(value),
                Ok(None) => Operand::Constant(Constant::Null(Some(ty))),
                Err(()) => return Err(self.overflow(node, &ty)),
            },
            (Expr::Literal(None, _), Expr::Literal(..)) | (Expr::Literal(..), Expr::Literal(None, _)) => {
                Operand::Constant(Constant::Null(Some(ty)))
            }
            (l, r) => Operand::Typed(Expr::Arithmetic { op, left: Box::new(l), right: Box::new(r), ty: ty.clone() }, ty),
        })
    }

    /// A numeric operand in the type of the arithmetic around it, which holds it.
    fn typed(&self, node: &Node, operand: Operand, ty: &PrimitiveType) -> Result<Expr> {
        match operand {
            Operand::Typed(expr, _) => Ok(cast_to(expr, ty)),
            Operand::Constant(Constant::Null(_)) | Operand::Nested(_) => Ok(Expr::Literal(None, ty.clone())),
            Operand::Constant(constant) => match cast(&constant, ty) {
                Ok(Some(Constant::Value(value))) => Ok(Expr::Literal(Some(value), ty.clone())),
                _ => match constant.alone() {
                    (Some(Value::Float(v)), _) if *ty == PrimitiveType::Double => Ok(literal(Value::Double(f64::from(v)))),
                    (Some(value), _) if value.primitive_type().as_ref() == Some(ty) => Ok(literal(value)),
                    _ => Err(self.invalid(node, format_args!("cannot compute with '{}' as {ty}", self.source.quote(&node.range)))),
                },
            },
        }
    }

    fn cast(&self, node: &Node, operand: Operand, to: &PrimitiveType) -> Result<Operand> {
        let from = match &operand {
            Operand::Constant(constant) => constant.alone().1.unwrap_or(PrimitiveType::Unknown),
            Operand::Typed(_, ty) => ty.clone(),
            Operand::Nested(column) => {
                return Err(self.invalid(node, format_args!("cannot cast {} to {to}", self.column(column))));
            }
        };
        if !castable(&from, to) {
            let given = self.describe(&operand, node);
            let error = self.invalid(node, format_args!("cannot cast {given} to {to}"));
            let bytes = matches!(to, PrimitiveType::Binary | PrimitiveType::Fixed(_));
            return Err(if bytes { error.advice("write binary values as X'00ff'") } else { error });
        }
        match operand {
            Operand::Constant(constant) => match cast(&constant, to) {
                Ok(Some(constant)) => Ok(Operand::Constant(constant)),
                Ok(None) => Ok(match constant.alone() {
                    (Some(value), Some(ty)) => Operand::Typed(cast_to(Expr::Literal(Some(value), ty), to), to.clone()),
                    _ => Operand::Constant(Constant::Null(Some(to.clone()))),
                }),
                Err(why) => Err(self.invalid(node, format_args!("{} {why}", self.source.quote(&node.range)))),
            },
            Operand::Typed(expr, _) => Ok(Operand::Typed(cast_to(expr, to), to.clone())),
            Operand::Nested(_) => Ok(operand),
        }
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

    fn invalid(&self, node: &Node, message: impl std::fmt::Display) -> Error {
        self.source.invalid(node.range.start, message)
    }

    fn overflow(&self, node: &Node, ty: &PrimitiveType) -> Error {
        self.invalid(node, format_args!("'{}' does not fit into the type {ty}", self.source.quote(&node.range)))
    }

    fn mismatch(&self, left: &Node, right: &Node, l: &Operand, r: &Operand) -> Error {
        let error = self.invalid(left, format_args!("cannot compare {} with {}", self.describe(l, left), self.describe(r, right)));
        let ty = |operand: &Operand| match operand {
            Operand::Constant(constant) => constant.alone().1,
            Operand::Typed(_, ty) => Some(ty.clone()),
            Operand::Nested(_) => None,
        };
        let (Some(lt), Some(rt)) = (ty(l), ty(r)) else {
            return error.advice("a struct, list or map can only be tested with IS NULL; compare its fields");
        };
        let bytes = |ty: &PrimitiveType| matches!(ty, PrimitiveType::Binary | PrimitiveType::Fixed(_));
        let wide = |ty: &PrimitiveType| types::digits(ty).is_some();
        if is_zoneless(&lt) && has_zone(&rt) || has_zone(&lt) && is_zoneless(&rt) {
            error.advice("one side has a time zone and the other has none: CAST one of them, UTC is then meant")
        } else if bytes(&lt) || bytes(&rt) {
            error.advice("write binary values as X'00ff'")
        } else if wide(&lt) && wide(&rt) {
            error.advice("no decimal of 38 digits holds both: CAST both to DOUBLE")
        } else {
            error.advice(format!("CAST one side if that is meant; the types are: {}", types::NAMES))
        }
    }

    fn column(&self, column: &Column) -> String {
        format!("column '{}' ({})", shorten(&column.path.join(".")), shorten(&column.ty.to_string()))
    }

    /// What an operand is, for messages.
    fn describe(&self, operand: &Operand, node: &Node) -> String {
        let written = self.source.quote(&node.range);
        match operand {
            Operand::Nested(column) => self.column(column),
            Operand::Typed(Expr::Column(column), _) => self.column(column),
            Operand::Typed(_, ty) => format!("'{written}' ({ty})"),
            Operand::Constant(Constant::Null(_)) => "NULL".to_owned(),
            Operand::Constant(Constant::Number(number)) if number.is_written_as_integer() => format!("the integer {written}"),
            Operand::Constant(Constant::Number(_)) => format!("the number {written}"),
            Operand::Constant(Constant::Text(_)) => format!("the string {written}"),
            Operand::Constant(Constant::Value(value)) => match value.primitive_type() {
                Some(ty) => format!("the {ty} {written}"),
                None => written,
            },
        }
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

fn compare_exprs(op: CompareOp, left: Expr, right: Expr) -> Expr {
    match (&left, &right) {
        (Expr::Literal(Some(a), _), Expr::Literal(Some(b), _)) => match a.order(b) {
            Some(order) => literal(Value::Boolean(op.matches(order))),
            None => Expr::Compare { op, left: Box::new(left), right: Box::new(right) },
        },
        (Expr::Literal(..), Expr::Literal(..)) => Expr::Literal(None, PrimitiveType::Boolean),
        _ => Expr::Compare { op, left: Box::new(left), right: Box::new(right) },
    }
}

/// `expr op constant` for a constant with that place in the type of `expr`, exactly.
fn restate(op: CompareOp, expr: Expr, ty: &PrimitiveType, place: Fit) -> Expr {
    use CompareOp as Op;
    let (op, value) = match (op, place) {
        (op, Fit::Exact(value)) => (op, Some(value)),
        (Op::Lt | Op::LtEq, Fit::After(value)) => (Op::LtEq, Some(value)),
        (Op::Gt | Op::GtEq, Fit::After(value)) => (Op::Gt, Some(value)),
        (Op::NotEq, _) | (Op::Lt | Op::LtEq, Fit::Above) | (Op::Gt | Op::GtEq, Fit::Below) => (Op::GtEq, least(ty)),
        (Op::Eq, _) | (Op::Lt | Op::LtEq, Fit::Below) | (Op::Gt | Op::GtEq, Fit::Above) => (Op::Lt, least(ty)),
    };
    compare_exprs(op, expr, Expr::Literal(value, ty.clone()))
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
