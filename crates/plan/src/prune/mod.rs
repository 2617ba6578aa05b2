//! Which files can hold a row that passes the filter.
//!
//! Problem: metadata knows little about a file (a partition tuple, bounds, counts), and every rule that rules a file out wrongly loses rows.
//! Contract: a file is ruled out only if no row it may hold makes the filter true; whatever is not known counts as possible. How: the filter is
//! evaluated over *sets*: each column is a [`Domain`] (may it be null, NaN, a value within bounds or buckets), each
//! predicate the set of [`Outcomes`] (true, false, NULL) that rows may have. NOT exchanges true and false, so that it needs no
//! rewriting; a file is ruled out where `true` is not among the outcomes. The same evaluation serves manifest
//! summaries, partition tuples and column bounds: they differ in how the domains are found ([`partition`], [`mod@column`]).

pub(crate) mod cast;
pub(crate) mod column;
pub(crate) mod domain;
pub(crate) mod filter;
pub(crate) mod partition;

#[cfg(test)]
mod tests;

pub(crate) use column::PruneColumn;
pub(crate) use domain::Domain;
pub(crate) use filter::Pruner;

/// Which of true, false and NULL a predicate may be over the rows of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcomes {
    pub t: bool,
    pub f: bool,
    pub n: bool,
}

impl Outcomes {
    pub const ANY: Outcomes = Outcomes { t: true, f: true, n: true };

    pub fn not(self) -> Outcomes {
        Outcomes { t: self.f, f: self.t, n: self.n }
    }

    pub fn and(self, other: Outcomes) -> Outcomes {
        Outcomes { t: self.t && other.t, f: self.f || other.f, n: self.n || other.n }
    }

    pub fn or(self, other: Outcomes) -> Outcomes {
        Outcomes { t: self.t || other.t, f: self.f && other.f, n: self.n || other.n }
    }
}
