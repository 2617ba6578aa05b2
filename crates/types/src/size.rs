//! How many bytes rows take once they are packed, and where to cut batches by that.
//!
//! Problem: a decoded string column is a list of views, and a dictionary of one 64 KiB string may stand behind a million of
//! them. Contract: sizes are those of the packed form (each string counted in full), so that cutting by them bounds what packing allocates.

use arrow::array::types::ByteViewType;
use arrow::array::{Array, ArrayRef, AsArray, GenericByteViewArray, RecordBatch};
use arrow::datatypes::DataType;
use std::ops::Range;

/// What the rows of a batch take, whatever larger buffers they may lie in.
pub fn batch_bytes(batch: &RecordBatch) -> u64 {
    batch.columns().iter().map(|column| packed_bytes(column)).sum()
}

/// Bytes of all rows of an array in its packed form.
pub fn packed_bytes(array: &dyn Array) -> u64 {
    let rows = array.len() as u64;
    match array.data_type() {
        DataType::Null => 0,
        DataType::Boolean => rows.div_ceil(8),
        DataType::Utf8View => 4 * rows + view_bytes(array.as_string_view()),
        DataType::BinaryView => 4 * rows + view_bytes(array.as_binary_view()),
        DataType::Utf8 => 4 * rows + span(array.as_string::<i32>().value_offsets()),
        DataType::Binary => 4 * rows + span(array.as_binary::<i32>().value_offsets()),
        DataType::FixedSizeBinary(width) => rows * (*width).max(0) as u64,
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| packed_bytes(column)).sum(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            4 * rows + children(list.values(), list.value_offsets())
        }
        DataType::Map(_, _) => {
            let map = array.as_map();
            4 * rows + map.entries().columns().iter().map(|column| children(column, map.value_offsets())).sum::<u64>()
        }
        DataType::Dictionary(_, _) => row_bytes(array).iter().sum(),
        other => rows * other.primitive_width().unwrap_or(16) as u64,
    }
}

/// Bytes of each row of an array in its packed form.
pub fn row_bytes(array: &dyn Array) -> Vec<u64> {
    let mut sizes = vec![0; array.len()];
    add_rows(array, &mut sizes);
    sizes
}

/// Ranges of consecutive rows, each of at most `most` bytes and `rows` rows; a single larger row stands alone.
pub fn cut(sizes: &[u64], most: u64, rows: usize) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let (mut start, mut bytes) = (0, 0u64);
    for (row, size) in sizes.iter().enumerate() {
        if row > start && (bytes.saturating_add(*size) > most || row - start >= rows) {
            pieces.push(start..row);
            (start, bytes) = (row, 0);
        }
        bytes = bytes.saturating_add(*size);
    }
    if start < sizes.len() {
        pieces.push(start..sizes.len());
    }
    pieces
}

fn view_bytes<T: ByteViewType + ?Sized>(array: &GenericByteViewArray<T>) -> u64 {
    // The low 32 bits of a view are its length. Null slots hold zero.
    array.views().iter().map(|view| u64::from(*view as u32)).sum()
}

fn span(offsets: &[i32]) -> u64 {
    match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => last.saturating_sub(*first).max(0) as u64,
        _ => 0,
    }
}

fn children(values: &ArrayRef, offsets: &[i32]) -> u64 {
    let (first, length) = (offsets.first().copied().unwrap_or(0).max(0) as usize, span(offsets) as usize);
    if first == 0 && length == values.len() { packed_bytes(values) } else { packed_bytes(&values.slice(first, length)) }
}

fn add_rows(array: &dyn Array, sizes: &mut [u64]) {
    let mut each = |width: u64| sizes.iter_mut().for_each(|size| *size += width);
    match array.data_type() {
        DataType::Null => {}
        DataType::Boolean => each(1),
        DataType::Utf8View => add_views(array.as_string_view(), sizes),
        DataType::BinaryView => add_views(array.as_binary_view(), sizes),
        DataType::Utf8 => add_spans(array.as_string::<i32>().value_offsets(), sizes),
        DataType::Binary => add_spans(array.as_binary::<i32>().value_offsets(), sizes),
        DataType::FixedSizeBinary(width) => each((*width).max(0) as u64),
        DataType::Struct(_) => array.as_struct().columns().iter().for_each(|column| add_rows(column, sizes)),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            add_children(list.values(), list.value_offsets(), sizes);
        }
        DataType::Map(_, _) => {
            let map = array.as_map();
            map.entries().columns().iter().for_each(|column| add_children(column, map.value_offsets(), sizes));
        }
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            let values = row_bytes(dictionary.values());
            if values.is_empty() {
                // Every key is NULL.
                return each(4);
            }
            for (size, key) in sizes.iter_mut().zip(dictionary.normalized_keys()) {
                *size += 4 + values.get(key).copied().unwrap_or(0);
            }
        }
        other => each(other.primitive_width().unwrap_or(16) as u64),
    }
}

fn add_views<T: ByteViewType + ?Sized>(array: &GenericByteViewArray<T>, sizes: &mut [u64]) {
    for (size, view) in sizes.iter_mut().zip(array.views().iter()) {
        *size += 4 + u64::from(*view as u32);
    }
}

fn add_spans(offsets: &[i32], sizes: &mut [u64]) {
    for (size, pair) in sizes.iter_mut().zip(offsets.windows(2)) {
        *size += 4 + span(pair);
    }
}

fn add_children(values: &ArrayRef, offsets: &[i32], sizes: &mut [u64]) {
    let children = row_bytes(values);
    for (size, pair) in sizes.iter_mut().zip(offsets.windows(2)) {
        let (from, to) = (pair[0].max(0) as usize, pair[1].max(0) as usize);
        *size += 4 + children.get(from..to).map_or(0, |part| part.iter().sum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{DictionaryArray, Int32Array, ListArray, StringArray, StringViewArray};
    use arrow::datatypes::Int32Type;
    use std::sync::Arc;

    #[test]
    fn a_repeated_string_counts_in_full_every_time() {
        let text = "x".repeat(1000);
        let array: ArrayRef = Arc::new(StringViewArray::from_iter((0..50).map(|i| (i % 2 == 0).then_some(text.as_str()))));
        assert_eq!(packed_bytes(&array), 50 * 4 + 25 * 1000);
        assert_eq!(row_bytes(&array).iter().sum::<u64>(), packed_bytes(&array));
        assert_eq!(row_bytes(&array.slice(1, 2)), vec![4, 1004]);
    }

    #[test]
    fn lists_count_their_elements_even_when_sliced() {
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1); 10]), None, Some(vec![Some(2); 3])]);
        assert_eq!(row_bytes(&list), vec![44, 4, 16]);
        assert_eq!(packed_bytes(&list.slice(1, 2)), 8 + 12);
    }

    #[test]
    fn a_dictionary_without_values_has_null_rows() {
        let keys = Int32Array::from(vec![None, None]);
        let array = DictionaryArray::new(keys, Arc::new(StringArray::from(Vec::<&str>::new())));
        assert_eq!(row_bytes(&array), vec![4, 4]);
        assert_eq!(packed_bytes(&array), 8);
    }

    #[test]
    fn pieces_cover_all_rows_and_only_single_rows_exceed_the_bound() {
        let sizes = [5, 5, 5, 100, 1, 1, 1, 1];
        assert_eq!(cut(&sizes, 10, 3), vec![0..2, 2..3, 3..4, 4..7, 7..8]);
        assert_eq!(cut(&[], 10, 3), Vec::<Range<usize>>::new());
        assert_eq!(cut(&[0; 7], 10, usize::MAX), vec![0..7]);
    }
}
