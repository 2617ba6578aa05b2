//! The parser's place among the tokens, and the errors about what stands there.

use super::{MAX_DEPTH, Parser};
use crate::lexer::Kind;
use fastdata_types::Error;

/// Operators written as words that a filter does not know.
const UNKNOWN_WORDS: [&str; 13] =
    ["SIMILAR", "RLIKE", "REGEXP", "REGEXP_LIKE", "GLOB", "COLLATE", "AT", "OVERLAPS", "DIV", "MOD", "XOR", "ISNULL", "NOTNULL"];

impl<'a> Parser<'_, 'a> {
    pub(super) fn kind_at(&self, ahead: usize) -> &Kind<'a> {
        self.tokens.get(self.at + ahead).map_or(&Kind::End, |token| &token.kind)
    }

    pub(super) fn peek(&self) -> &Kind<'a> {
        self.kind_at(0)
    }

    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    pub(super) fn start(&self) -> usize {
        self.tokens.get(self.at).map_or(self.source.text.len(), |token| token.range.start)
    }

    /// The end of the token that was consumed last.
    pub(super) fn end_before(&self) -> usize {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(0, |token| token.range.end)
    }

    pub(super) fn symbol(&mut self, symbol: &'static str) -> bool {
        let found = self.peek() == &Kind::Symbol(symbol);
        self.at += usize::from(found);
        found
    }

    pub(super) fn keyword(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Kind::Word(found) if found.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    pub(super) fn word_at(&self, ahead: usize, words: &[&'static str]) -> Option<&'static str> {
        match self.kind_at(ahead) {
            Kind::Word(found) => words.iter().find(|word| found.eq_ignore_ascii_case(word)).copied(),
            _ => None,
        }
    }

    pub(super) fn found(&self) -> String {
        match self.peek() {
            Kind::End => "the end of the filter".to_owned(),
            _ => format!("'{}'", self.source.quote(&self.tokens.get(self.at).map_or(0..0, |token| token.range.clone()))),
        }
    }

    pub(super) fn expected(&self, what: &str) -> Error {
        self.source.invalid(self.start(), format_args!("expected {what}, found {}", self.found()))
    }

    pub(super) fn not_supported(&self, what: &str) -> Error {
        self.source.invalid(self.start(), format_args!("{what} is not supported in filters"))
    }

    pub(super) fn too_deep(&self, at: usize) -> Error {
        self.source.limit(at, format_args!("expressions nest deeper than {MAX_DEPTH} levels"))
    }

    /// A token that continues nothing.
    pub(super) fn stray(&self) -> Error {
        match self.peek() {
            Kind::Symbol("==") => self.source.invalid(self.start(), "'==' is not supported in filters").advice("write ="),
            Kind::Symbol("<=>") => {
                self.source.invalid(self.start(), "'<=>' is not supported in filters").advice("write IS NOT DISTINCT FROM")
            }
            Kind::Symbol("[") => self.not_supported("a subscript"),
            Kind::Symbol(symbol) if !matches!(*symbol, ")" | "(" | "," | "." | ";" | "}" | "]") => {
                self.not_supported(&format!("the operator '{symbol}'"))
            }
            Kind::Word(word) if UNKNOWN_WORDS.iter().any(|unknown| unknown.eq_ignore_ascii_case(word)) => {
                self.not_supported(&format!("the operator {}", word.to_ascii_uppercase()))
            }
            _ => self.expected("AND, OR or the end of the filter"),
        }
    }
}
