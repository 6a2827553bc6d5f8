//! `congestion [--each] [--passes N]`: five-minute speeds of a city's road sensors in; a map of its congestion out.
//! With `--each` instead one line for every interval of the window: how many sensors are at each level.
//!
//! For every interval of the window: recent speeds are averaged, compared with the sensor's free flow, gaps are filled
//! from neighbouring sensors, and each value leans towards its neighbours'. The newest interval becomes the map; the
//! earlier ones tell how long a place has been congested and whether it grows. Congested neighbours form hot spots.
//!
//! Sensors, free-flow speeds and adjacency are compiled in (`roads.rs`, written by `train/congestion.rs`).

pub mod roads;

use crate::{options, text};
use roads::{EDGES, FREE_FLOW_MPH, SENSORS, SENSOR_IDS};

/// A week of five-minute intervals.
pub const INTERVALS_MAX: usize = 2016;
const INTERVAL_MINUTES: usize = 5;
/// How much an older interval counts against the next newer one, and how far back one looks.
const FADING: f64 = 0.6;
const RECENT: usize = 6;
/// How far a value leans towards its neighbours' in each round of smoothing.
const LEAN: f64 = 0.25;
const ROUNDS: usize = 3;
/// Rounds in which values spread into gaps; what no neighbour reaches stays unknown.
const FILL_ROUNDS: usize = 8;
/// Intervals back that the trend compares with.
const TREND: usize = 6;
const TREND_MIN: f64 = 0.05;
/// Neighbours at least this close share a hot spot.
const NEAR: f64 = 0.3;

/// Lost share of the free flow at which each level begins.
pub const LEVELS: [(f64, &str); 4] = [(0.0, "free"), (0.15, "slow"), (0.35, "heavy"), (0.6, "jam")];
const CONGESTED: f64 = 0.35;

/// One value a sensor; `None` where nothing was measured.
pub type Values = Vec<Option<f64>>;

pub fn run(args: &[String], input: &[u8]) -> Result<Vec<u8>, String> {
    let (each, args) = options::flag(args, "--each");
    options::repeat(&args, || {
        let window = read(input)?;
        let maps = maps(&window);
        Ok(if each { levels(&window, &maps) } else { report(&window, &maps) }.into_bytes())
    })
}

/// The times and speeds of a window, oldest first.
#[derive(Debug)]
pub struct Window<'a> {
    pub times: Vec<&'a str>,
    pub speeds_mph: Vec<Values>,
}

/// Reads a table whose heading is `time` and sensor numbers. A speed of 0 or nothing means that none was measured.
pub fn read(input: &[u8]) -> Result<Window<'_>, String> {
    let lines = text::lines(input)?;
    let (heading, rows) = lines.split_first().ok_or("the input is empty; give a table with a heading")?;
    let columns = sensor_columns(heading.1)?;
    if rows.is_empty() || rows.len() > INTERVALS_MAX {
        return Err(format!("the table has {} rows; wanted: 1 to {INTERVALS_MAX}", rows.len()));
    }
    let mut window = Window { times: Vec::with_capacity(rows.len()), speeds_mph: Vec::with_capacity(rows.len()) };
    for &(number, line) in rows {
        let mut fields = line.split(',');
        window.times.push(fields.next().unwrap_or("").trim());
        let mut speeds = vec![None; SENSORS];
        for &sensor in &columns {
            let id = SENSOR_IDS[sensor];
            let field = fields.next().ok_or_else(|| format!("line {number}: no speed for sensor {id}"))?.trim();
            if field.is_empty() {
                continue;
            }
            speeds[sensor] = match text::decimal(field) {
                Some(speed) if (0.0..200.0).contains(&speed) => (speed > 0.0).then_some(speed),
                _ => return Err(format!("line {number}: the speed of sensor {id} is `{field}`, not 0 to 200 mph")),
            };
        }
        if fields.next().is_some() {
            return Err(format!("line {number}: more speeds than sensors in the heading"));
        }
        window.speeds_mph.push(speeds);
    }
    Ok(window)
}

