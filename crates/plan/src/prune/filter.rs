//! The filter, compiled once per scan for evaluation over domains.

use super::Outcomes;
use super::cast;
use super::column::PruneColumn;
use super::domain::Domain;
use fastdata_types::expr::CompareOp;
use fastdata_types::metadata::{MappedField, NameMapping};
use fastdata_types::schema::{Field, PrimitiveType, Schema, Type, metadata_column};
use fastdata_types::{Expr, Value};
use std::borrow::Cow;
use std::cmp::Ordering;

/// The filter and the columns whose statistics it can use.
#[derive(Debug)]
pub(crate) struct Pruner {
    test: Test,
    columns: Vec<PruneColumn>,
}

#[derive(Debug)]
enum Test {
    /// Nothing can be said.
    Any,
    IsTrue(Scalar),
    Compare {
        op: CompareOp,
        left: Scalar,
        right: Scalar,
    },
    In {
        scalar: Scalar,
        sorted: Vec<Value>,
        has_null: bool,
    },
    IsNull(Scalar),
    /// NULL-ness of a predicate.
    Undecided(Box<Test>),
    BeginsWith {
        scalar: Scalar,
        prefix: String,
        whole: bool,
    },
    And(Vec<Test>),
    Or(Vec<Test>),
    Not(Box<Test>),
}

#[derive(Debug)]
enum Scalar {
    /// Index into the columns.
    Column(usize),
    Known(Domain),
    Cast {
        inner: Box<Scalar>,
        from: PrimitiveType,
        to: PrimitiveType,
    },
}

impl Pruner {
    /// `schema` is the one that the filter is bound to. `None` where the filter says nothing that metadata could answer.
    pub fn new(filter: &Expr, schema: &Schema, mapping: Option<&NameMapping>) -> Option<Pruner> {
        let mut compiler = Compiler { schema, mapping, columns: Vec::new() };
        let test = compiler.test(filter);
        (!matches!(test, Test::Any)).then_some(Pruner { test, columns: compiler.columns })
    }

    pub fn columns(&self) -> &[PruneColumn] {
        &self.columns
    }

    /// Whether a row may pass, given the domain of each column.
    pub fn may_match(&self, domains: &[Domain]) -> bool {
        self.test.outcomes(domains).t
    }
}

struct Compiler<'a> {
    schema: &'a Schema,
    mapping: Option<&'a NameMapping>,
    columns: Vec<PruneColumn>,
}

impl Compiler<'_> {
    fn test(&mut self, expr: &Expr) -> Test {
        match expr {
            Expr::And(parts) => Test::And(parts.iter().map(|part| self.test(part)).collect()),
            Expr::Or(parts) => Test::Or(parts.iter().map(|part| self.test(part)).collect()),
            Expr::Not(inner) => Test::Not(Box::new(self.test(inner))),
            Expr::Guarded { guard, then } => Test::And(vec![self.test(guard), self.test(then)]),
            Expr::Compare { op, left, right } => Test::Compare { op: *op, left: self.scalar(left), right: self.scalar(right) },
            Expr::InList { expr, values, has_null, negated } => {
                let mut sorted = values.clone();
                // Values of one type; if they were not, the order would be none and nothing could be said.
                if sorted.windows(2).any(|pair| matches!(pair, [a, b] if a.order(b).is_none())) {
                    return Test::Any;
                }
                sorted.sort_by(|a, b| a.order(b).unwrap_or(Ordering::Equal));
                negate(*negated, Test::In { scalar: self.scalar(expr), sorted, has_null: *has_null })
            }
            Expr::IsNull { expr, negated } => {
                let test = match **expr {
                    Expr::Compare { .. }
                    | Expr::InList { .. }
                    | Expr::IsNull { .. }
                    | Expr::Like { .. }
                    | Expr::And(_)
                    | Expr::Or(_)
                    | Expr::Not(_)
                    | Expr::Guarded { .. } => Test::Undecided(Box::new(self.test(expr))),
                    _ => Test::IsNull(self.scalar(expr)),
                };
                negate(*negated, test)
            }
            Expr::Like { expr, pattern, escape, negated, case_insensitive } => {
                let test = match (case_insensitive, LikePattern::parse(pattern, *escape)) {
                    (false, Some(LikePattern::Exact(text))) => Test::Compare {
                        op: CompareOp::Eq,
                        left: self.scalar(expr),
                        right: Scalar::Known(Domain::exactly(Value::String(text))),
                    },
                    (false, Some(LikePattern::Prefix { prefix, whole })) => Test::BeginsWith { scalar: self.scalar(expr), prefix, whole },
                    _ => Test::Any,
                };
                negate(*negated, test)
            }
            Expr::Column(_) | Expr::Literal(..) => Test::IsTrue(self.scalar(expr)),
            Expr::Cast { .. } | Expr::Arithmetic { .. } | Expr::Negate(_) => Test::Any,
        }
    }

    fn scalar(&mut self, expr: &Expr) -> Scalar {
        match expr {
            Expr::Literal(Some(value), _) => Scalar::Known(Domain::exactly(value.clone())),
            Expr::Literal(None, _) => Scalar::Known(Domain::only_null()),
            Expr::Column(column) => match self.column(column.id) {
                Some(column) => Scalar::Column(column),
                None => Scalar::Known(Domain::unknown(true)),
            },
            Expr::Cast { expr: inner, to } => match inner.data_type() {
                Some(from) => Scalar::Cast { inner: Box::new(self.scalar(inner)), from, to: to.clone() },
                None => Scalar::Known(Domain::unknown(true)),
            },
            _ => Scalar::Known(Domain::unknown(true)),
        }
    }

    /// Statistics are kept for primitive columns outside lists and maps; metadata columns have none.
    fn column(&mut self, id: i32) -> Option<usize> {
        if let Some(known) = self.columns.iter().position(|column| column.id == id) {
            return Some(known);
        }
        let ancestry = self.schema.ancestry(id)?;
        let (field, above) = ancestry.split_last()?;
        let ty = field.ty.as_primitive()?.clone();
        let in_structs = above.iter().all(|f| matches!(f.ty, Type::Struct(_)));
        if !in_structs || ancestry.iter().any(|f| metadata_column::is_metadata_column(f.id)) {
            return None;
        }
        // Metrics and tuples tell of the column that bore this id when the file was written. Where the file has no ids and the mapping
        // of today leaves the column out, it is read as NULL or its default instead (Column Projection).
        if self.mapping.is_some_and(|mapping| !names_all(&mapping.fields, &ancestry)) {
            return None;
        }
        self.columns.push(PruneColumn { id, ty, trust_null_count: above.iter().all(|f| f.required) });
        Some(self.columns.len() - 1)
    }
}

