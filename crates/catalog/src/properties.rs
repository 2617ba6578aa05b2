//! The properties of one configured catalog.
//!
//! Contract: every problem is collected and reported at once, by key, never with a value that may be a secret.

use fastdata_types::error::{edit_distance, nearest};
use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::collections::BTreeMap;

/// Keys that a catalog itself reads.
const OWN: [&str; 21] = [
    "type",
    "uri",
    "warehouse",
    "catalog-name",
    "jdbc.user",
    "jdbc.password",
    "prefix",
    "token",
    "credential",
    "oauth2-server-uri",
    "scope",
    "audience",
    "resource",
    "rest-page-size",
    "rest.client.connection-timeout-ms",
    "rest.client.socket-timeout-ms",
    "rest.sigv4-enabled",
    "rest.auth.type",
    "fastdata.allow-plaintext",
    "fastdata.rest.retry-timeout",
    "fastdata.sql.query-timeout",
];
/// Keys that other clients read from the same configuration and that change nothing here.
const FOREIGN: [&str; 13] = [
    "default-namespace",
    "catalog-impl",
    "io-impl",
    "py-catalog-impl",
    "py-io-impl",
    "clients",
    "init_catalog_tables",
    "echo",
    "pool_pre_ping",
    "cache-enabled",
    "metrics-reporter-impl",
    "rest-metrics-reporting-enabled",
    "view-endpoints-supported",
];
const FOREIGN_PREFIXES: [&str; 8] = ["cache.", "table-default.", "table-override.", "jdbc.", "hadoop.", "hive.", "rest.", "io."];
/// Passed on to the store as they stand.
const STORAGE_PREFIXES: [&str; 6] = ["s3.", "client.", "gcs.", "adls.", "hdfs.", "fs."];
/// Those that the store reads: another that is spelt nearly so is a slip, not a setting of another client.
const STORAGE: [&str; 13] = [
    "s3.endpoint",
    "s3.region",
    "s3.path-style-access",
    "s3.access-key-id",
    "s3.secret-access-key",
    "s3.session-token",
    "s3.anonymous",
    "s3.connect-timeout",
    "s3.request-timeout",
    "client.region",
    "client.access-key-id",
    "client.secret-access-key",
    "client.session-token",
];
/// Of our own, for the store too: only the configuration sets these, no server.
const OWN_STORAGE: [&str; 3] = ["fastdata.s3.instance-credentials", "fastdata.s3.retry-timeout", "fastdata.s3.hedging"];
const OWN_PREFIXES: [&str; 2] = ["header.", "glue."];

/// Whether a key is that other one, but for two letters at most.
fn is_slip(key: &str, other: &str) -> bool {
    edit_distance(key, other) <= 2
}

