//! The engine behind Arrow Flight: plans and streams for clients on other machines.
//!
//! Contract: docs/protocol.md. A [`Server`] is bound, then run; everything wrong with its settings is said before it listens. A first signal
//! drains: not ready at once, nothing new, running streams finish within the grace period; a second one ends the process. SIGHUP reads
//! tokens, keys and certificates again.
//!
//! Rooms: `opened` reads the files that settings name, `listen` and `connection` accept, `http2` and `requests` limit, `caller` finds out who calls, `flight` plans and hands out `ticket`s
//! (sealed by `seal`), `plans` keeps plans, `states` knows the tables that they are of and `weights` how large they are, `doget` answers with a `stream`, which `admission`
//! lets read and `wire` encodes; `actions` answers what is no scan; `health` and `reflection` are gRPC's own services.

pub mod actions;
mod admission;
mod caller;
mod connection;
mod doget;
mod flight;
mod health;
pub mod http2;
pub mod listen;
mod opened;
mod plans;
pub mod reflection;
pub mod requests;
mod running;
mod seal;
mod states;
mod status;
mod stream;
mod ticket;
mod weights;
mod wire;

use crate::auth::Tls;
use crate::config::Settings;
use crate::engine::Engine;
use crate::telemetry::{Event, Telemetry, admin};
use arrow_flight::flight_service_server::FlightServiceServer;
use caller::{Door, Guarded};
use doget::DoGet;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use flight::Flight;
use seal::Keyring;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tower::layer::layer_fn;

pub use opened::Opened;
pub use status::code_of;

/// After the last stream has ended, for the log to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A server that listens and does not answer yet.
pub struct Server {
    listener: TcpListener,
    admin: Option<TcpListener>,
    flight: Arc<Flight>,
    door: Arc<Door>,
    tls: Option<Arc<Tls>>,
    keys: Option<PathBuf>,
    limits: crate::config::Limits,
    grace: Duration,
    telemetry: Telemetry,
}

