//! CAST, written by the user or put in where two types meet.
//!
//! Contract: to an integer cuts towards zero; to a decimal of fewer places rounds half away from zero; to a date or to
//! microseconds goes down to the last one before; a timestamp without a zone is UTC where it gets one. A value that the target
//! does not hold is the error that `misfit` makes.

use super::arithmetic::{fits, power_of_ten};
use super::operand::{Operand, fault, internal};
use super::text_cast::{from_text, rounded_decimal, to_text};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, new_null_array};
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampNanosecondType,
};
use fastdata_types::arrow_type::primitive_arrow_type;
use fastdata_types::request::StringEncoding;
use fastdata_types::{Error, PrimitiveType, Result};
use std::sync::Arc;

const NANOS_PER_DAY: i64 = 86_400_000_000_000;

pub(super) fn cast(operand: &Operand, from: &PrimitiveType, to: &PrimitiveType, misfit: &dyn Fn() -> Error) -> Result<Operand> {
    use PrimitiveType as P;
    let array = &operand.array;
    let data_type = primitive_arrow_type(to, StringEncoding::Utf8)?;
    let out: ArrayRef = match (from, to) {
        (from, to) if from == to => array.clone(),
        (P::Unknown, _) => new_null_array(&data_type, array.len()),
        (P::String, _) => from_text(array, to, misfit)?,
        (_, P::String) => to_text(array, from, misfit)?,
        (P::Boolean, P::Int | P::Long) | (P::Fixed(_), P::Binary) => arrow_cast(array, &data_type).map_err(fault)?,
        (P::Int | P::Long, P::Int | P::Long) => integers(longs(array)?, to, misfit)?,
        (P::Int | P::Long, P::Float | P::Double) => floats(&longs(array)?.unary::<_, Float64Type>(|v| v as f64), to, Some(array)),
        (P::Float | P::Double, P::Float | P::Double) => floats(&doubles(array)?, to, None),
        (P::Float | P::Double, P::Int | P::Long) => {
            // The doubles next to the ends of i64 are whole; the lower end is itself a double, the upper is not.
            let whole = |v: f64| (v >= -(2f64.powi(63)) && v < 2f64.powi(63)).then_some(v as i64).ok_or_else(misfit);
            integers(doubles(array)?.try_unary::<_, Int64Type, Error>(whole)?, to, misfit)?
        }
        (P::Float | P::Double, P::Decimal { precision, scale }) => {
            let rounded = |v: f64| rounded_decimal(&format!("{v:e}"), *scale).filter(|v| fits(*v, *precision)).ok_or_else(misfit);
            Arc::new(doubles(array)?.try_unary::<_, Decimal128Type, Error>(rounded)?.with_data_type(data_type))
        }
        (P::Int | P::Long, P::Decimal { precision, scale }) => {
            let power = power_of_ten(*scale);
            let scaled = |v: i64| i128::from(v).checked_mul(power).filter(|v| fits(*v, *precision)).ok_or_else(misfit);
            Arc::new(longs(array)?.try_unary::<_, Decimal128Type, Error>(scaled)?.with_data_type(data_type))
        }
        (P::Decimal { scale: before, .. }, P::Decimal { precision, scale }) => {
            let rescale = |v: i128| rescaled(v, *before, *scale).filter(|v| fits(*v, *precision)).ok_or_else(misfit);
            Arc::new(decimals(array)?.try_unary::<_, Decimal128Type, Error>(rescale)?.with_data_type(data_type))
        }
        (P::Decimal { scale, .. }, P::Int | P::Long) => {
            let power = power_of_ten(*scale);
            let whole = |v: i128| i64::try_from(v / power).map_err(|_| misfit());
            integers(decimals(array)?.try_unary::<_, Int64Type, Error>(whole)?, to, misfit)?
        }
        (P::Decimal { scale, .. }, P::Float | P::Double) => {
            floats(&decimals(array)?.unary::<_, Float64Type>(|v| decimal_to_f64(v, *scale)), to, None)
        }
        _ => match (nanos_per_tick(from), nanos_per_tick(to)) {
            (Some(a), Some(b)) => moments(&ticks(array)?, a, b, to, misfit)?,
            _ => return Err(internal(format!("there is no cast from {from} to {to}"))),
        },
    };
    Ok(operand.with(out))
}

fn wrong(array: &ArrayRef) -> Error {
    internal(format!("a cast meets {}", array.data_type()))
}

