//! The server's log: one line per event on standard error, JSON or text.
//!
//! Contract: writing never blocks and never fails. Lines go through a bounded queue to a thread of their own; a line that finds the queue
//! full is dropped and counted, so a pipe that nobody reads costs lines and no request. Fields have fixed names, texts from callers are
//! escaped and cut at [`LONGEST`] bytes. A token, a credential or a filter is never written: filters hold personal values, so the messages of
//! errors that quote a request are left out too (the caller has them).

use super::Metrics;
use chrono::{SecondsFormat, Utc};
use fastdata_types::stats::ScanStats;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Bytes of one text in a line.
pub const LONGEST: usize = 1024;
/// Lines that wait for their reader.
const QUEUE: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// `time event key=value ...`, for people.
    Text,
}

impl Format {
    /// Text for a person at a terminal, JSON for everything else.
    pub fn of_stderr() -> Format {
        if std::io::stderr().is_terminal() { Format::Text } else { Format::Json }
    }
}

/// What a line tells. docs/operations.md lists the fields of each, and a test compares.
#[derive(Debug)]
pub enum Event<'a> {
    /// The process is up and reads its settings.
    Start { version: &'a str },
    /// It listens.
    Ready { listen: SocketAddr, admin: Option<SocketAddr>, tls: bool },
    /// A stream has ended, whichever way.
    Scan(Scan<'a>),
    /// A plan was refused or failed.
    PlanFailed { principal: &'a str, peer: Option<SocketAddr>, table: Option<&'a str>, error: &'a Error },
    /// Tokens, keys or certificates were read again; what was is kept where that failed.
    Reload { what: &'a str, failed: Option<&'a Error> },
    /// A signal asked the server to stop.
    Draining { streams: u64 },
    /// It is about to exit; `cut` streams did not finish in time.
    Stopped { cut: u64 },
}

/// The one line of a scan.
#[derive(Debug)]
pub struct Scan<'a> {
    pub principal: &'a str,
    pub peer: Option<SocketAddr>,
    pub table: &'a str,
    pub snapshot_id: Option<i64>,
    pub plan_digest: &'a str,
    pub lane: Option<u32>,
    /// `ok` or the name of an error kind.
    pub outcome: &'static str,
    pub message: Option<&'a str>,
    /// Put on the wire.
    pub rows: u64,
    pub bytes: u64,
    pub duration: Duration,
    pub wire: Duration,
    pub stats: &'a ScanStats,
}

type Fields = Vec<(&'static str, Value)>;

impl Event<'_> {
    pub fn name(&self) -> &'static str {
        match self {
            Event::Start { .. } => "start",
            Event::Ready { .. } => "ready",
            Event::Scan(_) => "scan",
            Event::PlanFailed { .. } => "plan-failed",
            Event::Reload { .. } => "reload",
            Event::Draining { .. } => "draining",
            Event::Stopped { .. } => "stopped",
        }
    }

    /// Names and values, in the order in which they are written. What is unknown is left out.
    pub fn fields(&self) -> Fields {
        let fields = match self {
            Event::Start { version } => vec![("version", json!(version)), ("pid", json!(std::process::id()))],
            Event::Ready { listen, admin, tls } => {
                vec![("listen", json!(listen.to_string())), ("admin", json!(admin.map(|a| a.to_string()))), ("tls", json!(tls))]
            }
            Event::Scan(scan) => scan.fields(),
            Event::PlanFailed { principal, peer, table, error } => vec![
                ("principal", text(principal)),
                ("peer", peer_of(peer)),
                ("table", table.map_or(Value::Null, text)),
                ("outcome", json!(error.kind().name())),
                ("stage", json!(error.stage().name())),
                ("message", message_of(error).map_or(Value::Null, text)),
            ],
            Event::Reload { what, failed } => vec![
                ("what", text(what)),
                ("outcome", json!(failed.map_or(super::metrics::OK, |error| error.kind().name()))),
                ("message", failed.map_or(Value::Null, |error| text(error.message()))),
            ],
            Event::Draining { streams } => vec![("streams", json!(streams))],
            Event::Stopped { cut } => vec![("cut", json!(cut))],
        };
        fields.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }
}

