//! A scan as a server planned it: its schema, its lanes, and the tickets to them.

use crate::Client;
use crate::lane::LaneStream;
use crate::status::decoded;
use arrow::datatypes::SchemaRef;
use arrow_flight::{FlightDescriptor, FlightInfo, Ticket};
use fastdata_types::lanes::{Cursor, LanePosition, PlanDigest, ShuffleKey};
use fastdata_types::proto::{self, PlanMetadata};
use fastdata_types::stats::StatsCollector;
use fastdata_types::{Error, ErrorKind, Result, ScanRequest, Stage};
use prost::Message;
use std::sync::{Arc, PoisonError, RwLock};

/// A planned scan. Cheap to clone; clones share tickets that were renewed.
#[derive(Clone)]
pub struct Plan {
    pub(crate) client: Client,
    pub request: ScanRequest,
    pub schema: SchemaRef,
    pub digest: PlanDigest,
    pub metadata: Arc<PlanMetadata>,
    /// Before filters and deletes; `None` where the server does not say.
    pub rows_estimated: Option<u64>,
    tickets: Arc<RwLock<Vec<Ticket>>>,
    /// What planning cost, as far as no stream has counted it yet.
    uncounted: Arc<StatsCollector>,
    renewing: Arc<tokio::sync::Mutex<u64>>,
}

impl Client {
    /// Plans a scan on the server; a server that cannot be reached is tried again.
    pub async fn plan(&self, request: &ScanRequest) -> Result<Plan> {
        let (info, retries) = self.patiently(self.retry_for, || self.flight_info(request)).await?;
        let metadata: PlanMetadata = decoded(&info.app_metadata, "plan metadata")?;
        let uncounted = StatsCollector::default();
        uncounted.add_all(&metadata.planning.unwrap_or_default().into());
        StatsCollector::add(&uncounted.retries, retries);
        let digest = metadata.plan_digest.parse().map_err(|e: Error| {
            Error::corrupt(Stage::Client, format!("server {} is no fastdata server, or of another version", self.server)).source(e)
        })?;
        let schema = info
            .clone()
            .try_decode_schema()
            .map_err(|e| Error::corrupt(Stage::Client, format!("the server's schema does not decode: {e}")))?;
        Ok(Plan {
            client: self.clone(),
            request: request.clone(),
            schema: Arc::new(schema),
            digest,
            rows_estimated: u64::try_from(info.total_records).ok(),
            tickets: Arc::new(RwLock::new(tickets_of(info)?)),
            metadata: Arc::new(metadata),
            uncounted: Arc::new(uncounted),
            renewing: Arc::default(),
        })
    }

    async fn flight_info(&self, request: &ScanRequest) -> Result<FlightInfo> {
        let descriptor = FlightDescriptor::new_cmd(request.to_command());
        self.flight().await?.get_flight_info(descriptor).await.map_err(|e| self.error_of(e))
    }
}

fn tickets_of(info: FlightInfo) -> Result<Vec<Ticket>> {
    let missing = || Error::corrupt(Stage::Client, "the server sent an endpoint without a ticket");
    info.endpoint.into_iter().map(|endpoint| endpoint.ticket.ok_or_else(missing)).collect()
}

impl Plan {
    /// The connection that it came through.
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn lanes(&self) -> u32 {
        self.tickets.read().unwrap_or_else(PoisonError::into_inner).len() as u32
    }

    /// What the person who asked should know.
    pub fn notes(&self) -> &[String] {
        &self.metadata.notes
    }

    /// Rows of a lane before filters and deletes, where the server says.
    pub fn lane_rows(&self, lane: u32) -> Option<u64> {
        self.metadata.lane_rows.get(lane as usize).copied()
    }

    fn shuffle(&self) -> Option<ShuffleKey> {
        self.request.shuffle.map(|shuffle| ShuffleKey { seed: shuffle.seed, epoch: shuffle.epoch })
    }

    /// A cursor at the beginning of every lane.
    pub fn start(&self) -> Cursor {
        Cursor {
            plan_digest: self.digest,
            snapshot_id: self.metadata.snapshot_id,
            schema_id: self.metadata.schema_id,
            shuffle: self.shuffle(),
            lanes: self.lanes(),
            positions: Default::default(),
        }
    }

    /// Refuses a cursor of another plan, snapshot, epoch or number of lanes.
    pub fn check(&self, cursor: &Cursor) -> Result<()> {
        let merged = Cursor::merge([self.start(), cursor.clone()]);
        merged.map(drop).map_err(|error| error.advice("resume the scan that the cursor was made with, at its snapshot, or begin again"))
    }

    /// Reads a lane from a position on.
    pub fn lane(&self, lane: u32, position: LanePosition, stats: Arc<StatsCollector>) -> Result<LaneStream> {
        self.ticket(lane, position)?;
        self.count(&stats);
        Ok(LaneStream::new(self.clone(), lane, position, stats))
    }

    /// Counts what planning cost to one stream: once.
    pub(crate) fn count(&self, stats: &StatsCollector) {
        stats.add_all(&self.uncounted.take());
    }

    pub(crate) fn ticket(&self, lane: u32, position: LanePosition) -> Result<Ticket> {
        let tickets = self.tickets.read().unwrap_or_else(PoisonError::into_inner);
        let ticket = tickets.get(lane as usize).ok_or_else(|| {
            Error::invalid(Stage::Client, format!("lane {lane} of a plan of {} lanes", tickets.len())).advice("lanes are numbered from 0")
        })?;
        if position == LanePosition::default() {
            return Ok(ticket.clone());
        }
        let start = proto::Ticket { sealed: vec![], start: Some(position.into()) }.encode_to_vec();
        Ok(Ticket::new([ticket.ticket.as_ref(), &start].concat()))
    }

    /// How often the tickets were renewed: what a caller gives back to [`Plan::renew`].
    pub(crate) async fn generation(&self) -> u64 {
        *self.renewing.lock().await
    }

    /// Plans the same scan again for new tickets, unless another lane did so since `generation`.
    pub(crate) async fn renew(&self, generation: u64) -> Result<()> {
        let mut renewed = self.renewing.lock().await;
        if *renewed != generation {
            return Ok(());
        }
        let again = self.client.plan(&self.request).await?;
        again.count(&self.uncounted);
        // Commits since then do not belong to this scan.
        let again = if again.digest == self.digest {
            again
        } else {
            self.client.plan(&self.request.pinned(self.metadata.snapshot_id, self.metadata.schema_id)).await?
        };
        again.count(&self.uncounted);
        if again.digest != self.digest {
            return Err(Error::new(ErrorKind::PlanMismatch, Stage::Client, "the scan can no longer be planned as it was begun")
                .advice("the table's schema, the server's version or the rights on it have changed: begin the scan again"));
        }
        let tickets = std::mem::take(&mut *again.tickets.write().unwrap_or_else(PoisonError::into_inner));
        *self.tickets.write().unwrap_or_else(PoisonError::into_inner) = tickets;
        *renewed += 1;
        Ok(())
    }
}
