//! `occupancy [--passes N]`: a room's air and light, minute by minute, in; occupied or empty out.
//!
//! A logistic regression on four readings, trained offline by `train/occupancy.rs`. Rows are judged one by one, then
//! a row that both neighbours contradict is taken as noise and follows them.

pub mod model;

use crate::{math, options, text};

pub const READINGS: [&str; 4] = ["temperature", "humidity", "light", "co2"];
/// The readings as the model sees them, and a constant.
pub const FEATURES: usize = 5;

/// A minute of one room.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<'a> {
    pub time: &'a str,
    pub readings: [f64; 4],
}

pub fn run(args: &[String], input: &[u8]) -> Result<Vec<u8>, String> {
    options::repeat(args, || {
        let rows = read(input)?;
        Ok(report(&rows, &judge(&rows)).into_bytes())
    })
}

/// Reads a table with a heading that names `time` and the four readings.
pub fn read(input: &[u8]) -> Result<Vec<Row<'_>>, String> {
    let lines = text::lines(input)?;
    let (heading, rows) = lines.split_first().ok_or("the input is empty; give a table with a heading")?;
    let [time, readings @ ..] = text::columns(heading.1, ["time", "temperature", "humidity", "light", "co2"])?;
    if rows.is_empty() {
        return Err("the table has a heading and no rows".to_owned());
    }
    let row = |&(number, line): &(usize, &'_ str)| -> Result<_, String> {
        let mut values = [0.0; 4];
        for ((value, place), name) in values.iter_mut().zip(readings).zip(READINGS) {
            *value = text::number(number, line, place, name)?;
        }
        Ok(values)
    };
    let mut table = Vec::with_capacity(rows.len());
    for entry in rows {
        let readings = row(entry)?;
        let time = text::field(entry.0, entry.1, time, "time")?;
        table.push(Row { time, readings });
    }
    Ok(table)
}

/// Readings scaled to about -1..1, and 1 for the constant.
pub fn features(readings: &[f64; 4]) -> [f64; FEATURES] {
    let [temperature, humidity, light, co2] = *readings;
    [(temperature - 21.0) / 2.0, (humidity - 26.0) / 8.0, (light - 250.0) / 250.0, (co2 - 700.0) / 400.0, 1.0]
}

/// How likely somebody was there, by this row alone.
pub fn probability(weights: &[f64; FEATURES], readings: &[f64; 4]) -> f64 {
    let score: f64 = weights.iter().zip(features(readings)).map(|(weight, feature)| weight * feature).sum();
    math::logistic(score)
}

/// Each row's probability and whether the room counts as occupied.
pub fn judge(rows: &[Row<'_>]) -> Vec<(f64, bool)> {
    let alone: Vec<f64> = rows.iter().map(|row| probability(&model::WEIGHTS, &row.readings)).collect();
    let occupied = |index: usize| alone[index] >= 0.5;
    let settled = |index: usize| {
        let inside = index > 0 && index + 1 < alone.len();
        if inside && occupied(index - 1) == occupied(index + 1) {
            occupied(index - 1)
        } else {
            occupied(index)
        }
    };
    alone.iter().enumerate().map(|(index, &probability)| (probability, settled(index))).collect()
}

fn report(rows: &[Row<'_>], judged: &[(f64, bool)]) -> String {
    let mut output = String::from("time,state,probability\n");
    for (row, &(probability, occupied)) in rows.iter().zip(judged) {
        output.push_str(row.time);
        output.push_str(if occupied { ",occupied," } else { ",empty," });
        output.push_str(&text::fixed(probability, 4));
        output.push('\n');
    }
    let count = judged.iter().filter(|(_, occupied)| *occupied).count();
    let changes = judged.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    let share = text::fixed(100.0 * count as f64 / judged.len() as f64, 1);
    output.push_str(&format!("# rows={} occupied={count} share={share}% changes={changes}\n", judged.len()));
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str = "time,temperature,humidity,light,co2\n";

    fn judged(rows: &str) -> Result<String, String> {
        run(&[], format!("{HEADING}{rows}").as_bytes()).map(|output| String::from_utf8(output).unwrap())
    }

    #[test]
    fn a_lit_room_with_much_co2_is_occupied_and_a_dark_one_empty() {
        let output = judged("10:00,22.5,27,450,1000\n23:00,20.5,25,0,450\n").unwrap();

        assert!(output.contains("10:00,occupied,"), "{output}");
        assert!(output.contains("23:00,empty,"), "{output}");
        assert!(output.ends_with("# rows=2 occupied=1 share=50.0% changes=1\n"), "{output}");
    }

    #[test]
    fn a_single_dark_minute_is_noise() {
        let lit = "a,22.5,27,450,1000\n";
        let output = judged(&format!("{lit}b,20.5,25,0,450\n{lit}")).unwrap();

        assert!(output.contains("b,occupied,0."), "{output}");
    }

    #[test]
    fn wrong_input_names_the_place() {
        assert!(run(&[], b"").unwrap_err().contains("empty"));
        assert!(run(&[], b"time,light\n").unwrap_err().contains("temperature"));
        assert!(judged("").unwrap_err().contains("no rows"));
        assert_eq!(judged("a,1,2,x,4\n").unwrap_err(), "line 2: light is `x`, not a number");
        assert_eq!(judged("a,1,2\n").unwrap_err(), "line 2: the column `light` is missing");
        assert!(run(&[], &[0xff, 0xfe]).unwrap_err().contains("UTF-8"));
    }
}
