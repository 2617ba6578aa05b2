//! `fastdata scan`: rows of one table, from the embedded engine or a server.

use super::args::{Common, Format, ScanArgs, StatsFormat};
use super::output::{self, Sink};
use super::progress::Progress;
use super::text;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use fastdata_client::{Client, PullOptions};
use fastdata_types::lanes::LanePosition;
use fastdata_types::stats::{ScanStats, StatsCollector};
use fastdata_types::{Error, Result, ScanRequest, Stage};
use futures::{Stream, StreamExt, TryStreamExt};
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

pub async fn run(common: &Common, args: &ScanArgs) -> Result<()> {
    let mut request = args.request()?;
    if args.format == Some(Format::None) && args.output.is_some() {
        return Err(Error::invalid(Stage::Output, "-o none writes nothing, and --output names a file").advice("leave one of them out"));
    }
    let to_terminal = args.output.is_none() && std::io::stdout().is_terminal();
    let named = args.output.as_deref().and_then(Format::of_file);
    let format = args.format.or(named).unwrap_or(if to_terminal { Format::Table } else { Format::Jsonl });
    if to_terminal && matches!(format, Format::Parquet | Format::Arrow) {
        return Err(Error::invalid(Stage::Output, "parquet and arrow are binary and standard output is a terminal")
            .advice("add --output FILE, or pipe the output"));
    }
    // One row more than is shown tells whether there are more.
    let shown = (format == Format::Table && request.limit.is_none() && args.output.is_none()).then_some(output::TERMINAL_ROWS);
    if let Some(shown) = shown {
        request.limit = Some(shown + 1);
    }
    let source = match super::remote::connect(&args.server).await? {
        Some(client) => served(client, &request, args.lane).await.map_err(|e| super::remote::advised(e, &args.server))?,
        None if request.lanes.is_some() => lanes(common, &request, args.lane).await?,
        None => embedded(common, &request).await?,
    };
    pull(source, args, format, shown, to_terminal && format != Format::None).await
}

/// Batches from either side, with what is known about them beforehand.
struct Source {
    schema: SchemaRef,
    rows_estimated: Option<u64>,
    stats: Arc<StatsCollector>,
    notes: Vec<String>,
    batches: std::pin::Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>,
}

async fn embedded(common: &Common, request: &ScanRequest) -> Result<Source> {
    let engine = super::engine(common)?;
    let scan = engine.scan(request).await?;
    let notes = scan.plan.notes();
    let estimated = scan.plan.report.rows_estimated;
    let estimated = request.limit.map_or(estimated, |limit| estimated.min(limit as u64));
    Ok(Source {
        schema: Arc::clone(&scan.stream.schema),
        rows_estimated: Some(estimated),
        stats: Arc::clone(&scan.stream.stats),
        notes,
        batches: Box::pin(scan.stream),
    })
}

/// The lanes of a scan one after the other, or one of them.
async fn lanes(common: &Common, request: &ScanRequest, only: Option<u32>) -> Result<Source> {
    let engine = Arc::new(super::engine(common)?);
    let plan = Arc::new(engine.plan(request).await?);
    let notes = plan.notes();
    let lanes = engine.lanes(plan, request)?;
    let chosen = match only {
        Some(number) => vec![lanes.lanes.lane(number)?],
        None => lanes.lanes.lanes.iter().collect(),
    };
    let rows = chosen.iter().map(|lane| lane.rows()).sum();
    let starts = chosen.iter().map(|lane| (lane.number, LanePosition::default())).collect();
    let stream = engine.read_lanes(&lanes, starts, engine.means(&lanes.plan))?;
    Ok(Source {
        schema: Arc::clone(&stream.schema),
        rows_estimated: Some(rows),
        stats: Arc::clone(&stream.stats),
        notes,
        batches: Box::pin(stream.map_ok(|next| next.batch)),
    })
}

/// Lanes that were asked for come one after the other, as they do here.
async fn served(client: Client, request: &ScanRequest, only: Option<u32>) -> Result<Source> {
    let plan = client.plan(request).await?;
    let estimated = match only {
        Some(lane) => plan.lane_rows(lane),
        None => plan.rows_estimated,
    };
    let notes = plan.notes().to_vec();
    let pull = plan.pull(PullOptions { lanes: only.map(|lane| vec![lane]), ordered: request.lanes.is_some(), ..Default::default() })?;
    StatsCollector::add(&pull.stats.planning_us, plan.metadata.planning_us);
    Ok(Source {
        schema: Arc::clone(&pull.schema),
        rows_estimated: estimated.map(|rows| request.limit.map_or(rows, |limit| rows.min(limit as u64))),
        stats: Arc::clone(&pull.stats),
        notes,
        batches: Box::pin(pull.batches()),
    })
}

