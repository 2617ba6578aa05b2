//! A value that a server lends for a while (a token, credentials, its configuration) and that many tasks use at once.
//!
//! Contract: [`Renewed::get`] gives a value that is good now. One flight at a time asks the server, and all who wait share its outcome,
//! success or failure alike. The value is renewed before it expires. While it is good nobody waits longer than a moment for its
//! successor, and should the renewal fail, it is used on.
//!
//! How: a flight is a task of its own, which goes on when those who wait for it go away.

use fastdata_types::{Error, Result, Stage};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Renewed this long before the end, or a fifth of the lifetime before where that is less.
const MARGIN: Duration = Duration::from_secs(300);
/// After a renewal that failed while the old value was still good, the next attempt waits this long, or until that ends.
const PAUSE: Duration = Duration::from_secs(5);
/// Since its flight began, a renewal is waited for this long where the old value is good for longer.
const MOMENT: Duration = Duration::from_secs(1);
/// A lifetime below this is that of a clock which is not the server's: the value is good until it is refused, and renewed after [`PAUSE`].
const SHORTEST_LIFE: Duration = Duration::from_secs(1);
/// Two ends that are nearer to each other are one: both were told by a clock and taken down a little later.
const SAME_END: Duration = Duration::from_secs(1);

pub struct Renewed<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    kept: Option<Kept<T>>,
    flight: Option<Flight<T>>,
}

struct Kept<T> {
    value: T,
    renew_at: Option<Instant>,
    expires_at: Option<Instant>,
}

/// A request for the next value, under way.
#[derive(Clone)]
struct Flight<T> {
    began: Instant,
    outcome: Shared<BoxFuture<'static, Result<T, Arc<Error>>>>,
}

/// What a server lent, and for how long; `None` means until it is refused.
pub struct Lent<T> {
    pub value: T,
    pub good_for: Option<Duration>,
}

