//! A city: a congestion map of every five minutes at the edge; in the cloud each sensor's speed half an hour later and
//! where signals should stay green for longer.

use std::path::Path;

use serde::Serialize;
use shoal_examples::congestion::roads::{SENSOR_IDS, SENSORS};
use shoal_examples::congestion::{self, INTERVALS_MAX};
use shoal_examples::forecast::{AHEAD, INTERVAL_MINUTES};
use shoal_examples::held_back;
use shoal_protocol::certificate::Role;

use super::error::UsecaseError;
use super::report::Taken;
use super::stages::{Ask, Stages};
use super::{files, table};
use crate::plot::{Axis, Chart, Series};

const DAY_ROWS: usize = 24 * 60 / INTERVAL_MINUTES;
/// Rows a task is asked to forecast, and those before that it gets as history: a week in all.
const BATCH: usize = DAY_ROWS;
const HISTORY: usize = INTERVALS_MAX - BATCH;
const SPEED_MPH_MAX: f64 = 200.0;
const HOURS: usize = 24;

/// Figures of a city; mean absolute errors in miles an hour over all targets that were measured.
#[derive(Debug, Clone, Serialize)]
pub struct City {
    pub mae_model: Option<f64>,
    /// If each sensor's last speed went on.
    pub mae_persistence: Option<f64>,
    /// How much less the model's error is, as a share.
    pub improvement: Option<f64>,
    /// Speeds half an hour later that were measured, and had a speed before.
    pub targets: usize,
    pub minutes_ahead: usize,
    /// Congestion maps drawn at the edge, and the hot spots of the worst.
    pub maps: usize,
    pub hot_spots_most: usize,
    /// The last forecast's signal strategy.
    pub signals: Vec<String>,
    /// For the chart: sums of absolute errors of model and persistence and their count, by hour of the day.
    #[serde(skip)]
    by_hour: Vec<[f64; 3]>,
}

/// Speeds in miles an hour, row after row; `None` where none was measured.
#[derive(Debug)]
struct Matrix {
    file: String,
    times: Vec<String>,
    speeds: Vec<Vec<Option<f64>>>,
    /// Rows before this one are history only.
    judged_from: usize,
}

/// What is judged.
#[derive(Debug)]
pub(super) struct Data {
    matrices: Vec<Matrix>,
    pub(super) taken: Vec<Taken>,
}

impl Data {
    pub(super) fn read(dir: Option<&Path>) -> Result<Self, UsecaseError> {
        let Some(dir) = dir else { return Self::held_back() };
        let (mut matrices, mut taken) = (Vec::new(), Vec::new());
        for path in files::list(dir)? {
            let name = files::name(&path);
            if !name.ends_with(".csv") || ["adj", "neighbo"].iter().any(|part| name.contains(part)) {
                continue;
            }
            let text = files::text(&path)?;
            let wide = text.lines().next().is_some_and(|line| line.split(',').count() >= SENSORS);
            if !wide && !name.contains("speed") {
                continue;
            }
            let matrix = matrix(&path.display().to_string(), &text)?;
            taken.push(Taken::new(&matrix.file, format!("{} rows of {SENSORS} speeds", matrix.speeds.len())));
            matrices.push(matrix);
        }
        if matrices.is_empty() {
            let wanted = "speed matrix (a `.csv` of 207 columns, a row each five minutes)";
            return Err(UsecaseError::NothingFound { dir: dir.to_path_buf(), wanted });
        }
        Ok(Self { matrices, taken })
    }

    fn held_back() -> Result<Self, UsecaseError> {
        let mut week = Matrix { file: String::new(), times: Vec::new(), speeds: Vec::new(), judged_from: 0 };
        let mut taken = Vec::new();
        for (number, text) in held_back::CITY_DAYS.iter().enumerate() {
            let file = format!("examples/data/city/speeds_2012-03-0{}.csv", number + 1);
            let seen = number < held_back::CITY_DAYS_SEEN;
            let what = if seen { "history" } else { "a day the model has not seen" };
            let day = matrix(&file, text)?;
            taken.push(Taken::new(&file, format!("{} rows of {SENSORS} speeds: {what}", day.speeds.len())));
            week.times.extend(day.times);
            week.speeds.extend(day.speeds);
            if seen {
                week.judged_from = week.speeds.len();
            }
            week.file = file;
        }
        Ok(Self { matrices: vec![week], taken })
    }
}

