//! Arrivals as they were recorded somewhere, stretched to a load: the bursts stay.

use std::io::Read;
use std::path::Path;

use super::super::super::input::{InputError, Line, Lines, open};

/// Names under which traces keep the time of arrival; the first column where none of them stands.
const NAMES: [&str; 9] = [
    "timestamp",
    "submit_time",
    "arrival",
    "arrival_ms",
    "arrival_time",
    "arrival_timestamp",
    "start_timestamp",
    "end_timestamp",
    "time",
];
const SECONDS_MAX: f64 = 1e15;

/// What the numbers of a trace are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// When tasks arrive, in any unit and any order, or a date with a time.
    Times,
    /// How long after the one before.
    Gaps,
}

/// Times between arrivals, in the unit of the trace; as many as there are arrivals, so that they can be repeated.
pub fn load(path: &Path, column: Option<&str>, numbers: Numbers) -> Result<Vec<f64>, InputError> {
    read(open(path)?, path, column, numbers)
}

fn read(text: impl Read, name: &Path, column: Option<&str>, numbers: Numbers) -> Result<Vec<f64>, InputError> {
    let mut lines = Lines::without_header(text, name);
    let mut place = None;
    let mut values = Vec::new();
    while let Some(line) = lines.next_line()? {
        let place = match place {
            Some(place) => place,
            None => {
                let found = find(&line, column)?;
                place = Some(found.unwrap_or_default());
                // A first line that names its columns carries no arrival.
                if found.is_some() || value(&line, 0).is_err() && line.number == 1 {
                    continue;
                }
                0
            }
        };
        values.push(value(&line, place)?);
    }
    if values.len() < 2 {
        return Err(InputError::Empty { file: name.to_owned() });
    }
    Ok(match numbers {
        Numbers::Gaps => values,
        Numbers::Times => {
            values.sort_by(f64::total_cmp);
            let mut gaps: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
            // The gap before the first arrival, which matters only where the trace is repeated.
            gaps.insert(0, gaps.iter().sum::<f64>() / gaps.len() as f64);
            gaps
        }
    })
}

fn find(line: &Line<'_>, column: Option<&str>) -> Result<Option<usize>, InputError> {
    let names: Vec<String> = (0..line.len()).map(|field| line.text(field).unwrap_or("").to_lowercase()).collect();
    match column {
        Some(column) => match names.iter().position(|name| *name == column.to_lowercase()) {
            Some(place) => Ok(Some(place)),
            None => Err(line.no_column(column)),
        },
        None => Ok(NAMES.iter().find_map(|known| names.iter().position(|name| name == known))),
    }
}

/// A number, or a date with a time, in seconds.
fn value(line: &Line<'_>, field: usize) -> Result<f64, InputError> {
    match seconds_of_date(line.text(field)?) {
        Some(seconds) => Ok(seconds),
        None => line.number(field, 0.0, SECONDS_MAX),
    }
}

/// `2023-11-16 18:15:46.6805900`, or with a `T`, and a zone that all lines have.
fn seconds_of_date(text: &str) -> Option<f64> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let time = time.trim_end_matches('Z');
    let time = time.split_once('+').map_or(time, |(time, _)| time);
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (time.next()?.parse::<i64>().ok()?, time.next()?.parse::<i64>().ok()?);
    let second: f64 = time.next()?.parse().ok()?;
    // Days since 1970 in the calendar of dates, with March as the first month: then leap days come last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
            - 719_469;
    Some((days * 86_400 + hour * 3_600 + minute * 60) as f64 + second)
}

/// Spreads arrivals over a span with gaps in these proportions.
pub fn spread(gaps: &[f64], span_ms: f64) -> Vec<f64> {
    let mut at = 0.0;
    let times: Vec<f64> = gaps
        .iter()
        .map(|gap| {
            at += gap;
            at
        })
        .collect();
    let (first, last) = (times.first().copied().unwrap_or_default(), at);
    let factor = if last > first { span_ms / (last - first) } else { 0.0 };
    // Whole microseconds: what the simulated peers reckon in.
    times.into_iter().map(|time| ((time - first) * factor * 1_000.0).round() / 1_000.0).collect()
}

/// How bursty arrivals are: deviation of the gaps over their mean; 1 for a Poisson process.
pub fn variation(times_ms: &[f64]) -> f64 {
    let gaps: Vec<f64> = times_ms.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let count = gaps.len().max(1) as f64;
    let mean = gaps.iter().sum::<f64>() / count;
    let variance = gaps.iter().map(|gap| (gap - mean) * (gap - mean)).sum::<f64>() / count;
    if mean > 0.0 { variance.sqrt() / mean } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_times(text: &str, column: Option<&str>) -> Result<Vec<f64>, InputError> {
        read(text.as_bytes(), Path::new("trace.csv"), column, Numbers::Times)
    }

    #[test]
    fn dates_become_gaps() {
        let text = "TIMESTAMP,ContextTokens\n2023-12-31 23:59:59.5000000,3\n2024-01-01 00:00:00.2500000,4\n\
                    2024-03-01T00:00:00.2500000Z,4\n";

        let gaps = read_times(text, None).unwrap();

        assert_eq!(gaps[1..], [0.75, 60.0 * 86_400.0]);
        assert_eq!(seconds_of_date("1970-01-01 00:00:01"), Some(1.0));
    }

    #[test]
    fn the_column_is_found_by_its_name_and_times_are_put_in_order() {
        let text = ",submit_time,duration\n0,539,1\n1,100,2\n2,540,3\n";

        assert_eq!(read_times(text, None).unwrap()[1..], [439.0, 1.0]);
        assert_eq!(read_times(text, Some("duration")).unwrap()[1..], [1.0, 1.0]);
        assert_eq!(
            read_times(text, Some("end")).unwrap_err().to_string(),
            "trace.csv, line 1: there is no column `end`"
        );
    }

    #[test]
    fn plain_numbers_need_no_header() {
        assert_eq!(read_times("5\n6\n8\n", None).unwrap(), [1.5, 1.0, 2.0]);
        assert_eq!(read_times("seen\n5\n6\n8\n", None).unwrap(), [1.5, 1.0, 2.0]);
        let gaps = read("5\n1\n".as_bytes(), Path::new("trace.csv"), None, Numbers::Gaps).unwrap();
        assert_eq!(gaps, [5.0, 1.0]);
    }

    #[test]
    fn what_is_no_time_is_named_with_its_place() {
        let refused = |text| read_times(text, None).unwrap_err().to_string();

        assert_eq!(refused(""), "trace.csv is empty");
        assert_eq!(refused("time\n1\n"), "trace.csv is empty");
        assert_eq!(refused("time\n1\nsoon\n"), "trace.csv, line 3, field 1: `soon` is not a number");
        assert_eq!(refused("time\n1\n-2\n"), "trace.csv, line 3, field 1: -2 is less than 0");
    }

    #[test]
    fn bursts_survive_the_stretch() {
        let gaps: Vec<f64> = (0..1_000).map(|number| if number % 100 == 0 { 1_000.0 } else { 0.1 }).collect();

        let times_ms = spread(&gaps, 5_000.0);

        assert_eq!((times_ms[0], times_ms[999]), (0.0, 5_000.0));
        assert!(variation(&times_ms) > 9.0, "{}", variation(&times_ms));
    }
}
