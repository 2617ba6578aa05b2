//! Tokens become a tree.
//!
//! Contract: precedence is that of SQL (OR, AND, NOT, IS, comparison, BETWEEN / IN / LIKE, `+ -`, `* / %`, sign, `::`). The tree
//! is at most [`MAX_DEPTH`] deep, chains of AND and OR being flat, so whoever walks it may recurse. Every node knows its range
//! in the text. What SQL has and a filter has not is refused by its name.
//!
//! How: precedence climbing, one token of lookahead for most.

use crate::lexer::{Kind, Token, tokens};
use crate::number::Number;
use crate::position::{Source, shorten};
use crate::types;
use fastdata_types::expr::{ArithmeticOp, CompareOp};
use fastdata_types::{Error, PrimitiveType, Result};
use std::ops::Range;

/// How deep expressions may nest, and how many terms a chain of one arithmetic operator may have.
pub(crate) const MAX_DEPTH: usize = 200;

#[derive(Debug)]
pub(crate) struct Node {
    pub tree: Tree,
    pub range: Range<usize>,
    depth: usize,
}

#[derive(Debug)]
pub(crate) enum Tree {
    Column(Vec<Name>),
    Null,
    Boolean(bool),
    Number(Number),
    Text(String),
    Binary(Vec<u8>),
    /// `DATE '2020-01-01'`.
    Typed(PrimitiveType, String),
    Cast(Box<Node>, PrimitiveType),
    Negate(Box<Node>),
    Plus(Box<Node>),
    Arithmetic(ArithmeticOp, Box<Node>, Box<Node>),
    Compare(CompareOp, Box<Node>, Box<Node>),
    Distinct {
        left: Box<Node>,
        right: Box<Node>,
        negated: bool,
    },
    Between {
        operand: Box<Node>,
        low: Box<Node>,
        high: Box<Node>,
        negated: bool,
    },
    In {
        operand: Box<Node>,
        items: Vec<Node>,
        negated: bool,
    },
    Like {
        operand: Box<Node>,
        pattern: Box<Node>,
        escape: Option<Box<Node>>,
        negated: bool,
        case_insensitive: bool,
    },
    IsNull {
        operand: Box<Node>,
        negated: bool,
    },
    Is {
        operand: Box<Node>,
        truth: Truth,
        negated: bool,
    },
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Truth {
    True,
    False,
    Unknown,
}

/// One part of a column's name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Name {
    pub text: String,
    pub quoted: bool,
}

/// Words that no unquoted column has for a name.
const RESERVED: [&str; 24] = [
    "AND", "OR", "NOT", "IN", "IS", "NULL", "TRUE", "FALSE", "LIKE", "ILIKE", "BETWEEN", "ESCAPE", "CASE", "WHEN", "THEN", "ELSE", "END",
    "SELECT", "FROM", "WHERE", "DISTINCT", "EXISTS", "ANY", "ALL",
];

/// Operators written as words that a filter does not know.
const UNKNOWN_WORDS: [&str; 13] =
    ["SIMILAR", "RLIKE", "REGEXP", "REGEXP_LIKE", "GLOB", "COLLATE", "AT", "OVERLAPS", "DIV", "MOD", "XOR", "ISNULL", "NOTNULL"];

const AGGREGATES: [&str; 5] = ["COUNT", "SUM", "MIN", "MAX", "AVG"];

// Binding powers, loosest first.
const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const IS: u8 = 4;
const COMPARE: u8 = 5;
const RANGE: u8 = 6;
const ADD: u8 = 7;
const MULTIPLY: u8 = 8;
const SIGN: u8 = 9;
const CAST: u8 = 10;

pub(crate) fn parse(source: &Source) -> Result<Node> {
    let tokens = tokens(source)?;
    let mut parser = Parser { source, tokens, at: 0, nesting: 0 };
    if parser.tokens.len() == 1 {
        return Err(source.invalid(0, "the filter is empty").advice("leave the filter out to read every row"));
    }
    let node = parser.expression(OR)?;
    if parser.peek() != &Kind::End {
        return Err(parser.stray());
    }
    Ok(node)
}

struct Parser<'s, 'a> {
    source: &'s Source<'a>,
    /// Ends with `Kind::End`, which is never consumed.
    tokens: Vec<Token<'a>>,
    at: usize,
    nesting: usize,
}

