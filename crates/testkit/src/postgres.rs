//! A private PostgreSQL server for one test: own directory, own port, gone with the value.
//!
//! Contract: [`Postgres::start`] is `None` where the server's programs are not installed, after saying so on stderr; with the
//! environment variable `FASTDATA_REQUIRE=all` it fails instead. Only the process that was started is stopped.
//!
//! How: the server refuses to run as root, so root starts it as the user `postgres`, the owner its Debian package makes.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const SERVICE_USER: &str = "postgres";

pub struct Postgres {
    server: Child,
    port: u16,
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
        let Some(programs) = programs() else {
            let message = "PostgreSQL is not installed (Debian package `postgresql`)";
            assert!(std::env::var("FASTDATA_REQUIRE").as_deref() != Ok("all"), "{message}");
            eprintln!("skipped: {message}");
            return None;
        };
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data = directory.path().join("data");
        if !options.is_empty() {
            make_certificates(directory.path());
        }
        if is_root() {
            let owned = Command::new("chown").arg("-R").arg(SERVICE_USER).arg(directory.path()).status();
            assert!(owned.is_ok_and(|s| s.success()), "the directory cannot be given to the user {SERVICE_USER}");
        }
        let made = as_service_user(&programs.join("initdb"))
            .args(["--no-sync", "--auth=trust", "--username=fastdata", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(made.is_ok_and(|s| s.success()), "initdb failed");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let server = as_service_user(&programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k", ""])
            .args(["-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=20"])
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut postgres = Postgres { server, port, directory };
        postgres.wait_until_it_answers(&programs);
        Some(postgres)
    }

    /// `postgresql://` with user and database of the new cluster.
    pub fn uri(&self) -> String {
        format!("postgresql://fastdata@127.0.0.1:{}/postgres", self.port)
    }

    /// Runs statements with the server's own client.
    pub fn execute(&self, sql: &str) {
        let psql = programs().expect("installed, since the server runs").join("psql");
        let ran =
            Command::new(psql).args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &self.uri(), "-c", sql]).stdout(Stdio::null()).status();
        assert!(ran.is_ok_and(|s| s.success()), "psql failed: {sql}");
    }

    fn wait_until_it_answers(&mut self, programs: &Path) {
        let started = Instant::now();
        loop {
            let ready = Command::new(programs.join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status()
                .is_ok_and(|s| s.success());
            if ready {
                return;
            }
            let ended = self.server.try_wait().ok().flatten();
            assert!(ended.is_none() && started.elapsed() < START_TIMEOUT, "the PostgreSQL server did not start: {ended:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT is the server's immediate shutdown: it takes its own workers along, which SIGKILL would not.
        let _ = Command::new("kill").args(["-QUIT", &self.server.id().to_string()]).status();
        let _ = self.server.wait();
    }
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
fn programs() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> =
        std::fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    versions.retain(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file());
    versions.sort();
    versions.pop()
}

/// `setpriv` replaces itself by the program, so that the process id is the server's own.
fn as_service_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", SERVICE_USER, "--regid", SERVICE_USER, "--clear-groups", "--"]).arg(program);
    command.current_dir("/");
    command
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|out| out.stdout == b"0\n")
}
