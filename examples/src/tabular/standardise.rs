//! `standardise [--missing refuse|mean] [--clip N]`: a matrix with columns of mean 0 and deviation 1.
//!
//! Missing values (not a number, or infinite) are refused with their place, or become their column's mean. Values more than N
//! deviations off (default 5) are cut to N: one broken sensor reading must not rule a fit. A column that does not vary
//! becomes 0. Labels are passed on.
//!
//! Behind the matrix comes the scale: a matrix of two rows, each column's mean and its deviation (0 where it does not vary). In the
//! input such a scale behind the matrix is used instead of the matrix's own, so that later rows are seen as those were that a
//! model was fitted to.

use super::frame::{Encoding, Matrix};
use super::{check_finite, only, options};

/// A normal value is further off once in two million.
const CLIP_DEFAULT: f64 = 5.0;

pub fn run(args: &[String], input: &[u8]) -> Result<Vec<u8>, String> {
    let [missing, clip] = options(args, ["--missing", "--clip"])?;
    let clip = match clip {
        None => CLIP_DEFAULT,
        Some(text) => crate::text::decimal(text)
            .filter(|clip| *clip > 0.0)
            .ok_or_else(|| format!("`--clip {text}`: give a number of deviations above 0"))?,
    };
    let (mut matrix, rest) = Matrix::read(input)?;
    match missing {
        None | Some("refuse") => check_finite(&matrix)?,
        Some("mean") => {}
        Some(other) => return Err(format!("`--missing {other}`: use `refuse` or `mean`")),
    }

    let scale = if rest.is_empty() { own_scale(&matrix)? } else { given_scale(&matrix, rest)? };
    let (means, deviations) = scale.values.split_at(matrix.columns);
    for (column, (mean, deviation)) in means.iter().zip(deviations).enumerate() {
        for value in matrix.values.iter_mut().skip(column).step_by(matrix.columns) {
            let off = if value.is_finite() && *deviation > 0.0 { (*value - mean) / deviation } else { 0.0 };
            *value = off.max(-clip).min(clip);
        }
    }
    let mut output = matrix.write(Encoding::F64);
    output.extend_from_slice(&scale.write(Encoding::F64));
    Ok(output)
}

/// Means, then deviations.
fn own_scale(matrix: &Matrix) -> Result<Matrix, String> {
    let spreads = (0..matrix.columns).map(|column| spread(matrix, column)).collect::<Result<Vec<_>, _>>()?;
    let (means, deviations): (Vec<f64>, Vec<f64>) = spreads.into_iter().unzip();
    Ok(Matrix { rows: 2, columns: matrix.columns, values: [means, deviations].concat(), labels: None })
}

fn given_scale(matrix: &Matrix, bytes: &[u8]) -> Result<Matrix, String> {
    let scale = only(bytes).and_then(|scale| check_finite(&scale).map(|()| scale));
    let scale = scale.map_err(|why| format!("the scale behind the matrix: {why}"))?;
    if (scale.rows, scale.columns) != (2, matrix.columns) {
        let (rows, columns, wanted) = (scale.rows, scale.columns, matrix.columns);
        return Err(format!("the scale has {rows} rows of {columns}; {wanted} columns need 2 rows of {wanted}"));
    }
    if scale.values[matrix.columns..].iter().any(|deviation| *deviation < 0.0) {
        return Err("a deviation of the scale is below 0".to_owned());
    }
    Ok(scale)
}

/// Mean and deviation of what is there of a column; 0 where there is nothing.
fn spread(matrix: &Matrix, column: usize) -> Result<(f64, f64), String> {
    let present = || matrix.column(column).filter(|value| value.is_finite());
    let count = present().count();
    if count == 0 {
        return Ok((0.0, 0.0));
    }
    let mean = present().sum::<f64>() / count as f64;
    let variance = present().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count as f64;
    if !variance.is_finite() {
        return Err(format!("the values of column {column} are too large to be averaged; give them in another unit"));
    }
    // Rounding leaves a column of equal values a deviation of its own.
    let deviation = variance.sqrt();
    Ok((mean, if deviation > mean.abs() * 1e-13 { deviation } else { 0.0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standardised(args: &[&str], columns: usize, values: &[f64]) -> Result<Vec<f64>, String> {
        let args: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
        let input = Matrix { rows: values.len() / columns, columns, values: values.to_vec(), labels: None };
        run(&args, &input.write(Encoding::F64)).map(|output| Matrix::read(&output).unwrap().0.values)
    }

    #[test]
    fn columns_get_mean_0_and_deviation_1_and_constants_0() {
        let output = standardised(&[], 2, &[1.0, 0.1, 3.0, 0.1, 5.0, 0.1, 3.0, 0.1]).unwrap();

        let root = 2f64.sqrt();
        assert_eq!(output, [-2.0 / root, 0.0, 0.0, 0.0, 2.0 / root, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn what_is_missing_is_refused_by_its_place_or_filled() {
        let values = [1.0, 2.0, f64::NAN, 2.0, 3.0, f64::INFINITY];

        assert_eq!(standardised(&[], 2, &values).unwrap_err(), "row 1, column 0 is not a number");
        let filled = standardised(&["--missing", "mean"], 2, &values).unwrap();
        assert_eq!(filled, [-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        assert!(standardised(&["--missing", "guess"], 2, &values).is_err());
    }

    #[test]
    fn what_is_far_off_is_cut() {
        let mut values = vec![0.0; 99];
        values.push(1.0);

        assert_eq!(standardised(&[], 1, &values).unwrap()[99], 5.0);
        assert_eq!(standardised(&["--clip", "2.5"], 1, &values).unwrap()[99], 2.5);
        assert!(standardised(&["--clip", "0"], 1, &values).is_err());
    }

    #[test]
    fn other_rows_are_seen_on_a_scale_that_is_given() {
        let matrix = |rows, values| Matrix { rows, columns: 2, values, labels: None }.write(Encoding::F64);
        let output = run(&[], &matrix(3, vec![0.0, 5.0, 2.0, 5.0, 4.0, 5.0])).unwrap();
        let (_, scale) = Matrix::read(&output).unwrap();
        let other = [&matrix(1, vec![2.0, 9.0])[..], scale].concat();

        let again = run(&[], &other).unwrap();

        let (seen, same) = Matrix::read(&again).unwrap();
        assert_eq!((seen.values, same), (vec![0.0, 0.0], scale));
        let wrong = Matrix { rows: 2, columns: 1, values: vec![0.0, 1.0], labels: None }.write(Encoding::F64);
        let refused = run(&[], &[&matrix(1, vec![2.0, 9.0])[..], &wrong].concat());
        assert!(refused.unwrap_err().contains("2 columns need 2 rows of 2"));
    }

    #[test]
    fn numbers_beyond_reason_are_refused() {
        assert!(standardised(&[], 1, &[1e300, -1e300]).unwrap_err().contains("column 0"));
    }
}