impl<'a> Parser<'_, 'a> {
    /// An expression of operators that bind at least as tightly as `power`.
    fn expression(&mut self, power: u8) -> Result<Node> {
        self.nesting += 1;
        if self.nesting > MAX_DEPTH {
            return Err(self.too_deep(self.start()));
        }
        let mut left = self.operand(power)?;
        while let Some(next) = self.infix(power, &mut left)? {
            left = next;
        }
        self.nesting -= 1;
        Ok(left)
    }

    /// The next operator with its right side, applied to `left`; `None` where none follows that binds tightly enough.
    fn infix(&mut self, power: u8, left: &mut Node) -> Result<Option<Node>> {
        let operator = self.peek().clone();
        let binding = match &operator {
            Kind::Symbol(symbol) => match *symbol {
                "=" | "<>" | "!=" | "<" | "<=" | ">" | ">=" => COMPARE,
                "+" | "-" => ADD,
                "*" | "/" | "%" => MULTIPLY,
                "::" => CAST,
                _ => return Ok(None),
            },
            Kind::Word(word) => match word.to_ascii_uppercase().as_str() {
                "OR" => OR,
                "AND" => AND,
                "IS" => IS,
                "BETWEEN" | "IN" | "LIKE" | "ILIKE" => RANGE,
                "NOT" if self.word_at(1, &["BETWEEN", "IN", "LIKE", "ILIKE"]).is_some() => RANGE,
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        if binding < power {
            return Ok(None);
        }
        let start = left.range.start;
        let left = std::mem::replace(left, Node { tree: Tree::Null, range: start..start, depth: 0 });
        match binding {
            OR | AND => self.chain(binding, left),
            IS => self.is(left),
            RANGE => self.range(left),
            CAST => {
                self.advance();
                let to = self.type_name()?;
                self.node(start, left.depth, Tree::Cast(Box::new(left), to))
            }
            _ => {
                let Kind::Symbol(symbol) = operator else { return Err(self.stray()) };
                self.advance();
                let right = self.expression(binding + 1)?;
                let depth = left.depth.max(right.depth);
                let (l, r) = (Box::new(left), Box::new(right));
                let tree = match symbol {
                    "+" => Tree::Arithmetic(ArithmeticOp::Add, l, r),
                    "-" => Tree::Arithmetic(ArithmeticOp::Subtract, l, r),
                    "*" => Tree::Arithmetic(ArithmeticOp::Multiply, l, r),
                    "/" => Tree::Arithmetic(ArithmeticOp::Divide, l, r),
                    "%" => Tree::Arithmetic(ArithmeticOp::Modulo, l, r),
                    "=" => Tree::Compare(CompareOp::Eq, l, r),
                    "<" => Tree::Compare(CompareOp::Lt, l, r),
                    "<=" => Tree::Compare(CompareOp::LtEq, l, r),
                    ">" => Tree::Compare(CompareOp::Gt, l, r),
                    ">=" => Tree::Compare(CompareOp::GtEq, l, r),
                    _ => Tree::Compare(CompareOp::NotEq, l, r),
                };
                if binding == COMPARE && matches!(self.peek(), Kind::Symbol("=" | "<>" | "!=" | "<" | "<=" | ">" | ">=")) {
                    return Err(self
                        .source
                        .invalid(self.start(), "comparisons do not chain")
                        .advice("join them with AND, or use parentheses"));
                }
                self.node(start, depth, tree)
            }
        }
        .map(Some)
    }

    /// `left AND b AND c ...` as one flat node, whatever parentheses stand around parts of the chain.
    fn chain(&mut self, binding: u8, left: Node) -> Result<Node> {
        let (start, word) = (left.range.start, if binding == OR { "OR" } else { "AND" });
        let mut parts = Vec::new();
        let mut add = |part: Node| match part.tree {
            Tree::And(inner) if binding == AND => parts.extend(inner),
            Tree::Or(inner) if binding == OR => parts.extend(inner),
            _ => parts.push(part),
        };
        add(left);
        while self.keyword(word) {
            add(self.expression(binding + 1)?);
        }
        let depth = parts.iter().map(|part| part.depth).max().unwrap_or(0);
        self.node(start, depth, if binding == OR { Tree::Or(parts) } else { Tree::And(parts) })
    }

    fn is(&mut self, operand: Node) -> Result<Node> {
        let start = operand.range.start;
        self.advance();
        let negated = self.keyword("NOT");
        let mut depth = operand.depth;
        let operand = Box::new(operand);
        let tree = if self.keyword("NULL") {
            Tree::IsNull { operand, negated }
        } else if self.keyword("TRUE") {
            Tree::Is { operand, truth: Truth::True, negated }
        } else if self.keyword("FALSE") {
            Tree::Is { operand, truth: Truth::False, negated }
        } else if self.keyword("UNKNOWN") {
            Tree::Is { operand, truth: Truth::Unknown, negated }
        } else if self.keyword("DISTINCT") {
            if !self.keyword("FROM") {
                return Err(self.expected("FROM after IS DISTINCT"));
            }
            let right = self.expression(COMPARE)?;
            depth = depth.max(right.depth);
            Tree::Distinct { left: operand, right: Box::new(right), negated }
        } else {
            return Err(self.expected("NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM after IS"));
        };
        self.node(start, depth, tree)
    }

    /// BETWEEN, IN and LIKE, each with NOT before it or without.
    fn range(&mut self, operand: Node) -> Result<Node> {
        let (start, mut depth) = (operand.range.start, operand.depth);
        let operand = Box::new(operand);
        let negated = self.keyword("NOT");
        let tree = if self.keyword("BETWEEN") {
            if self.word_at(0, &["SYMMETRIC", "ASYMMETRIC"]).is_some()
                && !matches!(self.kind_at(1), Kind::Word(word) if word.eq_ignore_ascii_case("AND"))
            {
                return Err(self.not_supported("BETWEEN SYMMETRIC"));
            }
            let low = self.expression(ADD)?;
            if !self.keyword("AND") {
                return Err(self.expected("AND between the bounds of BETWEEN"));
            }
            let high = self.expression(ADD)?;
            depth = depth.max(low.depth).max(high.depth);
            Tree::Between { operand, low: Box::new(low), high: Box::new(high), negated }
        } else if self.keyword("IN") {
            let items = self.list()?;
            depth = items.iter().map(|item| item.depth).fold(depth, usize::max);
            Tree::In { operand, items, negated }
        } else {
            let case_insensitive = self.keyword("ILIKE");
            if !case_insensitive {
                self.advance();
            }
            if self.word_at(0, &["ANY", "ALL"]).is_some() {
                return Err(self.not_supported("LIKE ANY / LIKE ALL"));
            }
            let pattern = Box::new(self.expression(ADD)?);
            let escape = if self.keyword("ESCAPE") { Some(Box::new(self.expression(ADD)?)) } else { None };
            depth = depth.max(pattern.depth).max(escape.as_ref().map_or(0, |escape| escape.depth));
            Tree::Like { operand, pattern, escape, negated, case_insensitive }
        };
        let node = self.node(start, depth, tree)?;
        match self.word_at(0, &["BETWEEN", "IN", "LIKE", "ILIKE"]) {
            Some(word) => Err(self.source.invalid(self.start(), format_args!("{word} cannot follow here")).advice("use parentheses")),
            None => Ok(node),
        }
    }

    /// The list of IN, parentheses included.
    fn list(&mut self) -> Result<Vec<Node>> {
        if !self.symbol("(") {
            return Err(self.expected("a list in parentheses after IN"));
        }
        self.refuse_subquery()?;
        if self.peek() == &Kind::Symbol(")") {
            return Err(self.expected("at least one value in the list of IN"));
        }
        let mut items = Vec::new();
        loop {
            items.push(self.expression(OR)?);
            if self.symbol(")") {
                return Ok(items);
            }
            if !self.symbol(",") {
                return Err(self.expected("',' or ')' in the list of IN"));
            }
        }
    }

    /// What stands before any operator: a literal, a column, a cast, something in parentheses, or a sign or NOT with its operand.
    fn operand(&mut self, power: u8) -> Result<Node> {
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

    fn word(&mut self, word: &'a str, power: u8) -> Result<Node> {
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
    fn typed_literal(&mut self, word: &str) -> Result<Option<Node>> {
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

    fn cast(&mut self) -> Result<Node> {
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
    fn type_name(&mut self) -> Result<PrimitiveType> {
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

    fn column(&mut self) -> Result<Node> {
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

    fn refuse_subquery(&self) -> Result<()> {
        match self.word_at(0, &["SELECT", "WITH", "VALUES"]) {
            Some(_) if !matches!(self.kind_at(1), Kind::Symbol(_) | Kind::End) => Err(self.not_supported("a subquery")),
            _ => Ok(()),
        }
    }

    fn node(&self, start: usize, below: usize, tree: Tree) -> Result<Node> {
        if below >= MAX_DEPTH {
            return Err(self.too_deep(start));
        }
        Ok(Node { tree, range: start..self.end_before().max(start), depth: below + 1 })
    }

    fn kind_at(&self, ahead: usize) -> &Kind<'a> {
        self.tokens.get(self.at + ahead).map_or(&Kind::End, |token| &token.kind)
    }
    fn peek(&self) -> &Kind<'a> {
        self.kind_at(0)
    }
    fn advance(&mut self) {
        self.at += 1;
    }
    fn start(&self) -> usize {
        self.tokens.get(self.at).map_or(self.source.text.len(), |token| token.range.start)
    }
    /// The end of the token that was consumed last.
    fn end_before(&self) -> usize {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(0, |token| token.range.end)
    }
    fn symbol(&mut self, symbol: &'static str) -> bool {
        let found = self.peek() == &Kind::Symbol(symbol);
        self.at += usize::from(found);
        found
    }
    fn keyword(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Kind::Word(found) if found.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }
    fn word_at(&self, ahead: usize, words: &[&'static str]) -> Option<&'static str> {
        match self.kind_at(ahead) {
            Kind::Word(found) => words.iter().find(|word| found.eq_ignore_ascii_case(word)).copied(),
            _ => None,
        }
    }

    fn found(&self) -> String {
        match self.peek() {
            Kind::End => "the end of the filter".to_owned(),
            _ => format!("'{}'", self.source.quote(&self.tokens.get(self.at).map_or(0..0, |token| token.range.clone()))),
        }
    }
    fn expected(&self, what: &str) -> Error {
        self.source.invalid(self.start(), format_args!("expected {what}, found {}", self.found()))
    }
    fn not_supported(&self, what: &str) -> Error {
        self.source.invalid(self.start(), format_args!("{what} is not supported in filters"))
    }
    fn too_deep(&self, at: usize) -> Error {
        self.source.limit(at, format_args!("expressions nest deeper than {MAX_DEPTH} levels"))
    }

    /// A token that continues nothing.
    fn stray(&self) -> Error {
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
