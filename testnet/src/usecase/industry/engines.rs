//! Engines of the C-MAPSS form: read, sent through health and remaining life, compared with the true lives.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use shoal_examples::engine::{rows, rul};
use shoal_examples::held_back;
use shoal_protocol::certificate::Role;

use super::super::error::UsecaseError;
use super::super::report::Taken;
use super::super::stages::{Ask, Stages};
use super::super::{files, table};
use crate::plot::{Axis, Chart, Series};

/// Engines a task is asked about.
const BATCH: usize = 10;
/// Times each held back engine is cut, how long before failure, and its age then, as in NASA's test set.
const CUTS: usize = 5;
const LEFT: std::ops::RangeInclusive<usize> = 7..=145;
const YOUNGEST: usize = 30;
const SEED: u64 = 1;
/// Lines of the plan that are kept.
const PLAN_LINES: usize = 5;

/// Engines cut at some cycle, and what each then still had.
#[derive(Debug)]
pub(super) struct Fleet {
    file: String,
    /// Rows as the file has them, engine after engine.
    engines: Vec<String>,
    lives: Vec<f64>,
}

/// What was foretold and what was true of each engine, and a plan.
#[derive(Debug, Clone, Default)]
pub(super) struct Lives {
    pub(super) judged: Vec<(f64, f64)>,
    pub(super) plan: Vec<String>,
}

impl Lives {
    pub(super) fn rmse(&self, capped: bool) -> Option<f64> {
        let square = |(said, life): &(f64, f64)| (said - if capped { life.min(rul::CAP) } else { *life }).powi(2);
        let squares: f64 = self.judged.iter().map(square).sum();
        (!self.judged.is_empty()).then(|| (squares / self.judged.len() as f64).sqrt())
    }
}

/// Finds each `*test_FD00N.txt` with its `*RUL_FD00N.txt`.
pub(super) fn read(paths: &[PathBuf], taken: &mut Vec<Taken>) -> Result<Vec<Fleet>, UsecaseError> {
    let mut found: BTreeMap<String, [Option<&PathBuf>; 2]> = BTreeMap::new();
    for path in paths {
        let name = files::name(path);
        for (place, part) in ["test_fd", "rul_fd"].into_iter().enumerate() {
            if let Some((_, set)) = name.split_once(part).filter(|_| name.ends_with(".txt")) {
                found.entry(set.to_owned()).or_default()[place] = Some(path);
            }
        }
    }
    let mut fleets = Vec::new();
    for [test, lives] in found.into_values() {
        let (Some(test), Some(lives)) = (test, lives) else {
            if let Some(alone) = test.or(lives) {
                taken.push(Taken::new(
                    alone.display().to_string(),
                    "left out: there is no second file `test_`/`RUL_` to it",
                ));
            }
            continue;
        };
        let fleet = fleet(
            [&test.display().to_string(), &lives.display().to_string()],
            &files::text(test)?,
            &files::text(lives)?,
        )?;
        taken.push(Taken::new(&fleet.file, format!("{} engines cut before failure", fleet.engines.len())));
        taken.push(Taken::new(lives.display().to_string(), "their true lives"));
        fleets.push(fleet);
    }
    Ok(fleets)
}

fn fleet([file, lives_file]: [&str; 2], rows_text: &str, lives_text: &str) -> Result<Fleet, UsecaseError> {
    rows::read(rows_text.as_bytes()).map_err(|why| UsecaseError::bad(file, why))?;
    let mut engines: Vec<String> = Vec::new();
    let mut last = "";
    for line in rows_text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let engine = line.split_ascii_whitespace().next().unwrap_or_default();
        if engines.is_empty() || engine != last {
            engines.push(String::new());
            last = engine;
        }
        if let Some(own) = engines.last_mut() {
            own.push_str(line);
            own.push('\n');
        }
    }
    let mut lives = Vec::new();
    for line in table::lines(lives_file, lives_text) {
        let life = line.number(line.text, "the remaining life")?;
        if life < 0.0 {
            return Err(line.bad(format!("the remaining life is {life}, below 0")));
        }
        lives.push(life);
    }
    if lives.len() != engines.len() {
        return Err(UsecaseError::bad(
            lives_file,
            format!("{} lives for {} engines of {file}", lives.len(), engines.len()),
        ));
    }
    Ok(Fleet { file: file.to_owned(), engines, lives })
}

/// Engines that ran to failure and that the model has not seen, each cut several times.
pub(super) fn held_back(taken: &mut Vec<Taken>) -> Result<Fleet, UsecaseError> {
    let file = "examples/data/factory/train_FD001.txt.gz";
    let mut text = String::new();
    GzDecoder::new(held_back::ENGINES_GZ).read_to_string(&mut text).map_err(|why| UsecaseError::bad(file, why))?;
    let mut runs: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for line in text.lines() {
        let engine = line.split_ascii_whitespace().next().and_then(|field| field.parse::<u32>().ok());
        if let Some(engine) = engine.filter(|engine| *engine > held_back::ENGINES_SEEN) {
            runs.entry(engine).or_default().push(line);
        }
    }
    let mut random = Pcg64Mcg::seed_from_u64(SEED);
    let mut fleet = Fleet { file: file.to_owned(), engines: Vec::new(), lives: Vec::new() };
    for (engine, rows) in &runs {
        for cut in 0..CUTS {
            let most = (*LEFT.end()).min(rows.len().saturating_sub(YOUNGEST)).max(*LEFT.start());
            let left = random.random_range(*LEFT.start()..=most);
            // Each cut counts as an engine of its own.
            let number = format!("{} ", engine * 10 + cut as u32);
            let row = |line: &&str| format!("{number}{}\n", line.trim().split_once(' ').map_or("", |(_, rest)| rest));
            fleet.engines.push(rows[..rows.len().saturating_sub(left)].iter().map(row).collect());
            fleet.lives.push(left as f64);
        }
    }
    let what = format!("{} engines the model has not seen, each cut at {CUTS} random cycles", runs.len());
    taken.push(Taken::new(file, what));
    Ok(fleet)
}

