//! The engine behind Arrow Flight: the thinnest server that any Flight client can pull from.
//!
//! Contract: `GetFlightInfo` takes a path (namespace levels and table, never split) or a `ScanRequest` as JSON; it plans, pins the snapshot and
//! answers one endpoint. `DoGet` streams it with arrow-flight's own encoder. Loopback only: there is no authorisation and no
//! encryption here. A ticket is the pinned request in plain JSON, and carries no rights.

mod connection;
mod flight;
pub mod health;
pub mod http2;
pub mod listen;
pub mod reflection;
pub mod requests;
mod status;
mod ticket;

use crate::engine::Engine;
use arrow_flight::flight_service_server::FlightServiceServer;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_stream::wrappers::TcpListenerStream;

pub use connection::{Connection, Peer};
pub use status::code_of;

/// What running streams may still take after the first signal.
pub const GRACE: Duration = Duration::from_secs(30);

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

/// Serves until SIGINT or SIGTERM. Running streams are then finished, for [`GRACE`] at most: a client that has stopped reading must
/// not keep the server alive. A second signal ends the process at once, with the status of that signal.
pub async fn run(engine: Arc<Engine>, listener: TcpListener) -> Result<()> {
    let mut signals = Signals::watch()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let service = FlightServiceServer::new(flight::Flight::new(engine));
    let server = tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async move { drop(stopped.await) });
    let failed = |e: tonic::transport::Error| Error::internal(Stage::Serve, format!("serving: {e}"));
    tokio::pin!(server);
    tokio::select! {
        served = &mut server => return served.map_err(failed),
        _ = signals.next() => drop(stop),
    }
    tokio::select! {
        served = &mut server => served.map_err(failed),
        status = signals.next() => std::process::exit(status),
        () = tokio::time::sleep(GRACE) => {
            let _ = writeln!(std::io::stderr(), "note: streams that were still running after {} s were cut", GRACE.as_secs());
            Ok(())
        }
    }
}

/// The signals that stop a server.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn watch() -> Result<Signals> {
        let watch = |kind| signal(kind).map_err(|e| Error::internal(Stage::Serve, format!("watching for signals: {e}")));
        Ok(Signals { interrupt: watch(SignalKind::interrupt())?, terminate: watch(SignalKind::terminate())? })
    }

    /// The exit status that belongs to the next one: 128 and its number.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}
