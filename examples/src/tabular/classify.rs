//! `classify [--folds N]`: the probability that each row is of class 1.
//!
//! Input is a matrix with labels, or a matrix and behind it a model, itself a matrix of one row: a weight for each column, then
//! the intercept. Output is two matrices of f64: a probability a row, and the model. Without a model one is
//! fitted: regularised logistic regression.
//!
//! A model that has seen a row's label says little about how good it is. So, where it is fitted, each row is judged by a
//! model fitted to the rows of the other folds (N of them, default 5; row i is in fold i mod N); the model put out is
//! fitted to all rows. `--folds 1` judges the rows by that one.

use super::frame::{Encoding, Matrix};
use super::logistic::{self, Model};
use super::{check_finite, options};

const FOLDS_DEFAULT: usize = 5;
/// More is hours of work for nothing.
const FOLDS_MAX: usize = 100;
/// The fit's work grows with the square of it.
const COLUMNS_MAX: usize = 512;

pub fn run(args: &[String], input: &[u8]) -> Result<Vec<u8>, String> {
    let [folds] = options(args, ["--folds"])?;
    let folds = match folds {
        None => FOLDS_DEFAULT,
        Some(text) => match text.parse::<usize>() {
            Ok(folds) if (1..=FOLDS_MAX).contains(&folds) => folds,
            _ => return Err(format!("`--folds {text}`: give a whole number from 1 to {FOLDS_MAX}")),
        },
    };
    let (data, rest) = Matrix::read(input)?;
    check_finite(&data)?;
    if data.columns > COLUMNS_MAX {
        return Err(format!("the matrix has {} columns, this module takes {COLUMNS_MAX}", data.columns));
    }

    let (probabilities, model) = match (&data.labels, rest.is_empty()) {
        (_, false) => {
            let model = given(&data, rest)?;
            (data.rows().map(|row| model.probability(row)).collect(), model)
        }
        (Some(labels), true) => fitted(&data, labels, folds)?,
        (None, true) => return Err("there is neither a label for each row nor a model behind the matrix".to_owned()),
    };
    let mut output = single(probabilities.len(), 1, probabilities).write(Encoding::F64);
    output.extend_from_slice(&single(1, model.0.len(), model.0).write(Encoding::F64));
    Ok(output)
}

fn given(data: &Matrix, bytes: &[u8]) -> Result<Model, String> {
    let matrix = super::only(bytes).map_err(|why| format!("the model behind the matrix: {why}"))?;
    check_finite(&matrix).map_err(|why| format!("the model behind the matrix: {why}"))?;
    match (matrix.rows, matrix.columns) {
        (1, weights) if weights == data.columns + 1 => Ok(Model(matrix.values)),
        (rows, weights) => Err(format!(
            "the model has {rows} rows of {weights} numbers; {} columns need 1 row of {}",
            data.columns,
            data.columns + 1
        )),
    }
}

/// What models that have not seen a row say of it, and a model that has seen all.
fn fitted(data: &Matrix, labels: &[u8], folds: usize) -> Result<(Vec<f64>, Model), String> {
    let rows: Vec<(&[f64], f64)> = data.rows().zip(labels.iter().map(|label| f64::from(*label))).collect();
    let whole = logistic::fit(&rows)?;
    let folds = folds.min(rows.len());
    if folds < 2 {
        return Ok((data.rows().map(|row| whole.probability(row)).collect(), whole));
    }
    let mut probabilities = vec![0.0; rows.len()];
    for fold in 0..folds {
        let others = rows.iter().enumerate().filter(|(row, _)| row % folds != fold);
        let model = logistic::fit(&others.map(|(_, row)| *row).collect::<Vec<_>>())?;
        for (row, probability) in probabilities.iter_mut().enumerate().skip(fold).step_by(folds) {
            *probability = model.probability(rows[row].0);
        }
    }
    Ok((probabilities, whole))
}

fn single(rows: usize, columns: usize, values: Vec<f64>) -> Matrix {
    Matrix { rows, columns, values, labels: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Class 1 where the first column is above the second, but for every seventh row.
    fn labelled(rows: usize) -> Matrix {
        let noise = |n: usize| ((n * 7_919 + 13) % 101) as f64 / 50.0 - 1.0;
        let values: Vec<f64> = (0..rows).flat_map(|row| [noise(row), noise(3 * row + 1)]).collect();
        let label = |(row, pair): (usize, &[f64])| u8::from((pair[0] > pair[1]) != (row % 7 == 0));
        let labels = values.chunks_exact(2).enumerate().map(label).collect();
        Matrix { rows, columns: 2, values, labels: Some(labels) }
    }

    fn classified(args: &[&str], input: &[u8]) -> Result<(Vec<f64>, Matrix), String> {
        let args: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
        let output = run(&args, input)?;
        let (probabilities, rest) = Matrix::read(&output).unwrap();
        Ok((probabilities.values, Matrix::read(rest).unwrap().0))
    }

    fn right(matrix: &Matrix, probabilities: &[f64]) -> usize {
        let labels = matrix.labels.as_ref().unwrap();
        probabilities.iter().zip(labels).filter(|(p, label)| (**p > 0.5) == (**label == 1)).count()
    }

    #[test]
    fn most_rows_are_judged_right_by_models_that_have_not_seen_them() {
        let data = labelled(200);

        let (probabilities, model) = classified(&[], &data.write(Encoding::F64)).unwrap();

        // 29 labels are wrong on purpose.
        assert!((160..=185).contains(&right(&data, &probabilities)), "{}", right(&data, &probabilities));
        assert!(model.values[0] > 0.5 && model.values[1] < -0.5, "{model:?}");
    }

    #[test]
    fn a_model_put_out_judges_other_rows() {
        let (_, model) = classified(&[], &labelled(200).write(Encoding::F64)).unwrap();
        let mut other = labelled(300);
        other.labels = None;
        let mut input = other.write(Encoding::I16);
        input.extend_from_slice(&model.write(Encoding::F64));

        let (probabilities, same) = classified(&[], &input).unwrap();

        assert_eq!(same, model);
        assert!(right(&labelled(300), &probabilities) > 240);
    }

    #[test]
    fn what_is_missing_or_does_not_fit_is_said() {
        let mut unlabelled = labelled(4);
        unlabelled.labels = None;
        let input = unlabelled.write(Encoding::F64);
        assert!(classified(&[], &input).unwrap_err().contains("neither a label"));

        let mut wrong = input;
        wrong.extend_from_slice(&single(1, 2, vec![1.0, 1.0]).write(Encoding::F64));
        assert!(classified(&[], &wrong).unwrap_err().contains("need 1 row of 3"));
        assert!(classified(&["--folds", "0"], &labelled(4).write(Encoding::F64)).is_err());
    }

    #[test]
    fn one_row_or_one_class_is_enough() {
        for rows in [1, 2, 30] {
            let mut data = labelled(rows);
            data.labels = Some(vec![0; rows]);

            let (probabilities, _) = classified(&[], &data.write(Encoding::F64)).unwrap();

            assert!(probabilities.iter().all(|p| (0.0..=0.5).contains(p)), "{probabilities:?}");
        }
    }
}
