//! What is known of a column's values in one file, or in all files of a manifest.

use super::Outcomes;
use fastdata_types::Value;
use fastdata_types::expr::CompareOp;
use fastdata_types::schema::PrimitiveType;
use fastdata_types::transform::Transform;
use std::cmp::Ordering;

/// A superset of the values that occur.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Domain {
    pub null: bool,
    pub nan: bool,
    /// Values that are neither null nor NaN; the bounds speak of these.
    pub value: bool,
    pub lower: Option<Value>,
    pub upper: Option<Upper>,
    pub buckets: Vec<Buckets>,
}

/// An upper bound: the value itself, or anything that begins with it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Upper {
    pub value: Value,
    pub prefix: bool,
}

/// The values hash into `lower..=upper` of this many buckets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Buckets {
    pub count: u32,
    pub lower: i32,
    pub upper: i32,
}

impl Buckets {
    fn exclude(&self, value: &Value) -> bool {
        matches!(Transform::Bucket(self.count).apply(value), Some(Value::Int(bucket)) if bucket < self.lower || bucket > self.upper)
    }
}

impl Upper {
    pub fn exact(value: Value) -> Self {
        Upper { value, prefix: false }
    }

    /// How the largest value under this bound compares with `other`; `None` where that is not known.
    fn order(&self, other: &Value) -> Option<Ordering> {
        if self.prefix && starts_with(other, &self.value) {
            return Some(Ordering::Greater);
        }
        self.value.order(other)
    }
}

pub(crate) fn starts_with(value: &Value, prefix: &Value) -> bool {
    match (value, prefix) {
        (Value::String(value), Value::String(prefix)) => value.starts_with(prefix.as_str()),
        (Value::Binary(value), Value::Binary(prefix)) => value.starts_with(prefix),
        _ => false,
    }
}

/// The ways in which a value of one side may compare with a value of the other.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Orders {
    less: bool,
    equal: bool,
    greater: bool,
}

impl Domain {
    /// Nothing is known; `float` types may hold NaN.
    pub fn unknown(float: bool) -> Domain {
        Domain { null: true, nan: float, value: true, lower: None, upper: None, buckets: vec![] }
    }

    pub fn of_type(ty: &PrimitiveType) -> Domain {
        Domain::unknown(ty.is_float())
    }

    pub fn only_null() -> Domain {
        Domain { null: true, nan: false, value: false, lower: None, upper: None, buckets: vec![] }
    }

    /// This value and no other.
    pub fn exactly(value: Value) -> Domain {
        if value.is_nan() {
            return Domain { null: false, nan: true, value: false, lower: None, upper: None, buckets: vec![] };
        }
        Domain { null: false, nan: false, value: true, lower: Some(value.clone()), upper: Some(Upper::exact(value)), buckets: vec![] }
    }

    /// The one value that all values are, if that is known.
    fn single(&self) -> Option<&Value> {
        let (lower, upper) = (self.lower.as_ref()?, self.upper.as_ref()?);
        (!upper.prefix && lower.order(&upper.value) == Some(Ordering::Equal)).then_some(lower)
    }

    pub fn is_empty(&self) -> bool {
        !self.null && !self.nan && !self.value
    }

    /// Forgets bounds that contradict each other or cannot be compared.
    pub fn checked(mut self) -> Domain {
        if let (Some(lower), Some(upper)) = (&self.lower, &self.upper)
            && matches!(upper.order(lower), None | Some(Ordering::Less))
        {
            self.lower = None;
            self.upper = None;
        }
        self
    }

    /// What two sources know together. Sources that contradict each other know nothing.
    pub fn and(&self, other: &Domain) -> Domain {
        let lower = match (&self.lower, &other.lower) {
            (Some(a), Some(b)) => Some(if b.order(a) == Some(Ordering::Greater) { b } else { a }),
            (a, b) => a.as_ref().or(b.as_ref()),
        };
        let upper = match (&self.upper, &other.upper) {
            (Some(a), Some(b)) => Some(if !b.prefix && (a.prefix || b.value.order(&a.value) == Some(Ordering::Less)) { b } else { a }),
            (a, b) => a.as_ref().or(b.as_ref()),
        };
        let both = Domain {
            null: self.null && other.null,
            nan: self.nan && other.nan,
            value: self.value && other.value,
            lower: lower.cloned(),
            upper: upper.cloned(),
            buckets: self.buckets.iter().chain(&other.buckets).copied().collect(),
        };
        if both.is_empty() { Domain::unknown(self.nan || other.nan) } else { both.checked() }
    }

    pub fn is_null(&self) -> Outcomes {
        Outcomes { t: self.null, f: self.value || self.nan, n: false }
    }

    /// A boolean column as a predicate.
    pub fn is_true(&self) -> Outcomes {
        let may_be = |value: bool| {
            self.value
                && self.lower.as_ref().is_none_or(|lower| *lower != Value::Boolean(true) || value)
                && self.upper.as_ref().is_none_or(|upper| upper.value != Value::Boolean(false) || !value)
        };
        Outcomes { t: may_be(true), f: may_be(false), n: self.null }
    }

