//! Every flag of the `fastdata` command, with the help a person reads.

use super::bench::BenchArgs;
use super::demo::DemoArgs;
use crate::config::{self, Overrides};
use clap::{Args, Parser, Subcommand, ValueEnum};
use fastdata_types::request::{Compression, Order, Sample, ScanRequest, Shuffle, StringEncoding};
use fastdata_types::{Error, Result, Stage};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(test)]
mod tests;

const EXIT_CODES: &str = "\
Exit status:
    0  done (also when the reader of a pipe went away)
    2  wrong request or configuration, unknown table, column, ref or snapshot
    3  the table uses something this version does not read; its name is in the message
    4  corrupt or missing metadata, manifest, data or delete file
    5  location not allowed, credentials missing or refused
    6  memory budget or another limit too small
    7  catalog, store or server unreachable
    8  --timeout passed
    9  the output could not be written
   70  a fault of fastdata itself
  130  interrupted
  143  a server that a second SIGTERM ended

A TABLE is namespace.table, catalog.namespace.table (parts quote as in SQL: ns.\"odd.name\"), a metadata JSON file, or a table directory such as ./warehouse/ns/table.";

/// Rows out of Apache Iceberg tables: fast, exact, bounded.
#[derive(Debug, Parser)]
#[command(name = "fastdata", version, after_help = EXIT_CODES, max_term_width = 120, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Common {
    /// An embedded warehouse: a directory with catalog.db (Iceberg's SQL catalog on SQLite) and local files
    #[arg(long, global = true, value_name = "DIR", env = "FASTDATA_WAREHOUSE")]
    pub warehouse: Option<PathBuf>,
    /// Configuration file [default: fastdata.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The table directory was copied here from elsewhere: the location in its metadata stands for the directory given
    #[arg(long, global = true)]
    pub moved: bool,
    /// Read locations that begin with FROM as if they began with TO (repeatable; the first match wins)
    #[arg(long, global = true, value_name = "FROM=TO", value_parser = config::parse_rewrite)]
    pub rewrite: Vec<(String, String)>,
    /// Also allow tables to refer to files below this location (repeatable)
    #[arg(long, global = true, value_name = "PREFIX")]
    pub allow: Vec<String>,
    /// Memory for data in flight, at least 1MiB [default: 768MiB; of a server a quarter of the machine's]
    #[arg(long, global = true, value_name = "SIZE", value_parser = config::parse_memory)]
    pub memory: Option<u64>,
    /// Decode threads [default: one per core]
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    /// Give up after this long, e.g. 30s, 5m, whatever else is being waited for [default: `timeout` of the configuration, or never]
    #[arg(long, global = true, value_name = "TIME", value_parser = config::parse_timeout)]
    pub timeout: Option<Duration>,
}

impl Common {
    pub fn overrides(&self) -> Overrides {
        Overrides {
            config: self.config.clone(),
            memory: self.memory,
            threads: self.threads,
            rewrites: self.rewrite.clone(),
            allow: self.allow.clone(),
        }
    }

    /// Refuses what was given and would have no effect.
    pub fn refuse_idle(&self, command: &Command) -> Result<()> {
        // The variable is meant for all commands; the flag for this one.
        let warehouse =
            self.warehouse.as_ref().is_some_and(|given| std::env::var_os("FASTDATA_WAREHOUSE").as_deref() != Some(given.as_os_str()));
        let (idle, why, advice) = match command {
            Command::Serve(_) => (
                vec![("--moved", self.moved), ("--timeout", self.timeout.is_some())],
                "`serve`: it runs until it is stopped, and reads tables by name",
                "leave it out",
            ),
            _ if command.server().is_some_and(|args| args.server.is_some()) => (
                vec![
                    ("--warehouse", warehouse),
                    ("--config", self.config.is_some()),
                    ("--moved", self.moved),
                    ("--rewrite", !self.rewrite.is_empty()),
                    ("--allow", !self.allow.is_empty()),
                    ("--memory", self.memory.is_some()),
                    ("--threads", self.threads.is_some()),
                ],
                "--server: the server reads with its own settings",
                "leave it out, or give it to `fastdata serve`",
            ),
            _ => return Ok(()),
        };
        let idle: Vec<&str> = idle.into_iter().filter_map(|(name, given)| given.then_some(name)).collect();
        let has = match idle.len() {
            0 => return Ok(()),
            1 => "has",
            _ => "have",
        };
        Err(Error::invalid(Stage::Request, format!("{} {has} no effect with {why}", idle.join(", "))).advice(advice))
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List tables
    Tables(TablesArgs),
    /// Show a table's schema, partitioning, properties and size
    Describe(TableArgs),
    /// List a table's snapshots, branches and tags
    Snapshots(TableArgs),
    /// List the data files a scan would read
    Files(PlanArgs),
    /// Show what a scan would read, and what was ruled out by which rule
    Plan(PlanArgs),
    /// Count the rows a scan would return, exactly
    Count(PlanArgs),
    /// Show the lanes that a scan would be cut into
    Shards(ShardsArgs),
    /// Read rows
    Scan(ScanArgs),
    /// Serve tables over Arrow Flight
    Serve(ServeArgs),
    /// Make a token for a caller of a server: the token on standard output, the line for the server's file on standard error
    Token(TokenArgs),
    /// Make a warehouse with example tables
    Demo(DemoArgs),
    /// Check configuration, catalogs, credentials and a small read from each catalog
    Doctor(DoctorArgs),
    /// Measure scans from an object store, through a proxy with a latency and a bandwidth
    Bench(BenchArgs),
}

impl Command {
    /// Whether the command looks at the configuration itself, and tells all that is wrong with it.
    pub fn is_configured(&self) -> bool {
        match self {
            Command::Token(_) | Command::Demo(_) | Command::Bench(_) => false,
            _ => self.server().is_none_or(|args| args.server.is_none()),
        }
    }

