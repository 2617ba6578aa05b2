//! Constants, and how one fits into the type of what it is compared with.
//!
//! Contract: [`fit`] never rounds silently. Where the type does not hold the constant it says between which of the type's
//! values the constant lies, so that a comparison can be restated exactly.

use crate::number::{Floor, Number};
use crate::types::{has_zone, is_zoneless};
use fastdata_types::value::{parse_date, parse_time_micros, parse_timestamp};
use fastdata_types::{PrimitiveType, Value};

#[derive(Debug, Clone)]
pub(crate) enum Constant {
    /// With a type only where a cast gave it one.
    Null(Option<PrimitiveType>),
    /// Takes the type of what it meets.
    Number(Number),
    /// Takes the type of what it meets.
    Text(String),
    Value(Value),
}

/// Where a constant lies in the order of a type's values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fit {
    Exact(Value),
    /// Strictly between this value and the next one.
    After(Value),
    Above,
    Below,
}

const MICROS_PER_DAY: i64 = 86_400_000_000;

impl Constant {
    /// The type and value that the constant has where nothing else decides. `None` for NULL without a type.
    pub fn alone(&self) -> (Option<Value>, Option<PrimitiveType>) {
        match self {
            Constant::Null(ty) => (None, ty.clone()),
            Constant::Number(number) => {
                let (value, ty) = number.typed();
                (Some(value), Some(ty))
            }
            Constant::Text(text) => (Some(Value::String(text.clone())), Some(PrimitiveType::String)),
            Constant::Value(value) => (Some(value.clone()), value.primitive_type()),
        }
    }
}

/// Why a constant has no place in a type.
#[derive(Debug, PartialEq)]
pub(crate) enum Misfit {
    /// The two kinds of value do not meet, or not without a cast of the other side.
    Types,
    /// A string that does not read as a value of the type; the message says what it should look like.
    Text(String),
}

/// The place of a constant that is not NULL in `ty`.
pub(crate) fn fit(constant: &Constant, ty: &PrimitiveType) -> Result<Fit, Misfit> {
    match constant {
        Constant::Null(_) => Err(Misfit::Types),
        Constant::Number(number) => fit_number(number, ty).ok_or(Misfit::Types),
        Constant::Text(text) => fit_text(text, ty),
        Constant::Value(value) => fit_value(value, ty).ok_or(Misfit::Types),
    }
}

fn fit_number(number: &Number, ty: &PrimitiveType) -> Option<Fit> {
    let side = |negative: bool| if negative { Fit::Below } else { Fit::Above };
    let within = |scale: u8, value: &dyn Fn(i128) -> Option<Value>| match number.floor(scale) {
        Floor::Exact(unscaled) => value(unscaled).map_or(side(unscaled < 0), Fit::Exact),
        Floor::Inexact(unscaled) => value(unscaled).map_or(side(unscaled < 0), Fit::After),
        Floor::TooLarge { negative } => side(negative),
    };
    Some(match ty {
        PrimitiveType::Int => within(0, &|v| i32::try_from(v).ok().map(Value::Int)),
        PrimitiveType::Long => within(0, &|v| i64::try_from(v).ok().map(Value::Long)),
        PrimitiveType::Decimal { precision, scale } => within(*scale, &|unscaled| {
            let holds = unscaled.unsigned_abs() < 10u128.checked_pow(u32::from(*precision))?;
            holds.then_some(Value::Decimal { unscaled, precision: *precision, scale: *scale })
        }),
        PrimitiveType::Double => fit_double(number.to_f64(), true),
        PrimitiveType::Float => match fit_double(number.to_f64(), true) {
            Fit::Exact(Value::Double(double)) => fit_float(double),
            Fit::After(Value::Double(double)) if double > 0.0 => Fit::After(Value::Float(f32::MAX)),
            _ => Fit::After(Value::Float(f32::NEG_INFINITY)),
        },
        _ => return None,
    })
}

/// An infinity that stands for a finite number lies beyond the largest finite double, and short of infinity.
fn fit_double(value: f64, finite: bool) -> Fit {
    match value {
        f64::INFINITY if finite => Fit::After(Value::Double(f64::MAX)),
        f64::NEG_INFINITY if finite => Fit::After(Value::Double(f64::NEG_INFINITY)),
        _ => Fit::Exact(Value::Double(value)),
    }
}

fn fit_float(value: f64) -> Fit {
    let nearest = value as f32;
    if value.is_nan() || f64::from(nearest) == value {
        Fit::Exact(Value::Float(nearest))
    } else if f64::from(nearest) > value {
        Fit::After(Value::Float(nearest.next_down()))
    } else {
        Fit::After(Value::Float(nearest))
    }
}

