//! Learns usual days and how speeds change within half an hour, and prints how well other days are forecast.
//!
//! cargo run --release -p shoal-examples --example train_forecast
//!
//! The shipped model has seen Thursday 1 to Monday 5 March 2012; Tuesday and Wednesday are held back. Each day that is
//! learnt from is told by profiles of the other days, as a day of another week would be. Part of the learning is done
//! on speeds with gaps and with a clock that is wrong, so that neither misleads.
#![allow(clippy::expect_used)] // an offline tool over the data committed beside it: stopping is the right answer

mod common;

use common::boosting::{self, Grown, Loss, Plan};
use common::random::Random;
use shoal_examples::congestion::{self, roads::SENSORS, Values};
use shoal_examples::forecast::features::{City, Profile, SLOTS};
use shoal_examples::forecast::AHEAD;
use shoal_examples::text;

const DAYS: usize = 7;
const DAY_ROWS: usize = 288;
/// Saturday and Sunday.
const WEEKEND: [usize; 2] = [2, 3];
const HELD_BACK: [usize; 2] = [5, 6];
/// Every so many rows are learnt from, on each kind of speeds.
const STRIDE: usize = 4;
const PLAN: Plan = Plan { loss: Loss::Absolute, trees: 220, depth: 5, rate: 0.12, rows: 0.3, inputs: 0.4, seed: 3 };

fn main() {
    let speeds = speeds();
    let all = std::env::args().any(|arg| arg == "--all-days");
    if all {
        for day in 0..DAYS {
            let learnt: Vec<usize> = (0..DAYS).filter(|&other| other != day).collect();
            let grown = grow(&speeds, &learnt);
            judge(&format!("day {day}"), &speeds, &[day], &learnt, &grown);
        }
        return;
    }
    let learnt: Vec<usize> = (0..DAYS).filter(|day| !HELD_BACK.contains(day)).collect();
    let grown = grow(&speeds, &learnt);
    judge("held back", &speeds, &HELD_BACK, &learnt, &grown);
    let [weekday, weekend] = profiles(&speeds, &learnt);
    let body = [
        "use super::features::Profile;\n".to_owned(),
        "/// Median speeds of each quarter of an hour on a weekday, in half miles an hour: all sensors, slot after slot.".to_owned(),
        profile("WEEKDAY", &weekday),
        "/// The same on a day of the weekend.".to_owned(),
        profile("WEEKEND", &weekend),
    ];
    common::write("src/forecast/profiles.rs", "forecast", &body.join("\n"));
    let body = format!(
        "use crate::trees::Trees;\n\n/// Change of speed within half an hour, in mph.\n{}",
        grown.source("CHANGE")
    );
    common::write("src/forecast/trees.rs", "forecast", &body);
}

fn profile(name: &str, profile: &Profile) -> String {
    let text = common::array(name, "u8", profile.as_slice());
    text.replacen(&format!("[u8; {}]", profile.len()), "Profile", 1).replacen("pub const", "pub static", 1)
}

fn speeds() -> Vec<Values> {
    let mut speeds = Vec::new();
    for day in 1..=DAYS {
        let table = common::read(&format!("data/city/speeds_2012-03-0{day}.csv"));
        speeds.extend(congestion::read(&table).expect("the table is valid").speeds_mph);
    }
    speeds
}

/// A usual weekday and a usual day of the weekend, from some of the days.
fn profiles(speeds: &[Values], days: &[usize]) -> [Box<Profile>; 2] {
    let of = |weekend: bool| {
        let own: Vec<usize> = days.iter().copied().filter(|day| WEEKEND.contains(day) == weekend).collect();
        // Without a day of its kind, any day is better than none.
        let own = if own.is_empty() { days.to_vec() } else { own };
        let mut profile = Box::new([0u8; SLOTS * SENSORS]);
        for slot in 0..SLOTS {
            for sensor in 0..SENSORS {
                let per_slot = DAY_ROWS / SLOTS;
                let mut means: Vec<f64> = Vec::new();
                for day in &own {
                    let first = day * DAY_ROWS + slot * per_slot;
                    let rows = first.saturating_sub(1)..(first + per_slot + 1).min(speeds.len());
                    let seen: Vec<f64> = rows.filter_map(|row| speeds[row][sensor]).collect();
                    if !seen.is_empty() {
                        means.push(seen.iter().sum::<f64>() / seen.len() as f64);
                    }
                }
                means.sort_by(f64::total_cmp);
                let half = means.len() / 2;
                let middle = if means.len() % 2 == 1 { means[half] } else { (means[half - 1] + means[half]) / 2.0 };
                profile[slot * SENSORS + sensor] = (2.0 * middle + 0.5) as u8;
            }
        }
        profile
    };
    [of(false), of(true)]
}