/// Whether a name mapping has a name for each field on the way down.
fn names_all(mapped: &[MappedField], ancestry: &[&Field]) -> bool {
    let Some((field, below)) = ancestry.split_first() else { return true };
    let found = mapped.iter().find(|known| known.field_id == Some(field.id) && !known.names.is_empty());
    found.is_some_and(|known| names_all(&known.fields, below))
}

fn negate(negated: bool, test: Test) -> Test {
    if negated { Test::Not(Box::new(test)) } else { test }
}

impl Test {
    fn outcomes(&self, domains: &[Domain]) -> Outcomes {
        match self {
            Test::Any => Outcomes::ANY,
            Test::IsTrue(scalar) => scalar.domain(domains).is_true(),
            Test::Compare { op, left, right } => left.domain(domains).compare(*op, &right.domain(domains)),
            Test::In { scalar, sorted, has_null } => scalar.domain(domains).is_in(sorted, *has_null),
            Test::IsNull(scalar) => scalar.domain(domains).is_null(),
            Test::Undecided(test) => {
                let inner = test.outcomes(domains);
                Outcomes { t: inner.n, f: inner.t || inner.f, n: false }
            }
            Test::BeginsWith { scalar, prefix, whole } => scalar.domain(domains).begins_with(prefix, *whole),
            Test::And(parts) => {
                parts.iter().fold(Outcomes { t: true, f: false, n: false }, |known, part| known.and(part.outcomes(domains)))
            }
            Test::Or(parts) => parts.iter().fold(Outcomes { t: false, f: true, n: false }, |known, part| known.or(part.outcomes(domains))),
            Test::Not(inner) => inner.outcomes(domains).not(),
        }
    }
}

impl Scalar {
    fn domain<'a>(&'a self, domains: &'a [Domain]) -> Cow<'a, Domain> {
        match self {
            Scalar::Column(at) => domains.get(*at).map_or_else(|| Cow::Owned(Domain::unknown(true)), Cow::Borrowed),
            Scalar::Known(domain) => Cow::Borrowed(domain),
            Scalar::Cast { inner, from, to } => Cow::Owned(cast::domain(&inner.domain(domains), from, to)),
        }
    }
}

/// What a LIKE pattern asks of the beginning of a string.
enum LikePattern {
    Exact(String),
    /// `whole` where any string that begins so matches.
    Prefix {
        prefix: String,
        whole: bool,
    },
}

impl LikePattern {
    /// `None` where an escape stands at the end: evaluation will say so.
    fn parse(pattern: &str, escape: Option<char>) -> Option<LikePattern> {
        let mut prefix = String::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            if Some(c) == escape {
                prefix.push(chars.next()?);
            } else if c == '%' {
                return Some(LikePattern::Prefix { prefix, whole: chars.all(|c| c == '%') });
            } else if c == '_' {
                return Some(LikePattern::Prefix { prefix, whole: false });
            } else {
                prefix.push(c);
            }
        }
        Some(LikePattern::Exact(prefix))
    }
}
