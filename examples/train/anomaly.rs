//! Learns what is normal from the first half of the machine's record and prints how the second half is judged.
//!
//! cargo run --release -p shoal-examples --example train_anomaly
//!
//! The labelled windows are used to leave failures out of what is learnt, and to count: a window is found when any
//! reading inside is called abnormal; an abnormal reading outside every window is a false alarm.
#![allow(clippy::expect_used)] // an offline tool over the data committed beside it: stopping is the right answer

mod common;

use shoal_examples::anomaly::{self, model, Normal, Reading, SPANS};
use shoal_examples::text;

/// What a task sees: the last day. The demonstration asks every six hours and reads the newest six.
const WINDOW: usize = 288;
const STEP: usize = 72;
/// Room beyond the most extreme normal average seen in training.
const MARGIN: f64 = 1.1;

fn main() {
    let table = common::read("data/factory/machine_temperature.csv");
    let readings = anomaly::read(&table).expect("the table is valid");
    let windows = windows();
    let (first, second) = readings.split_at(readings.len() / 2);

    let normal = SPANS.map(|span| learn(first, &windows, span));
    let body = format!(
        "use super::Normal;\n\n#[rustfmt::skip]\npub const NORMAL: [Normal; 2] = [\n{}];\n",
        normal
            .map(|n| format!("    Normal {{ level: {:?}, below: {:?}, above: {:?} }},\n", n.level, n.below, n.above))
            .concat(),
    );
    common::write("src/anomaly/model.rs", "anomaly", &body);

    // The model that was compiled in judges here: after a change, run this twice.
    measure("learnt from", first, &windows);
    measure("held back  ", second, &windows);
}

fn windows() -> Vec<(String, String)> {
    let table = common::read("data/factory/failure_windows.csv");
    let lines = text::lines(&table).expect("the table is text");
    let window = |line: &str| line.split_once(',').map(|(from, to)| (from.to_owned(), to.to_owned()));
    lines.iter().skip(1).filter_map(|(_, line)| window(line)).collect()
}

fn inside(windows: &[(String, String)], time: &str) -> Option<usize> {
    // Times are written year first, so they sort as text.
    windows.iter().position(|(from, to)| from.as_str() <= time && time <= to.as_str())
}

fn learn(readings: &[Reading<'_>], windows: &[(String, String)], span: usize) -> Normal {
    let values: Vec<f64> = readings.iter().map(|reading| reading.value).collect();
    let mut well: Vec<f64> = anomaly::averages(&values, span)
        .into_iter()
        .zip(readings)
        .skip(span - 1)
        .filter(|(_, reading)| inside(windows, reading.time).is_none())
        .map(|(average, _)| average)
        .collect();
    well.sort_by(f64::total_cmp);
    let level = well[well.len() / 2];
    let (lowest, highest) = (well[well.len() / 1000], well[well.len() - 1 - well.len() / 1000]);
    Normal { level, below: MARGIN * (level - lowest), above: MARGIN * (highest - level) }
}

fn measure(name: &str, readings: &[Reading<'_>], windows: &[(String, String)]) {
    let values: Vec<f64> = readings.iter().map(|reading| reading.value).collect();
    let mut found = vec![None; windows.len()];
    let mut present = vec![0usize; windows.len()];
    let (mut alarms, mut episodes, mut outside, mut last) = (0, 0, 0, None);
    for end in (WINDOW..=values.len()).step_by(STEP) {
        let scores = anomaly::scores(&values[end - WINDOW..end], &model::NORMAL);
        for (score, reading) in scores.iter().zip(&readings[end - WINDOW..end]).skip(WINDOW - STEP) {
            let abnormal = *score >= 1.0;
            match inside(windows, reading.time) {
                Some(window) => {
                    if abnormal && found[window].is_none() {
                        found[window] = Some(present[window]);
                    }
                    present[window] += 1;
                    last = None;
                }
                None => {
                    outside += 1;
                    alarms += usize::from(abnormal);
                    episodes += usize::from(abnormal && last != Some(true));
                    last = Some(abnormal);
                }
            }
        }
    }
    let labelled: Vec<usize> = (0..windows.len()).filter(|&n| present[n] > 0).collect();
    let delays: Vec<String> = labelled
        .iter()
        .map(|&n| {
            found[n].map_or("not found".to_owned(), |readings| format!("{} h", text::fixed(readings as f64 / 12.0, 1)))
        })
        .collect();
    println!(
        "{name}: {} of {} failure windows found (after {}); false alarms: {alarms} of {outside} readings ({}%) in {episodes} episodes",
        labelled.iter().filter(|&&n| found[n].is_some()).count(),
        labelled.len(),
        delays.join(", "),
        text::fixed(100.0 * alarms as f64 / outside as f64, 2),
    );
}
