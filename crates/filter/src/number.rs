//! Numbers as they are written: exact, of any length.
//!
//! Contract: nothing is rounded until a type asks for it, and [`Number::floor`] says whether anything was lost.

use fastdata_types::{PrimitiveType, Value};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Number {
    negative: bool,
    /// Decimal digits without leading or trailing zeros: the value is `0.d1d2d3... * 10^point`. Empty for zero.
    digits: Vec<u8>,
    point: i64,
    form: Form,
}

/// How it was written, which decides its type where nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Integer,
    Fraction,
    Exponent,
}

/// The largest multiple of 10^-scale that is not above a number, unscaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Floor {
    Exact(i128),
    Inexact(i128),
    /// More than 38 digits; the sign says on which side.
    TooLarge {
        negative: bool,
    },
}

impl Number {
    /// `[+-]digits[.digits][e[+-]digits]`, at least one digit before the exponent.
    pub fn parse(text: &str) -> Option<Number> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        let (negative, unsigned) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        digits.iter_mut().for_each(|digit| *digit -= b'0');
        let shift = match exponent {
            Some(exponent) => parse_exponent(exponent)?,
            None => 0,
        };
        let form = match (exponent, unsigned.contains('.')) {
            (Some(_), _) => Form::Exponent,
            (None, true) => Form::Fraction,
            (None, false) => Form::Integer,
        };
        Some(Number { negative, digits, point: shift + whole.len() as i64, form }.normalised())
    }

    pub fn from_unscaled(unscaled: i128, scale: u8) -> Number {
        let digits: Vec<u8> = unscaled.unsigned_abs().to_string().bytes().map(|digit| digit - b'0').collect();
        let point = digits.len() as i64 - i64::from(scale);
        let form = if scale == 0 { Form::Integer } else { Form::Fraction };
        Number { negative: unscaled < 0, digits, point, form }.normalised()
    }

    /// The exact value of a finite double.
    pub fn from_f64(value: f64) -> Option<Number> {
        // 1100 places hold every double exactly.
        value.is_finite().then(|| Number::parse(&format!("{value:.1100}"))).flatten()
    }

    fn normalised(mut self) -> Number {
        let leading = self.digits.iter().take_while(|digit| **digit == 0).count();
        self.digits.drain(..leading);
        self.point -= leading as i64;
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        if self.digits.is_empty() {
            (self.negative, self.point) = (false, 0);
        }
        self
    }

    pub fn negated(mut self) -> Number {
        self.negative = !self.negative && !self.digits.is_empty();
        self
    }

    pub fn is_written_as_integer(&self) -> bool {
        self.form == Form::Integer
    }

    pub fn floor(&self, scale: u8) -> Floor {
        let kept = self.point.saturating_add(i64::from(scale));
        if self.digits.is_empty() {
            return Floor::Exact(0);
        }
        if kept > 38 {
            return Floor::TooLarge { negative: self.negative };
        }
        let kept = usize::try_from(kept).unwrap_or(0);
        let mut unscaled: i128 = 0;
        for place in 0..kept {
            unscaled = unscaled * 10 + i128::from(self.digits.get(place).copied().unwrap_or(0));
        }
        match (self.digits.len() > kept, self.negative) {
            (false, negative) => Floor::Exact(if negative { -unscaled } else { unscaled }),
            (true, false) => Floor::Inexact(unscaled),
            (true, true) => Floor::Inexact(-unscaled - 1),
        }
    }

    /// Cut towards zero.
    pub fn truncate(&self) -> Option<i128> {
        match self.floor(0) {
            Floor::Exact(value) => Some(value),
            Floor::Inexact(value) => Some(if self.negative { value + 1 } else { value }),
            Floor::TooLarge { .. } => None,
        }
    }

    /// Rounded to `scale` places, halves away from zero.
    pub fn round(&self, scale: u8) -> Option<i128> {
        let kept = self.point.saturating_add(i64::from(scale));
        let up = usize::try_from(kept).ok().and_then(|kept| self.digits.get(kept)).is_some_and(|digit| *digit >= 5);
        let magnitude = match (Number { negative: false, ..self.clone() }).floor(scale) {
            Floor::Exact(value) | Floor::Inexact(value) => value + i128::from(up),
            Floor::TooLarge { .. } => return None,
        };
        Some(if self.negative { -magnitude } else { magnitude })
    }

    /// The nearest double; infinite where the number is beyond the largest.
    pub fn to_f64(&self) -> f64 {
        let sign = if self.negative { "-" } else { "" };
        let digits: String = self.digits.iter().map(|digit| char::from(b'0' + digit)).collect();
        format!("{sign}0.{digits}0e{}", self.point).parse().unwrap_or(f64::NAN)
    }

    /// The value that the number has on its own: an integer is a long, a fraction a decimal, one with an exponent a double; what
    /// does not fit, the next of these.
    pub fn typed(&self) -> (Value, PrimitiveType) {
        let places = (self.digits.len() as i64).saturating_sub(self.point).max(i64::from(self.form == Form::Fraction));
        let integer = match self.floor(0) {
            Floor::Exact(value) if self.form == Form::Integer => Some(value),
            _ => None,
        };
        if let Some(value) = integer.and_then(|value| i64::try_from(value).ok()) {
            return (Value::Long(value), PrimitiveType::Long);
        }
        let precision = self.point.max(0).saturating_add(places).max(1);
        if self.form != Form::Exponent
            && let (Ok(precision @ ..=38), Ok(scale @ ..=38)) = (u8::try_from(precision), u8::try_from(places))
            && let Floor::Exact(unscaled) = self.floor(scale)
        {
            return (Value::Decimal { unscaled, precision, scale }, PrimitiveType::Decimal { precision, scale });
        }
        (Value::Double(self.to_f64()), PrimitiveType::Double)
    }
}

