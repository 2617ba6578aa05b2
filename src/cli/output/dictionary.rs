//! One dictionary for each dictionary column of an Arrow file.
//!
//! Problem: every batch comes with dictionaries of its own, and a file has one for each column. Contract: the rows keep their values; a
//! column's dictionary only grows, by the values of rows, so that a batch adds to the file what is new in it. It is held in memory
//! beside the budget, and refused beyond [`MOST_BYTES`]. How: the n-th dictionary of a batch, at any level, is added to the n-th of
//! the file.

use arrow::array::builder::StringDictionaryBuilder;
use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, RecordBatch, StringArray, make_array};
use arrow::datatypes::{DataType, Int32Type};
use arrow::error::ArrowError;
use fastdata_types::{Error, Result, Stage};
use std::sync::Arc;

/// Bytes of the distinct values of all columns.
const MOST_BYTES: usize = 128 << 20;

#[derive(Default)]
pub struct Unified {
    dictionaries: Vec<Dictionary>,
}

struct Dictionary {
    builder: StringDictionaryBuilder<Int32Type>,
    /// The same array until there is something new: the writer need not compare it.
    values: ArrayRef,
}

impl Unified {
    /// The same rows over the dictionaries of the file.
    pub fn unify(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        self.unify_within(batch, MOST_BYTES)
    }

    fn unify_within(&mut self, batch: &RecordBatch, most: usize) -> Result<RecordBatch> {
        if !batch.columns().iter().any(|column| holds_dictionary(column.data_type())) {
            return Ok(batch.clone());
        }
        let mut next = 0;
        let columns = batch.columns().iter().map(|column| self.column(column, &mut next)).collect::<Result<_, ArrowError>>();
        let unified = columns.and_then(|columns| RecordBatch::try_new(batch.schema(), columns)).map_err(super::arrow_error)?;
        let bytes: usize = self.dictionaries.iter().map(Dictionary::bytes).sum();
        if bytes > most {
            return Err(Error::limit(
                Stage::Output,
                format!("the dictionaries of an Arrow file would hold more than {most} bytes of distinct strings"),
            )
            .advice("write plain strings with --strings utf8, or leave out the columns that hardly repeat with --select"));
        }
        Ok(unified)
    }

    fn column(&mut self, array: &ArrayRef, next: &mut usize) -> Result<ArrayRef, ArrowError> {
        if !holds_dictionary(array.data_type()) {
            return Ok(Arc::clone(array));
        }
        if let Some(rows) = array.as_dictionary_opt::<Int32Type>() {
            if *next == self.dictionaries.len() {
                self.dictionaries.push(Dictionary::new());
            }
            let dictionary = &mut self.dictionaries[*next];
            *next += 1;
            return dictionary.add(rows);
        }
        let data = array.to_data();
        let children = data.child_data().iter().map(|child| Ok(self.column(&make_array(child.clone()), next)?.to_data()));
        let children = children.collect::<Result<_, ArrowError>>()?;
        Ok(make_array(data.into_builder().child_data(children).build()?))
    }
}

impl Dictionary {
    fn new() -> Self {
        Dictionary { builder: StringDictionaryBuilder::new(), values: Arc::new(StringArray::from(Vec::<&str>::new())) }
    }

    fn add(&mut self, rows: &DictionaryArray<Int32Type>) -> Result<ArrayRef, ArrowError> {
        let strings = rows
            .downcast_dict::<StringArray>()
            .ok_or_else(|| ArrowError::SchemaError(format!("a dictionary of {} in place of strings", rows.value_type())))?;
        self.builder.extend(strings);
        let (keys, values) = self.builder.finish_preserve_values().into_parts();
        if values.len() > self.values.len() {
            self.values = values;
        }
        Ok(Arc::new(DictionaryArray::try_new(keys, Arc::clone(&self.values))?))
    }

    fn bytes(&self) -> usize {
        let values = self.values.as_string::<i32>();
        values.value_data().len() + size_of_val(values.value_offsets())
    }
}

fn holds_dictionary(ty: &DataType) -> bool {
    match ty {
        DataType::Dictionary(_, _) => true,
        DataType::Struct(fields) => fields.iter().any(|field| holds_dictionary(field.data_type())),
        DataType::List(field) | DataType::Map(field, _) => holds_dictionary(field.data_type()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastdata_types::ErrorKind;

    fn batch(strings: &[Option<&str>]) -> RecordBatch {
        let column: DictionaryArray<Int32Type> = strings.iter().copied().collect();
        RecordBatch::try_from_iter([("s", Arc::new(column) as ArrayRef)]).unwrap()
    }

    #[test]
    fn dictionaries_grow_and_stay_the_same_array_where_nothing_is_new() {
        let mut unified = Unified::default();
        let values = |batch: &RecordBatch| Arc::clone(batch.column(0).as_dictionary::<Int32Type>().values());
        let nothing = unified.unify(&batch(&[None])).unwrap();
        assert_eq!((nothing.column(0).null_count(), values(&nothing).len()), (1, 0));
        let first = unified.unify(&batch(&[Some("a"), None, Some("b")])).unwrap();
        let second = unified.unify(&batch(&[Some("c"), Some("b"), Some("a")])).unwrap();
        let third = unified.unify(&batch(&[Some("b"), None])).unwrap();
        assert_eq!(values(&first).as_string::<i32>(), &StringArray::from(vec!["a", "b"]));
        assert_eq!(values(&second).as_string::<i32>(), &StringArray::from(vec!["a", "b", "c"]));
        assert!(Arc::ptr_eq(&values(&second), &values(&third)));
        assert_eq!(second.column(0).as_dictionary::<Int32Type>().keys().values(), &[2, 1, 0]);
    }

    #[test]
    fn distinct_strings_beyond_the_limit_are_refused_by_name() {
        let error = Unified::default().unify_within(&batch(&[Some("a long string")]), 20).unwrap_err();
        assert!(error.kind() == ErrorKind::LimitExceeded && error.advice_text().unwrap().contains("--strings utf8"), "{error}");
    }
}
