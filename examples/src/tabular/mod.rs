//! Tables of numbers on their way through a mesh: cleaned near the data, made small for the way, classified where there is room.
//!
//! The three modules read and write [`frame`]s. `python/` drives them for arrays that are in a program's memory; any
//! other program can do the same.

pub mod classify;
pub mod compact;
pub mod frame;
mod logistic;
pub mod standardise;

use frame::Matrix;

/// Reads `--name value` pairs from `args`, each name one of `names`; the last value of each, where it is given.
fn options<'a, const N: usize>(args: &'a [String], names: [&str; N]) -> Result<[Option<&'a str>; N], String> {
    let mut values = [None; N];
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let place = match names.iter().position(|name| name == arg) {
            Some(place) => place,
            None => return Err(format!("unknown argument `{arg}`; this module takes {}", names.join(", "))),
        };
        values[place] = Some(rest.next().ok_or_else(|| format!("`{arg}` needs a value after it"))?.as_str());
    }
    Ok(values)
}

/// The input's one matrix, and nothing after it.
fn only(input: &[u8]) -> Result<Matrix, String> {
    let (matrix, rest) = Matrix::read(input)?;
    match rest.len() {
        0 => Ok(matrix),
        more => Err(format!("{more} bytes follow the matrix; this module reads one")),
    }
}

/// Refuses what is not a number, and names it as people count: rows and columns from 0, as in Python.
fn check_finite(matrix: &Matrix) -> Result<(), String> {
    let place = match matrix.values.iter().position(|value| !value.is_finite()) {
        None => return Ok(()),
        Some(place) => place,
    };
    let (row, column) = (place / matrix.columns, place % matrix.columns);
    // Not by printing the value: what prints an f64 makes a module 15 kB larger.
    let what = if matrix.values[place].is_nan() { "not a number" } else { "infinite" };
    Err(format!("row {row}, column {column} is {what}"))
}