fn fit_value(value: &Value, ty: &PrimitiveType) -> Option<Fit> {
    use PrimitiveType as P;
    if value.primitive_type().as_ref() == Some(ty) {
        return Some(Fit::Exact(value.clone()));
    }
    Some(match (value, ty) {
        (Value::Int(v), _) => fit_number(&Number::from_unscaled(i128::from(*v), 0), ty)?,
        (Value::Long(v), _) => fit_number(&Number::from_unscaled(i128::from(*v), 0), ty)?,
        (Value::Decimal { unscaled, scale, .. }, _) => fit_number(&Number::from_unscaled(*unscaled, *scale), ty)?,
        (Value::Float(v), P::Double) => Fit::Exact(Value::Double(f64::from(*v))),
        (Value::Double(v), P::Float) => fit_float(*v),
        (Value::Float(v), P::Int | P::Long) => fit_value(&Value::Double(f64::from(*v)), ty)?,
        (Value::Double(v), P::Int | P::Long) => match Number::from_f64(*v) {
            Some(number) => fit_number(&number, ty)?,
            None if *v == f64::NEG_INFINITY => Fit::Below,
            None => Fit::Above,
        },
        (Value::Date(days), _) if is_zoneless(ty) || has_zone(ty) => moment(i128::from(*days) * i128::from(MICROS_PER_DAY) * 1000, ty)?,
        (Value::Timestamp(micros), _) if is_zoneless(ty) || has_zone(ty) => moment(i128::from(*micros) * 1000, ty)?,
        (Value::TimestampNs(nanos), _) if is_zoneless(ty) || has_zone(ty) => moment(i128::from(*nanos), ty)?,
        (Value::Timestamptz(micros), _) if has_zone(ty) => moment(i128::from(*micros) * 1000, ty)?,
        (Value::TimestamptzNs(nanos), _) if has_zone(ty) => moment(i128::from(*nanos), ty)?,
        (Value::Binary(bytes), P::Fixed(length)) if bytes.len() as u64 == u64::from(*length) => Fit::Exact(Value::Fixed(bytes.clone())),
        (Value::Fixed(bytes), P::Binary) => Fit::Exact(Value::Binary(bytes.clone())),
        _ => return None,
    })
}

/// The place of a moment, in nanoseconds from the epoch, among the values of a date or timestamp type.
fn moment(nanos: i128, ty: &PrimitiveType) -> Option<Fit> {
    let (unit, value): (i64, fn(i64) -> Option<Value>) = match ty {
        PrimitiveType::Date => (MICROS_PER_DAY * 1000, |days| i32::try_from(days).ok().map(Value::Date)),
        PrimitiveType::Timestamp => (1000, |v| Some(Value::Timestamp(v))),
        PrimitiveType::Timestamptz => (1000, |v| Some(Value::Timestamptz(v))),
        PrimitiveType::TimestampNs => (1, |v| Some(Value::TimestampNs(v))),
        PrimitiveType::TimestamptzNs => (1, |v| Some(Value::TimestamptzNs(v))),
        _ => return None,
    };
    let floor = nanos.div_euclid(i128::from(unit));
    Some(match i64::try_from(floor).ok().and_then(value) {
        Some(value) if nanos.rem_euclid(i128::from(unit)) == 0 => Fit::Exact(value),
        Some(value) => Fit::After(value),
        None if nanos < 0 => Fit::Below,
        None => Fit::Above,
    })
}

fn fit_text(text: &str, ty: &PrimitiveType) -> Result<Fit, Misfit> {
    use PrimitiveType as P;
    let no = |example: &str| Misfit::Text(format!("is no {ty}; one looks like {example}"));
    let trimmed = text.trim();
    Ok(match ty {
        P::String => Fit::Exact(Value::String(text.to_owned())),
        P::Boolean => match trimmed.to_ascii_lowercase().as_str() {
            "true" => Fit::Exact(Value::Boolean(true)),
            "false" => Fit::Exact(Value::Boolean(false)),
            _ => return Err(no("'true' or 'false'")),
        },
        P::Float | P::Double => {
            let special = special_float(trimmed);
            let place = match (special, ty) {
                (Some(value), P::Float) => Some(Fit::Exact(Value::Float(value as f32))),
                (Some(value), _) => Some(Fit::Exact(Value::Double(value))),
                (None, _) => Number::parse(trimmed).and_then(|number| fit_number(&number, ty)),
            };
            place.ok_or_else(|| no("'2.5', '1e9' or 'NaN'"))?
        }
        P::Int | P::Long => Number::parse(trimmed).and_then(|number| fit_number(&number, ty)).ok_or_else(|| no("'42'"))?,
        P::Decimal { .. } => Number::parse(trimmed).and_then(|number| fit_number(&number, ty)).ok_or_else(|| no("'12.34'"))?,
        P::Time => parse_time_micros(trimmed).map(|v| Fit::Exact(Value::Time(v))).ok_or_else(|| no("'23:59:59.999999'"))?,
        P::Uuid => match uuid::Uuid::parse_str(trimmed) {
            Ok(uuid) => Fit::Exact(Value::Uuid(*uuid.as_bytes())),
            Err(_) => return Err(no("'f79c3e09-677c-4bbd-a479-3f349cb785e7'")),
        },
        P::Date => match parse_date(trimmed) {
            Some(days) => Fit::Exact(Value::Date(days)),
            None => timestamp(trimmed, false).and_then(|nanos| moment(nanos, ty)).ok_or_else(|| no("'2024-02-29'"))?,
        },
        P::Timestamp | P::TimestampNs => {
            if names_zone(trimmed) {
                return Err(Misfit::Text(format!("has a time zone, and a {ty} has none; leave the zone out")));
            }
            timestamp(trimmed, true).and_then(|nanos| moment(nanos, ty)).ok_or_else(|| no("'2024-02-29 13:45:00.123456'"))?
        }
        P::Timestamptz | P::TimestamptzNs => {
            timestamp(trimmed, true).and_then(|nanos| moment(nanos, ty)).ok_or_else(|| no("'2024-02-29 13:45:00+01:00'"))?
        }
        P::Fixed(_) | P::Binary | P::Unknown | P::Variant | P::Geometry(_) | P::Geography(_) => return Err(Misfit::Types),
    })
}

