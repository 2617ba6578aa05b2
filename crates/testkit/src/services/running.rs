//! The services as a developer keeps them: started once, side by side, until they are told to end.
//!
//! Contract: [`up`] starts what does not run, returns when all of it answers, and may be called again; ports and data are kept from one time to the
//! next. What is not installed is left out: [`missing`]. [`down`] ends the processes that `up` started and no others: a process id counts only with the time at which its process began. Everything
//! lies in one folder: a folder for each service with its state and log, `services.json` with what runs, `fastdata.toml` with a catalog for each.

use super::catalog::Catalog;
use super::minio::{self, S3};
use super::postgres::Database;
use super::process::{Failed, Life, Process, Program, free_port, is_free, loopback, on_ports, signal_group, start_time};
use super::{demo, nessie, postgres, reference, required};
use crate::door::{Door, DoorOptions};
use fastdata_proxy::{Conditions, Proxy};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const END_TIMEOUT: Duration = Duration::from_secs(20);
const WAREHOUSE: &str = "s3://lake/rest";
/// All of them.
const NAMES: [&str; 6] = ["minio", "postgres", "rest", "nessie", "proxy", "door"];
/// Of the door.
const CLIENT: (&str, &str) = ("reader", "reader-secret");
/// Only this machine reaches the server.
const DATABASE: Database = postgres::NEW;

/// A service that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    pub pid: u32,
    /// As the kernel tells it: it tells one process from a later one with the same id.
    started: String,
    ports: (u16, u16),
}

impl Service {
    fn runs(&self) -> bool {
        start_time(self.pid).is_some_and(|time| time == self.started)
    }

    /// What a person or a program connects to.
    pub fn address(&self) -> String {
        match self.name.as_str() {
            "minio" | "rest" | "proxy" | "door" => format!("http://{}", loopback(self.ports.0)),
            "nessie" => nessie::uri(self.ports.0),
            _ => DATABASE.uri(self.ports.0),
        }
    }
}

/// Starts what does not run, and gives what runs. `program` is the one with the commands `proxy` and `door`: [`proxy`], [`door`].
pub fn up(folder: &Path, program: &Path) -> Vec<Service> {
    std::fs::create_dir_all(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let folder = folder.canonicalize().unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut running = Running::read(&folder);
    running.up("minio", || {
        let program = required("FASTDATA_MINIO", "MinIO")?;
        Some(Box::new(move |folder: &Path, ports: (u16, u16)| minio::launch(&program, folder, ports.0, &store(ports.0), Life::Detached)))
    });
    running.up("postgres", || {
        let programs = postgres::programs()?;
        Some(Box::new(move |folder: &Path, ports: (u16, u16)| postgres::launch(&programs, folder, ports.0, &DATABASE, &[], Life::Detached)))
    });
    let store = running.find("minio").map(|minio| store(minio.ports.0));
    if let Some(store) = &store {
        store.create_bucket(demo::BUCKET);
        running.up("rest", || {
            let classpath = required("FASTDATA_REST_CLASSPATH", "the REST catalog of the Iceberg project")?;
            let properties = reference::properties_on(store.properties(), WAREHOUSE);
            Some(Box::new(move |folder: &Path, ports: (u16, u16)| {
                reference::launch(&classpath, folder, ports.0, &properties, Life::Detached)
            }))
        });
        running.up("nessie", || {
            let programs = nessie::Programs::find()?;
            Some(Box::new(move |folder: &Path, ports: (u16, u16)| nessie::launch(&programs, folder, ports, store, &[], Life::Detached)))
        });
        running.up("proxy", || {
            let store = store.endpoint.clone();
            Some(Box::new(move |folder: &Path, ports: (u16, u16)| own(program, "proxy", &["--store", &store], folder, ports.0)))
        });
        let store_of_door = running.find("proxy").map(Service::address);
        if let (Some(rest), Some(proxy)) = (running.find("rest").map(Service::address), store_of_door) {
            running.up("door", || {
                let arguments = [["--rest", &rest], ["--store", &store.endpoint], ["--lent", &proxy]].concat();
                Some(Box::new(move |folder: &Path, ports: (u16, u16)| own(program, "door", &arguments, folder, ports.0)))
            });
        }
        running.make_tables(store);
    }
    running.configure(store.as_ref());
    running.services
}

/// What [`up`] left out, as it, or the object store that it needs, is not installed.
pub fn missing(services: &[Service]) -> Vec<&'static str> {
    NAMES.into_iter().filter(|name| services.iter().all(|service| service.name != *name)).collect()
}

