//! Notices that an object changed while a scan reads it.
//!
//! Problem: footer, row groups and deletes of one file are read by separate requests; if the object is replaced in between, rows would be
//! decoded from a mixture. Contract: the first version seen of an object (its ETag, or inode, size and time of a local file) holds for the
//! life of a store; another one later is a typed error. What is remembered is bounded: 24 bytes an object, the oldest forgotten first.

use crate::location::shown;
use fastdata_types::error::{Error, Result, Stage};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

const GENERATION: usize = 65_536;

#[derive(Default)]
pub(crate) struct Versions {
    hasher: RandomState,
    seen: Mutex<[HashMap<u64, Seen>; 2]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    version: u64,
    size: u64,
}

impl Versions {
    /// `object` is the object's one spelling, `size` in bytes.
    pub(crate) fn check(&self, location: &str, object: &str, version: &str, size: u64) -> Result<()> {
        let (object, now) = (self.hasher.hash_one(object), Seen { version: self.hasher.hash_one(version), size });
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let [young, old] = &mut *seen;
        if young.get(&object).or_else(|| old.get(&object)).is_some_and(|known| *known != now) {
            return Err(changed(location));
        }
        if young.len() >= GENERATION && !young.contains_key(&object) {
            *old = std::mem::take(young);
        }
        young.insert(object, now);
        Ok(())
    }

    /// The object's size where it has been seen.
    pub(crate) fn size(&self, object: &str) -> Option<u64> {
        let object = self.hasher.hash_one(object);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().find_map(|generation| generation.get(&object)).map(|seen| seen.size)
    }
}

pub(crate) fn changed(location: &str) -> Error {
    Error::corrupt(Stage::Store, format!("{}: the file was replaced while it was being read", shown(location)))
        .advice("files of an Iceberg table never change once written: stop what rewrites them in place, then start the scan again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastdata_types::ErrorKind;

    #[test]
    fn another_version_of_an_object_is_an_error_and_memory_is_bounded() {
        let versions = Versions::default();
        versions.check("a", "a", "1", 10).unwrap();
        versions.check("a", "a", "1", 10).unwrap();
        versions.check("b", "b", "2", 20).unwrap();
        assert_eq!((versions.size("a"), versions.size("c")), (Some(10), None));
        for (version, size) in [("2", 10), ("1", 11)] {
            assert_eq!(versions.check("a", "a", version, size).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        for i in 0..3 * GENERATION {
            versions.check("x", &i.to_string(), "v", 1).unwrap();
            assert!(versions.seen.lock().unwrap().iter().all(|generation| generation.len() <= GENERATION));
        }
    }
}
