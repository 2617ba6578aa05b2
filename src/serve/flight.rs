//! The Flight service: plans, tickets, and what is not a stream of rows.
//!
//! Contract: nothing is kept between calls but what may be forgotten: a ticket says all that its stream needs. Each call sees the tables as its
//! caller may; what they may not see is not there. Rows leave by `doget.rs`.

use super::actions;
use super::admission::Admission;
use super::caller::Caller;
use super::plans::Plans;
use super::running::{Running, ScanKey};
use super::seal::Keyring;
use super::status::status_of;
use super::stream::{self, Held, Outgoing, Source};
use super::ticket::{self, Contents, Opened};
use crate::config::Limits;
use crate::engine::{Engine, Lanes};
use crate::facts;
use crate::telemetry::metrics::Levels;
use crate::telemetry::{ScanFacts, Telemetry};
use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse,
    IpcMessage, PollInfo, PutResult, SchemaAsIpc, SchemaResult, Ticket,
};
use fastdata_types::lanes::LanePosition;
use fastdata_types::listing::TableEntry;
use fastdata_types::stats::ScanStats;
use fastdata_types::store::StoreCounters;
use fastdata_types::{Error, ErrorKind, Result, ScanRequest, Stage, TableName, proto};
use futures::StreamExt;
use futures::stream::BoxStream;
use prost::Message;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tonic::{Request, Response, Status, Streaming};

pub struct Flight {
    engine: Engine,
    keys: RwLock<Arc<Keyring>>,
    ticket_lifetime: Duration,
    plans: Plans,
    admission: Arc<Admission>,
    running: Arc<Running>,
    limits: Limits,
    telemetry: Telemetry,
    draining: AtomicBool,
}

type Answer<T> = std::result::Result<Response<T>, Status>;
type Answers<T> = BoxStream<'static, std::result::Result<T, Status>>;

/// How a server answers, beside what it serves.
pub struct Settings {
    pub keys: Keyring,
    pub ticket_lifetime: Duration,
    pub staleness: Duration,
    pub limits: Limits,
    pub telemetry: Telemetry,
}

impl Flight {
    pub fn new(engine: Engine, settings: Settings) -> Flight {
        let Settings { keys, ticket_lifetime, staleness, limits, telemetry } = settings;
        Flight {
            admission: Admission::new(Arc::clone(engine.budget()), limits.streams, telemetry.metrics.clone()),
            engine,
            keys: RwLock::new(Arc::new(keys)),
            ticket_lifetime,
            plans: Plans::new(staleness, telemetry.metrics.clone()),
            running: Arc::default(),
            limits,
            telemetry,
            draining: AtomicBool::new(false),
        }
    }

    /// Seals and opens with other keys from now on.
    pub fn set_keys(&self, keys: Keyring) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    fn keys(&self) -> Arc<Keyring> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Running streams go on; nothing new begins.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Streams that are open.
    pub fn streams(&self) -> usize {
        self.admission.streams()
    }

    /// What the metrics show when they are asked for.
    pub fn levels(&self) -> Levels {
        let budget = self.engine.budget();
        Levels {
            memory_total: budget.total(),
            memory_in_use: budget.total().saturating_sub(budget.available()),
            plan_cache_entries: self.plans.kept(),
        }
    }

    fn accepts(&self) -> Result<()> {
        match self.draining.load(Ordering::Relaxed) {
            true => Err(Error::new(ErrorKind::Unavailable, Stage::Serve, "the server is stopping").advice("ask another replica, or again")),
            false => Ok(()),
        }
    }

    /// The engine as a caller sees it.
    pub fn engine_for(&self, caller: &Caller) -> Engine {
        self.engine.seen_by(Arc::clone(&caller.access))
    }

