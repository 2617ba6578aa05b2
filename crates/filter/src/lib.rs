//! The text of a filter becomes an expression bound to a schema.
//!
//! Problem: a filter comes from outside and decides which rows a user gets. What it means must be settled, and every mistake in
//! it found, before the first byte of the table is read.
//!
//! Contract: [`bind`] takes a SQL boolean expression and yields an [`Expr`] as `fastdata_types::expr` defines it, or an error
//! that names the position (1-based, in characters), what stands there and the types involved. It never panics, whatever the
//! text, and takes memory in proportion to it. Literals take the type of what they are compared with where that loses nothing.
//! Where it would, the comparison is restated in the column's own type (`id < 2.5` is `id <= 2`), which is exact and lets bounds
//! prune it; columns of two types meet in the narrower type that holds both.
//!
//! How: `lexer` cuts the text into tokens, `parser` builds a `tree` of limited depth that keeps positions, `binder` resolves names
//! and types. `number` and `literal` hold the exact arithmetic of constants, `types` the rules of which types meet where,
//! `names` the lookup of columns.
//!
//! Meaning where SQL dialects differ:
//! - Arithmetic on integers is done in 64 bits, on floats in doubles, on decimals exactly (38 digits). `/` of integers cuts
//!   towards zero; `/` of decimals is done in doubles. An overflow is an error.
//! - `x / 0` and `x % 0` are NULL in every numeric type, so that `b <> 0 AND a / b > 1` means the same in any order of evaluation.
//! - Timestamps without a zone in literals are UTC where they meet a column with a zone; a literal with a zone does not meet a
//!   column without one.
//! - `LIKE` has no escape character unless `ESCAPE` names one.
//! - A CAST to an integer cuts towards zero, a CAST to a decimal of fewer places rounds half away from zero; a value that the
//!   target type cannot hold is an error.

mod arithmetic;
mod binder;
mod lexer;
mod literal;
mod names;
mod number;
mod parser;
mod position;
#[cfg(test)]
mod tests;
mod tree;
mod types;

use fastdata_types::{Expr, Result, Schema};
use position::Source;

/// The longest filter, in bytes.
const MAX_TEXT: usize = 64 * 1024;

/// Binds the filter `text` to `schema`, which holds the table's columns and those of the metadata columns that may be asked for.
///
/// Errors: `invalid-request` (syntax, types), `not-found` (a column), `unsupported` (a column of a type that is not read),
/// `limit-exceeded` (a text over 64 KiB, nesting over 200 levels).
pub fn bind(text: &str, schema: &Schema) -> Result<Expr> {
    let source = Source::new(text);
    let tree = parsed(&source, text)?;
    binder::Binder::new(&source, schema).filter(&tree)
}

/// Whether `text` is a filter of some table: its syntax alone.
pub fn check_syntax(text: &str) -> Result<()> {
    parsed(&Source::new(text), text).map(drop)
}

fn parsed(source: &Source, text: &str) -> Result<tree::Node> {
    if text.len() > MAX_TEXT {
        return Err(source.too_long(MAX_TEXT));
    }
    parser::parse(source)
}
