//! One lane on its way to one client: read, cut into messages, sent, and ended with a record of what was sent.
//!
//! Contract: every data message carries the position behind it; the last message is the end record, and without it the stream is not whole. A
//! reader that panics ends its own stream with `internal`. Where nothing goes out for [`KEEP_ALIVE`], an empty batch does. Dropping an
//! [`Outgoing`] ends the task that feeds it, and with it every fetch and decode job.
//!
//! How: a task reads the lane within a share of the budget and puts messages into a channel of one; the response takes them out. A client
//! that stops reading holds what is in the channel and in its connection's window. When it has held up the task for a while, the task
//! drops reader and share and, once the client reads again, takes a share and goes on from the position behind its last message.

use super::admission::Open;
use super::running::Run;
use super::status::status_of;
use super::wire::{Encoder, Kind, Message, Opening, rows_for};
use crate::engine::{Engine, Lanes, Means};
use crate::telemetry::ScanRecord;
use arrow::array::RecordBatch;
use bytes::Bytes;
use fastdata_types::lanes::LanePosition;
use fastdata_types::proto::{EndRecord, StreamEvent, StreamMetadata};
use fastdata_types::request::Compression;
use fastdata_types::stats::{ScanStats, StatsCollector};
use fastdata_types::{Error, ErrorKind, MemoryBudget, Result, Stage};
use futures::StreamExt;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use xxhash_rust::xxh3::Xxh3;

/// A stream with nothing to send sends a sign of life this often.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A client that takes nothing for this long gives its share to those who wait for one ...
const STALLED: Duration = Duration::from_secs(2);
/// ... and for this long in any case.
const IDLE: Duration = Duration::from_secs(30);
/// Messages begin small and double, so that streams which are opened and not read cost little.
const FIRST_MESSAGE: usize = 64 << 10;

/// What is read, and from where.
pub struct Source {
    pub engine: Engine,
    pub lanes: Lanes,
    pub lane: u32,
    pub start: LanePosition,
    pub stats: Arc<StatsCollector>,
    /// Whether the statistics would tell the caller of rows that they may not see.
    pub restricted: bool,
}

/// What lasts as long as a stream: its line in the log and its place among those that CancelFlightInfo ends.
pub struct Held {
    pub record: ScanRecord,
    pub run: Run,
}

/// What went out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sent {
    rows: u64,
    bytes: u64,
}

enum Item {
    Batch { messages: Vec<Message>, rows: u64, position: LanePosition },
    End(LanePosition),
    Failed(Error),
}

/// The response body's frames, one after the other.
pub struct Outgoing {
    items: mpsc::Receiver<Item>,
    _task: Task,
    ready: VecDeque<Bytes>,
    empty: Message,
    position: LanePosition,
    sent: Sent,
    hasher: Xxh3,
    stats: Arc<StatsCollector>,
    restricted: bool,
    started: Instant,
    held: Held,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Whole, and all but the status has gone out.
    Closing,
    Closed,
}

/// A task that does not outlive its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A frame of the response.
pub enum Next {
    Data(Bytes),
    /// The last: whether and why the stream failed.
    Status(Status),
}

/// Starts reading; call it inside a tokio runtime.
pub fn start(source: Source, open: Open, most: usize, held: Held) -> Result<Outgoing> {
    let schema = source.lanes.schema()?;
    let Opening { encoder, schema, dictionaries, empty } = Encoder::open(&schema, source.lanes.request.compression)?;
    let (stats, position, restricted) = (Arc::clone(&source.stats), source.start, source.restricted);
    let (items, receiver) = mpsc::channel(1);
    let producer = Producer { position: source.start, source, open, encoder, most, target: FIRST_MESSAGE.min(most), items };
    let mut outgoing = Outgoing {
        items: receiver,
        _task: Task(tokio::spawn(producer.run(held.run.cancel.clone()))),
        ready: schema.frames(None).into(),
        empty,
        position,
        sent: Sent::default(),
        hasher: Xxh3::new(),
        stats,
        restricted,
        started: Instant::now(),
        held,
        state: State::Open,
    };
    dictionaries.into_iter().for_each(|message| outgoing.put(message, None));
    Ok(outgoing)
}

