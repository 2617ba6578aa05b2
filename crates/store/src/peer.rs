//! What the process knows of one endpoint: whether it was ever reached, how soon it usually answers, and how many requests it may have at once.
//!
//! Problem: a request may hang while the store is well (a lost packet, one sick node behind the endpoint), and a reader that waits until the
//! silence is too long waits seconds for what another request gets in milliseconds. Contract: [`Peer::hedged`] sends a request, and one more
//! for the same bytes where the first answer takes much longer than usual; the first good answer counts and the other request is
//! dropped before its body. Hedges are at most `SHARE` of all requests, and `SPARE` more, so that a store that is slow as a whole does
//! not get twice the load. How: the usual time is a moving mean and deviation of the times to the first byte, as TCP has them for its
//! retransmissions (RFC 6298).

use crate::http::Fault;
use crate::recent::Recent;
use fastdata_types::error::{Error, Result as OurResult, Stage};
use object_store::client::HttpResponse;
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests to one endpoint at once, from the first byte of each to the last of its body: somewhat more than what the readers of one scan keep
/// under way from afar, and none of another endpoint's, which may hang.
pub const PARALLEL_REQUESTS: usize = 96;
/// Endpoints that are remembered.
const MOST_PEERS: usize = 64;
/// Hedges for each request that is sent.
const SHARE: f64 = 0.05;
/// Hedges that may be saved up, and are there at the start.
const SPARE: f64 = 8.0;
/// Answers from which on the times say what is usual.
const FEW: u32 = 8;
/// Before that, this is long.
const LONG: Duration = Duration::from_secs(2);
/// Nothing faster is ever called late.
const SOON: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Peer {
    reached: AtomicBool,
    pace: Mutex<Pace>,
    permits: Arc<Semaphore>,
}

impl Default for Peer {
    fn default() -> Peer {
        Peer { reached: AtomicBool::default(), pace: Mutex::default(), permits: Arc::new(Semaphore::new(PARALLEL_REQUESTS)) }
    }
}

#[derive(Debug)]
struct Pace {
    mean: Duration,
    deviation: Duration,
    answers: u32,
    spare: f64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { mean: Duration::ZERO, deviation: Duration::ZERO, answers: 0, spare: SPARE }
    }
}

impl Pace {
    fn observe(&mut self, first_byte: Duration) {
        match self.answers {
            0 => (self.mean, self.deviation) = (first_byte, first_byte / 2),
            _ => {
                self.deviation = (self.deviation * 3 + self.mean.abs_diff(first_byte)) / 4;
                self.mean = (self.mean * 7 + first_byte) / 8;
            }
        }
        self.answers = self.answers.saturating_add(1);
    }

    /// An answer that takes longer than this is late.
    fn late(&self) -> Duration {
        if self.answers < FEW { LONG } else { (self.mean * 2 + self.deviation * 4).max(SOON) }
    }

    fn may_hedge(&mut self) -> bool {
        let may = self.spare >= 1.0;
        self.spare -= if may { 1.0 } else { 0.0 };
        may
    }
}

impl Peer {
    /// Whether a connection was made to the endpoint since the process began.
    pub(crate) fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// For one request; waits while there are enough. A permit that comes free is handed to the first who waits: whoever asks has to be polled until the
    /// request is done, or nobody else has anything from it.
    pub(crate) async fn permit(&self) -> OurResult<OwnedSemaphorePermit> {
        let permit = self.permits.clone().acquire_owned().await;
        permit.map_err(|_| Error::internal(Stage::Store, "the request limit is closed"))
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One attempt alone.
    pub(crate) async fn alone(&self, attempt: impl Future<Output = Result<HttpResponse, Fault>>) -> Result<HttpResponse, Fault> {
        let started = Instant::now();
        let answered = attempt.await;
        if answered.as_ref().map_or_else(Fault::is_from_endpoint, |_| true) {
            self.reached.store(true, Ordering::Relaxed);
        }
        if answered.is_ok() {
            self.pace().observe(started.elapsed());
        }
        answered
    }

    /// One attempt, and a second one beside it where the first is late. `hedging` is told of the second before it is made.
    pub(crate) async fn hedged<F: Future<Output = Result<HttpResponse, Fault>>>(
        &self,
        attempt: impl Fn() -> F,
        hedging: impl FnOnce(),
    ) -> Result<HttpResponse, Fault> {
        let late = {
            let mut pace = self.pace();
            pace.spare = (pace.spare + SHARE).min(SPARE);
            pace.late()
        };
        let mut first = pin!(self.alone(attempt()));
        tokio::select! {
            biased;
            answered = &mut first => return answered,
            () = tokio::time::sleep(late) => {}
        }
        if !self.pace().may_hedge() {
            return first.await;
        }
        hedging();
        let mut second = pin!(self.alone(attempt()));
        // A fault that may pass is no answer while the other request may still get one.
        tokio::select! {
            answered = &mut first => if let Err(Fault::Passing { .. }) = answered { second.await } else { answered },
            answered = &mut second => if let Err(Fault::Passing { .. }) = answered { first.await } else { answered },
        }
    }
}

/// The endpoints of the process, by their names.
#[derive(Debug)]
pub(crate) struct Peers(Mutex<Recent<String, Peer>>);

impl Default for Peers {
    fn default() -> Peers {
        Peers(Mutex::new(Recent::new(MOST_PEERS)))
    }
}

impl Peers {
    pub(crate) fn get(&self, endpoint: String) -> Arc<Peer> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(peer) = known.get_or_make(|name| *name == endpoint, || Ok::<_, Infallible>((endpoint.clone(), Arc::default())));
        peer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::client::HttpResponseBody;
    use std::sync::atomic::AtomicU32;

