//! Types in filters: their names, which of them meet in a comparison and where, which casts there are.

use fastdata_types::PrimitiveType;

/// For messages.
pub(crate) const NAMES: &str = "BOOLEAN, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(precision, scale), DATE, TIME, TIMESTAMP, TIMESTAMPTZ, \
     TIMESTAMP_NS, TIMESTAMPTZ_NS, STRING, UUID, BINARY, FIXED(length)";

/// The type that a name in capitals with parameters stands for. `None`: no such name; `Err`: why it cannot be used so.
pub(crate) fn named(name: &str, parameters: &[u32]) -> Option<Result<PrimitiveType, String>> {
    use PrimitiveType as P;
    let plain = |ty: P| if parameters.is_empty() { Ok(ty) } else { Err("takes no parameters".to_owned()) };
    let ticks = |micros: P, nanos: P| match parameters {
        [] | [6] => Ok(micros),
        [9] => Ok(nanos),
        _ => Err("has 6 or 9 digits of a second".to_owned()),
    };
    Some(match name {
        "BOOLEAN" | "BOOL" => plain(P::Boolean),
        "INT" | "INTEGER" | "INT4" => plain(P::Int),
        "BIGINT" | "LONG" | "INT8" => plain(P::Long),
        "FLOAT" | "REAL" | "FLOAT4" => plain(P::Float),
        "DOUBLE" | "FLOAT8" => plain(P::Double),
        "DECIMAL" | "NUMERIC" => match parameters {
            [precision @ 1..=38] => Ok(P::Decimal { precision: *precision as u8, scale: 0 }),
            [precision @ 1..=38, scale] if scale <= precision => Ok(P::Decimal { precision: *precision as u8, scale: *scale as u8 }),
            [] => Err("needs its precision and scale: DECIMAL(precision, scale)".to_owned()),
            _ => Err("is no decimal type: the precision is 1 to 38, the scale at most the precision".to_owned()),
        },
        "DATE" => plain(P::Date),
        "TIME" => match parameters {
            [] | [6] => Ok(P::Time),
            _ => Err("has 6 digits of a second".to_owned()),
        },
        "TIMESTAMP" | "DATETIME" => ticks(P::Timestamp, P::TimestampNs),
        "TIMESTAMPTZ" => ticks(P::Timestamptz, P::TimestamptzNs),
        "TIMESTAMP_NS" => plain(P::TimestampNs),
        "TIMESTAMPTZ_NS" => plain(P::TimestamptzNs),
        "STRING" | "VARCHAR" | "TEXT" => match parameters {
            [] => Ok(P::String),
            _ => Err("takes no length".to_owned()),
        },
        "UUID" => plain(P::Uuid),
        "BINARY" | "VARBINARY" | "BYTEA" => plain(P::Binary),
        "FIXED" => match parameters {
            [length] if i32::try_from(*length).is_ok() => Ok(P::Fixed(*length)),
            _ => Err("needs its length: FIXED(length)".to_owned()),
        },
        _ => return None,
    })
}

/// The narrowest type in which values of both types can be compared; `None` where there is none.
pub(crate) fn common(a: &PrimitiveType, b: &PrimitiveType) -> Option<PrimitiveType> {
    use PrimitiveType as P;
    if a == b {
        return Some(a.clone());
    }
    Some(match (a, b) {
        (P::Unknown, other) | (other, P::Unknown) => other.clone(),
        (P::Int, P::Long) | (P::Long, P::Int) => P::Long,
        (a, b) if a.is_numeric() && b.is_numeric() => {
            if a.is_float() || b.is_float() {
                return Some(P::Double);
            }
            let ((pa, sa), (pb, sb)) = (digits(a)?, digits(b)?);
            let scale = sa.max(sb);
            decimal(u32::from((pa - sa).max(pb - sb)) + u32::from(scale), u32::from(scale))?
        }
        (P::Date, P::Timestamp) | (P::Timestamp, P::Date) => P::Timestamp,
        (P::Date | P::Timestamp, P::TimestampNs) | (P::TimestampNs, P::Date | P::Timestamp) => P::TimestampNs,
        (P::Timestamptz, P::TimestamptzNs) | (P::TimestamptzNs, P::Timestamptz) => P::TimestamptzNs,
        (P::Fixed(_) | P::Binary, P::Fixed(_) | P::Binary) => P::Binary,
        _ => return None,
    })
}

/// Precision and scale that hold every value of an integer or decimal type.
pub(crate) fn digits(ty: &PrimitiveType) -> Option<(u8, u8)> {
    match ty {
        PrimitiveType::Int => Some((10, 0)),
        PrimitiveType::Long => Some((19, 0)),
        PrimitiveType::Decimal { precision, scale } if scale <= precision => Some((*precision, *scale)),
        _ => None,
    }
}

/// `None` where the digits do not fit in 38.
pub(crate) fn decimal(precision: u32, scale: u32) -> Option<PrimitiveType> {
    (precision <= 38 && scale <= precision).then_some(PrimitiveType::Decimal { precision: precision as u8, scale: scale as u8 })
}

pub(crate) fn is_zoneless(ty: &PrimitiveType) -> bool {
    matches!(ty, PrimitiveType::Date | PrimitiveType::Timestamp | PrimitiveType::TimestampNs)
}

pub(crate) fn has_zone(ty: &PrimitiveType) -> bool {
    matches!(ty, PrimitiveType::Timestamptz | PrimitiveType::TimestamptzNs)
}

/// Whether there is a CAST between the two.
pub(crate) fn castable(from: &PrimitiveType, to: &PrimitiveType) -> bool {
    use PrimitiveType as P;
    let moment = |ty: &P| is_zoneless(ty) || has_zone(ty);
    if !from.is_readable() || !to.is_readable() || *to == P::Unknown {
        return false;
    }
    match (from, to) {
        (a, b) if a == b => true,
        (P::Unknown, _) => true,
        (P::Boolean, P::Int | P::Long) => true,
        (a, b) if a.is_numeric() && b.is_numeric() => true,
        (a, b) if moment(a) && moment(b) => true,
        (P::Fixed(_), P::Binary) => true,
        (P::String, P::Fixed(_) | P::Binary) => false,
        (P::String, _) => true,
        (P::Float | P::Double | P::Fixed(_) | P::Binary, P::String) => false,
        (_, P::String) => true,
        _ => false,
    }
}

/// The least value in the order of filters, for types whose comparisons can lie outside of what they hold.
pub(crate) fn least(ty: &PrimitiveType) -> Option<fastdata_types::Value> {
    use fastdata_types::Value as V;
    Some(match ty {
        PrimitiveType::Int => V::Int(i32::MIN),
        PrimitiveType::Long => V::Long(i64::MIN),
        PrimitiveType::Float => V::Float(f32::NEG_INFINITY),
        PrimitiveType::Double => V::Double(f64::NEG_INFINITY),
        PrimitiveType::Decimal { precision, scale } => V::Decimal {
            unscaled: -10i128.checked_pow(u32::from(*precision)).map(|bound| bound - 1)?,
            precision: *precision,
            scale: *scale,
        },
        PrimitiveType::Date => V::Date(i32::MIN),
        PrimitiveType::Timestamp => V::Timestamp(i64::MIN),
        PrimitiveType::Timestamptz => V::Timestamptz(i64::MIN),
        PrimitiveType::TimestampNs => V::TimestampNs(i64::MIN),
        PrimitiveType::TimestamptzNs => V::TimestamptzNs(i64::MIN),
        _ => return None,
    })
}