impl Outgoing {
    pub async fn next(&mut self) -> Option<Next> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(Next::Data(bytes));
            }
            match self.state {
                State::Open => {}
                State::Closing => {
                    self.state = State::Closed;
                    self.held.record.complete();
                    return Some(Next::Status(Status::ok("")));
                }
                State::Closed => return None,
            }
            match tokio::time::timeout(KEEP_ALIVE, self.items.recv()).await {
                Err(_) => self.put_batch(vec![self.empty.clone()], 0),
                Ok(Some(Item::Batch { messages, rows, position })) => {
                    self.position = position;
                    self.put_batch(messages, rows);
                }
                Ok(Some(Item::End(position))) => {
                    self.position = position;
                    self.end();
                    self.state = State::Closing;
                }
                Ok(Some(Item::Failed(error))) => return Some(self.fail(&error)),
                Ok(None) => {
                    let error = Error::internal(Stage::Serve, "the scan panicked; the server's log says where");
                    return Some(self.fail(&error));
                }
            }
        }
    }

    /// A batch with its dictionaries, and the position behind it.
    fn put_batch(&mut self, messages: Vec<Message>, rows: u64) {
        let metadata = StreamMetadata { of: Some(StreamEvent::Position(self.position.into())) };
        self.sent.rows += rows;
        self.stats.came(rows as usize, self.started);
        self.held.record.sent(rows, 0);
        for message in messages {
            let metadata = (message.kind == Kind::Batch).then_some(&metadata);
            self.put(message, metadata);
        }
    }

    fn put(&mut self, message: Message, metadata: Option<&StreamMetadata>) {
        self.count(&message);
        self.ready.extend(message.frames(metadata));
    }

    fn count(&mut self, message: &Message) {
        message.hash(&mut self.hasher);
        let bytes = message.body_len() as u64;
        self.sent.bytes += bytes;
        self.held.record.sent(0, bytes);
    }

    /// The record comes on an empty batch, whose own body it covers.
    fn end(&mut self) {
        let message = self.empty.clone();
        self.count(&message);
        let record = EndRecord {
            rows: self.sent.rows,
            bytes: self.sent.bytes,
            checksum: self.hasher.digest(),
            position: Some(self.position.into()),
            stats: Some(self.statistics().into()),
        };
        self.ready.extend(message.frames(Some(&StreamMetadata { of: Some(StreamEvent::End(record)) })));
    }

    fn statistics(&self) -> ScanStats {
        self.stats.total_us.store(self.started.elapsed().as_micros() as u64, Ordering::Relaxed);
        let stats = self.stats.snapshot();
        if self.restricted { stats.without_hidden() } else { stats }
    }

    fn fail(&mut self, error: &Error) -> Next {
        self.state = State::Closed;
        self.held.record.fail(error);
        Next::Status(status_of(error))
    }
}

struct Producer {
    source: Source,
    open: Open,
    encoder: Encoder,
    /// The largest message, and how large the next one may be.
    most: usize,
    target: usize,
    position: LanePosition,
    items: mpsc::Sender<Item>,
}

/// How reading with one share ended.
enum Left {
    End,
    /// The client does not read: the share is given up until it does.
    Parked(Item),
    /// The share is out of proportion: another one is taken for it.
    Unfair,
    Gone,
}

impl Producer {
    async fn run(mut self, cancel: CancellationToken) {
        let cancelled = Error::new(ErrorKind::Cancelled, Stage::Serve, "the plan's streams were cancelled");
        let result = tokio::select! {
            result = self.read() => result,
            () = cancel.cancelled() => Err(cancelled),
        };
        let last = match result {
            Ok(true) => Item::End(self.position),
            Ok(false) => return,
            Err(error) => Item::Failed(error),
        };
        // A client that is gone needs no last word.
        drop(self.items.send(last).await);
    }

