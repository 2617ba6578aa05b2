//! The compiled expression.

use super::arithmetic;
use super::cast::cast;
use super::column::ColumnPath;
use super::compare::compare;
use super::describe::describe;
use super::in_list::Members;
use super::like::Pattern;
use super::operand::{Operand, boolean, constant, fault, internal};
use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{and_kleene, filter_record_batch, not, or_kleene};
use fastdata_types::expr::{ArithmeticOp, CompareOp};
use fastdata_types::{Error, ErrorKind, Expr, PrimitiveType, Result, Schema, Stage};
use std::sync::Arc;

pub(super) enum Node {
    Column(ColumnPath),
    Constant(Operand),
    Cast {
        inner: Box<Node>,
        from: PrimitiveType,
        to: PrimitiveType,
        text: String,
    },
    Arithmetic {
        op: ArithmeticOp,
        left: Box<Node>,
        right: Box<Node>,
        ty: PrimitiveType,
        text: String,
    },
    Negate {
        inner: Box<Node>,
        text: String,
    },
    Compare {
        op: CompareOp,
        left: Box<Node>,
        right: Box<Node>,
    },
    InList {
        inner: Box<Node>,
        members: Members,
        has_null: bool,
        negated: bool,
    },
    ColumnIsNull {
        column: ColumnPath,
        negated: bool,
    },
    IsNull {
        inner: Box<Node>,
        negated: bool,
    },
    Like {
        inner: Box<Node>,
        pattern: Pattern,
        negated: bool,
    },
    /// `all`: AND, which a FALSE decides; else OR, which a TRUE decides.
    Junction {
        all: bool,
        parts: Vec<Node>,
    },
    Not(Box<Node>),
    Guarded {
        guard: Box<Node>,
        then: Box<Node>,
    },
}

impl Node {
    pub fn compile(expr: &Expr, schema: &Schema) -> Result<Node> {
        let below = |expr: &Expr| Node::compile(expr, schema).map(Box::new);
        let many = |parts: &[Expr]| parts.iter().map(|part| Node::compile(part, schema)).collect::<Result<Vec<_>>>();
        let typed = |expr: &Expr| expr.data_type().ok_or_else(|| internal(format!("'{}' is nested", describe(expr))));
        Ok(match expr {
            Expr::Column(column) => {
                typed(expr)?;
                Node::Column(ColumnPath::new(column, schema)?)
            }
            Expr::Literal(value, ty) => Node::Constant(Operand { array: constant(value.as_ref(), ty)?, scalar: true }),
            Expr::Cast { expr: inner, to } => {
                Node::Cast { inner: below(inner)?, from: typed(inner)?, to: to.clone(), text: describe(expr) }
            }
            Expr::Arithmetic { op, left, right, ty } => {
                Node::Arithmetic { op: *op, left: below(left)?, right: below(right)?, ty: ty.clone(), text: describe(expr) }
            }
            Expr::Negate(inner) => Node::Negate { inner: below(inner)?, text: describe(expr) },
            Expr::Compare { op, left, right } => {
                let (a, b) = (typed(left)?, typed(right)?);
                if a != b {
                    return Err(internal(format!("a comparison of {a} with {b}")));
                }
                Node::Compare { op: *op, left: below(left)?, right: below(right)? }
            }
            Expr::InList { expr: inner, values, has_null, negated } => {
                let ty = typed(inner)?;
                if values.iter().any(|value| value.primitive_type().as_ref() != Some(&ty)) {
                    return Err(internal(format!("a list of other values than {ty}")));
                }
                Node::InList { inner: below(inner)?, members: Members::new(values)?, has_null: *has_null, negated: *negated }
            }
            Expr::IsNull { expr: inner, negated } => match inner.as_ref() {
                Expr::Column(column) => Node::ColumnIsNull { column: ColumnPath::new(column, schema)?, negated: *negated },
                inner => Node::IsNull { inner: below(inner)?, negated: *negated },
            },
            Expr::Like { expr: inner, pattern, escape, negated, case_insensitive } => {
                if typed(inner)? != PrimitiveType::String {
                    return Err(internal("LIKE on another type than string"));
                }
                Node::Like { inner: below(inner)?, pattern: Pattern::new(pattern, *escape, *case_insensitive), negated: *negated }
            }
            Expr::And(parts) => Node::Junction { all: true, parts: many(parts)? },
            Expr::Or(parts) => Node::Junction { all: false, parts: many(parts)? },
            Expr::Not(inner) => Node::Not(below(inner)?),
            Expr::Guarded { guard, then } => Node::Guarded { guard: below(guard)?, then: below(then)? },
        })
    }

