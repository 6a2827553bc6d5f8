//! A matrix of round-trip times, as it was measured.
//!
//! N lines of N fields in milliseconds, no header. An empty field is a pair nobody measured; the diagonal is 0 whatever it
//! says. `rtt(a, b)` and `rtt(b, a)` are two cells: an asymmetric matrix is used as it is.

use std::io::Read;
use std::path::Path;

use super::input::{InputError, Lines};

/// Longer than any round trip on Earth; a larger number is in another unit.
const RTT_MS_MAX: f64 = 1_000_000.0;

/// Round-trip times between N nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    count: usize,
    /// Row by row; NaN where nothing was measured.
    cells: Vec<f64>,
}

impl Matrix {
    /// Reads a matrix from a file.
    pub fn load(path: &Path) -> Result<Self, InputError> {
        Self::read(super::input::open(path)?, path)
    }

    /// Reads a matrix; `name` is what errors call it.
    pub fn read(text: impl Read, name: &Path) -> Result<Self, InputError> {
        let mut lines = Lines::without_header(text, name);
        let mut cells = Vec::new();
        let (mut rows, mut count) = (0, 0);
        while let Some(line) = lines.next_line()? {
            if rows == 0 {
                count = line.len();
            }
            if line.len() != count {
                return Err(line.wrong_length(count));
            }
            for column in 0..count {
                let cell = if line.is_empty_at(column) { None } else { Some(line.number(column, 0.0, RTT_MS_MAX)?) };
                cells.push(if column == rows { 0.0 } else { cell.unwrap_or(f64::NAN) });
            }
            rows += 1;
        }
        match rows {
            0 => Err(InputError::Empty { file: name.to_owned() }),
            _ if rows != count => Err(InputError::NotSquare { file: name.to_owned(), lines: rows, fields: count }),
            _ => Ok(Self { count, cells }),
        }
    }

    /// A matrix from a function of row and column; `None` is a pair nobody measured.
    pub fn from_fn(count: usize, mut cell: impl FnMut(usize, usize) -> Option<f64>) -> Self {
        let mut cells = Vec::with_capacity(count * count);
        for row in 0..count {
            for column in 0..count {
                cells.push(if row == column { 0.0 } else { cell(row, column).unwrap_or(f64::NAN) });
            }
        }
        Self { count, cells }
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What was measured from one node to another, in milliseconds.
    pub fn rtt_ms(&self, from: usize, to: usize) -> Option<f64> {
        let cell = *self.row(from)?.get(to)?;
        (!cell.is_nan()).then_some(cell)
    }

    /// All cells of one node, NaN where nothing was measured.
    pub fn row(&self, from: usize) -> Option<&[f64]> {
        self.cells.get(from * self.count..(from + 1) * self.count)
    }

    /// The same matrix with every time multiplied.
    pub fn scaled(&self, factor: f64) -> Self {
        Self { count: self.count, cells: self.cells.iter().map(|cell| cell * factor).collect() }
    }

    /// The matrix as a file, as [`Matrix::load`] reads it.
    pub fn to_csv(&self) -> String {
        use std::fmt::Write;
        let mut text = String::with_capacity(self.cells.len() * 6);
        for row in self.cells.chunks(self.count.max(1)) {
            for (column, cell) in row.iter().enumerate() {
                let comma = if column == 0 { "" } else { "," };
                // Writing to a string cannot fail.
                let _ = if cell.is_nan() { write!(text, "{comma}") } else { write!(text, "{comma}{cell}") };
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Matrix, InputError> {
        Matrix::read(text.as_bytes(), Path::new("rtt.csv"))
    }

    #[track_caller]
    fn check_refused(text: &str, why: &str) {
        assert_eq!(read(text).unwrap_err().to_string(), why);
    }

    #[test]
    fn a_matrix_is_kept_as_it_was_measured() {
        let matrix = read("0,10.5,\n12, 0 ,3\n,4,7\n").unwrap();

        assert_eq!(matrix.len(), 3);
        assert_eq!(matrix.rtt_ms(0, 1), Some(10.5));
        assert_eq!(matrix.rtt_ms(1, 0), Some(12.0));
        assert_eq!(matrix.rtt_ms(0, 2), None);
        assert_eq!(matrix.rtt_ms(2, 2), Some(0.0));
        assert_eq!(matrix.rtt_ms(3, 0), None);
        assert_eq!(matrix.scaled(2.0).rtt_ms(0, 1), Some(21.0));
    }

    #[test]
    fn a_matrix_survives_being_written() {
        let matrix = read("0,10.5,\n12,0,3\n,4,0\n").unwrap().scaled(0.3);

        let again = read(&matrix.to_csv()).unwrap();

        assert_eq!(format!("{again:?}"), format!("{matrix:?}"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        check_refused("", "rtt.csv is empty");
        check_refused("0,1\n1\n", "rtt.csv, line 2, field 2: is missing; 2 are needed");
        check_refused("0,1\n1,0,3\n", "rtt.csv, line 2, field 3: is one too many; 2 are needed");
        let square = "a matrix has as many lines as fields, and its lines have 2";
        check_refused("0,1\n1,0\n2,3\n", &format!("rtt.csv, line 3: is one too many; {square}"));
        check_refused("0,1\n", &format!("rtt.csv, line 2: is missing; {square}"));
        let not_text = Matrix::read(&b"0,1\n1,\xff\n"[..], Path::new("rtt.csv")).unwrap_err().to_string();
        assert_eq!(not_text, "rtt.csv, line 2, field 2: is not UTF-8 text");
        check_refused("0,1\n-4,0\n", "rtt.csv, line 2, field 1: -4 is less than 0");
        check_refused("0,1\nNaN,0\n", "rtt.csv, line 2, field 1: `NaN` is not a number");
        check_refused("0,inf\n1,0\n", "rtt.csv, line 1, field 2: `inf` is not a number");
        check_refused("a,b\n1,0\n", "rtt.csv, line 1, field 1: `a` is not a number");
        check_refused("0,1e9\n1,0\n", "rtt.csv, line 1, field 2: 1e9 is more than 1000000");
    }
}
