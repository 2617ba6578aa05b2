//! A private PostgreSQL server: own directory, own port.
//!
//! Contract: as of every server here; with the server's own client, tests run statements in it.
//!
//! How: the server refuses to run as root, so root starts it as the user `postgres`, the owner its Debian package makes.

use super::process::{Failed, Life, Process, Program, loopback, on_free_port, state_folder, within};
use super::{all_is_required, missing};
use crate::loud;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SERVICE_USER: &str = "postgres";
/// The version that the containers and CI have; tests take another where this one is not installed.
pub const VERSION: u32 = 15;

/// As the containers have it.
pub(super) const NEW: Database<'static> = Database { user: "fastdata", password: "fastdata-postgres-secret", name: "postgres" };

/// What a new cluster has: a superuser, and a database of theirs.
#[derive(Debug, Clone, Copy)]
pub struct Database<'a> {
    pub user: &'a str,
    /// Nobody is let in without theirs.
    pub password: &'a str,
    pub name: &'a str,
}

impl Database<'_> {
    pub fn uri(&self, port: u16) -> String {
        format!("postgresql://{}:{}@127.0.0.1:{port}/{}", self.user, self.password, self.name)
    }
}

pub struct Postgres {
    port: u16,
    uri: String,
    _process: Process,
    // Dropped after the server has ended.
    directory: tempfile::TempDir,
}

impl Postgres {
    /// Starts a server with the databases of a new cluster.
    pub fn start() -> Option<Postgres> {
        Postgres::start_with(&NEW, &[])
    }

    pub fn start_as(database: &Database) -> Option<Postgres> {
        Postgres::start_with(database, &[])
    }

    /// A server that also speaks TLS, as `localhost`, with a certificate of its own authority: [`Postgres::root_certificate`].
    pub fn start_with_tls() -> Option<Postgres> {
        Postgres::start_with(&NEW, &["-c", "ssl=on", "-c", "ssl_cert_file=../server.crt", "-c", "ssl_key_file=../server.key"])
    }

    /// The certificate of the authority behind the server's own.
    pub fn root_certificate(&self) -> PathBuf {
        self.directory.path().join("root.crt")
    }

    fn start_with(database: &Database, options: &[&str]) -> Option<Postgres> {
        let programs = programs()?;
        let directory = state_folder("postgres");
        if !options.is_empty() {
            make_certificates(directory.path());
        }
        let (port, process) = on_free_port(|port| launch(&programs, directory.path(), port, database, options, Life::Bound));
        Some(Postgres { port, uri: database.uri(port), _process: process, directory })
    }

    /// `postgresql://` with user, password and database of the new cluster.
    pub fn uri(&self) -> String {
        self.uri.clone()
    }

    pub fn address(&self) -> SocketAddr {
        loopback(self.port)
    }

    /// The version that runs, as in `15`.
    pub fn version(&self) -> String {
        let mut psql = Command::new(programs().expect("PostgreSQL is installed").join("psql"));
        let asked = psql.args(["-X", "-A", "-t", "-d", &self.uri, "-c", "SHOW server_version"]).output().expect("psql runs");
        let said = String::from_utf8(asked.stdout).expect("a version is text");
        said.trim().split('.').next().unwrap_or_default().to_owned()
    }

    /// Runs statements with the server's own client.
    pub fn execute(&self, sql: &str) {
        execute(&self.uri, sql);
    }
}

/// Runs statements in a database of any server.
pub fn execute(uri: &str, sql: &str) {
    let mut psql = Command::new(programs().expect("PostgreSQL is installed").join("psql"));
    let ran = psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", uri, "-c", sql]).stdout(Stdio::null()).status();
    assert!(ran.is_ok_and(|s| s.success()), "psql failed: {sql}");
}

/// Starts a server on the cluster in `directory`, which is made where it is missing, and returns when it answers.
pub(super) fn launch(
    programs: &Path,
    directory: &Path,
    port: u16,
    database: &Database,
    options: &[&str],
    life: Life,
) -> Result<Process, Failed> {
    let (data, password) = (directory.join("data"), directory.join("password"));
    let user = is_root().then_some(SERVICE_USER);
    let is_new = !data.join("PG_VERSION").exists();
    loud::handed_out(database.password);
    if is_new {
        std::fs::write(&password, database.password).expect("a password is written");
    }
    if let Some(user) = user {
        let owned = Command::new("chown").arg("-R").arg(user).arg(directory).status();
        assert!(owned.is_ok_and(|s| s.success()), "the directory cannot be given to the user {user}");
    }
    if is_new {
        let mut initdb = Command::new(programs.join("initdb"));
        initdb.args(["--no-sync", "--username", database.user, "--encoding=UTF8", "--locale=C", "-D"]).arg(&data).current_dir("/");
        initdb.arg("--auth=scram-sha-256").arg("--pwfile").arg(&password);
        let made = within(&initdb, None, user).stdout(Stdio::null()).status();
        assert!(made.is_ok_and(|s| s.success()), "initdb failed");
    }
    let mut command = Command::new(programs.join("postgres"));
    command.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k", ""]);
    command.args(["-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=40"]).args(options).current_dir("/");
    // SIGQUIT is the server's immediate shutdown: it takes its own workers along, which SIGKILL would not.
    let program = Program { name: "PostgreSQL", command, log: directory.join("postgres.log"), stop: "QUIT", user };
    let process = Process::start(program, life).up(|| {
        let ready = Command::new(programs.join("pg_isready")).args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]).status();
        ready.is_ok_and(|s| s.success())
    })?;
    // Every new cluster has the one of this name.
    if is_new && database.name != "postgres" {
        let uri = Database { name: "postgres", ..*database }.uri(port);
        execute(&uri, &format!("CREATE DATABASE \"{}\"", database.name));
    }
    Ok(process)
}

/// An authority and, signed by it, a server certificate for `localhost`.
fn make_certificates(directory: &Path) {
    let openssl = |arguments: &str| {
        let ran = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).stderr(Stdio::null()).status();
        assert!(ran.is_ok_and(|s| s.success()), "openssl {arguments}");
    };
    let key = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(&format!("{key} -keyout root.key -out root.crt -subj /CN=root"));
    openssl(&format!(
        "{key} -keyout server.key -out server.crt -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE -CA root.crt -CAkey root.key"
    ));
}

/// The directory of the programs of an installed server.
pub(super) fn programs() -> Option<PathBuf> {
    let found = programs_in(Path::new("/usr/lib/postgresql"));
    // Where everything is required, in this version.
    if found.is_none() || (all_is_required() && !found.iter().any(|bin| bin.ends_with(format!("{VERSION}/bin")))) {
        missing(&format!("PostgreSQL {VERSION} is not installed (Debian package `postgresql-{VERSION}`)"));
    }
    found
}

/// Those of [`VERSION`], else of the highest one, of the servers below a directory: each in one that is named after its version.
pub fn programs_in(directory: &Path) -> Option<PathBuf> {
    let folders = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let versions = folders.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        // Before 10, a version had two numbers.
        let version: Vec<u32> = name.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let bin = entry.path().join("bin");
        (bin.join("initdb").is_file() && bin.join("postgres").is_file()).then_some((version, bin))
    });
    versions.max_by_key(|(version, _)| (version[..] == [VERSION], version.clone())).map(|(_, bin)| bin)
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|out| out.stdout == b"0\n")
}
