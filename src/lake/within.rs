//! Waiting no longer than a lake's `timeout` allows.
//!
//! Contract: a question, a plan and a batch of a feed may each take that long; a scan may be waited for so long in all, the time aside in which its consumer
//! does something else. What takes longer ends with `deadline-exceeded`.

use arrow::array::RecordBatch;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use std::time::{Duration, Instant};

/// Does something within the time that is allowed.
pub async fn within<T>(allowed: Option<Duration>, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    match allowed {
        None => work.await,
        Some(time) => tokio::time::timeout(time, work).await.unwrap_or_else(|_| Err(late(what, time))),
    }
}

/// Batches that are waited for no longer than is allowed, all waits together.
pub(super) fn capped(
    batches: BoxStream<'static, Result<RecordBatch>>,
    allowed: Option<Duration>,
) -> BoxStream<'static, Result<RecordBatch>> {
    let Some(allowed) = allowed else { return batches };
    let state = (batches, allowed);
    futures::stream::try_unfold(state, move |(mut batches, left)| async move {
        let began = Instant::now();
        let next = tokio::time::timeout(left, batches.try_next()).await.unwrap_or_else(|_| Err(late("reading", allowed)))?;
        Ok(next.map(|batch| (batch, (batches, left.saturating_sub(began.elapsed())))))
    })
    .boxed()
}

fn late(what: &str, allowed: Duration) -> Error {
    Error::new(ErrorKind::DeadlineExceeded, Stage::Request, format!("{what}: not done after the timeout of {allowed:?}"))
        .advice("connect with a longer timeout, or read less: columns, where, limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(batches: u32, each: Duration) -> BoxStream<'static, Result<RecordBatch>> {
        let batch = RecordBatch::new_empty(arrow::datatypes::Schema::empty().into());
        let one = move |_| {
            let batch = batch.clone();
            async move {
                tokio::time::sleep(each).await;
                Ok(batch)
            }
        };
        futures::stream::iter(0..batches).then(one).boxed()
    }

    #[tokio::test]
    async fn waits_add_up_and_the_consumers_own_time_does_not() {
        let (each, allowed) = (Duration::from_millis(40), Some(Duration::from_millis(400)));
        let mut read = capped(slow(4, each), allowed);
        for _ in 0..4 {
            read.try_next().await.unwrap().unwrap();
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        assert!(read.try_next().await.unwrap().is_none());
        let read: Vec<_> = capped(slow(100, each), allowed).collect().await;
        let error = read.last().unwrap().as_ref().unwrap_err();
        assert!(error.kind() == ErrorKind::DeadlineExceeded && error.message().contains("400ms"), "{error}");
        assert!((2..=10).contains(&read.len()), "{}", read.len());
        assert_eq!(capped(slow(3, each), None).count().await, 3);
        let asked = within(allowed, "asking", std::future::pending::<Result<()>>()).await;
        assert_eq!(asked.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    }
}
