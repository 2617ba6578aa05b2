//! Settings: `fastdata.toml`, then `FASTDATA_*` variables, then flags; the later wins. Resolved once into plain structs.
//!
//! Contract: every problem is reported at once, each with its key and the file (or variable) it stands in. Catalogs use Iceberg's
//! property names (`uri`, `warehouse`, `s3.endpoint`, ...) unchanged.
//!
//! ```toml
//! default-catalog = "lake"
//! memory = "1GiB"
//! threads = 8
//! timeout = "10m"
//! rewrites = ["s3a://warehouse/=/data/warehouse/"]
//! allow = ["s3://shared-data/"]
//!
//! [catalogs.lake]
//! type = "rest"
//! uri = "https://catalog.example.com"
//! credential = "id:secret"
//! ```

mod policy;
mod reader;
mod server;

use fastdata_types::{Error, ErrorKind, MemoryBudget, Result, Stage};
use reader::Section;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use policy::{Case, EVERYONE, NamePattern, Rule};
pub use server::{
    AuthSettings, ClientCertificates, JwtSettings, Limits, ServerSettings, TicketSettings, TlsSettings, parse_duration, quarter_of_memory,
};

/// The file that is read where no other is named, if it is there.
pub const DEFAULT_FILE: &str = "fastdata.toml";
/// Two large row groups of a wide table fit: while one is decoded the next is fetched.
pub const DEFAULT_MEMORY: u64 = 768 << 20;
const ENVIRONMENT: &str = "environment";

#[derive(Clone, Default, PartialEq)]
pub struct Settings {
    pub catalogs: BTreeMap<String, CatalogSettings>,
    pub default_catalog: Option<String>,
    /// `FROM=TO` prefixes for every catalog and path.
    pub rewrites: Vec<(String, String)>,
    /// Location prefixes that tables may refer to, beside their catalog's own.
    pub allow: Vec<String>,
    /// Bytes; where none are said, [`DEFAULT_MEMORY`], and on a server a quarter of what the machine gives.
    pub memory: Option<u64>,
    /// Decode threads; 0 is one per core.
    pub threads: usize,
    /// What a command may take in all, where `--timeout` does not say.
    pub timeout: Option<Duration>,
    /// Of `fastdata serve`.
    pub server: ServerSettings,
    /// Who may see what, the first rule that matches first; without a rule everybody sees everything.
    pub policy: Vec<Rule>,
    /// The file these came from, if any.
    pub file: Option<PathBuf>,
    /// What is wrong with them, a line each. Building an engine reports these with what its catalogs find wrong.
    pub problems: Vec<String>,
}

#[derive(Clone, Default, PartialEq)]
pub struct CatalogSettings {
    pub properties: BTreeMap<String, String>,
    pub rewrites: Vec<(String, String)>,
    pub allow: Vec<String>,
    /// Whether the file names it; else variables do.
    pub in_file: bool,
}

/// What the command line says, over everything else.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub config: Option<PathBuf>,
    pub memory: Option<u64>,
    pub threads: Option<usize>,
    pub rewrites: Vec<(String, String)>,
    pub allow: Vec<String>,
}

struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, origin: &str, key: &str, what: impl std::fmt::Display) {
        self.0.push(format!("{origin}: {key}: {what}"));
    }
}

impl Settings {
    /// The memory budget in bytes.
    pub fn memory(&self) -> u64 {
        self.memory.unwrap_or(DEFAULT_MEMORY)
    }

    /// Where a catalog is configured, for messages.
    pub fn origin(&self, catalog: &str) -> String {
        match &self.file {
            Some(file) if self.catalogs.get(catalog).is_some_and(|catalog| catalog.in_file) => file.display().to_string(),
            _ => ENVIRONMENT.to_owned(),
        }
    }
}

/// Reads the settings and refuses them where anything is wrong.
pub fn load(overrides: &Overrides, environment: &[(String, String)]) -> Result<Settings> {
    let mut settings = read(overrides, environment)?;
    match refusal(std::mem::take(&mut settings.problems)) {
        Some(error) => Err(error),
        None => Ok(settings),
    }
}

/// The error that lists problems, if there are any.
pub fn refusal(problems: Vec<String>) -> Option<Error> {
    let plural = match problems.len() {
        0 => return None,
        1 => "problem",
        _ => "problems",
    };
    let message = format!("{} {plural} in the configuration:\n  {}", problems.len(), problems.join("\n  "));
    Some(
        Error::new(ErrorKind::Config, Stage::Config, message)
            .advice("`fastdata doctor` checks the configuration again; docs/configuration.md lists every key"),
    )
}

