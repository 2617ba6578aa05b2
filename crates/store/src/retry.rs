//! When to try again, and when to give up.
//!
//! Contract: passing faults are retried with exponential, jittered pauses (or the pause the store asks for) until `patience` has gone by
//! without a byte of progress. An endpoint that cannot be connected to is given up after `MOST_CONNECTS` attempts where the process has never
//! reached it: its address is wrong. Where it has, it is being restarted.
//! Refused credentials are renewed once without progress where a catalog vends them, and not again where another request has renewed them meanwhile. What is
//! given up is `unavailable` with endpoint, cause and how often it was tried, and says that retrying may help.

use crate::http::Fault;
use crate::location::shown;
use crate::settings::Settings;
use fastdata_types::error::{Error, ErrorKind, Result, Stage};
use fastdata_types::store::{CredentialSource, VendedCredential};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

const MOST_CONNECTS: u32 = 8;
/// Half of what follows the first fault, so that a store which fails now and then costs hardly more than another round trip.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Whether a catalog vends the credentials of a request that failed.
pub(crate) enum Vended<'a> {
    Never,
    /// The ones it vends now are the ones that failed.
    Refused(&'a dyn CredentialSource, Vec<VendedCredential>),
    /// It already has others.
    Anew,
}

pub(crate) struct Retry {
    progress: Instant,
    failures: u32,
    renewed: bool,
}

impl Retry {
    pub(crate) fn new() -> Retry {
        Retry { progress: Instant::now(), failures: 0, renewed: false }
    }

    /// Bytes arrived: patience starts anew, and credentials that were good may end again.
    pub(crate) fn progressed(&mut self) {
        self.progress = Instant::now();
        self.failures = 0;
        self.renewed = false;
    }

    /// Waits as the fault demands, or gives the final error.
    pub(crate) async fn after(&mut self, fault: Fault, settings: &Settings, location: &str, vended: Vended<'_>) -> Result<()> {
        let (cause, connecting, asked_pause) = match fault {
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
            Fault::Passing { cause, connecting, after } => (cause, connecting, after),
        };
        self.failures += 1;
        let pause = asked_pause.unwrap_or_else(|| pause(self.failures)).min(LONGEST_PAUSE);
        let is_hopeless = connecting && self.failures >= MOST_CONNECTS && !settings.peer.is_reached();
        if is_hopeless || self.progress.elapsed() + pause > settings.patience {
            let what = if connecting { "cannot be reached" } else { "does not answer as it should" };
            let message = format!(
                "{}: {} {what}: {} (tried {} times in {:.1} s)",
                shown(location),
                settings.endpoint_name(),
                shown(&cause),
                self.failures,
                self.progress.elapsed().as_secs_f64()
            );
            return Err(Error::new(ErrorKind::Unavailable, Stage::Store, message)
                .advice("check s3.endpoint and the network; fastdata.s3.retry-timeout is how many seconds of this are borne"));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Doubles with every failure; the random half keeps many readers from coming back together.
fn pause(failures: u32) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE);
    let random = RandomState::new().hash_one(failures) % 1024;
    full / 2 + full.mul_f64(random as f64 / 2048.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Peer;
    use crate::settings::Properties;
    use std::sync::Arc;

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
        let mut settings = Settings::resolve(&properties, &Properties::new()).ok().unwrap();
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
        let settings = Settings::resolve(&Properties::new(), &Properties::new()).ok().unwrap();
        assert!(settings.patience >= Duration::from_secs(30) + settings.silence + LONGEST_PAUSE, "{:?}", settings.patience);
    }
}
