//! Series of the Numenta Anomaly Benchmark's form with their failure windows: read, watched at the edge, and the alarms
//! compared with the windows.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use shoal_examples::alarms;
use shoal_examples::held_back;
use shoal_protocol::certificate::Role;

use super::super::error::UsecaseError;
use super::super::report::Taken;
use super::super::stages::{Ask, Stages};
use super::super::{files, table};
use crate::plot::{Axis, Chart};

const DAYS_A_MONTH: f64 = 30.44;
const DAY_S: f64 = 86_400.0;
/// Points a line of the chart has at most.
const POINTS_MAX: usize = 2_000;

/// A series and when it was failing, in seconds.
#[derive(Debug)]
pub(super) struct Series {
    name: String,
    /// As the module reads it.
    csv: Vec<u8>,
    points: Vec<(i64, f64)>,
    windows: Vec<(i64, i64)>,
}

/// What watching a series came to.
#[derive(Debug, Clone, Serialize)]
pub struct Watched {
    pub name: String,
    pub windows: usize,
    pub windows_found: usize,
    pub false_alarms: usize,
    pub months: f64,
    pub alarms: Vec<Raised>,
    #[serde(skip)]
    lines: Vec<(&'static str, Vec<(f64, f64)>)>,
}

/// An alarm: when, and whether inside a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Raised {
    pub time: String,
    pub inside: bool,
}

/// The labels: a file's name to its windows' first and last time.
type Labels = BTreeMap<String, Vec<(String, String)>>;

/// Finds the series that a `*windows*.json` names, and others without windows are told as left out.
pub(super) fn read(paths: &[PathBuf], taken: &mut Vec<Taken>) -> Result<Vec<Series>, UsecaseError> {
    let mut all: Vec<(String, Labels)> = Vec::new();
    for path in paths {
        let name = files::name(path);
        if name.contains("window") && name.ends_with(".json") {
            let shown = path.display().to_string();
            all.push((shown.clone(), labels(&shown, &files::text(path)?)?));
            taken.push(Taken::new(shown, "when series were failing"));
        }
    }
    let mut series = Vec::new();
    for path in paths.iter().filter(|path| files::name(path).ends_with(".csv")) {
        let text = files::text(path)?;
        if text.lines().next().is_none_or(|heading| heading.trim() != "timestamp,value") {
            continue;
        }
        let shown = path.display().to_string();
        let windows = all.iter().find_map(|(file, labels)| Some((file, windows_of(labels, &files::name(path))?)));
        match windows {
            Some((labels_file, windows)) => {
                let own = one(&shown, &text, labels_file, windows)?;
                taken.push(Taken::new(
                    &shown,
                    format!("a series of {} readings, {} failures", own.points.len(), own.windows.len()),
                ));
                series.push(own);
            }
            None => taken.push(Taken::new(&shown, "left out: no `*windows*.json` names it")),
        }
    }
    Ok(series)
}

pub(super) fn held_back(taken: &mut Vec<Taken>) -> Result<Vec<Series>, UsecaseError> {
    let labels_file = "examples/data/factory/combined_windows.json";
    let labels = labels(labels_file, held_back::FAILURE_WINDOWS)?;
    let mut series = Vec::new();
    for (name, text) in held_back::SERIES {
        let windows = windows_of(&labels, name).unwrap_or_default();
        let own = one(name, text, labels_file, windows)?;
        taken.push(Taken::new(
            format!("examples/data/factory: {name}"),
            format!("a series of {} readings", own.points.len()),
        ));
        series.push(own);
    }
    taken.push(Taken::new(labels_file, "when they were failing"));
    Ok(series)
}

/// Reads the benchmark's form, or only windows, which then are those of every series.
fn labels(file: &str, text: &str) -> Result<Labels, UsecaseError> {
    let named = serde_json::from_str::<Labels>(text);
    if let Ok(windows) = serde_json::from_str::<Vec<(String, String)>>(text) {
        return Ok(BTreeMap::from([(String::new(), windows)]));
    }
    named.map_err(|error| {
        UsecaseError::bad(file, format!("line {}: {error}; wanted: {{\"FILE\": [[FROM, TO], …]}}", error.line()))
    })
}

