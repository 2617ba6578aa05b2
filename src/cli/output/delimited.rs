//! jsonl and csv: a line a row.

use super::cell;
use super::{Sink, Target, io_error};
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use fastdata_types::Result;
use std::io::Write;

/// Text is handed on in pieces of about this many bytes.
const PIECE: usize = 1 << 16;

pub struct Jsonl {
    target: Target,
    text: String,
}

impl Jsonl {
    pub fn new(target: Target) -> Self {
        Jsonl { target, text: String::with_capacity(PIECE * 2) }
    }
}

impl Sink for Jsonl {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let schema = batch.schema();
        let mut names = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let mut name = String::new();
            cell::write_json_string(&mut name, field.name());
            names.push(name);
        }
        for row in 0..batch.num_rows() {
            self.text.push('{');
            for (i, (field, column)) in schema.fields().iter().zip(batch.columns()).enumerate() {
                if i > 0 {
                    self.text.push(',');
                }
                self.text.push_str(&names[i]);
                self.text.push(':');
                cell::write_field(&mut self.text, field, column.as_ref(), row)?;
            }
            self.text.push_str("}\n");
            if self.text.len() >= PIECE {
                self.target.write_all(self.text.as_bytes()).map_err(io_error)?;
                self.text.clear();
            }
        }
        self.target.write_all(self.text.as_bytes()).map_err(io_error)?;
        self.text.clear();
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.target.complete()
    }
}

pub struct Csv {
    target: Target,
    text: String,
    /// The only column, whose empty field would be a blank line, which readers pass over.
    single: bool,
}

/// NULL in a single column; text of these letters is quoted there.
const NULL: &str = "NULL";

impl Csv {
    pub fn new(mut target: Target, schema: &Schema) -> Result<Self> {
        let mut header = String::new();
        let single = schema.fields().len() == 1;
        for (i, field) in schema.fields().iter().enumerate() {
            if i > 0 {
                header.push(',');
            }
            write_quoted(&mut header, field.name(), single && field.name().is_empty());
        }
        header.push('\n');
        target.write_all(header.as_bytes()).map_err(io_error)?;
        Ok(Csv { target, text: String::with_capacity(PIECE * 2), single })
    }
}

impl Sink for Csv {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let schema = batch.schema();
        let mut json = String::new();
        for row in 0..batch.num_rows() {
            for (i, (field, column)) in schema.fields().iter().zip(batch.columns()).enumerate() {
                if i > 0 {
                    self.text.push(',');
                }
                if column.is_null(row) || column.data_type() == &DataType::Null {
                    self.text.push_str(if self.single { NULL } else { "" });
                    continue;
                }
                json.clear();
                cell::write_field(&mut json, field, column.as_ref(), row)?;
                write_csv(&mut self.text, &json, self.single);
            }
            self.text.push('\n');
            if self.text.len() >= PIECE {
                self.target.write_all(self.text.as_bytes()).map_err(io_error)?;
                self.text.clear();
            }
        }
        self.target.write_all(self.text.as_bytes()).map_err(io_error)?;
        self.text.clear();
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.target.complete()
    }
}

/// A JSON string loses its quotes, everything else stays as it is; the result is quoted where CSV needs it.
/// An empty string is quoted to tell it from NULL.
fn write_csv(out: &mut String, json: &str, single: bool) {
    match json.starts_with('"').then(|| serde_json::from_str::<String>(json)) {
        Some(Ok(text)) => write_quoted(out, &text, text.is_empty() || (single && text == NULL)),
        _ => write_quoted(out, json, false),
    }
}

fn write_quoted(out: &mut String, text: &str, must: bool) {
    if must || text.contains(['"', ',', '\n', '\r']) {
        out.push('"');
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_tells_null_from_the_empty_string_and_quotes_what_it_must() {
        let written = |json: &str, single: bool| {
            let mut out = String::new();
            write_csv(&mut out, json, single);
            out
        };
        let field = |json: &str| written(json, false);
        assert_eq!(field("\"\""), "\"\"");
        assert_eq!(field("\"a,b\""), "\"a,b\"");
        assert_eq!(field("\"a\\\"b\""), "\"a\"\"b\"");
        assert_eq!(field("12"), "12");
        assert_eq!(field("[1,2]"), "\"[1,2]\"");
        assert_eq!(field("\"NaN\""), "NaN");
        assert_eq!((field("\"NULL\""), written("\"NULL\"", true)), ("NULL".to_owned(), "\"NULL\"".to_owned()));
        assert_eq!((written("\"\"", true), written("\"null\"", true)), ("\"\"".to_owned(), "null".to_owned()));
    }
}
