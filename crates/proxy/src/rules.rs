//! What each request suffers, and what is remembered of it.

use crate::Conditions;
use crate::answer::{Answer, Signed};
use crate::faults::{Change, Drawn, Fault, Seeded};
use crate::head::Request;
use percent_encoding::percent_decode_str;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::time::{Duration, Instant};

/// One request as it came over the wire, and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    pub method: String,
    /// Still percent-encoded.
    pub path: String,
    pub query: String,
    pub range: Option<String>,
    pub signed: Signed,
    /// 0 until there is an answer.
    pub status: u16,
    pub fault: Option<Fault>,
}

/// An exchange and its times, which count from the start of the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    exchange: Exchange,
    /// The client's connection, counted from 0.
    pub connection: u64,
    pub came: Duration,
    /// From the request to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// When the last byte was handed on, or the connection broke.
    pub ended: Option<Duration>,
    /// Of the answer's body, as handed on.
    pub bytes: u64,
}

impl Deref for Logged {
    type Target = Exchange;

    fn deref(&self) -> &Exchange {
        &self.exchange
    }
}

impl Exchange {
    /// `GET /bucket/key bytes=0-9`, for comparing in one line.
    pub fn line(&self) -> String {
        let range = self.range.as_deref().map(|range| format!(" {range}")).unwrap_or_default();
        format!("{} {}{range}", self.method, self.path)
    }
}

/// What one request gets.
pub(crate) struct Verdict {
    pub(crate) upstream: SocketAddr,
    pub(crate) entry: u64,
    pub(crate) pause: Duration,
    pub(crate) fault: Option<Fault>,
    /// Instead of the server's answer.
    pub(crate) answer: Option<Answer>,
    pub(crate) bandwidth: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Rules {
    upstream: SocketAddr,
    conditions: Conditions,
    seeded: Seeded,
    queue: Vec<(String, Fault)>,
    expiry: HashMap<String, Instant>,
    log: Vec<Logged>,
    /// Entries that were taken before the first of `log`.
    taken: u64,
    connections: u64,
    started: Instant,
}

impl Rules {
    pub(crate) fn new(upstream: SocketAddr, conditions: Conditions) -> Rules {
        Rules {
            upstream,
            seeded: Seeded::new(conditions.faults.clone()),
            conditions,
            queue: Vec::new(),
            expiry: HashMap::new(),
            log: Vec::new(),
            taken: 0,
            connections: 0,
            started: Instant::now(),
        }
    }

    pub(crate) fn set(&mut self, conditions: Conditions) {
        self.seeded = Seeded::new(conditions.faults.clone());
        self.conditions = conditions;
    }

    pub(crate) fn queue(&mut self, path_part: &str, faults: impl IntoIterator<Item = Fault>) {
        self.queue.extend(faults.into_iter().map(|fault| (path_part.to_owned(), fault)));
    }

    pub(crate) fn forgive(&mut self) {
        self.queue.clear();
    }

    pub(crate) fn expire(&mut self, access_key_id: &str, at: Instant) {
        self.expiry.insert(access_key_id.to_owned(), at);
    }

    pub(crate) fn take_log(&mut self) -> Vec<Logged> {
        self.taken += self.log.len() as u64;
        std::mem::take(&mut self.log)
    }

    pub(crate) fn connected(&mut self) -> u64 {
        self.connections += 1;
        self.connections - 1
    }

    pub(crate) fn decide(&mut self, request: &Request, connection: u64) -> Verdict {
        let target = percent_decode_str(request.path.trim_start_matches('/')).decode_utf8_lossy().into_owned();
        let (bucket, key) = target.split_once('/').unwrap_or((target.as_str(), ""));
        let queued = self.queue.iter().position(|(part, _)| request.path.contains(part.as_str()));
        let queued = queued.map(|index| self.queue.remove(index).1);
        let drawn = match queued {
            // What is queued does not use up what the seed holds.
            Some(fault) => Drawn { fault: Some(fault), ..Drawn::default() },
            None => self.seeded.draw(bucket, key),
        };
        let fault = if self.is_expired(request) { Some(Fault::ExpiredToken) } else { drawn.fault };
        let hang = if let Some(Fault::Hang(pause)) = fault { pause } else { Duration::ZERO };
        let refusal = fault.as_ref().and_then(|fault| Answer::refusal(fault, &request.signed));
        let replaced = drawn.changed.filter(|_| matches!(request.method.as_str(), "GET" | "HEAD"));
        let answer = refusal.or_else(|| replaced.map(|bytes| Answer::object(&bytes, Change::ETAG, request.range.as_deref())));
        self.log.push(Logged {
            exchange: Exchange {
                method: request.method.clone(),
                path: request.path.clone(),
                query: request.query.clone(),
                range: request.range.clone(),
                signed: request.signed.clone(),
                status: 0,
                fault: fault.clone(),
            },
            connection,
            came: self.started.elapsed(),
            first_byte: None,
            ended: None,
            bytes: 0,
        });
        Verdict {
            upstream: self.upstream,
            entry: self.taken + self.log.len() as u64 - 1,
            pause: self.conditions.latency + drawn.pause + hang,
            fault,
            answer,
            bandwidth: self.conditions.bandwidth_per_connection,
        }
    }

    fn is_expired(&self, request: &Request) -> bool {
        let expiry = request.signed.access_key_id.as_ref().and_then(|id| self.expiry.get(id));
        expiry.is_some_and(|expiry| *expiry <= Instant::now())
    }

    /// The head of the answer goes out.
    pub(crate) fn answered(&mut self, entry: u64, status: u16) {
        let now = self.started.elapsed();
        if let Some(logged) = self.entry(entry) {
            logged.exchange.status = status;
            logged.first_byte = Some(now.saturating_sub(logged.came));
        }
    }

    pub(crate) fn ended(&mut self, entry: u64, bytes: u64) {
        let now = self.started.elapsed();
        if let Some(logged) = self.entry(entry) {
            logged.bytes = bytes;
            logged.ended = Some(now);
        }
    }

    fn entry(&mut self, entry: u64) -> Option<&mut Logged> {
        self.log.get_mut(usize::try_from(entry.checked_sub(self.taken)?).ok()?)
    }
}
