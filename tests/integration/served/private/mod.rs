//! Who may connect, call and see what: the real server with real configurations, held to docs/security.md from outside.

mod policy;
mod secrets;
mod tls;
mod tokens;

pub use tokens::{Issuer, JWT, claims, unsigned};

use super::Server;
use crate::support::{fastdata, run};
use fastdata_client::{Client, ConnectOptions, Token};
use fastdata_testkit::loud;
use fastdata_types::transform::Transform;
use fastdata_types::{Error, Field, PrimitiveType as P, Schema, TableName, Type, Value};
use fastdata_write::{FileOptions, TableOptions, Warehouse, values};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Rows of `hr.people`, in three commits.
const PEOPLE: i64 = 180;

/// A folder with a warehouse `w`, and whatever else a server reads.
pub struct Place {
    folder: TempDir,
}

impl Place {
    /// With the tables of `tables`.
    pub fn new() -> Place {
        let place = Place::empty();
        tables(&place.path("w"), true);
        place
    }

    fn empty() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// A new token, known from the next reading of `tokens` on, and its line there.
    fn token(&self, principal: &str, groups: &[&str]) -> (String, String) {
        let groups = groups.iter().flat_map(|group| ["--group", group]);
        let arguments: Vec<&str> = ["token", principal].into_iter().chain(groups).collect();
        let output = run(self.folder.path(), &arguments);
        assert!(output.status.success());
        let (token, line) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let known = std::fs::read_to_string(self.path("tokens")).unwrap_or_default();
        self.write("tokens", &format!("{known}{line}"));
        loud::handed_out(token.trim_end());
        (token.trim_end().to_owned(), line)
    }

    /// A server of `w` with this configuration and an admin port.
    pub fn serve(&self, config: &str) -> Server {
        self.serve_of("w", config)
    }

    fn serve_of(&self, warehouse: &str, config: &str) -> Server {
        self.write("fastdata.toml", config);
        Server::with(self.folder.path(), &["--warehouse", warehouse, "--admin", "127.0.0.1:0"])
    }

    /// The ids that a scan by our command returns, with flags for the connection.
    fn scan(&self, uri: &str, flags: &[&str]) -> Result<usize, Failed> {
        let output = fastdata(self.folder.path())
            .args(["scan", "hr.people", "--select", "id", "-o", "jsonl", "--server", uri])
            .args(flags)
            .output()
            .unwrap();
        match output.status.code() {
            Some(0) => Ok(String::from_utf8(output.stdout).unwrap().lines().count()),
            status => Err(Failed { status, text: String::from_utf8(output.stderr).unwrap() }),
        }
    }
}

/// How our command failed.
#[derive(Debug, PartialEq)]
struct Failed {
    status: Option<i32>,
    text: String,
}

impl Failed {
    /// Holds it to a kind and to words.
    fn is(&self, kind: &str, words: &[&str]) {
        assert!(self.text.starts_with(&format!("error: {kind}\n")), "{}", self.text);
        words.iter().for_each(|word| assert!(self.text.contains(word), "no {word} in {}", self.text));
    }
}

fn text(value: String) -> Option<Value> {
    Some(Value::String(value))
}

/// `hr.people` and `hr.open`; with `hidden` also what no rule of these tests shows: two tables, a namespace, columns, a property.
fn tables(folder: &Path, hidden: bool) {
    let warehouse = Warehouse::open(folder).unwrap();
    let mut address = vec![Field::optional(6, "city", P::String)];
    let mut fields = vec![Field::required(1, "id", P::Long), Field::optional(2, "region", P::String)];
    if hidden {
        address.push(Field::optional(7, "street", P::String));
        fields.push(Field::optional(3, "ssn", P::String));
        fields.push(Field::optional(4, "salary", P::Long));
    }
    fields.push(Field::optional(5, "address", Type::structure(address)));
    let options = || TableOptions {
        partition: vec![("region".to_owned(), Transform::Identity)],
        properties: if hidden { [("owner".to_owned(), "payroll".to_owned())].into() } else { Default::default() },
        ..TableOptions::new(Schema::new(0, fields.clone()).unwrap())
    };
    let mut people = warehouse.create_table(&TableName::new(["hr"], "people"), options()).unwrap();
    let row = |id: i64| {
        let mut address = vec![text("Oslo".to_owned())];
        let mut row = vec![Some(Value::Long(id)), (id % 3 != 2).then(|| Value::String(["EU", "US"][id as usize % 3].to_owned()))];
        if hidden {
            address.push(text(format!("street-{id}")));
            row.extend([text(format!("ssn-{id}")), Some(Value::Long(id))]);
        }
        row.push(Some(Value::Struct(address)));
        row
    };
    for part in 0..3 {
        let rows: Vec<_> = (part * PEOPLE / 3..(part + 1) * PEOPLE / 3).map(row).collect();
        let batch = values::batch(people.schema(), &rows).unwrap();
        let mut change = people.change();
        change.append(&[batch], &FileOptions::default()).unwrap();
        change.commit().unwrap();
    }
    warehouse.create_table(&TableName::new(["hr"], "open"), options()).unwrap();
    if hidden {
        warehouse.create_table(&TableName::new(["hr"], "secret"), options()).unwrap();
        warehouse.create_table(&TableName::new(["vault"], "gold"), options()).unwrap();
    }
}

/// Events of the log with this name.
fn events(server: &Server, name: &str) -> Vec<serde_json::Value> {
    let log = server.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter(|line| line["event"] == name).collect()
}

/// Waits for what the log has to say.
fn await_events(server: &Server, name: &str, count: usize) -> Vec<serde_json::Value> {
    let started = Instant::now();
    loop {
        let found = events(server, name);
        if found.len() >= count {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{} of {count} lines {name} in\n{}", found.len(), server.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// SIGHUP, and what the log tells of so many readings.
fn reload(server: &Server, readings: usize) -> Vec<serde_json::Value> {
    let before = events(server, "reload").len();
    server.signal("HUP");
    await_events(server, "reload", before + readings).split_off(before)
}

pub async fn client(uri: &str, token: Option<&str>) -> Result<Client, Error> {
    let options = ConnectOptions { token: token.map(|token| Token::new(token).unwrap()), ..Default::default() };
    Client::connect(uri, options).await.map(|client| client.with_retry_for(Duration::ZERO))
}

fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}
