//! The keyed permutation of the rows of a shuffle window.
//!
//! Contract: a pure function of seed, epoch, lane, part and number of rows, the same for ever: a cursor of last year's run must find its rows.
//! That is why the generator stands here and comes from no library. Fisher and Yates' shuffle over the SplitMix64 sequence; a number below
//! a bound is the upper half of a 128-bit product.

use fastdata_types::lanes::ShuffleKey;

struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// `0..rows` in the order in which a window yields its rows.
pub(super) fn permutation(key: ShuffleKey, lane: u32, part: u32, rows: u32) -> Vec<u32> {
    let mut state = 0;
    for word in [key.seed, key.epoch, u64::from(lane), u64::from(part)] {
        state = SplitMix64(state ^ word).next();
    }
    let mut random = SplitMix64(state);
    let mut order: Vec<u32> = (0..rows).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, random.below(last as u64 + 1) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_a_key_never_changes() {
        let key = ShuffleKey { seed: 7, epoch: 1 };
        assert_eq!(permutation(key, 2, 3, 10), EXPECTED);
    }

    /// Written down when the order was chosen.
    const EXPECTED: [u32; 10] = [3, 1, 8, 0, 7, 4, 9, 5, 2, 6];

    #[test]
    fn each_row_once_and_another_order_for_another_key_lane_or_part() {
        let key = ShuffleKey { seed: 7, epoch: 1 };
        let orders = [
            permutation(key, 0, 0, 1000),
            permutation(key, 1, 0, 1000),
            permutation(key, 0, 1, 1000),
            permutation(ShuffleKey { seed: 8, ..key }, 0, 0, 1000),
            permutation(ShuffleKey { epoch: 2, ..key }, 0, 0, 1000),
        ];
        for (number, order) in orders.iter().enumerate() {
            assert!(orders[number + 1..].iter().all(|other| other != order));
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert!(sorted.iter().copied().eq(0..1000));
            assert_ne!(*order, sorted);
        }
        assert_eq!(permutation(key, 0, 0, 0), Vec::<u32>::new());
        assert_eq!(permutation(key, 0, 0, 1), [0]);
    }

    #[test]
    fn every_place_is_as_likely_for_every_row() {
        let mut hits = [[0u32; 4]; 4];
        for seed in 0..4000 {
            for (place, row) in permutation(ShuffleKey { seed, epoch: 0 }, 0, 0, 4).into_iter().enumerate() {
                hits[place][row as usize] += 1;
            }
        }
        assert!(hits.iter().flatten().all(|count| (850..1150).contains(count)), "{hits:?}");
    }
}
