//! Aligned columns for a person at a terminal.

use super::cell;
use super::{Sink, Target, io_error};
use crate::cli::text;
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use comfy_table::Table;
use fastdata_types::Result;
use std::io::Write;

/// Rows shown where the user did not say how many.
pub const TERMINAL_ROWS: i64 = 40;

/// Widths are decided once for this many rows; more rows continue below in the same widths' style.
const PAGE: usize = 2_000;
/// Longer values are cut, with an ellipsis.
const WIDEST: usize = 60;

pub struct Aligned {
    target: Target,
    schema: SchemaRef,
    page: Vec<Vec<String>>,
    whole_values: bool,
    rows: usize,
    printed: bool,
}

impl Aligned {
    pub fn new(target: Target, schema: SchemaRef, whole_values: bool) -> Self {
        Aligned { target, schema, page: vec![], whole_values, rows: 0, printed: false }
    }

    fn print_page(&mut self) -> Result<()> {
        let header: Vec<String> = self.schema.fields().iter().map(|f| text::printable(f.name())).collect();
        let mut table: Table = text::table(&[]);
        table.set_header(header);
        table.add_rows(self.page.drain(..));
        writeln!(self.target, "{}", table.trim_fmt()).map_err(io_error)?;
        self.printed = true;
        Ok(())
    }
}

impl Sink for Aligned {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut json = String::new();
        for row in 0..batch.num_rows() {
            let mut cells = Vec::with_capacity(batch.num_columns());
            for (field, column) in self.schema.fields().iter().zip(batch.columns()) {
                if column.is_null(row) || column.data_type() == &DataType::Null {
                    cells.push("NULL".to_owned());
                    continue;
                }
                json.clear();
                cell::write_field(&mut json, field, column.as_ref(), row)?;
                let plain = json.starts_with('"').then(|| serde_json::from_str::<String>(&json).ok()).flatten();
                cells.push(shorten(&text::printable(plain.as_deref().unwrap_or(&json)), self.whole_values));
            }
            self.page.push(cells);
            self.rows += 1;
            if self.page.len() == PAGE {
                self.print_page()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if !self.page.is_empty() || !self.printed {
            self.print_page()?;
        }
        writeln!(self.target, "({} rows)", text::count(self.rows as u64)).map_err(io_error)?;
        self.target.complete()
    }
}

fn shorten(text: &str, whole: bool) -> String {
    if whole || text.chars().count() <= WIDEST {
        return text.to_owned();
    }
    text.chars().take(WIDEST - 1).chain(['…']).collect()
}