/// A key is `folder/name.csv`; the file may have something before that name.
fn windows_of<'a>(labels: &'a Labels, name: &str) -> Option<&'a [(String, String)]> {
    let named = |key: &str| key.rsplit('/').next().unwrap_or(key).to_lowercase();
    let key = labels.keys().filter(|key| name.ends_with(&named(key))).max_by_key(|key| named(key).len())?;
    labels.get(key).map(Vec::as_slice)
}

fn one(file: &str, text: &str, labels_file: &str, windows: &[(String, String)]) -> Result<Series, UsecaseError> {
    let mut csv = String::from("timestamp,value\n");
    for line in table::lines(file, text).skip(1) {
        let fields = line.fields();
        let [time, value] = fields.as_slice() else {
            return Err(line.bad(format!("{} fields; wanted: timestamp,value", fields.len())));
        };
        // The module reads no exponents.
        let value = line.number(value, "the value")?;
        csv.push_str(&format!("{time},{value}\n"));
    }
    let points = alarms::read(csv.as_bytes()).map_err(|why| UsecaseError::bad(file, why))?;
    let points = points.iter().map(|reading| (reading.second, reading.value)).collect();
    let mut spans = Vec::new();
    for (from, to) in windows {
        let second = |time: &str| {
            let wrong =
                || UsecaseError::bad(labels_file, format!("`{time}` of {file} is no time like 2013-12-10 06:25:00"));
            alarms::seconds(time).ok_or_else(wrong)
        };
        let span = (second(from)?, second(to)?);
        if span.0 > span.1 {
            return Err(UsecaseError::bad(
                labels_file,
                format!("a window of {file} ends before it begins: {from}, {to}"),
            ));
        }
        spans.push(span);
    }
    Ok(Series { name: file.to_owned(), csv: csv.into_bytes(), points, windows: spans })
}

pub(super) async fn judge(series: &[Series], stages: &mut Stages) -> Result<Vec<Watched>, UsecaseError> {
    let ask = |series: &Series| Ask {
        module: "alarms",
        args: Vec::new(),
        input: series.csv.clone(),
        role: Role::Edge,
        about: series.name.clone(),
    };
    let answers = stages.answers(series.iter().map(ask).collect()).await?;
    Ok(series.iter().zip(&answers).map(|(series, answer)| watched(series, answer)).collect())
}

fn watched(series: &Series, answer: &[u8]) -> Watched {
    let text = String::from_utf8_lossy(answer);
    let rows = text.lines().skip(1).filter(|line| !line.starts_with('#'));
    let raised = rows.filter_map(|row| {
        let time = row.split(',').next()?;
        Some((time.to_owned(), alarms::seconds(time)?))
    });
    let raised: Vec<(String, i64)> = raised.collect();
    let inside = |second: i64| series.windows.iter().any(|(from, to)| (*from..=*to).contains(&second));
    let found = |(from, to): &&(i64, i64)| raised.iter().any(|(_, second)| (*from..=*to).contains(second));
    let (first, last) =
        (series.points.first().map_or(0, |point| point.0), series.points.last().map_or(0, |point| point.0));
    Watched {
        name: series.name.clone(),
        windows: series.windows.len(),
        windows_found: series.windows.iter().filter(found).count(),
        false_alarms: raised.iter().filter(|(_, second)| !inside(*second)).count(),
        // A series of minutes is not a rate of thousands a month.
        months: ((last - first) as f64 / DAY_S / DAYS_A_MONTH).max(1.0 / DAYS_A_MONTH),
        lines: lines(series, &raised, first),
        alarms: raised.into_iter().map(|(time, second)| Raised { time, inside: inside(second) }).collect(),
    }
}

/// The readings, the windows as a line along the bottom, the alarms as needles from it.
fn lines(series: &Series, raised: &[(String, i64)], first: i64) -> Vec<(&'static str, Vec<(f64, f64)>)> {
    let day = |second: i64| (second - first) as f64 / DAY_S;
    let low = series.points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let high = series.points.iter().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
    let stride = series.points.len() / POINTS_MAX + 1;
    let readings = series.points.iter().step_by(stride).map(|(second, value)| (day(*second), *value)).collect();
    let (step, needle) = ((high - low) * 0.03, (high - low) * 0.15);
    let mut failing = vec![(0.0, low - step)];
    for (from, to) in &series.windows {
        let (from, to) = (day(*from), day(*to));
        failing.extend([(from, low - step), (from, low), (to, low), (to, low - step)]);
    }
    let mut alarms = vec![(0.0, low - step)];
    for (_, second) in raised {
        let at = day(*second);
        alarms.extend([(at, low - step), (at, low + needle), (at, low - step)]);
    }
    vec![("reading", readings), ("labelled failure", failing), ("alarm", alarms)]
}

