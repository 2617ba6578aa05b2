//! Lanes: the deterministic sequences that a scan is cut into, positions in them, and cursors over all of them.
//!
//! Problem: a training run must restart on another number of ranks, servers or threads with no row lost and none repeated. Contract: a
//! [`LanePlan`] is a pure function of the table's metadata and the request; a lane yields the same rows in the same order wherever it is
//! read; a [`LanePosition`] is the number of rows it has yielded. Ranks own lanes ([`lanes_of_rank`]), so another number of ranks only regroups
//! them. A [`Cursor`] is the positions of all lanes of one plan; the cursors of all ranks merge into one.
//!
//! A position may carry a hint: the part of the lane it lies in and the rows yielded of that part. It makes resuming cheap and is sealed
//! against accidents by a checksum; without it a lane is counted from its start.

use crate::error::{Error, ErrorKind, Result, Stage};
use crate::plan::Block;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use xxhash_rust::xxh3::xxh3_64;

/// Goes into every digest: two versions of fastdata that cut or order lanes differently refuse one another's cursors.
pub const LANE_PLAN_VERSION: u32 = 3;

/// A scan has at most this many lanes.
pub const MAX_LANES: u32 = 4096;

/// What a lane plan was made of: table, snapshot, schema, filter and the columns it reads, lanes, blocks. Equal digests mean equal lanes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlanDigest(pub [u8; 16]);

impl fmt::Display for PlanDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PlanDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PlanDigest {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid(Stage::Request, format!("plan digest '{}'", text.chars().take(40).collect::<String>()));
        if text.len() != 32 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 16];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(PlanDigest(bytes))
    }
}

impl Serialize for PlanDigest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PlanDigest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A scan cut into lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanePlan {
    pub digest: PlanDigest,
    pub snapshot_id: Option<i64>,
    pub schema_id: i32,
    /// The key of the shuffle; `None` where lanes are in table order.
    pub shuffle: Option<ShuffleKey>,
    pub lanes: Vec<Lane>,
}

/// Which of the orders of a shuffled scan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShuffleKey {
    #[serde(with = "crate::request::uint64_string")]
    pub seed: u64,
    #[serde(with = "crate::request::uint64_string")]
    pub epoch: u64,
}

/// One deterministic sequence of rows: its parts one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lane {
    pub number: u32,
    pub parts: Vec<Part>,
}

/// What is read together: one block, or the blocks of one shuffle window in table order, whose rows are then permuted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub blocks: Vec<Block>,
    /// Rows by the manifests, before filters and deletes.
    pub rows: u64,
}

impl Lane {
    /// Rows by the manifests, before filters and deletes.
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).fold(0, u64::saturating_add)
    }
}

impl LanePlan {
    pub fn lane(&self, number: u32) -> Result<&Lane> {
        self.lanes.get(number as usize).ok_or_else(|| {
            Error::invalid(Stage::Request, format!("lane {number} of a plan of {} lanes", self.lanes.len()))
                .advice("lanes are numbered from 0")
        })
    }

    /// The plan in which a lane has only some of its parts (half open). Positions in it count from the first of them, and belong to plans with the
    /// same first part.
    pub fn part_of(&self, number: u32, (first, end): (u32, u32)) -> Result<LanePlan> {
        let lane = self.lane(number)?;
        let end = (end as usize).min(lane.parts.len());
        let parts = lane.parts.get(first as usize..end).ok_or_else(|| {
            Error::invalid(Stage::Request, format!("parts {first} to {end} of lane {number}, which has {}", lane.parts.len()))
        })?;
        let mut plan = self.clone();
        if let Some(lane) = plan.lanes.get_mut(number as usize) {
            *lane = Lane { number, parts: parts.to_vec() };
        }
        if first > 0 {
            let hash = xxhash_rust::xxh3::xxh3_128(&[self.digest.0.as_slice(), &first.to_le_bytes()].concat());
            plan.digest = PlanDigest(hash.to_le_bytes());
        }
        Ok(plan)
    }