    /// Reads to the end of the lane; false where the client went away.
    async fn read(&mut self) -> Result<bool> {
        // The least that is known to do.
        let mut least = 0;
        loop {
            let share = self.open.share().max(least);
            let permit = self.open.admit(share).await?;
            match self.read_within(share, least).await {
                Ok(Left::End) => return Ok(true),
                Ok(Left::Gone) => return Ok(false),
                Ok(Left::Unfair) => {}
                Ok(Left::Parked(item)) => {
                    drop(permit);
                    let waited = Instant::now();
                    if self.items.send(item).await.is_err() {
                        return Ok(false);
                    }
                    // The reader, which counts this otherwise, is gone.
                    StatsCollector::add(&self.source.stats.consumer_us, waited.elapsed().as_micros() as u64);
                }
                Err(error) if error.kind() == ErrorKind::BudgetTooSmall => {
                    least = self.open.larger(share).ok_or(error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn read_within(&mut self, share: u64, least: u64) -> Result<Left> {
        // A turn begins with the first rows: finding the place again may take a while.
        let (mut admitted, mut any) = (Instant::now(), false);
        // Messages in the channel and on their way out are part of the share.
        let message = self.most.min((share / 8) as usize).max(1);
        let means = Means { budget: MemoryBudget::new(share - 3 * message as u64), stats: Arc::clone(&self.source.stats) };
        let mut lanes = self.source.lanes.clone();
        lanes.request.batch_bytes = Some(lanes.request.batch_bytes().min(share / 8).max(1) as i64);
        let mut batches = self.source.engine.read_lanes(&lanes, vec![(self.source.lane, self.position)], means)?;
        while let Some(next) = batches.next().await {
            let next = next?;
            if !any {
                admitted = Instant::now();
            }
            let held = admitted.elapsed();
            // Between parts nothing is read again; a fair share is worth a block.
            let next_part = next.position.hint.map(|hint| hint.part) != self.position.hint.map(|hint| hint.part);
            if (share > least && self.open.is_unfair(share, held)) || (next_part && any && self.open.is_over(held)) {
                return Ok(Left::Unfair);
            }
            any = true;
            let mut sent = 0;
            while sent < next.batch.num_rows() {
                let most = self.open.message_bytes(self.target).min(message);
                let (messages, rows) = self.encode(&next.batch.slice(sent, next.batch.num_rows() - sent), most)?;
                sent += rows;
                let position = before(&lanes, self.source.lane, next.position, (next.batch.num_rows() - sent) as u64);
                self.position = position;
                match self.send(Item::Batch { messages, rows: rows as u64, position }, admitted).await {
                    None => self.target = self.target.saturating_mul(2).min(self.most),
                    Some(left) => return Ok(left),
                }
            }
        }
        Ok(Left::End)
    }

    /// The first rows of a batch as messages of about `most` bytes, and their number.
    fn encode(&mut self, batch: &RecordBatch, most: usize) -> Result<(Vec<Message>, usize)> {
        let started = Instant::now();
        let (messages, rows) = match self.source.lanes.request.compression {
            Compression::None => self.encode_now(batch, most)?,
            // Compressing takes its time: other streams of this thread go on elsewhere meanwhile.
            _ => tokio::task::block_in_place(|| self.encode_now(batch, most))?,
        };
        StatsCollector::add(&self.source.stats.wire_us, started.elapsed().as_micros() as u64);
        Ok((messages, rows))
    }

    fn encode_now(&mut self, batch: &RecordBatch, most: usize) -> Result<(Vec<Message>, usize)> {
        let mut rows = rows_for(batch, most);
        loop {
            match self.encoder.message(&batch.slice(0, rows), most + most / 4)? {
                Some(messages) => return Ok((messages, rows)),
                None => rows = rows.div_ceil(2),
            }
        }
    }

    /// Hands an item over; says why not where the client does not take it.
    async fn send(&self, item: Item, admitted: Instant) -> Option<Left> {
        let item = match self.items.try_send(item) {
            Ok(()) => return None,
            Err(mpsc::error::TrySendError::Closed(_)) => return Some(Left::Gone),
            Err(mpsc::error::TrySendError::Full(item)) => item,
        };
        if self.open.is_over(admitted.elapsed()) {
            // A client that is slower than we are loses least by it.
            return Some(Left::Parked(item));
        }
        let waited = Instant::now();
        let mut room = std::pin::pin!(self.items.reserve());
        loop {
            match tokio::time::timeout(STALLED, room.as_mut()).await {
                Ok(Ok(room)) => {
                    room.send(item);
                    return None;
                }
                Ok(Err(_)) => return Some(Left::Gone),
                Err(_) if self.open.wanted() || waited.elapsed() >= IDLE => return Some(Left::Parked(item)),
                Err(_) => {}
            }
        }
    }
}

/// The position `rest` rows before another, which is in the same part of its lane.
fn before(lanes: &Lanes, lane: u32, position: LanePosition, rest: u64) -> LanePosition {
    match position.hint {
        _ if rest == 0 => position,
        Some(hint) if hint.offset >= rest => LanePosition::new(&lanes.lanes, lane, position.rows - rest, hint.part, hint.offset - rest),
        _ => LanePosition::after(position.rows.saturating_sub(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::running::{Running, ScanKey};
    use super::*;
    use crate::telemetry::{Format, ScanFacts, Telemetry};
    use arrow::array::{ArrayRef, Int64Array};
    use arrow_flight::FlightData;
    use fastdata_types::lanes::PlanDigest;
    use fastdata_types::proto::ErrorDetail;
    use prost::Message as _;

    /// A stream that is fed by the test.
    fn fed(task: JoinHandle<()>, items: mpsc::Receiver<Item>) -> (Outgoing, Encoder, Telemetry) {
        let batch = batch(0);
        let Opening { encoder, schema, dictionaries: _, empty } = Encoder::open(&batch.schema(), Compression::None).unwrap();
        let telemetry = Telemetry::with_sink(Format::Json, Box::new(std::io::sink())).unwrap();
        let stats = Arc::new(StatsCollector::default());
        let key = ScanKey { principal: "ada".into(), digest: PlanDigest([1; 16]), request: String::new() };
        let held = Held { record: telemetry.scan(ScanFacts::default(), Arc::clone(&stats)), run: Arc::new(Running::default()).start(key) };
        let outgoing = Outgoing {
            items,
            _task: Task(task),
            ready: schema.frames(None).into(),
            empty,
            position: LanePosition::after(7),
            sent: Sent::default(),
            hasher: Xxh3::new(),
            stats,
            restricted: false,
            started: Instant::now(),
            held,
            state: State::Open,
        };
        (outgoing, encoder, telemetry)
    }

    fn batch(rows: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter([("a", column)]).unwrap()
    }

    /// The next whole message and its metadata.
    async fn message(outgoing: &mut Outgoing) -> Result<(FlightData, Option<StreamEvent>), Status> {
        let mut bytes = Vec::new();
        loop {
            match outgoing.next().await.expect("the stream goes on") {
                Next::Data(frame) => bytes.extend_from_slice(&frame),
                Next::Status(status) => return Err(status),
            }
            if bytes.len() >= 5 && bytes.len() - 5 == u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize {
                let data = FlightData::decode(&bytes[5..]).unwrap();
                let event = StreamMetadata::decode(data.app_metadata.as_ref()).unwrap().of;
                return Ok((data, event));
            }
        }
    }

    #[tokio::test]
    async fn the_end_record_says_what_was_sent() {
        let (sender, items) = mpsc::channel(1);
        let (mut outgoing, mut encoder, telemetry) = fed(tokio::spawn(async {}), items);
        let messages = encoder.message(&batch(5), usize::MAX / 4).unwrap().unwrap();
        tokio::spawn(async move {
            drop(sender.send(Item::Batch { messages, rows: 5, position: LanePosition::after(12) }).await);
            drop(sender.send(Item::End(LanePosition::after(12))).await);
        });
        message(&mut outgoing).await.unwrap();
        let (data, event) = message(&mut outgoing).await.unwrap();
        assert_eq!(event, Some(StreamEvent::Position(LanePosition::after(12).into())));
        let (last, event) = message(&mut outgoing).await.unwrap();
        let Some(StreamEvent::End(record)) = event else { panic!("{event:?}") };
        let body = [data.data_body.as_ref(), last.data_body.as_ref()].concat();
        let checksum = xxhash_rust::xxh3::xxh3_64(&body);
        assert_eq!((record.rows, record.bytes, record.checksum), (5, body.len() as u64, checksum));
        assert_eq!(record.position, Some(LanePosition::after(12).into()));
        assert_eq!(message(&mut outgoing).await.unwrap_err().code(), tonic::Code::Ok);
        assert!(outgoing.next().await.is_none());
        drop(outgoing);
        assert!(telemetry.metrics.render().contains("fastdata_streams_finished_total{outcome=\"ok\"} 1"));
    }

    /// The reader's own threads catch panics too; this is what is left where the task itself has one.
    #[tokio::test]
    async fn a_panic_is_the_status_of_its_stream() {
        let (sender, items) = mpsc::channel::<Item>(1);
        let task = tokio::spawn(async move {
            let _sender = sender;
            panic!("a bug");
        });
        let (mut outgoing, _, telemetry) = fed(task, items);
        message(&mut outgoing).await.unwrap();
        let status = message(&mut outgoing).await.unwrap_err();
        let detail = ErrorDetail::from_status(status.details()).unwrap();
        assert!(detail.kind == "internal" && detail.message.contains("panicked"), "{detail:?}");
        assert!(outgoing.next().await.is_none());
        drop(outgoing);
        assert!(telemetry.metrics.render().contains("fastdata_streams_finished_total{outcome=\"internal\"} 1"));
    }

    #[tokio::test]
    async fn a_silent_stream_gives_signs_of_life() {
        let (sender, items) = mpsc::channel::<Item>(1);
        let (mut outgoing, _, _) = fed(tokio::spawn(async {}), items);
        message(&mut outgoing).await.unwrap();
        let began = Instant::now();
        let (data, event) = message(&mut outgoing).await.unwrap();
        assert!(began.elapsed() >= KEEP_ALIVE && !data.data_header.is_empty());
        assert_eq!(event, Some(StreamEvent::Position(LanePosition::after(7).into())));
        drop(sender);
    }
}