impl Watched {
    pub(super) fn chart(&self) -> Chart {
        let series = self.lines.iter().enumerate().map(|(colour, (name, points))| crate::plot::Series {
            name: (*name).to_owned(),
            colour,
            points: points.clone(),
        });
        Chart {
            name: "alarms",
            title: format!("Alarms of {}", self.name),
            x: Axis::linear("days"),
            y: Axis::linear("reading"),
            series: series.collect(),
            marked: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: &str = r#"{"real/machine.csv": [["2014-01-10 00:00:00.000000", "2014-01-12 00:00:00.000000"]]}"#;

    fn text(readings: i64) -> String {
        let row = |hour: i64| format!("2014-01-{:02} {:02}:00:00,{}\n", 1 + hour / 24, hour % 24, 20 + hour % 24);
        format!("timestamp,value\n{}", (0..readings).map(row).collect::<String>())
    }

    #[test]
    fn a_series_meets_its_windows_by_name() {
        let labels = labels("windows.json", LABELS).unwrap();

        assert!(windows_of(&labels, "nab_machine.csv").is_some());
        assert!(windows_of(&labels, "other.csv").is_none());
        let bare = super::labels("windows.json", r#"[["2014-01-10 00:00:00", "2014-01-12 00:00:00"]]"#).unwrap();
        assert_eq!(windows_of(&bare, "other.csv").map(<[_]>::len), Some(1));
        let series =
            one("machine.csv", &text(600), "windows.json", windows_of(&labels, "machine.csv").unwrap()).unwrap();
        assert_eq!((series.points.len(), series.windows[0].1 - series.windows[0].0), (600, 2 * 86_400));
    }

    #[test]
    fn alarms_are_counted_inside_and_outside() {
        let labels = labels("windows.json", LABELS).unwrap();
        let series = one("machine.csv", &text(600), "windows.json", &labels["real/machine.csv"]).unwrap();

        let watched = watched(
            &series,
            b"time,kind,score,value\n2014-01-11 00:00:00,shifted,1.2,3\n2014-01-20 00:00:00,unseen,1.0,3\n# x\n",
        );

        assert_eq!((watched.windows, watched.windows_found, watched.false_alarms), (1, 1, 1));
        assert_eq!(watched.alarms[1], Raised { time: "2014-01-20 00:00:00".to_owned(), inside: false });
    }

    #[test]
    fn bad_series_and_labels_are_told_by_file_and_line() {
        let error = |text: &str| one("machine.csv", text, "windows.json", &[]).unwrap_err().to_string();

        assert_eq!(
            error("timestamp,value\n2014-01-01 00:00:00\n"),
            "machine.csv: line 2: 1 fields; wanted: timestamp,value"
        );
        assert_eq!(
            error("timestamp,value\n2014-01-01 00:00:00,nan\n"),
            "machine.csv: line 2: the value is `nan`, not a number"
        );
        assert!(error("timestamp,value\nnever,1\n").starts_with("machine.csv: line 2: the timestamp is `never`"));
        assert!(labels("windows.json", "{\n\"a\": 5}").unwrap_err().to_string().starts_with("windows.json: line 2: "));
        let backwards = [("2014-01-02 00:00:00".to_owned(), "2014-01-01 00:00:00".to_owned())];
        let error = one("machine.csv", &text(2), "windows.json", &backwards).unwrap_err().to_string();
        assert!(error.starts_with("windows.json: a window of machine.csv ends before"), "{error}");
    }

    #[test]
    fn exponents_are_understood() {
        let series = one("a.csv", "timestamp,value\n2014-01-01 00:00:00,5.5e-05\n", "w.json", &[]).unwrap();

        assert_eq!(series.points[0].1, 0.000_055);
    }
}
