//! Blocks of data files -> decoded, filtered, evolved Arrow batches.

pub mod deletes;
pub mod eval;
pub mod evolve;

use fastdata_types::MemoryBudget;
use fastdata_types::stats::StatsCollector;
use std::sync::Arc;

/// What every part of a read shares.
#[derive(Clone)]
pub struct ReadContext {
    pub budget: Arc<MemoryBudget>,
    pub pool: Arc<rayon::ThreadPool>,
    pub stats: Arc<StatsCollector>,
}
