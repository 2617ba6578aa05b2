//! A Nessie server: a REST catalog with a prefix, pages, and credentials that it vends from MinIO's sessions.
//!
//! Contract: one warehouse, `lake`, in the bucket of that name; branch `main`; credentials that a table is loaded with open its own prefix and no
//! other. With an issuer it asks for tokens of that issuer; without one for none. The catalog lasts as long as the value.

use super::catalog::Catalog;
use super::minio::{self, Minio, S3};
use super::process::{Failed, Life, Process, Program, free_ports, loopback, on_ports, state_folder};
use super::reference::java;
use super::required;
use reqwest::Method;
use std::net::SocketAddr;
use std::path::Path;

/// Where tables have to be.
pub const WAREHOUSE: &str = "s3://lake/nessie";
/// The specification's.
pub const SEPARATOR: &str = "\u{1f}";
/// MinIO knows no roles, but the request has to name one.
const ROLE: &str = "arn:aws:iam::000000000000:role/fastdata";

pub struct Nessie {
    port: u16,
    _process: Process,
    _directory: tempfile::TempDir,
}

/// The two programs that it takes.
pub(super) struct Programs {
    java: String,
    jar: String,
}

impl Programs {
    pub(super) fn find() -> Option<Programs> {
        Some(Programs {
            java: required("FASTDATA_JAVA21", "Java 21 (for Nessie)")?,
            jar: required("FASTDATA_NESSIE", "the Nessie catalog")?,
        })
    }
}

impl Nessie {
    /// Takes everybody.
    pub fn start(minio: &Minio) -> Option<Nessie> {
        Nessie::start_with(minio, &[])
    }

    /// Takes bearer tokens of an OpenID issuer, whose discovery document is below `issuer`.
    pub fn start_with_issuer(minio: &Minio, issuer: &str) -> Option<Nessie> {
        let settings = [
            ("nessie.server.authentication.enabled", "true"),
            ("quarkus.oidc.tenant-enabled", "true"),
            ("quarkus.oidc.auth-server-url", issuer),
            ("quarkus.oidc.application-type", "service"),
        ];
        Nessie::start_with(minio, &settings)
    }

    fn start_with(minio: &Minio, settings: &[(&str, &str)]) -> Option<Nessie> {
        let programs = Programs::find()?;
        minio.create_bucket("lake");
        let directory = state_folder("nessie");
        let (ports, process) =
            on_ports(free_ports(), |ports| launch(&programs, directory.path(), ports, minio.s3(), settings, Life::Bound));
        Some(Nessie { port: ports.0, _process: process, _directory: directory })
    }

    /// What `uri` of a catalog's configuration is.
    pub fn uri(&self) -> String {
        uri(self.port)
    }

    pub fn address(&self) -> SocketAddr {
        loopback(self.port)
    }

    pub fn catalog(&self) -> Catalog {
        catalog(self.port)
    }
}

pub(super) fn uri(port: u16) -> String {
    format!("http://{}/iceberg", loopback(port))
}

pub(super) fn catalog(port: u16) -> Catalog {
    Catalog::new(format!("{}/v1/main", uri(port)), SEPARATOR)
}

/// Starts a server that keeps its catalog in `directory`, and returns when it answers. The second port is of its management.
pub(super) fn launch(
    programs: &Programs,
    directory: &Path,
    ports: (u16, u16),
    store: &S3,
    settings: &[(&str, &str)],
    life: Life,
) -> Result<Process, Failed> {
    let (port, management) = (ports.0.to_string(), ports.1.to_string());
    let database = directory.join("nessie").display().to_string();
    let mut command = java(&programs.java, directory);
    let options = "nessie.catalog.service.s3.default-options";
    let mut set = |name: &str, value: &str| {
        command.arg(format!("-D{name}={value}"));
    };
    set("quarkus.http.host", "127.0.0.1");
    set("quarkus.http.port", &port);
    set("quarkus.management.host", "127.0.0.1");
    set("quarkus.management.port", &management);
    set("nessie.version.store.type", "ROCKSDB");
    set("nessie.version.store.persist.rocks.database-path", &database);
    set("nessie.catalog.default-warehouse", "lake");
    set("nessie.catalog.warehouses.lake.location", WAREHOUSE);
    set(&format!("{options}.endpoint"), &store.endpoint);
    set(&format!("{options}.path-style-access"), "true");
    set(&format!("{options}.region"), minio::REGION);
    set(&format!("{options}.access-key"), "urn:nessie-secret:quarkus:fastdata.store");
    set("fastdata.store.name", minio::ACCESS_KEY_ID);
    set("fastdata.store.secret", minio::SECRET_ACCESS_KEY);
    set(&format!("{options}.sts-endpoint"), &store.endpoint);
    set(&format!("{options}.client-iam.enabled"), "true");
    set(&format!("{options}.client-iam.assume-role"), ROLE);
    for (name, value) in settings {
        set(name, value);
    }
    command.args(["-jar", &programs.jar]).current_dir(directory);
    let program = Program { name: "Nessie", command, log: directory.join("nessie.log"), stop: "KILL", user: None };
    let root = Catalog::new(format!("{}/v1", uri(ports.0)), SEPARATOR);
    Process::start(program, life).up(|| {
        let (status, _) = root.ask(Method::GET, "/config", None);
        status.is_success() || status == reqwest::StatusCode::UNAUTHORIZED
    })
}
