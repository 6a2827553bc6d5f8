//! Columns of text, each as wide as its widest cell.
//!
//! **Invariant:** a cell's colour never counts towards its width, so a listing reads the same without colour.

use core::fmt;

use owo_colors::{OwoColorize, Style};

/// A piece of text and how it looks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: Style::new() }
    }
}

/// Rows under a header.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
    indent: &'static str,
}

impl Table {
    pub(crate) fn new<const N: usize>(header: [&str; N]) -> Self {
        let header = header.map(|name| Cell::styled(name, Style::new().bold())).into();
        Self { rows: vec![header], indent: "" }
    }

    pub(crate) fn indented(self, indent: &'static str) -> Self {
        Self { indent, ..self }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            // Nothing follows the last cell that has text, so that lines do not end in blanks.
            let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or(0);
            write!(f, "{}", self.indent)?;
            for (column, cell) in row.iter().enumerate().take(last + 1) {
                write!(f, "{}", cell.text.style(cell.style))?;
                if column < last {
                    let gap = widths[column] - cell.text.chars().count() + 2;
                    write!(f, "{:gap$}", "")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
