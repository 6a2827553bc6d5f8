//! Reads rows as they come, a line each: `subject,value` or `subject,value,group`; a first line that begins with `subject,`
//! is a heading. What is added up is whole steps of the declared resolution.
//!
//! **Invariant:** a subject counts with at most as many rows as are declared, each clamped to the declared bounds: removing
//! it changes what is added up by no more than the noise is made for, whatever stands in the rows.
//! **Not here:** noise.

use std::collections::BTreeMap;

use super::decimal::{Decimal, PLACES_MAX};
use super::query::{Measurement, Query};
use super::refused::Refused;

/// Bytes of a line; each waits in memory until its end comes.
const LINE_BYTES_MAX: usize = 512;
/// Subjects of one data set: some 50 bytes each, while it is read.
const SUBJECTS_MAX: usize = 262_144;
/// Digits of a value before the point that are looked at: any more are far outside the bounds.
const WHOLE_DIGITS_MAX: usize = 18;

/// What was added up, exactly: it never leaves without noise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tally {
    Rows(i128),
    Subjects(i128),
    Sum(i128),
    /// The sum of `2 · value - lower - upper`, so that a row adds at most the width of the bounds either way; and the rows.
    Centred {
        sum: i128,
        rows: i128,
    },
    Cells(Vec<i128>),
    /// Rows at each point of the grid, and between it and the next.
    Ranks(Vec<(i128, i128)>),
}

/// Rows that are being read for one measurement.
#[derive(Debug)]
pub struct Rows<'a> {
    measurement: &'a Measurement<'a>,
    /// How many rows of each subject have counted.
    counted: BTreeMap<[u8; 16], u32>,
    groups: BTreeMap<&'a str, usize>,
    tally: Tally,
    line: Vec<u8>,
    lines: u64,
}

/// What was read: ready to be blurred.
#[derive(Debug)]
pub struct Read<'a> {
    pub(super) measurement: &'a Measurement<'a>,
    pub(super) tally: Tally,
}

impl<'a> Rows<'a> {
    /// Nothing read yet.
    pub fn new(measurement: &'a Measurement<'a>) -> Self {
        let tally = match &measurement.query {
            Query::Count => Tally::Rows(0),
            Query::Subjects => Tally::Subjects(0),
            Query::Sum => Tally::Sum(0),
            Query::Mean => Tally::Centred { sum: 0, rows: 0 },
            Query::Histogram(_) => Tally::Cells(vec![0; measurement.figures()]),
            Query::Quantile { .. } => {
                Tally::Ranks(vec![(0, 0); usize::try_from(measurement.grid.points).unwrap_or_default()])
            }
        };
        let by_group = matches!(&measurement.query, Query::Histogram(edges) if edges.is_empty());
        let declared = measurement.terms.declared.groups.iter().filter(|_| by_group);
        let groups = declared.enumerate().map(|(index, group)| (group.as_str(), index)).collect();
        Self { measurement, counted: BTreeMap::new(), groups, tally, line: Vec::new(), lines: 0 }
    }

