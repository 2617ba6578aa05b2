//! The type of arithmetic, and its value where both sides are constants.
//!
//! Contract: integers are computed as `long`, floats as `double`, decimals exactly in at most 38 digits, their division as
//! `double`. Division by zero is NULL, an overflow an error.

use crate::types::{decimal, digits};
use fastdata_types::expr::ArithmeticOp;
use fastdata_types::{PrimitiveType, Value};

/// The type in which both sides and the result are, or why there is none.
pub(crate) fn result_type(op: ArithmeticOp, a: &PrimitiveType, b: &PrimitiveType) -> Result<PrimitiveType, String> {
    use PrimitiveType as P;
    if a.is_float() || b.is_float() {
        return Ok(P::Double);
    }
    if a.is_integer() && b.is_integer() {
        return Ok(P::Long);
    }
    if op == ArithmeticOp::Divide {
        return Ok(P::Double);
    }
    let (Some((pa, sa)), Some((pb, sb))) = (digits(a), digits(b)) else { return Err("needs numbers".to_owned()) };
    let whole = u32::from((pa - sa).max(pb - sb));
    let scale = if op == ArithmeticOp::Multiply { u32::from(sa) + u32::from(sb) } else { u32::from(sa.max(sb)) };
    let precision = match op {
        ArithmeticOp::Multiply => u32::from(pa) + u32::from(pb),
        ArithmeticOp::Modulo => whole + scale,
        _ => whole + scale + 1,
    };
    // Both sides have the type of the result too: they must fit into it.
    let sides = whole + scale;
    match decimal(precision.max(sides).min(38), scale) {
        Some(ty) if sides <= 38 => Ok(ty),
        _ => Err(format!("needs more than 38 digits ({a} and {b})")),
    }
}

/// `Ok(None)` is NULL; `Err` an overflow.
pub(crate) fn compute(op: ArithmeticOp, a: &Value, b: &Value) -> Result<Option<Value>, ()> {
    use ArithmeticOp as Op;
    match (a, b) {
        (Value::Long(a), Value::Long(b)) => {
            let value = match op {
                Op::Add => a.checked_add(*b),
                Op::Subtract => a.checked_sub(*b),
                Op::Multiply => a.checked_mul(*b),
                Op::Divide | Op::Modulo if *b == 0 => return Ok(None),
                Op::Divide => a.checked_div(*b),
                Op::Modulo => Some(a.wrapping_rem(*b)),
            };
            value.map(|v| Some(Value::Long(v))).ok_or(())
        }
        (Value::Double(a), Value::Double(b)) => Ok(Some(Value::Double(match op {
            Op::Add => a + b,
            Op::Subtract => a - b,
            Op::Multiply => a * b,
            Op::Divide | Op::Modulo if *b == 0.0 => return Ok(None),
            Op::Divide => a / b,
            Op::Modulo => a % b,
        }))),
        (Value::Decimal { unscaled: a, precision, scale }, Value::Decimal { unscaled: b, .. }) => {
            let power = 10i128.pow(u32::from(*scale).min(38));
            let unscaled = match op {
                Op::Add => a.checked_add(*b),
                Op::Subtract => a.checked_sub(*b),
                // One side is a multiple of the power that the product has too many: see `result_type`.
                Op::Multiply => multiply(*a, *b, power),
                Op::Divide | Op::Modulo if *b == 0 => return Ok(None),
                Op::Modulo => a.checked_rem(*b),
                Op::Divide => None,
            };
            let within = unscaled.filter(|v| v.unsigned_abs() < 10u128.pow(u32::from(*precision).min(38)));
            within.map(|unscaled| Some(Value::Decimal { unscaled, precision: *precision, scale: *scale })).ok_or(())
        }
        _ => Err(()),
    }
}

/// `a * b / power`, exact where the scales of the operands before their cast add up to that of the type.
fn multiply(mut a: i128, mut b: i128, mut power: i128) -> Option<i128> {
    for side in [&mut a, &mut b] {
        while power > 1 && *side % 10 == 0 {
            if *side == 0 {
                return Some(0);
            }
            *side /= 10;
            power /= 10;
        }
    }
    (power == 1).then(|| a.checked_mul(b)).flatten()
}