    fn good() -> Result<HttpResponse, Fault> {
        Ok(HttpResponse::new(HttpResponseBody::from(Vec::new())))
    }

    fn passing() -> Result<HttpResponse, Fault> {
        Err(Fault::Passing { cause: "503".into(), connecting: false, after: None })
    }

    /// A peer that is known to answer at once.
    async fn quick() -> Peer {
        let peer = Peer::default();
        for _ in 0..FEW {
            assert!(peer.alone(async { good() }).await.is_ok());
        }
        peer
    }

    type Answered = Result<HttpResponse, Fault>;

    /// Sends one request whose attempts take so long and end so, and gives its result, its attempts and the time it took.
    async fn send(peer: &Peer, attempts: [(u64, fn() -> Answered); 2]) -> (Answered, u32, Duration) {
        let (made, hedges, started) = (AtomicU32::new(0), AtomicU32::new(0), Instant::now());
        let attempt = || {
            let (pause, outcome) = attempts[made.fetch_add(1, Ordering::SeqCst) as usize];
            async move {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                outcome()
            }
        };
        let answered = peer.hedged(attempt, || hedges.store(1, Ordering::SeqCst)).await;
        assert_eq!(made.load(Ordering::SeqCst), hedges.load(Ordering::SeqCst) + 1);
        (answered, made.into_inner(), started.elapsed())
    }

    #[tokio::test]
    async fn a_request_that_hangs_is_answered_by_another_and_a_quick_one_is_not_sent_twice() {
        let peer = quick().await;
        let (answered, attempts, took) = send(&peer, [(60_000, good), (10, good)]).await;
        assert!(answered.is_ok() && attempts == 2 && took < Duration::from_secs(1), "{took:?}");
        let (answered, attempts, _) = send(&peer, [(100, good), (0, good)]).await;
        assert!(answered.is_ok() && attempts == 1);
    }

    #[tokio::test]
    async fn a_fault_of_one_request_does_not_end_the_other_and_a_final_one_does() {
        for attempts in [[(300, passing as fn() -> _), (400, good)], [(500, good), (10, passing)]] {
            let peer = quick().await;
            let (answered, made, _) = send(&peer, attempts).await;
            assert!(answered.is_ok() && made == 2);
        }
        let peer = quick().await;
        let missing = || Err(Fault::Final(Error::internal(Stage::Store, "gone")));
        let (answered, made, took) = send(&peer, [(60_000, good), (10, missing)]).await;
        assert!(matches!(answered, Err(Fault::Final(_))) && made == 2 && took < Duration::from_secs(1));
        let (answered, _, _) = send(&peer, [(300, passing), (300, passing)]).await;
        assert!(matches!(answered, Err(Fault::Passing { .. })));
    }

    #[tokio::test]
    async fn hedges_are_a_bounded_share_of_the_requests() {
        let peer = quick().await;
        let mut hedged = 0;
        for _ in 0..12 {
            let (_, attempts, _) = send(&peer, [(SOON.as_millis() as u64 + 50, good), (1_000, good)]).await;
            hedged += attempts - 1;
            // What is slow as a whole is usual after a while; here it stays unusual.
            peer.pace().answers = 0;
            for _ in 0..FEW {
                peer.pace().observe(Duration::ZERO);
            }
        }
        assert_eq!(hedged, SPARE as u32);
        for _ in 0..100 {
            let (_, attempts, _) = send(&peer, [(0, good), (0, good)]).await;
            assert_eq!(attempts, 1);
        }
        assert!((5.0..6.0).contains(&peer.pace().spare), "{:?}", peer.pace());
    }

    #[test]
    fn late_is_far_from_what_is_usual() {
        let mut pace = Pace::default();
        assert_eq!(pace.late(), LONG);
        (0..100).for_each(|n| pace.observe(Duration::from_millis(if n % 2 == 0 { 900 } else { 1100 })));
        assert!((Duration::from_millis(2300)..Duration::from_millis(2600)).contains(&pace.late()), "{pace:?}");
        (0..100).for_each(|_| pace.observe(Duration::from_millis(1)));
        assert_eq!(pace.late(), SOON);
    }
}
