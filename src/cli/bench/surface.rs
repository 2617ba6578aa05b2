//! The ways a table is read: the command, the command over Arrow Flight from a server of its own, the Python package.

use super::failed;
use super::process::{self, Usage};
use super::site::Site;
use fastdata_types::stats::ScanStats;
use fastdata_types::{Error, Result, Stage};
use serde::Deserialize;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Prints one line of JSON.
const PYTHON: &str = r#"
import json, sys, time
import fastdata
started, first, rows = time.perf_counter(), None, 0
for batch in fastdata.connect(sys.argv[1])[sys.argv[2]].scan(order="fast").batches():
    rows += len(batch)
    first = first or time.perf_counter() - started
print(json.dumps({"rows": rows, "seconds": time.perf_counter() - started, "first_batch_seconds": first or 0.0}))
"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Surface {
    /// `fastdata scan`
    Cli,
    /// `fastdata scan --server` of a fresh `fastdata serve`
    Flight,
    /// The Python package, embedded
    Python,
}

/// One run. Seconds are those of the whole process, for Python without its imports; usage of a server is added to its client's.
#[derive(Debug)]
pub struct Run {
    pub rows: u64,
    pub seconds: f64,
    pub first_batch_seconds: f64,
    pub usage: Usage,
}

#[derive(Deserialize)]
struct Said {
    rows: u64,
    seconds: f64,
    first_batch_seconds: f64,
}

impl Surface {
    pub fn name(self) -> &'static str {
        match self {
            Surface::Cli => "cli",
            Surface::Flight => "flight",
            Surface::Python => "python",
        }
    }

    pub async fn measure(self, site: &Site, table: &str, python: &Path) -> Result<Run> {
        let (settings, table, python) = (site.settings(), table.to_owned(), python.to_owned());
        let run = move || match self {
            Surface::Cli => scanned(Command::new(ourselves()?).args(["scan", &table, "--config"]).arg(&settings)),
            Surface::Flight => {
                let mut server = Server::start(&settings)?;
                let mut run = scanned(Command::new(ourselves()?).args(["scan", &table, "--server", &server.uri]))?;
                let usage = server.usage()?;
                run.usage.cpu_seconds += usage.cpu_seconds;
                run.usage.peak_bytes += usage.peak_bytes;
                Ok(run)
            }
            Surface::Python => {
                let finished = process::run(Command::new(&python).args(["-c", PYTHON]).arg(&settings).arg(&table))?;
                let said: Said = serde_json::from_str(&finished.stdout).map_err(|e| failed("what Python printed", &e))?;
                Ok(Run { rows: said.rows, seconds: said.seconds, first_batch_seconds: said.first_batch_seconds, usage: finished.usage })
            }
        };
        tokio::task::spawn_blocking(run).await.map_err(|e| Error::internal(Stage::Output, format!("a measurement: {e}")))?
    }
}

/// A scan whose rows are dropped.
fn scanned(command: &mut Command) -> Result<Run> {
    let finished = process::run(command.args(["-o", "none", "--stats=json"]))?;
    let line = finished.stderr.lines().rev().find(|line| line.starts_with('{')).unwrap_or_default();
    let stats: ScanStats = serde_json::from_str(line).map_err(|e| failed("the statistics of the scan", &e))?;
    // Its clock begins when the plan is there.
    let before = (finished.seconds - stats.total_us as f64 / 1e6).max(0.0);
    let first_batch_seconds = before + stats.first_batch_us as f64 / 1e6;
    Ok(Run { rows: stats.rows, seconds: finished.seconds, first_batch_seconds, usage: finished.usage })
}

fn ourselves() -> Result<std::path::PathBuf> {
    std::env::current_exe().map_err(|e| failed("our own program", &e))
}

/// `fastdata serve`, for one run.
struct Server {
    child: Child,
    uri: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(settings: &Path) -> Result<Server> {
        let mut command = Command::new(ourselves()?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(settings);
        let spawned = process::start(command.stdout(Stdio::piped()).stderr(Stdio::null()));
        let mut server = Server { child: spawned.map_err(|e| failed("fastdata serve", &e))?, uri: String::new() };
        let mut line = String::new();
        let greeting = server.child.stdout.take().map(BufReader::new);
        greeting.map_or(Ok(0), |mut out| out.read_line(&mut line)).map_err(|e| failed("fastdata serve", &e))?;
        match line.strip_prefix("listening on ") {
            Some(uri) => server.uri = uri.trim().to_owned(),
            None => return Err(failed("fastdata serve", &format!("it did not start: {line}"))),
        }
        Ok(server)
    }

    fn usage(&mut self) -> Result<Usage> {
        let mut usage = Usage::default();
        process::look(&self.child, &mut usage)?;
        Ok(usage)
    }
}
