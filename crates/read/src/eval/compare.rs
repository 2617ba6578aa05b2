//! Comparisons in the order of filters.
//!
//! Arrow orders floats totally: it tells -0.0 from 0.0 and NaNs by their sign. Ours does not, so floats have loops of their own.

use super::operand::{Operand, by_entry, fault, scalar};
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::cast;
use arrow::compute::kernels::cmp;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use fastdata_types::Result;
use fastdata_types::expr::CompareOp;
use std::sync::Arc;

pub(super) fn compare(op: CompareOp, left: &Operand, right: &Operand) -> Result<Operand> {
    if left.scalar && !right.scalar {
        return compare(op.flip(), right, left);
    }
    if left.is_null_constant() || right.is_null_constant() {
        return Ok(left.with(Arc::new(BooleanArray::new_null(left.array.len()))));
    }
    let compared = match left.array.data_type() {
        DataType::Float32 => floats::<Float32Type>(op, left, right),
        DataType::Float64 => floats::<Float64Type>(op, left, right),
        DataType::Null => BooleanArray::new_null(left.array.len()),
        _ if right.scalar => by_entry(&left.array, &|entries| {
            let constant = in_type(&right.array, leaf(entries.data_type()))?;
            kernel(op, &entries.as_ref(), &scalar(constant))
        })?,
        _ => {
            let (l, r) = alike(&left.array, &right.array)?;
            kernel(op, &l.as_ref(), &r.as_ref())?
        }
    };
    Ok(left.with(Arc::new(compared)))
}

fn kernel(op: CompareOp, left: &dyn arrow::array::Datum, right: &dyn arrow::array::Datum) -> Result<BooleanArray> {
    match op {
        CompareOp::Eq => cmp::eq(left, right),
        CompareOp::NotEq => cmp::neq(left, right),
        CompareOp::Lt => cmp::lt(left, right),
        CompareOp::LtEq => cmp::lt_eq(left, right),
        CompareOp::Gt => cmp::gt(left, right),
        CompareOp::GtEq => cmp::gt_eq(left, right),
    }
    .map_err(fault)
}

fn leaf(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, leaf) => leaf,
        other => other,
    }
}

/// Two encodings of strings or binary values as one.
fn alike(left: &ArrayRef, right: &ArrayRef) -> Result<(ArrayRef, ArrayRef)> {
    if leaf(left.data_type()) == leaf(right.data_type()) {
        return Ok((left.clone(), right.clone()));
    }
    let view = match leaf(left.data_type()) {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => DataType::BinaryView,
        other => other.clone(),
    };
    Ok((in_type(left, &view)?, in_type(right, &view)?))
}

fn in_type(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if array.data_type() == data_type { Ok(array.clone()) } else { cast(array, data_type).map_err(fault) }
}

/// `left` has a value for each row, or both are constants.
fn floats<T: ArrowPrimitiveType>(op: CompareOp, left: &Operand, right: &Operand) -> BooleanArray
where
    T::Native: PartialOrd,
{
    let (Some(l), Some(r)) = (left.array.as_primitive_opt::<T>(), right.array.as_primitive_opt::<T>()) else {
        return BooleanArray::new_null(left.array.len());
    };
    let values = match r.values().first() {
        Some(constant) if right.scalar => with_constant(op, l, *constant),
        _ => pairwise(op, l, r),
    };
    let nulls = if right.scalar { l.nulls().cloned() } else { NullBuffer::union(l.nulls(), r.nulls()) };
    BooleanArray::new(values, nulls)
}

#[allow(clippy::eq_op)]
fn is_nan<N: PartialOrd + Copy>(value: N) -> bool {
    value != value
}

fn with_constant<T: ArrowPrimitiveType>(op: CompareOp, array: &PrimitiveArray<T>, constant: T::Native) -> BooleanBuffer
where
    T::Native: PartialOrd,
{
    fn bits<N: Copy>(values: &[N], test: impl Fn(N) -> bool) -> BooleanBuffer {
        BooleanBuffer::collect_bool(values.len(), |row| test(values[row]))
    }
    let values: &[T::Native] = array.values();
    match op {
        CompareOp::Eq | CompareOp::GtEq if is_nan(constant) => bits(values, is_nan),
        CompareOp::NotEq | CompareOp::Lt if is_nan(constant) => bits(values, |value| !is_nan(value)),
        CompareOp::LtEq if is_nan(constant) => BooleanBuffer::new_set(values.len()),
        CompareOp::Gt if is_nan(constant) => BooleanBuffer::new_unset(values.len()),
        CompareOp::Eq => bits(values, |value| value == constant),
        CompareOp::NotEq => bits(values, |value| value != constant),
        CompareOp::Lt => bits(values, |value| value < constant),
        CompareOp::LtEq => bits(values, |value| value <= constant),
        CompareOp::Gt => bits(values, |value| value > constant || is_nan(value)),
        CompareOp::GtEq => bits(values, |value| value >= constant || is_nan(value)),
    }
}

fn pairwise<T: ArrowPrimitiveType>(op: CompareOp, left: &PrimitiveArray<T>, right: &PrimitiveArray<T>) -> BooleanBuffer
where
    T::Native: PartialOrd,
{
    let less = |a: T::Native, b: T::Native| a < b || (!is_nan(a) && is_nan(b));
    let equal = |a: T::Native, b: T::Native| a == b || (is_nan(a) && is_nan(b));
    let (l, r) = (left.values(), right.values());
    let length = l.len().min(r.len());
    match op {
        CompareOp::Eq => BooleanBuffer::collect_bool(length, |i| equal(l[i], r[i])),
        CompareOp::NotEq => BooleanBuffer::collect_bool(length, |i| !equal(l[i], r[i])),
        CompareOp::Lt => BooleanBuffer::collect_bool(length, |i| less(l[i], r[i])),
        CompareOp::LtEq => BooleanBuffer::collect_bool(length, |i| !less(r[i], l[i])),
        CompareOp::Gt => BooleanBuffer::collect_bool(length, |i| less(r[i], l[i])),
        CompareOp::GtEq => BooleanBuffer::collect_bool(length, |i| !less(l[i], r[i])),
    }
}
