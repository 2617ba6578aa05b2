//! Comparisons and lists: both sides in one type, exactly.

use super::{Binder, Operand, cast_to, literal};
use crate::literal::{Constant, Fit, Misfit, fit};
use crate::tree::Node;
use crate::types::{common, least};
use fastdata_types::expr::CompareOp;
use fastdata_types::{Error, Expr, PrimitiveType, Result, Value};
use std::cmp::Ordering;

impl Binder<'_, '_> {
    pub(super) fn compare(&self, op: CompareOp, left: &Node, right: &Node, l: &Operand, r: &Operand) -> Result<Expr> {
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
    pub(super) fn compare_constant(
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

    pub(super) fn in_list(&self, node: &Node, items: &[Node], negated: bool) -> Result<Expr> {
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
    pub(super) fn constants(
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
}

pub(super) fn compare_exprs(op: CompareOp, left: Expr, right: Expr) -> Expr {
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
