//! Learns engines' health and remaining life from engines 1 to 80 and prints how well engines 81 to 100 are judged.
//!
//! cargo run --release -p shoal-examples --example train_engine
//!
//! Also: five-fold cross-validation by engine, which chose nothing but the number of trees. Unseen engines are cut at
//! random cycles as in NASA's test set: 7 to 145 cycles before failure, at least 30 cycles old.
#![allow(clippy::expect_used)] // an offline tool over the data committed beside it: stopping is the right answer

mod common;

use std::io::Read;

use common::array;
use common::boosting::{self, Grown, Loss, Plan};
use common::random::Random;
use shoal_examples::engine::condition::{self, Condition};
use shoal_examples::engine::rows::{self, Engine, SENSORS};
use shoal_examples::engine::{health, rul};
use shoal_examples::text;

const ENGINES_LEARNT: usize = 80;
const FOLDS: usize = 5;
const CUTS: usize = 10;
/// Every second cycle is learnt from; neighbours say the same.
const STRIDE: usize = 2;
const YOUNGEST: usize = 20;
const BANDS: usize = 5;
const PLAN: Plan = Plan { loss: Loss::Square, trees: 160, depth: 4, rate: 0.06, rows: 0.5, inputs: 0.4, seed: 5 };

fn main() {
    let engines = engines();
    let (learnt, held_back) = engines.split_at(ENGINES_LEARNT);
    let (mean, spread) = normals(learnt);
    // The condition is taken with the spreads that were compiled in: after a change, run this twice.
    let errors = cross_validated(&engines);
    print_errors("five folds ", &errors);
    let low = lows(&errors);
    let life = grow(learnt);
    print_errors("held back  ", &judged(held_back, &life));
    let (weights, at_zero) = health_line(learnt);

    let body = [
        "use crate::trees::Trees;\n".to_owned(),
        "/// Average and spread of each sensor over all engines.".to_owned(),
        array("MEAN", "f64", &mean),
        array("SPREAD", "f64", &spread),
        "/// Weights of the sensors in an engine's health.".to_owned(),
        array("HEALTH", "f64", &weights),
        format!("pub const HEALTH_AT_ZERO: f64 = {at_zero:?};\n"),
        "/// How much lower the life of one engine in ten is than the answer; a band each fifth of the range."
            .to_owned(),
        array("LOW", "f64", &low),
        life.source("LIFE"),
    ];
    common::write("src/engine/model.rs", "engine", &body.join("\n"));
    let ends: Vec<f64> = held_back.iter().map(|engine| health::health(&condition::of(&engine.readings))).collect();
    let begins: Vec<f64> =
        held_back.iter().map(|engine| health::health(&condition::of(&engine.readings[..30]))).collect();
    let mean = |values: &[f64]| text::fixed(values.iter().sum::<f64>() / values.len() as f64, 2);
    println!("health of held back engines: {} after 30 cycles, {} at failure", mean(&begins), mean(&ends));
}

fn engines() -> Vec<Engine> {
    let mut table = Vec::new();
    let packed = common::read("data/factory/train_FD001.txt.gz");
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut table).expect("the file unpacks");
    rows::read(&table).expect("the table is valid")
}

fn normals(engines: &[Engine]) -> (Vec<f64>, Vec<f64>) {
    let count = engines.iter().map(|engine| engine.readings.len()).sum::<usize>() as f64;
    let sum = |value: &dyn Fn(usize) -> f64, sensor: usize| value(sensor) / count;
    let readings = || engines.iter().flat_map(|engine| &engine.readings);
    let mean: Vec<f64> = (0..SENSORS.len()).map(|s| sum(&|s| readings().map(|reading| reading[s]).sum(), s)).collect();
    let square = |s: usize| readings().map(|reading| (reading[s] - mean[s]) * (reading[s] - mean[s])).sum::<f64>();
    let spread = (0..SENSORS.len()).map(|s| sum(&square, s).sqrt()).collect();
    (mean, spread)
}

/// Rounded as it travels from `health` to `rul`.
fn condition_at(engine: &Engine, cycles: usize) -> Condition {
    let exact = condition::of(&engine.readings[..cycles]);
    exact.into_iter().map(|number| text::decimal(&text::fixed(number, condition::PLACES)).expect("a number")).collect()
}