/// Reads METR-LA's form (a heading of sensor numbers, rows of speeds) and ours, which has a `time` before them. Without a
/// heading, or with columns that are merely counted, the sensors come in the map's order; without times the first row is midnight's.
fn matrix(file: &str, text: &str) -> Result<Matrix, UsecaseError> {
    let mut lines = table::lines(file, text).peekable();
    let first = lines.peek().copied().ok_or_else(|| UsecaseError::bad(file, "the file is empty"))?;
    let names = first.fields();
    let id = |name: &str| name.parse::<u32>().ok().filter(|id| SENSOR_IDS.contains(id));
    let headed = names.iter().filter(|name| id(name).is_some()).count() > SENSORS / 2;
    let timed = names.len() == SENSORS + 1;
    if names.len() != SENSORS + usize::from(timed) {
        return Err(first
            .bad(format!("{} columns; wanted: {SENSORS}, one a sensor, and perhaps a time before them", names.len())));
    }
    let mut order: Vec<usize> = (0..SENSORS).collect();
    let ids_begin = usize::from(timed);
    let numbered = names
        .iter()
        .skip(ids_begin)
        .enumerate()
        .all(|(column, name)| name.parse::<usize>().is_ok_and(|number| number == column || number == column + 1));
    if numbered {
        lines.next();
    }
    if headed {
        lines.next();
        for (column, name) in names.iter().skip(ids_begin).enumerate() {
            let known = id(name).and_then(|id| SENSOR_IDS.iter().position(|sensor| *sensor == id));
            order[column] = known.ok_or_else(|| first.bad(format!("sensor `{name}` is not on the map")))?;
        }
        let mut all = order.clone();
        all.sort_unstable();
        all.dedup();
        if all.len() != SENSORS {
            return Err(first.bad("a sensor stands twice in the heading"));
        }
    }
    let mut matrix = Matrix { file: file.to_owned(), times: Vec::new(), speeds: Vec::new(), judged_from: 0 };
    for line in lines {
        let fields = line.fields();
        if fields.len() != names.len() {
            return Err(line.bad(format!("{} fields; wanted: {}", fields.len(), names.len())));
        }
        let row = matrix.speeds.len();
        let minute = row * INTERVAL_MINUTES;
        matrix.times.push(match timed {
            true if minute_of_day(fields[0]).is_none() => {
                return Err(line.bad(format!("the time is `{}`; wanted: like 2012-03-06 07:35", fields[0])));
            }
            true => fields[0].to_owned(),
            false => format!("day {} {:02}:{:02}", minute / 1_440 + 1, minute / 60 % 24, minute % 60),
        });
        let mut speeds = vec![None; SENSORS];
        for (field, &sensor) in fields.iter().skip(ids_begin).zip(&order) {
            if field.is_empty() {
                continue;
            }
            let speed = line.number(field, &format!("the speed of sensor {}", SENSOR_IDS[sensor]))?;
            if !(0.0..SPEED_MPH_MAX).contains(&speed) {
                let id = SENSOR_IDS[sensor];
                return Err(line.bad(format!("the speed of sensor {id} is {speed}, not 0 to {SPEED_MPH_MAX} mph")));
            }
            speeds[sensor] = (speed > 0.0).then_some(speed);
        }
        matrix.speeds.push(speeds);
    }
    if matrix.speeds.len() <= AHEAD {
        return Err(UsecaseError::bad(
            file,
            format!("{} rows; a forecast needs more than {AHEAD}", matrix.speeds.len()),
        ));
    }
    Ok(matrix)
}

fn minute_of_day(time: &str) -> Option<usize> {
    let clock = time.rsplit([' ', 'T']).next()?;
    let (hour, rest) = clock.split_once(':')?;
    let (hour, minute) = (hour.parse::<usize>().ok()?, rest.get(..2)?.parse::<usize>().ok()?);
    (hour < 24 && minute < 60).then_some(60 * hour + minute)
}

impl Matrix {
    /// Rows as the modules read them.
    fn csv(&self, rows: std::ops::Range<usize>) -> Vec<u8> {
        let ids: Vec<String> = SENSOR_IDS.iter().map(u32::to_string).collect();
        let mut csv = format!("time,{}\n", ids.join(","));
        for row in rows {
            csv.push_str(&self.times[row]);
            for speed in &self.speeds[row] {
                csv.push_str(&speed.map_or(",".to_owned(), |speed| format!(",{speed:.2}")));
            }
            csv.push('\n');
        }
        csv.into_bytes()
    }

    /// Rows that are forecast, a task each range.
    fn batches(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let end = self.speeds.len() - AHEAD;
        (self.judged_from..end).step_by(BATCH).map(move |first| first..(first + BATCH).min(end))
    }
}

