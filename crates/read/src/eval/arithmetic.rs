//! `+ - * / %` and the sign, in `long`, `double` and `decimal`.
//!
//! Contract: NULL where a side is NULL or a divisor is zero. Overflow is the error that `overflow` makes.

use super::operand::{Operand, fault, internal};
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Decimal128Array, PrimitiveArray, new_null_array};
use arrow::compute::kernels::numeric;
use arrow::compute::nullif;
use arrow::datatypes::{Decimal128Type, Float32Type, Float64Type, Int64Type, i256};
use fastdata_types::expr::ArithmeticOp;
use fastdata_types::{Error, PrimitiveType, Result};
use std::sync::Arc;

pub(super) fn compute(
    op: ArithmeticOp,
    left: &Operand,
    right: &Operand,
    ty: &PrimitiveType,
    overflow: &dyn Fn() -> Error,
) -> Result<Operand> {
    let divides = matches!(op, ArithmeticOp::Divide | ArithmeticOp::Modulo);
    let right = &if divides { right.with(zeros_to_null(&right.array)?) } else { right.clone() };
    let scalar = left.scalar && right.scalar;
    let rows = if left.scalar { right.array.len() } else { left.array.len() };
    if left.is_null_constant() || right.is_null_constant() {
        return Ok(Operand { array: new_null_array(left.array.data_type(), rows), scalar });
    }
    let array = match ty {
        PrimitiveType::Long | PrimitiveType::Double => {
            let computed = match op {
                ArithmeticOp::Add => numeric::add(left, right),
                ArithmeticOp::Subtract => numeric::sub(left, right),
                ArithmeticOp::Multiply => numeric::mul(left, right),
                ArithmeticOp::Divide => numeric::div(left, right),
                ArithmeticOp::Modulo => numeric::rem(left, right),
            };
            computed.map_err(|error| match error {
                arrow::error::ArrowError::ArithmeticOverflow(_) => overflow(),
                other => fault(other),
            })?
        }
        PrimitiveType::Decimal { precision, scale } => Arc::new(decimals(op, left, right, rows, *precision, *scale, overflow)?),
        other => return Err(internal(format!("arithmetic in the type {other}"))),
    };
    Ok(Operand { array, scalar })
}

fn zeros_to_null(array: &ArrayRef) -> Result<ArrayRef> {
    fn zeros<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>) -> BooleanArray {
        let zero = T::Native::default();
        BooleanArray::new(array.values().iter().map(|value| *value == zero).collect(), None)
    }
    let zeros = if let Some(longs) = array.as_primitive_opt::<Int64Type>() {
        zeros(longs)
    } else if let Some(doubles) = array.as_primitive_opt::<Float64Type>() {
        zeros(doubles)
    } else if let Some(decimals) = array.as_primitive_opt::<Decimal128Type>() {
        zeros(decimals)
    } else {
        return Err(internal(format!("division by {}", array.data_type())));
    };
    nullif(array.as_ref(), &zeros).map_err(fault)
}

fn decimals(
    op: ArithmeticOp,
    left: &Operand,
    right: &Operand,
    rows: usize,
    precision: u8,
    scale: u8,
    overflow: &dyn Fn() -> Error,
) -> Result<Decimal128Array> {
    let wrong = || internal("decimal arithmetic on other types");
    let l = left.array.as_primitive_opt::<Decimal128Type>().ok_or_else(wrong)?;
    let r = right.array.as_primitive_opt::<Decimal128Type>().ok_or_else(wrong)?;
    let power = i256::from_i128(power_of_ten(scale));
    let one = |a: i128, b: i128| match op {
        ArithmeticOp::Add => a.checked_add(b),
        ArithmeticOp::Subtract => a.checked_sub(b),
        // The sides are of the result's scale: the product has it twice.
        ArithmeticOp::Multiply => i256::from_i128(a).checked_mul(i256::from_i128(b))?.checked_div(power)?.to_i128(),
        ArithmeticOp::Divide => None,
        ArithmeticOp::Modulo => Some(a.wrapping_rem(b)),
    };
    let mut out = Vec::with_capacity(rows);
    for row in 0..rows {
        let (at_l, at_r) = (if left.scalar { 0 } else { row }, if right.scalar { 0 } else { row });
        if l.is_null(at_l) || r.is_null(at_r) {
            out.push(None);
        } else {
            let value = one(l.value(at_l), r.value(at_r)).filter(|value| fits(*value, precision));
            out.push(Some(value.ok_or_else(overflow)?));
        }
    }
    Decimal128Array::from(out).with_precision_and_scale(precision, scale as i8).map_err(fault)
}

/// Up to 10^38, the most that a decimal has.
pub(super) fn power_of_ten(digits: u8) -> i128 {
    10i128.pow(u32::from(digits.min(38)))
}

/// Whether an unscaled value has no more digits than `precision`.
pub(super) fn fits(unscaled: i128, precision: u8) -> bool {
    unscaled.unsigned_abs() < power_of_ten(precision).unsigned_abs()
}

pub(super) fn negate(operand: &Operand, overflow: &dyn Fn() -> Error) -> Result<Operand> {
    let array = &operand.array;
    let negated: ArrayRef = if let Some(longs) = array.as_primitive_opt::<Int64Type>() {
        Arc::new(longs.try_unary::<_, Int64Type, Error>(|value| value.checked_neg().ok_or_else(overflow))?)
    } else if let Some(doubles) = array.as_primitive_opt::<Float64Type>() {
        Arc::new(doubles.unary::<_, Float64Type>(|value| -value))
    } else if let Some(floats) = array.as_primitive_opt::<Float32Type>() {
        Arc::new(floats.unary::<_, Float32Type>(|value| -value))
    } else if let Some(decimals) = array.as_primitive_opt::<Decimal128Type>() {
        let values = decimals.unary::<_, Decimal128Type>(i128::wrapping_neg);
        Arc::new(values.with_data_type(array.data_type().clone()))
    } else {
        return Err(internal(format!("the sign of {}", array.data_type())));
    };
    Ok(operand.with(negated))
}
