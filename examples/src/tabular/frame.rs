//! A matrix as bytes; all numbers are little-endian.
//!
//! ```text
//! offset  bytes
//!      0      4  `SHM1`
//!      4      1  encoding of the values: 0 f64, 1 f32, 2 i16 quantised by column
//!      5      1  1 if labels follow, 0 if not
//!      6      2  0
//!      8      4  rows, 1 or more
//!     12      4  columns, 1 or more
//!     16         encoding 2 only: for each column offset and step, both f64; a value is offset + step · i16
//!                the values, row after row
//!                the labels, a byte a row: 0 or 1
//! ```
//!
//! A frame ends where its head says; another may follow.

const MAGIC: &[u8; 4] = b"SHM1";
const HEAD_BYTES: usize = 16;
/// Half of the values an i16 tells apart, without the lowest, so that both signs have as many.
const STEPS: f64 = 32_767.0;

/// How the values are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Encoding {
    /// Exactly.
    F64,
    /// Rounded to 24 bits.
    F32,
    /// Rounded to 1 of 65,535 steps between the least and the greatest value of the column.
    I16,
}

/// Rows of numbers, and perhaps a label for each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// One or more.
    pub rows: usize,
    /// One or more.
    pub columns: usize,
    /// `rows · columns` of them, row after row.
    pub values: Vec<f64>,
    /// One a row, 0 or 1.
    pub labels: Option<Vec<u8>>,
}

impl Matrix {
    /// The rows, one by one.
    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.columns)
    }

    /// The values of a column.
    pub fn column(&self, column: usize) -> impl Iterator<Item = f64> + '_ {
        self.values.iter().skip(column).step_by(self.columns).copied()
    }

    /// The first matrix of `input`, and what follows it.
    pub fn read(input: &[u8]) -> Result<(Self, &[u8]), String> {
        if input.len() < HEAD_BYTES || &input[..4] != MAGIC {
            return Err("the input is not a matrix: it does not begin with `SHM1` and a head of 16 bytes".to_owned());
        }
        let number = |at: usize| u32::from_le_bytes([input[at], input[at + 1], input[at + 2], input[at + 3]]) as usize;
        let (encoding, labelled, rows, columns) = (input[4], input[5], number(8), number(12));
        let value_bytes: usize = match encoding {
            0 => 8,
            1 => 4,
            2 => 2,
            other => return Err(format!("the encoding is {other}; 0 is f64, 1 is f32, 2 is i16 by column")),
        };
        if labelled > 1 || input[6..8] != [0, 0] {
            return Err("bytes 5 to 7 of the head are not 0 or 1, 0, 0".to_owned());
        }
        if rows == 0 || columns == 0 {
            return Err(format!("the matrix has {rows} rows and {columns} columns; it needs one of each"));
        }
        let scale_bytes = if encoding == 2 { columns.checked_mul(16) } else { Some(0) };
        let label_bytes = if labelled == 1 { rows } else { 0 };
        let length = rows
            .checked_mul(columns)
            .and_then(|values| values.checked_mul(value_bytes))
            .and_then(|bytes| bytes.checked_add(scale_bytes?))
            .and_then(|bytes| bytes.checked_add(label_bytes))
            .and_then(|bytes| bytes.checked_add(HEAD_BYTES))
            .filter(|length| *length <= input.len());
        let length = match length {
            Some(length) => length,
            None => return Err(format!("the input ends before {rows} rows of {columns} columns do")),
        };
        let (frame, rest) = input.split_at(length);
        let (scales, values) = frame[HEAD_BYTES..length - label_bytes].split_at(scale_bytes.unwrap_or(0));
        let values = match encoding {
            0 => values.chunks_exact(8).map(f64_of).collect(),
            1 => values.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect(),
            _ => quantised(scales, values),
        };
        let labels = frame[length - label_bytes..].to_vec();
        if let Some(row) = labels.iter().position(|label| *label > 1) {
            return Err(format!("the label of row {row} is {}; labels are 0 or 1", labels[row]));
        }
        let labels = Some(labels).filter(|_| labelled == 1);
        Ok((Self { rows, columns, values, labels }, rest))
    }

    /// The frame; every value must be finite, and fit an f32 where it is written as one.
    pub fn write(&self, encoding: Encoding) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let code = match encoding {
            Encoding::F64 => 0,
            Encoding::F32 => 1,
            Encoding::I16 => 2,
        };
        bytes.extend_from_slice(&[code, u8::from(self.labels.is_some()), 0, 0]);
        for number in [self.rows, self.columns] {
            bytes.extend_from_slice(&(number as u32).to_le_bytes());
        }
        match encoding {
            Encoding::F64 => self.values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes())),
            Encoding::F32 => {
                self.values.iter().for_each(|value| bytes.extend_from_slice(&(*value as f32).to_le_bytes()))
            }
            Encoding::I16 => self.write_quantised(&mut bytes),
        }
        bytes.extend_from_slice(self.labels.as_deref().unwrap_or_default());
        bytes
    }

    fn write_quantised(&self, bytes: &mut Vec<u8>) {
        let scales: Vec<(f64, f64)> = (0..self.columns).map(|column| scale(self.column(column))).collect();
        for (offset, step) in &scales {
            bytes.extend_from_slice(&offset.to_le_bytes());
            bytes.extend_from_slice(&step.to_le_bytes());
        }
        for row in self.rows() {
            for (value, (offset, step)) in row.iter().zip(&scales) {
                let steps = if *step > 0.0 { ((value - offset) / step + 0.5).floor() } else { 0.0 };
                bytes.extend_from_slice(&(steps.clamp(-STEPS, STEPS) as i16).to_le_bytes());
            }
        }
    }
}