#[cfg(test)]
impl Number {
    /// Exact, for tests.
    pub fn order(&self, other: &Number) -> std::cmp::Ordering {
        let sign = |number: &Number| if number.digits.is_empty() { 0 } else { 1 - 2 * i32::from(number.negative) };
        let magnitude = (self.point, &self.digits).cmp(&(other.point, &other.digits));
        sign(self).cmp(&sign(other)).then(if self.negative { magnitude.reverse() } else { magnitude })
    }
}

/// Exponents beyond any type are all alike: they are cut to a trillion.
fn parse_exponent(text: &str) -> Option<i64> {
    const MOST: i64 = 1_000_000_000_000;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let magnitude = digits.parse::<i64>().unwrap_or(MOST).min(MOST);
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn floors_say_whether_anything_was_lost() {
        assert_eq!(number("3.5").floor(0), Floor::Inexact(3));
        assert_eq!(number("-3.5").floor(0), Floor::Inexact(-4));
        assert_eq!(number("-0.001").floor(0), Floor::Inexact(-1));
        assert_eq!(number("12.340").floor(2), Floor::Exact(1234));
        assert_eq!(number("1e3").floor(2), Floor::Exact(100_000));
        assert_eq!(number("-0").floor(0), Floor::Exact(0));
        assert_eq!(number("0e99999999999999999999").floor(9), Floor::Exact(0));
        assert_eq!(number("-1e39").floor(0), Floor::TooLarge { negative: true });
        assert_eq!(number("1e-99999999999999999999").floor(38), Floor::Inexact(0));
        let long = format!("5.{}1", "0".repeat(60));
        assert_eq!(number(&long).floor(0), Floor::Inexact(5));
    }

    #[test]
    fn a_cast_cuts_to_integers_and_rounds_to_decimals() {
        assert_eq!((number("2.9").truncate(), number("-2.9").truncate()), (Some(2), Some(-2)));
        assert_eq!((number("2.345").round(2), number("-2.345").round(2), number("2.344").round(2)), (Some(235), Some(-235), Some(234)));
        assert_eq!((number("0.5").round(0), number("0.05").round(0), number("0.004").round(1)), (Some(1), Some(0), Some(0)));
        assert_eq!(number("9.99").round(1), Some(100));
    }

    #[test]
    fn doubles_are_the_nearest_and_come_back_exactly() {
        for text in ["0.1", "1e308", "4.9e-324", "9007199254740993", "123456789.000000001", "0", "-2.5e-3"] {
            assert_eq!(number(text).to_f64(), text.parse::<f64>().unwrap(), "{text}");
        }
        assert_eq!(number("1e400").to_f64(), f64::INFINITY);
        for value in [0.1, -1.5, f64::MIN_POSITIVE, 5e-324, f64::MAX] {
            assert_eq!(Number::from_f64(value).unwrap().to_f64(), value);
        }
        assert_eq!(Number::from_f64(0.1).unwrap().floor(1), Floor::Inexact(1), "the double 0.1 is above one tenth");
    }

    #[test]
    fn a_number_alone_has_the_type_it_is_written_in() {
        assert_eq!(number("5").typed().1, PrimitiveType::Long);
        assert_eq!(
            number("5.0").typed(),
            (Value::Decimal { unscaled: 50, precision: 2, scale: 1 }, PrimitiveType::Decimal { precision: 2, scale: 1 })
        );
        assert_eq!(number("0.001").typed().1, PrimitiveType::Decimal { precision: 3, scale: 3 });
        assert_eq!(number("5e0").typed().1, PrimitiveType::Double);
        assert_eq!(number("9223372036854775808").typed().1, PrimitiveType::Decimal { precision: 19, scale: 0 });
        assert_eq!(number(&"9".repeat(39)).typed().1, PrimitiveType::Double);
        assert_eq!(number("100").typed().0, Value::Long(100));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", ".", "1e", "1e+", "e5", "1.2.3", "--1", "0x10", "1_000", "١"] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }
}
