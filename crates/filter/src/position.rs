//! Errors that say where in the filter they arose.

use fastdata_types::{Error, Stage};
use std::ops::Range;

/// The text of a filter, with the errors about it.
pub(crate) struct Source<'a> {
    pub text: &'a str,
}

impl<'a> Source<'a> {
    pub fn new(text: &'a str) -> Self {
        Source { text }
    }

    /// `filter, character 8`, and the line where there are several. `at` is an offset in bytes.
    pub fn place(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or(self.text);
        if self.text.contains('\n') {
            let line = before.matches('\n').count() + 1;
            let start = before.rfind('\n').map_or(0, |newline| newline + 1);
            format!("filter, line {line}, character {}", before[start..].chars().count() + 1)
        } else {
            format!("filter, character {}", before.chars().count() + 1)
        }
    }

    /// The text of a range, cut to what a message can hold.
    pub fn quote(&self, range: &Range<usize>) -> String {
        shorten(self.text.get(range.clone()).unwrap_or_default())
    }

    pub fn invalid(&self, at: usize, message: impl std::fmt::Display) -> Error {
        Error::invalid(Stage::Request, format!("{}: {message}", self.place(at)))
    }

    pub fn unsupported(&self, at: usize, message: impl std::fmt::Display) -> Error {
        Error::unsupported(Stage::Request, format!("{}: {message}", self.place(at)))
    }

    pub fn limit(&self, at: usize, message: impl std::fmt::Display) -> Error {
        Error::limit(Stage::Request, format!("{}: {message}", self.place(at)))
    }

    pub fn too_long(&self, most: usize) -> Error {
        Error::limit(Stage::Request, format!("filter: {} bytes, the limit is {most}", self.text.len()))
            .advice("shorten it, or read more rows and filter them after")
    }
}

/// At most 60 characters, on one line.
pub(crate) fn shorten(text: &str) -> String {
    let mut out: String = text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(60).is_some() {
        out.push_str("...");
    }
    out
}