    /// The request that a descriptor means.
    fn request_of(&self, descriptor: &FlightDescriptor) -> Result<ScanRequest> {
        match descriptor.r#type() {
            DescriptorType::Cmd => {
                self.check_size(&descriptor.cmd)?;
                ScanRequest::from_command(&descriptor.cmd)
            }
            DescriptorType::Path => {
                let mut parts = descriptor.path.clone();
                let name = parts.pop().unwrap_or_default();
                Ok(ScanRequest::table(TableName { namespace: parts, name }.to_string()))
            }
            DescriptorType::Unknown => Err(Error::invalid(Stage::Serve, "a descriptor without a type")
                .advice("send a path [namespace, table] or a command with a ScanRequest as JSON")),
        }
    }

    /// Refuses a body that is too large to be put into tickets.
    pub fn check_size(&self, bytes: &[u8]) -> Result<()> {
        if bytes.len() as u64 > self.limits.request_bytes {
            return Err(Error::limit(
                Stage::Serve,
                format!("a request of {} bytes; at most {} are read", bytes.len(), self.limits.request_bytes),
            )
            .advice("shorten the filter or the list of columns, or raise server.limits.request-bytes"));
        }
        Ok(())
    }

    /// The tables of the namespace that the criteria name; all, where they name none.
    async fn listed(&self, caller: &Caller, criteria: &[u8]) -> Result<Vec<TableEntry>> {
        let namespace = std::str::from_utf8(criteria)
            .map_err(|_| Error::invalid(Stage::Serve, "the criteria are no UTF-8").advice("send the name of a namespace, or nothing"))?;
        facts::tables(&self.engine_for(caller), Some(namespace).filter(|name| !name.is_empty())).await
    }

    fn expiry(&self) -> SystemTime {
        SystemTime::now() + self.ticket_lifetime
    }

    /// One endpoint, good for anybody who is the ticket's principal.
    fn endpoint(&self, contents: &Contents, expiry: SystemTime, keys: &Keyring) -> Result<FlightEndpoint> {
        let expires = expiry.duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = prost_types::Timestamp { seconds: expires.as_secs() as i64, nanos: 0 };
        Ok(FlightEndpoint::new().with_ticket(Ticket::new(contents.seal(keys)?)).with_expiration_time(time))
    }

    /// A plan that fails leaves a line; one that is never read costs nobody much.
    async fn info(&self, caller: &Caller, descriptor: FlightDescriptor) -> Result<FlightInfo> {
        let table = self.request_of(&descriptor).map(|request| request.table).ok();
        let info = self.plan(caller, descriptor).await;
        match &info {
            Ok(_) => self.telemetry.metrics.planned(),
            Err(error) => self.telemetry.plan_failed(caller.principal(), caller.peer, table.as_deref(), error),
        }
        info
    }

    async fn plan(&self, caller: &Caller, descriptor: FlightDescriptor) -> Result<FlightInfo> {
        self.accepts()?;
        let request = self.request_of(&descriptor)?;
        let (pin, lanes, asked) = self.plans.plan(&self.engine_for(caller), caller, &request).await?;
        self.telemetry.metrics.planning_read(&asked);
        let (expiry, keys) = (self.expiry(), self.keys());
        let mut contents = Contents {
            principal: caller.identity.principal.clone(),
            request,
            pin,
            digest: lanes.lanes.digest,
            lane: 0,
            parts: None,
            expires_ms: millis(expiry),
        };
        let restricted = lanes.plan.grant.hides_rows();
        let estimate = |figure: u64| if restricted { -1 } else { i64::try_from(figure).unwrap_or(i64::MAX) };
        let asked = ScanStats::from(asked);
        let rows = lanes.plan.report.rows_estimated;
        let rows = lanes.request.limit.map_or(rows, |limit| rows.min(limit.unsigned_abs()));
        let metadata = proto::PlanMetadata {
            plan_digest: contents.digest.to_string(),
            snapshot_id: lanes.plan.snapshot_id,
            lanes: lanes.lanes.lanes.len() as u32,
            lane_rows: if restricted { vec![] } else { lanes.lanes.lanes.iter().map(|lane| lane.rows()).collect() },
            table_uuid: contents.pin.table_uuid.clone().unwrap_or_default(),
            notes: lanes.plan.notes(),
            planning_us: lanes.plan.report.planning_us,
            expires_at_ms: contents.expires_ms,
            schema_id: Some(lanes.plan.schema.id),
            planning: Some(if restricted { asked.without_hidden() } else { asked }.into()),
        };
        let mut info = FlightInfo::new()
            .try_with_schema(lanes.schema()?.as_ref())
            .map_err(|e| Error::internal(Stage::Serve, format!("encoding the schema: {e}")))?
            .with_descriptor(descriptor)
            .with_total_records(estimate(rows))
            .with_total_bytes(estimate(lanes.plan.report.bytes))
            .with_app_metadata(metadata.encode_to_vec())
            .with_ordered(lanes.lanes.lanes.len() == 1);
        let mut bytes = 0u64;
        for lane in &lanes.lanes.lanes {
            contents.lane = lane.number;
            let endpoint = self.endpoint(&contents, expiry, &keys)?;
            bytes += endpoint.encoded_len() as u64;
            if bytes > self.limits.plan_bytes {
                let lanes = lanes.lanes.lanes.len();
                return Err(Error::limit(
                    Stage::Serve,
                    format!("{lanes} tickets for a request of this size are more than {} bytes", self.limits.plan_bytes),
                )
                .advice("ask for fewer lanes, or shorten the filter or the list of columns"));
            }
            info = info.with_endpoint(endpoint);
        }
        Ok(info)
    }

    /// The plan that a ticket belongs to, as the table and the policy stand now, and what finding it asked of storage and catalog.
    async fn resume(&self, caller: &Caller, contents: &Contents) -> Result<(Lanes, StoreCounters)> {
        let (lanes, asked) = self.plans.pinned(&self.engine_for(caller), caller, &contents.request, &contents.pin).await?;
        if lanes.lanes.digest != contents.digest {
            return Err(Error::new(ErrorKind::PlanMismatch, Stage::Serve, "the ticket was made for another plan of this scan")
                .advice("plan the scan again: the server's version, the caller's rights or the columns they name have changed since"));
        }
        let lanes = match contents.parts {
            Some(parts) => lanes.part_of(contents.lane, parts)?,
            None => lanes.as_ref().clone(),
        };
        Ok((lanes, asked))
    }

    /// The stream of a ticket.
    pub async fn open(&self, caller: &Caller, bytes: &[u8]) -> Result<Outgoing> {
        self.accepts()?;
        let Opened { contents, start } = ticket::open(bytes, &self.keys(), caller.principal(), millis(SystemTime::now()))?;
        let open = self.admission.open()?;
        let (lanes, asked) = self.resume(caller, &contents).await?;
        lanes.lanes.check(contents.lane, &start)?;
        let run = self.running.start(key_of(caller, &contents)?);
        let stats = Engine::stats_of(&lanes.plan);
        stats.add_store(&asked);
        let facts = ScanFacts {
            principal: caller.identity.principal.clone(),
            peer: caller.peer,
            table: contents.request.table.clone(),
            snapshot_id: lanes.plan.snapshot_id,
            plan_digest: contents.digest.to_string(),
            lane: Some(contents.lane),
        };
        let held = Held { record: self.telemetry.scan(facts, Arc::clone(&stats)), run };
        let source =
            Source { engine: self.engine_for(caller), restricted: lanes.plan.grant.hides_rows(), stats, lanes, lane: contents.lane, start };
        stream::start(source, open, self.limits.message_bytes as usize, held)
    }

    /// What is asked of a table. Questions that are answered by reading rows take a share of the memory, as streams do.
    pub async fn asked(&self, caller: &Caller, action: &str, body: &[u8]) -> Result<Option<Vec<u8>>> {
        self.accepts()?;
        let engine = self.engine_for(caller);
        if !facts::actions::READING.contains(&action) {
            let _turn = self.plans.planning().await?;
            return facts::actions::run(&engine, action, body).await;
        }
        let open = self.admission.open()?;
        let mut share = open.share();
        loop {
            let permit = open.admit(share).await?;
            match facts::actions::run(&engine.within(permit.bytes()), action, body).await {
                Err(error) if error.kind() == ErrorKind::BudgetTooSmall => share = open.larger(share).ok_or(error)?,
                answer => return answer,
            }
        }
    }

    /// The ticket in a call's body, the caller's own.
    fn own(&self, caller: &Caller, ticket: Option<&Ticket>) -> Result<Opened> {
        let bytes = ticket.map(|ticket| ticket.ticket.as_ref()).unwrap_or_default();
        ticket::open(bytes, &self.keys(), caller.principal(), millis(SystemTime::now()))
    }

    /// Ends the streams of a plan; true where any ran here.
    pub fn cancel(&self, caller: &Caller, info: &FlightInfo) -> Result<bool> {
        let ticket = info.endpoint.first().and_then(|endpoint| endpoint.ticket.as_ref()).map(|ticket| ticket.ticket.as_ref());
        let opened = ticket::authentic(ticket.unwrap_or_default(), &self.keys(), caller.principal())?;
        Ok(self.running.cancel(&key_of(caller, &opened.contents)?))
    }

    /// The same endpoint for another lifetime.
    pub fn renew(&self, caller: &Caller, endpoint: &FlightEndpoint) -> Result<FlightEndpoint> {
        let Opened { mut contents, start } = self.own(caller, endpoint.ticket.as_ref())?;
        let expiry = self.expiry();
        contents.expires_ms = millis(expiry);
        Ok(with_start(self.endpoint(&contents, expiry, &self.keys())?, start))
    }

    /// Cuts what is left of a lane in two of about equal size; one endpoint where it cannot be cut.
    pub async fn split(&self, caller: &Caller, ticket: &Ticket) -> Result<Vec<FlightEndpoint>> {
        self.accepts()?;
        let Opened { mut contents, start } = self.own(caller, Some(ticket))?;
        let (lanes, asked) = self.resume(caller, &contents).await?;
        self.telemetry.metrics.planning_read(&asked);
        lanes.lanes.check(contents.lane, &start)?;
        let (expiry, keys) = (self.expiry(), self.keys());
        contents.expires_ms = millis(expiry);
        let (first, end) = contents.parts.unwrap_or((0, u32::MAX));
        let Some(middle) = lanes.lanes.middle(contents.lane, &start)? else {
            return Ok(vec![with_start(self.endpoint(&contents, expiry, &keys)?, start)]);
        };
        let middle = first.saturating_add(middle);
        let mut half = |parts| {
            contents.parts = Some(parts);
            self.endpoint(&contents, expiry, &keys)
        };
        Ok(vec![with_start(half((first, middle))?, start), half((middle, end))?])
    }
}

