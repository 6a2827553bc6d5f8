//! What the five users ask, when, at which peer, and what the right answers are.
//!
//! Work arrives quietly, then in a rush that the edge alone cannot take, then quietly again.
//!
//! **Invariant:** the same seed and length give the same items and times of arrival on every machine. Only how often a
//! computation is repeated follows the machine's speed, and that never changes an answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use shoal_examples::modules;
use shoal_examples::workload::{Plan, Variant, WorkItem, five_users};

use super::error::DemoError;

/// A run takes about this long on one core of this machine. The peers stand for slower ones, which costs no processor
/// time, so that five of them leave most of a small machine idle.
const RUN: Duration = Duration::from_millis(4);
/// The share of the passes at which the machine is timed.
const TRIAL_PERCENT: u32 = 3;
/// A module in the sandbox needs about this many times as long as the native function.
const SANDBOX_FACTOR: f64 = 1.4;
/// Arrivals, relative to the usual rate of the five users, in the rush.
const RUSH_PERCENT: u32 = 2_600;
/// The rush has this many times as many arrivals a second as the quiet times.
const RUSH: f64 = 5.0;
/// The quiet time before the rush, the rush, and the quiet time after it, in percent.
const PARTS: [f64; 3] = [35.0, 25.0, 40.0];

/// Which edge peer a user is at, and how long its answers are worth waiting for.
#[derive(Debug, Clone, Copy)]
struct Client {
    user: &'static str,
    home: usize,
    deadline: Duration,
}

/// The users' homes are numbers among the edge peers.
const CLIENTS: [Client; 5] = [
    Client { user: "home-a", home: 0, deadline: Duration::from_millis(400) },
    Client { user: "voice", home: 0, deadline: Duration::from_millis(150) },
    Client { user: "home-b", home: 1, deadline: Duration::from_millis(400) },
    Client { user: "city", home: 1, deadline: Duration::from_millis(400) },
    Client { user: "factory", home: 1, deadline: Duration::from_millis(200) },
];

/// The users, in the order they are told of.
pub(super) fn users() -> impl Iterator<Item = &'static str> {
    CLIENTS.iter().map(|client| client.user)
}

/// The number, among the edge peers, of a user's home.
pub(super) fn home_of(user: &str) -> usize {
    CLIENTS.iter().find(|client| client.user == user).map_or(0, |client| client.home)
}

pub(super) fn deadline_of(user: &str) -> Duration {
    CLIENTS.iter().find(|client| client.user == user).map_or(RUN, |client| client.deadline)
}

/// Everything that is asked, earliest first.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) jobs: Vec<Job>,
    /// When the rush begins and ends.
    pub(super) rush: [Duration; 2],
    /// How long the right answers took to compute.
    pub(super) checked_in: Duration,
}

/// One question.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) item: WorkItem,
    pub(super) arrival: Duration,
    /// The right answer of each variant's module.
    answers: BTreeMap<&'static str, Vec<u8>>,
}

impl Job {
    pub(super) fn is_right(&self, module: &str, output: &[u8]) -> bool {
        self.answers.get(module).is_some_and(|answer| answer == output)
    }

    pub(super) fn variants(&self) -> &'static [Variant] {
        self.item.variants
    }
}

impl Work {
    pub(super) fn new(seed: u64, length: Duration) -> Result<Self, DemoError> {
        let work_percent = work_percent(seed)?;
        let [before, rush, after] = PARTS.map(|percent| length.mul_f64(percent / 100.0));
        // The plan knows one rate, that of the rush; its quiet parts are stretched to the quiet rate afterwards.
        let busy = rush + (before + after).div_f64(RUSH);
        let plan = Plan { seed, length_ms: busy.as_millis() as u64, rate_percent: RUSH_PERCENT, work_percent };
        let began = Instant::now();
        let jobs = five_users(&plan).into_iter().map(|item| {
            let arrival = stretched(Duration::from_millis(item.arrival_ms), before, rush);
            Ok(Job { answers: answers(&item)?, arrival, item })
        });
        let jobs = jobs.collect::<Result<_, DemoError>>()?;
        Ok(Self { jobs, rush: [before, before + rush], checked_in: began.elapsed() })
    }

    /// The first job of each user.
    pub(super) fn samples(&self) -> impl Iterator<Item = &Job> {
        users().filter_map(|user| self.jobs.iter().find(|job| job.item.user == user))
    }
}

