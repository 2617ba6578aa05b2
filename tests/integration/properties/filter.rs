//! Random filters: a sketch that fits any table, the filter it becomes on one, its SQL, and what it says of a row.
//!
//! Contract: [`Filter::passes`] is SQL's three-valued logic by docs/filters.md, over single values, and shares no code with the engine. Constants
//! come from the table's own rows, so that filters split them.

use super::literal::{Literal, like, order, order_values};
use super::wide::{Place, Wide};
use fastdata_types::{PrimitiveType, Value};
use proptest::prelude::*;
use proptest::sample::Index;
use std::cmp::Ordering;

#[derive(Debug, Clone, Copy)]
pub enum Op {
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
}

#[derive(Debug, Clone, Copy)]
pub enum Sum {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

/// A constant, from the rows of whatever column it meets.
#[derive(Debug, Clone)]
pub struct Pick {
    row: Index,
    tweak: Tweak,
}

#[derive(Debug, Clone)]
enum Tweak {
    Same,
    /// So many tenths above a number: often between two values of its column.
    Beside(i8),
    Null,
}

/// A filter without a table.
#[derive(Debug, Clone)]
pub enum Sketch {
    Compare(Index, Op, Pick),
    Columns(Index, Op, Index),
    Sum(Index, Sum, i8, Op, i8),
    In(Index, Vec<Pick>, bool),
    Between(Index, Pick, Pick, bool),
    Null(Index, bool),
    Like(Index, Pick, Vec<(Index, bool)>, bool),
    And(Vec<Sketch>),
    Or(Vec<Sketch>),
    Not(Box<Sketch>),
}

pub fn any_sketch() -> impl Strategy<Value = Sketch> {
    use Sketch as S;
    let index = any::<Index>;
    let op = || prop::sample::select(vec![Op::Eq, Op::NotEq, Op::Lt, Op::LtEq, Op::Gt, Op::GtEq]);
    let sum = prop::sample::select(vec![Sum::Add, Sum::Subtract, Sum::Multiply, Sum::Divide, Sum::Modulo]);
    let tweak = prop_oneof![6 => Just(Tweak::Same), 2 => (-20i8..20).prop_map(Tweak::Beside), 1 => Just(Tweak::Null)];
    let pick = (index(), tweak).prop_map(|(row, tweak)| Pick { row, tweak });
    let cuts = prop::collection::vec((index(), any::<bool>()), 0..3);
    let leaf = prop_oneof![
        6 => (index(), op(), pick.clone()).prop_map(|(place, op, pick)| S::Compare(place, op, pick)),
        1 => (index(), op(), index()).prop_map(|(place, op, other)| S::Columns(place, op, other)),
        1 => (index(), sum, -7i8..7, op(), -50i8..50).prop_map(|(place, sum, by, op, to)| S::Sum(place, sum, by, op, to)),
        2 => (index(), prop::collection::vec(pick.clone(), 1..5), any::<bool>()).prop_map(|(place, picks, not)| S::In(place, picks, not)),
        2 => (index(), pick.clone(), pick.clone(), any::<bool>()).prop_map(|(place, low, high, not)| S::Between(place, low, high, not)),
        2 => (index(), any::<bool>()).prop_map(|(place, not)| S::Null(place, not)),
        1 => (index(), pick, cuts, any::<bool>()).prop_map(|(place, pick, cuts, not)| S::Like(place, pick, cuts, not)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 2..4).prop_map(S::And),
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(S::Or),
            2 => inner.prop_map(|inner| S::Not(Box::new(inner))),
        ]
    })
}

/// A filter on the columns of one table.
#[derive(Debug, Clone)]
pub enum Filter {
    Compare(Place, Op, Literal),
    Columns(Place, Op, Place),
    /// Of an `int`, which no sum here takes out of 64 bits.
    Sum(Place, Sum, i64, Op, i64),
    In(Place, Vec<Literal>, bool),
    Between(Place, Literal, Literal, bool),
    Null(Place, bool),
    Like(Place, String, bool),
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
}

