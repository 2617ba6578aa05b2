//! The batches of one rank: its lanes as batches of an exact size, with a cursor behind each.
//!
//! Problem: a training loop wants full batches in an order that it can take up again anywhere. Contract: which row comes next is a function of the
//! positions of the rank's lanes and the size of batches, so a feed that begins at a cursor goes on as the one that was stopped. Within a lane rows keep its order.
//! Rows that repeat to fill a rank up ([`Last::Pad`]) do not move the cursor.
//!
//! How: the rank's lanes are cut into a few runs of neighbours. A run is read lane after lane, so that a row group which several of them have rows
//! of is read once; each batch comes from the run that has yielded least, and from the next where that run ends. Runs are read ahead by tasks of their own, and so
//! is the feed. Each run has an equal part of the memory: where that does not suffice the feed fails, rather than give another order.

use super::exact::join;
use super::planned::{LaneMeans, LaneRows, Planned};
use super::shares::Share;
use super::steps::{Last, Steps};
use super::within::within;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use fastdata_types::ahead::ahead;
use fastdata_types::lanes::{Cursor, LanePosition, lanes_of_rank};
use fastdata_types::size::batch_bytes;
use fastdata_types::stats::StatsCollector;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A batch is held in memory whole.
const MOST_BATCH_ROWS: usize = 1 << 24;

#[derive(Debug, Clone)]
pub struct FeedOptions {
    pub rank: u32,
    pub world: u32,
    pub batch_rows: usize,
    pub last: Last,
    /// Places that the rank reads at a time.
    pub interleave: usize,
    /// Where the lanes begin; at their beginnings without one.
    pub cursor: Option<Cursor>,
}

/// A batch, and where its lanes stand behind it.
#[derive(Debug, Clone)]
struct Fed {
    pub batch: RecordBatch,
    pub moved: Vec<(u32, LanePosition)>,
}

pub struct Feed {
    pub schema: SchemaRef,
    pub stats: Arc<StatsCollector>,
    /// `None` for [`Last::Uneven`].
    pub steps: Option<Steps>,
    cursor: Cursor,
    batches: BoxStream<'static, Result<Fed>>,
    timeout: Option<Duration>,
    /// Given back when the feed is dropped, whenever its tasks end.
    _share: Share,
}

impl Feed {
    /// The next batch; `None` behind the last. Safe to drop while it waits.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(fed) = within(self.timeout, "a batch", self.batches.try_next()).await? else { return Ok(None) };
        fed.moved.into_iter().for_each(|(lane, position)| self.cursor.advance(lane, position));
        Ok(Some(fed.batch))
    }

    /// Behind the last batch that [`next`](Feed::next) gave out.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }
}

impl Planned {
    /// The batches of a rank. Counts rows first, where ranks are to take as many. Must be called within a tokio runtime.
    pub async fn feed(&self, options: FeedOptions) -> Result<Feed> {
        if options.batch_rows == 0 || options.interleave == 0 {
            return Err(Error::invalid(Stage::Request, "batches of 0 rows, or 0 places to read at a time").advice("give at least 1"));
        }
        if options.batch_rows > MOST_BATCH_ROWS {
            return Err(Error::invalid(Stage::Request, format!("batches of {} rows", options.batch_rows))
                .advice(format!("a batch has {MOST_BATCH_ROWS} rows at most")));
        }
        let cursor = options.cursor.clone().unwrap_or_else(|| self.start());
        self.check(&cursor)?;
        let owned = lanes_of_rank(self.lanes(), options.rank, options.world)?;
        let steps = match options.last {
            Last::Uneven => None,
            last => {
                let left = left(self.counts().await?, &cursor)?;
                Steps::of(last, &left, options.rank, options.world, options.batch_rows as u64)?
            }
        };
        let share = self.share()?;
        let stats = self.stats();
        let share_bytes = share.bytes();
        let queue = share_bytes / 8;
        let work = Work {
            runs: Run::of(&owned, options.interleave, |lane| cursor.position(lane)),
            source: Source { planned: self.clone(), stats: Arc::clone(&stats), bytes: share.bytes() - queue },
            batch_rows: options.batch_rows,
            last: options.last,
            steps_left: steps.map(|steps| steps.batches),
            repeats: None,
            owned,
        };
        let (shares, given, places) = (self.shares(), share_bytes, work.runs.len());
        let batches = futures::stream::try_unfold(work, |mut work| async move { Ok(work.next().await?.map(|fed| (fed, work))) });
        let explained = move |error: Error| match error.kind() {
            ErrorKind::BudgetTooSmall if places > 1 => shares
                .explained(
                    error.context(format!("each of the {places} places that the rank reads at has a part of {} MiB", given >> 20)),
                    given,
                )
                .advice("give the lake more memory, or read at fewer places (interleave=1), or shuffle smaller windows"),
            _ => shares.explained(error, given),
        };
        let batches = batches.map_err(explained);
        let batches = ahead(batches, queue, |fed: &Fed| batch_bytes(&fed.batch), "preparing batches".to_owned());
        Ok(Feed { schema: Arc::clone(self.schema()), stats, steps, cursor, batches, timeout: self.timeout(), _share: share })
    }
}

