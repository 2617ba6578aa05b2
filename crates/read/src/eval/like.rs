//! `LIKE`: `%` stands for any characters, `_` for one, an escape character makes the next one plain.
//!
//! Contract: case is ignored character by character (by the simple lower-case mapping), so `_` stays one character. The time is at most the product
//! of the lengths; patterns without `_` are searched in linear time.

use super::operand::{by_entry, internal};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArrayType};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use fastdata_types::Result;

pub(super) struct Pattern {
    shape: Shape,
    case_insensitive: bool,
}

enum Shape {
    /// No wildcard at all.
    Equal(String),
    /// No `_`: what comes before the first `%`, between them, after the last.
    Pieces {
        first: String,
        between: Vec<String>,
        last: String,
    },
    Any(Vec<Part>),
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Plain(char),
    One,
    Many,
}

fn lower(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(single), None) => single,
        _ => c,
    }
}

impl Pattern {
    pub fn new(pattern: &str, escape: Option<char>, case_insensitive: bool) -> Pattern {
        let mut parts = Vec::new();
        let mut characters = pattern.chars();
        while let Some(c) = characters.next() {
            let part = match c {
                c if Some(c) == escape => Part::Plain(characters.next().unwrap_or(c)),
                '%' => Part::Many,
                '_' => Part::One,
                c => Part::Plain(c),
            };
            if part != Part::Many || parts.last() != Some(&Part::Many) {
                parts.push(part);
            }
        }
        if case_insensitive {
            for part in &mut parts {
                if let Part::Plain(c) = part {
                    *c = lower(*c);
                }
            }
        }
        Pattern { shape: shape(parts), case_insensitive }
    }

    pub fn matches(&self, text: &str) -> bool {
        if self.case_insensitive {
            let lowered = if text.is_ascii() { text.to_ascii_lowercase() } else { text.chars().map(lower).collect() };
            self.shape.matches(&lowered)
        } else {
            self.shape.matches(text)
        }
    }

    /// NULL where the string is NULL.
    pub fn find(&self, array: &ArrayRef, negated: bool) -> Result<BooleanArray> {
        by_entry(array, &|entries| {
            let found = match entries.data_type() {
                DataType::Utf8 => self.each(entries.as_string::<i32>()),
                DataType::LargeUtf8 => self.each(entries.as_string::<i64>()),
                DataType::Utf8View => self.each(entries.as_string_view()),
                other => return Err(internal(format!("LIKE is applied to {other}"))),
            };
            Ok(BooleanArray::new(if negated { !&found } else { found }, entries.logical_nulls()))
        })
    }

    fn each<'a>(&self, array: impl StringArrayType<'a>) -> BooleanBuffer {
        BooleanBuffer::collect_bool(array.len(), |row| !array.is_null(row) && self.matches(array.value(row)))
    }
}

fn shape(parts: Vec<Part>) -> Shape {
    if parts.contains(&Part::One) {
        return Shape::Any(parts);
    }
    let mut pieces = vec![String::new()];
    for part in &parts {
        match (part, pieces.last_mut()) {
            (Part::Plain(c), Some(piece)) => piece.push(*c),
            _ => pieces.push(String::new()),
        }
    }
    let last = pieces.pop().unwrap_or_default();
    if pieces.is_empty() {
        return Shape::Equal(last);
    }
    let first = pieces.remove(0);
    Shape::Pieces { first, between: pieces, last }
}

impl Shape {
    fn matches(&self, text: &str) -> bool {
        match self {
            Shape::Equal(whole) => text == whole,
            Shape::Pieces { first, between, last } => {
                let Some(mut rest) = text.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str())) else {
                    return false;
                };
                for piece in between {
                    match find(rest, piece) {
                        Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
                        None => return false,
                    }
                }
                true
            }
            Shape::Any(parts) => walk(parts, text),
        }
    }
}

/// `str::find` prepares a search that pays off in long texts only.
fn find(text: &str, piece: &str) -> Option<usize> {
    const SHORT: usize = 64;
    match piece.as_bytes() {
        [first, ..] if text.len() <= SHORT => {
            let (text, piece) = (text.as_bytes(), piece.as_bytes());
            let last = text.len().checked_sub(piece.len())?;
            (0..=last).find(|at| text[*at] == *first && text[*at..*at + piece.len()] == *piece)
        }
        _ => text.find(piece),
    }
}

/// Each `%` takes as little as it can; on a mismatch the latest one takes one character more.
fn walk(parts: &[Part], text: &str) -> bool {
    let (mut at, mut rest) = (0, text.chars());
    let mut again: Option<(usize, std::str::Chars)> = None;
    loop {
        let before = rest.clone();
        match (parts.get(at), rest.next()) {
            (Some(Part::Many), _) => {
                rest = before.clone();
                at += 1;
                again = Some((at, before));
                continue;
            }
            (None, None) => return true,
            (Some(Part::One), Some(_)) => at += 1,
            (Some(Part::Plain(wanted)), Some(c)) if *wanted == c => at += 1,
            (_, next) => match (&mut again, next) {
                (Some((from, behind)), Some(_)) => {
                    behind.next();
                    at = *from;
                    rest = behind.clone();
                }
                _ => return false,
            },
        }
    }
}