/// A property that configures storage or its credentials, from whoever sets it.
pub fn is_storage(key: &str) -> bool {
    STORAGE_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

pub struct Properties {
    catalog: String,
    values: BTreeMap<String, String>,
    problems: Vec<String>,
}

impl Properties {
    pub fn new(catalog: &str, values: BTreeMap<String, String>) -> Self {
        let mut problems = Vec::new();
        let read_here = [&OWN[..], &OWN_STORAGE, &STORAGE].concat();
        let prefixes = [&STORAGE_PREFIXES[..], &FOREIGN_PREFIXES, &OWN_PREFIXES].concat();
        for key in values.keys().filter(|key| !read_here.contains(&key.as_str()) && !FOREIGN.contains(&key.as_str())) {
            let near = nearest(key, read_here.iter().copied());
            let is_passed_over = prefixes.iter().any(|prefix| key.starts_with(prefix));
            if !is_passed_over || near.first().is_some_and(|near| is_slip(key, near)) {
                let hint = if near.is_empty() { String::new() } else { format!(" (did you mean: {}?)", near.join(", ")) };
                problems.push(format!("unknown property '{key}'{hint}"));
            }
        }
        Properties { catalog: catalog.to_owned(), values, problems }
    }

    pub fn catalog(&self) -> &str {
        &self.catalog
    }

    /// The trimmed value, `None` where it is absent or empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|v| v.trim()).filter(|v| !v.is_empty())
    }

    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    pub fn problem(&mut self, what: impl Into<String>) {
        self.problems.push(what.into());
    }

    pub fn required(&mut self, key: &str, example: &str) -> String {
        match self.get(key) {
            Some(value) => value.to_owned(),
            None => {
                self.problem(format!("property '{key}' is missing, e.g. {key} = \"{example}\""));
                String::new()
            }
        }
    }

    pub fn flag(&mut self, key: &str) -> bool {
        match self.get(key).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                self.problem(format!("property '{key}' must be true or false"));
                false
            }
        }
    }

    pub fn milliseconds(&mut self, key: &str, default: u64) -> std::time::Duration {
        let value = match self.get(key).map(str::parse::<u64>) {
            None => default,
            Some(Ok(value)) if value > 0 => value,
            Some(_) => {
                self.problem(format!("property '{key}' must be a number of milliseconds above 0"));
                default
            }
        };
        std::time::Duration::from_millis(value)
    }

    pub fn seconds(&mut self, key: &str, default: u64) -> std::time::Duration {
        let value = match self.get(key).map(str::parse::<u32>) {
            None => default,
            Some(Ok(value)) if value > 0 => value.into(),
            Some(_) => {
                self.problem(format!("property '{key}' must be a number of seconds above 0"));
                default
            }
        };
        std::time::Duration::from_secs(value)
    }

    /// Refuses keys that belong to another kind of catalog than the one chosen.
    pub fn refuse(&mut self, keys: &[&str], kind: &str) {
        for key in keys {
            if self.get(key).is_some() {
                self.problem(format!("property '{key}' means nothing to a {kind} catalog"));
            }
        }
    }

    pub fn storage(&self) -> BTreeMap<String, String> {
        let wanted = |key: &str| is_storage(key) || OWN_STORAGE.contains(&key);
        self.values.iter().filter(|(key, _)| wanted(key)).map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    /// `config`, with every problem, if there is one.
    pub fn finish(&self) -> Result<()> {
        if self.problems.is_empty() {
            return Ok(());
        }
        let message = format!("catalog '{}': {}", self.catalog, self.problems.join("; "));
        Err(Error::new(ErrorKind::Config, Stage::Config, message).advice("correct the properties of this catalog in the configuration"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A key that is read and not described is one that nobody sets; one that is described and not read is set in vain.
    #[test]
    fn the_table_of_properties_is_what_is_read() {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md")).unwrap();
        let table = text.split_once("| property | of | meaning |\n").unwrap().1.split("\n\n").next().unwrap();
        let rows = table.lines().skip(1).filter_map(|row| row.strip_prefix("| `")?.split_once("` |"));
        let described: BTreeSet<&str> = rows.map(|(key, _)| key).collect();
        let prefixes = OWN_PREFIXES.map(|prefix| format!("{prefix}*"));
        let read: BTreeSet<&str> = OWN.into_iter().chain(OWN_STORAGE).chain(prefixes.iter().map(String::as_str)).collect();
        assert_eq!(described, read);
    }

    #[test]
    fn settings_of_our_own_reach_the_store_from_the_configuration_alone() {
        for key in OWN_STORAGE {
            let properties = Properties::new("lake", BTreeMap::from([(key.to_owned(), "true".to_owned())]));
            properties.finish().unwrap();
            assert!(properties.storage().contains_key(key) && !is_storage(key), "{key}");
        }
        for (slip, meant) in [
            ("s3.endpont", "s3.endpoint"),
            ("client.regoin", "client.region"),
            ("jdbc.usr", "jdbc.user"),
            ("rest.client.conection-timeout-ms", "rest.client.connection-timeout-ms"),
        ] {
            let message = Properties::new("lake", BTreeMap::from([(slip.to_owned(), "x".to_owned())])).finish().unwrap_err();
            assert!(message.message().contains(&format!("unknown property '{slip}' (did you mean: {meant}")), "{message}");
        }
        for key in ["s3.acl", "s3.sse.type", "s3.signer.uri", "jdbc.useSSL", "rest.client.max-retries", "client.factory", "fs.defaultFS"] {
            Properties::new("lake", BTreeMap::from([(key.to_owned(), "x".to_owned())])).finish().unwrap();
        }
        let properties = Properties::new("lake", BTreeMap::from([("fastdata.s3.retry-timout".to_owned(), "4".to_owned())]));
        assert!(properties.finish().unwrap_err().message().contains("did you mean: fastdata.s3.retry-timeout"));
    }
}