/// Rows that each lane has left behind a cursor.
fn left(counts: &[u64], cursor: &Cursor) -> Result<Vec<u64>> {
    let of = |(count, lane): (&u64, u32)| {
        let at = cursor.position(lane).rows;
        count.checked_sub(at).ok_or_else(|| {
            Error::invalid(Stage::Request, format!("the cursor is at row {at} of lane {lane}, which has {count}"))
                .advice("resume from a cursor as it was given out, unchanged")
        })
    };
    counts.iter().zip(0..).map(of).collect()
}

/// Where lanes come from, and what they may use together.
#[derive(Clone)]
struct Source {
    planned: Planned,
    stats: Arc<StatsCollector>,
    bytes: u64,
}

/// Neighbouring lanes of the rank, read one after the other.
struct Run {
    /// With the position behind the last row that was taken; the one that is being read comes first.
    lanes: VecDeque<(u32, LanePosition)>,
    /// Rows that its lanes have yielded, those that are done included.
    yielded: u64,
    rows: Option<BoxStream<'static, Result<LaneRows>>>,
    /// What came and was not taken.
    pending: Option<LaneRows>,
}

impl Run {
    fn of(owned: &[u32], runs: usize, position: impl Fn(u32) -> LanePosition) -> Vec<Run> {
        let length = owned.len().div_ceil(runs).max(1);
        let run = |lanes: &[u32]| {
            let lanes: VecDeque<_> = lanes.iter().map(|lane| (*lane, position(*lane))).collect();
            Run { yielded: lanes.iter().map(|(_, position)| position.rows).sum(), lanes, rows: None, pending: None }
        };
        owned.chunks(length).map(run).collect()
    }

    /// The next rows as they come, starting to read if need be.
    async fn next(&mut self, source: &Source, runs: usize) -> Result<Option<LaneRows>> {
        if let Some(pending) = self.pending.take() {
            return Ok(Some(pending));
        }
        self.start(source, runs)?;
        match &mut self.rows {
            Some(rows) => rows.try_next().await,
            None => Ok(None),
        }
    }

    /// Reads ahead, with its part of the memory.
    fn start(&mut self, source: &Source, runs: usize) -> Result<()> {
        if self.rows.is_none() && !self.lanes.is_empty() {
            let part = source.bytes / runs.max(1) as u64;
            let means = LaneMeans { decode: part / 8 * 7, queue: part / 8, stats: Arc::clone(&source.stats) };
            self.rows = Some(source.planned.read(self.lanes.iter().copied().collect(), &means)?);
        }
        Ok(())
    }
}

struct Work {
    source: Source,
    owned: Vec<u32>,
    runs: Vec<Run>,
    batch_rows: usize,
    last: Last,
    steps_left: Option<u64>,
    /// The rank's rows once more, while it is padded.
    repeats: Option<Box<Work>>,
}

