//! A Flight client for fastdata servers: ask for a plan, pull its endpoints.
//!
//! Contract: a scan's batches arrive in the server's order, all with the schema that the plan announced; an error of the server keeps its
//! kind. Resuming, retries and parallel endpoints come with the served protocol.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::error::FlightError;
use arrow_flight::{FlightClient, FlightDescriptor, FlightEndpoint};
use fastdata_types::{Error, ErrorKind, Result, ScanRequest, Stage};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Code, Status};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Client {
    channel: Channel,
}

/// A planned scan on a server.
pub struct Pull {
    pub schema: SchemaRef,
    /// Before filters and deletes; `None` where the server does not say.
    pub rows_estimated: Option<u64>,
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
            .initial_stream_window_size(16 << 20)
            .initial_connection_window_size(64 << 20);
        let channel = endpoint.connect().await.map_err(|e| {
            Error::new(ErrorKind::Unavailable, Stage::Client, format!("server {uri} cannot be reached"))
                .source(e)
                .advice("check that `fastdata serve` runs there and that the port is right")
        })?;
        Ok(Client { channel })
    }

    /// Plans a scan on the server and pulls its endpoints one after another.
    pub async fn scan(&self, request: &ScanRequest) -> Result<Pull> {
        let mut client = self.flight();
        let info = client.get_flight_info(FlightDescriptor::new_cmd(request.to_json())).await.map_err(error_of)?;
        let schema: SchemaRef = Arc::new(
            info.clone()
                .try_decode_schema()
                .map_err(|e| Error::corrupt(Stage::Client, format!("the server's schema does not decode: {e}")))?,
        );
        let rows_estimated = u64::try_from(info.total_records).ok();
        let client = self.clone();
        let expected = Arc::clone(&schema);
        let batches = futures::stream::iter(info.endpoint)
            .then(move |endpoint| pull_endpoint(client.clone(), endpoint, Arc::clone(&expected)))
            .try_flatten();
        Ok(Pull { schema, rows_estimated, batches: batches.boxed() })
    }

    fn flight(&self) -> FlightClient {
        FlightClient::new(self.channel.clone())
    }
}

async fn pull_endpoint(client: Client, endpoint: FlightEndpoint, expected: SchemaRef) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let ticket = endpoint.ticket.ok_or_else(|| Error::corrupt(Stage::Client, "the server sent an endpoint without a ticket"))?;
    let stream = client.flight().do_get(ticket).await.map_err(error_of)?;
    let checked = stream.map_err(error_of).and_then(move |batch| {
        let same = batch.schema().fields() == expected.fields();
        futures::future::ready(if same {
            Ok(batch)
        } else {
            Err(Error::corrupt(Stage::Client, "a batch has another schema than the plan announced"))
        })
    });
    Ok(checked.boxed())
}

/// The server's error with the kind it had there.
fn error_of(error: FlightError) -> Error {
    match error {
        FlightError::Tonic(status) => from_status(&status),
        other => Error::new(ErrorKind::Unavailable, Stage::Client, format!("the stream broke: {other}")),
    }
}

fn from_status(status: &Status) -> Error {
    let named = status.metadata().get("fastdata-error-kind").and_then(|kind| ErrorKind::from_name(kind.to_str().ok()?));
    let kind = named.unwrap_or(match status.code() {
        Code::InvalidArgument => ErrorKind::InvalidRequest,
        Code::NotFound => ErrorKind::NotFound,
        Code::Unimplemented => ErrorKind::Unsupported,
        Code::DataLoss => ErrorKind::Corrupt,
        Code::PermissionDenied => ErrorKind::PermissionDenied,
        Code::ResourceExhausted => ErrorKind::LimitExceeded,
        Code::Unauthenticated => ErrorKind::Unauthenticated,
        Code::DeadlineExceeded => ErrorKind::DeadlineExceeded,
        Code::Cancelled => ErrorKind::Cancelled,
        Code::Unavailable => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    });
    let message = status.message();
    let message = message.strip_prefix(&format!("{kind}: ")).unwrap_or(message);
    Error::new(kind, Stage::Client, message.to_owned())
}
