//! The real server, driven by our client and by plain pyarrow.

mod bounds;
mod documented;
mod exact;
mod failing;
mod first_steps;
mod interrupted;
pub mod private;
mod refused;
mod scans;
pub mod wire;

use crate::support::{fastdata, succeed};
use arrow::array::{ArrayData, ArrayRef, RecordBatch, make_array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use fastdata_client::{Client, ConnectOptions, Plan, PullOptions};
use fastdata_testkit::folder;
use fastdata_types::ScanRequest;
use fastdata_types::lanes::Cursor;
use futures::StreamExt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A server on a free port, ended when dropped. What it writes to standard error is in a file.
pub struct Server {
    child: Child,
    pub uri: String,
    admin: Option<String>,
    log: PathBuf,
}

/// For a server that is to come back on its port.
pub use fastdata_testkit::services::process::free_port;

impl Server {
    pub fn start() -> Server {
        Server::of(crate::command_line::warehouse())
    }

    /// The warehouse `w` of a folder.
    pub fn of(folder: &Path) -> Server {
        Server::with(folder, &["--warehouse", "w"])
    }

    /// With arguments of its own, in a folder that may hold a configuration.
    pub fn with(folder: &Path, arguments: &[&str]) -> Server {
        Server::with_environment(folder, arguments, &[])
    }

    pub fn with_environment(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Server {
        let listen: &[&str] = if arguments.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let log =
            std::env::temp_dir().join(format!("fastdata-serve-{}-{}.log", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
        let mut child = fastdata(folder)
            .args(["serve", "--log", "json"])
            .args(listen)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let first = lines.next().unwrap_or_default();
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        let uri = first.strip_prefix("listening on ").unwrap_or_else(|| panic!("unexpected first line: {first}\n{}", said())).to_owned();
        let admin = lines.next().and_then(|line| line.strip_prefix("health and metrics on http://").map(str::to_owned));
        Server { child, uri, admin, log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// How it ended, and after what time.
    pub fn ended(&mut self, within: Duration) -> (ExitStatus, Duration) {
        let started = Instant::now();
        while started.elapsed() < within {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, started.elapsed());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server is alive after {within:?}");
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Status and body of a page of the admin port.
    pub fn page(&self, path: &str) -> (u16, String) {
        let admin = self.admin.as_ref().expect("the server has an admin port");
        let mut stream = TcpStream::connect(admin).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    pub fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.page("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
    }

    /// Waits until a figure is what it should be.
    pub fn await_metric(&self, series: &str, within: Duration, holds: impl Fn(f64) -> bool) -> f64 {
        let started = Instant::now();
        loop {
            let value = self.metric(series);
            if holds(value) {
                return value;
            }
            assert!(started.elapsed() < within, "{series} is {value} after {within:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Resident bytes now, or at most so far.
    pub fn memory(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        line.trim_matches([':', '\t', ' ']).strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() << 10
    }

    pub fn resident(&self) -> u64 {
        self.memory("VmRSS")
    }

    pub async fn client(&self) -> Client {
        Client::connect(&self.uri, ConnectOptions::default()).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}

/// A table of more bytes than a connection holds in flight.
pub fn large() -> &'static Path {
    static WAREHOUSE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let directory = folder::of_process();
        succeed(&directory, &["demo", "w", "--scale", "0.03"]);
        directory
    };
    WAREHOUSE.get_or_init(make)
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

/// The rows of some lanes as text, lane by lane, from a cursor on; at most so many batches of each.
pub async fn rows_of(plan: &Plan, lanes: &[u32], cursor: &Cursor, batches: usize) -> (Vec<Vec<String>>, Cursor) {
    let (mut rows, mut cursor) = (vec![vec![]; plan.lanes() as usize], cursor.clone());
    for lane in lanes {
        let options = PullOptions { lanes: Some(vec![*lane]), cursor: Some(cursor.clone()), ..Default::default() };
        let mut pull = plan.pull(options).unwrap().take(batches);
        while let Some(next) = pull.next().await {
            let (lane, next) = next.unwrap();
            rows[lane as usize].extend(text_of(&next.batch));
            cursor.advance(lane, next.position);
        }
    }
    (rows, cursor)
}

/// One line a row.
pub fn text_of(batch: &RecordBatch) -> Vec<String> {
    let columns: Vec<ArrayRef> = batch.columns().iter().map(|column| make_array(without_zones(column.to_data()))).collect();
    let fields: Vec<Field> =
        columns.iter().zip(batch.schema().fields()).map(|(c, f)| Field::new(f.name(), c.data_type().clone(), true)).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    String::from_utf8(writer.into_inner()).unwrap().lines().map(str::to_owned).collect()
}

/// The JSON writer knows no names of time zones.
fn without_zones(data: ArrayData) -> ArrayData {
    let children = data.child_data().iter().cloned().map(without_zones).collect();
    let ty = zoneless(data.data_type());
    data.into_builder().data_type(ty).child_data(children).build().unwrap()
}

fn zoneless(ty: &DataType) -> DataType {
    let field = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(zoneless(field.data_type())));
    match ty {
        DataType::Timestamp(unit, _) => DataType::Timestamp(*unit, None),
        DataType::List(inner) => DataType::List(field(inner)),
        DataType::FixedSizeList(inner, size) => DataType::FixedSizeList(field(inner), *size),
        DataType::Map(inner, sorted) => DataType::Map(field(inner), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        other => other.clone(),
    }
}

pub fn request(json: &str) -> ScanRequest {
    ScanRequest::from_json(json.as_bytes()).unwrap()
}