/// Reads the settings, problems and all. `environment` is the process environment, passed in so that tests choose it.
pub fn read(overrides: &Overrides, environment: &[(String, String)]) -> Result<Settings> {
    let mut settings = Settings::default();
    let mut problems = Problems(vec![]);
    if let Some((path, text)) = read_file(overrides, environment)? {
        let origin = path.display().to_string();
        match text.parse::<toml::Table>() {
            Ok(table) => read_table(&table, &origin, &mut settings, &mut problems),
            // The error as a whole shows the line, which may hold a secret.
            Err(e) => problems.0.push(format!("{origin}: {}{}", place_of(&text, e.span()), e.message())),
        }
        settings.file = Some(path);
    }
    read_environment(environment, &mut settings, &mut problems);
    settings.memory = overrides.memory.or(settings.memory);
    settings.threads = overrides.threads.unwrap_or(settings.threads);
    // Flags come first: the first matching rewrite wins.
    settings.rewrites.splice(0..0, overrides.rewrites.iter().cloned());
    settings.allow.extend(overrides.allow.iter().cloned());
    if let Some(name) = &settings.default_catalog
        && !settings.catalogs.contains_key(name)
    {
        let by_variable = environment.iter().any(|(variable, _)| variable == "FASTDATA_DEFAULT_CATALOG");
        let file = settings.file.as_ref().filter(|_| !by_variable).map(|file| file.display().to_string());
        let what = format!("'{name}' is not among the catalogs ({})", names(&settings));
        problems.add(file.as_deref().unwrap_or(ENVIRONMENT), "default-catalog", what);
    }
    settings.problems = problems.0;
    Ok(settings)
}

/// Where in a text something is, in front of what it is.
fn place_of(text: &str, span: Option<std::ops::Range<usize>>) -> String {
    let Some(before) = span.and_then(|span| text.get(..span.start)) else { return String::new() };
    let line = before.rsplit('\n').next().unwrap_or_default();
    format!("line {}, column {}: ", before.matches('\n').count() + 1, line.chars().count() + 1)
}

fn names(settings: &Settings) -> String {
    settings.catalogs.keys().cloned().collect::<Vec<_>>().join(", ")
}

fn read_file(overrides: &Overrides, environment: &[(String, String)]) -> Result<Option<(PathBuf, String)>> {
    let named = overrides
        .config
        .clone()
        .or_else(|| environment.iter().find(|(key, _)| key == "FASTDATA_CONFIG").map(|(_, value)| PathBuf::from(value)));
    let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    if named.is_none() && !Path::new(DEFAULT_FILE).exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).map_err(|e| {
        Error::new(ErrorKind::Config, Stage::Config, format!("{}: {e}", path.display()))
            .advice("name a readable file with --config or FASTDATA_CONFIG")
    })?;
    Ok(Some((path, text)))
}

fn read_table(table: &toml::Table, origin: &str, settings: &mut Settings, problems: &mut Problems) {
    for (key, value) in table {
        match key.as_str() {
            "default-catalog" => match value.as_str() {
                Some(name) => settings.default_catalog = Some(name.to_owned()),
                None => problems.add(origin, key, "must be a string"),
            },
            "memory" => match value.as_str().map(parse_memory) {
                Some(Ok(bytes)) => settings.memory = Some(bytes),
                Some(Err(why)) => problems.add(origin, key, why),
                None => problems.add(origin, key, "must be a string such as \"512MiB\""),
            },
            "threads" => match value.as_integer().and_then(|n| usize::try_from(n).ok()) {
                Some(threads) => settings.threads = threads,
                None => problems.add(origin, key, "must be a number of threads, 0 for one per core"),
            },
            "timeout" => match value.as_str().map(parse_timeout) {
                Some(Ok(time)) => settings.timeout = Some(time),
                Some(Err(why)) => problems.add(origin, key, why),
                None => problems.add(origin, key, "must be a string such as \"10m\""),
            },
            "rewrites" => settings.rewrites = rewrites_of(value, origin, key, problems),
            "allow" => settings.allow = strings_of(value, origin, key, problems),
            "catalogs" => match value.as_table() {
                Some(catalogs) => {
                    for (name, value) in catalogs {
                        let key = format!("catalogs.{name}");
                        match value.as_table() {
                            Some(table) => {
                                settings.catalogs.insert(name.clone(), read_catalog(table, origin, &key, problems));
                            }
                            None => problems.add(origin, &key, "must be a table of properties"),
                        }
                    }
                }
                None => problems.add(origin, key, "must be a table: [catalogs.NAME]"),
            },
            "server" => settings.server = Section::of(value, origin, key, problems).map(server::read).unwrap_or_default(),
            "policy" => settings.policy = policy::read(value, origin, problems),
            _ => {
                let known = ["default-catalog", "memory", "threads", "timeout", "rewrites", "allow", "catalogs", "server", "policy"];
                problems.add(origin, key, reader::unknown_key(key, &known));
            }
        }
    }
}

fn read_catalog(table: &toml::Table, origin: &str, key: &str, problems: &mut Problems) -> CatalogSettings {
    let mut catalog = CatalogSettings { in_file: true, ..CatalogSettings::default() };
    for (property, value) in table {
        let key = format!("{key}.{property}");
        match property.as_str() {
            "rewrites" => catalog.rewrites = rewrites_of(value, origin, &key, problems),
            "allow" => catalog.allow = strings_of(value, origin, &key, problems),
            _ => flatten(property, value, origin, &key, &mut catalog.properties, problems),
        }
    }
    catalog
}