impl Sketch {
    /// The filter this is on the columns and values of `wide`.
    pub fn on(&self, wide: &Wide) -> Filter {
        let places = Place::all(&wide.schema);
        let comparable: Vec<&Place> =
            places.iter().filter(|place| place.primitive().is_some_and(|ty| *ty != PrimitiveType::Unknown)).collect();
        let of = |ty: PrimitiveType| comparable.iter().filter(|place| place.primitive() == Some(&ty)).copied().collect::<Vec<_>>();
        match self {
            Sketch::Compare(place, op, pick) => {
                let place = comparable[place.index(comparable.len())];
                Filter::Compare(place.clone(), *op, pick.on(place, wide))
            }
            Sketch::Columns(place, op, other) => {
                let place = comparable[place.index(comparable.len())];
                let others: Vec<&&Place> = comparable.iter().filter(|other| other.ty == place.ty).collect();
                Filter::Columns(place.clone(), *op, (*others[other.index(others.len())]).clone())
            }
            // `_spec_id` is an int of every table.
            Sketch::Sum(place, sum, by, op, to) => {
                let ints = of(PrimitiveType::Int);
                Filter::Sum(ints[place.index(ints.len())].clone(), *sum, i64::from(*by), *op, i64::from(*to))
            }
            Sketch::In(place, picks, negated) => {
                let place = comparable[place.index(comparable.len())];
                Filter::In(place.clone(), picks.iter().map(|pick| pick.on(place, wide)).collect(), *negated)
            }
            Sketch::Between(place, low, high, negated) => {
                let place = comparable[place.index(comparable.len())];
                Filter::Between(place.clone(), low.on(place, wide), high.on(place, wide), *negated)
            }
            Sketch::Null(place, negated) => Filter::Null(places[place.index(places.len())].clone(), *negated),
            Sketch::Like(place, pick, cuts, negated) => {
                let strings = of(PrimitiveType::String);
                let place = strings[place.index(strings.len())];
                let Literal::Value(Value::String(text)) = pick.on(place, wide) else {
                    return Filter::Null(place.clone(), *negated);
                };
                let mut pattern: Vec<char> = text.chars().filter(|c| !matches!(c, '%' | '_')).collect();
                for (at, many) in cuts {
                    let at = at.index(pattern.len() + 1);
                    if *many {
                        pattern.truncate(at);
                        pattern.push('%');
                    } else if at < pattern.len() {
                        pattern[at] = '_';
                    }
                }
                Filter::Like(place.clone(), pattern.into_iter().collect(), *negated)
            }
            Sketch::And(parts) => Filter::And(parts.iter().map(|part| part.on(wide)).collect()),
            Sketch::Or(parts) => Filter::Or(parts.iter().map(|part| part.on(wide)).collect()),
            Sketch::Not(inner) => Filter::Not(Box::new(inner.on(wide))),
        }
    }
}

impl Pick {
    fn on(&self, place: &Place, wide: &Wide) -> Literal {
        let count = wide.rows.len();
        let from = if count == 0 { 0 } else { self.row.index(count) };
        let found = (0..count).find_map(|step| place.value(&wide.rows[(from + step) % count]));
        match (&self.tweak, found) {
            (Tweak::Null, _) | (_, None) => Literal::Null,
            (Tweak::Same, Some(value)) => Literal::Value(value.clone()),
            (Tweak::Beside(tenths), Some(value)) => match value {
                Value::Int(v) => Literal::Tenths(i128::from(*v) * 10 + i128::from(*tenths)),
                Value::Long(v) => Literal::Tenths(i128::from(*v) * 10 + i128::from(*tenths)),
                // Tenths of these are exact halves of small numbers: no rounding is in question.
                Value::Float(v) if v.abs() < 1e6 => Literal::Tenths(v.trunc() as i128 * 10 + i128::from(tenths / 5 * 5)),
                Value::Double(v) if v.abs() < 1e6 => Literal::Tenths(v.trunc() as i128 * 10 + i128::from(tenths / 5 * 5)),
                Value::Decimal { unscaled, scale, .. } => {
                    Literal::Tenths(unscaled / 10i128.pow(u32::from(*scale)) * 10 + i128::from(*tenths))
                }
                other => Literal::Value(other.clone()),
            },
        }
    }
}