async fn pull(mut source: Source, args: &ScanArgs, format: Format, shown: Option<i64>, rows_to_terminal: bool) -> Result<()> {
    let started = Instant::now();
    for note in &source.notes {
        let _ = writeln!(std::io::stderr(), "note: {note}");
    }
    let limited = args.selection.limit.is_some();
    let mut sink: Box<dyn Sink> = output::open(format, args.output.as_deref(), Arc::clone(&source.schema), limited)?;
    let progress = Progress::start(source.rows_estimated, rows_to_terminal);
    let mut rows = 0u64;
    let mut more = false;
    while let Some(batch) = source.batches.next().await {
        let mut batch = batch?;
        if let Some(shown) = shown {
            let left = (shown as u64).saturating_sub(rows);
            if batch.num_rows() as u64 > left {
                more = true;
                batch = batch.slice(0, left as usize);
            }
        }
        rows += batch.num_rows() as u64;
        source.stats.came(batch.num_rows(), started);
        if batch.num_rows() > 0 {
            sink.write(&batch)?;
        }
        progress.update(&source.stats);
    }
    progress.finish();
    sink.finish()?;
    source.stats.total_us.store(started.elapsed().as_micros() as u64, Ordering::Relaxed);
    let mut stderr = std::io::stderr().lock();
    if more {
        let _ = writeln!(stderr, "the first {rows} rows; --limit N shows more, -o jsonl prints all");
    }
    if format == Format::None {
        let _ = writeln!(stderr, "{} rows", text::count(rows));
    }
    let stats = source.stats.snapshot();
    match args.stats {
        Some(StatsFormat::Text) => print_stats(&mut stderr, &stats),
        Some(StatsFormat::Json) => {
            let _ = writeln!(stderr, "{}", serde_json::to_string(&stats).unwrap_or_default());
        }
        None => {}
    }
    Ok(())
}

/// What a scan cost. Of a server that does not tell its part only the rows and bytes that came are known.
fn print_stats(out: &mut impl Write, stats: &ScanStats) {
    let seconds = stats.total_us as f64 / 1e6;
    let rate = if seconds > 0.0 { stats.bytes_returned as f64 / seconds } else { 0.0 };
    let lines = [
        ("rows", format!("{} in {} batches, {}", text::count(stats.rows), text::count(stats.batches), text::bytes(stats.bytes_returned))),
        (
            "decoded",
            format!(
                "{} rows, {} deleted, {} filtered out",
                text::count(stats.rows_decoded),
                text::count(stats.rows_deleted),
                text::count(stats.rows_filtered)
            ),
        ),
        (
            "read",
            format!(
                "{} files, {} row groups ({} pruned), {} delete files",
                text::count(stats.files_read),
                text::count(stats.row_groups_read),
                text::count(stats.row_groups_pruned),
                text::count(stats.delete_files_read)
            ),
        ),
        (
            "storage",
            format!(
                "{} in {} requests, {} retries, {} hedges",
                text::bytes(stats.bytes_fetched),
                text::count(stats.requests),
                text::count(stats.retries),
                text::count(stats.hedges)
            ),
        ),
        (
            "time",
            format!(
                "{} to read, the first batch after {}; before that, planning {}; over all threads: storage {}, decode {}, filter {}, deletes {}; output {}",
                text::micros(stats.total_us),
                text::micros(stats.first_batch_us),
                text::micros(stats.planning_us),
                text::micros(stats.storage_us),
                text::micros(stats.decode_us),
                text::micros(stats.filter_us),
                text::micros(stats.delete_us),
                text::micros(stats.consumer_us)
            ),
        ),
        ("rate", format!("{}/s", text::bytes(rate as u64))),
    ];
    let served = stats.rows_decoded == 0 && stats.rows > 0;
    for (name, value) in lines.into_iter().filter(|(name, _)| !served || matches!(*name, "rows" | "rate")) {
        let _ = writeln!(out, "{name:>8}  {value}");
    }
}