    /// Where the rest of a lane behind a position can be cut in two of about equal size: the first part of the second half. `None` where
    /// the rest is one part, or where the position does not say which part it lies in.
    pub fn middle(&self, number: u32, position: &LanePosition) -> Result<Option<u32>> {
        let lane = self.lane(number)?;
        let first = match position.hint {
            Some(hint) => hint.part,
            None if position.rows == 0 => 0,
            None => return Ok(None),
        };
        let rest = lane.parts.get(first as usize..).unwrap_or_default();
        let half = rest.iter().map(|part| part.rows).fold(0, u64::saturating_add) / 2;
        let mut before = 0u64;
        let taken = rest.iter().take_while(|part| {
            before = before.saturating_add(part.rows);
            before <= half
        });
        let taken = taken.count().max(1);
        Ok((taken < rest.len()).then(|| first + taken as u32))
    }

    /// The lane that a position belongs to and a position that can be trusted, or why not.
    pub fn check(&self, number: u32, position: &LanePosition) -> Result<()> {
        let lane = self.lane(number)?;
        let Some(hint) = position.hint else { return Ok(()) };
        let wrong = |what: &str| {
            Error::invalid(Stage::Request, format!("position in lane {number}: {what}"))
                .advice("resume from a position or cursor as it was given out, unchanged")
        };
        if hint.check != hint.expected(&self.digest, self.shuffle, number, position.rows) {
            return Err(wrong("its hint does not belong to this plan, lane and row"));
        }
        if hint.part as usize > lane.parts.len() {
            return Err(wrong("it lies beyond the lane's end"));
        }
        Ok(())
    }
}

/// How far a lane was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LanePosition {
    /// Rows that the lane has yielded.
    #[serde(with = "crate::request::uint64_string")]
    pub rows: u64,
    /// Where that is, so that what came before need not be read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hint {
    /// Parts of the lane that were read to their end.
    pub part: u32,
    /// Rows that the part after those has yielded.
    #[serde(with = "crate::request::uint64_string")]
    pub offset: u64,
    /// Over plan, shuffle, lane and this position.
    pub check: u32,
}

impl Hint {
    fn expected_of(digest: &PlanDigest, shuffle: Option<ShuffleKey>, lane: u32, rows: u64, part: u32, offset: u64) -> u32 {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&digest.0);
        let key = shuffle.map_or([0, 0, 0], |key| [1, key.seed, key.epoch]);
        for word in [key[0], key[1], key[2], u64::from(lane), rows, u64::from(part), offset] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        xxh3_64(&bytes) as u32
    }

    fn expected(&self, digest: &PlanDigest, shuffle: Option<ShuffleKey>, lane: u32, rows: u64) -> u32 {
        Hint::expected_of(digest, shuffle, lane, rows, self.part, self.offset)
    }
}

impl LanePosition {
    /// The position after `rows` rows of a lane, of which `offset` are of the part with number `part`.
    pub fn new(plan: &LanePlan, lane: u32, rows: u64, part: u32, offset: u64) -> LanePosition {
        let check = Hint::expected_of(&plan.digest, plan.shuffle, lane, rows, part, offset);
        LanePosition { rows, hint: Some(Hint { part, offset, check }) }
    }

    /// The position `rows` rows before this one, which is that behind a batch of at least so many rows. It keeps its hint where those rows are of one part.
    pub fn before(&self, rows: u64, digest: &PlanDigest, shuffle: Option<ShuffleKey>, lane: u32) -> LanePosition {
        let left = self.rows.saturating_sub(rows);
        let hint = self.hint.and_then(|hint| {
            let offset = hint.offset.checked_sub(rows)?;
            Some(Hint { offset, check: Hint::expected_of(digest, shuffle, lane, left, hint.part, offset), ..hint })
        });
        LanePosition { rows: left, hint }
    }

    pub fn after(rows: u64) -> LanePosition {
        LanePosition { rows, hint: None }
    }
}

