//! A Flight client for fastdata servers: ask for a plan, pull its endpoints.
//!
//! Contract: a scan's batches arrive in the server's order, all with the schema that the plan announced; an error of the server keeps its
//! kind, its advice and whether repeating helps; a server that dies or falls silent is `unavailable`; a server's statistics join the
//! client's when a stream ends. Resuming, retries and parallel endpoints come with the served protocol.

mod actions;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow_flight::decode::{DecodedFlightData, DecodedPayload};
use arrow_flight::error::FlightError;
use arrow_flight::{FlightClient, FlightDescriptor, FlightEndpoint};
use fastdata_types::flight::{PlanFacts, ScanEnd, error_metadata};
use fastdata_types::stats::{ScanStats, StatsCollector};
use fastdata_types::{Error, ErrorKind, Result, ScanRequest, Stage};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Code, Status};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that has been silent this long is asked for a sign of life ...
const SILENT: Duration = Duration::from_secs(10);
/// ... which must come within this time, whatever the server is busy with.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Client {
    channel: Channel,
    /// As it was named, for messages.
    server: Arc<str>,
}

/// A planned scan on a server.
pub struct Pull {
    pub schema: SchemaRef,
    /// Before filters and deletes; `None` where the server does not say.
    pub rows_estimated: Option<u64>,
    /// What the server's plan has to say.
    pub notes: Vec<String>,
    /// Rows, batches and bytes as they come; what the scan cost the server once a stream has ended.
    pub stats: Arc<StatsCollector>,
    pub batches: BoxStream<'static, Result<RecordBatch>>,
}

