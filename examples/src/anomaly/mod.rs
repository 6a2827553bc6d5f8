//! `anomaly [--passes N]`: a window of machine temperatures in; how abnormal each reading is out.
//!
//! A machine's single reading says little: it warms and cools all day. Its average over an hour, and over six, hardly
//! moves while it is well. Each is compared with what it does in normal weeks (learnt by `train/anomaly.rs`); the score
//! is the larger of the two distances, and from 1.00 on the machine is called abnormal.

pub mod model;

use crate::{options, text};

/// Lengths of the averages, in readings of five minutes: an hour and six hours.
pub const SPANS: [usize; 2] = [12, 72];
pub const READING_MINUTES: u32 = 5;

/// What one average does while the machine is well.
#[derive(Debug, Clone, Copy)]
pub struct Normal {
    pub level: f64,
    /// How far below and above the level still counts as normal.
    pub below: f64,
    pub above: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Reading<'a> {
    pub time: &'a str,
    pub value: f64,
}

pub fn run(args: &[String], input: &[u8]) -> Result<Vec<u8>, String> {
    options::repeat(args, || {
        let readings = read(input)?;
        let values: Vec<f64> = readings.iter().map(|reading| reading.value).collect();
        Ok(report(&readings, &scores(&values, &model::NORMAL)).into_bytes())
    })
}

/// Reads a table with a heading that names `time` and `temperature`.
pub fn read(input: &[u8]) -> Result<Vec<Reading<'_>>, String> {
    let lines = text::lines(input)?;
    let (heading, rows) = lines.split_first().ok_or("the input is empty; give a table with a heading")?;
    let [time, temperature] = text::columns(heading.1, ["time", "temperature"])?;
    if rows.is_empty() {
        return Err("the table has a heading and no rows".to_owned());
    }
    let mut readings = Vec::with_capacity(rows.len());
    for &(number, line) in rows {
        readings.push(Reading {
            time: text::field(number, line, time, "time")?,
            value: text::number(number, line, temperature, "temperature")?,
        });
    }
    Ok(readings)
}

/// The average of the last `span` readings at each reading; of fewer at the beginning.
pub fn averages(values: &[f64], span: usize) -> Vec<f64> {
    let average = |end: usize| {
        let window = &values[(end + 1).saturating_sub(span)..=end];
        window.iter().sum::<f64>() / window.len() as f64
    };
    (0..values.len()).map(average).collect()
}

/// Each reading's score; 1 is the border of the abnormal.
pub fn scores(values: &[f64], normal: &[Normal; 2]) -> Vec<f64> {
    let mut scores = vec![0.0f64; values.len()];
    for (span, normal) in SPANS.into_iter().zip(normal) {
        // An average of fewer readings moves more: it counts once it is complete.
        let complete = averages(values, span).into_iter().enumerate().skip(span - 1);
        for (index, average) in complete {
            let distance = average - normal.level;
            let allowed = if distance < 0.0 { normal.below } else { normal.above };
            scores[index] = scores[index].max(distance.abs() / allowed);
        }
    }
    scores
}

fn report(readings: &[Reading<'_>], scores: &[f64]) -> String {
    let mut output = String::from("time,temperature,score,state\n");
    let mut worst = 0;
    for (index, (reading, &score)) in readings.iter().zip(scores).enumerate() {
        if score > scores[worst] {
            worst = index;
        }
        let state = if score >= 1.0 { "abnormal" } else { "normal" };
        let (value, shown) = (text::fixed(reading.value, 2), text::fixed(score, 3));
        output.push_str(&format!("{},{value},{shown},{state}\n", reading.time));
    }
    let abnormal = scores.iter().filter(|&&score| score >= 1.0).count();
    let highest = text::fixed(scores[worst], 3);
    output.push_str(&format!(
        "# readings={} abnormal={abnormal} highest={highest} at={}\n",
        readings.len(),
        readings[worst].time
    ));
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_cover_the_last_readings() {
        assert_eq!(averages(&[1.0, 3.0, 5.0, 9.0], 2), [1.0, 2.0, 4.0, 7.0]);
    }

    #[test]
    fn a_cold_machine_is_abnormal_after_an_hour_and_a_usual_one_is_not() {
        let mut values = vec![model::NORMAL[0].level; 100];
        assert!(scores(&values, &model::NORMAL).iter().all(|&score| score < 1.0));

        values.extend([0.0; 12]);

        assert!(scores(&values, &model::NORMAL)[111] > 1.0);
    }

    #[test]
    fn wrong_input_names_the_place() {
        assert!(run(&[], b"").unwrap_err().contains("empty"));
        assert!(run(&[], b"time,temperature\n").unwrap_err().contains("no rows"));
        assert_eq!(run(&[], b"time,temperature\na,b\n").unwrap_err(), "line 2: temperature is `b`, not a number");
    }
}