fn longs(array: &ArrayRef) -> Result<Int64Array> {
    match array.data_type() {
        DataType::Int32 => Ok(array.as_primitive::<Int32Type>().unary(i64::from)),
        _ => array.as_primitive_opt::<Int64Type>().cloned().ok_or_else(|| wrong(array)),
    }
}

fn doubles(array: &ArrayRef) -> Result<Float64Array> {
    match array.data_type() {
        DataType::Float32 => Ok(array.as_primitive::<Float32Type>().unary(f64::from)),
        _ => array.as_primitive_opt::<Float64Type>().cloned().ok_or_else(|| wrong(array)),
    }
}

fn decimals(array: &ArrayRef) -> Result<&arrow::array::Decimal128Array> {
    array.as_primitive_opt::<Decimal128Type>().ok_or_else(|| wrong(array))
}

fn integers(values: Int64Array, to: &PrimitiveType, misfit: &dyn Fn() -> Error) -> Result<ArrayRef> {
    Ok(match to {
        PrimitiveType::Int => Arc::new(values.try_unary::<_, Int32Type, Error>(|v| i32::try_from(v).map_err(|_| misfit()))?),
        _ => Arc::new(values),
    })
}

/// Doubles as the target; integers go to `float` in one step, so that they are rounded once.
fn floats(values: &Float64Array, to: &PrimitiveType, integers: Option<&ArrayRef>) -> ArrayRef {
    match (to, integers.map(longs)) {
        (PrimitiveType::Float, Some(Ok(longs))) => Arc::new(longs.unary::<_, Float32Type>(|v| v as f32)),
        (PrimitiveType::Float, _) => Arc::new(values.unary::<_, Float32Type>(|v| v as f32)),
        _ => Arc::new(values.clone()),
    }
}

fn rescaled(value: i128, before: u8, after: u8) -> Option<i128> {
    if after >= before {
        return value.checked_mul(power_of_ten(after - before));
    }
    let power = power_of_ten(before - after);
    let (whole, rest) = (value / power, value % power);
    let up = rest.unsigned_abs() >= power.unsigned_abs().div_ceil(2);
    Some(if up { whole + value.signum() } else { whole })
}

/// The nearest double.
fn decimal_to_f64(unscaled: i128, scale: u8) -> f64 {
    // Both sides of the division are doubles without a rest, so it rounds once.
    if unscaled.unsigned_abs() < 1 << 53 && scale <= 22 {
        return unscaled as f64 / 10f64.powi(i32::from(scale));
    }
    format!("{unscaled}e-{scale}").parse().unwrap_or(f64::NAN)
}

fn nanos_per_tick(ty: &PrimitiveType) -> Option<i64> {
    Some(match ty {
        PrimitiveType::Date => NANOS_PER_DAY,
        PrimitiveType::Timestamp | PrimitiveType::Timestamptz => 1000,
        PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs => 1,
        _ => return None,
    })
}

/// The integers behind a date or timestamp.
fn ticks(array: &ArrayRef) -> Result<Int64Array> {
    match array.data_type() {
        DataType::Date32 => Ok(array.as_primitive::<Date32Type>().unary(i64::from)),
        DataType::Timestamp(..) => {
            let plain = arrow_cast(array, &DataType::Int64).map_err(fault)?;
            plain.as_primitive_opt::<Int64Type>().cloned().ok_or_else(|| wrong(array))
        }
        _ => Err(wrong(array)),
    }
}

fn moments(values: &Int64Array, from: i64, to: i64, ty: &PrimitiveType, misfit: &dyn Fn() -> Error) -> Result<ArrayRef> {
    let converted: Int64Array = if from >= to {
        values.try_unary::<_, Int64Type, Error>(|v| v.checked_mul(from / to).ok_or_else(misfit))?
    } else {
        values.unary::<_, Int64Type>(|v| v.div_euclid(to / from))
    };
    Ok(match ty {
        PrimitiveType::Date => Arc::new(converted.try_unary::<_, Date32Type, Error>(|v| i32::try_from(v).map_err(|_| misfit()))?),
        PrimitiveType::Timestamp => Arc::new(converted.reinterpret_cast::<TimestampMicrosecondType>()),
        PrimitiveType::Timestamptz => Arc::new(converted.reinterpret_cast::<TimestampMicrosecondType>().with_timezone("UTC")),
        PrimitiveType::TimestampNs => Arc::new(converted.reinterpret_cast::<TimestampNanosecondType>()),
        _ => Arc::new(converted.reinterpret_cast::<TimestampNanosecondType>().with_timezone("UTC")),
    })
}