/// Which sensor each column after `time` belongs to.
fn sensor_columns(heading: &str) -> Result<Vec<usize>, String> {
    let mut names = heading.split(',').map(str::trim);
    if names.next() != Some("time") {
        return Err("line 1: the first column must be `time`".to_owned());
    }
    let mut columns = Vec::with_capacity(SENSORS);
    for name in names {
        let id = name.parse::<u32>().ok();
        match SENSOR_IDS.iter().position(|sensor| Some(*sensor) == id) {
            Some(sensor) if !columns.contains(&sensor) => columns.push(sensor),
            Some(_) => return Err(format!("line 1: sensor {name} stands twice")),
            None => return Err(format!("line 1: sensor `{name}` is not on this map")),
        }
    }
    Ok(columns)
}

/// The speed each sensor shows at the end of `intervals`, newer ones counting more.
pub fn recent(intervals: &[Values]) -> Values {
    let recent = |sensor: usize| {
        let (mut sum, mut weights, mut weight) = (0.0, 0.0, 1.0);
        for speeds in intervals.iter().rev().take(RECENT) {
            if let Some(speed) = speeds[sensor] {
                sum += weight * speed;
                weights += weight;
            }
            weight *= FADING;
        }
        (weights > 0.0).then(|| sum / weights)
    };
    (0..SENSORS).map(recent).collect()
}

/// The share of the free flow that is lost: 0 free, 1 standing.
pub fn lost(speeds_mph: &Values) -> Values {
    let lost = |(speed, &free): (&Option<f64>, &u8)| speed.map(|speed| (1.0 - speed / f64::from(free)).max(0.0));
    speeds_mph.iter().zip(&FREE_FLOW_MPH).map(lost).collect()
}

/// Gives sensors without a value their neighbours' average, outwards from those that have one.
pub fn filled(values: &Values) -> Values {
    let mut values = values.clone();
    for _ in 0..FILL_ROUNDS {
        if values.iter().all(Option::is_some) {
            break;
        }
        let around = around(&values);
        for (value, around) in values.iter_mut().zip(around) {
            *value = value.or(around);
        }
    }
    values
}

/// Every value leant towards its neighbours'.
fn smoothed(values: &Values) -> Values {
    let mut values = values.clone();
    for _ in 0..ROUNDS {
        let around = around(&values);
        for (value, around) in values.iter_mut().zip(around) {
            if let (Some(own), Some(around)) = (value.as_mut(), around) {
                *own += LEAN * (around - *own);
            }
        }
    }
    values
}

/// Each sensor's neighbours' average, nearer ones counting more.
fn around(values: &Values) -> Values {
    let mut sums = [(0.0, 0.0); SENSORS];
    let mut add = |to: u8, from: u8, weight: u8| {
        if let Some(value) = values[usize::from(from)] {
            let (sum, weights) = &mut sums[usize::from(to)];
            *sum += f64::from(weight) * value;
            *weights += f64::from(weight);
        }
    };
    for &(one, other, weight) in &EDGES {
        add(one, other, weight);
        add(other, one, weight);
    }
    sums.iter().map(|&(sum, weights)| (weights > 0.0).then(|| sum / weights)).collect()
}

fn level(lost: f64) -> &'static str {
    LEVELS.iter().rev().find(|(from, _)| lost >= *from).map_or("free", |(_, name)| name)
}

/// What each sensor has lost, at every interval of the window.
fn maps(window: &Window<'_>) -> Vec<Values> {
    (1..=window.times.len()).map(|end| smoothed(&filled(&lost(&recent(&window.speeds_mph[..end]))))).collect()
}

fn levels(window: &Window<'_>, maps: &[Values]) -> String {
    let mut output = String::from("time,hot_spots");
    LEVELS.iter().for_each(|(_, name)| output.push_str(&format!(",{name}")));
    output.push_str(",unknown\n");
    for (time, lost) in window.times.iter().zip(maps) {
        output.push_str(&format!("{time},{}", hot_spots(lost).len()));
        for count in counts(lost) {
            output.push_str(&format!(",{count}"));
        }
        output.push('\n');
    }
    output
}