    /// Takes the next bytes, wherever they were cut.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        let mut piece = pieces.next().unwrap_or_default();
        for next in pieces {
            self.take(piece)?;
            self.end_line()?;
            piece = next;
        }
        self.take(piece)
    }

    /// There are no more.
    pub fn end(mut self) -> Result<Read<'a>, Refused> {
        if !self.line.is_empty() {
            self.end_line()?;
        }
        Ok(Read { measurement: self.measurement, tally: self.tally })
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), Refused> {
        if self.line.len() + piece.len() > LINE_BYTES_MAX {
            self.lines += 1;
            return Err(self.wrong("it is longer than a row may be"));
        }
        self.line.extend_from_slice(piece);
        Ok(())
    }

    /// What stands in a row is nobody's business, not even in an error.
    fn wrong(&self, why: &str) -> Refused {
        Refused::BadData { why: format!("line {}: {why}", self.lines) }
    }

    fn end_line(&mut self) -> Result<(), Refused> {
        self.lines += 1;
        let line = core::mem::take(&mut self.line);
        let text = core::str::from_utf8(&line).map_err(|_| self.wrong("it is not text"))?;
        let text = text.strip_suffix('\r').unwrap_or(text);
        if self.lines == 1 && text.starts_with("subject,") {
            return Ok(());
        }
        let mut fields = text.split(',');
        let (subject, value, group) = (fields.next().unwrap_or_default(), fields.next(), fields.next());
        let Some(value) = value.filter(|_| !subject.is_empty() && fields.next().is_none()) else {
            return Err(self.wrong("it is not `subject,value` or `subject,value,group`"));
        };
        let steps = self.steps_of(value).ok_or_else(|| self.wrong("its value is no decimal number"))?;
        let cell = if self.groups.is_empty() { None } else { self.groups.get(group.unwrap_or_default()).copied() };
        if !self.groups.is_empty() && cell.is_none() {
            // Of a group that is not declared, even that it exists is not told.
            return Ok(());
        }
        self.count(subject, steps, cell)
    }

    /// A value in whole steps, within the bounds: a function of the row alone.
    fn steps_of(&self, text: &str) -> Option<i128> {
        let terms = self.measurement.terms;
        let step = terms.declared.value.resolution.parts();
        let parts = parts_of(text)?;
        let half = if parts < 0 { -step } else { step };
        Some(((2 * parts + half) / (2 * step)).clamp(terms.lower, terms.upper))
    }

    fn count(&mut self, subject: &str, steps: i128, cell: Option<usize>) -> Result<(), Refused> {
        let mut key = [0; 16];
        blake3::Hasher::new().update(subject.as_bytes()).finalize_xof().fill(&mut key);
        if self.counted.len() >= SUBJECTS_MAX && !self.counted.contains_key(&key) {
            return Err(self.wrong("there are more subjects than one data set may have"));
        }
        let counted = self.counted.entry(key).or_insert(0);
        if *counted >= self.measurement.terms.declared.rows_per_subject {
            return Ok(());
        }
        *counted += 1;
        let is_first = *counted == 1;
        self.add(steps, cell, is_first);
        Ok(())
    }

    fn add(&mut self, steps: i128, cell: Option<usize>, is_first: bool) {
        let Measurement { terms, edges, grid, .. } = self.measurement;
        match &mut self.tally {
            Tally::Rows(rows) => *rows += 1,
            Tally::Subjects(subjects) => *subjects += i128::from(is_first),
            Tally::Sum(sum) => *sum += steps,
            Tally::Centred { sum, rows } => {
                *sum += 2 * steps - terms.lower - terms.upper;
                *rows += 1;
            }
            Tally::Cells(cells) => {
                let cell = cell.unwrap_or_else(|| edges.partition_point(|edge| *edge <= steps));
                cells.get_mut(cell).into_iter().for_each(|count| *count += 1);
            }
            Tally::Ranks(points) => {
                let off = steps - terms.lower;
                let at = usize::try_from(off / grid.step).unwrap_or_default().min(points.len().saturating_sub(1));
                let is_at = off == at as i128 * grid.step;
                if let Some((at, after)) = points.get_mut(at) {
                    *(if is_at { at } else { after }) += 1;
                }
            }
        }
    }
}

