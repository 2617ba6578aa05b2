//! The services that tests and developers use, kept running: `make services-up`, `make services-down`.

use clap::{Parser, Subcommand};
use fastdata_testkit::proxy::{Conditions, Faults};
use fastdata_testkit::services::running;
use std::io::{Error, Write as _};
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Runtime;

/// MinIO, PostgreSQL, the Iceberg REST catalog and Nessie, a strict door before the REST catalog and a failing network before MinIO, on loopback.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start what does not run, and return when all of it answers
    Up {
        /// For state, logs and fastdata.toml
        #[arg(long, default_value = "services")]
        dir: PathBuf,
    },
    /// End what `up` started
    Down {
        #[arg(long, default_value = "services")]
        dir: PathBuf,
    },
    /// Stand before a store as a bad network does: part of `up`, with these faults
    Proxy {
        #[arg(long)]
        port: u16,
        /// The endpoint of the store, http://HOST:PORT
        #[arg(long)]
        store: String,
        /// Milliseconds before each answer
        #[arg(long, default_value_t = 30)]
        latency: u64,
        /// Of a thousand answers: 503, a connection reset, a body that breaks off
        #[arg(long, default_value_t = 50)]
        unavailable: u32,
        #[arg(long, default_value_t = 10)]
        reset: u32,
        #[arg(long, default_value_t = 10)]
        truncate: u32,
        /// The same seed does the same again
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Stand before a REST catalog with OAuth2 and vended sessions that end soon: part of `up`, for the client reader:reader-secret
    Door {
        #[arg(long)]
        port: u16,
        /// The URI of the catalog
        #[arg(long)]
        rest: String,
        /// The endpoint of a MinIO with the root credentials of these services
        #[arg(long)]
        store: String,
        /// The endpoint that clients are told to use the sessions at
        #[arg(long)]
        lent: String,
        /// Seconds that a token is good for, and that a session is said to be
        #[arg(long, default_value_t = 60)]
        token_life: u64,
        #[arg(long, default_value_t = 30)]
        session_life: u64,
    },
    /// Put the demo table into a store and catalogs that run elsewhere, where they have none
    Tables {
        /// The endpoint of a MinIO with the root credentials of these services
        #[arg(long)]
        store: String,
        /// The URI of a REST catalog whose tables lie in that store
        #[arg(long)]
        rest: String,
        /// The URI of a PostgreSQL database
        #[arg(long)]
        postgres: String,
    },
}

fn main() -> std::io::Result<()> {
    // What fails names the service and the end of its log; where in the code it failed is of no use here.
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("an unknown failure");
        eprintln!("services: {text}");
    }));
    let mut out = std::io::stdout().lock();
    match Cli::parse().command {
        Command::Up { dir } => {
            let services = running::up(&dir, &std::env::current_exe()?);
            for service in &services {
                writeln!(out, "{:<10} process {:<8} {}", service.name, service.pid, service.address())?;
            }
            let missing = running::missing(&services).join(", ");
            if !missing.is_empty() {
                eprintln!("services: not started: {missing}; scripts/setup.sh installs what they need, or says why it cannot");
                std::process::exit(1);
            }
            writeln!(out, "try: fastdata tables --config {}", dir.join("fastdata.toml").display())
        }
        Command::Down { dir } => {
            for service in running::down(&dir) {
                writeln!(out, "{:<10} process {} ended", service.name, service.pid)?;
            }
            Ok(())
        }
        Command::Proxy { port, store, latency, unavailable, reset, truncate, seed } => {
            let upstream = store.trim_start_matches("http://").parse().map_err(|e| Error::other(format!("--store {store}: {e}")))?;
            let rates = Faults {
                seed,
                unavailable_per_mille: unavailable,
                reset_per_mille: reset,
                truncate_per_mille: truncate,
                ..Faults::default()
            };
            let conditions = Conditions { latency: Duration::from_millis(latency), faults: rates, ..Conditions::default() };
            Runtime::new()?.block_on(running::proxy(port, upstream, conditions))
        }
        Command::Door { port, rest, store, lent, token_life, session_life } => {
            let (token_life, session_life) = (Duration::from_secs(token_life), Duration::from_secs(session_life));
            Runtime::new()?.block_on(running::door(port, rest, &store, lent, token_life, session_life))
        }
        Command::Tables { store, rest, postgres } => {
            running::make_tables(&store, &rest, &postgres);
            writeln!(out, "demo.events is in the REST catalog and in PostgreSQL")
        }
    }
}