impl Server {
    /// Reads what the settings name and opens the sockets.
    pub async fn bind(engine: Engine, settings: &Settings, telemetry: Telemetry) -> Result<Server> {
        let server = &settings.server;
        let opened = Opened::of(settings)?;
        let flight = Arc::new(Flight::new(
            engine,
            flight::Settings {
                keys: opened.keys,
                ticket_lifetime: server.tickets.lifetime,
                staleness: server.staleness,
                limits: server.limits.clone(),
                telemetry: telemetry.clone(),
            },
        ));
        let admin = match server.admin {
            Some(address) => Some(admin::bind(address).await?),
            None => None,
        };
        let listener = TcpListener::bind(server.listen).await.map_err(|e| {
            Error::new(ErrorKind::Unavailable, Stage::Serve, format!("listening on {}: {e}", server.listen))
                .with_retryable(false)
                .advice("choose another --listen HOST:PORT; port 0 takes a free one")
        })?;
        let (keys, limits) = (server.tickets.keys.clone(), server.limits.clone());
        Ok(Server { listener, admin, flight, door: Arc::new(opened.door), tls: opened.tls, keys, limits, grace: server.grace, telemetry })
    }

    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|e| Error::internal(Stage::Serve, format!("the listener's address: {e}")))
    }

    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|admin| admin.local_addr().ok())
    }

    /// Serves until a signal ends it.
    pub async fn run(self) -> Result<()> {
        let mut signals = Signals::watch()?;
        let (address, admin_address) = (self.address()?, self.admin_address());
        let Server { listener, admin, flight, door, tls, keys, limits, grace, telemetry } = self;
        let levels = Arc::clone(&flight);
        telemetry.metrics.sample(move || levels.levels());
        let admin = admin.map(|listener| tokio::spawn(admin::serve(listener, telemetry.clone())));
        let source = tls.clone().map(|tls| Arc::new(move || tls.current()) as listen::TlsSource);
        let connections = listen::Limits { connections: limits.connections, handshake: limits.handshake, ..Default::default() };
        let incoming = listen::incoming(listener, connections, source, telemetry.metrics.clone());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let streams = u32::try_from(limits.streams_per_connection).unwrap_or(u32::MAX);
        let (inner, guard) = (Arc::clone(&flight), Arc::clone(&door));
        let server = http2::http2(tonic::transport::Server::builder(), streams)
            .layer(requests::Requests::new(telemetry.metrics.clone(), requests::REQUEST_TIME))
            .layer(layer_fn(move |service| Guarded::new(service, Arc::clone(&guard))))
            .layer(layer_fn(move |service| DoGet::new(service, Arc::clone(&inner))))
            .add_service(FlightServiceServer::from_arc(Arc::clone(&flight)))
            .add_service(health::service(telemetry.readiness.clone()))
            .add_service(reflection::v1()?)
            .add_service(reflection::v1alpha()?)
            .serve_with_incoming_shutdown(incoming, async move { drop(stopped.await) });
        telemetry.readiness.serving();
        telemetry.log.write(&Event::Ready { listen: address, admin: admin_address, tls: tls.is_some() });
        let files = Files { keys, flight: Arc::clone(&flight), door, tls };
        let failed = |e: tonic::transport::Error| Error::internal(Stage::Serve, format!("serving: {e}"));
        tokio::pin!(server);
        loop {
            tokio::select! {
                served = &mut server => return served.map_err(failed),
                next = signals.next() => match next {
                    Told::Reload => files.reload(&telemetry),
                    Told::Stop(_) => break,
                },
            }
        }
        telemetry.readiness.draining();
        flight.drain();
        telemetry.log.write(&Event::Draining { streams: flight.streams() as u64 });
        drop(stop);
        let end = tokio::time::sleep(grace);
        tokio::pin!(end);
        let served = loop {
            tokio::select! {
                served = &mut server => break served.map_err(failed),
                told = signals.next() => if let Told::Stop(status) = told {
                    telemetry.log.write(&Event::Stopped { cut: flight.streams() as u64 });
                    telemetry.log.flush(LAST_WORDS);
                    std::process::exit(status);
                },
                () = &mut end => break Ok(()),
            }
        };
        let cut = flight.streams() as u64;
        telemetry.log.write(&Event::Stopped { cut });
        telemetry.log.flush(LAST_WORDS);
        if let Some(admin) = admin {
            admin.abort();
        }
        served
    }
}

/// What is read again on SIGHUP.
struct Files {
    keys: Option<PathBuf>,
    flight: Arc<Flight>,
    door: Arc<Door>,
    tls: Option<Arc<Tls>>,
}

impl Files {
    /// What cannot be read stays as it was.
    fn reload(&self, telemetry: &Telemetry) {
        let tell = |what: &str, failed: Option<&Error>| {
            telemetry.metrics.reloaded(failed.is_none());
            telemetry.log.write(&Event::Reload { what, failed });
        };
        let failures = self.door.authenticator.reload();
        failures.iter().for_each(|error| tell("credentials", Some(error)));
        if failures.is_empty() {
            tell("credentials", None);
        }
        if let Some(path) = &self.keys {
            let keys = Keyring::read(path).map(|keys| self.flight.set_keys(keys));
            tell("ticket keys", keys.as_ref().err());
        }
        if let Some(tls) = &self.tls {
            tell("certificates", tls.reload().as_ref().err());
        }
    }
}

/// The signals that a server heeds.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

enum Told {
    /// With the exit status that belongs to the signal: 128 and its number.
    Stop(i32),
    Reload,
}

impl Signals {
    fn watch() -> Result<Signals> {
        let watch = |kind| signal(kind).map_err(|e| Error::internal(Stage::Serve, format!("watching for signals: {e}")));
        Ok(Signals {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
            hangup: watch(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::Stop(130),
            _ = self.terminate.recv() => Told::Stop(143),
            _ = self.hangup.recv() => Told::Reload,
        }
    }
}
