//! Blocks of data files -> decoded, filtered, evolved Arrow batches.

pub mod deletes;
pub mod eval;
pub mod evolve;