/// The middle of a column, and the width of a step.
fn scale(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut least, mut greatest) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        least = least.min(value);
        greatest = greatest.max(value);
    }
    // Halves first: the difference of two finite numbers may not be finite.
    (least / 2.0 + greatest / 2.0, (greatest / 2.0 - least / 2.0) / STEPS)
}

fn quantised(scales: &[u8], values: &[u8]) -> Vec<f64> {
    let scales: Vec<(f64, f64)> = scales.chunks_exact(16).map(|b| (f64_of(&b[..8]), f64_of(&b[8..]))).collect();
    let steps = values.chunks_exact(2).map(|b| f64::from(i16::from_le_bytes([b[0], b[1]])));
    steps.zip(scales.iter().cycle()).map(|(steps, (offset, step))| offset + step * steps).collect()
}

/// From a chunk of eight bytes.
fn f64_of(bytes: &[u8]) -> f64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(bytes);
    f64::from_le_bytes(eight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Matrix {
        let values = vec![0.5, -3.0, 7.0, 1.25, 0.0, 7.0, -1e-3, 3.0, 7.0];
        Matrix { rows: 3, columns: 3, values, labels: Some(vec![0, 1, 1]) }
    }

    #[test]
    fn what_is_written_is_read() {
        for encoding in [Encoding::F64, Encoding::F32, Encoding::I16] {
            let mut bytes = matrix().write(encoding);
            bytes.extend_from_slice(b"more");

            let (read, rest) = Matrix::read(&bytes).unwrap();

            assert_eq!(rest, b"more");
            assert_eq!((read.rows, read.columns, &read.labels), (3, 3, &matrix().labels));
            for (value, exact) in read.values.iter().zip(matrix().values) {
                // The widest column spans 6, so half a step is 4.6e-5.
                assert!((value - exact).abs() < 4.7e-5, "{encoding:?}: {value} for {exact}");
            }
        }
        assert_eq!(Matrix::read(&matrix().write(Encoding::F64)).unwrap().0, matrix());
    }

    #[test]
    fn numbers_far_apart_are_quantised_too() {
        let wide = Matrix { rows: 2, columns: 1, values: vec![f64::MIN, f64::MAX], labels: None };

        let (read, _) = Matrix::read(&wide.write(Encoding::I16)).unwrap();

        assert!(read.values[0] < -1e308 && read.values[1] > 1e308, "{read:?}");
    }

    #[test]
    fn a_cut_frame_or_a_wrong_head_is_refused() {
        let bytes = matrix().write(Encoding::I16);
        for length in 0..bytes.len() {
            assert!(Matrix::read(&bytes[..length]).is_err(), "{length}");
        }
        for (place, value) in [(0, b'x'), (4, 3), (5, 2), (6, 1), (8, 0), (11, 0xff), (15, 0xff), (bytes.len() - 1, 2)]
        {
            let mut wrong = bytes.clone();
            wrong[place] = value;
            assert!(Matrix::read(&wrong).is_err(), "byte {place}");
        }
    }
}
