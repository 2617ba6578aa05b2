//! How many batches a rank takes, so that all take as many.
//!
//! Contract: a function of the rows that each lane has left. With [`Last::Drop`] every rank takes the batches that the poorest can fill, with
//! [`Last::Pad`] those that the richest needs, its rows repeated from its first where they do not suffice. With [`Last::Uneven`] nothing is
//! counted: each rank takes its rows, once.

use fastdata_types::lanes::lanes_of_rank;
use fastdata_types::{Error, Result, Stage};

/// What happens to rows that do not fill a batch, and to ranks that have fewer than others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// All ranks stop where the first would run out.
    Drop,
    /// Ranks that run out begin again, until the last is done.
    Pad,
    /// Each rank yields its rows once; its last batch is shorter.
    Uneven,
}

/// What one rank takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// Batches from here on, all full.
    pub batches: u64,
    /// Rows of this rank that are left out.
    pub dropped: u64,
    /// Rows of this rank that come again.
    pub repeated: u64,
}

impl Steps {
    /// `left` are the rows of each lane from where its reading begins; `None` for [`Last::Uneven`].
    pub fn of(last: Last, left: &[u64], rank: u32, world: u32, batch_rows: u64) -> Result<Option<Steps>> {
        let lanes = left.len() as u32;
        let rows = |rank: u32| -> Result<u64> {
            let owned = lanes_of_rank(lanes, rank, world)?;
            Ok(owned.iter().filter_map(|lane| left.get(*lane as usize)).sum())
        };
        let own = rows(rank)?;
        let of_all = (0..world).map(rows).collect::<Result<Vec<u64>>>()?;
        match last {
            Last::Uneven => Ok(None),
            Last::Drop => {
                let batches = of_all.iter().min().map_or(0, |least| least / batch_rows);
                Ok(Some(Steps { batches, dropped: own - batches * batch_rows, repeated: 0 }))
            }
            Last::Pad => {
                let batches = of_all.iter().max().map_or(0, |most| most.div_ceil(batch_rows));
                let total = batches.checked_mul(batch_rows).ok_or_else(|| {
                    Error::invalid(Stage::Request, format!("batches of {batch_rows} rows")).advice("ask for smaller batches")
                })?;
                Ok(Some(Steps { batches, dropped: 0, repeated: total - own }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ranks_take_as_many_batches() {
        let left = [10, 20, 30, 7, 0];
        for (last, world, rows) in [(Last::Drop, 2, 4), (Last::Drop, 3, 4), (Last::Pad, 2, 4), (Last::Pad, 5, 4), (Last::Drop, 5, 1)] {
            let steps: Vec<Steps> = (0..world).map(|rank| Steps::of(last, &left, rank, world, rows).unwrap().unwrap()).collect();
            assert!(steps.iter().all(|of| of.batches == steps[0].batches), "{last:?} {world}: {steps:?}");
            let yielded: u64 = steps.iter().map(|of| of.batches * rows).sum();
            let (dropped, repeated) = steps.iter().fold((0, 0), |(d, r), of| (d + of.dropped, r + of.repeated));
            assert_eq!(yielded + dropped, 67 + repeated, "{last:?} {world}: each row is yielded, dropped, or counted as repeated");
        }
        assert_eq!(Steps::of(Last::Uneven, &left, 1, 2, 4).unwrap(), None);
        assert!(Steps::of(Last::Drop, &left, 0, 6, 4).unwrap_err().advice_text().unwrap().contains("at least 6 lanes"));
    }
}
