//! The tree of a filter before names and types are known.

use crate::number::Number;
use fastdata_types::PrimitiveType;
use fastdata_types::expr::{ArithmeticOp, CompareOp};
use std::ops::Range;

#[derive(Debug)]
pub(crate) struct Node {
    pub tree: Tree,
    pub range: Range<usize>,
    /// Levels from here down to the deepest leaf, this one included.
    pub depth: usize,
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

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.text
    }
}