fn grow(engines: &[Engine]) -> Grown {
    let (mut inputs, mut targets) = (Vec::new(), Vec::new());
    for engine in engines {
        for cycles in (YOUNGEST..=engine.readings.len()).step_by(STRIDE) {
            inputs.push(condition_at(engine, cycles).into_iter().map(|number| number as f32).collect());
            targets.push(((engine.readings.len() - cycles) as f64).min(rul::CAP) as f32);
        }
    }
    boosting::grow(&inputs, &targets, PLAN)
}

/// The answer and the truth for engines cut at random.
fn judged(engines: &[Engine], life: &Grown) -> Vec<(f64, f64)> {
    let mut random = Random(11);
    let mut judged = Vec::new();
    for engine in engines {
        let mut cuts = 0;
        while cuts < CUTS {
            let left = 7 + random.below(139);
            if let Some(cycles) = engine.readings.len().checked_sub(left).filter(|cycles| *cycles >= 30) {
                let answer = life.trees().judge(&condition_at(engine, cycles)).clamp(0.0, rul::CAP);
                judged.push((answer, left as f64));
                cuts += 1;
            }
        }
    }
    judged
}

fn cross_validated(engines: &[Engine]) -> Vec<(f64, f64)> {
    let mut all = Vec::new();
    for fold in 0..FOLDS {
        let part = |inside: bool| -> Vec<Engine> {
            let own = engines.iter().filter(|engine| (engine.number as usize % FOLDS == fold) == inside);
            own.cloned().collect()
        };
        all.extend(judged(&part(true), &grow(&part(false))));
    }
    all
}

fn print_errors(name: &str, judged: &[(f64, f64)]) {
    let rmse = |truth: &dyn Fn(f64) -> f64| {
        let squares: f64 = judged.iter().map(|(answer, left)| (answer - truth(*left)) * (answer - truth(*left))).sum();
        text::fixed((squares / judged.len() as f64).sqrt(), 2)
    };
    let bias = judged.iter().map(|(answer, left)| answer - left.min(rul::CAP)).sum::<f64>() / judged.len() as f64;
    println!(
        "{name}: {} cuts: RMSE {} cycles ({} against the uncapped truth), {} too high on average",
        judged.len(),
        rmse(&|left: f64| left.min(rul::CAP)),
        rmse(&|left| left),
        text::fixed(bias, 2),
    );
}

/// In each band of answers, the ninth decile of how much too high they are.
fn lows(judged: &[(f64, f64)]) -> Vec<f64> {
    let low = |band: usize| {
        let inside = |answer: f64| ((answer / rul::CAP * BANDS as f64) as usize).min(BANDS - 1) == band;
        let mut over: Vec<f64> = judged
            .iter()
            .filter(|(answer, _)| inside(*answer))
            .map(|(answer, left)| answer - left.min(rul::CAP))
            .collect();
        over.sort_by(f64::total_cmp);
        over[over.len() * 9 / 10].max(0.0)
    };
    (0..BANDS).map(low).collect()
}

/// Ridge regression of 1 for an engine's first cycles and 0 for its last on the sensors' averages.
fn health_line(engines: &[Engine]) -> (Vec<f64>, f64) {
    let width = SENSORS.len() + 1;
    let mut sums = vec![vec![0.0; width + 1]; width];
    for engine in engines {
        let life = engine.readings.len();
        for (cycles, health) in (15..=35).map(|cycles| (cycles, 1.0)).chain((life - 10..=life).map(|c| (c, 0.0))) {
            let condition = condition::of(&engine.readings[..cycles]);
            let mut row = condition::averages(&condition, 1).to_vec();
            row.push(1.0);
            for one in 0..width {
                for other in 0..width {
                    sums[one][other] += row[one] * row[other];
                }
                sums[one][width] += row[one] * health;
            }
        }
    }
    for (one, row) in sums.iter_mut().enumerate() {
        row[one] += 1.0;
    }
    let mut weights = common::solved(sums);
    let at_zero = weights.pop().expect("the constant");
    (weights, at_zero)
}
