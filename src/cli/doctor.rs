//! `doctor`: configuration, the files and rules of a server, catalogs, credentials and a small read from each catalog, with what to do when one fails.

use super::args::{Common, DoctorArgs};
use super::output::print;
use super::text;
use crate::config::{self, Case, Rule, ServerSettings, Settings};
use crate::engine::Engine;
use crate::serve::Opened;
use fastdata_types::{Error, ErrorKind, Grant, Result, ScanRequest, Stage, TableName};
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
    match (config::read(&common.overrides(), &environment), super::engine(common)) {
        (Ok(settings), Ok(engine)) => {
            checks.report("configuration", Ok(described(&settings)))?;
            check_server(&settings, &mut checks)?;
            check_engine(&engine, args, &mut checks).await?;
            check_rules(&engine, &settings.policy, &mut checks).await?;
        }
        (Err(e), _) => drop(checks.report("configuration", Err(e))?),
        (Ok(settings), Err(e)) => {
            let what = if e.kind() == ErrorKind::Config { "configuration" } else { "catalogs" };
            if what == "catalogs" {
                checks.report("configuration", Ok(described(&settings)))?;
            }
            checks.report(what, Err(e))?;
            check_server(&settings, &mut checks)?;
        }
    }
    let Some((_, kind)) = checks.failed.first() else { return print("everything works\n") };
    let names: Vec<&str> = checks.failed.iter().map(|(name, _)| name.as_str()).collect();
    Err(Error::new(*kind, Stage::Config, format!("failed: {}", names.join(", ")))
        .advice("mend the first failure above, then run `fastdata doctor` again"))
}

fn described(settings: &Settings) -> String {
    let file = settings.file.as_ref().map_or_else(|| "no file, defaults".to_owned(), |path| path.display().to_string());
    format!("{file}; memory {}", text::bytes(settings.memory()))
}

/// What `fastdata serve` opens before it listens.
fn check_server(settings: &Settings, checks: &mut Checks) -> Result<()> {
    if settings.server == ServerSettings::default() && settings.policy.is_empty() {
        return Ok(());
    }
    let opened = Opened::of(settings).map(|_| format!("files and filters can be read; rules: {}", settings.policy.len()));
    checks.report("server", opened).map(drop)
}

/// Whether each rule fits the tables that it names in full.
async fn check_rules(engine: &Engine, rules: &[Rule], checks: &mut Checks) -> Result<()> {
    for (number, rule) in (1..).zip(rules) {
        let named: Vec<TableName> = rule.tables.iter().filter_map(|pattern| table_of(pattern.exact()?)).collect();
        let name = format!("policy[{number}]");
        let mut fits = true;
        for table in &named {
            for problem in misfits(engine, rule, table).await {
                fits = checks.report(&name, Err(problem))?;
            }
        }
        if fits && !named.is_empty() {
            checks.report(&name, Ok(format!("fits the {} tables that it names", named.len())))?;
        }
    }
    Ok(())
}

fn table_of(mut parts: Vec<String>) -> Option<TableName> {
    let name = parts.pop()?;
    Some(TableName { namespace: parts, name })
}

async fn misfits(engine: &Engine, rule: &Rule, table: &TableName) -> Vec<Error> {
    let grant = Grant { columns: rule.columns.clone(), filter: rule.filter.clone() };
    let is_in = |catalog: &str| rule.catalogs.is_empty() || rule.catalogs.iter().any(|p| p.matches([catalog].into_iter(), Case::Exact));
    let (mut found, mut problems) = (false, Vec::new());
    for catalog in engine.catalogs().keys().filter(|name| is_in(name)) {
        let of_table = |e: Error| {
            let advice = e.advice_text().unwrap_or("mend the rule: docs/security.md says what it may hold").to_owned();
            Error::new(e.kind(), Stage::Config, format!("table {table} of {catalog}: {}", e.message())).advice(advice)
        };
        match engine.misfits(catalog, table, &grant).await {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(e) => problems.push(of_table(e)),
            Ok(errors) => problems.extend(errors.into_iter().map(of_table)),
        }
        found = true;
    }
    if !found {
        problems.push(
            Error::not_found(Stage::Config, format!("no catalog has the table {table} that the rule names"))
                .advice("mend its name in the rule: `fastdata tables` lists what there is"),
        );
    }
    problems
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
    let mut tables_read: Vec<String> = args.table.iter().cloned().collect();
    for (name, catalog) in engine.catalogs() {
        let reached = catalog.check().await;
        if !checks.report(&format!("catalog {name}"), reached)? {
            continue;
        }
        let listed = catalog.list(None).await;
        if let (Ok(tables), None) = (&listed, &args.table) {
            tables_read.extend(tables.first().map(|table| format!("{name}.{table}")));
        }
        checks.report(&format!("tables of {name}"), listed.map(|tables| format!("{} tables", tables.len())))?;
    }
    for table in tables_read {
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