    /// The flags that name a server, of commands that have them.
    fn server(&self) -> Option<&ServerArgs> {
        match self {
            Command::Tables(args) => Some(&args.server),
            Command::Describe(args) | Command::Snapshots(args) => Some(&args.server),
            Command::Files(args) | Command::Plan(args) | Command::Count(args) => Some(&args.server),
            Command::Shards(args) => Some(&args.plan.server),
            Command::Scan(args) => Some(&args.server),
            Command::Serve(_) | Command::Token(_) | Command::Demo(_) | Command::Doctor(_) | Command::Bench(_) => None,
        }
    }
}

/// A fastdata server to ask, instead of reading here.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Ask a fastdata server instead: grpc://HOST:PORT or grpc+tls://HOST:PORT
    #[arg(long, value_name = "URI")]
    pub server: Option<String>,
    /// The file that holds the token to send to the server [default: FASTDATA_TOKEN, if it is set]
    #[arg(long, value_name = "FILE", requires = "server")]
    pub token_file: Option<PathBuf>,
    /// The file of certificates (PEM) that the server's is checked against
    #[arg(long, value_name = "FILE", requires = "server")]
    pub ca: Option<PathBuf>,
    /// The file of the certificate (PEM) to show to a server that asks for one
    #[arg(long, value_name = "FILE", requires_all = ["server", "key"])]
    pub certificate: Option<PathBuf>,
    /// The file of that certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct TablesArgs {
    /// Only this namespace (or catalog.namespace)
    pub namespace: Option<String>,
    /// table or json
    #[arg(short = 'o', long, value_enum, default_value_t = Listing::Table)]
    pub format: Listing,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub struct TableArgs {
    /// namespace.table, catalog.namespace.table, a metadata JSON file, or a table directory
    pub table: String,
    /// table or json
    #[arg(short = 'o', long, value_enum, default_value_t = Listing::Table)]
    pub format: Listing,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Read one batch of this table [default: the first table that is found]
    pub table: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Listing {
    Table,
    Json,
}

/// Which rows of which table.
#[derive(Debug, Args)]
pub struct Selection {
    /// namespace.table, catalog.namespace.table, a metadata JSON file, or a table directory
    pub table: String,
    /// Columns, in order; a dotted path reaches into a struct; odd names quote as in SQL: '"a,b".c'. Also _file, _pos, _spec_id,
    /// _partition, _row_id, _last_updated_sequence_number [default: all columns of the schema]
    #[arg(long, value_name = "A,B.C")]
    pub select: Option<String>,
    /// Only rows for which this SQL expression is true, e.g. "price > 10 AND city IN ('Oslo', 'Rome')"
    #[arg(long = "where", value_name = "SQL", allow_hyphen_values = true)]
    pub filter: Option<String>,
    /// The snapshot with this id
    #[arg(long, value_name = "ID", group = "which", allow_negative_numbers = true)]
    pub snapshot: Option<i64>,
    /// A branch or tag
    #[arg(long, value_name = "NAME", group = "which")]
    pub r#ref: Option<String>,
    /// The state at this time: 2026-01-31 (the start of that day in UTC), 2026-01-31T12:00:00Z, or milliseconds from the epoch
    #[arg(long, value_name = "TIME", group = "which", value_parser = parse_time)]
    pub as_of: Option<i64>,
    /// Only rows appended after this snapshot, those deleted since too
    #[arg(long, value_name = "ID", group = "which", allow_negative_numbers = true)]
    pub from: Option<i64>,
    /// ... up to this one [default: the current snapshot]
    #[arg(long, value_name = "ID", requires = "from", allow_negative_numbers = true)]
    pub to: Option<i64>,
    /// Read in this schema of the table instead of the one that goes with the snapshot
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    pub schema_id: Option<i32>,
    /// At most this many rows
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = parse_limit)]
    pub limit: Option<u64>,
    /// A deterministic fraction of the blocks, 0.0 to 1.0
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub sample: Option<f64>,
    /// Which fraction
    #[arg(long, value_name = "S", requires = "sample", default_value_t = 0)]
    pub seed: u64,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub selection: Selection,
    /// table or json
    #[arg(short = 'o', long, value_enum, default_value_t = Listing::Table)]
    pub format: Listing,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub struct ShardsArgs {
    #[command(flatten)]
    pub plan: PlanArgs,
    /// How many lanes, 1 to 4096
    #[arg(short = 'n', long, value_name = "N")]
    pub shards: u32,
    /// Count the rows that each lane yields after filters and deletes, for runs that need equal steps
    #[arg(long)]
    pub exact: bool,
}

#[derive(Debug, Args)]
pub struct ScanArgs {
    #[command(flatten)]
    pub selection: Selection,
    /// How to write rows [default: what the end of the --output FILE says, e.g. .parquet; table on a terminal; else jsonl]
    #[arg(short = 'o', long, value_enum)]
    pub format: Option<Format>,
    /// Write here instead of standard output: aside first, renamed when complete
    #[arg(long, alias = "output-file", value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// fast: as decoded; stable: table order, the same on any number of threads and at any budget
    #[arg(long, value_enum, default_value_t = OrderArg::Fast)]
    pub order: OrderArg,
    /// A batch ends at this many rows [default: 65536] ...
    #[arg(long, value_name = "N")]
    pub batch_rows: Option<u32>,
    /// ... or this many bytes [default: 8MiB]
    #[arg(long, value_name = "SIZE", value_parser = config::parse_bytes)]
    pub batch_bytes: Option<u64>,
    /// The Arrow type of string columns in arrow and parquet output
    #[arg(long, value_enum, default_value_t = StringsArg::Utf8)]
    pub strings: StringsArg,
    /// Cut the scan into this many deterministic sequences, read one after the other
    #[arg(long, value_name = "N")]
    pub lanes: Option<u32>,
    /// Read only this lane, counted from 0
    #[arg(long, value_name = "K", requires = "lanes")]
    pub lane: Option<u32>,
    /// Permute blocks and rows by this key
    #[arg(long, value_name = "S", requires = "lanes")]
    pub shuffle_seed: Option<u64>,
    /// Another permutation for each epoch
    #[arg(long, value_name = "E", requires = "shuffle_seed", default_value_t = 0)]
    pub epoch: u64,
    /// Shuffle blocks of at most about this many rows [default: those of a window]
    #[arg(long, value_name = "N", requires = "shuffle_seed")]
    pub block_rows: Option<u32>,
    /// Rows that are permuted together, held in memory [default: 65536]
    #[arg(long, value_name = "N", requires = "shuffle_seed")]
    pub window_rows: Option<u32>,
    /// Compression of record batches that a server sends
    #[arg(long, value_enum, default_value_t = CompressionArg::None, requires = "server")]
    pub compression: CompressionArg,
    /// Print what the scan cost and where the time went, on standard error
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "text", value_name = "FORMAT")]
    pub stats: Option<StatsFormat>,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address to listen on; port 0 takes a free one; not loopback only with TLS [default: 127.0.0.1:8815]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<SocketAddr>,
    /// Address of health checks and metrics (plain HTTP: /healthz, /readyz, /metrics) [default: none]
    #[arg(long, value_name = "HOST:PORT")]
    pub admin: Option<SocketAddr>,
    /// How lines of the log are written [default: text on a terminal, else json]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log: Option<LogArg>,
}