pub(super) async fn judge(data: &Data, stages: &mut Stages) -> Result<City, UsecaseError> {
    let mut city = City {
        mae_model: None,
        mae_persistence: None,
        improvement: None,
        targets: 0,
        minutes_ahead: AHEAD * INTERVAL_MINUTES,
        maps: 0,
        hot_spots_most: 0,
        signals: Vec::new(),
        by_hour: vec![[0.0; 3]; HOURS],
    };
    for matrix in &data.matrices {
        draw_maps(matrix, stages, &mut city).await?;
        forecast(matrix, stages, &mut city).await?;
    }
    let sums =
        city.by_hour.iter().fold([0.0; 3], |sums, hour| [sums[0] + hour[0], sums[1] + hour[1], sums[2] + hour[2]]);
    city.targets = sums[2] as usize;
    if sums[2] > 0.0 {
        city.mae_model = Some(sums[0] / sums[2]);
        city.mae_persistence = Some(sums[1] / sums[2]);
        city.improvement = (sums[1] > 0.0).then(|| 1.0 - sums[0] / sums[1]);
    }
    Ok(city)
}

/// At the edge: the city's congestion, interval by interval.
async fn draw_maps(matrix: &Matrix, stages: &mut Stages, city: &mut City) -> Result<(), UsecaseError> {
    let ask = |rows: std::ops::Range<usize>| Ask {
        module: "congestion",
        args: vec!["--each".to_owned()],
        input: matrix.csv(rows.clone()),
        role: Role::Edge,
        about: format!("{} rows {} to {}", matrix.file, rows.start + 1, rows.end),
    };
    let answers = stages.answers(matrix.batches().map(ask).collect()).await?;
    for answer in &answers {
        let text = String::from_utf8_lossy(answer);
        for line in text.lines().skip(1) {
            city.maps += 1;
            let spots = line.split(',').nth(1).and_then(|spots| spots.parse().ok()).unwrap_or(0);
            city.hot_spots_most = city.hot_spots_most.max(spots);
        }
    }
    Ok(())
}

/// In the cloud: the speeds half an hour after each row, against what was measured then.
async fn forecast(matrix: &Matrix, stages: &mut Stages, city: &mut City) -> Result<(), UsecaseError> {
    let ask = |rows: std::ops::Range<usize>| {
        let first = rows.start.saturating_sub(HISTORY);
        Ask {
            module: "forecast",
            args: vec!["--from".to_owned(), (rows.start - first).to_string()],
            input: matrix.csv(first..rows.end),
            role: Role::Cloud,
            about: format!("{} rows {} to {}", matrix.file, rows.start + 1, rows.end),
        }
    };
    let answers = stages.answers(matrix.batches().map(ask).collect()).await?;
    for (rows, answer) in matrix.batches().zip(&answers) {
        let foretold = congestion::read(answer_table(answer)).map_err(|why| UsecaseError::NoAnswer {
            module: "forecast",
            about: matrix.file.clone(),
            why,
        })?;
        let text = String::from_utf8_lossy(answer);
        city.signals = text.lines().filter_map(|line| line.strip_prefix("# ")).map(str::to_owned).collect();
        for (row, foretold) in rows.zip(&foretold.speeds_mph) {
            let hour = &mut city.by_hour[minute_of_day(&matrix.times[row]).unwrap_or(0) / 60];
            for sensor in 0..SENSORS {
                let (Some(real), Some(last)) = (matrix.speeds[row + AHEAD][sensor], last(matrix, row, sensor)) else {
                    continue;
                };
                // A forecast of 0 is written as it is read: nothing.
                let foretold = foretold[sensor].unwrap_or(0.0);
                hour[0] += (foretold - real).abs();
                hour[1] += (last - real).abs();
                hour[2] += 1.0;
            }
        }
    }
    Ok(())
}

/// The answer without its comments.
fn answer_table(answer: &[u8]) -> &[u8] {
    let comments = answer.windows(2).position(|pair| pair == b"\n#").map_or(answer.len(), |at| at + 1);
    &answer[..comments]
}

/// The last speed that a sensor measured until a row.
fn last(matrix: &Matrix, row: usize, sensor: usize) -> Option<f64> {
    (0..=row).rev().find_map(|row| matrix.speeds[row][sensor])
}

