//! Strings and binaries from the form they were decoded in to the form that was asked for.
//!
//! Contract: packing views writes each byte once into buffers of the exact size. Bytes that the decoder did not verify are verified here.
//! More than 2 GiB in one array is an error.

use arrow::array::builder::GenericByteBuilder;
use arrow::array::types::{BinaryType, BinaryViewType, ByteArrayType, ByteViewType, StringViewType, Utf8Type};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, DictionaryArray, GenericByteArray, GenericByteViewArray, Int32Array, StringArray,
    StringDictionaryBuilder, StringViewArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Int32Type};
use fastdata_types::error::{Error, Result, Stage};
use fastdata_types::request::StringEncoding;
use std::sync::Arc;

/// Strings in the encoding asked for, from any of the decoder's forms.
pub(super) fn to_strings(array: &ArrayRef, encoding: StringEncoding, checked: bool) -> Result<ArrayRef> {
    let strings = if checked { Arc::clone(array) } else { verify(array)? };
    match (strings.data_type(), encoding) {
        (DataType::Utf8, StringEncoding::Utf8) | (DataType::Utf8View, StringEncoding::Utf8View) => Ok(strings),
        (DataType::Utf8View, StringEncoding::Utf8) => pack::<StringViewType, Utf8Type>(strings.as_string_view()),
        (DataType::Utf8, StringEncoding::Utf8View) => Ok(Arc::new(StringViewArray::from(strings.as_string::<i32>()))),
        (DataType::Utf8View, StringEncoding::Dictionary) => dictionary(strings.as_string_view()),
        (DataType::Utf8, StringEncoding::Dictionary) => dictionary(&StringViewArray::from(strings.as_string::<i32>())),
        (other, _) => Err(Error::internal(Stage::Read, format!("a string column was decoded as {other}"))),
    }
}

pub(super) fn to_binary(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Binary => Ok(Arc::clone(array)),
        DataType::BinaryView => pack::<BinaryViewType, BinaryType>(array.as_binary_view()),
        other => Err(Error::internal(Stage::Read, format!("a binary column was decoded as {other}"))),
    }
}

fn unpackable(error: arrow::error::ArrowError) -> Error {
    Error::internal(Stage::Read, "strings could not be packed").source(error)
}

fn not_utf8<E>(_: E) -> Error {
    Error::corrupt(Stage::Read, "it holds bytes that are no UTF-8, and the table says it is a string")
        .advice("rewrite the file, or give the column the type binary")
}

/// The array as strings that are known to be UTF-8. String arrays are read as bytes first: nothing may touch them as text before.
fn verify(array: &ArrayRef) -> Result<ArrayRef> {
    fn views(bytes: BinaryViewArray) -> Result<ArrayRef> {
        Ok(Arc::new(bytes.to_string_view().map_err(not_utf8)?))
    }
    fn packed<T: ByteArrayType<Offset = i32>>(bytes: &GenericByteArray<T>) -> Result<ArrayRef> {
        let (offsets, values) = (bytes.offsets().clone(), bytes.values().clone());
        Ok(Arc::new(StringArray::try_new(offsets, values, bytes.nulls().cloned()).map_err(not_utf8)?))
    }
    match array.data_type() {
        DataType::Utf8View => views(array.as_string_view().clone().to_binary_view()),
        DataType::BinaryView => views(array.as_binary_view().clone()),
        DataType::Utf8 => packed::<Utf8Type>(array.as_string::<i32>()),
        DataType::Binary => packed::<BinaryType>(array.as_binary::<i32>()),
        other => Err(Error::internal(Stage::Read, format!("a string column was decoded as {other}"))),
    }
}

/// The values of all views one after the other, in buffers of the exact size.
fn pack<From, To>(array: &GenericByteViewArray<From>) -> Result<ArrayRef>
where
    From: ByteViewType,
    To: ByteArrayType<Offset = i32, Native = From::Native>,
{
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    // The low 32 bits of a view are its length; those of a null slot mean nothing.
    let length = |view: &u128| u64::from(*view as u32);
    let total: u64 = match nulls {
        None => array.views().iter().map(length).sum(),
        Some(nulls) => nulls.valid_indices().filter_map(|row| array.views().get(row)).map(length).sum(),
    };
    if total > i32::MAX as u64 {
        return Err(too_long(total));
    }
    let mut packed = GenericByteBuilder::<To>::with_capacity(array.len(), total as usize);
    let has_nulls = nulls.is_some();
    for row in 0..array.len() {
        if has_nulls && array.is_null(row) {
            packed.append_null();
        } else {
            packed.append_value(array.value(row));
        }
    }
    Ok(Arc::new(packed.finish()))
}

fn too_long(bytes: u64) -> Error {
    Error::limit(Stage::Read, format!("{bytes} bytes of one column in one batch: an array holds at most 2 GiB"))
        .advice("ask for smaller batches, or for strings as views")
}

/// Distinct strings once, in the order of their first row. Equal views (those of one dictionary page) are mostly found in a small
/// cache by their 16 bytes; the rest by their text.
fn dictionary(array: &StringViewArray) -> Result<ArrayRef> {
    const SLOTS: usize = 1024;
    let mut cache: Vec<(u128, i32)> = vec![(0, -1); SLOTS];
    let mut distinct = StringDictionaryBuilder::<Int32Type>::new();
    let mut keys: Vec<i32> = Vec::with_capacity(array.len());
    let mut misses: u64 = 0;
    for (row, view) in array.views().iter().enumerate() {
        if array.is_null(row) {
            keys.push(0);
            continue;
        }
        let mixed = ((*view as u64) ^ ((*view >> 64) as u64)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let slot = &mut cache[(mixed >> 54) as usize % SLOTS];
        if slot.0 != *view || slot.1 < 0 {
            let text = array.value(row);
            misses += text.len() as u64;
            if misses > i32::MAX as u64 {
                return Err(too_long(misses));
            }
            *slot = (*view, distinct.append(text).map_err(unpackable)?);
        }
        keys.push(slot.1);
    }
    let values = Arc::clone(distinct.finish().values());
    let keys = Int32Array::new(ScalarBuffer::from(keys), array.nulls().cloned());
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values).map_err(unpackable)?))
}
