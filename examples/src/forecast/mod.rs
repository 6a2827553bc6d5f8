//! `forecast [--from N] [--passes N]`: a city's five-minute speeds in; each sensor's speed half an hour later, and
//! where signals should stay green for longer, out.
//!
//! One line of forecasts for each row from number N (counted from 0) on, without it for the last row only. Rows before
//! are history: the more of it, up to a week, the better. A row's forecast uses that row and earlier ones, never later.

pub mod features;
pub mod profiles;
pub mod signals;
pub mod trees;

use crate::congestion::{self, roads::SENSOR_IDS, Values, INTERVALS_MAX};
use crate::{options, text};
use features::City;

/// How far ahead, in intervals of five minutes.
pub const AHEAD: usize = 6;
pub const INTERVAL_MINUTES: usize = 5;
const SPEED_MPH_MAX: f64 = 100.0;

pub fn run(args: &[String], input: &[u8]) -> Result<Vec<u8>, String> {
    let (from, args) = options::split(args, "--from", INTERVALS_MAX as u64)?;
    options::repeat(&args, || {
        let window = congestion::read(input)?;
        let last = window.times.len() - 1;
        let from = from.map_or(last, |from| from as usize);
        if from > last {
            return Err(format!("`--from {from}`: the table has {} rows", last + 1));
        }
        let minutes = minutes(&window.times)?;
        Ok(report(&window, &minutes, from).into_bytes())
    })
}

/// The minute of the day of each row, from the clock time at the end of its first field.
fn minutes(times: &[&str]) -> Result<Vec<usize>, String> {
    let minute = |time: &&str| {
        let clock = time.rsplit([' ', 'T']).next()?;
        let (hour, rest) = clock.split_once(':')?;
        let (hour, minute) = (hour.parse::<usize>().ok()?, rest.get(..2)?.parse::<usize>().ok()?);
        (hour < 24 && minute < 60).then(|| 60 * hour + minute)
    };
    let read = |(row, time): (usize, &&str)| {
        minute(time)
            .ok_or_else(|| format!("row {row}: the time is `{time}`; wanted: a clock time, like 2012-03-06 07:35"))
    };
    times.iter().enumerate().map(read).collect()
}

fn report(window: &congestion::Window<'_>, minutes: &[usize], from: usize) -> String {
    let city = City::new(&window.speeds_mph, minutes, [&profiles::WEEKDAY, &profiles::WEEKEND]);
    let ids: Vec<String> = SENSOR_IDS.iter().map(u32::to_string).collect();
    let mut output = format!("time,{}\n", ids.join(","));
    let mut newest = Vec::new();
    for row in from..window.times.len() {
        newest = forecast(&city, row);
        output.push_str(window.times[row]);
        for &speed in &newest {
            output.push(',');
            output.push_str(&text::fixed(speed, 1));
        }
        output.push('\n');
    }
    let speeds: Values = newest.into_iter().map(Some).collect();
    output.push_str(&signals::report(&congestion::lost(&speeds)));
    output
}

/// Each sensor's speed [`AHEAD`] intervals after `row`, in mph.
pub fn forecast(city: &City, row: usize) -> Vec<f64> {
    let inputs = city.features(row);
    let speed = |(sensor, inputs): (usize, &features::Inputs)| {
        (city.speed(row, sensor) + trees::CHANGE.judge(inputs)).clamp(0.0, SPEED_MPH_MAX)
    };
    inputs.iter().enumerate().map(speed).collect()
}
