//! `health [--passes N]`: rows of engines' sensors in; each engine's health and condition out.
//!
//! Health is a weighted sum of the sensors' averages over the last 15 cycles: 1 as an engine leaves the factory, 0 as
//! it fails. The condition behind it follows, for whoever asks how many cycles are left.

use super::condition::{self, NUMBERS, PLACES};
use super::model::{HEALTH, HEALTH_AT_ZERO};
use super::rows;
use crate::{options, text};

/// Number of the span in [`condition::SPANS`] that health is taken from.
const SPAN: usize = 1;
/// Health at which each state begins.
const STATES: [(f64, &str); 3] = [(0.0, "worn"), (0.35, "wearing"), (0.7, "well")];

pub fn run(args: &[String], input: &[u8]) -> Result<Vec<u8>, String> {
    options::repeat(args, || {
        let engines = rows::read(input)?;
        let mut output = format!("engine,cycles,health,state,condition ({NUMBERS} numbers)\n");
        for engine in &engines {
            let condition = condition::of(&engine.readings);
            let health = health(&condition);
            let state = STATES.iter().rev().find(|(from, _)| health >= *from).map_or("worn", |(_, name)| name);
            let head = format!("{},{},{},{state}", engine.number, engine.readings.len(), text::fixed(health, 3));
            output.push_str(&head);
            for number in condition {
                output.push(',');
                output.push_str(&text::fixed(number, PLACES));
            }
            output.push('\n');
        }
        Ok(output.into_bytes())
    })
}

/// 1 as new, 0 as worn out; not beyond.
pub fn health(condition: &[f64]) -> f64 {
    let averages = condition::averages(condition, SPAN);
    let sum: f64 = averages.iter().zip(HEALTH).map(|(value, weight)| value * weight).sum();
    (HEALTH_AT_ZERO + sum).clamp(0.0, 1.0)
}
