//! A client for fastdata servers: plan a scan there, pull its lanes here.
//!
//! Contract: every row of a scan comes once, in its lane's order, with the schema that the plan announced, or an error says why not; an error of
//! the server keeps its kind, its advice and whether repeating helps; a server that dies, falls silent or restarts is waited for and the
//! lane taken up where it broke, for [`RETRY_FOR`] without progress at most. What has been pulled and not taken is bounded in bytes.

mod actions;
mod connect;
mod lane;
mod plan;
mod pull;
mod refusal;
mod status;

pub use connect::{ConnectOptions, Token};
pub use lane::{LaneBatch, LaneStream};
pub use plan::Plan;
pub use pull::{Pull, PullOptions};

use arrow_flight::FlightClient;
use fastdata_types::error::RETRIED;
use fastdata_types::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint};

/// How long a broken lane is tried again without any progress: longer than a restart or a short outage takes.
pub const RETRY_FOR: Duration = Duration::from_secs(60);
/// How long a question is repeated where the connection breaks: a person waits for the answer.
pub(crate) const RETRY_QUESTION_FOR: Duration = Duration::from_secs(2);
pub(crate) const RETRY_FIRST: Duration = Duration::from_millis(50);
pub(crate) const RETRY_LONGEST: Duration = Duration::from_secs(2);
/// A message holds at least one row, however large it is.
const MOST_MESSAGE_BYTES: usize = 1 << 30;

#[derive(Clone)]
pub struct Client {
    endpoint: Endpoint,
    token: Option<Token>,
    /// As it was named, for messages.
    server: Arc<str>,
    channel: Arc<tokio::sync::Mutex<Option<Channel>>>,
    retry_for: Duration,
}

impl Client {
    /// Tries again for another time than [`RETRY_FOR`].
    pub fn with_retry_for(mut self, time: Duration) -> Client {
        self.retry_for = time;
        self
    }

    /// Asks, and asks again while the connection breaks and `patience` lasts: for questions that change nothing. A connection that ends before it says
    /// why cancels what was asked on it; the next one tells. Also how often it asked again.
    pub(crate) async fn patiently<T, F: Future<Output = Result<T>>>(&self, patience: Duration, ask: impl Fn() -> F) -> Result<(T, u64)> {
        let started = Instant::now();
        let (mut pause, mut retries) = (RETRY_FIRST, 0);
        loop {
            match ask().await {
                Err(error) if error.retryable() && started.elapsed() < patience => {
                    tracing::debug!(target: RETRIED, %error, "asking again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_LONGEST);
                    retries += 1;
                    if error.kind() == ErrorKind::Unavailable {
                        self.reconnect().await;
                    }
                }
                answer => return answer.map(|answer| (answer, retries)),
            }
        }
    }

    pub(crate) async fn flight(&self) -> Result<FlightClient> {
        let inner = arrow_flight::flight_service_client::FlightServiceClient::new(self.channel().await?);
        let mut client = FlightClient::new_from_inner(inner.max_decoding_message_size(MOST_MESSAGE_BYTES));
        if let Some(token) = &self.token {
            client.metadata_mut().insert("authorization", token.value());
        }
        Ok(client)
    }

    /// A request of the gRPC library with our token.
    pub(crate) fn request<T>(&self, body: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(body);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.value());
        }
        request
    }

    pub(crate) fn error_of(&self, error: arrow_flight::error::FlightError) -> Error {
        let error = status::error_of(error, &self.server);
        match error.kind() {
            ErrorKind::Unauthenticated if self.token.is_none() && error.message().contains("credentials") => {
                error.advice("give a token that the server accepts, or the certificate that it asks for")
            }
            _ => error,
        }
    }
}