impl Scan<'_> {
    fn fields(&self) -> Fields {
        let micros = |duration: Duration| json!(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
        vec![
            ("principal", text(self.principal)),
            ("peer", peer_of(&self.peer)),
            ("table", text(self.table)),
            // As text: readers of JSON round large numbers.
            ("snapshotId", self.snapshot_id.map_or(Value::Null, |id| json!(id.to_string()))),
            ("planDigest", text(self.plan_digest)),
            ("lane", json!(self.lane)),
            ("outcome", json!(self.outcome)),
            ("message", self.message.map_or(Value::Null, text)),
            ("rows", json!(self.rows)),
            ("bytes", json!(self.bytes)),
            ("durationUs", micros(self.duration)),
            ("planningUs", json!(self.stats.planning_us)),
            ("storageUs", json!(self.stats.storage_us)),
            ("decodeUs", json!(self.stats.decode_us)),
            ("filterUs", json!(self.stats.filter_us)),
            ("deleteUs", json!(self.stats.delete_us)),
            ("wireUs", micros(self.wire)),
            ("clientUs", json!(self.stats.consumer_us)),
            ("requests", json!(self.stats.requests)),
            ("retries", json!(self.stats.retries)),
            ("hedges", json!(self.stats.hedges)),
        ]
    }
}

/// The message of an error, unless it may quote the request.
pub(super) fn message_of(error: &Error) -> Option<&str> {
    let quotes_the_request = error.kind() == ErrorKind::InvalidRequest || error.stage() == Stage::Request;
    (!quotes_the_request).then(|| error.message())
}

fn peer_of(peer: &Option<SocketAddr>) -> Value {
    peer.map_or(Value::Null, |peer| json!(peer.to_string()))
}

/// A text from elsewhere, cut at a character's border.
fn text(text: &str) -> Value {
    if text.len() <= LONGEST {
        return Value::String(text.to_owned());
    }
    let mut end = LONGEST;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Value::String(format!("{}…", &text[..end]))
}

/// One line, without its end.
fn line(format: Format, event: &Event) -> String {
    let time = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
    match format {
        Format::Json => {
            let head = [("time", json!(time)), ("event", json!(event.name()))];
            let fields = head.into_iter().chain(event.fields()).map(|(name, value)| format!("\"{name}\":{value}"));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Format::Text => {
            let fields = event.fields().into_iter().map(|(name, value)| format!(" {name}={}", plain(&value)));
            format!("{time} {}{}", event.name(), fields.collect::<String>())
        }
    }
}

/// A value as it is where it is one word, else as JSON; control characters never reach a terminal.
fn plain(value: &Value) -> Cow<'_, str> {
    let word = |c: char| c.is_alphanumeric() || "-_.:/[]".contains(c);
    match value {
        Value::String(text) if !text.is_empty() && text.chars().all(word) => Cow::Borrowed(text),
        // JSON leaves C1 controls and marks of direction as they are.
        other => Cow::Owned(other.to_string().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()),
    }
}

enum Message {
    Line(String),
    /// Answered once everything before it is written.
    Flush(SyncSender<()>),
}

/// Cheap to clone: all clones write to one place.
#[derive(Clone)]
pub struct Log {
    format: Format,
    queue: SyncSender<Message>,
    metrics: Metrics,
}

impl Log {
    pub(super) fn new(format: Format, sink: Box<dyn Write + Send>, metrics: Metrics) -> Result<Log> {
        let (queue, lines) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("fastdata-log".into())
            .spawn(move || write_lines(sink, &lines))
            .map_err(|e| Error::internal(Stage::Serve, format!("starting the log's thread: {e}")))?;
        Ok(Log { format, queue, metrics })
    }

    pub fn write(&self, event: &Event) {
        let line = line(self.format, event);
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.queue.try_send(Message::Line(line)) {
            self.metrics.log_line_dropped();
        }
    }

    /// Waits until what was written so far has left the process, for `longest` at most. Blocks the thread: only for the end of the process.
    pub fn flush(&self, longest: Duration) {
        let (done, written) = sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(longest);
        }
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("format", &self.format).finish_non_exhaustive()
    }
}

fn write_lines(mut sink: Box<dyn Write + Send>, lines: &Receiver<Message>) {
    while let Ok(message) = lines.recv() {
        match message {
            // A sink that fails has nobody to tell.
            Message::Line(line) => drop(sink.write_all(format!("{line}\n").as_bytes())),
            Message::Flush(done) => {
                let _ = sink.flush();
                let _ = done.send(());
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