/// `s3.endpoint = "x"` in TOML is a nested table: Iceberg's property names are the dotted paths.
fn flatten(name: &str, value: &toml::Value, origin: &str, key: &str, into: &mut BTreeMap<String, String>, problems: &mut Problems) {
    match value {
        toml::Value::String(text) => {
            into.insert(name.to_owned(), text.clone());
        }
        toml::Value::Boolean(flag) => {
            into.insert(name.to_owned(), flag.to_string());
        }
        toml::Value::Integer(number) => {
            into.insert(name.to_owned(), number.to_string());
        }
        toml::Value::Table(table) => {
            for (part, value) in table {
                flatten(&format!("{name}.{part}"), value, origin, &format!("{key}.{part}"), into, problems);
            }
        }
        _ => problems.add(origin, key, "must be a string, a number or true/false"),
    }
}

fn strings_of(value: &toml::Value, origin: &str, key: &str, problems: &mut Problems) -> Vec<String> {
    let strings = value.as_array().map(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>());
    match strings {
        Some(Some(strings)) => strings,
        _ => {
            problems.add(origin, key, "must be a list of strings");
            vec![]
        }
    }
}

fn rewrites_of(value: &toml::Value, origin: &str, key: &str, problems: &mut Problems) -> Vec<(String, String)> {
    let mut rewrites = Vec::new();
    for text in strings_of(value, origin, key, problems) {
        match parse_rewrite(&text) {
            Ok(rewrite) => rewrites.push(rewrite),
            Err(why) => problems.add(origin, key, why),
        }
    }
    rewrites
}

/// `FASTDATA_MEMORY`, `FASTDATA_THREADS`, `FASTDATA_TIMEOUT`, `FASTDATA_DEFAULT_CATALOG`, `FASTDATA_SERVER_LISTEN`, `FASTDATA_SERVER_ADMIN`, and `FASTDATA_CATALOG__NAME__S3__ENDPOINT` for property
/// `s3.endpoint` of catalog `name`: `__` stands for a dot, `_` for a dash.
fn read_environment(environment: &[(String, String)], settings: &mut Settings, problems: &mut Problems) {
    for (variable, value) in environment {
        let origin = ENVIRONMENT;
        match variable.as_str() {
            "FASTDATA_MEMORY" => match parse_memory(value) {
                Ok(bytes) => settings.memory = Some(bytes),
                Err(why) => problems.add(origin, variable, why),
            },
            "FASTDATA_THREADS" => match value.parse() {
                Ok(threads) => settings.threads = threads,
                Err(_) => problems.add(origin, variable, format!("'{value}' is no number of threads")),
            },
            "FASTDATA_TIMEOUT" => match parse_timeout(value) {
                Ok(time) => settings.timeout = Some(time),
                Err(why) => problems.add(origin, variable, why),
            },
            "FASTDATA_DEFAULT_CATALOG" => settings.default_catalog = Some(value.clone()),
            "FASTDATA_SERVER_LISTEN" => match server::parse_address(value) {
                Ok(address) => settings.server.listen = address,
                Err(why) => problems.add(origin, variable, why),
            },
            "FASTDATA_SERVER_ADMIN" => match server::parse_address(value) {
                Ok(address) => settings.server.admin = Some(address),
                Err(why) => problems.add(origin, variable, why),
            },
            _ => {
                let Some(path) = variable.strip_prefix("FASTDATA_CATALOG__") else { continue };
                match path.split_once("__") {
                    Some((name, property)) if !name.is_empty() && !property.is_empty() => {
                        let name = name.to_lowercase().replace('_', "-");
                        let name = settings.catalogs.keys().find(|known| known.to_lowercase() == name).cloned().unwrap_or(name);
                        let property = property.to_lowercase().replace("__", ".").replace('_', "-");
                        settings.catalogs.entry(name).or_default().properties.insert(property, value.clone());
                    }
                    _ => problems.add(origin, variable, "write FASTDATA_CATALOG__NAME__PROPERTY, with __ for a dot and _ for a dash"),
                }
            }
        }
    }
}

/// Bytes of `512MiB`, `1GiB`, `64MB`, `1073741824`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no size; write e.g. 512MiB, 2GiB or a number of bytes");
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    let value: f64 = number.parse().map_err(|_| wrong())?;
    let bytes = value * factor as f64;
    if bytes < 1.0 || bytes > (1u64 << 50) as f64 {
        return Err(wrong());
    }
    Ok(bytes as u64)
}

/// What a command may take: some time, not none.
pub fn parse_timeout(text: &str) -> Result<Duration, String> {
    parse_duration(text).and_then(|time| if time.is_zero() { Err(format!("'{text}' leaves no time")) } else { Ok(time) })
}

/// Bytes of a memory budget.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        bytes if bytes < MemoryBudget::LEAST => Err(format!("'{text}' is too little memory; give at least 1MiB")),
        bytes => Ok(bytes),
    }
}

/// `FROM=TO`, split at the first `=`.
pub fn parse_rewrite(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok((from.to_owned(), to.to_owned())),
        _ => Err(format!("'{text}' is no rewrite; write FROM=TO, e.g. s3a://warehouse/=/data/warehouse/")),
    }
}

#[cfg(test)]
mod tests;