/// How many sensors are at each level, and how many are not known.
fn counts(lost: &Values) -> [usize; LEVELS.len() + 1] {
    let mut counts = [0; LEVELS.len() + 1];
    for lost in lost {
        let at = lost.map_or(LEVELS.len(), |lost| LEVELS.iter().rposition(|(from, _)| lost >= *from).unwrap_or(0));
        counts[at] += 1;
    }
    counts
}

fn report(window: &Window<'_>, history: &[Values]) -> String {
    let newest = &history[history.len() - 1];
    let earlier = &history[history.len().saturating_sub(1 + TREND)];
    let speeds = recent(&window.speeds_mph);

    let mut output = String::from("sensor,speed_mph,free_flow_mph,lost,level,trend,congested_min\n");
    for sensor in 0..SENSORS {
        let speed = speeds[sensor].map_or("-".to_owned(), |speed| text::fixed(speed, 1));
        let head = format!("{},{speed},{}", SENSOR_IDS[sensor], FREE_FLOW_MPH[sensor]);
        match (newest[sensor], earlier[sensor]) {
            (Some(lost), Some(before)) => {
                let trend = trend(lost - before);
                let minutes = INTERVAL_MINUTES * congested_intervals(history, sensor);
                let shown = text::fixed(lost, 3);
                output.push_str(&format!("{head},{shown},{},{trend},{minutes}\n", level(lost)));
            }
            _ => output.push_str(&format!("{head},-,unknown,-,0\n")),
        }
    }
    push_summary(&mut output, window.times[window.times.len() - 1], newest);
    output
}

fn trend(change: f64) -> &'static str {
    if change >= TREND_MIN {
        "worse"
    } else if change <= -TREND_MIN {
        "better"
    } else {
        "same"
    }
}

/// For how many intervals up to now a sensor has been congested without a break.
fn congested_intervals(history: &[Values], sensor: usize) -> usize {
    let congested = |values: &&Values| matches!(values[sensor], Some(lost) if lost >= CONGESTED);
    history.iter().rev().take_while(congested).count()
}

fn push_summary(output: &mut String, time: &str, lost: &Values) {
    let hot_spots = hot_spots(lost);
    for (number, (sensors, sum)) in hot_spots.iter().enumerate() {
        let ids: Vec<String> = sensors.iter().map(|&sensor| SENSOR_IDS[sensor].to_string()).collect();
        let mean = text::fixed(sum / sensors.len() as f64, 3);
        output.push_str(&format!("# hot_spot={} lost={mean} sensors={}\n", number + 1, ids.join(" ")));
    }
    output.push_str(&format!("# time={time} hot_spots={}", hot_spots.len()));
    for (name, count) in LEVELS.iter().map(|(_, name)| *name).chain(["unknown"]).zip(counts(lost)) {
        output.push_str(&format!(" {name}={count}"));
    }
    output.push('\n');
}

