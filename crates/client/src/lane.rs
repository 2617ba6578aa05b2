//! One lane from a server, whole: read to its end record, taken up again where it broke.
//!
//! Contract: a [`LaneStream`] yields each row of its lane once, in the lane's order, and ends only behind an end record whose rows, bytes and
//! checksum are those of what came in its last connection; batches of connections that broke before were whole messages, and no record covers them. Whatever breaks on the way and may pass is tried again from the position behind the last batch that was
//! handed out; a ticket that the server no longer takes is answered by planning again, once for each stretch of progress, and going
//! on in the same plan. A plan that has changed meanwhile is `plan-mismatch`, never a guess.

use crate::status::{broken, decoded, error_of};
use crate::{Plan, RETRY_FIRST, RETRY_LONGEST};
use arrow::array::RecordBatch;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use fastdata_types::error::RETRIED;
use fastdata_types::lanes::LanePosition;
use fastdata_types::proto::{EndRecord, StreamEvent, StreamMetadata};
use fastdata_types::size::batch_bytes;
use fastdata_types::stats::{ScanStats, StatsCollector};
use fastdata_types::{Error, ErrorKind, Result, Stage};
use futures::{Stream, StreamExt, TryStreamExt};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::Xxh3;

/// A batch, and the position behind it.
#[derive(Debug, Clone)]
pub struct LaneBatch {
    pub batch: RecordBatch,
    pub position: LanePosition,
}

/// The batches of one lane.
pub struct LaneStream {
    plan: Plan,
    lane: u32,
    position: LanePosition,
    stats: Arc<StatsCollector>,
    connection: Option<Connection>,
    /// That of the tickets when the connection was opened.
    generation: u64,
    /// When what is tried again now first failed.
    failing: Option<Failing>,
    ended: bool,
}

struct Failing {
    since: Instant,
    pause: Duration,
    planned: bool,
}

/// One DoGet that runs.
struct Connection {
    messages: FlightDataDecoder,
    came: Arc<Mutex<Came>>,
    rows: u64,
}

/// The bodies that came, dictionaries included, which the decoder keeps to itself.
#[derive(Default)]
struct Came {
    hasher: Xxh3,
    bytes: u64,
}

impl Came {
    fn add(&mut self, body: &[u8]) {
        self.hasher.update(body);
        self.bytes += body.len() as u64;
    }
}

/// What came next.
enum Next {
    Batch(LaneBatch),
    /// A sign of life, a schema, a dictionary.
    Nothing,
    End(EndRecord),
}

impl LaneStream {
    pub(crate) fn new(plan: Plan, lane: u32, position: LanePosition, stats: Arc<StatsCollector>) -> LaneStream {
        LaneStream { plan, lane, position, stats, connection: None, generation: 0, failing: None, ended: false }
    }

    /// Where the lane stands: behind the last batch that was handed out.
    pub fn position(&self) -> LanePosition {
        self.position
    }

