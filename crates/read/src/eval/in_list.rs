//! `IN` over constants: a set built once, looked up for each row.
//!
//! Contract: membership follows the order of filters (NaN is in a list with NaN, -0.0 in a list with 0.0). The time of a
//! look-up does not grow with the list.

use super::operand::{by_entry, fault, internal};
use arrow::array::{Array, ArrayAccessor, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type};
use fastdata_types::{Result, Value};
use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::Hash;

/// Up to here a walk along the list is faster than a hash.
const FEW: usize = 8;

pub(super) enum Members {
    Booleans(Set<bool>),
    Integers(Set<i64>),
    Decimals(Set<i128>),
    /// The bits of a double, normalised; a float is exactly one double.
    Floats(Set<u64>),
    Bytes(Set<Vec<u8>>),
}

pub(super) enum Set<T> {
    Few(Vec<T>),
    Many(HashSet<T>),
}

impl<T: Eq + Hash> Set<T> {
    fn new(values: Vec<T>) -> Set<T> {
        if values.len() <= FEW { Set::Few(values) } else { Set::Many(values.into_iter().collect()) }
    }

    fn contains<Q: ?Sized + Eq + Hash>(&self, value: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        match self {
            Set::Few(values) => values.iter().any(|member| member.borrow() == value),
            Set::Many(values) => values.contains(value),
        }
    }
}

fn bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() }
}

impl Members {
    pub fn new(values: &[Value]) -> Result<Members> {
        fn all<T>(values: &[Value], member: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
            values.iter().map(member).collect()
        }
        let integers = |value: &Value| match value {
            Value::Int(v) | Value::Date(v) => Some(i64::from(*v)),
            Value::Long(v) | Value::Time(v) => Some(*v),
            Value::Timestamp(v) | Value::Timestamptz(v) | Value::TimestampNs(v) | Value::TimestamptzNs(v) => Some(*v),
            _ => None,
        };
        let floats = |value: &Value| match value {
            Value::Float(v) => Some(bits(f64::from(*v))),
            Value::Double(v) => Some(bits(*v)),
            _ => None,
        };
        let bytes = |value: &Value| match value {
            Value::String(v) => Some(v.as_bytes().to_vec()),
            Value::Uuid(v) => Some(v.to_vec()),
            Value::Fixed(v) | Value::Binary(v) => Some(v.clone()),
            _ => None,
        };
        let booleans = |value: &Value| if let Value::Boolean(v) = value { Some(*v) } else { None };
        let decimals = |value: &Value| if let Value::Decimal { unscaled, .. } = value { Some(*unscaled) } else { None };
        if let Some(values) = all(values, integers) {
            Ok(Members::Integers(Set::new(values)))
        } else if let Some(values) = all(values, bytes) {
            Ok(Members::Bytes(Set::new(values)))
        } else if let Some(values) = all(values, floats) {
            Ok(Members::Floats(Set::new(values)))
        } else if let Some(values) = all(values, decimals) {
            Ok(Members::Decimals(Set::new(values)))
        } else if let Some(values) = all(values, booleans) {
            Ok(Members::Booleans(Set::new(values)))
        } else {
            Err(internal("the values of a list have several types"))
        }
    }

    /// `array IN (members)`, or NOT; with NULL in the list a miss is NULL.
    pub fn find(&self, array: &ArrayRef, has_null: bool, negated: bool) -> Result<BooleanArray> {
        by_entry(array, &|entries| {
            let found = self.contains_each(entries)?;
            let valid = entries.logical_nulls();
            let nulls = if has_null { NullBuffer::union(valid.as_ref(), Some(&NullBuffer::new(found.clone()))) } else { valid };
            Ok(BooleanArray::new(if negated { !&found } else { found }, nulls))
        })
    }

    fn contains_each(&self, array: &ArrayRef) -> Result<BooleanBuffer> {
        let wrong = || internal(format!("a list is compared with {}", array.data_type()));
        Ok(match self {
            Members::Booleans(set) => {
                let values = array.as_boolean_opt().ok_or_else(wrong)?.values();
                BooleanBuffer::collect_bool(values.len(), |row| set.contains(&values.value(row)))
            }
            Members::Integers(set) => {
                let narrow = matches!(array.data_type(), DataType::Int32 | DataType::Date32);
                // The same values under another name: nothing is copied.
                let plain = cast(array, if narrow { &DataType::Int32 } else { &DataType::Int64 }).map_err(fault)?;
                if narrow {
                    let values = plain.as_primitive_opt::<Int32Type>().ok_or_else(wrong)?.values();
                    test(values, |value| set.contains(&i64::from(value)))
                } else {
                    let values = plain.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?.values();
                    test(values, |value| set.contains(&value))
                }
            }
            Members::Decimals(set) => {
                let values = array.as_primitive_opt::<Decimal128Type>().ok_or_else(wrong)?.values();
                test(values, |value| set.contains(&value))
            }
            Members::Floats(set) => match array.data_type() {
                DataType::Float32 => {
                    let values = array.as_primitive_opt::<Float32Type>().ok_or_else(wrong)?.values();
                    test(values, |value| set.contains(&bits(f64::from(value))))
                }
                _ => {
                    let values = array.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?.values();
                    test(values, |value| set.contains(&bits(value)))
                }
            },
            Members::Bytes(set) => match array.data_type() {
                DataType::Utf8 => each(array.as_string::<i32>(), set),
                DataType::LargeUtf8 => each(array.as_string::<i64>(), set),
                DataType::Utf8View => each(array.as_string_view(), set),
                DataType::Binary => each(array.as_binary::<i32>(), set),
                DataType::LargeBinary => each(array.as_binary::<i64>(), set),
                DataType::BinaryView => each(array.as_binary_view(), set),
                DataType::FixedSizeBinary(_) => each(array.as_fixed_size_binary(), set),
                _ => return Err(wrong()),
            },
        })
    }
}

fn test<N: Copy>(values: &[N], contains: impl Fn(N) -> bool) -> BooleanBuffer {
    BooleanBuffer::collect_bool(values.len(), |row| contains(values[row]))
}

fn each<A>(array: A, set: &Set<Vec<u8>>) -> BooleanBuffer
where
    A: ArrayAccessor,
    A::Item: AsRef<[u8]>,
{
    BooleanBuffer::collect_bool(array.len(), |row| !array.is_null(row) && set.contains(array.value(row).as_ref()))
}