pub(crate) fn special_float(text: &str) -> Option<f64> {
    Some(match text.to_ascii_lowercase().as_str() {
        "nan" => f64::NAN,
        "inf" | "+inf" | "infinity" | "+infinity" => f64::INFINITY,
        "-inf" | "-infinity" => f64::NEG_INFINITY,
        _ => return None,
    })
}

/// Nanoseconds from the epoch, UTC where no zone is named (or refused, unless `zone`).
fn timestamp(text: &str, zone: bool) -> Option<i128> {
    if !zone && names_zone(text) {
        return None;
    }
    match parse_timestamp(text, 1_000_000_000) {
        Some(nanos) => Some(i128::from(nanos)),
        None => parse_timestamp(text, 1_000_000).map(|micros| i128::from(micros) * 1000),
    }
}

/// Whether a timestamp's text ends in a zone: `Z`, or an offset after the time.
fn names_zone(text: &str) -> bool {
    let time = text.find(':').and_then(|at| text.get(at..)).unwrap_or_default();
    text.ends_with(['Z', 'z']) || time.contains(['+', '-'])
}

/// The value of CAST(constant AS ty) where it is plain; `Ok(None)` leaves it to the evaluation, `Err` says why there is none.
pub(crate) fn cast(constant: &Constant, ty: &PrimitiveType) -> Result<Option<Constant>, String> {
    use PrimitiveType as P;
    let number = match constant {
        Constant::Null(_) => return Ok(Some(Constant::Null(Some(ty.clone())))),
        Constant::Text(text) => match (Number::parse(text.trim()), ty) {
            (Some(number), P::Float | P::Double | P::Decimal { .. }) => number,
            _ => {
                return match fit_text(text, ty) {
                    Ok(Fit::Exact(value)) => Ok(Some(Constant::Value(value))),
                    Ok(_) => Err(format!("is not exactly a value of the type {ty}")),
                    Err(Misfit::Text(why)) => Err(why),
                    Err(Misfit::Types) => Ok(None),
                };
            }
        },
        Constant::Value(value) if value.primitive_type().as_ref() == Some(ty) => return Ok(Some(constant.clone())),
        Constant::Number(number) => number.clone(),
        Constant::Value(Value::Int(v)) => Number::from_unscaled(i128::from(*v), 0),
        Constant::Value(Value::Long(v)) => Number::from_unscaled(i128::from(*v), 0),
        Constant::Value(Value::Decimal { unscaled, scale, .. }) => Number::from_unscaled(*unscaled, *scale),
        Constant::Value(_) => return Ok(None),
    };
    let too_large = || format!("does not fit into the type {ty}");
    let value = match ty {
        P::Int => Value::Int(number.truncate().and_then(|v| i32::try_from(v).ok()).ok_or_else(too_large)?),
        P::Long => Value::Long(number.truncate().and_then(|v| i64::try_from(v).ok()).ok_or_else(too_large)?),
        P::Float if number.to_f64().is_finite() => Value::Float(number.to_f64() as f32),
        P::Double if number.to_f64().is_finite() => Value::Double(number.to_f64()),
        P::Float | P::Double => return Err(too_large()),
        P::Decimal { precision, scale } => {
            let unscaled = number.round(*scale).ok_or_else(too_large)?;
            if unscaled.unsigned_abs() >= 10u128.pow(u32::from(*precision).min(38)) {
                return Err(too_large());
            }
            Value::Decimal { unscaled, precision: *precision, scale: *scale }
        }
        _ => return Ok(None),
    };
    Ok(Some(Constant::Value(value)))
}
