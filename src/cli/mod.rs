//! The command line: flags in, rows or tables out, errors with the next step, documented exit statuses.

pub mod args;
mod bench;
mod count;
mod demo;
mod doctor;
mod inspect;
mod output;
mod plan;
mod progress;
mod remote;
mod retried;
mod scan;
mod serve;
mod text;
mod token;

use crate::assemble::{self, Paths};
use crate::config;
use crate::engine::Engine;
use args::{Cli, Command, Common};
use clap::Parser;
use fastdata_types::{Error, ErrorKind, Result, Stage};
pub use output::table_text;
pub use plan::plan_text;
use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Parses the arguments, the program's name first, runs the command, prints what went wrong. The exit status.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are no errors; a pipe that closes while they print is none either.
            let _ = e.print();
            return if e.use_stderr() { 2 } else { 0 };
        }
    };
    init_tracing();
    quiet_decoders();
    match run(&cli) {
        Ok(()) => 0,
        Err(e) if output::is_broken_pipe(&e) => 0,
        Err(e) => {
            report(&e);
            e.kind().exit_code()
        }
    }
}

/// A decoder library that gives up on a damaged file is an error of that scan, which says so; its panic shows with `FASTDATA_LOG=debug` only.
pub fn quiet_decoders() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let decoding = std::thread::current().name().is_some_and(|name| name.starts_with(assemble::DECODE_THREADS));
        let libraries = ["/parquet-", "/arrow-"];
        if decoding && panic.location().is_some_and(|place| libraries.iter().any(|library| place.file().contains(library))) {
            tracing::debug!("{panic}");
        } else {
            usual(panic);
        }
    }));
}

/// `FASTDATA_LOG=debug` shows what the stages do, on standard error.
pub fn init_tracing() {
    let said = std::env::var("FASTDATA_LOG").ok().map(|filter| {
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        lines.with_filter(tracing_subscriber::EnvFilter::new(filter))
    });
    // Within another program that has a subscriber, that one stays.
    let _ = tracing_subscriber::registry().with(said).with(retried::layer()).try_init();
}

/// Messages quote names and paths from tables: control characters are shown, never sent to the terminal.
fn report(error: &Error) {
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "error: {}", error.kind());
    for line in error.message().lines() {
        let _ = writeln!(stderr, "  {}", text::printable(line));
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !error.message().contains(&text) {
            let _ = writeln!(stderr, "  cause: {}", text::printable(&text));
        }
        source = cause.source();
    }
    if let Some(advice) = error.advice_text() {
        let _ = writeln!(stderr, "  help: {}", text::printable(advice));
    }
    if error.retryable() {
        let _ = writeln!(stderr, "  trying again may help");
    }
}

fn run(cli: &Cli) -> Result<()> {
    cli.common.refuse_idle(&cli.command)?;
    if let Command::Token(args) = &cli.command {
        return token::run(args);
    }
    let timeout = timeout_of(cli)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("fastdata-io")
        .build()
        .map_err(|e| Error::internal(Stage::Config, format!("starting the runtime: {e}")))?;
    if !matches!(cli.command, Command::Serve(_)) {
        runtime.spawn(interrupts());
    }
    if let Some((timeout, given_by)) = timeout {
        runtime.spawn(deadline(timeout, given_by));
    }
    let outcome = match &cli.command {
        // It waits for nothing, and its database is not for async threads.
        Command::Demo(args) => demo::run(args),
        _ => runtime.block_on(dispatch(cli)),
    };
    // Reads that are still on the blocking pool are not waited for.
    runtime.shutdown_background();
    outcome
}

/// What the command may take in all, and what says so. A server runs until it is stopped.
fn timeout_of(cli: &Cli) -> Result<Option<(Duration, &'static str)>> {
    if matches!(cli.command, Command::Serve(_)) {
        return Ok(None);
    }
    if let Some(timeout) = cli.common.timeout {
        return Ok(Some((timeout, "--timeout")));
    }
    let (overrides, environment) = (cli.common.overrides(), environment());
    let settings = match cli.command.is_configured() {
        // What is wrong with it, the command reports with what it finds itself.
        true => config::read(&overrides, &environment).unwrap_or_default(),
        false => config::load(&overrides, &environment)?,
    };
    Ok(settings.timeout.map(|timeout| (timeout, "timeout in the configuration,")))
}

fn environment() -> Vec<(String, String)> {
    std::env::vars().collect()
}

/// Ends the process at Ctrl-C. This and the deadline run beside the command, which may be stuck writing to a pipe nobody reads. A server
/// handles its own signals.
async fn interrupts() {
    let interrupted = tokio::signal::ctrl_c().await;
    if interrupted.is_ok() {
        end(&Error::new(ErrorKind::Cancelled, Stage::Request, "interrupted"));
    }
}

/// Ends the process when the time is over that was given by a flag or a key of the configuration.
async fn deadline(timeout: Duration, given_by: &'static str) {
    tokio::time::sleep(timeout).await;
    let failed = match retried::last() {
        Some((ago, error)) => format!("\nwhat failed last, {:.1} s before, and was tried again: {error}", ago.as_secs_f64()),
        None => String::new(),
    };
    let error = Error::new(ErrorKind::DeadlineExceeded, Stage::Request, format!("not done after {given_by} {timeout:?}{failed}"))
        .advice("give a longer --timeout, or read less: --where, --select, --limit; FASTDATA_LOG=debug shows what is waited for");
    end(&error);
}

fn end(error: &Error) -> ! {
    output::abandon();
    report(error);
    std::process::exit(i32::from(error.kind().exit_code()));
}

async fn dispatch(cli: &Cli) -> Result<()> {
    let common = &cli.common;
    match &cli.command {
        Command::Tables(args) => inspect::tables(common, args).await,
        Command::Describe(args) => inspect::describe(common, args).await,
        Command::Snapshots(args) => inspect::snapshots(common, args).await,
        Command::Files(args) => plan::files(common, args).await,
        Command::Plan(args) => plan::plan(common, args).await,
        Command::Count(args) => count::count(common, args).await,
        Command::Shards(args) => count::shards(common, args).await,
        Command::Scan(args) => scan::run(common, args).await,
        Command::Serve(args) => serve::run(common, args).await,
        Command::Doctor(args) => doctor::run(common, args).await,
        Command::Bench(args) => bench::run(common, args).await,
        Command::Token(args) => token::run(args),
        Command::Demo(args) => demo::run(args),
    }
}

/// The engine that the flags and the configuration describe; paths allowed.
fn engine(common: &Common) -> Result<Engine> {
    let settings = config::read(&common.overrides(), &environment())?;
    crate::allocator::return_early(settings.memory());
    assemble::engine(&settings, common.warehouse.as_deref(), Paths::Allowed { moved: common.moved })
}
