//! Fields of comma-separated text, with errors that name file and line.

use super::error::UsecaseError;

/// A line that is not empty, with its number from 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) file: &'a str,
    pub(super) number: usize,
    pub(super) text: &'a str,
}

pub(super) fn lines<'a>(file: &'a str, text: &'a str) -> impl Iterator<Item = Line<'a>> {
    let numbered = text.lines().enumerate().map(move |(at, text)| Line { file, number: at + 1, text: text.trim() });
    numbered.filter(|line| !line.text.is_empty())
}

impl<'a> Line<'a> {
    pub(super) fn bad(&self, why: impl std::fmt::Display) -> UsecaseError {
        UsecaseError::bad(self.file, format!("line {}: {why}", self.number))
    }

    /// The fields, without quotes and blanks around them.
    pub(super) fn fields(&self) -> Vec<&'a str> {
        self.text.split(',').map(|field| field.trim().trim_matches('"')).collect()
    }

    /// A finite number.
    pub(super) fn number(&self, field: &str, name: &str) -> Result<f64, UsecaseError> {
        match field.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(self.bad(format!("{name} is `{field}`, not a number"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lose_quotes_and_numbers_must_be_finite() {
        let all: Vec<Line<'_>> = lines("a.csv", "\n\"x\", 1.5e-3 ,NaN\n").collect();

        assert_eq!((all.len(), all[0].number), (1, 2));
        assert_eq!(all[0].fields(), ["x", "1.5e-3", "NaN"]);
        assert_eq!(all[0].number("1.5e-3", "speed").unwrap(), 0.0015);
        assert_eq!(
            all[0].number("NaN", "speed").unwrap_err().to_string(),
            "a.csv: line 2: speed is `NaN`, not a number"
        );
    }
}
