//! Reading tables: every complaint names the file, the line and the field.
//!
//! **Invariant:** what a reader returns was checked; nothing behind it checks again.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// Why an input file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("cannot read {}: {source}", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("{} is empty", file.display())]
    Empty { file: PathBuf },
    #[error("{}, line {line}: there is no column `{field}`", file.display())]
    NoColumn { file: PathBuf, line: u64, field: String },
    #[error("{}, line {line}, field {}: {}; {needed} are needed", file.display(), found.min(needed) + 1, if found < needed { "is missing" } else { "is one too many" })]
    FieldCount { file: PathBuf, line: u64, found: usize, needed: usize },
    #[error("{}, line {}: {}; a matrix has as many lines as fields, and its lines have {fields}", file.display(), lines.min(fields) + 1, if lines < fields { "is missing" } else { "is one too many" })]
    NotSquare { file: PathBuf, lines: usize, fields: usize },
    #[error("{}, line {line}, field {field}: {problem}", file.display())]
    Field { file: PathBuf, line: u64, field: String, problem: String },
    #[error("{} has {rtt} nodes and {} has {nodes}", rtt_file.display(), nodes_file.display())]
    NodeCount { rtt_file: PathBuf, rtt: usize, nodes_file: PathBuf, nodes: usize },
}

impl InputError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Read { .. } => "check the path and its mode".into(),
            Self::Empty { .. } => "`shoal-testnet sim case` makes a full set of files".into(),
            Self::NoColumn { field, .. } => format!("the first line names the columns; add `{field}`"),
            Self::FieldCount { .. } | Self::NotSquare { .. } => "leave a field empty where nothing is known".into(),
            Self::Field { .. } => "correct that field".into(),
            Self::NodeCount { .. } => "the matrix has one line and one field a node, in the order of the nodes".into(),
        }
    }
}

pub(super) fn open(path: &Path) -> Result<impl Read, InputError> {
    let file = File::open(path).map_err(|source| InputError::Read { file: path.to_owned(), source })?;
    Ok(BufReader::new(file))
}

/// The lines of a table, read one by one.
pub(super) struct Lines<R> {
    reader: csv::Reader<R>,
    file: PathBuf,
    /// Names of the columns that were asked for, and where they are.
    columns: Vec<(String, usize)>,
    record: csv::StringRecord,
}

impl<R: Read> Lines<R> {
    pub(super) fn without_header(text: R, name: &Path) -> Self {
        let reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(text);
        Self { reader, file: name.to_owned(), columns: Vec::new(), record: csv::StringRecord::new() }
    }

    /// A table whose first line names these columns, in any order and among others.
    pub(super) fn with_columns(text: R, name: &Path, columns: &[&str]) -> Result<Self, InputError> {
        let mut lines = Self::without_header(text, name);
        let Some(header) = lines.next_line()? else { return Err(InputError::Empty { file: name.to_owned() }) };
        let find = |field: &&str| match header.record.iter().position(|named| named == *field) {
            Some(index) => Ok(((*field).to_owned(), index)),
            None => {
                Err(InputError::NoColumn { file: name.to_owned(), line: header.number, field: (*field).to_owned() })
            }
        };
        lines.columns = columns.iter().map(find).collect::<Result<_, _>>()?;
        Ok(lines)
    }

    pub(super) fn next_line(&mut self) -> Result<Option<Line<'_>>, InputError> {
        match self.reader.read_record(&mut self.record) {
            Ok(false) => Ok(None),
            Ok(true) => {
                let number = self.record.position().map_or(0, csv::Position::line);
                Ok(Some(Line { number, record: &self.record, columns: &self.columns, file: &self.file }))
            }
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                match error.into_kind() {
                    csv::ErrorKind::Io(source) => Err(InputError::Read { file: self.file.clone(), source }),
                    other => {
                        let (field, problem) = match other {
                            csv::ErrorKind::Utf8 { err, .. } => (err.field() + 1, "is not UTF-8 text".to_owned()),
                            other => (1, format!("{other:?}")),
                        };
                        let field = field.to_string();
                        Err(InputError::Field { file: self.file.clone(), line, field, problem })
                    }
                }
            }
        }
    }
}

/// One line of a table; fields are counted in the order the columns were asked for.
pub(super) struct Line<'a> {
    pub(super) number: u64,
    record: &'a csv::StringRecord,
    columns: &'a [(String, usize)],
    file: &'a Path,
}

impl Line<'_> {
    pub(super) fn len(&self) -> usize {
        self.record.len()
    }

    pub(super) fn text(&self, field: usize) -> Result<&str, InputError> {
        let place = self.columns.get(field).map_or(field, |(_, place)| *place);
        match self.record.get(place) {
            Some("") => Err(self.wrong(field, "is empty")),
            Some(text) => Ok(text),
            None => Err(self.wrong_length(place + 1)),
        }
    }

    pub(super) fn is_empty_at(&self, field: usize) -> bool {
        self.record.get(field).is_none_or(str::is_empty)
    }

    /// A finite number between the two limits.
    pub(super) fn number(&self, field: usize, least: f64, most: f64) -> Result<f64, InputError> {
        let text = self.text(field)?;
        let Some(number) = text.parse().ok().filter(|number: &f64| number.is_finite()) else {
            return Err(self.wrong(field, format!("`{text}` is not a number")));
        };
        if number < least {
            return Err(self.wrong(field, format!("{text} is less than {least}")));
        }
        if number > most {
            return Err(self.wrong(field, format!("{text} is more than {most}")));
        }
        Ok(number)
    }

    pub(super) fn wrong(&self, field: usize, problem: impl Into<String>) -> InputError {
        let field = self.columns.get(field).map_or_else(|| (field + 1).to_string(), |(name, _)| name.clone());
        InputError::Field { file: self.file.to_owned(), line: self.number, field, problem: problem.into() }
    }

    pub(super) fn no_column(&self, field: &str) -> InputError {
        InputError::NoColumn { file: self.file.to_owned(), line: self.number, field: field.to_owned() }
    }

    pub(super) fn wrong_length(&self, needed: usize) -> InputError {
        InputError::FieldCount { file: self.file.to_owned(), line: self.number, found: self.len(), needed }
    }
}
