//! What is wrong with operands, in words.

use super::{Binder, Operand};
use crate::literal::Constant;
use crate::position::shorten;
use crate::tree::Node;
use crate::types::{self, has_zone, is_zoneless};
use fastdata_types::expr::Column;
use fastdata_types::{Error, Expr, PrimitiveType};

impl Binder<'_, '_> {
    pub(super) fn invalid(&self, node: &Node, message: impl std::fmt::Display) -> Error {
        self.source.invalid(node.range.start, message)
    }

    pub(super) fn overflow(&self, node: &Node, ty: &PrimitiveType) -> Error {
        self.invalid(node, format_args!("'{}' does not fit into the type {ty}", self.source.quote(&node.range)))
    }

    pub(super) fn mismatch(&self, left: &Node, right: &Node, l: &Operand, r: &Operand) -> Error {
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

    pub(super) fn column(&self, column: &Column) -> String {
        format!("column '{}' ({})", shorten(&column.path.join(".")), shorten(&column.ty.to_string()))
    }

    /// What an operand is, for messages.
    pub(super) fn describe(&self, operand: &Operand, node: &Node) -> String {
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
