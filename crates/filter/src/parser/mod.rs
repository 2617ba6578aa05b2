//! Tokens become a tree.
//!
//! Contract: precedence is that of SQL (OR, AND, NOT, IS, comparison, BETWEEN / IN / LIKE, `+ -`, `* / %`, sign, `::`). The tree
//! is at most [`MAX_DEPTH`] deep, chains of AND and OR being flat, so whoever walks it may recurse. Every node knows its range
//! in the text. What SQL has and a filter has not is refused by its name.
//!
//! How: precedence climbing, one token of lookahead for most.

mod cursor;
mod operands;
mod operators;

use crate::lexer::{Kind, Token, tokens};
use crate::position::Source;
use crate::tree::{Node, Tree};
use fastdata_types::Result;
use fastdata_types::expr::{ArithmeticOp, CompareOp};

/// How deep expressions may nest, and how many terms a chain of one arithmetic operator may have.
const MAX_DEPTH: usize = 200;

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

impl Parser<'_, '_> {
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

    fn node(&self, start: usize, below: usize, tree: Tree) -> Result<Node> {
        if below >= MAX_DEPTH {
            return Err(self.too_deep(start));
        }
        Ok(Node { tree, range: start..self.end_before().max(start), depth: below + 1 })
    }
}
