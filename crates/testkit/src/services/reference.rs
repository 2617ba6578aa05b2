//! The Iceberg project's own REST catalog server, on SQLite, over MinIO.
//!
//! Contract: any token is accepted; `/v1` has no prefix; the catalog lasts as long as the value. How: the server's own main listens on every
//! address, so a small one of ours (`scripts/components/rest`) starts the same servlet on loopback.

use super::catalog::Catalog;
use super::minio::Minio;
use super::process::{Failed, Life, Process, Program, loopback, on_free_port, state_folder};
use super::required;
use reqwest::Method;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

const JVM: [&str; 4] = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"];
/// As its answer to `/v1/config` says; it refuses the one of the specification.
pub const SEPARATOR: &str = ".";
const MAIN_CLASS: &str = "org.apache.iceberg.rest.CatalogServer";

/// A Java that is quick to start, small, and quiet but for warnings. The libraries that it unpacks go with `directory`.
pub(super) fn java(program: &str, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(JVM).arg(format!("-Djava.io.tmpdir={}", directory.display()));
    command
}

pub struct Reference {
    port: u16,
    _process: Process,
    // Dropped after the server has ended.
    _directory: tempfile::TempDir,
}

impl Reference {
    /// Tables are objects in the store, new ones below `warehouse`, such as `s3://lake/rest`.
    pub fn start_on(minio: &Minio, warehouse: &str) -> Option<Reference> {
        let classpath = required("FASTDATA_REST_CLASSPATH", "the REST catalog of the Iceberg project")?;
        let (directory, properties) = (state_folder("rest"), properties_on(minio.properties(), warehouse));
        let (port, process) = on_free_port(|port| launch(&classpath, directory.path(), port, &properties, Life::Bound));
        Some(Reference { port, _process: process, _directory: directory })
    }

    /// One over the shared MinIO for all tests of the process; keep to namespaces of your own.
    pub fn shared() -> Option<&'static Reference> {
        static SHARED: OnceLock<Option<Reference>> = OnceLock::new();
        let start = || {
            let minio = Minio::shared()?;
            minio.create_bucket("lake");
            Reference::start_on(minio, "s3://lake/rest")
        };
        SHARED.get_or_init(start).as_ref()
    }

    /// What `uri` of a catalog's configuration is.
    pub fn uri(&self) -> String {
        format!("http://{}", self.address())
    }

    pub fn address(&self) -> SocketAddr {
        loopback(self.port)
    }

    pub fn catalog(&self) -> Catalog {
        catalog(self.port)
    }
}

pub(super) fn catalog(port: u16) -> Catalog {
    Catalog::new(format!("http://{}/v1", loopback(port)), SEPARATOR)
}

/// The server's own properties for tables in an S3 store.
pub(super) fn properties_on(mut store: BTreeMap<String, String>, warehouse: &str) -> BTreeMap<String, String> {
    if let Some(region) = store.remove("s3.region") {
        store.insert("client.region".to_owned(), region);
    }
    store.insert("io-impl".to_owned(), "org.apache.iceberg.aws.s3.S3FileIO".to_owned());
    store.insert("warehouse".to_owned(), warehouse.to_owned());
    store
}

/// Starts a server with its database in `directory`, and returns when it answers.
pub(super) fn launch(
    classpath: &str,
    directory: &Path,
    port: u16,
    properties: &BTreeMap<String, String>,
    life: Life,
) -> Result<Process, Failed> {
    let mut command = java("java", directory);
    command.args(["-cp", classpath, MAIN_CLASS]);
    command.env("CATALOG_URI", format!("jdbc:sqlite:{}", directory.join("catalog.db").display()));
    // SQLite has one writer.
    command.env("CATALOG_CLIENTS", "1").env("CATALOG_REST_PORT", port.to_string());
    command.env("CATALOG_CATALOG__IMPL", "org.apache.iceberg.jdbc.JdbcCatalog").env("CATALOG_JDBC_SCHEMA__VERSION", "V1");
    for (name, value) in properties {
        command.env(format!("CATALOG_{}", name.replace('-', "__").replace('.', "_").to_uppercase()), value);
    }
    let program = Program { name: "the REST catalog", command, log: directory.join("rest.log"), stop: "KILL", user: None };
    Process::start(program, life).up(|| catalog(port).ask(Method::GET, "/config", None).0.is_success())
}
