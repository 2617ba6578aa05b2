//! The figures: medians of the rounds, as JSON and as a table.

use super::surface::{Run, Surface};
use super::{BenchArgs, failed};
use crate::cli::text;
use fastdata_types::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Serialize)]
pub struct Report {
    command: &'static str,
    version: &'static str,
    machine: String,
    latency_ms: f64,
    bytes_per_second_and_connection: u64,
    rounds: u32,
    tables: BTreeMap<String, Figures>,
}

#[derive(Debug, Serialize)]
struct Figures {
    rows: u64,
    /// Of the data files: what a scan of the whole table reads, and what rates are of.
    bytes: u64,
    ceiling: Ceiling,
    scans: BTreeMap<&'static str, Scan>,
}

#[derive(Debug, Serialize)]
struct Ceiling {
    seconds: f64,
    gb_per_second: f64,
    requests: usize,
}

#[derive(Debug, Serialize)]
struct Scan {
    seconds: f64,
    gb_per_second: f64,
    percent_of_ceiling: f64,
    requests: usize,
    cpu_seconds_per_gb: f64,
    peak_mib: u64,
    first_batch_ms: f64,
}

/// What was measured of one table, round by round.
pub struct TableReport {
    rows: u64,
    bytes: u64,
    ceilings: Vec<(f64, usize)>,
    runs: BTreeMap<Surface, Vec<Measured>>,
}

#[derive(Clone, Copy)]
struct Measured {
    seconds: f64,
    first_batch_seconds: f64,
    cpu_seconds: f64,
    peak_bytes: u64,
    requests: usize,
}

impl TableReport {
    pub fn new(rows: u64, bytes: u64) -> TableReport {
        TableReport { rows, bytes, ceilings: vec![], runs: BTreeMap::new() }
    }

    pub fn ceiling(&mut self, took: Duration, requests: usize, counts: bool) {
        self.ceilings.extend(counts.then_some((took.as_secs_f64(), requests)));
    }

    pub fn run(&mut self, surface: Surface, run: &Run, requests: usize, counts: bool) {
        let measured = Measured {
            seconds: run.seconds,
            first_batch_seconds: run.first_batch_seconds,
            cpu_seconds: run.usage.cpu_seconds,
            peak_bytes: run.usage.peak_bytes,
            requests,
        };
        self.runs.entry(surface).or_default().extend(counts.then_some(measured));
    }

    fn figures(&self) -> Figures {
        let gigabytes = self.bytes as f64 / 1e9;
        let ceiling_seconds = median(self.ceilings.iter().map(|(seconds, _)| *seconds));
        let scan = |runs: &Vec<Measured>| {
            let of = |figure: fn(&Measured) -> f64| median(runs.iter().map(figure));
            let seconds = of(|run| run.seconds);
            Scan {
                seconds: rounded(seconds),
                gb_per_second: rounded(gigabytes / seconds),
                percent_of_ceiling: rounded(100.0 * ceiling_seconds / seconds),
                requests: of(|run| run.requests as f64) as usize,
                cpu_seconds_per_gb: rounded(of(|run| run.cpu_seconds) / gigabytes),
                peak_mib: runs.iter().map(|run| run.peak_bytes >> 20).max().unwrap_or(0),
                first_batch_ms: rounded(1e3 * of(|run| run.first_batch_seconds)),
            }
        };
        Figures {
            rows: self.rows,
            bytes: self.bytes,
            ceiling: Ceiling {
                seconds: rounded(ceiling_seconds),
                gb_per_second: rounded(gigabytes / ceiling_seconds),
                requests: median(self.ceilings.iter().map(|(_, requests)| *requests as f64)) as usize,
            },
            scans: self.runs.iter().map(|(surface, runs)| (surface.name(), scan(runs))).collect(),
        }
    }
}

impl Report {
    pub fn new(args: &BenchArgs) -> Report {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Report {
            command: "fastdata bench",
            version: env!("CARGO_PKG_VERSION"),
            machine: format!("{}, {cores} cores", std::env::consts::ARCH),
            latency_ms: args.latency.as_secs_f64() * 1e3,
            bytes_per_second_and_connection: args.bandwidth,
            rounds: args.rounds,
            tables: BTreeMap::new(),
        }
    }

    pub fn add(&mut self, table: &str, measured: TableReport) {
        self.tables.insert(table.to_owned(), measured.figures());
    }

    pub fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n").map_err(|e| failed("the report", &e))
    }

    pub fn text(&self) -> String {
        let mut table =
            text::table(&["table", "read by", "seconds", "GB/s", "% of ceiling", "requests", "CPU s/GB", "peak MiB", "first batch ms"]);
        for (name, figures) in &self.tables {
            let ceiling = &figures.ceiling;
            let mut row = vec![name.clone(), "ceiling".to_owned(), ceiling.seconds.to_string(), ceiling.gb_per_second.to_string()];
            row.extend(["100".to_owned(), ceiling.requests.to_string()]);
            row.resize(9, String::new());
            table.add_row(row);
            for (surface, scan) in &figures.scans {
                table.add_row([
                    name.clone(),
                    (*surface).to_owned(),
                    scan.seconds.to_string(),
                    scan.gb_per_second.to_string(),
                    scan.percent_of_ceiling.to_string(),
                    scan.requests.to_string(),
                    scan.cpu_seconds_per_gb.to_string(),
                    scan.peak_mib.to_string(),
                    scan.first_batch_ms.to_string(),
                ]);
            }
        }
        format!(
            "{} ms to the first byte, {}/s on a connection, medians of {} rounds; GB are of the data files\n\n{}\n",
            self.latency_ms,
            text::bytes(self.bytes_per_second_and_connection),
            self.rounds,
            table.trim_fmt()
        )
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => 0.0,
        n if n % 2 == 1 => figures[n / 2],
        n => f64::midpoint(figures[n / 2 - 1], figures[n / 2]),
    }
}

fn rounded(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_rounds_is_their_middle_one_or_two() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
    }
}
