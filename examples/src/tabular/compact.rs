//! `compact [--as i16|f32]`: the same matrix in a quarter (i16, the default) or half of the bytes.
//!
//! i16 rounds each value to 1 of 65,535 steps between the least and the greatest of its column, so that it is off by at
//! most 1/131,068 of what the column spans; f32 keeps 24 bits of each value. Labels are passed on exactly.

use super::frame::Encoding;
use super::{check_finite, only, options};

pub fn run(args: &[String], input: &[u8]) -> Result<Vec<u8>, String> {
    let [encoding] = options(args, ["--as"])?;
    let encoding = match encoding {
        None | Some("i16") => Encoding::I16,
        Some("f32") => Encoding::F32,
        Some(other) => return Err(format!("`--as {other}`: use `i16` or `f32`")),
    };
    let matrix = only(input)?;
    check_finite(&matrix)?;
    let too_large = |value: &f64| encoding == Encoding::F32 && value.abs() > f64::from(f32::MAX);
    if let Some(place) = matrix.values.iter().position(too_large) {
        let (row, column) = (place / matrix.columns, place % matrix.columns);
        return Err(format!("row {row}, column {column} is too large for f32; use `--as i16`"));
    }
    Ok(matrix.write(encoding))
}

#[cfg(test)]
mod tests {
    use super::super::frame::Matrix;
    use super::*;

    #[test]
    fn bytes_go_down_to_a_quarter_and_a_half() {
        let values = (0..1_000u16).map(|n| f64::from(n) / 7.0).collect();
        let input = Matrix { rows: 100, columns: 10, values, labels: Some(vec![1; 100]) }.write(Encoding::F64);
        let args = |text: &str| vec!["--as".to_owned(), text.to_owned()];

        assert_eq!(input.len(), 16 + 8_000 + 100);
        assert_eq!(run(&[], &input).unwrap().len(), 16 + 160 + 2_000 + 100);
        assert_eq!(run(&args("f32"), &input).unwrap().len(), 16 + 4_000 + 100);
        assert!(run(&args("i8"), &input).is_err());
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let matrix =
            |value| Matrix { rows: 1, columns: 2, values: vec![0.0, value], labels: None }.write(Encoding::F64);
        let f32_args = ["--as".to_owned(), "f32".to_owned()];

        assert!(run(&[], &matrix(f64::NAN)).unwrap_err().starts_with("row 0, column 1 is not a number"));
        assert!(run(&f32_args, &matrix(1e300)).unwrap_err().starts_with("row 0, column 1 is too large"));
        assert!(run(&[], &matrix(1e300)).is_ok());
    }
}