impl ServeArgs {
    pub fn log_format(&self) -> crate::telemetry::Format {
        match self.log {
            Some(LogArg::Text) => crate::telemetry::Format::Text,
            Some(LogArg::Json) => crate::telemetry::Format::Json,
            None => crate::telemetry::Format::of_stderr(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogArg {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Whom the token stands for, e.g. trainer or alice@example.com
    pub principal: String,
    /// A group of theirs, as rules of the policy name it (repeatable)
    #[arg(long = "group", value_name = "GROUP")]
    pub groups: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns; the first 40 rows unless --limit or --output is given
    Table,
    /// RFC 4180 with a header and LF; NULL is empty (NULL in a single column), an empty string is ""
    Csv,
    /// One JSON object a line
    Jsonl,
    Parquet,
    /// Arrow IPC: the stream format on standard output, the file format in a file
    Arrow,
    /// Decode, count and drop
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OrderArg {
    Fast,
    Stable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StringsArg {
    Utf8,
    View,
    Dictionary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompressionArg {
    None,
    Lz4,
    Zstd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatsFormat {
    Text,
    Json,
}

impl Format {
    /// What the end of a file's name says.
    pub fn of_file(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "parquet" => Some(Format::Parquet),
            "csv" => Some(Format::Csv),
            "jsonl" | "ndjson" | "json" => Some(Format::Jsonl),
            "arrow" | "feather" | "ipc" => Some(Format::Arrow),
            _ => None,
        }
    }
}

impl Selection {
    pub fn request(&self) -> Result<ScanRequest> {
        let request = ScanRequest {
            table: self.table.clone(),
            snapshot_id: self.snapshot,
            r#ref: self.r#ref.clone(),
            as_of_ms: self.as_of,
            from_snapshot_id: self.from,
            to_snapshot_id: self.to,
            schema_id: self.schema_id,
            columns: self.select.as_deref().map(split_columns).transpose()?.unwrap_or_default(),
            filter: self.filter.clone().unwrap_or_default(),
            limit: self.limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX)),
            sample: self.sample.map(|fraction| Sample { fraction, seed: self.seed }),
            ..Default::default()
        };
        request.validate()?;
        Ok(request)
    }
}

impl ScanArgs {
    pub fn request(&self) -> Result<ScanRequest> {
        let mut request = self.selection.request()?;
        request.batch_rows = self.batch_rows;
        request.batch_bytes = self.batch_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        request.order = match self.order {
            OrderArg::Fast => Order::Fast,
            OrderArg::Stable => Order::Stable,
        };
        request.strings = match self.strings {
            StringsArg::Utf8 => StringEncoding::Utf8,
            StringsArg::View => StringEncoding::Utf8View,
            StringsArg::Dictionary => StringEncoding::Dictionary,
        };
        request.lanes = self.lanes;
        request.shuffle =
            self.shuffle_seed.map(|seed| Shuffle { seed, epoch: self.epoch, block_rows: self.block_rows, window_rows: self.window_rows });
        request.compression = match self.compression {
            CompressionArg::None => Compression::None,
            CompressionArg::Lz4 => Compression::Lz4,
            CompressionArg::Zstd => Compression::Zstd,
        };
        request.validate()?;
        Ok(request)
    }
}

/// Splits at commas outside double quotes. Quotes stay: the path that they are part of is read as in a filter.
fn split_columns(text: &str) -> Result<Vec<String>> {
    let mut columns = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            ',' if !quoted => columns.push(String::new()),
            _ => {
                quoted ^= c == '"';
                columns.last_mut().unwrap_or(&mut String::new()).push(c);
            }
        }
    }
    let columns: Vec<String> = columns.iter().map(|column| column.trim().to_owned()).collect();
    if quoted || columns.iter().any(String::is_empty) {
        return Err(Error::invalid(Stage::Request, format!("--select '{text}': an empty name or an open quote"))
            .advice("write --select a,b.c; names with odd characters quote as in SQL: --select 'a,\"x,y\"'"));
    }
    Ok(columns)
}

fn parse_limit(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "write a whole number of rows, 0 or more".to_owned())
}

/// Milliseconds from the epoch.
fn parse_time(text: &str) -> Result<i64, String> {
    if let Ok(milliseconds) = text.parse::<i64>() {
        return Ok(milliseconds);
    }
    fastdata_types::value::parse_timestamp(text, 1_000_000_000)
        .map(|nanoseconds| nanoseconds.div_euclid(1_000_000))
        .ok_or_else(|| format!("'{text}' is no time; write 2026-01-31, 2026-01-31T12:00:00Z or milliseconds from the epoch"))
}
