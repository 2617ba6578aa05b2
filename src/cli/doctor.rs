//! `doctor`: configuration, catalogs, credentials and one small read, each with what to do when it fails.

use super::args::{Common, DoctorArgs};
use super::output::print;
use super::text;
use crate::config;
use crate::engine::Engine;
use fastdata_types::{Error, ErrorKind, Result, ScanRequest, Stage};
use futures::StreamExt;
use std::fmt::Write;
use std::time::Instant;

struct Checks {
    failed: Vec<(String, ErrorKind)>,
}

impl Checks {
    fn report(&mut self, name: &str, outcome: Result<String>) -> Result<bool> {
        let mut out = String::new();
        let good = outcome.is_ok();
        match outcome {
            Ok(text) => {
                let _ = writeln!(out, "ok    {name}: {}", text::printable(&text));
            }
            Err(e) => {
                let _ = writeln!(out, "FAIL  {name}: {}: {}", e.kind(), e.message());
                let _ = writeln!(
                    out,
                    "      {}",
                    e.advice_text().unwrap_or("run the same step with FASTDATA_LOG=debug to see what was asked and answered")
                );
                self.failed.push((name.to_owned(), e.kind()));
            }
        }
        print(&out)?;
        Ok(good)
    }
}

pub async fn run(common: &Common, args: &DoctorArgs) -> Result<()> {
    let mut checks = Checks { failed: vec![] };
    let environment: Vec<(String, String)> = std::env::vars().collect();
    let described = config::read(&common.overrides(), &environment).map(|settings| {
        let file = settings.file.as_ref().map_or_else(|| "no file, defaults".to_owned(), |path| path.display().to_string());
        format!("{file}; memory {}", text::bytes(settings.memory()))
    });
    match (described, super::engine(common)) {
        (Ok(described), Ok(engine)) => {
            checks.report("configuration", Ok(described))?;
            check_engine(&engine, args, &mut checks).await?;
        }
        (Err(e), _) => drop(checks.report("configuration", Err(e))?),
        (Ok(_), Err(e)) if e.kind() == ErrorKind::Config => drop(checks.report("configuration", Err(e))?),
        (Ok(described), Err(e)) => {
            checks.report("configuration", Ok(described))?;
            checks.report("catalogs", Err(e))?;
        }
    }
    let Some((_, kind)) = checks.failed.first() else { return print("everything works\n") };
    let names: Vec<&str> = checks.failed.iter().map(|(name, _)| name.as_str()).collect();
    Err(Error::new(*kind, Stage::Config, format!("failed: {}", names.join(", ")))
        .advice("mend the first failure above, then run `fastdata doctor` again"))
}

async fn check_engine(engine: &Engine, args: &DoctorArgs, checks: &mut Checks) -> Result<()> {
    if engine.catalogs().is_empty() && args.table.is_none() {
        checks.report(
            "catalogs",
            Err(Error::new(ErrorKind::Config, Stage::Config, "none configured")
                .advice("give --warehouse DIR, name catalogs in fastdata.toml, or name a table directory")),
        )?;
        return Ok(());
    }
    let mut first_table = None;
    for (name, catalog) in engine.catalogs() {
        let reached = catalog.check().await;
        if !checks.report(&format!("catalog {name}"), reached)? {
            continue;
        }
        let listed = catalog.list(None).await;
        if let Ok(tables) = &listed
            && let Some(table) = tables.first()
        {
            first_table.get_or_insert_with(|| format!("{name}.{table}"));
        }
        checks.report(&format!("tables of {name}"), listed.map(|tables| format!("{} tables", tables.len())))?;
    }
    if let Some(table) = args.table.clone().or(first_table) {
        let started = Instant::now();
        let outcome =
            small_read(engine, &table).await.map(|rows| format!("{rows} rows in {}", text::micros(started.elapsed().as_micros() as u64)));
        checks.report(&format!("read {table}"), outcome)?;
    }
    Ok(())
}

/// One batch: catalog, credentials, storage and decoding at once.
async fn small_read(engine: &Engine, table: &str) -> Result<u64> {
    let request = ScanRequest { limit: Some(10), ..ScanRequest::table(table) };
    let mut stream = engine.scan(&request).await?.stream;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        rows += batch?.num_rows() as u64;
    }
    Ok(rows)
}