/// The positions of all lanes of one plan: a few hundred bytes, safe to keep in a model checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cursor {
    pub plan_digest: PlanDigest,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::request::int64_string")]
    pub snapshot_id: Option<i64>,
    /// With the snapshot, what a request names to be planned so again. The digest covers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_id: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffle: Option<ShuffleKey>,
    pub lanes: u32,
    /// Lanes that yielded nothing yet are left out.
    #[serde(default)]
    pub positions: BTreeMap<u32, LanePosition>,
}

impl Cursor {
    /// At the start of every lane.
    pub fn start(plan: &LanePlan) -> Cursor {
        Cursor {
            plan_digest: plan.digest,
            snapshot_id: plan.snapshot_id,
            schema_id: Some(plan.schema_id),
            shuffle: plan.shuffle,
            lanes: plan.lanes.len() as u32,
            positions: BTreeMap::new(),
        }
    }

    pub fn position(&self, lane: u32) -> LanePosition {
        self.positions.get(&lane).copied().unwrap_or_default()
    }

    pub fn advance(&mut self, lane: u32, position: LanePosition) {
        self.positions.insert(lane, position);
    }

    /// The cursors of all ranks as one. Each lane is where the furthest of them says.
    pub fn merge(cursors: impl IntoIterator<Item = Cursor>) -> Result<Cursor> {
        let mut cursors = cursors.into_iter();
        let mut merged = cursors.next().ok_or_else(|| Error::invalid(Stage::Request, "no cursors to merge"))?;
        for other in cursors {
            let same = (merged.plan_digest, merged.snapshot_id, merged.shuffle, merged.lanes)
                == (other.plan_digest, other.snapshot_id, other.shuffle, other.lanes);
            if !same {
                return Err(Error::new(ErrorKind::PlanMismatch, Stage::Request, "the cursors are of different plans, snapshots or epochs")
                    .advice("merge the cursors of one epoch of one run only"));
            }
            for (lane, position) in other.positions {
                let known = merged.positions.entry(lane).or_insert(position);
                if position.rows > known.rows {
                    *known = position;
                }
            }
        }
        Ok(merged)
    }

    /// Refuses a cursor of another plan.
    pub fn check(&self, plan: &LanePlan) -> Result<()> {
        let mismatch = |what: String| {
            Err(Error::new(ErrorKind::PlanMismatch, Stage::Request, what).advice(
                "resume with the table, snapshot, filter, lanes and shuffle that the cursor was made with; an expired snapshot cannot be resumed",
            ))
        };
        if self.snapshot_id != plan.snapshot_id {
            let name = |id: Option<i64>| id.map_or("none".to_owned(), |id| id.to_string());
            return mismatch(format!("the cursor is of snapshot {}, the plan of {}", name(self.snapshot_id), name(plan.snapshot_id)));
        }
        if self.shuffle != plan.shuffle {
            return mismatch("the cursor is of another shuffle seed or epoch than the plan".to_owned());
        }
        if self.plan_digest != plan.digest || self.lanes as usize != plan.lanes.len() {
            return mismatch(format!("the cursor is of plan {}, this is plan {}", self.plan_digest, plan.digest));
        }
        self.positions.iter().try_for_each(|(lane, position)| plan.check(*lane, position))
    }
}

