//! The engine behind Arrow Flight: the thinnest server that any Flight client can pull from.
//!
//! Contract: `GetFlightInfo` takes a path (namespace levels and table, never split) or a `ScanRequest` as JSON; it plans, pins the snapshot and
//! answers one endpoint. `DoGet` streams it with arrow-flight's own encoder. Loopback only: there is no authorisation and no
//! encryption here. A ticket is the pinned request in plain JSON, and carries no rights.

mod flight;
mod status;
mod ticket;

use crate::engine::Engine;
use arrow_flight::flight_service_server::FlightServiceServer;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

pub use status::code_of;

/// Opens the listening socket; loopback addresses only.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    if !address.ip().is_loopback() {
        return Err(Error::invalid(
            Stage::Serve,
            format!("{address} is not a loopback address, and this server has neither encryption nor authorisation"),
        )
        .advice("listen on 127.0.0.1:PORT"));
    }
    TcpListener::bind(address).await.map_err(|e| {
        Error::new(ErrorKind::Unavailable, Stage::Serve, format!("listening on {address}: {e}"))
            .with_retryable(false)
            .advice("choose another --listen HOST:PORT; port 0 takes a free one")
    })
}

/// Serves until SIGINT or SIGTERM; running streams are finished first.
pub async fn run(engine: Arc<Engine>, listener: TcpListener) -> Result<()> {
    let service = FlightServiceServer::new(flight::Flight::new(engine));
    tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop_signal())
        .await
        .map_err(|e| Error::internal(Stage::Serve, format!("serving: {e}")))
}

async fn stop_signal() {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(_) => return std::future::pending().await,
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
