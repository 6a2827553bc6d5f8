//! Answers against theory: how far off they are, and how well they tell two neighbouring data sets apart.

use std::collections::BTreeMap;

use super::super::bits::tests::Seeded;
use super::super::declaration::Declaration;
use super::super::declaration::tests::declaration;
use super::super::query::Noise;
use super::super::rows::Rows;
use super::*;

fn with_delta() -> Declaration {
    let mut declared = declaration();
    declared.budget.delta = Some("0.000001".parse().unwrap());
    declared
}

fn epsilon(text: &str) -> Noise {
    Noise::Epsilon(text.parse().unwrap())
}

fn rho(text: &str) -> Noise {
    Noise::Rho(text.parse().unwrap())
}

/// Answers to the same question, so many times.
fn answers(declared: Declaration, query: &str, noise: Noise, rows: &str, times: usize, seed: u64) -> Vec<Vec<Figure>> {
    let terms = declared.check().unwrap();
    let measurement = Measurement::new(&terms, query.parse().unwrap(), noise).unwrap();
    let mut source = Seeded::new(seed);
    let mut bits = Bits::of(&mut source);
    let mut once = || {
        let mut reading = Rows::new(&measurement);
        reading.feed(rows.as_bytes()).unwrap();
        reading.end().unwrap().blur(&mut bits).unwrap()
    };
    (0..times).map(|_| once()).collect()
}

fn street(households: u32) -> String {
    let row = |n: u32| format!("h{n},{}.{},{}\n", 10 + n % 30, n % 10, if n.is_multiple_of(3) { "mon" } else { "tue" });
    (0..households).map(row).collect()
}

/// A figure is off by more than it says once in twenty times, at most.
#[test]
fn figures_are_as_far_off_as_they_say() {
    let rows = street(200);
    let exact: f64 = (0..200).map(|n| f64::from(10 + n % 30) + f64::from(n % 10) / 10.0).sum();
    for (query, noise, truth) in [
        ("sum", epsilon("1"), exact),
        ("sum", rho("0.01"), exact),
        ("mean", epsilon("2"), exact / 200.0),
        ("mean", rho("0.05"), exact / 200.0),
        ("count", epsilon("0.5"), 200.0),
        ("subjects", rho("0.5"), 200.0),
    ] {
        let all = answers(with_delta(), query, noise, &rows, 2_000, 1);

        let misses = all
            .iter()
            .filter(|figures| (figures[0].value.to_f64() - truth).abs() > figures[0].error_95.to_f64() + 1e-9);
        // 100 are expected, at most; four standard deviations more.
        let misses = misses.count();
        assert!(misses <= 140, "{query} {noise:?}: {misses} of 2000");
        // A few whole steps are a coarse interval, and that of a mean is a bound.
        let is_coarse = query == "mean" || all[0][0].error_95.to_f64() < 10.0;
        assert!(is_coarse || misses >= 40, "{query} {noise:?}: {misses}: the interval is too wide");
        let mean = all.iter().map(|figures| figures[0].value.to_f64()).sum::<f64>() / 2_000.0;
        assert!((mean - truth).abs() < all[0][0].error_95.to_f64() / 10.0, "{query}: {mean} instead of {truth}");
    }
}

#[test]
fn figures_are_named_and_in_the_unit_of_the_value() {
    let names = |query: &str| -> Vec<String> {
        let all = answers(declaration(), query, epsilon("1"), &street(10), 1, 1);
        all[0].iter().map(|figure| figure.name.clone()).collect()
    };

    assert_eq!(names("histogram"), ["mon", "tue"]);
    assert_eq!(names("histogram:10,20.5"), ["below 10", "10 to 20.5", "from 20.5"]);
    assert_eq!(names("quantile:0.9"), ["quantile 0.9"]);
    let sum = &answers(declaration(), "sum", epsilon("1"), &street(10), 1, 1)[0][0];
    assert_eq!((sum.unit.as_str(), sum.error_unit.as_str()), ("kWh", "kWh"));
    // Laplace of scale 7 · 60: ln 20 times that.
    assert!((sum.error_95.to_f64() - 420.0 * 20f64.ln()).abs() < 0.2, "{sum:?}");
}

/// The exponential mechanism chooses each point as often as its formula says.
#[test]
fn a_quantile_is_chosen_as_the_formula_says() {
    let mut declared = declaration();
    declared.rows_per_subject = 1;
    let rows = "a,0\nb,12\nc,20\nd,20\ne,31\nf,60\n";
    let times = 40_000;

    let all = answers(declared, "quantile:0.5:20", epsilon("1.5"), rows, times, 3);

    // Points 0, 20, 40, 60; of six rows 1, 4, 5, 6 are at most, and 0, 2, 5, 5 below each: 3 are wanted.
    let losses = [2.0, 0.0, 2.0, 2.0f64];
    // The median's share is 5/10, so its ranks change by one half a row: exp(-ε · loss / (2 · 0.5)).
    let weights: Vec<f64> = losses.iter().map(|loss| (-1.5 * loss / (2.0 * 0.5)).exp()).collect();
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    all.iter().for_each(|figures| *counts.entry(figures[0].value.to_string()).or_default() += 1.0);
    for (point, weight) in ["0", "20", "40", "60"].iter().zip(&weights) {
        let expected = times as f64 * weight / weights.iter().sum::<f64>();
        let seen = counts.get(*point).copied().unwrap_or_default();
        assert!((seen - expected).abs() < 5.0 * expected.sqrt(), "{point}: {seen} instead of {expected}");
    }
}

/// The promise itself, measured: no answer is more than e^ε times as likely with one subject as without.
#[test]
fn answers_hardly_tell_whether_one_subject_was_there() {
    let (with, without) = (street(20) + "x,60,mon\nx,60,mon\n", street(20));
    let mut declared = declaration();
    declared.rows_per_subject = 2;
    declared.value.resolution = "20".parse().unwrap();
    for query in ["count", "sum", "subjects", "histogram", "quantile:0.5:20"] {
        let times = 100_000;
        let count = |rows: &str, seed| {
            let mut counts: BTreeMap<String, f64> = BTreeMap::new();
            for figures in answers(declared.clone(), query, epsilon("1"), rows, times, seed) {
                let answer: Vec<String> = figures.iter().map(|figure| figure.value.to_string()).collect();
                *counts.entry(answer.join(" ")).or_default() += 1.0;
            }
            counts
        };

        let (here, gone) = (count(&with, 5), count(&without, 6));

        let mut compared = 0;
        for (answer, seen) in here.iter().filter(|(_, seen)| **seen >= 400.0) {
            let other = gone.get(answer).copied().unwrap_or_default();
            let ratio = (seen / other.max(1.0)).ln().abs();
            // Of counts this large, five standard deviations.
            let slack = 5.0 * (1.0 / seen + 1.0 / other.max(1.0)).sqrt();
            assert!(ratio <= 1.0 + slack, "{query}: {answer} {seen} times with, {other} without");
            compared += 1;
        }
        assert!(compared >= 2, "{query}: nothing was compared");
    }
}

#[test]
fn what_a_mean_is_without_rows_is_within_the_bounds() {
    for figures in answers(declaration(), "mean", epsilon("0.1"), "", 200, 9) {
        assert!((0.0..=60.0).contains(&figures[0].value.to_f64()), "{figures:?}");
    }
}
