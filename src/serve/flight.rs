//! The Flight service: plans, streams, listings and actions; the other calls are `UNIMPLEMENTED`.

use super::status::status_of;
use crate::engine::Engine;
use crate::facts;
use arrow::datatypes::Schema;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse,
    IpcMessage, PollInfo, PutResult, SchemaAsIpc, SchemaResult, Ticket,
};
use bytes::Bytes;
use fastdata_types::arrow_type::arrow_schema;
use fastdata_types::flight::{PlanFacts, ScanEnd};
use fastdata_types::listing::TableEntry;
use fastdata_types::request::Compression;
use fastdata_types::stats::StatsCollector;
use fastdata_types::{Error, Result, ScanPlan, ScanRequest, Stage, TableName};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

/// A longer answer comes in several messages: clients refuse messages of more than 4 MiB unless told otherwise.
const ANSWER_BYTES: usize = 1 << 20;

pub struct Flight {
    engine: Arc<Engine>,
}

type Answer<T> = std::result::Result<Response<T>, Status>;

impl Flight {
    pub fn new(engine: Arc<Engine>) -> Self {
        Flight { engine }
    }

    /// The request that a descriptor means.
    fn request_of(&self, descriptor: &FlightDescriptor) -> Result<ScanRequest> {
        match descriptor.r#type() {
            DescriptorType::Cmd => ScanRequest::from_command(&descriptor.cmd),
            DescriptorType::Path => {
                let mut parts = descriptor.path.clone();
                let name = parts.pop().unwrap_or_default();
                Ok(ScanRequest::table(TableName { namespace: parts, name }.to_string()))
            }
            DescriptorType::Unknown => Err(Error::invalid(Stage::Serve, "a descriptor without a type")
                .advice("send a path [namespace, table] or a command with a ScanRequest as JSON")),
        }
    }

    async fn planned(&self, descriptor: &FlightDescriptor) -> Result<(ScanRequest, ScanPlan)> {
        let mut request = self.request_of(descriptor)?;
        if request.lanes.is_some() || request.shuffle.is_some() {
            // Answering with one endpoint for all lanes would give every rank the whole table.
            return Err(Error::unsupported(Stage::Serve, "this server does not serve lanes and shuffles yet")
                .advice("read lanes embedded (without --server), or leave lanes and shuffle out"));
        }
        let plan = self.engine.plan(&request).await?;
        // Commits that come later do not show: whatever was asked for, the snapshot is this one from now on.
        if request.from_snapshot_id.is_some() {
            request.to_snapshot_id = request.to_snapshot_id.or(plan.snapshot_id);
        }
        Ok((request, plan))
    }

    /// The tables of the namespace that the criteria name; all, where they name none.
    async fn listed(&self, criteria: &[u8]) -> Result<Vec<TableEntry>> {
        let namespace = std::str::from_utf8(criteria)
            .map_err(|_| Error::invalid(Stage::Serve, "the criteria are no UTF-8").advice("send the name of a namespace, or nothing"))?;
        facts::tables(&self.engine, Some(namespace).filter(|name| !name.is_empty())).await
    }

    async fn answer(&self, action: &Action) -> Result<Vec<u8>> {
        let answer = facts::actions::run(&self.engine, &action.r#type, &action.body).await?;
        answer.ok_or_else(|| {
            let known: Vec<&str> = facts::actions::ACTIONS.iter().map(|(name, _)| *name).collect();
            Error::unsupported(Stage::Serve, format!("no action '{}'", action.r#type))
                .advice(format!("the actions are: {}", known.join(", ")))
        })
    }

    fn schema_of(request: &ScanRequest, plan: &ScanPlan) -> Result<Schema> {
        arrow_schema(&plan.projection, request.strings)
    }
}

/// How record batches are written on the wire.
fn ipc_options(compression: Compression) -> std::result::Result<IpcWriteOptions, Status> {
    let compression = match compression {
        Compression::None => None,
        Compression::Lz4 => Some(CompressionType::LZ4_FRAME),
        Compression::Zstd => Some(CompressionType::ZSTD),
    };
    IpcWriteOptions::default().try_with_compression(compression).map_err(|e| Status::internal(format!("compression: {e}")))
}

fn json(value: &impl serde::Serialize) -> std::result::Result<Vec<u8>, Status> {
    serde_json::to_vec(value).map_err(|e| encoding("metadata", e))
}

fn encoding(what: &str, cause: impl std::fmt::Display) -> Status {
    status_of(&Error::internal(Stage::Serve, format!("encoding {what}: {cause}")))
}

type Messages = BoxStream<'static, std::result::Result<FlightData, Status>>;

/// A panic is the stream's last word, `internal`, instead of a reset that says nothing.
fn without_panics(messages: Messages) -> Messages {
    let panicked = |_| Err(status_of(&Error::internal(Stage::Serve, "the scan panicked; the server's log says where")));
    AssertUnwindSafe(messages).catch_unwind().map(move |next| next.unwrap_or_else(panicked)).boxed()
}

/// Puts what the scan cost on its last message. One message is held back, since only the end tells which one is the last.
fn with_end(messages: Messages, stats: Arc<StatsCollector>) -> impl Stream<Item = std::result::Result<FlightData, Status>> + Send {
    futures::stream::unfold(Some((messages, None::<FlightData>)), move |state| {
        let stats = Arc::clone(&stats);
        async move {
            let (mut messages, mut held) = state?;
            loop {
                match messages.next().await {
                    Some(Ok(message)) => {
                        if let Some(before) = held.replace(message) {
                            return Some((Ok(before), Some((messages, held))));
                        }
                    }
                    Some(Err(status)) => return Some((Err(status), None)),
                    None => {
                        let mut last = held?;
                        let end = json(&ScanEnd { stats: stats.snapshot() });
                        return Some((
                            end.map(|end| {
                                last.app_metadata = end.into();
                                last
                            }),
                            None,
                        ));
                    }
                }
            }
        }
    })
}

#[tonic::async_trait]
impl FlightService for Flight {
    type HandshakeStream = BoxStream<'static, std::result::Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, std::result::Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, std::result::Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, std::result::Result<PutResult, Status>>;
    type DoExchangeStream = BoxStream<'static, std::result::Result<FlightData, Status>>;
    type DoActionStream = BoxStream<'static, std::result::Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, std::result::Result<ActionType, Status>>;

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Answer<FlightInfo> {
        let descriptor = request.into_inner();
        let (request, plan) = self.planned(&descriptor).await.map_err(|e| status_of(&e))?;
        let schema = Flight::schema_of(&request, &plan).map_err(|e| status_of(&e))?;
        let ticket = super::ticket::Ticket::of(&request, &plan);
        let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket.to_bytes().map_err(|e| status_of(&e))?));
        let rows = i64::try_from(plan.report.rows_estimated).unwrap_or(i64::MAX);
        let bytes = i64::try_from(plan.report.bytes).unwrap_or(i64::MAX);
        let info = FlightInfo::new()
            .try_with_schema(&schema)
            .map_err(|e| encoding("the schema", e))?
            .with_descriptor(descriptor)
            .with_endpoint(endpoint)
            .with_total_records(rows)
            .with_total_bytes(bytes)
            .with_app_metadata(json(&PlanFacts { notes: plan.notes() })?)
            .with_ordered(true);
        Ok(Response::new(info))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Answer<SchemaResult> {
        let (request, plan) = self.planned(&request.into_inner()).await.map_err(|e| status_of(&e))?;
        let schema = Flight::schema_of(&request, &plan).map_err(|e| status_of(&e))?;
        let options = IpcWriteOptions::default();
        let IpcMessage(bytes) =
            SchemaAsIpc::new(&schema, &options).try_into().map_err(|e: arrow::error::ArrowError| encoding("the schema", e))?;
        Ok(Response::new(SchemaResult { schema: bytes }))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Answer<Self::DoGetStream> {
        let ticket = super::ticket::Ticket::from_bytes(&request.into_inner().ticket).map_err(|e| status_of(&e))?;
        let options = ipc_options(ticket.compression())?;
        let scan = ticket.open(&self.engine).await.map_err(|e| status_of(&e))?;
        let (schema, stats) = (Arc::clone(&scan.stream.schema), Arc::clone(&scan.stream.stats));
        let batches = scan.stream.map_err(|e| FlightError::from(status_of(&e)));
        let encoded = FlightDataEncoderBuilder::new()
            .with_schema(schema)
            .with_dictionary_handling(arrow_flight::encode::DictionaryHandling::Resend)
            .with_options(options)
            .build(batches)
            .map_err(Status::from);
        Ok(Response::new(with_end(without_panics(encoded.boxed()), stats).boxed()))
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Answer<Self::ListFlightsStream> {
        let tables = self.listed(&request.into_inner().expression).await.map_err(|e| status_of(&e))?;
        let flights = tables.into_iter().map(|table| {
            let path = TableName::parse_parts(&table.table).map_err(|e| status_of(&e))?;
            let info = FlightInfo::new().with_descriptor(FlightDescriptor::new_path(path)).with_app_metadata(json(&table)?);
            // Schema and size cost a load of the table each: GetFlightInfo tells them.
            Ok(info.with_total_records(-1).with_total_bytes(-1))
        });
        Ok(Response::new(futures::stream::iter(flights.collect::<Vec<_>>()).boxed()))
    }

    async fn handshake(&self, _: Request<Streaming<HandshakeRequest>>) -> Answer<Self::HandshakeStream> {
        Err(Status::unimplemented("this server takes no handshake"))
    }
    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<PollInfo> {
        Err(Status::unimplemented("use GetFlightInfo"))
    }
    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Answer<Self::DoPutStream> {
        Err(Status::unimplemented("this server is read-only"))
    }
    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Answer<Self::DoExchangeStream> {
        Err(Status::unimplemented("this server has no exchange"))
    }
    async fn do_action(&self, request: Request<Action>) -> Answer<Self::DoActionStream> {
        let mut rest = Bytes::from(self.answer(&request.into_inner()).await.map_err(|e| status_of(&e))?);
        let part = move || (!rest.is_empty()).then(|| Ok(arrow_flight::Result { body: rest.split_to(rest.len().min(ANSWER_BYTES)) }));
        Ok(Response::new(futures::stream::iter(std::iter::from_fn(part)).boxed()))
    }
    async fn list_actions(&self, _: Request<Empty>) -> Answer<Self::ListActionsStream> {
        let actions = facts::actions::ACTIONS.iter();
        let actions = actions.map(|(name, what)| Ok(ActionType { r#type: (*name).to_owned(), description: (*what).to_owned() }));
        Ok(Response::new(futures::stream::iter(actions).boxed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use fastdata_types::flight::error_metadata;

    #[tokio::test]
    async fn compression_makes_messages_smaller_and_is_undone_by_readers() {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values((0..100_000).map(|i| i % 7)));
        let batch = RecordBatch::try_from_iter([("i", column)]).unwrap();
        let mut sizes = Vec::new();
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            let encoder = FlightDataEncoderBuilder::new().with_options(ipc_options(compression).unwrap());
            let messages: Vec<FlightData> = encoder.build(futures::stream::iter([Ok(batch.clone())])).try_collect().await.unwrap();
            sizes.push(messages.iter().map(|message| message.data_body.len()).sum::<usize>());
            let messages = futures::stream::iter(messages.into_iter().map(Ok));
            let read: Vec<RecordBatch> =
                arrow_flight::decode::FlightRecordBatchStream::new_from_flight_data(messages).try_collect().await.unwrap();
            assert_eq!(arrow::compute::concat_batches(&batch.schema(), &read).unwrap(), batch, "{compression:?}");
        }
        assert!(sizes[1] < sizes[0] / 4 && sizes[2] < sizes[0] / 4, "{sizes:?}");
    }

    #[tokio::test]
    async fn a_panic_in_a_stream_is_a_status_that_says_so() {
        let messages = futures::stream::iter([1, 2]).map(|n| if n == 2 { panic!("a bug") } else { Ok(FlightData::default()) });
        let all: Vec<_> = with_end(without_panics(messages.boxed()), Arc::default()).collect().await;
        let status = all.last().unwrap().as_ref().unwrap_err();
        assert_eq!(status.metadata().get(error_metadata::KIND).unwrap(), "internal");
        assert!(status.message().contains("panicked"), "{status}");
    }
}