impl Filter {
    pub fn sql(&self) -> String {
        let not = |negated: &bool| if *negated { "NOT " } else { "" };
        let list = |parts: Vec<String>, with: &str| parts.join(with);
        match self {
            Filter::Compare(place, op, literal) => format!("{} {} {}", place.sql(), op.sql(), literal.sql()),
            Filter::Columns(place, op, other) => format!("{} {} {}", place.sql(), op.sql(), other.sql()),
            Filter::Sum(place, sum, by, op, to) => format!("{} {} ({by}) {} {to}", place.sql(), sum.sql(), op.sql()),
            Filter::In(place, items, negated) => {
                format!("{} {}IN ({})", place.sql(), not(negated), list(items.iter().map(Literal::sql).collect(), ", "))
            }
            Filter::Between(place, low, high, negated) => {
                format!("{} {}BETWEEN {} AND {}", place.sql(), not(negated), low.sql(), high.sql())
            }
            Filter::Null(place, negated) => format!("{} IS {}NULL", place.sql(), not(negated)),
            Filter::Like(place, pattern, negated) => {
                format!("{} {}LIKE '{}'", place.sql(), not(negated), pattern.replace('\'', "''"))
            }
            Filter::And(parts) => format!("({})", list(parts.iter().map(Filter::sql).collect(), " AND ")),
            Filter::Or(parts) => format!("({})", list(parts.iter().map(Filter::sql).collect(), " OR ")),
            Filter::Not(inner) => format!("NOT ({})", inner.sql()),
        }
    }

    /// `None` is NULL: neither the filter nor its negation lets the row pass.
    pub fn passes(&self, row: &[Option<Value>]) -> Option<bool> {
        match self {
            Filter::Compare(place, op, literal) => order(place.value(row)?, literal).map(|order| op.holds(order)),
            Filter::Columns(place, op, other) => Some(op.holds(order_values(place.value(row)?, other.value(row)?))),
            Filter::Sum(place, sum, by, op, to) => {
                let Value::Int(value) = place.value(row)? else { panic!("{place:?} is no int") };
                sum.of(i64::from(*value), *by).map(|result| op.holds(result.cmp(to)))
            }
            Filter::In(place, items, negated) => {
                let value = place.value(row)?;
                let equal = items.iter().map(|item| order(value, item).map(Ordering::is_eq));
                or(equal).map(|found| found != *negated)
            }
            Filter::Between(place, low, high, negated) => {
                let value = place.value(row)?;
                let within = [order(value, low).map(Ordering::is_ge), order(value, high).map(Ordering::is_le)];
                or(within.into_iter().map(|side| side.map(|holds| !holds))).map(|outside| outside == *negated)
            }
            Filter::Null(place, negated) => Some(place.value(row).is_none() != *negated),
            Filter::Like(place, pattern, negated) => {
                let Value::String(text) = place.value(row)? else { panic!("{place:?} is no string") };
                let chars = |text: &str| text.chars().collect::<Vec<_>>();
                Some(like(&chars(text), &chars(pattern)) != *negated)
            }
            Filter::And(parts) => or(parts.iter().map(|part| part.passes(row).map(|holds| !holds))).map(|fails| !fails),
            Filter::Or(parts) => or(parts.iter().map(|part| part.passes(row))),
            Filter::Not(inner) => inner.passes(row).map(|holds| !holds),
        }
    }
}

/// SQL's OR.
fn or(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let parts: Vec<Option<bool>> = parts.collect();
    match (parts.contains(&Some(true)), parts.contains(&None)) {
        (true, _) => Some(true),
        (false, true) => None,
        (false, false) => Some(false),
    }
}

impl Op {
    fn sql(self) -> &'static str {
        match self {
            Op::Eq => "=",
            Op::NotEq => "<>",
            Op::Lt => "<",
            Op::LtEq => "<=",
            Op::Gt => ">",
            Op::GtEq => ">=",
        }
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Op::Eq => order.is_eq(),
            Op::NotEq => order.is_ne(),
            Op::Lt => order.is_lt(),
            Op::LtEq => order.is_le(),
            Op::Gt => order.is_gt(),
            Op::GtEq => order.is_ge(),
        }
    }
}

impl Sum {
    fn sql(self) -> &'static str {
        match self {
            Sum::Add => "+",
            Sum::Subtract => "-",
            Sum::Multiply => "*",
            Sum::Divide => "/",
            Sum::Modulo => "%",
        }
    }

    /// Division cuts towards zero; by zero it gives NULL.
    fn of(self, value: i64, by: i64) -> Option<i64> {
        match self {
            Sum::Add => Some(value + by),
            Sum::Subtract => Some(value - by),
            Sum::Multiply => Some(value * by),
            Sum::Divide => (by != 0).then(|| value / by),
            Sum::Modulo => (by != 0).then(|| value % by),
        }
    }
}