impl City {
    pub(super) fn rows(&self) -> Vec<[String; 2]> {
        let mph = |mae: Option<f64>| mae.map_or("not judged".to_owned(), |mae| format!("{mae:.2} mph"));
        let improvement = self.improvement.map_or("not judged".to_owned(), |share| format!("{:.1} %", 100.0 * share));
        let signals = self.signals.iter().filter(|line| line.starts_with("signal ")).take(3);
        let mut rows = vec![
            ["speeds forecast, half an hour ahead".into(), self.targets.to_string()],
            ["mean absolute error of the forecast".into(), mph(self.mae_model)],
            ["mean absolute error if speeds stayed as they are".into(), mph(self.mae_persistence)],
            ["less error than that".into(), improvement],
            ["congestion maps at the edge".into(), self.maps.to_string()],
            ["hot spots on the worst map".into(), self.hot_spots_most.to_string()],
        ];
        rows.extend(signals.map(|line| ["where the last forecast wants green for longer".into(), line.clone()]));
        rows
    }

    pub(super) fn meaning(&self) -> String {
        match self.improvement {
            Some(share) => format!(
                "Half an hour ahead, the forecast is {:.0} % {} than taking each road's speed as it is now.",
                100.0 * share.abs(),
                if share >= 0.0 { "nearer" } else { "further off" },
            ),
            None => "No speed could be compared with a later one.".into(),
        }
    }

    pub(super) fn chart(&self) -> Chart {
        let points = |which: usize| {
            let hours = self.by_hour.iter().enumerate().filter(|(_, hour)| hour[2] > 0.0);
            hours.map(|(at, hour)| (at as f64, hour[which] / hour[2])).collect()
        };
        Chart {
            name: "city",
            title: "Speed half an hour ahead: mean absolute error by hour of the day".into(),
            x: Axis::linear("hour of the day"),
            y: Axis::linear("mean absolute error [mph]"),
            series: vec![
                Series { name: "forecast".into(), colour: 0, points: points(0) },
                Series { name: "speeds stay as they are".into(), colour: 1, points: points(1) },
            ],
            marked: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rows: usize, heading: bool, time: bool) -> String {
        let ids: Vec<String> = SENSOR_IDS.iter().rev().map(u32::to_string).collect();
        let before = |text: &str| if time { format!("{text},") } else { String::new() };
        let mut table = if heading { format!("{}{}\n", before("time"), ids.join(",")) } else { String::new() };
        for row in 0..rows {
            let speeds: Vec<String> = (0..SENSORS).map(|sensor| format!("{}", sensor % 70)).collect();
            table += &format!("{}{}\n", before(&format!("2012-03-06 00:{row:02}")), speeds.join(","));
        }
        table
    }

    #[test]
    fn matrices_are_read_with_and_without_heading_and_times() {
        let headed = matrix("a.csv", &text(10, true, false)).unwrap();
        assert_eq!((headed.speeds.len(), headed.times[9].as_str()), (10, "day 1 00:45"));
        // The heading's order is the other way round here, and 0 is nothing.
        assert_eq!((headed.speeds[0][SENSORS - 1], headed.speeds[0][SENSORS - 2]), (None, Some(1.0)));

        let bare = matrix("a.csv", &text(10, false, false)).unwrap();
        assert_eq!((bare.speeds.len(), bare.speeds[0][1]), (10, Some(1.0)));

        let counted: Vec<String> = (0..SENSORS).map(|column| column.to_string()).collect();
        let counted = format!("{}\n{}", counted.join(","), text(10, false, false));
        assert_eq!(matrix("a.csv", &counted).unwrap().speeds.len(), 10);

        assert_eq!(matrix("a.csv", &text(10, true, true)).unwrap().times[9], "2012-03-06 00:09");
    }

    #[test]
    fn bad_matrices_name_file_and_line() {
        let error = |text: String| matrix("a.csv", &text).unwrap_err().to_string();
        let good = text(10, true, false);

        assert_eq!(error(format!("{good}1,2,3\n")), "a.csv: line 12: 3 fields; wanted: 207");
        assert!(error(good.replacen(",5,", ",NaN,", 1)).starts_with("a.csv: line 2: the speed of sensor"));
        assert!(error(good.replacen(",5,", ",-5,", 1)).contains("not 0 to 200 mph"));
        assert!(error("1,2,3\n".to_owned()).contains("line 1: 3 columns; wanted: 207"));
        assert!(error(text(6, true, false)).contains("6 rows; a forecast needs more"));
        assert!(error(good.replacen("773869", "5", 1)).contains("line 1: sensor `5` is not on the map"));
        assert!(error(String::new()).contains("empty"));
    }

    #[test]
    fn comments_are_no_rows() {
        assert_eq!(answer_table(b"time,1\nt,2\n# signals=0\n"), b"time,1\nt,2\n");
        assert_eq!(answer_table(b"time,1\n"), b"time,1\n");
    }
}