impl<T: Clone + Send + Sync + 'static> Renewed<T> {
    pub fn empty() -> Arc<Self> {
        Arc::new(Renewed { state: Mutex::new(State { kept: None, flight: None }) })
    }

    pub fn starting_with(lent: Lent<T>) -> Arc<Self> {
        let renewed = Renewed::empty();
        renewed.state().keep(lent);
        renewed
    }

    pub async fn get<F>(self: &Arc<Self>, renew: impl FnOnce() -> F) -> Result<T>
    where
        F: Future<Output = Result<Lent<T>>> + Send + 'static,
    {
        let (flight, old) = {
            let mut state = self.state();
            if let Some(value) = state.good() {
                return Ok(value);
            }
            let flight = state.flight.get_or_insert_with(|| self.fly(renew())).clone();
            (flight, state.good_beyond(MOMENT))
        };
        let outcome = match old {
            None => flight.outcome.await,
            Some(old) => tokio::time::timeout_at(flight.began + MOMENT, flight.outcome).await.unwrap_or(Ok(old)),
        };
        outcome.map_err(|e| e.copy())
    }

    /// Takes a value that came unasked, unless the kept one is good for longer. Of two that end together the newer one stays.
    pub fn offer(&self, lent: Lent<T>) {
        let ends = lent.good_for.and_then(|good| Instant::now().checked_add(good));
        let mut state = self.state();
        let kept_ends = state.kept.as_ref().and_then(|kept| kept.expires_at);
        if !matches!((kept_ends, ends), (Some(kept), Some(new)) if kept > new + SAME_END) {
            state.keep(lent);
        }
    }

    /// Drops the value if `refused` says it is the one that was refused, so that a newer one stays.
    pub fn forget_if(&self, refused: impl FnOnce(&T) -> bool) {
        let mut state = self.state();
        if state.kept.as_ref().is_some_and(|kept| refused(&kept.value)) {
            state.kept = None;
        }
    }

    fn fly(self: &Arc<Self>, renewal: impl Future<Output = Result<Lent<T>>> + Send + 'static) -> Flight<T> {
        let renewed = Arc::clone(self);
        let task = tokio::spawn(async move { renewed.land(renewal.await) });
        let renewed = Arc::clone(self);
        let outcome = task.map(move |ended| {
            let broken = |e| renewed.land(Err(Error::internal(Stage::Catalog, "a request to the catalog was broken off").source(e)));
            ended.unwrap_or_else(broken)
        });
        Flight { began: Instant::now(), outcome: outcome.boxed().shared() }
    }

    fn land(&self, outcome: Result<Lent<T>>) -> Result<T, Arc<Error>> {
        let mut state = self.state();
        state.flight = None;
        match outcome {
            Ok(lent) => Ok(state.keep(lent)),
            Err(e) => state.use_on().ok_or_else(|| Arc::new(e)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> State<T> {
    /// The value, unless it is to be renewed.
    fn good(&self) -> Option<T> {
        let kept = self.kept.as_ref()?;
        kept.renew_at.is_none_or(|at| Instant::now() < at).then(|| kept.value.clone())
    }

    /// The value, where it is good for so long at least.
    fn good_beyond(&self, time: Duration) -> Option<T> {
        let kept = self.kept.as_ref()?;
        kept.expires_at.is_none_or(|at| Instant::now() + time < at).then(|| kept.value.clone())
    }

    /// The value after a renewal that failed, where it is still good.
    fn use_on(&mut self) -> Option<T> {
        let value = self.good_beyond(Duration::ZERO)?;
        let kept = self.kept.as_mut()?;
        let pause_ends = Instant::now() + PAUSE;
        kept.renew_at = Some(kept.expires_at.map_or(pause_ends, |end| end.min(pause_ends)));
        Some(value)
    }

    fn keep(&mut self, lent: Lent<T>) -> T {
        let now = Instant::now();
        let (renew_after, good_for) = match lent.good_for {
            Some(good) if good < SHORTEST_LIFE => (Some(PAUSE), None),
            good => (good.map(|good| good - MARGIN.min(good / 5)), good),
        };
        let at = |after: Option<Duration>| after.and_then(|after| now.checked_add(after));
        self.kept = Some(Kept { value: lent.value.clone(), renew_at: at(renew_after), expires_at: at(good_for) });
        lent.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastdata_types::ErrorKind;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn lent(value: u64, good_for_ms: Option<u64>) -> Result<Lent<u64>> {
        Ok(Lent { value, good_for: good_for_ms.map(Duration::from_millis) })
    }

    fn down() -> Error {
        Error::new(ErrorKind::Unavailable, Stage::Catalog, "down").advice("wait")
    }

    /// A value that is to be renewed now and expires after so long.
    fn due(value: u64, expires_after: Duration) -> Arc<Renewed<u64>> {
        let renewed = Renewed::empty();
        let now = Instant::now();
        renewed.state().kept = Some(Kept { value, renew_at: Some(now), expires_at: Some(now + expires_after) });
        renewed
    }

    #[tokio::test]
    async fn many_callers_cause_one_renewal_and_share_its_failure() {
        for fails in [false, true] {
            let (renewed, calls) = (Renewed::empty(), Arc::new(AtomicU64::new(0)));
            let tasks: Vec<_> = (0..50)
                .map(|_| {
                    let (renewed, calls) = (renewed.clone(), calls.clone());
                    tokio::spawn(async move {
                        let renew = || async move {
                            calls.fetch_add(1, Ordering::SeqCst);
                            tokio::time::sleep(Duration::from_millis(50)).await;
                            if fails { Err(down()) } else { lent(7, None) }
                        };
                        renewed.get(renew).await
                    })
                })
                .collect();
            for task in tasks {
                let told = task.await.unwrap().map_err(|e| (e.kind(), e.retryable(), e.advice_text().map(str::to_owned)));
                assert_eq!(told, if fails { Err((ErrorKind::Unavailable, true, Some("wait".into()))) } else { Ok(7) });
            }
            assert_eq!(calls.load(Ordering::SeqCst), 1);
        }
    }

    #[tokio::test]
    async fn of_two_values_the_one_that_lasts_longer_is_kept() {
        let renewed = Renewed::starting_with(lent(1, Some(60_000)).unwrap());
        for (offered, good_for_ms, wanted) in [(2, Some(1000), 1), (5, Some(59_500), 5), (3, Some(90_000), 3), (4, None, 4)] {
            renewed.offer(lent(offered, good_for_ms).unwrap());
            assert_eq!(renewed.get(|| async { lent(0, None) }).await.unwrap(), wanted);
        }
    }

    #[tokio::test]
    async fn a_value_is_renewed_before_it_expires_and_kept_while_renewal_fails() {
        let renewed = Renewed::starting_with(lent(1, Some(1000)).unwrap());
        assert_eq!(renewed.get(|| async { lent(2, None) }).await.unwrap(), 1);
        tokio::time::sleep(Duration::from_millis(850)).await;
        assert_eq!(renewed.get(|| async { Err(down()) }).await.unwrap(), 1, "still good: used on");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(renewed.get(|| async { Err(down()) }).await.is_err(), "and no longer than it is good");
        renewed.forget_if(|v| *v == 1);
        assert_eq!(renewed.get(|| async { lent(2, None) }).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_renewal_that_hangs_costs_a_moment_in_all_while_the_old_value_is_good_and_goes_on_meanwhile() {
        let renewed = due(1, Duration::from_secs(60));
        let (landing, landed) = tokio::sync::oneshot::channel();
        let hung = || async move {
            landed.await.unwrap();
            lent(2, None)
        };
        let began = Instant::now();
        assert_eq!(renewed.get(hung).await.unwrap(), 1);
        for _ in 0..20 {
            assert_eq!(renewed.get(|| async { lent(3, None) }).await.unwrap(), 1, "no second flight");
        }
        assert!((MOMENT..2 * MOMENT).contains(&began.elapsed()), "{:?}", began.elapsed());
        landing.send(()).unwrap();
        tokio::task::yield_now().await;
        assert_eq!(renewed.get(|| async { lent(3, None) }).await.unwrap(), 2);
        // One that is about to expire is no way out.
        let renewed = due(1, MOMENT / 2);
        let slow = || async {
            tokio::time::sleep(MOMENT / 4).await;
            lent(2, None)
        };
        assert_eq!(renewed.get(slow).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_renewal_goes_on_without_the_one_that_began_it() {
        let renewed = Renewed::empty();
        let slow = || async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            lent(2, None)
        };
        assert!(tokio::time::timeout(Duration::from_millis(20), renewed.get(slow)).await.is_err());
        assert_eq!(renewed.get(|| async { lent(3, None) }).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_fresh_value_that_seems_to_have_expired_is_used_until_it_is_refused() {
        for good_for_ms in [0, 1, 999] {
            let renewed = Renewed::starting_with(lent(1, Some(good_for_ms)).unwrap());
            for _ in 0..3 {
                assert_eq!(renewed.get(|| async { lent(2, Some(0)) }).await.unwrap(), 1);
            }
            renewed.forget_if(|v| *v == 1);
            assert_eq!(renewed.get(|| async { lent(2, Some(0)) }).await.unwrap(), 2);
            renewed.state().kept.as_mut().unwrap().renew_at = Some(Instant::now());
            assert_eq!(renewed.get(|| async { Err(down()) }).await.unwrap(), 2, "nobody has refused it");
        }
    }

    #[tokio::test]
    async fn a_renewal_that_breaks_down_is_an_error_and_no_end_of_renewals() {
        let renewed: Arc<Renewed<u64>> = Renewed::empty();
        let breaks = || async { panic!("as it is to") };
        assert_eq!(renewed.get(breaks).await.unwrap_err().kind(), ErrorKind::Internal);
        assert_eq!(renewed.get(|| async { lent(2, None) }).await.unwrap(), 2);
    }
}