pub(super) async fn judge(fleets: &[Fleet], stages: &mut Stages) -> Result<Lives, UsecaseError> {
    let mut lives = Lives::default();
    for fleet in fleets {
        let ask = |(number, batch): (usize, &[String])| Ask {
            module: "health",
            args: Vec::new(),
            input: batch.concat().into_bytes(),
            role: Role::Edge,
            about: format!("engines {} to {} of {}", number * BATCH + 1, number * BATCH + batch.len(), fleet.file),
        };
        let conditions = stages.answers(fleet.engines.chunks(BATCH).enumerate().map(ask).collect()).await?;
        let ask = Ask {
            module: "rul",
            args: Vec::new(),
            input: joined(&conditions),
            role: Role::Cloud,
            about: format!("all engines of {}", fleet.file),
        };
        let answers = stages.answers(vec![ask]).await?;
        let text = String::from_utf8_lossy(answers.first().map_or(&[], Vec::as_slice)).into_owned();
        let said = text.lines().skip(1).filter(|line| !line.starts_with('#'));
        let said = said.filter_map(|line| line.split(',').nth(2)?.parse::<f64>().ok());
        lives.judged.extend(said.zip(fleet.lives.iter().copied()));
        let plan = text.lines().filter_map(|line| line.strip_prefix("# "));
        lives.plan.extend(plan.take(PLAN_LINES).map(str::to_owned));
    }
    Ok(lives)
}

/// One table of several with the same heading.
fn joined(tables: &[Vec<u8>]) -> Vec<u8> {
    let mut all = Vec::new();
    for (number, table) in tables.iter().enumerate() {
        let heading = table.iter().position(|byte| *byte == b'\n').map_or(table.len(), |at| at + 1);
        all.extend_from_slice(&table[if number == 0 { 0 } else { heading }..]);
    }
    all
}

/// Engines by their true life, and what was foretold of each.
pub(super) fn chart(lives: &Lives) -> Chart {
    let mut judged = lives.judged.clone();
    judged.sort_by(|one, other| one.1.total_cmp(&other.1));
    let points = |of: fn(&(f64, f64)) -> f64| (1..).map(f64::from).zip(judged.iter().map(of)).collect();
    Chart {
        name: "industry",
        title: "Cycles an engine has left".into(),
        x: Axis::linear("engines, the next to fail first"),
        y: Axis::linear("cycles left, at most 125"),
        series: vec![
            Series { name: "foretold".into(), colour: 0, points: points(|(said, _)| *said) },
            Series { name: "true".into(), colour: 1, points: points(|(_, life)| life.min(rul::CAP)) },
        ],
        marked: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(engine: u32, cycles: u32) -> String {
        let sensors = vec!["1.5"; 24].join(" ");
        (1..=cycles).map(|cycle| format!("{engine} {cycle} {sensors}  \n")).collect()
    }

    #[test]
    fn engines_meet_their_lives() {
        let fleet = fleet(["test_FD001.txt", "RUL_FD001.txt"], &(rows(1, 3) + &rows(2, 2)), "112\n98 \n").unwrap();

        assert_eq!(fleet.engines.iter().map(|rows| rows.lines().count()).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(fleet.lives, [112.0, 98.0]);
    }

    #[test]
    fn bad_files_are_told_by_name_and_line() {
        let error = |rows: &str, lives: &str| fleet(["test.txt", "RUL.txt"], rows, lives).unwrap_err().to_string();

        assert_eq!(error(&rows(1, 2), "1\n2\n"), "RUL.txt: 2 lives for 1 engines of test.txt");
        assert_eq!(error(&rows(1, 2), "NaN\n"), "RUL.txt: line 1: the remaining life is `NaN`, not a number");
        assert!(error("1 1 2\n", "1\n").starts_with("test.txt: line 1: 3 numbers; wanted: 26"));
        assert!(error(&rows(1, 2).replacen("1.5", "nan", 5), "1\n").starts_with("test.txt: line 1: sensor"));
    }

    #[test]
    fn held_back_engines_are_cut_before_they_fail() {
        let fleet = held_back(&mut Vec::new()).unwrap();

        assert_eq!((fleet.engines.len(), fleet.lives.len()), (100, 100));
        assert!(fleet.lives.iter().all(|life| LEFT.contains(&(*life as usize))));
        assert!(rows::read(fleet.engines.concat().as_bytes()).is_ok());
    }
}
