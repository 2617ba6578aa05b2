//! The text of a filter as tokens.
//!
//! Contract: every token knows its range of bytes; the end of the text is a token of its own. What no filter contains is
//! refused here: unknown characters, quotes and comments without an end, numbers that run into letters.

use crate::position::Source;
use fastdata_types::Result;
use std::ops::Range;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind<'a> {
    /// A name or keyword, as written.
    Word(&'a str),
    /// A name in double quotes or backticks, unquoted.
    Quoted(String),
    /// An unsigned number, as written.
    Number(&'a str),
    /// A string in single quotes, unquoted.
    Text(String),
    Symbol(&'static str),
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token<'a> {
    pub kind: Kind<'a>,
    pub range: Range<usize>,
}

/// Longest first. Those that the grammar does not know are here so that it can refuse them by name.
const SYMBOLS: [&str; 46] = [
    "<=>", "->>", "!~*", "@@@", "<=", ">=", "<>", "!=", "==", "::", "||", "&&", "->", "=>", ":=", "~*", "!~", "<<", ">>", "//", "**", "<@",
    "@>", "(", ")", ",", ".", "+", "-", "*", "/", "%", "<", ">", "=", "[", "]", "{", "}", "?", "~", "^", "&", "|", ":", ";",
];

pub(crate) fn tokens<'a>(source: &Source<'a>) -> Result<Vec<Token<'a>>> {
    let text = source.text;
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(first) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        if rest.starts_with("--") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        if rest.starts_with("/*") {
            at += rest.find("*/").ok_or_else(|| source.invalid(at, "this comment has no end"))? + 2;
            continue;
        }
        let starts_fraction = first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit());
        let (kind, length) = if first == '\'' {
            let (string, length) = quoted(rest, '\'').ok_or_else(|| source.invalid(at, "this string has no closing quote"))?;
            (Kind::Text(string), length)
        } else if first == '"' || first == '`' {
            let (name, length) = quoted(rest, first).ok_or_else(|| source.invalid(at, "this quoted name has no closing quote"))?;
            (Kind::Quoted(name), length)
        } else if first.is_ascii_digit() || starts_fraction {
            let length = number(rest);
            if rest[length..].starts_with(is_word) {
                let end = length + rest[length..].find(|c| !is_word(c)).unwrap_or(rest.len() - length);
                let written = source.quote(&(at..at + end));
                return Err(source
                    .invalid(at, format_args!("'{written}' is neither a number nor a name"))
                    .advice("put a name that starts with a digit in double quotes"));
            }
            (Kind::Number(&rest[..length]), length)
        } else if first.is_alphabetic() || first == '_' {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            (Kind::Word(&rest[..length]), length)
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            (Kind::Symbol(symbol), symbol.len())
        } else {
            return Err(source
                .invalid(at, format_args!("a filter does not contain the character '{}'", first.escape_debug()))
                .advice("put a name with such characters in double quotes, a string in single quotes"));
        };
        out.push(Token { kind, range: at..at + length });
        at += length;
    }
    out.push(Token { kind: Kind::End, range: text.len()..text.len() });
    Ok(out)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// The content of a quoted token, in which a doubled quote stands for one, and the token's length in bytes.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut content = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        if c != quote {
            content.push(c);
        } else if characters.next_if(|(_, next)| *next == quote).is_some() {
            content.push(quote);
        } else {
            return Some((content, at + quote.len_utf8()));
        }
    }
    None
}

/// The length of the number at the start of `text`: digits, a fraction, an exponent.
fn number(text: &str) -> usize {
    let digits = |from: usize| from + text.as_bytes()[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = digits(0);
    if text[end..].starts_with('.') {
        end = digits(end + 1);
    }
    if text[end..].starts_with(['e', 'E']) {
        let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    end
}
