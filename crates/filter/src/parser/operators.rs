//! The operators that are words: IS, BETWEEN, IN and LIKE.

use super::{ADD, COMPARE, OR, Parser};
use crate::lexer::Kind;
use crate::tree::{Node, Tree, Truth};
use fastdata_types::Result;

impl Parser<'_, '_> {
    pub(super) fn is(&mut self, operand: Node) -> Result<Node> {
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
    pub(super) fn range(&mut self, operand: Node) -> Result<Node> {
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
    pub(super) fn list(&mut self) -> Result<Vec<Node>> {
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

    pub(super) fn refuse_subquery(&self) -> Result<()> {
        match self.word_at(0, &["SELECT", "WITH", "VALUES"]) {
            Some(_) if !matches!(self.kind_at(1), Kind::Symbol(_) | Kind::End) => Err(self.not_supported("a subquery")),
            _ => Ok(()),
        }
    }
}
