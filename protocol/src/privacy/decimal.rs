//! Decimal numbers as people write them, exactly: `0.1` is one tenth.

use core::fmt;
use core::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Digits behind the point: a budget is counted in units of the last of them.
pub const PLACES_MAX: u32 = 12;
/// Digits in all: with as many behind the point, products of two still fit into 128 bits.
const DIGITS_MAX: usize = 18;

/// `digits · 10^-places`, without zeros at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Decimal {
    digits: i128,
    places: u32,
}

/// Why a text is no [`Decimal`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no decimal number of at most {DIGITS_MAX} digits, {PLACES_MAX} of them behind the point")]
pub struct NoDecimal(String);

impl Decimal {
    /// `digits · 10^-places`.
    pub fn new(digits: i128, places: u32) -> Self {
        let mut value = Self { digits, places };
        while value.places > 0 && value.digits % 10 == 0 {
            value = Self { digits: value.digits / 10, places: value.places - 1 };
        }
        value
    }

    /// Reads plain decimal notation only: a sign, digits, and perhaps a point and digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (is_negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) || whole.len() + fraction.len() > 2 * DIGITS_MAX {
            return None;
        }
        let fraction = fraction.trim_end_matches('0');
        let whole = whole.trim_start_matches('0');
        if whole.len() + fraction.len() > DIGITS_MAX || fraction.len() > PLACES_MAX as usize {
            return None;
        }
        let digits = whole.bytes().chain(fraction.bytes()).fold(0i128, |sum, byte| sum * 10 + i128::from(byte - b'0'));
        Some(Self::new(if is_negative { -digits } else { digits }, fraction.len() as u32))
    }

    /// Its digits, as a whole number.
    pub fn digits(self) -> i128 {
        self.digits
    }

    /// How many of them stand behind the point.
    pub fn places(self) -> u32 {
        self.places
    }

    /// Above nothing.
    pub fn is_positive(self) -> bool {
        self.digits > 0
    }

    /// In units of 10^-[`PLACES_MAX`]; all decimals that were parsed are whole numbers of them.
    pub fn parts(self) -> i128 {
        self.digits.saturating_mul(10i128.pow(PLACES_MAX.saturating_sub(self.places)))
    }

    /// So many units of 10^-[`PLACES_MAX`].
    pub fn of_parts(parts: i128) -> Self {
        Self::new(parts, PLACES_MAX)
    }

    /// For what people are told, and nothing else.
    pub fn to_f64(self) -> f64 {
        self.digits as f64 / 10f64.powi(self.places as i32)
    }

    /// The next decimal with so many places that is not below a number that people are told.
    pub fn above(value: f64, places: u32) -> Self {
        let scaled = (value * 10f64.powi(places as i32)).ceil();
        // Beyond what 128 bits hold it is cut off: nobody reads such a number.
        Self::new(scaled as i128, places)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.digits < 0 { "-" } else { "" };
        let (digits, places) = (self.digits.unsigned_abs().to_string(), self.places as usize);
        if places == 0 {
            return write!(f, "{sign}{digits}");
        }
        let digits = format!("{digits:0>width$}", width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        write!(f, "{sign}{whole}.{fraction}")
    }
}

impl FromStr for Decimal {
    type Err = NoDecimal;

    fn from_str(text: &str) -> Result<Self, NoDecimal> {
        Self::parse(text).ok_or_else(|| NoDecimal(text.chars().take(40).collect()))
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl Visitor<'_> for Read {
            type Value = Decimal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal number, as \"0.1\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Decimal, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Decimal, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Decimal, E> {
                self.visit_str(&value.to_string())
            }

            /// A number of TOML or JSON is meant as it was written, and the shortest text for it is that.
            fn visit_f64<E: Error>(self, value: f64) -> Result<Decimal, E> {
                self.visit_str(&value.to_string())
            }
        }

        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_what_was_written() {
        for (text, shown) in [
            ("0.1", "0.1"),
            ("-0.05", "-0.05"),
            ("007.500", "7.5"),
            ("12", "12"),
            ("0", "0"),
            ("0.000000000001", "0.000000000001"),
        ] {
            assert_eq!(text.parse::<Decimal>().unwrap().to_string(), shown);
        }
        for wrong in
            ["", "-", ".5", "5.", "1e3", "0x1", "+1", "1_000", " 1", "1.2.3", "0.0000000000001", "1234567890123456789"]
        {
            assert!(wrong.parse::<Decimal>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_of_json_are_taken_as_they_were_written() {
        let read: Vec<Decimal> = serde_json::from_str(r#"[0.1, "0.1", 3, -2.50, 1e-6]"#).unwrap();

        let shown: Vec<String> = read.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["0.1", "0.1", "3", "-2.5", "0.000001"]);
        assert_eq!(serde_json::to_string(&read[0]).unwrap(), "\"0.1\"");
        assert!(serde_json::from_str::<Decimal>("1e300").is_err());
    }

    #[test]
    fn what_is_rounded_for_people_is_rounded_up() {
        assert_eq!(Decimal::above(1.2301, 2).to_string(), "1.24");
        assert_eq!(Decimal::above(2.0, 3).to_string(), "2");
    }
}