impl Work {
    async fn next(&mut self) -> Result<Option<Fed>> {
        match &mut self.steps_left {
            Some(0) => return Ok(None),
            Some(left) => *left -= 1,
            None => {}
        }
        let (mut parts, mut moved, mut need) = (Vec::new(), Vec::new(), self.batch_rows);
        // A turn ends with rows, never where a decoded batch happens to.
        let mut turn = None;
        while need > 0 {
            let Some((batch, lane, position)) = self.take(need, &mut turn).await? else { break };
            need -= batch.num_rows();
            parts.push(batch);
            moved.push((lane, position));
        }
        match self.last {
            Last::Uneven if parts.is_empty() => return Ok(None),
            Last::Drop if need > 0 => {
                return Err(Error::internal(Stage::Request, "the rank's lanes have fewer rows than were counted"));
            }
            Last::Pad if need > 0 => self.repeat(need, &mut parts).await?,
            _ => {}
        }
        Ok(Some(Fed { batch: join(parts)?, moved }))
    }

    /// Up to `most` rows of the run whose turn it is, their lane, and the position behind them; `None` when all runs are done. A run's `turn` goes on
    /// until it is done.
    async fn take(&mut self, most: usize, turn: &mut Option<usize>) -> Result<Option<(RecordBatch, u32, LanePosition)>> {
        loop {
            let count = self.runs.len();
            for run in &mut self.runs {
                run.start(&self.source, count)?;
            }
            let left = |run: &Run| !run.lanes.is_empty();
            let at = turn.filter(|at| self.runs.get(*at).is_some_and(left)).or_else(|| {
                let runs = self.runs.iter().enumerate().filter(|(_, run)| left(run));
                runs.min_by_key(|(_, run)| run.yielded).map(|(at, _)| at)
            });
            *turn = at;
            let Some(run) = at.and_then(|at| self.runs.get_mut(at)) else { return Ok(None) };
            let next = run.next(&self.source, count).await?;
            let Some(LaneRows { lane, batch, position: behind }) = next else {
                (run.rows, run.lanes) = (None, VecDeque::new());
                continue;
            };
            // Lanes before it are done.
            while run.lanes.front().is_some_and(|(first, _)| *first != lane) {
                run.lanes.pop_front();
            }
            let rows = batch.num_rows().min(most);
            let over = batch.num_rows() - rows;
            let mut position = behind;
            if over > 0 {
                position = behind.before(over as u64, &self.source.planned.digest(), self.source.planned.shuffle(), lane);
                run.pending = Some(LaneRows { lane, batch: batch.slice(rows, over), position: behind });
            }
            run.yielded += rows as u64;
            if let Some((_, at)) = run.lanes.front_mut() {
                *at = position;
            }
            if rows > 0 {
                return Ok(Some((batch.slice(0, rows), lane, position)));
            }
        }
    }

    /// `need` rows from the beginning of the rank's lanes, and again from there.
    async fn repeat(&mut self, mut need: usize, parts: &mut Vec<RecordBatch>) -> Result<()> {
        let (mut fruitless, mut turn) = (false, None);
        while need > 0 {
            let repeats = match &mut self.repeats {
                Some(repeats) => repeats,
                None => {
                    let again = Work {
                        source: self.source.clone(),
                        owned: self.owned.clone(),
                        runs: Run::of(&self.owned, self.runs.len(), |_| LanePosition::default()),
                        batch_rows: self.batch_rows,
                        last: Last::Uneven,
                        steps_left: None,
                        repeats: None,
                    };
                    self.repeats.insert(Box::new(again))
                }
            };
            match Box::pin(repeats.take(need, &mut turn)).await? {
                Some((batch, ..)) => {
                    need -= batch.num_rows();
                    fruitless = false;
                    parts.push(batch);
                }
                None if fruitless => {
                    return Err(Error::invalid(Stage::Request, format!("the lanes {:?} of this rank have no rows to repeat", self.owned))
                        .advice("use \"drop\" or \"uneven\", or fewer ranks"));
                }
                None => (self.repeats, fruitless) = (None, true),
            }
        }
        Ok(())
    }
}
