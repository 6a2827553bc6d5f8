//! Reading and writing small text tables, the same way in every build.
//!
//! Decimals are read and written here and not by the standard library: the guest modules stay tens of kilobytes
//! smaller, and a number has one rendering everywhere.

/// Splits `input` into its non-empty lines with their numbers from 1, for messages that name the place.
pub fn lines(input: &[u8]) -> Result<Vec<(usize, &str)>, String> {
    let text = match std::str::from_utf8(input) {
        Ok(text) => text,
        Err(error) => return Err(format!("the input is not UTF-8 text (byte {})", error.valid_up_to())),
    };
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    Ok(numbered.filter(|(_, line)| !line.is_empty()).collect())
}

/// Where the columns `names` stand in the heading line; other columns are ignored.
pub fn columns<const N: usize>(heading: &str, names: [&str; N]) -> Result<[usize; N], String> {
    let mut places = [0; N];
    for (place, name) in places.iter_mut().zip(names) {
        *place = match heading.split(',').position(|column| column.trim() == name) {
            Some(position) => position,
            None => return Err(format!("line 1: no column `{name}`; the heading must name {}", names.join(", "))),
        };
    }
    Ok(places)
}

/// The field of a comma-separated line at `place`.
pub fn field<'a>(number: usize, line: &'a str, place: usize, name: &str) -> Result<&'a str, String> {
    match line.split(',').nth(place) {
        Some(field) => Ok(field.trim()),
        None => Err(format!("line {number}: the column `{name}` is missing")),
    }
}

/// As [`field`], read as a number.
pub fn number(number: usize, line: &str, place: usize, name: &str) -> Result<f64, String> {
    let text = field(number, line, place, name)?;
    decimal(text).ok_or_else(|| format!("line {number}: {name} is `{text}`, not a number"))
}

/// Reads digits with an optional sign and decimal point. Digits after the point are ignored beyond the fifteenth.
pub fn decimal(text: &str) -> Option<f64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // Fifteen digits and the power of ten are both exact in an f64, so one division rounds correctly.
    let mut mantissa = 0u64;
    let mut count = 0;
    let mut scale = 1.0;
    for (after_point, byte) in whole.bytes().map(|byte| (false, byte)).chain(fraction.bytes().map(|byte| (true, byte)))
    {
        if !byte.is_ascii_digit() {
            return None;
        }
        let full = count == 15 || scale >= 1e15;
        if full && after_point {
            continue;
        }
        if full {
            return None;
        }
        mantissa = mantissa * 10 + u64::from(byte - b'0');
        count += usize::from(mantissa > 0);
        if after_point {
            scale *= 10.0;
        }
    }
    let value = mantissa as f64 / scale;
    Some(if negative { -value } else { value })
}

/// Writes `value` with `places` (at most 6) digits after the point, halves away from zero.
pub fn fixed(value: f64, places: usize) -> String {
    const SCALES: [u64; 7] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];
    let places = places.min(6);
    let scale = SCALES[places];
    let scaled = (value.abs() * scale as f64 + 0.5).floor() as u64;
    let sign = if value < 0.0 && scaled > 0 { "-" } else { "" };
    match places {
        0 => format!("{sign}{scaled}"),
        _ => format!("{sign}{}.{:0places$}", scaled / scale, scaled % scale),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_read_as_the_standard_library_reads_them() {
        for text in [
            "0",
            "1",
            "-1",
            "23.18",
            "27.2675",
            "-0.5",
            ".5",
            "5.",
            "721.25",
            "0.000123",
            "64.4444444444444",
            "999999999999999",
        ] {
            assert_eq!(decimal(text), text.parse().ok(), "{text}");
        }
        assert_eq!(decimal("572.666666666666667"), "572.666666666666".parse().ok());
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for text in ["", "-", ".", "x", "1e5", "--1", "1.2.3", "+1", "NaN", "1234567890123456", " 1"] {
            assert_eq!(decimal(text), None, "{text:?}");
        }
    }

    #[test]
    fn fixed_rounds_and_keeps_zeros() {
        assert_eq!(fixed(0.0, 2), "0.00");
        assert_eq!(fixed(1.005, 1), "1.0");
        assert_eq!(fixed(-0.04, 1), "0.0");
        assert_eq!(fixed(-2.25, 1), "-2.3");
        assert_eq!(fixed(3.5, 0), "4");
        assert_eq!(fixed(0.050_001, 3), "0.050");
    }

    #[test]
    fn columns_are_found_by_name() {
        assert_eq!(columns("a, b ,c", ["c", "b"]), Ok([2, 1]));
        assert!(columns("a,b", ["c"]).is_err());
    }
}
