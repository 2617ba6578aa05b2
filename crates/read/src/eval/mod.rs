//! A bound filter evaluated on record batches.
//!
//! Problem: a filter decides which rows survive, so it must be exact on every encoding a decoder may choose, and cheap, because it
//! sees every row that pruning left.
//!
//! Contract: [`Predicate::evaluate`] gives TRUE, FALSE or NULL for each row of a batch whose columns are those of the Iceberg schema
//! given to [`Predicate::new`], in that order at every level; a row passes only where it is TRUE. The order of values is that of
//! `fastdata_types::value`: NaN equals NaN and is greater than all other numbers, -0.0 equals 0.0. A column below a null
//! struct is null. Strings may come as `Utf8`, `LargeUtf8`, `Utf8View` or a dictionary of these, binary values likewise.
//! Division by zero is NULL; an overflow, and a cast of a value that its type does not hold, is `invalid-request` and names the
//! expression, never the value. Whether it arises does not depend on the other parts of the filter.
//!
//! How: the expression is compiled once (`node`): columns to index paths (`column`), constants to arrays of one value, lists to
//! sets (`in_list`), patterns to matchers (`like`). Comparisons are Arrow's kernels except for floats (`compare`). What looks at one
//! string column only is evaluated once for each entry of a dictionary.

mod arithmetic;
mod cast;
mod column;
mod compare;
mod describe;
mod in_list;
mod like;
mod node;
mod operand;
#[cfg(test)]
mod tests;
mod text_cast;

use arrow::array::{BooleanArray, RecordBatch};
use fastdata_types::{Expr, PrimitiveType, Result, Schema};
use node::Node;
use operand::Operand;
use std::sync::Arc;

/// A filter, compiled for batches of one schema.
pub(crate) struct Predicate {
    root: Node,
}

impl Predicate {
    /// `schema` holds the columns of the batches to come: the table's under their ids, metadata columns under their reserved ids.
    pub(crate) fn new(expr: Arc<Expr>, schema: &Schema) -> Result<Self> {
        if expr.data_type() != Some(PrimitiveType::Boolean) {
            return Err(operand::internal("the filter is no condition"));
        }
        Ok(Predicate { root: Node::compile(&expr, schema)? })
    }

    /// One value for each row; NULL does not pass.
    pub(crate) fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let passes: Operand = self.root.evaluate(batch)?;
        let passes = passes.expanded(batch.num_rows())?;
        operand::boolean(passes.as_ref()).cloned()
    }
}