/// A decimal number in parts of 10^-12; digits beyond those, and beyond what any bound can be, are cut off.
fn parts_of(text: &str) -> Option<i128> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    if whole.len() > WHOLE_DIGITS_MAX {
        return Some(sign * 10i128.pow(WHOLE_DIGITS_MAX as u32 + PLACES_MAX));
    }
    let fraction = fraction.get(..PLACES_MAX as usize).unwrap_or(fraction);
    let number = |digits: &str| digits.bytes().fold(0i128, |sum, byte| sum * 10 + i128::from(byte - b'0'));
    let fraction = Decimal::new(number(fraction), fraction.len() as u32).parts();
    Some(sign * (number(whole) * 10i128.pow(PLACES_MAX) + fraction))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::declaration::tests::declaration;
    use super::super::query::Noise;
    use super::*;

    #[track_caller]
    pub(in crate::privacy) fn tally(rows_per_subject: u32, query: &str, rows: &str) -> Result<Tally, String> {
        let mut declared = declaration();
        declared.rows_per_subject = rows_per_subject;
        let terms = declared.check().unwrap();
        let noise = Noise::Epsilon("1".parse().unwrap());
        let measurement = Measurement::new(&terms, query.parse().unwrap(), noise).unwrap();
        let mut reading = Rows::new(&measurement);
        // However it is cut.
        for piece in rows.as_bytes().chunks(3) {
            reading.feed(piece).map_err(|error| error.to_string())?;
        }
        reading.end().map(|read| read.tally).map_err(|error| error.to_string())
    }

    const ROWS: &str = "subject,value,group\na,1.25,mon\na,70,tue\nb,-3,tue\nb,0.0500000000000001,wed\r\nc,30,mon";

    #[test]
    fn rows_are_clamped_rounded_and_limited_by_subject() {
        // a: 1.3 (half away from zero), 60 (clamped); b: 0 (clamped), 0.1; c: 30.
        assert_eq!(tally(7, "sum", ROWS), Ok(Tally::Sum(13 + 600 + 1 + 300)));
        assert_eq!(tally(1, "sum", ROWS), Ok(Tally::Sum(13 + 300)), "the first row of each");
        assert_eq!(tally(7, "count", ROWS), Ok(Tally::Rows(5)));
        assert_eq!(tally(1, "count", ROWS), Ok(Tally::Rows(3)));
        assert_eq!(tally(7, "subjects", ROWS), Ok(Tally::Subjects(3)));
        assert_eq!(tally(7, "mean", ROWS), Ok(Tally::Centred { sum: 2 * 914 - 5 * 600, rows: 5 }));
    }

    #[test]
    fn cells_are_declared_groups_or_between_edges() {
        assert_eq!(tally(7, "histogram", ROWS), Ok(Tally::Cells(vec![2, 2])), "wed is not declared");
        assert_eq!(
            tally(7, "histogram:0.1,30", ROWS),
            Ok(Tally::Cells(vec![1, 2, 2])),
            "an edge belongs to the cell above"
        );
    }

    #[test]
    fn ranks_are_counted_at_the_points_of_the_grid_and_between_them() {
        let Ok(Tally::Ranks(points)) = tally(7, "quantile:0.5:20", ROWS) else { panic!("no ranks") };

        assert_eq!(points, [(1, 2), (0, 1), (0, 0), (1, 0)], "0; 0.1 and 1.3; 30; 60");
    }

    #[test]
    fn a_row_of_another_form_is_refused_without_a_word_of_it() {
        for (rows, why) in [
            ("a,1\nsecret\n", "line 2: it is not `subject"),
            ("a,1,mon,secret\n", "line 1: it is not `subject"),
            (",1\n", "line 1: it is not `subject"),
            ("a,secret\n", "line 1: its value"),
            ("a,1e5\n", "line 1: its value"),
            ("a,\n", "line 1: its value"),
            ("a,1\n\n", "line 2: it is not"),
        ] {
            let error = tally(7, "sum", rows).unwrap_err();
            assert!(error.contains(why) && !error.contains("secret"), "{error}");
        }
        let long = format!("a,{}\n", "1".repeat(LINE_BYTES_MAX));
        assert!(tally(7, "sum", &long).unwrap_err().contains("longer"));
    }

    #[test]
    fn a_value_far_outside_counts_as_the_bound() {
        let far = format!("a,{}\nb,-{}.5\n", "9".repeat(100), "9".repeat(100));

        assert_eq!(tally(7, "sum", &far), Ok(Tally::Sum(600)));
    }

    proptest::proptest! {
        /// Whatever bytes come, however they are cut: rows or a refusal, and the same of both.
        #[test]
        fn any_bytes_are_rows_or_a_refusal(text in "[a-b,0-9.\\-\r\n\u{fc}x]{0,80}", cut in 1..9usize) {
            let terms = declaration().check().unwrap();
            let noise = Noise::Epsilon("1".parse().unwrap());
            let measurement = Measurement::new(&terms, Query::Sum, noise).unwrap();
            let read = |size: usize| {
                let mut reading = Rows::new(&measurement);
                text.as_bytes().chunks(size).try_for_each(|piece| reading.feed(piece))?;
                reading.end().map(|read| read.tally)
            };
            proptest::prop_assert_eq!(read(cut), read(text.len().max(1)));
        }
    }

    /// What all the rest rests on: take one subject away, and nothing changes by more than its noise is made for.
    #[test]
    fn removing_a_subject_changes_no_tally_by_more_than_was_declared() {
        use rand::{RngExt, SeedableRng};
        let mut rng = crate::rng::Rng::seed_from_u64(3);
        for _ in 0..300 {
            let rows: Vec<(u8, String)> = (0..rng.random_range(1..60))
                .map(|_| {
                    let subject = rng.random_range(0..6u8);
                    let value = f64::from(rng.random_range(-2_000..9_000)) / 100.0;
                    (subject, format!("s{subject},{value},{}\n", ["mon", "tue", "wed"][rng.random_range(0..3)]))
                })
                .collect();
            let text = |without: Option<u8>| -> String {
                rows.iter().filter(|(subject, _)| Some(*subject) != without).map(|(_, row)| row.as_str()).collect()
            };
            let gone = rng.random_range(0..6u8);
            for query in ["count", "subjects", "sum", "mean", "histogram", "histogram:10,20"] {
                let k = rng.random_range(1..5u32);
                let both = (tally(k, query, &text(None)).unwrap(), tally(k, query, &text(Some(gone))).unwrap());

                let k = i128::from(k);
                match both {
                    (Tally::Rows(a), Tally::Rows(b)) => assert!((a - b).abs() <= k),
                    (Tally::Subjects(a), Tally::Subjects(b)) => assert!((a - b).abs() <= 1),
                    (Tally::Sum(a), Tally::Sum(b)) => assert!((a - b).abs() <= 600 * k),
                    (Tally::Centred { sum: a, rows: c }, Tally::Centred { sum: b, rows: d }) => {
                        assert!((a - b).abs() <= 600 * k && (c - d).abs() <= k);
                    }
                    (Tally::Cells(a), Tally::Cells(b)) => {
                        assert!(a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum::<i128>() <= k);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}
