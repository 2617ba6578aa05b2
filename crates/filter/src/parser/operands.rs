//! What operators are applied to: literals, columns, casts, parentheses, signs.

use super::{NOT, OR, Parser, SIGN};
use crate::lexer::Kind;
use crate::number::Number;
use crate::position::shorten;
use crate::tree::{Name, Node, Tree};
use crate::types;
use fastdata_types::{PrimitiveType, Result};

/// Words that no unquoted column has for a name.
const RESERVED: [&str; 24] = [
    "AND", "OR", "NOT", "IN", "IS", "NULL", "TRUE", "FALSE", "LIKE", "ILIKE", "BETWEEN", "ESCAPE", "CASE", "WHEN", "THEN", "ELSE", "END",
    "SELECT", "FROM", "WHERE", "DISTINCT", "EXISTS", "ANY", "ALL",
];

const AGGREGATES: [&str; 5] = ["COUNT", "SUM", "MIN", "MAX", "AVG"];

impl<'a> Parser<'_, 'a> {
    /// What stands before any operator: a literal, a column, a cast, something in parentheses, or a sign or NOT with its operand.
    pub(super) fn operand(&mut self, power: u8) -> Result<Node> {
        let start = self.start();
        match self.peek().clone() {
            Kind::Number(text) => {
                let number = Number::parse(text).ok_or_else(|| self.expected("a number"))?;
                self.advance();
                self.node(start, 0, Tree::Number(number))
            }
            Kind::Text(text) => {
                self.advance();
                self.node(start, 0, Tree::Text(text))
            }
            Kind::Quoted(_) => self.column(),
            Kind::Word(word) => self.word(word, power),
            Kind::Symbol("(") => {
                self.advance();
                self.refuse_subquery()?;
                let inner = self.expression(OR)?;
                if self.peek() == &Kind::Symbol(",") {
                    return Err(self.not_supported("a row of several values"));
                }
                if !self.symbol(")") {
                    return Err(self.expected("')'"));
                }
                Ok(inner)
            }
            Kind::Symbol(sign @ ("-" | "+")) => {
                self.advance();
                let operand = self.expression(SIGN)?;
                let depth = operand.depth;
                match (sign, operand) {
                    ("-", Node { tree: Tree::Number(number), .. }) => self.node(start, 0, Tree::Number(number.negated())),
                    ("-", operand) => self.node(start, depth, Tree::Negate(Box::new(operand))),
                    (_, operand) => self.node(start, depth, Tree::Plus(Box::new(operand))),
                }
            }
            Kind::Symbol("?" | ":") => Err(self.not_supported("a parameter")),
            Kind::Symbol("*") => Err(self.not_supported("'*'")),
            Kind::Symbol("[" | "{") => Err(self.not_supported("a list, map or struct literal")),
            _ => Err(self.expected("a value")),
        }
    }

    pub(super) fn word(&mut self, word: &'a str, power: u8) -> Result<Node> {
        let start = self.start();
        let upper = word.to_ascii_uppercase();
        let next = self.kind_at(1).clone();
        let constant = match upper.as_str() {
            "NULL" => Some(Tree::Null),
            "TRUE" => Some(Tree::Boolean(true)),
            "FALSE" => Some(Tree::Boolean(false)),
            _ => None,
        };
        if let Some(tree) = constant {
            self.advance();
            return self.node(start, 0, tree);
        }
        match upper.as_str() {
            "NOT" if power <= NOT => {
                self.advance();
                let operand = self.expression(NOT)?;
                let depth = operand.depth;
                return self.node(start, depth, Tree::Not(Box::new(operand)));
            }
            "NOT" => return Err(self.source.invalid(start, "NOT cannot stand here").advice("put it and its operand in parentheses")),
            "CASE" => return Err(self.not_supported("CASE")),
            "EXISTS" | "ANY" | "ALL" | "SELECT" => return Err(self.not_supported("a subquery")),
            "CAST" if next == Kind::Symbol("(") => return self.cast(),
            "TRY_CAST" | "SAFE_CAST" if next == Kind::Symbol("(") => {
                return Err(self.not_supported(&upper).advice("use CAST: a value that cannot be cast is an error there"));
            }
            "INTERVAL" if matches!(next, Kind::Text(_) | Kind::Number(_)) => return Err(self.not_supported("INTERVAL")),
            _ => {}
        }
        if let Some(literal) = self.typed_literal(&upper)? {
            return Ok(literal);
        }
        if next == Kind::Symbol("(") && !RESERVED.contains(&upper.as_str()) {
            let what = if AGGREGATES.contains(&upper.as_str()) { "the aggregate function" } else { "the function" };
            return Err(self.not_supported(&format!("{what} '{}'", shorten(word))));
        }
        if RESERVED.contains(&upper.as_str()) {
            return Err(self.expected("a value").or_advice(format!("a column named {word} is written in double quotes")));
        }
        self.column()
    }

    /// `X'00ff'`, `DATE '2020-01-01'`, `TIMESTAMP WITH TIME ZONE '...'`: a type's name followed by a string.
    pub(super) fn typed_literal(&mut self, word: &str) -> Result<Option<Node>> {
        let (start, before) = (self.start(), self.at);
        if let Kind::Text(text) = self.kind_at(1).clone() {
            if word == "X" {
                self.advance();
                let content = self.start();
                self.advance();
                let bytes = fastdata_types::value::parse_hex(&text)
                    .ok_or_else(|| self.source.invalid(content, "X'...' holds an even number of hexadecimal digits"))?;
                return self.node(start, 0, Tree::Binary(bytes)).map(Some);
            }
            if types::named(word, &[]).is_none() {
                return Err(self.not_supported(&format!("a literal of the kind {}'...'", shorten(word))));
            }
        } else if !matches!(word, "TIMESTAMP" | "TIME" | "DOUBLE" | "DECIMAL" | "NUMERIC") {
            return Ok(None);
        }
        match self.type_name() {
            Ok(ty) => {
                if let Kind::Text(text) = self.peek().clone() {
                    self.advance();
                    return self.node(start, 0, Tree::Typed(ty, text)).map(Some);
                }
            }
            Err(error) if matches!(self.kind_at(0), Kind::Text(_)) => return Err(error),
            Err(_) => {}
        }
        self.at = before;
        Ok(None)
    }

    pub(super) fn cast(&mut self) -> Result<Node> {
        let start = self.start();
        self.advance();
        self.advance();
        let operand = self.expression(OR)?;
        if !self.keyword("AS") {
            return Err(self.expected("AS and a type in CAST"));
        }
        let to = self.type_name()?;
        if !self.symbol(")") {
            return Err(self.expected("')' after the type of CAST"));
        }
        let depth = operand.depth;
        self.node(start, depth, Tree::Cast(Box::new(operand), to))
    }

    /// A type's name with its parameters: `DECIMAL(9, 2)`, `DOUBLE PRECISION`, `TIMESTAMP(6) WITH TIME ZONE`.
    pub(super) fn type_name(&mut self) -> Result<PrimitiveType> {
        let start = self.start();
        let Kind::Word(word) = self.peek() else { return Err(self.expected("the name of a type")) };
        let mut name = word.to_ascii_uppercase();
        self.advance();
        if name == "DOUBLE" {
            self.keyword("PRECISION");
        }
        let mut parameters = Vec::new();
        if self.symbol("(") {
            loop {
                match self.peek() {
                    Kind::Number(text) => parameters.push(text.parse::<u32>().map_err(|_| self.expected("a smaller whole number"))?),
                    _ => return Err(self.expected("a whole number")),
                }
                self.advance();
                if self.symbol(")") {
                    break;
                }
                if !self.symbol(",") {
                    return Err(self.expected("',' or ')' in the parameters of the type"));
                }
            }
        }
        if let Some(zone) = self.word_at(0, &["WITH", "WITHOUT"]) {
            let whole = self.word_at(1, &["TIME"]).is_some() && self.word_at(2, &["ZONE"]).is_some();
            if whole && (name == "TIMESTAMP" || zone == "WITHOUT" && name == "TIME") {
                self.at += 3;
                if zone == "WITH" {
                    name = "TIMESTAMPTZ".to_owned();
                }
            }
        }
        let written = self.source.quote(&(start..self.end_before()));
        types::named(&name, &parameters).unwrap_or_else(|| Err("is not a type that filters know".to_owned())).map_err(|why| {
            self.source.invalid(start, format_args!("{written} {why}")).or_advice(format!("the types are: {}", types::NAMES))
        })
    }

    pub(super) fn column(&mut self) -> Result<Node> {
        let start = self.start();
        let mut names = Vec::new();
        loop {
            match self.peek() {
                Kind::Word(word) => names.push(Name { text: (*word).to_owned(), quoted: false }),
                Kind::Quoted(name) => names.push(Name { text: name.clone(), quoted: true }),
                Kind::Symbol("*") => return Err(self.not_supported("'*'")),
                _ => return Err(self.expected("a name after '.'")),
            }
            self.advance();
            if !self.symbol(".") {
                break;
            }
        }
        match self.peek() {
            Kind::Symbol("(") => Err(self.not_supported(&format!("the function '{}'", self.source.quote(&(start..self.end_before()))))),
            Kind::Symbol("[") => {
                Err(self.not_supported("a subscript").advice("filters reach into structs, by dotted names, and not into lists and maps"))
            }
            Kind::Number(text) if text.starts_with('.') => {
                Err(self.source.invalid(self.start(), "a name that starts with a digit is written in double quotes"))
            }
            _ => self.node(start, 0, Tree::Column(names)),
        }
    }
}
