//! The few shared values that were asked for last, by their keys.
//!
//! Problem: keys may come from the tables of any catalog, so that what is kept for each of them must not grow with their number. Contract: at most
//! `most` values are kept. What was asked for longest ago goes first, and what somebody still holds only where all are held.

use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Recent<K, V: ?Sized> {
    most: usize,
    /// The one that was asked for last comes last.
    kept: Vec<(K, Arc<V>)>,
}

impl<K, V: ?Sized> Recent<K, V> {
    pub(crate) fn new(most: usize) -> Recent<K, V> {
        Recent { most, kept: Vec::new() }
    }

    /// The value of the key that fits, or the one that is made now.
    pub(crate) fn get_or_make<E>(&mut self, fits: impl Fn(&K) -> bool, make: impl FnOnce() -> Result<(K, Arc<V>), E>) -> Result<Arc<V>, E> {
        let entry = match self.kept.iter().position(|(key, _)| fits(key)) {
            Some(index) => self.kept.remove(index),
            None => {
                let made = make()?;
                if self.kept.len() >= self.most {
                    let idle = self.kept.iter().position(|(_, value)| Arc::strong_count(value) == 1);
                    self.kept.remove(idle.unwrap_or_default());
                }
                made
            }
        };
        let value = entry.1.clone();
        self.kept.push(entry);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a key, and whether it had to be made.
    fn get(recent: &mut Recent<u32, u32>, key: u32) -> (Arc<u32>, bool) {
        let mut is_made = false;
        let make = || {
            is_made = true;
            Ok::<_, ()>((key, Arc::new(key)))
        };
        (recent.get_or_make(|known| *known == key, make).unwrap(), is_made)
    }

    #[test]
    fn what_was_asked_for_last_is_kept_and_what_is_held_stays_longer() {
        let mut recent = Recent::new(3);
        for key in [1, 2, 3, 1, 4] {
            get(&mut recent, key);
        }
        assert!(!get(&mut recent, 1).1 && !get(&mut recent, 3).1 && !get(&mut recent, 4).1, "2 went");
        let (held, _) = get(&mut recent, 1);
        for key in 5..50 {
            assert!(get(&mut recent, key).1);
        }
        assert_eq!(recent.kept.len(), 3);
        assert!(Arc::ptr_eq(&held, &get(&mut recent, 1).0));
    }

    #[test]
    fn no_more_is_kept_where_all_is_held() {
        let mut recent = Recent::new(3);
        let held: Vec<_> = (0..20).map(|key| get(&mut recent, key).0).collect();
        assert_eq!((held.len(), recent.kept.len()), (20, 3));
        assert!(recent.get_or_make(|_| false, || Err(7)) == Err(7) && recent.kept.len() == 3);
    }
}