/// Groups of near congested sensors with the sum of what they lose, the worst group first.
fn hot_spots(lost: &Values) -> Vec<(Vec<usize>, f64)> {
    let congested = |sensor: usize| matches!(lost[sensor], Some(lost) if lost >= CONGESTED);
    let mut group: Vec<usize> = (0..SENSORS).collect();
    let mut settled = false;
    while !settled {
        settled = true;
        for &(one, other, weight) in &EDGES {
            let (one, other) = (usize::from(one), usize::from(other));
            if f64::from(weight) >= NEAR * 255.0 && congested(one) && congested(other) && group[one] != group[other] {
                let joined = group[one].min(group[other]);
                group[one] = joined;
                group[other] = joined;
                settled = false;
            }
        }
    }
    let mut spots: Vec<(Vec<usize>, f64)> = Vec::new();
    for first in 0..SENSORS {
        let members: Vec<usize> = (0..SENSORS).filter(|&sensor| group[sensor] == first && congested(sensor)).collect();
        if !members.is_empty() {
            let sum = members.iter().filter_map(|&sensor| lost[sensor]).sum();
            // Put in its place at once; equal groups stay in the order of their first sensor. The few groups do not
            // need a sorting routine, which would be a tenth of the module's own code.
            let place = spots.iter().position(|(_, other)| *other < sum).unwrap_or(spots.len());
            spots.insert(place, (members, sum));
        }
    }
    spots
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(speed: impl Fn(usize, usize) -> f64, rows: usize) -> Vec<u8> {
        let ids: Vec<String> = SENSOR_IDS.iter().map(u32::to_string).collect();
        let mut table = format!("time,{}\n", ids.join(","));
        for row in 0..rows {
            let speeds: Vec<String> = (0..SENSORS).map(|sensor| text::fixed(speed(row, sensor), 1)).collect();
            table.push_str(&format!("t{row},{}\n", speeds.join(",")));
        }
        table.into_bytes()
    }

    fn map(table: &[u8]) -> String {
        String::from_utf8(run(&[], table).unwrap()).unwrap()
    }

    #[test]
    fn a_free_city_has_no_hot_spots() {
        let output = map(&table(|_, sensor| f64::from(FREE_FLOW_MPH[sensor]), 12));

        assert!(output.ends_with("# time=t11 hot_spots=0 free=207 slow=0 heavy=0 jam=0 unknown=0\n"), "{output}");
    }

    #[test]
    fn a_standing_city_is_one_jam_a_connected_part_and_has_been_for_an_hour() {
        let output = map(&table(|_, _| 3.0, 12));

        assert!(output.contains(" free=0 slow=0 heavy=0 jam=207 unknown=0\n"), "{output}");
        assert_eq!(output.lines().filter(|line| line.ends_with(",jam,same,60")).count(), SENSORS);
    }

    #[test]
    fn each_interval_has_a_line_that_counts_every_sensor() {
        let table = table(|row, _| if row < 2 { 3.0 } else { 100.0 }, 40);

        let output = String::from_utf8(run(&["--each".to_owned()], &table).unwrap()).unwrap();

        let lines: Vec<&str> = output.lines().collect();
        assert_eq!((lines.len(), lines[0]), (41, "time,hot_spots,free,slow,heavy,jam,unknown"));
        assert!(lines[1].starts_with("t0,") && lines[1].ends_with(",0,0,0,207,0"), "{}", lines[1]);
        assert_eq!(lines[40], "t39,0,207,0,0,0,0");
    }

    #[test]
    fn a_gap_is_filled_from_its_neighbours() {
        let silent = usize::from(EDGES[0].0);
        let output = map(&table(
            |_, sensor| {
                if sensor == silent {
                    0.0
                } else {
                    f64::from(FREE_FLOW_MPH[sensor])
                }
            },
            2,
        ));

        let id = SENSOR_IDS[silent];
        assert!(output.contains(&format!("{id},-,{},0.000,free,same,0\n", FREE_FLOW_MPH[silent])), "{output}");
    }

    #[test]
    fn wrong_input_names_the_place() {
        let good = String::from_utf8(table(|_, _| 60.0, 1)).unwrap();
        let error = |text: &str| run(&[], text.as_bytes()).unwrap_err();

        assert!(error("").contains("empty"));
        assert!(error("time,1\nt,5\n").contains("sensor `1` is not on this map"));
        assert!(error(good.lines().next().unwrap()).contains("0 rows"));
        assert!(error(&good.replacen("60.0", "-1", 1)).contains("`-1`"));
        assert!(error(&good.replacen("60.0,", "", 1)).contains("no speed for sensor"));
        assert!(error(&format!("{}\n", good.trim_end().to_owned() + ",1")).contains("more speeds"));
        let id = SENSOR_IDS[0];
        assert!(error(&format!("time,{id},{id}\nt,1,1\n")).contains("twice"));
    }
}
