//! `shoal-testnet sim chaos --sabotage`: a bug is planted, and the checkers have to find it.
//!
//! **Invariant:** a build without the feature `sabotage`, as every shipped one is, says so and plants nothing.

use std::ops::Range;
use std::process::ExitCode;

use shoal_testnet::sim::chaos::Size;

#[cfg(not(feature = "sabotage"))]
use super::{super::USAGE, Failure};

#[cfg(not(feature = "sabotage"))]
pub(super) fn run(_: &str, _: Range<u64>, _: Size, _: bool) -> Result<ExitCode, Failure> {
    let why = "no bug can be planted in this build";
    let how = "build one for it: cargo run --release --locked -p shoal-testnet --features sabotage -- sim chaos --sabotage list";
    Err(Failure::new(USAGE, why, how))
}

#[cfg(feature = "sabotage")]
pub(super) use planting::run;

#[cfg(feature = "sabotage")]
mod planting {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use serde::Serialize;
    use shoal_protocol::sabotage::{Bug, with};
    use shoal_testnet::promises::{Promise, Violation};

    use super::super::super::USAGE;
    use super::super::chaos::one;
    use super::super::{Failure, NOT_RIGHT};
    use super::{ExitCode, Range, Size};

    /// What became of one planted bug.
    #[derive(Debug, Serialize)]
    struct Caught {
        bug: &'static str,
        breaks: &'static str,
        /// The first seed that shows it, and how; nothing when none does.
        #[serde(skip_serializing_if = "Option::is_none")]
        seed: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        promise: Option<Promise>,
        #[serde(skip_serializing_if = "Option::is_none")]
        what: Option<String>,
    }

    pub(in super::super) fn run(wanted: &str, seeds: Range<u64>, size: Size, json: bool) -> Result<ExitCode, Failure> {
        if wanted == "list" {
            for bug in Bug::ALL {
                anstream::println!("{:<24} {}", bug.name(), bug.breaks());
            }
            return Ok(ExitCode::SUCCESS);
        }
        let is_wanted = |bug: &&Bug| wanted == "all" || wanted == bug.name();
        let bugs: Vec<Bug> = Bug::ALL.iter().filter(is_wanted).copied().collect();
        if bugs.is_empty() {
            let how = "see them all: shoal-testnet sim chaos --sabotage list";
            return Err(Failure::new(USAGE, format!("there is no bug `{wanted}`"), how));
        }
        // Bugs make peers panic; each is reported as what it is, not as noise.
        std::panic::set_hook(Box::new(|_| {}));
        let mut missed = 0;
        let mut all = Vec::new();
        for bug in bugs {
            let caught = look_for(bug, seeds.clone(), size);
            missed += usize::from(caught.seed.is_none());
            match (&caught.seed, json) {
                (_, true) => {}
                (Some(seed), false) => {
                    let (promise, what) = (caught.promise, caught.what.as_deref().unwrap_or_default());
                    anstream::println!("{:<24} seed {seed:>4}  {promise:?}: {what}", caught.bug);
                }
                (None, false) => anstream::println!("{:<24} NOT FOUND in seeds {seeds:?}", caught.bug),
            }
            all.push(caught);
        }
        if json {
            // Plain structs with text keys, which cannot fail to serialize.
            anstream::println!("{}", serde_json::to_string_pretty(&all).unwrap_or_default());
        }
        match missed {
            0 => Ok(ExitCode::SUCCESS),
            _ => Err(Failure::new(
                NOT_RIGHT,
                format!("{missed} planted bugs were not found"),
                "make the checkers stronger",
            )),
        }
    }

    /// Tries seeds in their order until one shows the bug.
    fn look_for(bug: Bug, seeds: Range<u64>, size: Size) -> Caught {
        let next = AtomicU64::new(seeds.start);
        let first: Mutex<Option<Violation>> = Mutex::new(None);
        let lock = || first.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let worker = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end || lock().as_ref().is_some_and(|found| found.seed < seed) {
                    return;
                }
                let found = with(Some(bug), || one(seed, size, false)).violations.into_iter().next();
                // What the seed shows without the bug is not found by it.
                let is_found = found.is_some() && one(seed, size, false).violations.is_empty();
                if let Some(violation) = found.filter(|_| is_found) {
                    let mut first = lock();
                    if first.as_ref().is_none_or(|found| violation.seed < found.seed) {
                        *first = Some(violation);
                    }
                }
            }
        };
        thread::scope(|scope| {
            let threads = thread::available_parallelism().map_or(1, usize::from);
            (1..threads).for_each(|_| drop(scope.spawn(worker)));
            worker();
        });
        let violation = lock().take();
        let (seed, promise) =
            (violation.as_ref().map(|found| found.seed), violation.as_ref().map(|found| found.promise));
        Caught { bug: bug.name(), breaks: bug.breaks(), seed, promise, what: violation.map(|found| found.what) }
    }
}