/// Ends what [`up`] started, and says what that was.
pub fn down(folder: &Path) -> Vec<Service> {
    let mut running = Running::read(folder);
    let mut ended = Vec::new();
    // Catalogs before the store that they use.
    while let Some(service) = running.services.pop() {
        let asked = Instant::now();
        // Time to close what it keeps; PostgreSQL would wait for its clients with the first of these.
        signal_group(service.pid, if service.name == "postgres" { "INT" } else { "TERM" });
        while service.runs() {
            assert!(asked.elapsed() < END_TIMEOUT, "{} (process {}) does not end", service.name, service.pid);
            std::thread::sleep(Duration::from_millis(50));
        }
        running.write();
        ended.push(service);
    }
    ended
}

/// Starts one of the servers of the testkit.
fn own(program: &Path, name: &'static str, arguments: &[&str], folder: &Path, port: u16) -> Result<Process, Failed> {
    let mut command = Command::new(program);
    command.args([name, "--port", &port.to_string()]).args(arguments);
    let program = Program { name, command, log: folder.join(format!("{name}.log")), stop: "KILL", user: None };
    Process::start(program, Life::Detached).up(|| TcpStream::connect(loopback(port)).is_ok())
}

/// A proxy with faults on a port, before a store, until the process ends.
pub async fn proxy(port: u16, store: SocketAddr, conditions: Conditions) -> std::io::Result<()> {
    let _proxy = Proxy::start_on(port, store, conditions).await?;
    std::future::pending().await
}

/// A strict door on a port, before a REST catalog, until the process ends. It lends sessions of a store for use at the endpoint `lent`.
pub async fn door(
    port: u16,
    rest: String,
    store_endpoint: &str,
    lent: String,
    token_life: Duration,
    life: Duration,
) -> std::io::Result<()> {
    let store = S3 { endpoint: store_endpoint.to_owned(), authority: None };
    let mut options = DoorOptions::lending_sessions(rest, store, CLIENT, token_life, life);
    options.lending.iter_mut().for_each(|lending| drop(lending.properties.insert("s3.endpoint".to_owned(), lent.clone())));
    let _door = Door::open_on(port, options).await;
    std::future::pending().await
}

fn store(port: u16) -> S3 {
    S3 { endpoint: format!("http://{}", loopback(port)), authority: None }
}

type Start<'a> = Box<dyn FnMut(&Path, (u16, u16)) -> Result<Process, Failed> + 'a>;

struct Running {
    folder: PathBuf,
    services: Vec<Service>,
    /// Of services that ran here before, so that configurations stay right.
    ports: Map<String, Value>,
}