impl Client {
    /// Connects to `grpc://HOST:PORT`.
    pub async fn connect(uri: &str) -> Result<Client> {
        let Some(address) = uri.strip_prefix("grpc://").or_else(|| uri.strip_prefix("grpc+tcp://")) else {
            return Err(
                Error::invalid(Stage::Client, format!("server '{uri}'")).advice("write grpc://HOST:PORT, as `fastdata serve` prints it")
            );
        };
        let endpoint = Channel::from_shared(format!("http://{address}"))
            .map_err(|e| Error::invalid(Stage::Client, format!("server '{uri}': {e}")).advice("write grpc://HOST:PORT"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(SILENT)
            .keep_alive_timeout(SIGN_OF_LIFE)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(16 << 20)
            .initial_connection_window_size(64 << 20);
        let channel = endpoint.connect().await.map_err(|e| {
            Error::new(ErrorKind::Unavailable, Stage::Client, format!("server {uri} cannot be reached"))
                .source(e)
                .advice("check that `fastdata serve` runs there and that the port is right")
        })?;
        Ok(Client { channel, server: uri.into() })
    }

    /// Plans a scan on the server and pulls its endpoints one after another.
    pub async fn scan(&self, request: &ScanRequest) -> Result<Pull> {
        let mut client = self.flight();
        let info = client.get_flight_info(FlightDescriptor::new_cmd(request.to_json()?)).await.map_err(|e| self.error_of(e))?;
        let schema: SchemaRef = Arc::new(
            info.clone()
                .try_decode_schema()
                .map_err(|e| Error::corrupt(Stage::Client, format!("the server's schema does not decode: {e}")))?,
        );
        let rows_estimated = u64::try_from(info.total_records).ok();
        let PlanFacts { notes } = serde_json::from_slice(&info.app_metadata).unwrap_or_default();
        let stats = Arc::new(StatsCollector::default());
        let (client, expected, counted) = (self.clone(), Arc::clone(&schema), Arc::clone(&stats));
        let batches = futures::stream::iter(info.endpoint)
            .then(move |endpoint| pull_endpoint(client.clone(), endpoint, Arc::clone(&expected), Arc::clone(&counted)))
            .try_flatten();
        Ok(Pull { schema, rows_estimated, notes, stats, batches: batches.boxed() })
    }

    fn flight(&self) -> FlightClient {
        FlightClient::new(self.channel.clone())
    }

    /// The server's error with the kind it had there.
    fn error_of(&self, error: FlightError) -> Error {
        match error {
            FlightError::Tonic(status) => from_status(&status, &self.server),
            other => broken(&self.server, &other.to_string()),
        }
    }
}

async fn pull_endpoint(
    client: Client,
    endpoint: FlightEndpoint,
    expected: SchemaRef,
    stats: Arc<StatsCollector>,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let ticket = endpoint.ticket.ok_or_else(|| Error::corrupt(Stage::Client, "the server sent an endpoint without a ticket"))?;
    let messages = client.flight().do_get(ticket).await.map_err(|e| client.error_of(e))?.into_inner();
    let batches = messages.map_err(move |e| client.error_of(e)).try_filter_map(move |message| {
        let batch = take(message, &expected, &stats);
        futures::future::ready(batch)
    });
    Ok(batches.boxed())
}

/// The batch of a message, if it is one, counted and checked.
fn take(message: DecodedFlightData, expected: &SchemaRef, stats: &StatsCollector) -> Result<Option<RecordBatch>> {
    if let Ok(ScanEnd { stats: served }) = serde_json::from_slice(&message.inner.app_metadata) {
        // What came is counted here.
        stats.add_all(&ScanStats { rows: 0, batches: 0, bytes_returned: 0, ..served });
    }
    let DecodedPayload::RecordBatch(batch) = message.payload else { return Ok(None) };
    if batch.schema().fields() != expected.fields() {
        return Err(Error::corrupt(Stage::Client, "a batch has another schema than the plan announced"));
    }
    StatsCollector::add(&stats.rows, batch.num_rows() as u64);
    StatsCollector::add(&stats.batches, 1);
    // What its rows take, whatever larger buffers they may lie in.
    let bytes: usize = batch.columns().iter().map(|c| c.to_data().get_slice_memory_size().unwrap_or_default()).sum();
    StatsCollector::add(&stats.bytes_returned, bytes as u64);
    Ok(Some(batch))
}

/// The connection ended, or what answers is no server of ours.
fn broken(server: &str, why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, Stage::Client, format!("server {server} broke off: {why}"))
        .advice("check that `fastdata serve` still runs there, and ask again")
}

fn from_status(status: &Status, server: &str) -> Error {
    let text = |key: &str| status.metadata().get(key).and_then(|value| value.to_str().ok());
    let named = text(error_metadata::KIND).and_then(ErrorKind::from_name);
    // Without a kind of ours it is what the transport makes of an end that nobody announced, or another program's word.
    let kind = match named {
        Some(kind) => kind,
        None => match status.code() {
            Code::InvalidArgument => ErrorKind::InvalidRequest,
            Code::NotFound => ErrorKind::NotFound,
            Code::Unimplemented => ErrorKind::Unsupported,
            Code::DataLoss => ErrorKind::Corrupt,
            Code::PermissionDenied => ErrorKind::PermissionDenied,
            Code::ResourceExhausted => ErrorKind::LimitExceeded,
            Code::Unauthenticated => ErrorKind::Unauthenticated,
            Code::DeadlineExceeded => ErrorKind::DeadlineExceeded,
            Code::OutOfRange => ErrorKind::LimitExceeded,
            Code::FailedPrecondition => ErrorKind::PlanMismatch,
            Code::Cancelled | Code::Unknown | Code::Internal | Code::Unavailable | Code::Ok | Code::AlreadyExists | Code::Aborted => {
                return broken(server, if status.message().is_empty() { status.code().description() } else { status.message() });
            }
        },
    };
    let message = status.message();
    let message = message.strip_prefix(&format!("{kind}: ")).unwrap_or(message);
    let retryable = text(error_metadata::RETRYABLE).map_or(kind.retryable(), |retryable| retryable == "true");
    let advice =
        status.metadata().get_bin(error_metadata::ADVICE).and_then(|advice| String::from_utf8(advice.to_bytes().ok()?.into()).ok());
    match advice {
        // The message carries the advice too, for clients that look no further.
        Some(advice) => {
            let message = message.strip_suffix(&format!("; {advice}")).unwrap_or(message);
            Error::new(kind, Stage::Client, message.to_owned()).with_retryable(retryable).advice(advice)
        }
        None => Error::new(kind, Stage::Client, message.to_owned()).with_retryable(retryable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_no_server_of_ours_made_is_no_cancel_of_the_user_and_no_fault_of_ours() {
        for code in [Code::Cancelled, Code::Unknown, Code::Internal, Code::Unavailable, Code::Aborted] {
            let error = from_status(&Status::new(code, "h2 protocol error"), "grpc://h:1");
            assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true), "{code:?}");
            assert!(error.message().contains("grpc://h:1") && error.message().contains("h2 protocol error"), "{error}");
        }
        let mut ours = Status::new(Code::Internal, "internal: a bug");
        ours.metadata_mut().insert(error_metadata::KIND, "internal".parse().unwrap());
        let error = from_status(&ours, "grpc://h:1");
        assert_eq!((error.kind(), error.message()), (ErrorKind::Internal, "a bug"));
    }
}
