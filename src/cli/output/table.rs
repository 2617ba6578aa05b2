//! Aligned columns for a person at a terminal.

use super::cell;
use super::{Sink, Target, io_error};
use crate::cli::text;
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use comfy_table::{ColumnConstraint, Table, Width};
use fastdata_types::Result;
use std::io::Write;

/// Rows shown where the user did not say how many.
pub const TERMINAL_ROWS: i64 = 40;

/// Widths are decided for this many rows at a time. Later pages continue below without a header, as wide as the first or wider.
const PAGE: usize = 2_000;
/// Longer values are cut, with an ellipsis.
const WIDEST: usize = 60;
/// On both sides of a value together.
const PADDING: u16 = 2;

pub struct Aligned {
    target: Target,
    schema: SchemaRef,
    page: Vec<Vec<String>>,
    whole_values: bool,
    rows: usize,
    /// Of the columns of the first page, once it is printed.
    widths: Option<Vec<u16>>,
}

impl Aligned {
    pub fn new(target: Target, schema: SchemaRef, whole_values: bool) -> Self {
        Aligned { target, schema, page: vec![], whole_values, rows: 0, widths: None }
    }

    fn print_page(&mut self) -> Result<()> {
        let mut table: Table = text::headless_table();
        if self.widths.is_none() {
            table.set_header(self.schema.fields().iter().map(|f| text::printable(f.name())));
        }
        table.add_rows(self.page.drain(..));
        match &self.widths {
            None => self.widths = Some(table.column_max_content_widths().iter().map(|width| width.saturating_add(PADDING)).collect()),
            Some(widths) => {
                let all: u32 = widths.iter().map(|width| u32::from(*width)).sum();
                if table.width().is_none_or(|terminal| all <= u32::from(terminal)) {
                    table.set_constraints(widths.iter().map(|width| ColumnConstraint::LowerBoundary(Width::Fixed(*width))));
                }
            }
        }
        writeln!(self.target, "{}", table.trim_fmt()).map_err(io_error)
    }
}

/// The values of a row, a text each.
fn cells(schema: &Schema, batch: &RecordBatch, row: usize, whole_values: bool) -> Result<Vec<String>> {
    let mut json = String::new();
    let mut cells = Vec::with_capacity(batch.num_columns());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if column.is_null(row) || column.data_type() == &DataType::Null {
            cells.push("NULL".to_owned());
            continue;
        }
        json.clear();
        cell::write_field(&mut json, field, column.as_ref(), row)?;
        let plain = json.starts_with('"').then(|| serde_json::from_str::<String>(&json).ok()).flatten();
        cells.push(shorten(&text::printable(plain.as_deref().unwrap_or(&json)), whole_values));
    }
    Ok(cells)
}

/// The first rows of a batch as `fastdata scan` shows them.
pub fn table_text(batch: &RecordBatch, rows: usize) -> Result<String> {
    let schema = batch.schema();
    let mut table: Table = text::headless_table();
    table.set_header(schema.fields().iter().map(|f| text::printable(f.name())));
    for row in 0..rows.min(batch.num_rows()) {
        table.add_row(cells(&schema, batch, row, false)?);
    }
    Ok(table.trim_fmt())
}

impl Sink for Aligned {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for row in 0..batch.num_rows() {
            self.page.push(cells(&self.schema, batch, row, self.whole_values)?);
            self.rows += 1;
            if self.page.len() == PAGE {
                self.print_page()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if !self.page.is_empty() || self.widths.is_none() {
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
