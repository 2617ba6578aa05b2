//! A network with chosen properties, and faults on demand, in front of any HTTP/1.1 server.
//!
//! Problem: how a reader behaves at 30 ms of latency, at 50 MB/s a connection, or while the store throttles and connections break, shows
//! only on such a network, and has to show again with the same seed. Contract: [`Proxy::start`] listens on a free loopback port; requests
//! and answers pass with the bytes that came, so that signatures over them hold; bodies stream, nothing is collected; every
//! request is logged with what it suffered. Faults are queued ([`Proxy::fail`]) or drawn from a seed ([`Faults`]). Without [`Conditions`] it is
//! only a proxy. How:
//!
//! ```text
//! client -> connection (one upstream connection for each) -> head (what is asked) -> rules (what it suffers)
//!                      `-> relay (bodies: framing, bandwidth, where they break off)  `-> faults (drawn)  answer (made here)
//! ```
//!
//! Latency comes before the request is handed on, bandwidth holds for each connection's answers. A connection whose server
//! dies or cannot be reached is reset.

mod answer;
mod connection;
mod faults;
mod head;
mod relay;
mod rules;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Signed};
pub use faults::{Change, Drawn, Fault, Faults, Seeded};
pub use rules::{Exchange, Logged};

use rules::Rules;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// How the network and the server behind it behave. The default adds nothing.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// What each request waits before it is handed on.
    pub latency: Duration,
    /// Bytes per second of the answers on one connection; as fast as it goes without.
    pub bandwidth_per_connection: Option<u64>,
    pub faults: Faults,
}

/// A running proxy; it ends, and its connections with it, when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    rules: Arc<Mutex<Rules>>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Listens on a free loopback port and serves on the current runtime.
    pub async fn start(upstream: SocketAddr, conditions: Conditions) -> io::Result<Proxy> {
        Proxy::start_on(0, upstream, conditions).await
    }

    /// On a port of loopback, or on a free one where that is 0.
    pub async fn start_on(port: u16, upstream: SocketAddr, conditions: Conditions) -> io::Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let rules = Arc::new(Mutex::new(Rules::new(upstream, conditions)));
        let task = tokio::spawn(accept(listener, rules.clone()));
        Ok(Proxy { address, rules, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From the next request on; what was drawn from a seed begins anew.
    pub fn set(&self, conditions: Conditions) {
        self.lock().set(conditions);
    }

    /// The next requests whose path (as it came) holds this text suffer these, in order, before anything is drawn; an empty text fits all.
    pub fn fail(&self, path_part: &str, faults: impl IntoIterator<Item = Fault>) {
        self.lock().queue(path_part, faults);
    }

    /// Whatever is queued is forgotten.
    pub fn forgive(&self) {
        self.lock().forgive();
    }

    /// Requests with this access key id get 400 ExpiredToken from this moment on.
    pub fn expire(&self, access_key_id: &str, at: Instant) {
        self.lock().expire(access_key_id, at);
    }

    /// The requests since the last call, in the order they came. Those still under way are in it as far as they are, and in no later one.
    pub fn take_log(&self) -> Vec<Logged> {
        self.lock().take_log()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, rules: Arc<Mutex<Rules>>) {
    // Dropped with this task: connections end with the proxy.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    connections.spawn(connection::serve(client, rules.clone()));
                }
                // Out of file handles, or gone before it was taken.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
