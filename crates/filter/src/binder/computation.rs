//! Arithmetic, signs and casts.

use super::{Binder, Operand, cast_to, constant, literal};
use crate::arithmetic;
use crate::literal::{Constant, cast};
use crate::tree::Node;
use crate::types::castable;
use fastdata_types::expr::ArithmeticOp;
use fastdata_types::{Expr, PrimitiveType, Result, Value};

impl Binder<'_, '_> {
    pub(super) fn numeric(&self, node: &Node, operand: &Operand) -> Result<PrimitiveType> {
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

    pub(super) fn negate(&self, node: &Node) -> Result<Operand> {
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

    pub(super) fn arithmetic(&self, node: &Node, op: ArithmeticOp, left: &Node, right: &Node) -> Result<Operand> {
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
    pub(super) fn typed(&self, node: &Node, operand: Operand, ty: &PrimitiveType) -> Result<Expr> {
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

    pub(super) fn cast(&self, node: &Node, operand: Operand, to: &PrimitiveType) -> Result<Operand> {
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
}
