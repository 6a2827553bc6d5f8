//! `shoal-testnet sim chaos`: do the promises hold when everything goes wrong?

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum as _;
use serde::Serialize;
use shoal_testnet::sim::chaos::{Fault, Faults, Outcome, Promise, Size, Violation, run};

use super::{Failure, NOT_RIGHT, sabotage};

/// Look for broken promises: many seeds, each a mesh in which everything goes wrong for some minutes
///
/// The peers that shoald ships keep tasks on simulated disks while processes die, links are cut, messages come late, twice
/// or never, clocks disagree, disks fill, fail and lose bits, and machines vanish. Then the faults stop, and what was promised
/// is checked: nothing acknowledged is lost, nothing ends twice, results can be had anywhere, peers see each other again.
/// Exits with 0 only if every promise held for every seed; a broken one comes with the command that shows how.
/// Example: shoal-testnet sim chaos --seeds 1..1001
#[derive(clap::Args)]
pub(crate) struct Chaos {
    /// Seeds, the last one left out; or one seed
    #[arg(long, value_name = "A..B", value_parser = seeds, default_value = "1..101")]
    seeds: Seeds,
    /// Peers of each mesh
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(3..=200))]
    peers: u16,
    /// Simulated minutes during which faults strike
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_440))]
    minutes: u32,
    /// Kinds of faults, instead of all
    #[arg(long, value_name = "KIND,KIND…", value_enum, value_delimiter = ',')]
    faults: Vec<Fault>,
    /// Also say what happened, in order; for one seed
    #[arg(long)]
    trace: bool,
    /// Plant a bug in the peers and look how soon a checker finds it: its name, `all`, or `list`
    #[arg(long, value_name = "BUG", conflicts_with_all = ["trace"])]
    sabotage: Option<String>,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

/// One seed in so many is run with every message as bytes and every signature checked, and twice: both must do the same.
const FULL_ONE_IN: u64 = 50;
/// How often a person is told how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
struct Seeds {
    first: u64,
    end: u64,
}

fn seeds(text: &str) -> Result<Seeds, String> {
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| format!("`{text}` is not a number"));
    let (first, end) = match text.split_once("..") {
        Some((first, end)) => (number(first)?, number(end)?),
        None => (number(text)?, number(text)?.saturating_add(1)),
    };
    if first < end { Ok(Seeds { first, end }) } else { Err("there is no seed in that range".into()) }
}

/// What all seeds came to.
#[derive(Debug, Default, Serialize)]
struct Sum {
    schema: String,
    seeds: u64,
    peers: u16,
    minutes: u32,
    sim_hours: f64,
    tasks_submitted: u64,
    tasks_acknowledged: u64,
    /// Of which the faults destroyed more copies than the promise stands.
    tasks_beyond_promise: u64,
    faults: BTreeMap<Fault, u64>,
    violations: Vec<Violation>,
    wall_s: f64,
}

