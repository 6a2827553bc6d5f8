//! Takes inputs, changes them, keeps what reached new code.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::coverage::{self, Coverage};
use crate::mutate::mutated;
use crate::{Offence, Target, watched};

/// Inputs that are kept of one run.
const KEPT_MAX: usize = 4_096;
/// A run with so many offences has shown what it can.
const OFFENCES_MAX: usize = 16;

/// When a run is over.
#[derive(Debug, Clone, Copy)]
pub enum Budget {
    /// After so many inputs.
    Executions(u64),
    /// After this time.
    Time(Duration),
}

/// What a run has shown.
#[derive(Debug, Default)]
pub struct Run {
    /// Inputs given.
    pub executions: u64,
    /// Edges of the control flow that were reached, where they are counted.
    pub edges: usize,
    /// Inputs that reached what none before had.
    pub found: Vec<Vec<u8>>,
    /// Inputs that did what no input may, and what that was.
    pub offences: Vec<(Offence, Vec<u8>)>,
}

/// The inputs for a target that are kept in a directory, in the order of their names.
pub fn corpus(directory: &Path, target: &Target) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(directory.join(target.name));
    let mut paths: Vec<PathBuf> = entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

/// Gives a target everything that is known to be good for it, and then variations of that.
pub fn fuzz(target: &Target, corpus: Vec<Vec<u8>>, seed: u64, budget: Budget) -> Run {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let (mut run, mut coverage) = (Run::default(), Coverage::default());
    let mut pool: Vec<Vec<u8>> = (target.seeds)().into_iter().chain(corpus).collect();
    if pool.is_empty() {
        pool.push(Vec::new());
    }
    let follows = coverage::is_measured();
    Coverage::clear();
    for input in &pool {
        execute(target, input, &mut run);
        coverage.is_new();
    }
    let began = Instant::now();
    while run.offences.len() < OFFENCES_MAX {
        let is_over = match budget {
            Budget::Executions(count) => run.executions >= count,
            // Looking at the clock costs as much as a small input.
            Budget::Time(time) => run.executions.is_multiple_of(64) && began.elapsed() >= time,
        };
        if is_over {
            break;
        }
        // Half of the time one of the latest: where new code is, there is more of it.
        let latest = pool.len().min(32);
        let from = if rng.random() { pool.len() - latest } else { 0 };
        let (base, other) = (rng.random_range(from..pool.len()), rng.random_range(0..pool.len()));
        let input = mutated(&mut rng, &pool[base], &pool[other]);
        execute(target, &input, &mut run);
        if follows && coverage.is_new() && pool.len() < KEPT_MAX {
            pool.push(input.clone());
            run.found.push(input);
        }
    }
    run.edges = coverage.edges();
    run
}

fn execute(target: &Target, input: &[u8], run: &mut Run) {
    run.executions += 1;
    if let Err(offence) = watched(target, input) {
        run.offences.push((offence, input.to_vec()));
    }
}
