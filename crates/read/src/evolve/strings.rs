//! Strings and binaries from the form they were decoded in to the form that was asked for.
//!
//! Contract: packing views writes each byte once into buffers of the exact size. Bytes that the decoder did not verify are verified here.
//! More than 2 GiB in one array is an error.

use arrow::array::types::{BinaryType, ByteArrayType, ByteViewType, Utf8Type};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, DictionaryArray, GenericByteArray, GenericByteViewArray, Int32Array,
    StringArray, StringViewArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Int32Type};
use fastdata_types::error::{Error, Result, Stage};
use fastdata_types::request::StringEncoding;
use std::collections::HashMap;
use std::sync::Arc;

/// Strings in the encoding asked for, from any of the decoder's forms.
pub(super) fn to_strings(array: &ArrayRef, encoding: StringEncoding, checked: bool) -> Result<ArrayRef> {
    let strings = if checked { Arc::clone(array) } else { verify(array)? };
    match (strings.data_type(), encoding) {
        (DataType::Utf8, StringEncoding::Utf8) | (DataType::Utf8View, StringEncoding::Utf8View) => Ok(strings),
        (DataType::Utf8View, StringEncoding::Utf8) => {
            let (offsets, values) = pack(strings.as_string_view())?;
            // The bytes of a string view are UTF-8; building the array checks it again over one contiguous buffer.
            let packed = StringArray::try_new(offsets, values, strings.nulls().cloned()).map_err(unpackable)?;
            Ok(Arc::new(packed))
        }
        (DataType::Utf8, StringEncoding::Utf8View) => Ok(Arc::new(StringViewArray::from(strings.as_string::<i32>()))),
        (DataType::Utf8View, StringEncoding::Dictionary) => dictionary(strings.as_string_view()),
        (DataType::Utf8, StringEncoding::Dictionary) => dictionary(&StringViewArray::from(strings.as_string::<i32>())),
        (other, _) => Err(Error::internal(Stage::Read, format!("a string column was decoded as {other}"))),
    }
}

pub(super) fn to_binary(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Binary => Ok(Arc::clone(array)),
        DataType::BinaryView => {
            let (offsets, values) = pack(array.as_binary_view())?;
            Ok(Arc::new(BinaryArray::try_new(offsets, values, array.nulls().cloned()).map_err(unpackable)?))
        }
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

/// The bytes of all non-null views one after the other, with their offsets.
fn pack<T: ByteViewType + ?Sized>(array: &GenericByteViewArray<T>) -> Result<(OffsetBuffer<i32>, Buffer)> {
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    let mut total: u64 = 0;
    let mut offsets: Vec<i32> = Vec::with_capacity(array.len() + 1);
    offsets.push(0);
    for (row, view) in array.views().iter().enumerate() {
        // The low 32 bits of a view are its length; those of a null slot mean nothing.
        let length = if nulls.is_some_and(|nulls| nulls.is_null(row)) { 0 } else { u64::from(*view as u32) };
        total += length;
        offsets.push(total as i32);
    }
    if total > i32::MAX as u64 {
        return Err(too_long(total));
    }
    let mut values: Vec<u8> = Vec::with_capacity(total as usize);
    let buffers = array.data_buffers();
    for (row, view) in array.views().iter().enumerate() {
        let length = *view as u32 as usize;
        if length == 0 || nulls.is_some_and(|nulls| nulls.is_null(row)) {
            continue;
        }
        let bytes = if length <= 12 {
            values.extend_from_slice(&view.to_le_bytes()[4..4 + length]);
            continue;
        } else {
            let (buffer, start) = ((*view >> 64) as u32 as usize, (*view >> 96) as u32 as usize);
            buffers.get(buffer).and_then(|buffer| buffer.as_slice().get(start..start + length))
        };
        let bytes = bytes.ok_or_else(|| Error::internal(Stage::Read, "a string view points outside its buffers"))?;
        values.extend_from_slice(bytes);
    }
    Ok((OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(values)))
}

fn too_long(bytes: u64) -> Error {
    Error::limit(Stage::Read, format!("{bytes} bytes of one column in one batch: an array holds at most 2 GiB"))
        .advice("ask for smaller batches, or for strings as views")
}

/// Distinct strings once, in the order of their first row. Equal views (those of one dictionary page) are found by their 16 bytes.
fn dictionary(array: &StringViewArray) -> Result<ArrayRef> {
    let mut by_view: HashMap<u128, i32> = HashMap::new();
    let mut by_text: HashMap<&str, i32> = HashMap::new();
    let mut distinct: Vec<&str> = Vec::new();
    let mut total: u64 = 0;
    let mut keys: Vec<i32> = Vec::with_capacity(array.len());
    let mut last: Option<(u128, i32)> = None;
    for (row, view) in array.views().iter().enumerate() {
        if array.is_null(row) {
            keys.push(0);
            continue;
        }
        if let Some((same, key)) = last
            && same == *view
        {
            keys.push(key);
            continue;
        }
        let key = *by_view.entry(*view).or_insert_with(|| {
            let text = array.value(row);
            *by_text.entry(text).or_insert_with(|| {
                distinct.push(text);
                total += text.len() as u64;
                (distinct.len() - 1) as i32
            })
        });
        last = Some((*view, key));
        keys.push(key);
    }
    if total > i32::MAX as u64 {
        return Err(too_long(total));
    }
    let values = StringArray::from_iter_values(distinct);
    let keys = Int32Array::new(ScalarBuffer::from(keys), array.nulls().cloned());
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(values)).map_err(unpackable)?))
}
