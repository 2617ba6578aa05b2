//! What a scan yields.

use crate::error::Result;
use crate::stats::StatsCollector;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Batches of one schema, in the order the request asked for. Ends after the first error. Dropping it stops every fetch and
/// decode job it started.
pub struct BatchStream {
    pub schema: SchemaRef,
    pub stats: Arc<StatsCollector>,
    inner: Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>,
}

impl BatchStream {
    pub fn new(schema: SchemaRef, stats: Arc<StatsCollector>, inner: impl Stream<Item = Result<RecordBatch>> + Send + 'static) -> Self {
        BatchStream { schema, stats, inner: Box::pin(inner) }
    }
}

impl Stream for BatchStream {
    type Item = Result<RecordBatch>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inner.as_mut().poll_next(cx)
    }
}

impl std::fmt::Debug for BatchStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchStream").field("schema", &self.schema).finish_non_exhaustive()
    }
}