    pub fn evaluate(&self, batch: &RecordBatch) -> Result<Operand> {
        Ok(match self {
            Node::Column(column) => Operand::rows(column.values(batch)?),
            Node::Constant(operand) => operand.clone(),
            Node::Cast { inner, from, to, text } => {
                let misfit = || {
                    Error::invalid(Stage::Read, format!("filter: {text} meets a value of the type {from} that is no {to}"))
                        .advice("every row is cast, whatever the other conditions say: cast to a wider type")
                };
                cast(&inner.evaluate(batch)?, from, to, &misfit)?
            }
            Node::Arithmetic { op, left, right, ty, text } => {
                arithmetic::compute(*op, &left.evaluate(batch)?, &right.evaluate(batch)?, ty, &|| overflow(text, ty))?
            }
            Node::Negate { inner, text } => arithmetic::negate(&inner.evaluate(batch)?, &|| overflow(text, &PrimitiveType::Long))?,
            Node::Compare { op, left, right } => compare(*op, &left.evaluate(batch)?, &right.evaluate(batch)?)?,
            Node::InList { inner, members, has_null, negated } => {
                let operand = inner.evaluate(batch)?;
                operand.with(Arc::new(members.find(&operand.array, *has_null, *negated)?))
            }
            Node::ColumnIsNull { column, negated } => Operand::rows(Arc::new(is_null(column.nulls(batch)?, batch.num_rows(), *negated))),
            Node::IsNull { inner, negated } => {
                let operand = inner.evaluate(batch)?;
                operand.with(Arc::new(is_null(operand.array.logical_nulls(), operand.array.len(), *negated)))
            }
            Node::Like { inner, pattern, negated } => {
                let operand = inner.evaluate(batch)?;
                operand.with(Arc::new(pattern.find(&operand.array, *negated)?))
            }
            Node::Junction { all, parts } => Operand::rows(Arc::new(junction(*all, parts, batch)?)),
            Node::Not(inner) => {
                let operand = inner.evaluate(batch)?;
                operand.with(Arc::new(not(boolean(operand.array.as_ref())?).map_err(fault)?))
            }
            Node::Guarded { guard, then } => Operand::rows(Arc::new(guarded(guard, then, batch)?)),
        })
    }

    /// Whether evaluation may end in an error about a value.
    fn can_fail(&self) -> bool {
        match self {
            Node::Column(_) | Node::Constant(_) | Node::ColumnIsNull { .. } => false,
            Node::Cast { .. } | Node::Arithmetic { .. } | Node::Negate { .. } => true,
            Node::Compare { left, right, .. } => left.can_fail() || right.can_fail(),
            Node::InList { inner, .. } | Node::IsNull { inner, .. } | Node::Like { inner, .. } | Node::Not(inner) => inner.can_fail(),
            Node::Junction { parts, .. } => parts.iter().any(Node::can_fail),
            Node::Guarded { guard, then } => guard.can_fail() || then.can_fail(),
        }
    }
}

fn overflow(text: &str, ty: &PrimitiveType) -> Error {
    Error::invalid(Stage::Read, format!("filter: '{text}' leaves the range of the type {ty}"))
        .advice("CAST one side to DOUBLE or to a wider DECIMAL")
}

/// Parts after the one that decided every row are left out, unless they might fail: errors do not depend on the rows beside them.
fn junction(all: bool, parts: &[Node], batch: &RecordBatch) -> Result<BooleanArray> {
    let rows = batch.num_rows();
    let mut joined: Option<BooleanArray> = None;
    for part in parts {
        let decided = joined.as_ref().is_some_and(|joined| {
            let values = joined.values().count_set_bits();
            joined.null_count() == 0 && values == if all { 0 } else { rows }
        });
        if decided && !part.can_fail() {
            continue;
        }
        let next = part.evaluate(batch)?.expanded(rows)?;
        let next = boolean(next.as_ref())?;
        joined = Some(match joined {
            None => next.clone(),
            Some(joined) if all => and_kleene(&joined, next).map_err(fault)?,
            Some(joined) => or_kleene(&joined, next).map_err(fault)?,
        });
    }
    Ok(joined.unwrap_or_else(|| BooleanArray::new(if all { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) }, None)))
}

/// FALSE where the guard is not true, what `then` gives elsewhere; `then` sees no other rows where it might fail on them.
fn guarded(guard: &Node, then: &Node, batch: &RecordBatch) -> Result<BooleanArray> {
    let rows = batch.num_rows();
    let open = guard.evaluate(batch).and_then(|open| open.expanded(rows)).map_err(|cause| {
        Error::new(
            ErrorKind::PermissionDenied,
            Stage::Read,
            "the rows that may be seen cannot be told: the policy's row filter fails on a row",
        )
        .advice("ask the operator of the server to mend the policy")
        .source(cause)
    })?;
    let open = boolean(open.as_ref())?;
    // NULL is not true.
    let open = BooleanArray::new(open.nulls().map_or_else(|| open.values().clone(), |nulls| open.values() & nulls.inner()), None);
    match open.true_count() {
        0 => Ok(BooleanArray::new(BooleanBuffer::new_unset(rows), None)),
        passing if passing == rows || !then.can_fail() => {
            let passed = then.evaluate(batch)?.expanded(rows)?;
            and_kleene(&open, boolean(passed.as_ref())?).map_err(fault)
        }
        passing => {
            let visible = filter_record_batch(batch, &open).map_err(fault)?;
            let passed = then.evaluate(&visible)?.expanded(passing)?;
            let mut passed = boolean(passed.as_ref())?.iter();
            Ok(open.values().iter().map(|open| if open { passed.next().flatten() } else { Some(false) }).collect())
        }
    }
}

fn is_null(nulls: Option<arrow::buffer::NullBuffer>, rows: usize, negated: bool) -> BooleanArray {
    let values = match (nulls, negated) {
        (Some(nulls), true) => nulls.into_inner(),
        (Some(nulls), false) => !nulls.inner(),
        (None, true) => BooleanBuffer::new_set(rows),
        (None, false) => BooleanBuffer::new_unset(rows),
    };
    BooleanArray::new(values, None)
}