impl Chaos {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        if let Some(bug) = &self.sabotage {
            return sabotage::run(bug, self.seeds.first..self.seeds.end, self.size(), self.json);
        }
        let began = Instant::now();
        let size = self.size();
        let sum = Mutex::new(Sum {
            schema: shoal_protocol::api::schema(),
            peers: self.peers,
            minutes: self.minutes,
            ..Sum::default()
        });
        let next = AtomicU64::new(self.seeds.first);
        let told = Mutex::new(began);
        let worker = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= self.seeds.end {
                    return;
                }
                let outcome = one(seed, size, self.trace);
                // Nothing in it is left half done when a holder panics.
                let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                sum.take_in(outcome);
                self.tell(&told, &sum);
            }
        };
        thread::scope(|scope| {
            let threads = thread::available_parallelism().map_or(1, usize::from);
            (1..threads).for_each(|_| drop(scope.spawn(worker)));
            worker();
        });
        let mut sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        sum.violations.sort_by_key(|violation| (violation.seed, violation.promise));
        sum.wall_s = began.elapsed().as_secs_f64();
        if self.json {
            // A plain struct with text keys, which cannot fail to serialize.
            anstream::println!("{}", serde_json::to_string_pretty(&sum).unwrap_or_default());
        } else {
            anstream::print!("{}", text(&sum));
        }
        match sum.violations.first() {
            None => Ok(ExitCode::SUCCESS),
            Some(violation) => {
                let what = format!("{} promises were broken", sum.violations.len());
                let again = format!(
                    "see how: shoal-testnet sim chaos --seeds {} --peers {} --minutes {}{} --trace",
                    violation.seed,
                    self.peers,
                    self.minutes,
                    self.wanted_faults()
                );
                Err(Failure::new(NOT_RIGHT, what, again))
            }
        }
    }

    fn size(&self) -> Size {
        let faults = match self.faults.as_slice() {
            [] => Faults::default(),
            wanted => wanted.iter().copied().collect(),
        };
        Size { peers: usize::from(self.peers), minutes: self.minutes, faults }
    }

    /// The option that says which faults, as it was given.
    fn wanted_faults(&self) -> String {
        let names = self.faults.iter().filter_map(|fault| Some(fault.to_possible_value()?.get_name().to_owned()));
        let names: Vec<String> = names.collect();
        if names.is_empty() { String::new() } else { format!(" --faults {}", names.join(",")) }
    }

    /// One line that a person may watch; standard output stays clean.
    fn tell(&self, told: &Mutex<Instant>, sum: &Sum) {
        let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.elapsed() >= TOLD_EVERY {
            *told = Instant::now();
            let all = self.seeds.end - self.seeds.first;
            let broken = sum.violations.len();
            let _ = writeln!(std::io::stderr(), "{} of {all} seeds, {broken} broken promises", sum.seeds);
        }
    }
}

/// One seed; now and then twice, to see whether it does the same.
pub(super) fn one(seed: u64, size: Size, trace: bool) -> Outcome {
    let is_full = seed.is_multiple_of(FULL_ONE_IN);
    let mut outcome = run(seed, size, is_full, trace);
    if trace {
        outcome.story.iter().for_each(|line| anstream::println!("{line}"));
    }
    if is_full && run(seed, size, is_full, trace).trace != outcome.trace {
        let what = "the same seed did something else when it was run again".into();
        outcome.violations.push(Violation { seed, promise: Promise::Determinism, what });
    }
    outcome
}

impl Sum {
    fn take_in(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.sim_hours += outcome.simulated.as_secs_f64() / 3_600.0;
        self.tasks_submitted += outcome.submitted;
        self.tasks_acknowledged += outcome.acknowledged;
        self.tasks_beyond_promise += outcome.copies_lost;
        for (fault, count) in outcome.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        self.violations.extend(outcome.violations);
    }
}

fn text(sum: &Sum) -> String {
    use std::fmt::Write;

    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<14} {value}");
    };
    line("seeds", format!("{} of {} peers and {} minutes", sum.seeds, sum.peers, sum.minutes));
    line("simulated", format!("{:.1} hours in {:.1} s", sum.sim_hours, sum.wall_s));
    line(
        "tasks",
        format!(
            "{} handed in, {} acknowledged, {} of them destroyed beyond what is promised",
            sum.tasks_submitted, sum.tasks_acknowledged, sum.tasks_beyond_promise
        ),
    );
    for (fault, count) in &sum.faults {
        // A name without fields.
        let name = serde_json::to_value(fault).ok().and_then(|name| Some(name.as_str()?.replace('_', " ")));
        line("fault", format!("{count:>7} × {}", name.unwrap_or_default()));
    }
    for violation in &sum.violations {
        line("BROKEN", format!("seed {}, {:?}: {}", violation.seed, violation.promise, violation.what));
    }
    line(
        "promises",
        if sum.violations.is_empty() { "all kept".into() } else { format!("{} broken", sum.violations.len()) },
    );
    text
}
