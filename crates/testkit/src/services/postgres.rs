//! A private PostgreSQL server: own directory, own port.
//!
//! Contract: as of every server here; with the server's own client, tests run statements in it.
//!
//! How: the server refuses to run as root, so root starts it as the user `postgres`, the owner its Debian package makes.

use super::missing;
use super::process::{Life, Process, Program, free_port, loopback, state_folder, within};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SERVICE_USER: &str = "postgres";

pub struct Postgres {
    port: u16,
    _process: Process,
    // Dropped after the server has ended.
    directory: tempfile::TempDir,
}

impl Postgres {
    /// Starts a server that trusts every local user, with the databases of a new cluster.
    pub fn start() -> Option<Postgres> {
        Postgres::start_with(&[])
    }

    /// A server that also speaks TLS, as `localhost`, with a certificate of its own authority: [`Postgres::root_certificate`].
    pub fn start_with_tls() -> Option<Postgres> {
        Postgres::start_with(&["-c", "ssl=on", "-c", "ssl_cert_file=../server.crt", "-c", "ssl_key_file=../server.key"])
    }

    /// The certificate of the authority behind the server's own.
    pub fn root_certificate(&self) -> PathBuf {
        self.directory.path().join("root.crt")
    }

    fn start_with(options: &[&str]) -> Option<Postgres> {
        let programs = programs()?;
        let directory = state_folder("postgres");
        if !options.is_empty() {
            make_certificates(directory.path());
        }
        let port = free_port();
        let process = launch(&programs, directory.path(), port, options, Life::Bound);
        Some(Postgres { port, _process: process, directory })
    }

    /// `postgresql://` with user and database of the new cluster.
    pub fn uri(&self) -> String {
        uri(self.port)
    }

    pub fn address(&self) -> SocketAddr {
        loopback(self.port)
    }

    /// Runs statements with the server's own client.
    pub fn execute(&self, sql: &str) {
        let psql = programs().expect("installed, since the server runs").join("psql");
        let ran =
            Command::new(psql).args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &self.uri(), "-c", sql]).stdout(Stdio::null()).status();
        assert!(ran.is_ok_and(|s| s.success()), "psql failed: {sql}");
    }
}

pub(super) fn uri(port: u16) -> String {
    format!("postgresql://fastdata@127.0.0.1:{port}/postgres")
}

/// Starts a server on the cluster in `directory`, which is made where it is missing, and returns when it answers.
pub(super) fn launch(programs: &Path, directory: &Path, port: u16, options: &[&str], life: Life) -> Process {
    let data = directory.join("data");
    let user = is_root().then_some(SERVICE_USER);
    if let Some(user) = user {
        let owned = Command::new("chown").arg("-R").arg(user).arg(directory).status();
        assert!(owned.is_ok_and(|s| s.success()), "the directory cannot be given to the user {user}");
    }
    if !data.join("PG_VERSION").exists() {
        let mut initdb = Command::new(programs.join("initdb"));
        initdb
            .args(["--no-sync", "--auth=trust", "--username=fastdata", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data)
            .current_dir("/");
        let made = within(&initdb, None, user).stdout(Stdio::null()).status();
        assert!(made.is_ok_and(|s| s.success()), "initdb failed");
    }
    let mut command = Command::new(programs.join("postgres"));
    command.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k", ""]);
    command.args(["-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=40"]).args(options).current_dir("/");
    // SIGQUIT is the server's immediate shutdown: it takes its own workers along, which SIGKILL would not.
    let program = Program { name: "PostgreSQL", command, log: directory.join("postgres.log"), stop: "QUIT", user };
    let mut process = Process::start(program, life);
    process.wait_until(|| {
        let ready = Command::new(programs.join("pg_isready")).args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]).status();
        ready.is_ok_and(|s| s.success())
    });
    process
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

/// The directory of the newest installed server's programs.
pub(super) fn programs() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut versions: Vec<PathBuf> = folders.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    versions.retain(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file());
    versions.sort();
    if versions.is_empty() {
        missing("PostgreSQL is not installed (Debian package `postgresql`)");
    }
    versions.pop()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|out| out.stdout == b"0\n")
}
