//! Trains the occupancy model on `data/occupancy/train.csv` and prints its accuracy on `test.csv`, other days.
//!
//! cargo run --release -p shoal-examples --example train_occupancy
#![allow(clippy::expect_used)] // an offline tool over the data committed beside it: stopping is the right answer

mod common;

use shoal_examples::{occupancy, text};

const ROUNDS: usize = 4000;
const RATE: f64 = 2.0;

fn main() {
    let train = common::read("data/occupancy/train.csv");
    let test = common::read("data/occupancy/test.csv");
    let rows = occupancy::read(&train).expect("the training table is valid");
    let labels = labels(&train);

    let mut weights = [0.0; occupancy::FEATURES];
    for _ in 0..ROUNDS {
        let mut slope = [0.0; occupancy::FEATURES];
        for (row, &label) in rows.iter().zip(&labels) {
            let miss = occupancy::probability(&weights, &row.readings) - f64::from(u8::from(label));
            for (sum, feature) in slope.iter_mut().zip(occupancy::features(&row.readings)) {
                *sum += miss * feature;
            }
        }
        for (weight, sum) in weights.iter_mut().zip(slope) {
            *weight -= RATE * sum / rows.len() as f64;
        }
    }
    common::write("src/occupancy/model.rs", "occupancy", &common::array("WEIGHTS", "f64", &weights));

    // The model that was compiled in judges here: after a change, run this twice.
    for (name, table) in [("trained on", &train), ("held back ", &test)] {
        let rows = occupancy::read(table).expect("the table is valid");
        let labels = self::labels(table);
        let judged = occupancy::judge(&rows);
        let right = judged.iter().zip(&labels).filter(|((_, occupied), label)| occupied == *label).count();
        let occupied = labels.iter().filter(|label| **label).count();
        println!(
            "{name}: {right} of {} rows right ({}%); always `empty` would get {}%",
            rows.len(),
            text::fixed(100.0 * right as f64 / rows.len() as f64, 2),
            text::fixed(100.0 - 100.0 * occupied as f64 / rows.len() as f64, 2),
        );
    }
}

fn labels(table: &[u8]) -> Vec<bool> {
    let lines = text::lines(table).expect("the table is text");
    lines.iter().skip(1).map(|(_, line)| line.ends_with(",1")).collect()
}