impl Running {
    /// What is written down, without what has ended since.
    fn read(folder: &Path) -> Running {
        let state = match std::fs::read(folder.join("services.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", folder.join("services.json").display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => json!({}),
            Err(e) => panic!("{}: {e}", folder.join("services.json").display()),
        };
        let services = state["running"].as_array().into_iter().flatten().filter_map(read_service).filter(Service::runs).collect();
        Running { folder: folder.to_owned(), services, ports: state["ports"].as_object().cloned().unwrap_or_default() }
    }

    fn write(&self) {
        let running: Vec<Value> = self
            .services
            .iter()
            .map(|s| json!({"name": s.name, "pid": s.pid, "started": s.started, "ports": [s.ports.0, s.ports.1]}))
            .collect();
        let text = format!("{:#}\n", json!({"running": running, "ports": self.ports}));
        let (file, aside) = (self.folder.join("services.json"), self.folder.join(".services.json"));
        std::fs::write(&aside, text).and_then(|()| std::fs::rename(&aside, &file)).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }

    fn find(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    fn up<'a>(&mut self, name: &str, prepare: impl FnOnce() -> Option<Start<'a>>) {
        if self.find(name).is_some() {
            return;
        }
        let Some(mut start) = prepare() else { return };
        let before = |index: usize| u16::try_from(self.ports.get(name)?.get(index)?.as_u64()?).ok().filter(|port| is_free(*port));
        let ports = (before(0).unwrap_or_else(free_port), before(1).unwrap_or_else(free_port));
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let (ports, process) = on_ports(ports, |ports| start(&folder, ports));
        let started = start_time(process.id()).unwrap_or_else(|| panic!("{name} has ended"));
        self.services.push(Service { name: name.to_owned(), pid: process.id(), started, ports });
        self.ports.insert(name.to_owned(), json!([ports.0, ports.1]));
        self.write();
        process.release();
    }

    fn make_tables(&self, store: &S3) {
        if let Some(service) = self.find("postgres") {
            demo::make_sql(store, &service.address(), "postgres", "postgres");
        }
        if let Some(service) = self.find("rest") {
            demo::make(store, &reference::catalog(service.ports.0), "rest");
        }
        if let Some(service) = self.find("nessie") {
            demo::make(store, &nessie::catalog(service.ports.0), "nessie");
        }
    }

    /// `fastdata.toml`, with a catalog for each service.
    fn configure(&self, store: Option<&S3>) {
        let mut text = String::from("# Written by `make services-up`.\n");
        let catalogs: Vec<&Service> = self.services.iter().filter(|service| !["minio", "proxy"].contains(&service.name.as_str())).collect();
        if let Some(default) = catalogs.iter().rfind(|service| service.name != "door") {
            let _ = writeln!(text, "default-catalog = \"{}\"", default.name);
        }
        for service in catalogs {
            let mut properties = vec![("uri".to_owned(), service.address())];
            let kind = if service.name == "postgres" { "sql" } else { "rest" };
            properties.insert(0, ("type".to_owned(), kind.to_owned()));
            if service.name == "postgres" {
                properties.push(("warehouse".to_owned(), format!("s3://{}/postgres", demo::BUCKET)));
            }
            // The others vend what their tables need.
            if service.name == "door" {
                properties.push(("credential".to_owned(), format!("{}:{}", CLIENT.0, CLIENT.1)));
            } else if service.name != "nessie" {
                properties.extend(store.iter().flat_map(|store| store.properties()));
            }
            let _ = writeln!(text, "\n[catalogs.{}]", service.name);
            for (name, value) in properties {
                let _ = writeln!(text, "\"{name}\" = \"{value}\"");
            }
        }
        let file = self.folder.join("fastdata.toml");
        std::fs::write(&file, text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
}

fn read_service(value: &Value) -> Option<Service> {
    let port = |index: usize| value["ports"][index].as_u64().and_then(|port| u16::try_from(port).ok());
    Some(Service {
        name: value["name"].as_str()?.to_owned(),
        pid: u32::try_from(value["pid"].as_u64()?).ok()?,
        started: value["started"].as_str()?.to_owned(),
        ports: (port(0)?, port(1)?),
    })
}

/// Puts the demo table into a store and two catalogs that somebody else runs, where they have none.
pub fn make_tables(store_endpoint: &str, rest: &str, postgres_uri: &str) {
    let store = S3 { endpoint: store_endpoint.trim_end_matches('/').to_owned(), authority: None };
    let catalog = Catalog::new(format!("{}/v1", rest.trim_end_matches('/')), reference::SEPARATOR);
    demo::make(&store, &catalog, "rest");
    demo::make_sql(&store, postgres_uri, "postgres", "postgres");
}
