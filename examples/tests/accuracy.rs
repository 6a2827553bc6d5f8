//! The modules keep the accuracy that README.md states, on data no model was trained on.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

use shoal_examples::workload::{five_users, Plan};
use shoal_examples::{anomaly, digit, occupancy, workload};

#[test]
fn occupancy_is_right_in_97_of_100_held_back_minutes() {
    let table = include_bytes!("../data/occupancy/test.csv");
    let rows = occupancy::read(table).unwrap();
    let labels = std::str::from_utf8(table).unwrap().lines().skip(1).map(|line| line.ends_with(",1"));

    let right = occupancy::judge(&rows).iter().zip(labels).filter(|((_, occupied), label)| occupied == label).count();

    assert!(right * 100 >= rows.len() * 97, "{right} of {}", rows.len());
}

#[test]
fn digits_are_heard_and_the_small_variant_loses_what_it_declares() {
    let mut right = [0.0, 0.0];
    let recordings = workload::held_back_digits();
    for (digit, _, file) in recordings {
        let samples = digit::wav::read(file).unwrap();
        for (count, scores) in right.iter_mut().zip([digit::scores_full(&samples), digit::scores_small(&samples)]) {
            *count += f64::from(u8::from(digit::best(&scores) == usize::from(*digit)));
        }
    }

    let share = right.map(|count| count / recordings.len() as f64);
    assert!(share[0] >= 0.95 && share[1] >= 0.9, "{share:?}");
    let voice = five_users(&Plan::default()).into_iter().find(|item| item.user == "voice").unwrap();
    assert_eq!(voice.variants[1].module, "digit_small");
    assert!((voice.variants[1].loss - (share[0] - share[1])).abs() < 0.001, "{share:?}");
}

#[test]
fn both_failures_after_training_are_found() {
    let table = include_bytes!("../data/factory/machine_temperature.csv");
    let readings = anomaly::read(table).unwrap();
    let windows = include_str!("../data/factory/failure_windows.csv").lines().skip(3);

    for window in windows {
        let (from, to) = window.split_once(',').unwrap();
        let first = readings.iter().position(|reading| reading.time >= from).unwrap();
        let last = readings.iter().rposition(|reading| reading.time <= to).unwrap();
        let values: Vec<f64> = readings[first..=last].iter().map(|reading| reading.value).collect();
        assert!(anomaly::scores(&values, &anomaly::model::NORMAL).iter().any(|&score| score >= 1.0), "{window}");
    }
}