/// The speeds as they were, with gaps, or as they were under a wrong clock.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Whole,
    Gaps,
    WrongClock,
}

fn minutes(kind: Kind) -> Vec<usize> {
    let late = if kind == Kind::WrongClock { 5 * 60 } else { 0 };
    (0..DAYS * DAY_ROWS).map(|row| (row % DAY_ROWS * 5 + late) % (24 * 60)).collect()
}

/// Single sensors fail for up to six hours, the whole city for up to three.
fn with_gaps(speeds: &[Values]) -> Vec<Values> {
    let mut random = Random(17);
    let mut speeds = speeds.to_vec();
    for _ in 0..SENSORS * 8 {
        let (sensor, first, rows) = (random.below(SENSORS), random.below(speeds.len()), 1 + random.below(72));
        speeds.iter_mut().skip(first).take(rows).for_each(|row| row[sensor] = None);
    }
    for _ in 0..12 {
        let (first, rows) = (random.below(speeds.len()), 1 + random.below(36));
        speeds.iter_mut().skip(first).take(rows).for_each(|row| row.iter_mut().for_each(|speed| *speed = None));
    }
    speeds
}

fn grow(speeds: &[Values], days: &[usize]) -> Grown {
    let (mut inputs, mut targets) = (Vec::new(), Vec::new());
    for kind in [Kind::Whole, Kind::Gaps, Kind::WrongClock] {
        let seen = if kind == Kind::Gaps { with_gaps(speeds) } else { speeds.to_vec() };
        let minutes = minutes(kind);
        for &day in days {
            let others: Vec<usize> = days.iter().copied().filter(|&other| other != day).collect();
            let [weekday, weekend] = profiles(speeds, &others);
            // As many days before as there happen to be; also none, as at the start of a table.
            let first = if kind == Kind::Gaps { day * DAY_ROWS } else { 0 };
            let city = City::new(&seen[first..], &minutes[first..], [&weekday, &weekend]);
            let last = ((day + 1) * DAY_ROWS).min(speeds.len() - AHEAD);
            for row in (day * DAY_ROWS..last).skip(day % STRIDE).step_by(STRIDE) {
                for (sensor, features) in city.features(row - first).iter().enumerate() {
                    if let Some(speed) = speeds[row + AHEAD][sensor] {
                        inputs.push(features.iter().map(|&value| value as f32).collect());
                        targets.push((speed - city.speed(row - first, sensor)) as f32);
                    }
                }
            }
        }
    }
    boosting::grow(&inputs, &targets, PLAN)
}

/// Prints the mean absolute errors of the model and of persistence on some days.
fn judge(name: &str, speeds: &[Values], days: &[usize], learnt: &[usize], grown: &Grown) {
    let [weekday, weekend] = profiles(speeds, learnt);
    for (kind, history) in [(Kind::Whole, true), (Kind::Whole, false), (Kind::Gaps, true), (Kind::WrongClock, true)] {
        let seen = if kind == Kind::Gaps { with_gaps(speeds) } else { speeds.to_vec() };
        let (mut model, mut persistence, mut count) = (0.0, 0.0, 0.0);
        let minutes = minutes(kind);
        for &day in days {
            let first = if history { 0 } else { day * DAY_ROWS };
            let city = City::new(&seen[first..], &minutes[first..], [&weekday, &weekend]);
            for row in day * DAY_ROWS..((day + 1) * DAY_ROWS).min(speeds.len() - AHEAD) {
                for (sensor, features) in city.features(row - first).iter().enumerate() {
                    let own = city.speed(row - first, sensor);
                    if let Some(speed) = speeds[row + AHEAD][sensor] {
                        model += (own + grown.trees().judge(features) - speed).abs();
                        persistence += (own - speed).abs();
                        count += 1.0;
                    }
                }
            }
        }
        println!(
            "{name}, {}, {}: MAE {} mph, persistence {} mph, {}% less, {count} targets",
            match kind {
                Kind::Whole => "as measured",
                Kind::Gaps => "with gaps",
                Kind::WrongClock => "clock five hours off",
            },
            if history { "days before known" } else { "first day of a table" },
            text::fixed(model / count, 3),
            text::fixed(persistence / count, 3),
            text::fixed(100.0 * (1.0 - model / persistence), 1),
        );
    }
}