    /// As a stream, which ends behind the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<LaneBatch>> + Send {
        futures::stream::unfold(self, |mut lane| async move {
            let next = lane.next().await;
            lane.ended |= next.is_err();
            next.transpose().map(|next| (next, lane))
        })
    }

    /// The next batch; `None` once the lane is whole.
    pub async fn next(&mut self) -> Result<Option<LaneBatch>> {
        while !self.ended {
            match self.step().await {
                Ok(Next::Nothing) => {}
                Ok(Next::Batch(next)) => {
                    // A sign of life is no progress.
                    if next.batch.num_rows() > 0 {
                        self.failing = None;
                        self.position = next.position;
                        return Ok(Some(next));
                    }
                }
                Ok(Next::End(record)) => {
                    self.end(&record)?;
                    return Ok(None);
                }
                Err(error) => self.recover(error).await?,
            }
        }
        Ok(None)
    }

    async fn step(&mut self) -> Result<Next> {
        if self.connection.is_none() {
            self.generation = self.plan.generation().await;
            self.connection = Some(Connection::open(&self.plan, self.lane, self.position).await?);
        }
        let server = &self.plan.client.server;
        let Some(connection) = &mut self.connection else { return Ok(Next::Nothing) };
        match connection.messages.next().await {
            Some(Ok(message)) => connection.take(message, &self.plan, &self.stats),
            Some(Err(error)) => Err(error_of(error, server)),
            None => Err(broken(server, "the stream ended without its end record")),
        }
    }

    /// The server's figures join ours; what came is counted here.
    fn end(&mut self, record: &EndRecord) -> Result<()> {
        self.ended = true;
        let connection = self.connection.take();
        let came = connection.map(|connection| {
            let came = connection.came.lock().unwrap_or_else(PoisonError::into_inner);
            (connection.rows, came.bytes, came.hasher.digest())
        });
        if came != Some((record.rows, record.bytes, record.checksum)) {
            let (rows, bytes, _) = came.unwrap_or_default();
            return Err(Error::corrupt(
                Stage::Client,
                format!(
                    "lane {}: the server sent {} rows in {} bytes, and {rows} rows in {bytes} bytes came or were altered",
                    self.lane, record.rows, record.bytes
                ),
            )
            .advice("something between server and client alters data: use grpc+tls://"));
        }
        let stats = ScanStats::from(record.stats.unwrap_or_default());
        self.stats.add_all(&ScanStats { rows: 0, batches: 0, bytes_returned: 0, total_us: 0, planning_us: 0, first_batch_us: 0, ..stats });
        Ok(())
    }

    /// Prepares another try, or gives the error back where none would help.
    async fn recover(&mut self, error: Error) -> Result<()> {
        self.connection = None;
        let failing = self.failing.get_or_insert_with(|| Failing { since: Instant::now(), pause: RETRY_FIRST, planned: false });
        let refused = matches!(error.kind(), ErrorKind::TicketExpired | ErrorKind::Unauthenticated);
        if refused && !failing.planned {
            failing.planned = true;
            tracing::debug!(lane = self.lane, %error, "the ticket is refused: planning again");
            StatsCollector::add(&self.stats.retries, 1);
            let renewed = self.plan.renew(self.generation).await;
            self.plan.count(&self.stats);
            return match renewed {
                Ok(()) => Ok(()),
                // The first error says more than that of a second plan with the same credentials.
                Err(second) if second.kind() == ErrorKind::Unauthenticated => Err(error),
                Err(second) => Err(second),
            };
        }
        if !error.retryable() || failing.since.elapsed() >= self.plan.client.retry_for {
            return Err(error);
        }
        tracing::debug!(target: RETRIED, lane = self.lane, rows = self.position.rows, %error, "trying again");
        StatsCollector::add(&self.stats.retries, 1);
        tokio::time::sleep(failing.pause).await;
        failing.pause = (failing.pause * 2).min(RETRY_LONGEST);
        if error.kind() == ErrorKind::Unavailable {
            self.plan.client.reconnect().await;
        }
        Ok(())
    }
}

impl Connection {
    async fn open(plan: &Plan, lane: u32, position: LanePosition) -> Result<Connection> {
        let ticket = plan.ticket(lane, position)?;
        let mut flight = plan.client.flight().await?;
        let response = flight.inner_mut().do_get(plan.client.request(ticket)).await;
        let messages = response.map_err(|e| error_of(e.into(), &plan.client.server))?.into_inner();
        let came = Arc::new(Mutex::new(Came::default()));
        let counted = Arc::clone(&came);
        let messages = messages.map_err(FlightError::from).inspect_ok(move |message| {
            counted.lock().unwrap_or_else(PoisonError::into_inner).add(&message.data_body);
        });
        Ok(Connection { messages: FlightDataDecoder::new(messages), came, rows: 0 })
    }

    fn take(&mut self, message: arrow_flight::decode::DecodedFlightData, plan: &Plan, stats: &StatsCollector) -> Result<Next> {
        let batch = match message.payload {
            DecodedPayload::RecordBatch(batch) => batch,
            DecodedPayload::Schema(schema) if schema.fields() != plan.schema.fields() => {
                return Err(Error::corrupt(Stage::Client, "the stream has another schema than the plan announced"));
            }
            DecodedPayload::Schema(_) | DecodedPayload::None => return Ok(Next::Nothing),
        };
        let event = decoded::<StreamMetadata>(&message.inner.app_metadata, "stream metadata")?.of;
        let position = match event {
            Some(StreamEvent::End(record)) => return Ok(Next::End(record)),
            Some(StreamEvent::Position(position)) => position.into(),
            None => return Err(Error::corrupt(Stage::Client, "a batch without a position: the server speaks another protocol")),
        };
        self.rows += batch.num_rows() as u64;
        if batch.num_rows() > 0 {
            StatsCollector::add(&stats.rows, batch.num_rows() as u64);
            StatsCollector::add(&stats.batches, 1);
            StatsCollector::add(&stats.bytes_returned, batch_bytes(&batch));
        }
        Ok(Next::Batch(LaneBatch { batch, position }))
    }
}