    pub fn compare(&self, op: CompareOp, other: &Domain) -> Outcomes {
        let orders = self.orders(op, other);
        let any = |wanted: bool| {
            (orders.less && op.matches(Ordering::Less) == wanted)
                || (orders.equal && op.matches(Ordering::Equal) == wanted)
                || (orders.greater && op.matches(Ordering::Greater) == wanted)
        };
        Outcomes { t: any(true), f: any(false), n: self.null || other.null }
    }

    fn orders(&self, op: CompareOp, other: &Domain) -> Orders {
        if !(self.value || self.nan) || !(other.value || other.nan) {
            return Orders { less: false, equal: false, greater: false };
        }
        // Bounds exclude NaN, and writers that met one may have written wrong ones: floats are pruned by order only where
        // there is certainly none.
        if (self.nan || other.nan) && op != CompareOp::Eq {
            return Orders { less: true, equal: true, greater: true };
        }
        let values = self.value && other.value;
        let mut orders = Orders {
            less: values && may_be(other.upper.as_ref(), self.lower.as_ref(), Ordering::is_gt),
            equal: values && self.may_equal(other),
            greater: values && may_be(self.upper.as_ref(), other.lower.as_ref(), Ordering::is_gt),
        };
        if self.is_uuid() || other.is_uuid() {
            let known = self.single().is_some() && other.single().is_some();
            orders.less |= values && !known;
            orders.greater |= values && !known;
        }
        orders.less |= self.value && other.nan;
        orders.greater |= self.nan && other.value;
        orders.equal |= self.nan && other.nan;
        orders
    }

    fn is_uuid(&self) -> bool {
        matches!(self.lower, Some(Value::Uuid(_))) || matches!(self.upper, Some(Upper { value: Value::Uuid(_), .. }))
    }

    fn may_equal(&self, other: &Domain) -> bool {
        let hashes = |buckets: &[Buckets], single: Option<&Value>| single.is_none_or(|value| !buckets.iter().any(|b| b.exclude(value)));
        if !hashes(&self.buckets, other.single()) || !hashes(&other.buckets, self.single()) {
            return false;
        }
        let reaches = |upper: &Domain, lower: &Domain| may_be(upper.upper.as_ref(), lower.lower.as_ref(), Ordering::is_ge);
        let overlap = reaches(self, other) && reaches(other, self);
        overlap || (self.is_uuid() && self.signed_uuid_overlap(other))
    }

    /// Java orders uuids as two signed longs, Parquet as unsigned bytes, and nobody says who wrote the bounds: only what is outside under
    /// both orders is outside.
    fn signed_uuid_overlap(&self, other: &Domain) -> bool {
        let key = |value: Option<&Value>| match value {
            Some(Value::Uuid(bytes)) => {
                let (high, low) = bytes.split_at(8);
                let long = |half: &[u8]| half.try_into().map(i64::from_be_bytes).ok();
                Some((long(high)?, long(low)?))
            }
            _ => None,
        };
        let reaches = |a: &Domain, b: &Domain| match (key(a.upper.as_ref().map(|u| &u.value)), key(b.lower.as_ref())) {
            (Some(upper), Some(lower)) => upper >= lower,
            _ => true,
        };
        reaches(self, other) && reaches(other, self)
    }

    /// Whether any of the values may occur; sorted by [`Value::order`].
    pub fn is_in(&self, sorted: &[Value], has_null: bool) -> Outcomes {
        let nan = self.nan && sorted.last().is_some_and(Value::is_nan);
        let from = match &self.lower {
            Some(lower) if !self.is_uuid() => sorted.partition_point(|value| value.order(lower) == Some(Ordering::Less)),
            _ => 0,
        };
        let mut hit = nan;
        let mut all = false;
        if self.value {
            for value in sorted.get(from..).unwrap_or_default() {
                let literal = Domain::exactly(value.clone());
                if literal.value && self.may_equal(&literal) {
                    hit = true;
                    all = self.single().is_some_and(|single| single.order(value) == Some(Ordering::Equal)) && !self.nan;
                    break;
                }
                if !self.is_uuid() && self.upper.as_ref().is_some_and(|upper| upper.order(value) == Some(Ordering::Less)) {
                    break;
                }
            }
        }
        let miss = (self.value || self.nan) && !all;
        Outcomes { t: hit, f: miss && !has_null, n: self.null || (miss && has_null) }
    }

    /// Strings that begin with `prefix`; `whole` where every such string matches.
    pub fn begins_with(&self, prefix: &str, whole: bool) -> Outcomes {
        let prefix = Value::String(prefix.to_owned());
        let above = self.upper.as_ref().is_none_or(|upper| upper.order(&prefix) != Some(Ordering::Less));
        let below = self.lower.as_ref().is_none_or(|lower| starts_with(lower, &prefix) || lower.order(&prefix) != Some(Ordering::Greater));
        let certain = |bound: Option<&Value>| bound.is_some_and(|bound| starts_with(bound, &prefix));
        let always = whole && certain(self.lower.as_ref()) && certain(self.upper.as_ref().map(|upper| &upper.value));
        Outcomes { t: self.value && above && below, f: self.value && !always, n: self.null }
    }
}

/// Whether the largest value under `upper` may stand in this order to the smallest above `lower`.
fn may_be(upper: Option<&Upper>, lower: Option<&Value>, test: fn(Ordering) -> bool) -> bool {
    match (upper, lower) {
        (Some(upper), Some(lower)) => upper.order(lower).is_none_or(test),
        _ => true,
    }
}
