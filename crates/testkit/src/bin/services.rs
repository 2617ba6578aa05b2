//! The services that tests and developers use, kept running: `make services-up`, `make services-down`.

use clap::{Parser, Subcommand};
use fastdata_testkit::services::running;
use std::io::Write as _;
use std::path::PathBuf;

/// MinIO, PostgreSQL, the Iceberg REST catalog and Nessie, on loopback.
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
            let services = running::up(&dir);
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
        Command::Tables { store, rest, postgres } => {
            running::make_tables(&store, &rest, &postgres);
            writeln!(out, "demo.events is in the REST catalog and in PostgreSQL")
        }
    }
}
