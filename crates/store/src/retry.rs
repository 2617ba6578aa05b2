//! When to try again, and when to give up.
//!
//! Contract: passing faults are retried with exponential, jittered pauses (or what the store asks for, where that is longer) until `patience` has
//! gone by without progress. Bytes are progress as far as they come at `LEAST_RATE`, and waiting for a permit is nobody's fault. An endpoint that
//! cannot be connected to is given up after `MOST_CONNECTS` attempts where the process has never reached it: its address is wrong. Where it has, it
//! is being restarted. Credentials that cannot be had now are waited for in the same way.
//! Refused credentials are renewed once without progress where a catalog vends them, and not again where another request has renewed them meanwhile. What is
//! given up is `unavailable` with endpoint, cause and how often it was tried, and says that retrying may help.

use crate::http::Fault;
use crate::location::shown;
use crate::settings::Settings;
use fastdata_types::error::{Error, ErrorKind, RETRIED, Result, Stage};
use fastdata_types::store::{CredentialSource, VendedCredential};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

const MOST_CONNECTS: u32 = 8;
/// Half of what follows the first fault, so that a store which fails now and then costs hardly more than another round trip.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Bytes a second. What comes more slowly would never end.
pub(crate) const LEAST_RATE: u64 = 1 << 10;

/// Whether a catalog vends the credentials of a request that failed.
pub(crate) enum Vended<'a> {
    Never,
    /// The ones it vends now are the ones that failed.
    Refused(&'a dyn CredentialSource, Vec<VendedCredential>),
    /// It already has others.
    Anew,
}

/// The time that so many bytes may take.
pub(crate) fn earned(bytes: u64) -> Duration {
    Duration::from_millis(bytes.saturating_mul(1000) / LEAST_RATE)
}

pub(crate) struct Retry {
    /// From here on nothing has happened that should have.
    idle_since: Instant,
    failures: u32,
    renewed: bool,
}

impl Retry {
    pub(crate) fn new() -> Retry {
        Retry { idle_since: Instant::now(), failures: 0, renewed: false }
    }

    /// Bytes arrived. Where they are as many as should have, patience starts anew, and credentials that were good may end again.
    pub(crate) fn progressed(&mut self, bytes: u64) {
        if self.excuse(earned(bytes)) {
            self.failures = 0;
            self.renewed = false;
        }
    }

    /// The request stood in line for so long.
    pub(crate) fn queued(&mut self, waited: Duration) {
        self.excuse(waited);
    }

    /// Whether no time is left unaccounted for.
    fn excuse(&mut self, time: Duration) -> bool {
        let now = Instant::now();
        let until = self.idle_since.checked_add(time).unwrap_or(now);
        self.idle_since = until.min(now);
        until >= now
    }

