//! `fastdata demo DIR`: a warehouse of example tables, made on the spot and the same every time.
//!
//! Contract: a finished table is kept; one that an interrupted run left behind is made again; a table that this command did not make is
//! never touched. How: each table carries the property [`MARK`], first as unfinished, and with the last commit as done.

mod events;
mod ml;
mod readings;
mod tpch;

use super::{output, text};
use fastdata_types::{Error, Result, Stage, TableName};
use fastdata_write::Warehouse;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Table property: how far the table got, and at which scale.
const MARK: &str = "fastdata.demo";
const UNFINISHED: &str = "unfinished";

#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Where to make the warehouse; what is there already is kept
    pub dir: PathBuf,
    /// TPC-H scale factor: 1 is 6 million rows in lineitem
    #[arg(long, value_name = "SF", default_value_t = 0.1, value_parser = parse_scale)]
    pub scale: f64,
}

pub(super) fn parse_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if (0.001..=100.0).contains(&scale) => Ok(scale),
        _ => Err("a number from 0.001 to 100".to_owned()),
    }
}

type Make = Box<dyn Fn(&Site) -> Result<fastdata_write::Table>>;

/// One table to make: its name, about how many rows, and how. The last step of making it is left to the caller, who marks it as done.
struct Example {
    name: TableName,
    rows: u64,
    make: Make,
}

/// Where a table is made, and the way to tell how far it is.
struct Site<'a> {
    warehouse: &'a Warehouse,
    name: &'a TableName,
    bar: &'a ProgressBar,
}

impl Site<'_> {
    fn create(&self, mut options: fastdata_write::TableOptions) -> Result<fastdata_write::Table> {
        options.properties.insert(MARK.to_owned(), UNFINISHED.to_owned());
        self.warehouse.create_table(self.name, options)
    }

    fn progress(&self, rows: usize) {
        self.bar.inc(rows as u64);
    }
}

pub fn run(args: &DemoArgs) -> Result<()> {
    let started = Instant::now();
    let warehouse = Warehouse::open(&args.dir)?;
    let mut examples = tpch::examples(args.scale);
    examples.push(events::example());
    examples.push(readings::example());
    let (made, kept) = make(&warehouse, &examples, args.scale)?;
    let folder = text::printable(&warehouse.folder().display().to_string());
    let took = text::micros(started.elapsed().as_micros() as u64);
    output::print(&format!("{folder}: {made} tables made, {kept} kept, in {took}\n"))
}

/// Makes the tables that measurements read: `tpch.lineitem`, `ml.embeddings`, `ml.features`. What is there already at this scale is kept.
pub(super) fn reference_tables(folder: &Path, scale: f64) -> Result<()> {
    let mut examples = tpch::examples(scale);
    examples.retain(|example| example.name.name == "lineitem");
    examples.extend(ml::examples(scale));
    make(&Warehouse::open(folder)?, &examples, scale).map(drop)
}

/// How many were made, and how many were there.
fn make(warehouse: &Warehouse, examples: &[Example], scale: f64) -> Result<(usize, usize)> {
    let bar = progress_bar(examples.iter().map(|e| e.rows).sum());
    let (mut made, mut kept) = (0, 0);
    for example in examples {
        bar.set_message(example.name.to_string());
        let done = format!("done, scale {scale}");
        if keep(warehouse, &example.name, &done)? {
            bar.inc(example.rows);
            kept += 1;
            continue;
        }
        let mut table = (example.make)(&Site { warehouse, name: &example.name, bar: &bar })?;
        table.set_properties(&[(MARK, &done)])?;
        made += 1;
    }
    bar.finish_and_clear();
    Ok((made, kept))
}

/// Whether the table is there and done. What an interrupted run left of it is dropped.
fn keep(warehouse: &Warehouse, name: &TableName, done: &str) -> Result<bool> {
    let Some(properties) = warehouse.table_properties(name)? else { return Ok(false) };
    let folder = warehouse.folder().display();
    match properties.get(MARK).map(String::as_str) {
        Some(mark) if mark == done => Ok(true),
        Some(UNFINISHED) => warehouse.drop_table(name).map(|()| false),
        Some(mark) => Err(Error::invalid(Stage::Request, format!("{folder} holds demo tables already ({mark})"))
            .advice("ask for the same --scale, or choose another folder")),
        None => Err(Error::invalid(Stage::Request, format!("{folder} holds a table {name} that this command did not make"))
            .advice("choose another folder")),
    }
}

/// On standard error, and only on a terminal.
fn progress_bar(rows: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(rows), ProgressDrawTarget::hidden());
    if std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.enable_steady_tick(Duration::from_millis(120));
    }
    let style = ProgressStyle::with_template("{bar:32} {human_pos} of {human_len} rows  {msg}  {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

#[cfg(test)]
mod tests;
