//! Faults drawn from a seed: what a store does to those who read from it on a bad day.
//!
//! Contract: what a request suffers depends on the seed, the object and how many requests for that object came before it, so that a seed
//! does the same again, however requests for other objects come in between.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// What one request suffers instead of, or beside, its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// 503 SlowDown.
    Unavailable,
    /// 429, 500 or 503 with a `Retry-After` of so many seconds.
    RetryAfter(u16, u64),
    /// A correct head, then only so many bytes of the body, then the end of the connection.
    Truncate(usize),
    /// The connection is reset after so many bytes of the body; with 0 of them there is no head either.
    Reset(usize),
    /// No answer for so long, then the right one.
    Hang(Duration),
    /// 403 AccessDenied.
    Denied,
    /// 400 ExpiredToken.
    ExpiredToken,
    /// Any status with an error code.
    Status(u16, &'static str),
}

impl Fault {
    fn plain(status: u16) -> Fault {
        if status == 503 { Fault::Unavailable } else { Fault::Status(status, Fault::code(status)) }
    }

    /// The error code that goes with a fault of the store itself.
    pub(crate) fn code(status: u16) -> &'static str {
        match status {
            429 => "TooManyRequests",
            500 => "InternalError",
            _ => "SlowDown",
        }
    }
}

/// How bad the day is. The default is a good one.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    pub seed: u64,
    /// Before each answer, at most; anything up to it is equally likely.
    pub jitter: Duration,
    /// Of a thousand requests, those that get 503: half of them with a `Retry-After`, of 0 or, one in five, of `retry_after` seconds.
    pub unavailable_per_mille: u32,
    /// Those that get 429, and those that get 500, in the same ways.
    pub throttled_per_mille: u32,
    pub failing_per_mille: u32,
    pub retry_after: u64,
    /// Those whose connection is reset, before the answer or in it.
    pub reset_per_mille: u32,
    /// Those whose body ends too early.
    pub truncate_per_mille: u32,
    pub change: Option<Change>,
}

/// An object that is replaced while it is read.
#[derive(Debug, Clone)]
pub struct Change {
    pub bucket: String,
    pub key: String,
    /// So many requests get the object as it was; those that fail do not count.
    pub after: u32,
    /// What later ones see, under [`Change::ETAG`].
    pub bytes: Bytes,
}

impl Change {
    pub const ETAG: &str = "\"changed\"";
}

/// What the seed holds for each request, in the order they come.
#[derive(Debug)]
pub struct Seeded {
    faults: Faults,
    asked: HashMap<(String, String), Asked>,
}

/// Requests for one object so far, and those of them that got it whole.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    requests: u32,
    answered: u32,
}

/// What one request suffers.
#[derive(Debug, Default)]
pub struct Drawn {
    /// Before the answer.
    pub pause: Duration,
    pub fault: Option<Fault>,
    /// What the object holds now, where it was replaced.
    pub changed: Option<Bytes>,
}

impl Seeded {
    pub fn new(faults: Faults) -> Seeded {
        Seeded { faults, asked: HashMap::new() }
    }

    pub fn draw(&mut self, bucket: &str, key: &str) -> Drawn {
        let asked = self.asked.entry((bucket.to_owned(), key.to_owned())).or_default();
        asked.requests += 1;
        let mut hasher = DefaultHasher::new();
        (self.faults.seed, bucket, key, asked.requests).hash(&mut hasher);
        let mut random = StdRng::seed_from_u64(hasher.finish());
        let pause = self.faults.jitter.mul_f64(random.random_range(0.0..1.0));
        let fault = self.faults.fault(&mut random);
        let change = self.faults.change.as_ref();
        let change = change.filter(|change| change.bucket == bucket && change.key == key && asked.answered >= change.after);
        asked.answered += u32::from(fault.is_none());
        Drawn { pause, fault, changed: change.map(|change| change.bytes.clone()) }
    }
}

impl Faults {
    fn fault(&self, random: &mut StdRng) -> Option<Fault> {
        let mut drawn = random.random_range(0..1000);
        // Sizes of all magnitudes, beyond the end of a small body too.
        let magnitude = random.random_range(1..19);
        let bytes = random.random_range(0..1usize << magnitude);
        for (share, status) in [(self.unavailable_per_mille, 503), (self.throttled_per_mille, 429), (self.failing_per_mille, 500)] {
            if drawn < share {
                let pause = if random.random_bool(0.2) { self.retry_after } else { 0 };
                return Some(if random.random_bool(0.5) { Fault::plain(status) } else { Fault::RetryAfter(status, pause) });
            }
            drawn -= share;
        }
        if drawn < self.reset_per_mille {
            return Some(Fault::Reset(if random.random_bool(0.5) { 0 } else { bytes }));
        }
        (drawn - self.reset_per_mille < self.truncate_per_mille).then_some(Fault::Truncate(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_does_the_same_again_in_the_shares_that_were_asked_for() {
        let faults = Faults {
            seed: 3,
            unavailable_per_mille: 50,
            throttled_per_mille: 30,
            failing_per_mille: 40,
            retry_after: 7,
            reset_per_mille: 20,
            truncate_per_mille: 10,
            ..Faults::default()
        };
        let run = |others: usize| {
            let mut seeded = Seeded::new(faults.clone());
            let mut next = || {
                (0..others).for_each(|_| drop(seeded.draw("b", "other")));
                seeded.draw("b", "one").fault
            };
            (0..10_000).map(|_| next()).collect::<Vec<_>>()
        };
        let suffered = run(0);
        assert_eq!(suffered, run(3));
        let share = |of: fn(&Fault) -> bool| suffered.iter().flatten().filter(|fault| of(fault)).count();
        let unavailable = share(|fault| matches!(fault, Fault::Unavailable | Fault::RetryAfter(503, _)));
        assert!((400..600).contains(&unavailable), "{unavailable}");
        let throttled = share(|fault| matches!(fault, Fault::Status(429, "TooManyRequests") | Fault::RetryAfter(429, _)));
        assert!((230..370).contains(&throttled), "{throttled}");
        let failing = share(|fault| matches!(fault, Fault::Status(500, "InternalError") | Fault::RetryAfter(500, _)));
        assert!((320..480).contains(&failing), "{failing}");
        let [now, later] =
            [share(|fault| matches!(fault, Fault::RetryAfter(_, 0))), share(|fault| matches!(fault, Fault::RetryAfter(_, 7)))];
        assert!((400..560).contains(&now) && (80..160).contains(&later), "{now} {later}");
        assert!((150..250).contains(&share(|fault| matches!(fault, Fault::Reset(_)))));
        assert!((60..140).contains(&share(|fault| matches!(fault, Fault::Truncate(_)))));
    }

    #[test]
    fn a_change_shows_after_so_many_requests_of_that_object_alone() {
        let change = Change { bucket: "b".into(), key: "k".into(), after: 2, bytes: Bytes::from_static(b"new") };
        let mut seeded = Seeded::new(Faults { change: Some(change), ..Faults::default() });
        let mut changed = |key| seeded.draw("b", key).changed.is_some();
        assert_eq!(
            [changed("k"), changed("other"), changed("other"), changed("other"), changed("k"), changed("k")],
            [false, false, false, false, false, true]
        );
    }
}