/// The lanes of one rank: those congruent to `rank` modulo `world`.
pub fn lanes_of_rank(lanes: u32, rank: u32, world: u32) -> Result<Vec<u32>> {
    if rank >= world {
        return Err(Error::invalid(Stage::Request, format!("rank {rank} of a world of {world}"))
            .advice("ranks count from 0 to one less than the world's size"));
    }
    if world > lanes {
        return Err(Error::invalid(Stage::Request, format!("{world} ranks and {lanes} lanes: a rank would have none"))
            .advice(format!("plan at least {world} lanes; their number cannot change within a run")));
    }
    Ok((rank..lanes).step_by(world as usize).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(lanes: u32) -> LanePlan {
        let part = Part { blocks: vec![Block::bytes(0, 0, 10)], rows: 10 };
        let lanes = (0..lanes).map(|number| Lane { number, parts: vec![part.clone(), part.clone()] }).collect();
        LanePlan { digest: PlanDigest([7; 16]), snapshot_id: Some(1), schema_id: 0, shuffle: Some(ShuffleKey { seed: 1, epoch: 2 }), lanes }
    }

    #[test]
    fn every_lane_has_one_rank_whatever_the_world() {
        for world in 1..=8 {
            let mut owned: Vec<u32> = (0..world).flat_map(|rank| lanes_of_rank(8, rank, world).unwrap()).collect();
            owned.sort_unstable();
            assert_eq!(owned, (0..8).collect::<Vec<_>>(), "{world} ranks");
        }
        let error = lanes_of_rank(4, 0, 6).unwrap_err();
        assert!(error.message().contains("6 ranks") && error.advice_text().unwrap().contains("at least 6 lanes"), "{error}");
        assert!(lanes_of_rank(4, 2, 2).is_err());
    }

    #[test]
    fn cursors_of_all_ranks_merge_and_survive_json() {
        let plan = plan(4);
        let (mut a, mut b) = (Cursor::start(&plan), Cursor::start(&plan));
        a.advance(0, LanePosition::new(&plan, 0, 5, 0, 5));
        a.advance(2, LanePosition::after(u64::MAX));
        b.advance(1, LanePosition::new(&plan, 1, 12, 1, 2));
        b.advance(0, LanePosition::after(3));
        let merged = Cursor::merge([b, a]).unwrap();
        assert_eq!([0, 1, 2, 3].map(|lane| merged.position(lane).rows), [5, 12, u64::MAX, 0]);
        let json = serde_json::to_string(&merged).unwrap();
        assert_eq!(serde_json::from_str::<Cursor>(&json).unwrap(), merged);
        assert!(merged.check(&plan).is_ok());
    }

    #[test]
    fn a_cursor_of_another_plan_snapshot_or_epoch_is_refused() {
        let plan = plan(2);
        let cursor = Cursor::start(&plan);
        let others = [
            LanePlan { digest: PlanDigest([8; 16]), ..plan.clone() },
            LanePlan { snapshot_id: Some(2), ..plan.clone() },
            LanePlan { snapshot_id: None, ..plan.clone() },
            LanePlan { shuffle: None, ..plan.clone() },
            LanePlan { shuffle: Some(ShuffleKey { seed: 1, epoch: 3 }), ..plan.clone() },
            LanePlan { lanes: plan.lanes[..1].to_vec(), ..plan.clone() },
        ];
        for other in others {
            assert_eq!(cursor.check(&other).unwrap_err().kind(), ErrorKind::PlanMismatch, "{other:?}");
            assert_eq!(Cursor::merge([cursor.clone(), Cursor::start(&other)]).unwrap_err().kind(), ErrorKind::PlanMismatch);
        }
    }

    #[test]
    fn an_altered_hint_is_refused() {
        let plan = plan(3);
        let good = LanePosition::new(&plan, 1, 15, 1, 5);
        assert!(plan.check(1, &good).is_ok());
        let hint = good.hint.unwrap();
        let altered = [
            LanePosition { rows: 14, hint: Some(hint) },
            LanePosition { rows: 15, hint: Some(Hint { part: 0, ..hint }) },
            LanePosition { rows: 15, hint: Some(Hint { offset: 6, ..hint }) },
            LanePosition::new(&plan, 1, 15, 3, 0),
        ];
        for position in altered {
            assert!(plan.check(1, &position).is_err(), "{position:?}");
        }
        assert!(plan.check(2, &good).is_err(), "another lane");
        assert!(plan.check(3, &LanePosition::default()).is_err(), "no such lane");
        let other = LanePlan { shuffle: None, ..plan.clone() };
        assert!(other.check(1, &good).is_err(), "another order");
    }

    #[test]
    fn digests_have_one_spelling() {
        let digest = PlanDigest([0xa5; 16]);
        assert_eq!(digest.to_string().parse::<PlanDigest>().unwrap(), digest);
        for bad in ["", "a5", &"g".repeat(32), &"é".repeat(16), &"a".repeat(33)] {
            assert!(bad.parse::<PlanDigest>().is_err(), "{bad}");
        }
    }
}
