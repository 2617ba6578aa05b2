//! `fastdata bench`: scans of the reference tables in an object store, through a proxy of a known latency and bandwidth, beside what that proxy gives.
//!
//! Problem: how fast a store can be read depends on the network in front of it, so seconds alone say little. Contract: the commands read through a proxy on
//! loopback, in turn with a ceiling: the same objects in parallel ranges by a client that drops them. Each run is a process of its own (a server a
//! fresh one); figures are medians of the rounds, peaks the highest. Before anything is timed, a scan from the store must have the content checksum of
//! the local files. How:
//!
//! ```text
//! site (tables made, put into the bucket) -> content (checksums agree) -> rounds: ceiling, then each command (process) -> report
//! ```

mod ceiling;
mod content;
mod process;
mod report;
mod site;
mod surface;

use super::args::{Common, Listing};
use super::output::print;
use crate::config;
use fastdata_proxy::{Conditions, Proxy};
use fastdata_types::{Error, ErrorKind, Result, Stage};
use report::{Report, TableReport};
use site::Site;
use std::path::PathBuf;
use std::time::Duration;
use surface::Surface;

#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// The object store, http://HOST:PORT; credentials are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. The tables are made in --warehouse, or in ./bench-warehouse
    #[arg(long, value_name = "URL")]
    pub endpoint: String,
    /// A bucket that is there; files of the tables are put into it once
    #[arg(long, value_name = "NAME")]
    pub bucket: String,
    /// Where in the bucket
    #[arg(long, value_name = "KEY", default_value = "fastdata-bench")]
    pub prefix: String,
    /// Of reference tables that are made, where the warehouse has none: 1 is 6 million rows of lineitem
    #[arg(long, value_name = "SF", default_value_t = 1.0, value_parser = super::demo::parse_scale)]
    pub scale: f64,
    /// Tables to read
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = "tpch.lineitem,ml.embeddings,ml.features")]
    pub tables: Vec<String>,
    /// Until the first byte of each answer of the store; 0ms for none
    #[arg(long, value_name = "TIME", default_value = "30ms", value_parser = config::parse_duration)]
    pub latency: Duration,
    /// Bytes a second on each connection to the store
    #[arg(long, value_name = "SIZE", default_value = "50MB", value_parser = config::parse_bytes)]
    pub bandwidth: u64,
    /// How the tables are read
    #[arg(long, value_enum, value_delimiter = ',', default_value = "cli,flight")]
    pub through: Vec<Surface>,
    /// For --through python: an interpreter that has the package
    #[arg(long, value_name = "FILE", default_value = "python3")]
    pub python: PathBuf,
    /// How often each is measured; one more round goes first and does not count
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Write the report here too, as JSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// table or json
    #[arg(short = 'o', long, value_enum, default_value_t = Listing::Table)]
    pub format: Listing,
}

pub async fn run(common: &Common, args: &BenchArgs) -> Result<()> {
    let site = Site::prepare(common.warehouse.as_deref(), args).await?;
    let conditions = Conditions { latency: args.latency, bandwidth_per_connection: Some(args.bandwidth), ..Conditions::default() };
    let proxy = Proxy::start(site.upstream, conditions).await.map_err(|e| failed("starting the proxy", &e))?;
    site.configure(&proxy.endpoint())?;
    let mut report = Report::new(args);
    for table in &args.tables {
        eprintln!("bench: {table}");
        let objects = site.objects(table).await?;
        let rows = content::same(&site, table).await?;
        let mut measured = TableReport::new(rows, objects.iter().map(|object| object.size).sum());
        for round in 0..=args.rounds {
            proxy.take_log();
            let ceiling = ceiling::measure(&site, &proxy.endpoint(), &objects).await?;
            let requests = proxy.take_log().len();
            let counts = round > 0;
            measured.ceiling(ceiling, requests, counts);
            for surface in &args.through {
                let run = surface.measure(&site, table, &args.python).await?;
                if run.rows != rows {
                    return Err(Error::internal(Stage::Read, format!("{table}: {surface:?} returned {} rows of {rows}", run.rows)));
                }
                measured.run(*surface, &run, proxy.take_log().len(), counts);
            }
        }
        report.add(table, measured);
        if let Some(path) = &args.report {
            std::fs::write(path, report.json()?).map_err(|e| failed(&format!("writing {}", path.display()), &e))?;
        }
    }
    match args.format {
        Listing::Json => print(&report.json()?),
        Listing::Table => print(&report.text()),
    }
}

fn failed(what: &str, cause: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Output, Stage::Output, format!("{what}: {cause}"))
}
