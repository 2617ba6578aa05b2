//! Filters, bound to a schema: every column resolved to its field id, every expression typed.
//!
//! Contract (what the binder guarantees to `plan` and `read`):
//! - Both sides of a comparison have the same primitive type; where they did not, a cast was put in. A literal is cast to the
//!   column's type only where that loses nothing; otherwise the column is cast up.
//! - Evaluation is three-valued as in SQL: NULL in, NULL out; a row passes only where the whole is true.
//! - NaN equals NaN and is greater than all other numbers; -0.0 equals 0.0.
//! - A column below a null struct is null.

use crate::schema::{PrimitiveType, Type};
use crate::value::Value;
use std::collections::BTreeSet;

#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    Column(Column),
    /// `None` is NULL of that type.
    Literal(Option<Value>, PrimitiveType),
    Cast {
        expr: Box<Expr>,
        to: PrimitiveType,
    },
    /// Both sides and the result have type `ty`.
    Arithmetic {
        op: ArithmeticOp,
        left: Box<Expr>,
        right: Box<Expr>,
        ty: PrimitiveType,
    },
    Negate(Box<Expr>),
    Compare {
        op: CompareOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `IN` over literals of the expression's type. A NULL in the list makes a miss NULL.
    InList {
        expr: Box<Expr>,
        values: Vec<Value>,
        has_null: bool,
        negated: bool,
    },
    IsNull {
        expr: Box<Expr>,
        negated: bool,
    },
    /// `%` and `_` are wildcards; `escape` makes the next character plain.
    Like {
        expr: Box<Expr>,
        pattern: String,
        escape: Option<char>,
        negated: bool,
        case_insensitive: bool,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    /// `guard AND then`, where `then` is evaluated only on rows for which `guard` is true: what it does on others, an error say, would tell of
    /// them. A fault of the guard is told without its text.
    Guarded {
        guard: Box<Expr>,
        then: Box<Expr>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The field's id; metadata columns have their reserved ids.
    pub id: i32,
    /// Names from the top level down, for messages.
    pub path: Vec<String>,
    /// A nested type only directly below `IsNull`.
    pub ty: Type,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
}

impl CompareOp {
    /// The operator with its sides exchanged: `a < b` is `b > a`.
    pub fn flip(self) -> CompareOp {
        match self {
            CompareOp::Lt => CompareOp::Gt,
            CompareOp::LtEq => CompareOp::GtEq,
            CompareOp::Gt => CompareOp::Lt,
            CompareOp::GtEq => CompareOp::LtEq,
            same => same,
        }
    }
    /// The operator that holds exactly where this one does not (for non-null sides).
    pub fn negate(self) -> CompareOp {
        match self {
            CompareOp::Eq => CompareOp::NotEq,
            CompareOp::NotEq => CompareOp::Eq,
            CompareOp::Lt => CompareOp::GtEq,
            CompareOp::LtEq => CompareOp::Gt,
            CompareOp::Gt => CompareOp::LtEq,
            CompareOp::GtEq => CompareOp::Lt,
        }
    }
    pub fn matches(self, order: std::cmp::Ordering) -> bool {
        match self {
            CompareOp::Eq => order.is_eq(),
            CompareOp::NotEq => order.is_ne(),
            CompareOp::Lt => order.is_lt(),
            CompareOp::LtEq => order.is_le(),
            CompareOp::Gt => order.is_gt(),
            CompareOp::GtEq => order.is_ge(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArithmeticOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Expr {
    /// The type of the value; `None` for a nested column.
    pub fn data_type(&self) -> Option<PrimitiveType> {
        match self {
            Expr::Column(column) => column.ty.as_primitive().cloned(),
            Expr::Literal(_, ty) | Expr::Cast { to: ty, .. } | Expr::Arithmetic { ty, .. } => Some(ty.clone()),
            Expr::Negate(inner) => inner.data_type(),
            Expr::Compare { .. }
            | Expr::InList { .. }
            | Expr::IsNull { .. }
            | Expr::Like { .. }
            | Expr::And(_)
            | Expr::Or(_)
            | Expr::Not(_)
            | Expr::Guarded { .. } => Some(PrimitiveType::Boolean),
        }
    }

    /// Calls `visit` on this expression and everything below it.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        visit(self);
        match self {
            Expr::Column(_) | Expr::Literal(..) => {}
            Expr::Cast { expr, .. }
            | Expr::Negate(expr)
            | Expr::InList { expr, .. }
            | Expr::IsNull { expr, .. }
            | Expr::Like { expr, .. }
            | Expr::Not(expr) => expr.walk(visit),
            Expr::Arithmetic { left, right, .. } | Expr::Compare { left, right, .. } => {
                left.walk(visit);
                right.walk(visit);
            }
            Expr::And(parts) | Expr::Or(parts) => parts.iter().for_each(|part| part.walk(visit)),
            Expr::Guarded { guard, then } => {
                guard.walk(visit);
                then.walk(visit);
            }
        }
    }

    /// The ids of all columns it reads.
    pub fn column_ids(&self) -> BTreeSet<i32> {
        let mut ids = BTreeSet::new();
        self.walk(&mut |expr| {
            if let Expr::Column(column) = expr {
                ids.insert(column.id);
            }
        });
        ids
    }
}