/// Schema and size of a listed table cost a load each: GetFlightInfo tells them.
fn flight_of(table: &TableEntry) -> Result<FlightInfo> {
    let entry = serde_json::to_vec(table).map_err(|e| Error::internal(Stage::Serve, format!("encoding a table: {e}")).source(e))?;
    let info = FlightInfo::new().with_descriptor(FlightDescriptor::new_path(TableName::parse_parts(&table.table)?));
    Ok(info.with_app_metadata(entry).with_total_records(-1).with_total_bytes(-1))
}

fn with_start(mut endpoint: FlightEndpoint, start: LanePosition) -> FlightEndpoint {
    if start != LanePosition::default()
        && let Some(ticket) = &mut endpoint.ticket
    {
        let start = proto::Ticket { sealed: vec![], start: Some(start.into()) }.encode_to_vec();
        ticket.ticket = [ticket.ticket.as_ref(), &start].concat().into();
    }
    endpoint
}

fn key_of(caller: &Caller, contents: &Contents) -> Result<ScanKey> {
    Ok(ScanKey { principal: caller.principal().to_owned(), digest: contents.digest, request: contents.request.to_json()? })
}

fn millis(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

fn caller_of<T>(request: &Request<T>) -> std::result::Result<Caller, Status> {
    Caller::of(request.extensions()).map_err(|e| status_of(&e))
}

fn answer<T>(result: Result<T>) -> Answer<T> {
    result.map(Response::new).map_err(|e| status_of(&e))
}

#[tonic::async_trait]
impl FlightService for Flight {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoExchangeStream = Answers<FlightData>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Answer<FlightInfo> {
        let caller = caller_of(&request)?;
        answer(self.info(&caller, request.into_inner()).await)
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Answer<SchemaResult> {
        let caller = caller_of(&request)?;
        let schema = async {
            self.accepts()?;
            let asked = self.request_of(request.get_ref())?;
            let _turn = self.plans.planning().await?;
            let schema = self.engine_for(&caller).schema(&asked).await?;
            let IpcMessage(schema) = SchemaAsIpc::new(&schema, &Default::default())
                .try_into()
                .map_err(|e: arrow::error::ArrowError| Error::internal(Stage::Serve, format!("encoding the schema: {e}")))?;
            Ok(SchemaResult { schema })
        };
        answer(schema.await)
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Answer<Self::ListFlightsStream> {
        let caller = caller_of(&request)?;
        let listed = self.listed(&caller, &request.get_ref().expression).await.map_err(|e| status_of(&e))?;
        let flights = listed.into_iter().map(|table| flight_of(&table).map_err(|e| status_of(&e)));
        Ok(Response::new(futures::stream::iter(flights.collect::<Vec<_>>()).boxed()))
    }

    async fn do_action(&self, request: Request<Action>) -> Answer<Self::DoActionStream> {
        let caller = caller_of(&request)?;
        let results = actions::run(self, &caller, request.get_ref()).await.map_err(|e| status_of(&e))?;
        Ok(Response::new(futures::stream::iter(results.into_iter().map(|body| Ok(arrow_flight::Result { body }))).boxed()))
    }

    async fn list_actions(&self, request: Request<Empty>) -> Answer<Self::ListActionsStream> {
        caller_of(&request)?;
        let types = actions::all().map(|(name, what)| Ok(ActionType { r#type: name.to_owned(), description: what.to_owned() }));
        Ok(Response::new(futures::stream::iter(types.collect::<Vec<_>>()).boxed()))
    }

    async fn do_get(&self, _: Request<Ticket>) -> Answer<Self::DoGetStream> {
        Err(status_of(&Error::internal(Stage::Serve, "DoGet is answered before it comes here")))
    }
    async fn handshake(&self, _: Request<Streaming<HandshakeRequest>>) -> Answer<Self::HandshakeStream> {
        Err(Status::unimplemented("this server takes no handshake: send `authorization: Bearer TOKEN` with each call"))
    }
    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<PollInfo> {
        Err(Status::unimplemented("planning does not take long enough to poll: use GetFlightInfo"))
    }
    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Answer<Self::DoPutStream> {
        Err(Status::unimplemented("this server is read-only"))
    }
    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Answer<Self::DoExchangeStream> {
        Err(Status::unimplemented("this server has no exchange"))
    }
}

#[cfg(test)]
mod tests;
