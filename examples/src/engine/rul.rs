//! `rul [--passes N]`: engines' conditions from `health` in; remaining useful life and a plan of service out.
//!
//! Trees that `train/engine.rs` grew on engines run to failure judge the condition. Nothing shows before an engine
//! begins to degrade, so a life above [`CAP`] cycles is told as that (the piecewise linear target of Heimes,
//! "Recurrent neural networks for remaining useful life estimation", 2008). `low` is what nine in ten engines with
//! that answer still had, on engines the trees had not seen.

use super::condition::NUMBERS;
use super::model::{LIFE, LOW};
use super::plan::{self, Due};
use crate::{options, text};

/// Cycles that a longer life is told as.
pub const CAP: f64 = 125.0;

pub fn run(args: &[String], input: &[u8]) -> Result<Vec<u8>, String> {
    options::repeat(args, || {
        let mut output = String::from("engine,cycles,rul,low\n");
        let mut due = Vec::new();
        for (engine, cycles, condition) in read(input)? {
            let left = left(&condition);
            let low = low(left);
            output.push_str(&format!("{engine},{cycles},{},{}\n", text::fixed(left, 1), text::fixed(low, 1)));
            due.push(Due { engine, within: low });
        }
        output.push_str(&plan::report(due));
        Ok(output.into_bytes())
    })
}

/// Cycles left, 0 to [`CAP`].
pub fn left(condition: &[f64]) -> f64 {
    LIFE.judge(condition).clamp(0.0, CAP)
}

/// What nine in ten still have where `left` is the answer.
pub fn low(left: f64) -> f64 {
    let band = ((left / CAP * LOW.len() as f64) as usize).min(LOW.len() - 1);
    (left - LOW[band]).max(0.0)
}

type Line = (u32, u32, Vec<f64>);

/// Reads what `health` wrote.
fn read(input: &[u8]) -> Result<Vec<Line>, String> {
    let lines = text::lines(input)?;
    let (heading, rows) = lines.split_first().ok_or("the input is empty; give what `health` writes")?;
    if !heading.1.starts_with("engine,cycles,health,state,condition") {
        return Err("line 1: not the heading that `health` writes".to_owned());
    }
    let mut engines = Vec::with_capacity(rows.len());
    for &(number, line) in rows {
        let fields: Vec<&str> = line.split(',').collect();
        if fields.len() != 4 + NUMBERS {
            return Err(format!("line {number}: {} fields; wanted: {}", fields.len(), 4 + NUMBERS));
        }
        let whole = |place: usize| {
            fields[place]
                .parse::<u32>()
                .map_err(|_| format!("line {number}: `{}` is not a whole number", fields[place]))
        };
        let mut condition = Vec::with_capacity(NUMBERS);
        for field in &fields[4..] {
            condition.push(text::decimal(field).ok_or_else(|| format!("line {number}: `{field}` is not a number"))?);
        }
        engines.push((whole(0)?, whole(1)?, condition));
    }
    Ok(engines)
}
