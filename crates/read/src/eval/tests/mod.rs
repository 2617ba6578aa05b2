//! The compiled filter against a second implementation that goes row by row, and the promises one by one.

mod cases;
mod generate;
mod oracle;
mod table;

use super::Predicate;
use arrow::array::{BooleanArray, RecordBatch};
use fastdata_types::{Expr, Result, Schema};
use std::sync::Arc;

fn evaluate(expr: &Expr, schema: &Schema, batch: &RecordBatch) -> Result<BooleanArray> {
    Predicate::new(Arc::new(expr.clone()), schema)?.evaluate(batch)
}

fn rows(array: &BooleanArray) -> Vec<Option<bool>> {
    array.iter().collect()
}
