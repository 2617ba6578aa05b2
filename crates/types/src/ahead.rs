//! A stream that runs ahead of its consumer.
//!
//! Contract: a task of its own polls the stream from the moment [`ahead`] is called; what it yielded and the consumer did not take is bounded in
//! bytes (one larger item excepted), and one more item is in its hand. The stream ends behind its first error. Dropping it stops the task.

use crate::error::{Error, Result, Stage};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

/// Bytes are counted in units of this many.
const UNIT: u64 = 1024;

struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum Pulled<T> {
    /// With its room in the quota, given back when it is taken.
    Item(T, OwnedSemaphorePermit),
    Whole,
    Failed(Error),
}

/// Polls `stream` ahead of the consumer, by `quota` bytes as `bytes_of` counts them. `what` names it, should it panic. Must be called within a tokio runtime.
pub fn ahead<T: Send + 'static>(
    stream: impl Stream<Item = Result<T>> + Send + 'static,
    quota: u64,
    bytes_of: impl Fn(&T) -> u64 + Send + 'static,
    what: String,
) -> BoxStream<'static, Result<T>> {
    let quota = quota.clamp(UNIT, u64::from(u32::MAX));
    let units = move |bytes: u64| bytes.min(quota).div_ceil(UNIT).max(1) as u32;
    let room = Arc::new(Semaphore::new(units(quota) as usize));
    let (sender, receiver) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        let mut stream = std::pin::pin!(stream);
        loop {
            let pulled = match stream.next().await {
                Some(Ok(item)) => {
                    let Ok(permit) = Arc::clone(&room).acquire_many_owned(units(bytes_of(&item))).await else { return };
                    Pulled::Item(item, permit)
                }
                Some(Err(error)) => Pulled::Failed(error),
                None => Pulled::Whole,
            };
            let last = !matches!(pulled, Pulled::Item(..));
            if sender.send(pulled).is_err() || last {
                return;
            }
        }
    });
    let state = (receiver, Task(task));
    futures::stream::unfold(Some(state), move |state| {
        let what = what.clone();
        async move {
            let (mut receiver, task) = state?;
            match receiver.recv().await {
                Some(Pulled::Item(item, _room)) => Some((Ok(item), Some((receiver, task)))),
                Some(Pulled::Whole) => None,
                Some(Pulled::Failed(error)) => Some((Err(error), None)),
                None => Some((Err(Error::internal(Stage::Request, format!("{what} panicked"))), None)),
            }
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    async fn settled(counter: &AtomicU64) -> u64 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        counter.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn what_is_not_taken_is_bounded_and_dropping_stops_the_task() {
        let made = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&made);
        let endless = futures::stream::repeat_with(move || Ok(counter.fetch_add(1, Ordering::SeqCst)));
        let mut stream = ahead(endless, 4 * UNIT, |_| UNIT, "counting".to_owned());
        assert_eq!(settled(&made).await, 5, "four in the quota, one in hand");
        assert_eq!(stream.next().await.unwrap().unwrap(), 0);
        assert_eq!(settled(&made).await, 6);
        drop(stream);
        let stopped = settled(&made).await;
        assert_eq!(settled(&made).await, stopped);
    }

    #[tokio::test]
    async fn a_larger_item_passes_alone_and_the_first_error_ends_the_stream() {
        let failing = futures::stream::iter([Ok(1u8), Err(Error::internal(Stage::Read, "broken")), Ok(2)]);
        let mut stream = ahead(failing, UNIT, |_| 100 * UNIT, "failing".to_owned());
        assert_eq!(stream.next().await.unwrap().unwrap(), 1);
        assert!(stream.next().await.unwrap().is_err());
        assert!(stream.next().await.is_none());
        let panics = futures::stream::repeat_with(|| -> Result<u8> { panic!("in the stream") });
        let error = ahead(panics, UNIT, |_| 1, "this stream".to_owned()).next().await.unwrap().unwrap_err();
        assert!(error.message().contains("this stream panicked"), "{error}");
    }
}
