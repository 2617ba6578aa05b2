//! A value that a server lends for a while (a token, credentials) and that many tasks use at once.
//!
//! Contract: [`Renewed::get`] gives a value that is good now. One task asks the server, the others wait for its outcome, success
//! or failure alike. The value is renewed before it expires; should that fail while it is still good, it is used on.

use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Renewed this long before the end, or a fifth of the lifetime before where that is less.
const MARGIN: Duration = Duration::from_secs(300);
/// After a renewal that failed while the old value was still good, the next attempt waits this long, or until that ends.
const PAUSE: Duration = Duration::from_secs(5);

pub struct Renewed<T> {
    kept: Mutex<Option<Kept<T>>>,
    flight: tokio::sync::Mutex<()>,
    attempts: AtomicU64,
    failure: Mutex<Option<Failure>>,
}

struct Kept<T> {
    value: T,
    renew_at: Option<Instant>,
    expires_at: Option<Instant>,
}

/// What a server lent, and for how long; `None` means until it is refused.
pub struct Lent<T> {
    pub value: T,
    pub good_for: Option<Duration>,
}

/// The parts of an error that several waiters are told.
struct Failure {
    kind: ErrorKind,
    stage: Stage,
    retryable: bool,
    message: String,
    advice: Option<String>,
}

impl<T: Clone> Renewed<T> {
    pub fn empty() -> Self {
        Renewed { kept: Mutex::new(None), flight: tokio::sync::Mutex::new(()), attempts: AtomicU64::new(0), failure: Mutex::new(None) }
    }

    pub fn starting_with(lent: Lent<T>) -> Self {
        let renewed = Renewed::empty();
        renewed.keep(lent);
        renewed
    }

    pub async fn get<F: Future<Output = Result<Lent<T>>>>(&self, renew: impl FnOnce() -> F) -> Result<T> {
        if let Some(value) = self.good() {
            return Ok(value);
        }
        let attempts_seen = self.attempts.load(Ordering::Acquire);
        let _flight = self.flight.lock().await;
        if let Some(value) = self.good() {
            return Ok(value);
        }
        if self.attempts.load(Ordering::Acquire) > attempts_seen
            && let Some(failure) = lock(&self.failure).as_ref()
        {
            return Err(failure.error());
        }
        let outcome = renew().await;
        let answer = match outcome {
            Ok(lent) => {
                *lock(&self.failure) = None;
                Ok(self.keep(lent))
            }
            Err(e) => self.old_value().ok_or_else(|| {
                *lock(&self.failure) = Some(Failure::of(&e));
                e
            }),
        };
        self.attempts.fetch_add(1, Ordering::Release);
        answer
    }

    /// Takes a value that came unasked, unless the kept one is good for longer.
    pub fn offer(&self, lent: Lent<T>) {
        let ends = lent.good_for.and_then(|good| Instant::now().checked_add(good));
        let kept_ends = lock(&self.kept).as_ref().and_then(|kept| kept.expires_at);
        if !matches!((kept_ends, ends), (Some(kept), Some(new)) if kept > new) {
            self.keep(lent);
        }
    }

    /// Drops the value if `refused` says it is the one that was refused, so that a newer one stays.
    pub fn forget_if(&self, refused: impl FnOnce(&T) -> bool) {
        let mut kept = lock(&self.kept);
        if kept.as_ref().is_some_and(|k| refused(&k.value)) {
            *kept = None;
        }
    }

    fn good(&self) -> Option<T> {
        let kept = lock(&self.kept);
        let kept = kept.as_ref()?;
        kept.renew_at.is_none_or(|at| Instant::now() < at).then(|| kept.value.clone())
    }

    fn old_value(&self) -> Option<T> {
        let mut kept = lock(&self.kept);
        let kept = kept.as_mut()?;
        let now = Instant::now();
        kept.expires_at.is_none_or(|at| now < at).then(|| {
            let pause_ends = now + PAUSE;
            kept.renew_at = Some(kept.expires_at.map_or(pause_ends, |end| end.min(pause_ends)));
            kept.value.clone()
        })
    }

    fn keep(&self, lent: Lent<T>) -> T {
        let now = Instant::now();
        let renew_after = lent.good_for.map(|good| good.saturating_sub(MARGIN.min(good / 5)));
        let at = |after: Option<Duration>| after.and_then(|after| now.checked_add(after));
        *lock(&self.kept) = Some(Kept { value: lent.value.clone(), renew_at: at(renew_after), expires_at: at(lent.good_for) });
        lent.value
    }
}

impl Failure {
    fn of(e: &Error) -> Failure {
        Failure {
            kind: e.kind(),
            stage: e.stage(),
            retryable: e.retryable(),
            message: e.message().to_owned(),
            advice: e.advice_text().map(str::to_owned),
        }
    }

    fn error(&self) -> Error {
        let error = Error::new(self.kind, self.stage, self.message.clone()).with_retryable(self.retryable);
        match &self.advice {
            Some(advice) => error.advice(advice.clone()),
            None => error,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn lent(value: u64, good_for_ms: Option<u64>) -> Result<Lent<u64>> {
        Ok(Lent { value, good_for: good_for_ms.map(Duration::from_millis) })
    }

    #[tokio::test]
    async fn many_callers_cause_one_renewal_and_share_its_failure() {
        for fails in [false, true] {
            let (renewed, calls) = (Arc::new(Renewed::empty()), Arc::new(AtomicU64::new(0)));
            let tasks: Vec<_> = (0..50)
                .map(|_| {
                    let (renewed, calls) = (renewed.clone(), calls.clone());
                    tokio::spawn(async move {
                        let renew = || async {
                            calls.fetch_add(1, Ordering::SeqCst);
                            tokio::time::sleep(Duration::from_millis(50)).await;
                            if fails { Err(Error::new(ErrorKind::Unavailable, Stage::Catalog, "down")) } else { lent(7, None) }
                        };
                        renewed.get(renew).await.is_err()
                    })
                })
                .collect();
            for task in tasks {
                assert_eq!(task.await.unwrap(), fails);
            }
            assert_eq!(calls.load(Ordering::SeqCst), 1);
        }
    }

    #[tokio::test]
    async fn of_two_values_the_one_that_lasts_longer_is_kept() {
        let renewed = Renewed::starting_with(lent(1, Some(60_000)).unwrap());
        for (offered, good_for_ms, wanted) in [(2, Some(1000), 1), (3, Some(90_000), 3), (4, None, 4)] {
            renewed.offer(lent(offered, good_for_ms).unwrap());
            assert_eq!(renewed.get(|| async { lent(0, None) }).await.unwrap(), wanted);
        }
    }

    #[tokio::test]
    async fn a_value_is_renewed_before_it_expires_and_kept_while_renewal_fails() {
        let renewed = Renewed::starting_with(lent(1, Some(1000)).unwrap());
        assert_eq!(renewed.get(|| async { lent(2, None) }).await.unwrap(), 1);
        tokio::time::sleep(Duration::from_millis(850)).await;
        let down = || async { Err(Error::new(ErrorKind::Unavailable, Stage::Catalog, "down")) };
        assert_eq!(renewed.get(down).await.unwrap(), 1, "still good: used on");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(renewed.get(down).await.is_err(), "and no longer than it is good");
        renewed.forget_if(|v| *v == 1);
        assert_eq!(renewed.get(|| async { lent(2, None) }).await.unwrap(), 2);
    }
}
