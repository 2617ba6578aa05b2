//! Batches of an exact number of rows.
//!
//! Contract: rows keep their order; every batch but the last has exactly the rows asked for. A batch that lies within one of the stream's is a
//! slice of it; one that spans several is copied together.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use fastdata_types::{Error, Result, Stage};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

/// One batch of several with one schema.
pub fn join(parts: Vec<RecordBatch>) -> Result<RecordBatch> {
    match parts.as_slice() {
        [] => Err(Error::internal(Stage::Request, "no batches to join")),
        [only] => Ok(only.clone()),
        [first, ..] => concat_batches(&first.schema(), &parts)
            .map_err(|e| Error::internal(Stage::Request, format!("joining {} batches: {e}", parts.len())).source(e)),
    }
}

/// The rows of a stream in batches of `rows`, the last excepted.
pub(super) fn exact(batches: BoxStream<'static, Result<RecordBatch>>, rows: usize) -> BoxStream<'static, Result<RecordBatch>> {
    let state = (batches, None::<RecordBatch>);
    futures::stream::try_unfold(state, move |(mut batches, mut rest)| async move {
        let (mut parts, mut need) = (Vec::new(), rows);
        while need > 0 {
            let next = match rest.take() {
                Some(rest) => Some(rest),
                None => batches.try_next().await?,
            };
            let Some(batch) = next else { break };
            let taken = batch.num_rows().min(need);
            if taken < batch.num_rows() {
                rest = Some(batch.slice(taken, batch.num_rows() - taken));
            }
            if taken > 0 {
                parts.push(batch.slice(0, taken));
            }
            need -= taken;
        }
        if parts.is_empty() { Ok(None) } else { Ok(Some((join(parts)?, (batches, rest)))) }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use std::sync::Arc;

    fn batch(range: std::ops::Range<i64>) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(range));
        RecordBatch::try_from_iter([("x", column)]).unwrap()
    }

    #[tokio::test]
    async fn batches_have_the_rows_asked_for_in_order() {
        for sizes in [vec![10], vec![3, 3, 4], vec![0, 7, 0, 3], vec![1; 10]] {
            let (mut at, mut made) = (0, Vec::new());
            for size in &sizes {
                made.push(Ok(batch(at..at + size)));
                at += size;
            }
            let cut: Vec<RecordBatch> = exact(futures::stream::iter(made).boxed(), 4).try_collect().await.unwrap();
            assert_eq!(cut.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [4, 4, 2], "{sizes:?}");
            let rows: Vec<i64> = cut.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
            assert_eq!(rows, (0..10).collect::<Vec<_>>());
        }
        let failing = futures::stream::iter([Ok(batch(0..2)), Err(Error::internal(Stage::Read, "broken"))]).boxed();
        assert!(exact(failing, 4).try_next().await.is_err(), "what came before an error is no whole batch");
    }
}