/// When something happens that the plan has at `planned`.
fn stretched(planned: Duration, before: Duration, rush: Duration) -> Duration {
    let begins = before.div_f64(RUSH);
    let ends = begins + rush;
    if planned < begins {
        planned.mul_f64(RUSH)
    } else if planned < ends {
        before + (planned - begins)
    } else {
        before + rush + (planned - ends).mul_f64(RUSH)
    }
}

/// Passes never change an answer, so one is enough to know it.
fn answers(item: &WorkItem) -> Result<BTreeMap<&'static str, Vec<u8>>, DemoError> {
    let failed = |why| DemoError::Native { user: item.user, why };
    item.variants
        .iter()
        .map(|variant| {
            let run = modules::native(variant.module)
                .ok_or_else(|| failed(format!("there is no module `{}`", variant.module)))?;
            Ok((variant.module, run(&[], &item.input).map_err(failed)?))
        })
        .collect()
}

/// The share of the usual passes with which the average run takes [`RUN`] here.
fn work_percent(seed: u64) -> Result<u32, DemoError> {
    const ROUNDS: usize = 3;
    let plan = Plan { seed, length_ms: 3_000, rate_percent: 100, work_percent: TRIAL_PERCENT };
    let items = five_users(&plan);
    let samples: Vec<&WorkItem> = users().filter_map(|user| items.iter().find(|item| item.user == user)).collect();
    let mut total = Duration::ZERO;
    for item in &samples {
        let mut best = Duration::MAX;
        // What else runs on the machine can only make a round longer.
        for _ in 0..ROUNDS {
            let began = Instant::now();
            item.expected(item.module).map_err(|why| DemoError::Native { user: item.user, why })?;
            best = best.min(began.elapsed());
        }
        total += best;
    }
    let each = total.as_secs_f64() * SANDBOX_FACTOR / samples.len().max(1) as f64;
    let percent = f64::from(TRIAL_PERCENT) * RUN.as_secs_f64() / each.max(1e-6);
    Ok(percent.round().clamp(1.0, 1_000.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_arrives_quietly_then_in_a_rush_then_quietly() {
        let length = Duration::from_secs(10);
        let work = Work::new(1, length).unwrap();

        let [begins, ends] = work.rush;
        let count = |from: Duration, to: Duration| {
            work.jobs.iter().filter(|job| (from..to).contains(&job.arrival)).count() as f64 / (to - from).as_secs_f64()
        };
        assert!(work.jobs.windows(2).all(|pair| pair[0].arrival <= pair[1].arrival));
        assert!(work.jobs.iter().all(|job| job.arrival <= length));
        let (quiet, rush, later) = (count(Duration::ZERO, begins), count(begins, ends), count(ends, length));
        assert!(rush > 2.0 * quiet && rush > 2.0 * later, "{quiet} {rush} {later}");
    }

    #[test]
    fn the_same_seed_asks_the_same_at_the_same_times() {
        let asked = |seed| {
            let work = Work::new(seed, Duration::from_secs(3)).unwrap();
            work.jobs.into_iter().map(|job| (job.arrival, job.item.user, job.item.input)).collect::<Vec<_>>()
        };

        assert_eq!(asked(5), asked(5));
        assert_ne!(asked(5), asked(6));
    }

    #[test]
    fn an_answer_is_right_only_to_the_last_byte_and_for_the_variant_that_ran() {
        let work = Work::new(1, Duration::from_secs(3)).unwrap();
        let job = work.jobs.iter().find(|job| job.variants().len() == 2).unwrap();

        let answer = job.item.expected("digit").unwrap();

        assert!(job.is_right("digit", &answer));
        assert!(!job.is_right("digit_small", &answer));
        assert!(!job.is_right("digit", &answer[..answer.len() - 1]));
        assert!(!job.is_right("congestion", &answer));
    }

    #[test]
    fn every_user_has_a_home_and_work() {
        let work = Work::new(1, Duration::from_secs(3)).unwrap();

        let asking: Vec<&str> = work.samples().map(|job| job.item.user).collect();

        assert_eq!(asking, users().collect::<Vec<_>>());
        assert!(work.jobs.iter().all(|job| users().any(|user| user == job.item.user)));
    }
}
