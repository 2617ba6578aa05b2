//! One table of the configuration file, taken apart key by key.
//!
//! Contract: each key is asked for once, by its type; what is wrong with it, and every key that nobody asked for, becomes a problem with the key's
//! full name. A key that is wrong counts as absent.

use super::{Problems, parse_bytes};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::PathBuf;

pub(super) struct Section<'a> {
    table: &'a toml::Table,
    origin: &'a str,
    /// The name of the section, e.g. `server.tls`.
    name: String,
    known: BTreeSet<&'static str>,
    problems: &'a mut Problems,
}

impl<'a> Section<'a> {
    /// `None`, and a problem, where the value is no table.
    pub(super) fn of(value: &'a toml::Value, origin: &'a str, name: &str, problems: &'a mut Problems) -> Option<Section<'a>> {
        match value.as_table() {
            Some(table) => Some(Section { table, origin, name: name.to_owned(), known: BTreeSet::new(), problems }),
            None => {
                problems.add(origin, name, format!("must be a table: [{name}]"));
                None
            }
        }
    }

    /// The value of a key as `parse` takes it.
    pub(super) fn take<T>(&mut self, key: &'static str, parse: impl FnOnce(&toml::Value) -> Result<T, String>) -> Option<T> {
        self.known.insert(key);
        match parse(self.table.get(key)?) {
            Ok(value) => Some(value),
            Err(why) => {
                self.problem(key, why);
                None
            }
        }
    }

    /// A string that `parse` takes.
    pub(super) fn text<T>(&mut self, key: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.take(key, |value| value.as_str().ok_or_else(|| "must be a string".to_owned()).and_then(parse))
    }

    pub(super) fn string(&mut self, key: &'static str) -> Option<String> {
        self.text(key, |text| if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned()) })
    }

    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.string(key).map(PathBuf::from)
    }

    pub(super) fn strings(&mut self, key: &'static str) -> Option<Vec<String>> {
        let wrong = || "must be a list of strings, with one at least".to_owned();
        self.take(key, |value| {
            let items = value.as_array().filter(|items| !items.is_empty()).ok_or_else(wrong)?;
            items.iter().map(|item| item.as_str().filter(|text| !text.is_empty()).map(str::to_owned).ok_or_else(wrong)).collect()
        })
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.take(key, |value| value.as_bool().ok_or_else(|| "must be true or false".to_owned()))
    }

    /// A number from 1 on.
    pub(super) fn count(&mut self, key: &'static str) -> Option<usize> {
        let wrong = || "must be a whole number, 1 or more".to_owned();
        self.take(key, |value| value.as_integer().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(wrong))
    }

    /// Bytes, as a number or as `512KiB`.
    pub(super) fn bytes(&mut self, key: &'static str) -> Option<u64> {
        self.take(key, |value| match value {
            toml::Value::Integer(bytes) => u64::try_from(*bytes).ok().filter(|b| *b > 0).ok_or_else(|| "must be positive".to_owned()),
            toml::Value::String(text) => parse_bytes(text),
            _ => Err("must be a size such as \"256KiB\"".to_owned()),
        })
    }

    /// A section below this one.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Section<'_>> {
        self.known.insert(key);
        Section::of(self.table.get(key)?, self.origin, &format!("{}.{key}", self.name), self.problems)
    }

    pub(super) fn problem(&mut self, key: &str, what: impl Display) {
        self.problems.add(self.origin, &format!("{}.{key}", self.name), what);
    }

    /// A key that must be there.
    pub(super) fn required<T>(&mut self, key: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.table.contains_key(key) {
            self.problem(key, "is missing");
        }
        value
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self) {
        let known: Vec<&str> = self.known.iter().copied().collect();
        for key in self.table.keys().filter(|key| !self.known.contains(key.as_str())) {
            self.problems.add(self.origin, &format!("{}.{key}", self.name), unknown_key(key, &known));
        }
    }
}

pub(super) fn unknown_key(key: &str, known: &[&str]) -> String {
    match fastdata_types::error::nearest(key, known.iter().copied()).first() {
        Some(near) => format!("unknown key; did you mean '{near}'?"),
        None => format!("unknown key; known keys: {}", known.join(", ")),
    }
}