    /// Waits as the fault demands, or gives the final error.
    pub(crate) async fn after(&mut self, fault: Fault, settings: &Settings, location: &str, vended: Vended<'_>) -> Result<()> {
        self.failures += 1;
        let (error, connecting, asked) = match fault {
            Fault::Final(error) => return Err(error),
            Fault::Refused(error) => {
                if self.renewed {
                    return Err(error);
                }
                self.renewed = true;
                match vended {
                    Vended::Never => return Err(error),
                    Vended::Refused(source, refused) => source.invalidate(&refused),
                    Vended::Anew => {}
                }
                return Ok(());
            }
            Fault::Wanting(error) => (error, false, None),
            Fault::Passing { cause, connecting, after } => (self.unavailable(&cause, connecting, settings, location), connecting, after),
        };
        let pause = pause(self.failures, asked);
        let is_hopeless = connecting && self.failures >= MOST_CONNECTS && !settings.peer.is_reached();
        if is_hopeless || self.idle_since.elapsed() + pause > settings.patience {
            return Err(error);
        }
        tracing::debug!(target: RETRIED, error = error.message(), "the store is asked again");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    fn unavailable(&self, cause: &str, connecting: bool, settings: &Settings, location: &str) -> Error {
        let what = if connecting { "cannot be reached" } else { "does not answer as it should" };
        let message = format!(
            "{}: {} {what}: {} (tried {} times in {:.1} s)",
            shown(location),
            settings.endpoint_name(),
            shown(cause),
            self.failures,
            self.idle_since.elapsed().as_secs_f64()
        );
        Error::new(ErrorKind::Unavailable, Stage::Store, message)
            .advice("check s3.endpoint and the network; fastdata.s3.retry-timeout is how many seconds of this are borne")
    }
}

/// Doubles with every failure, unless the store asks for more, of which at most the longest pause is granted. The random part of both, a half and
/// a third, keeps many readers from coming back together.
fn pause(failures: u32, asked: Option<Duration>) -> Duration {
    let random = (RandomState::new().hash_one(failures) % 1024) as f64 / 1024.0;
    let own = FIRST_PAUSE.saturating_mul(1 << failures.min(12)).min(LONGEST_PAUSE);
    let asked = asked.unwrap_or_default().min(LONGEST_PAUSE);
    let granted = (asked + asked / 2).min(LONGEST_PAUSE);
    own.mul_f64(0.5 + random / 2.0).max(granted.mul_f64((2.0 + random) / 3.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::peer::Peer;
    use crate::settings::Properties;
    use std::sync::Arc;

    fn resolve(properties: &Properties) -> Settings {
        Settings::resolve(properties, &Environment::new(Properties::new())).ok().unwrap()
    }

    /// The shortest and the longest of many pauses.
    fn pauses(failures: u32, asked: Option<u64>) -> (Duration, Duration) {
        let asked = asked.map(Duration::from_secs);
        let all: Vec<_> = (0..500).map(|_| pause(failures, asked)).collect();
        (*all.iter().min().unwrap(), *all.iter().max().unwrap())
    }

    #[test]
    fn pauses_begin_small_grow_and_are_no_shorter_for_what_the_store_asks() {
        let milliseconds = |from, until| Duration::from_millis(from)..=Duration::from_millis(until);
        for asked in [None, Some(0)] {
            for (failures, range) in [(1, milliseconds(2, 4)), (4, milliseconds(16, 32)), (30, milliseconds(2500, 5000))] {
                let (shortest, longest) = pauses(failures, asked);
                assert!(range.contains(&shortest) && range.contains(&longest), "{failures} {asked:?}: {shortest:?} {longest:?}");
                assert!(longest > shortest.mul_f64(1.5), "{shortest:?} {longest:?}");
            }
        }
        for (asked, range) in [(1, milliseconds(1000, 1500)), (60, milliseconds(3333, 5000)), (u64::MAX, milliseconds(3333, 5000))] {
            let (shortest, longest) = pauses(1, Some(asked));
            assert!(range.contains(&shortest) && range.contains(&longest), "{asked}: {shortest:?} {longest:?}");
            assert!(longest > shortest.mul_f64(1.3), "{asked}: {shortest:?} {longest:?}");
        }
        assert!(pauses(12, Some(1)).0 >= Duration::from_millis(2500), "our own is longer");
    }

    #[test]
    fn bytes_are_progress_as_far_as_they_come_fast_enough() {
        let ago = Instant::now() - Duration::from_secs(100);
        let retry = || Retry { idle_since: ago, failures: 3, renewed: true };
        let mut slow = retry();
        slow.progressed(LEAST_RATE * 10);
        assert!(slow.idle_since == ago + Duration::from_secs(10) && slow.failures == 3 && slow.renewed);
        let mut fast = retry();
        fast.progressed(LEAST_RATE * 200);
        assert!(fast.idle_since.elapsed() < Duration::from_secs(1) && fast.failures == 0 && !fast.renewed);
        let mut queued = retry();
        queued.queued(Duration::from_secs(60));
        assert_eq!(queued.idle_since, ago + Duration::from_secs(60));
    }

    fn refused() -> Fault {
        Fault::Passing { cause: "Connection refused".into(), connecting: true, after: None }
    }

    /// How often a connection is tried before it is given up, and for how long.
    async fn tries(settings: &Settings) -> (u32, Duration) {
        let (mut retry, started, mut tries) = (Retry::new(), Instant::now(), 1);
        while retry.after(refused(), settings, "s3://b/k", Vended::Never).await.is_ok() {
            tries += 1;
        }
        (tries, started.elapsed())
    }

    #[tokio::test]
    async fn an_endpoint_that_was_reached_once_is_waited_for_and_one_that_never_was_is_given_up_soon() {
        let properties = Properties::from([("fastdata.s3.retry-timeout".to_owned(), "4".to_owned())]);
        let mut settings = resolve(&properties);
        let (few, soon) = tries(&settings).await;
        assert!(few == MOST_CONNECTS && soon < Duration::from_secs(2), "{few} in {soon:?}");
        settings.peer = Arc::new(Peer::default());
        settings.peer.alone(async { Err(Fault::Passing { cause: "reset".into(), connecting: false, after: None }) }).await.err();
        let (many, long) = tries(&settings).await;
        assert!(many > MOST_CONNECTS && (Duration::from_millis(1200)..Duration::from_millis(4200)).contains(&long), "{many} in {long:?}");
    }

    /// The sum of all pauses, and an outage is borne that begins at any of them.
    #[test]
    fn the_default_patience_outlasts_half_a_minute() {
        let settings = resolve(&Properties::new());
        assert!(settings.patience >= Duration::from_secs(30) + settings.silence + LONGEST_PAUSE, "{:?}", settings.patience);
    }
}
