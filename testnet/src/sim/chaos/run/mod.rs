//! One seed from beginning to verdict.
//!
//! | file | what it tells |
//! |---|---|
//! | `faults.rs` | while things go wrong, what happens when, and what must never be |
//! | `users.rs` | what users do meanwhile |
//! | `acts.rs` | what befalls machines meanwhile |
//! | `calm.rs` | when nothing goes wrong any more |
//! | `afterwards.rs` | what is handed in then |
//! | `settling.rs` | the verdict |

mod acts;
mod afterwards;
mod calm;
mod faults;
mod settling;
mod users;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use shoal_protocol::certificate::{RevocationList, Role};
use shoal_protocol::config::PeerConfig;
use shoal_protocol::{PeerId, TaskId, Time};

use crate::promises::{Promise, Violation};
use crate::sim::Sim;
use crate::sim::chaos::history::History;
use crate::sim::chaos::plan::{CALM, Plan};
use crate::sim::chaos::users::{Wish, wishes};
use crate::sim::chaos::watch::Watch;
use crate::sim::chaos::{Outcome, Size};
use crate::sim::marks::{Mark, REGIONS};

/// Between the last fault and the last question: every run, its retries and a takeover fit.
const SETTLING: Duration = Duration::from_secs(120);

/// Runs a seed; `full` with every message as bytes, every signature checked and a trace, which takes some times as long.
pub fn run(seed: u64, size: Size, full: bool, tell: bool) -> Outcome {
    let mut run = Run::new(seed, size, full, tell);
    let whole = catch_unwind(AssertUnwindSafe(|| {
        run.faults();
        run.calm();
        run.afterwards();
        run.settle();
    }));
    // A peer that stops by a fault of its own breaks a promise, too; the story so far is told all the same.
    if let Err(panic) = whole {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = text.unwrap_or_default();
        run.outcome.violations.push(Violation { seed, promise: Promise::NoPanic, what });
    }
    run.outcome
}

struct Run {
    seed: u64,
    size: Size,
    sim: Sim,
    plan: Plan,
    wishes: Vec<Wish>,
    history: History,
    outcome: Outcome,
    /// What happens by chance beside the plan.
    rng: Pcg64Mcg,
    down: BTreeSet<usize>,
    /// Who died at a write, and when it starts again.
    coming_back: Vec<(Time, usize)>,
    lost: BTreeSet<usize>,
    /// The last list that was signed, and its hash.
    revocations: Option<(RevocationList, [u8; 32])>,
    /// Tasks of which a copy was destroyed, by the machine that had it.
    destroyed: BTreeSet<(TaskId, usize)>,
    watch: Watch,
    /// Whose calendars were set.
    calendars_set: BTreeSet<usize>,
    /// Tasks that were handed in again where nobody knew them any more.
    another: BTreeSet<TaskId>,
    /// Tasks that may be forgotten before anybody asks for them in the end.
    brief: BTreeSet<TaskId>,
    /// Who decides on each that was acknowledged, as it was then.
    councils: BTreeMap<TaskId, Vec<PeerId>>,
    /// When each task was handed in first, and within what it is to end.
    handed_in: BTreeMap<TaskId, (Time, Duration)>,
    /// The last questions that have no answer yet, and the tasks they are about.
    last_asked: BTreeMap<u64, TaskId>,
    /// Where what is labelled may be.
    marks: BTreeMap<TaskId, Mark>,
    /// Tasks that damage was told of since the last call of [`Run::start`], and by whom.
    damage: BTreeSet<(usize, TaskId)>,
    /// A kind of broken promise is told so often.
    told: BTreeMap<Promise, usize>,
    tell: bool,
}

/// One cause may break a promise at every look.
const TOLD_MAX: usize = 3;

/// Three of four machines say where they are.
fn region(index: usize) -> Option<usize> {
    Some(index % (REGIONS.len() + 1)).filter(|region| *region < REGIONS.len())
}

/// Every fifth machine is a cloud.
fn is_cloud(index: usize) -> bool {
    index.is_multiple_of(5)
}

impl Run {
    fn new(seed: u64, size: Size, full: bool, tell: bool) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x5eed_c4a0_5000_0000);
        let plan = Plan::draw(size, &mut rng);
        let mut wishes = wishes(size, &mut rng);
        if plan.goes_back_a_version() {
            // A machine whose daemon goes back to a version without labels forgets them: that is not promised otherwise.
            wishes.iter_mut().for_each(|wish| wish.labelled = None);
        }
        let mut sim = if full { Sim::new(seed, CALM) } else { Sim::quick(seed, CALM) };
        sim.keep_tasks();
        let short_queues = rng.random_bool(0.5);
        let machines = size.peers + plan.newcomers;
        for index in 0..machines {
            let role = if is_cloud(index) { Role::Cloud } else { Role::Edge };
            let mut config = PeerConfig {
                cores: rng.random_range(1..=4),
                speed: rng.random_range(0.5..2.0),
                ..PeerConfig::default()
            };
            if short_queues {
                config.queue_max = rng.random_range(2..=16);
            }
            sim.add_cold(role, config);
            region(index).into_iter().for_each(|region| sim.settle(index, region));
        }
        for (index, ppm) in plan.drifts_ppm.iter().enumerate() {
            sim.drift(index, *ppm);
        }
        let mut run = Self {
            seed,
            size,
            sim,
            plan,
            wishes,
            history: History::default(),
            outcome: Outcome::default(),
            rng: Pcg64Mcg::seed_from_u64(seed ^ 0xdead),
            down: BTreeSet::new(),
            coming_back: Vec::new(),
            lost: BTreeSet::new(),
            revocations: None,
            destroyed: BTreeSet::new(),
            watch: Watch::default(),
            calendars_set: BTreeSet::new(),
            another: BTreeSet::new(),
            brief: BTreeSet::new(),
            councils: BTreeMap::new(),
            handed_in: BTreeMap::new(),
            last_asked: BTreeMap::new(),
            marks: BTreeMap::new(),
            damage: BTreeSet::new(),
            told: BTreeMap::new(),
            tell,
        };
        run.down.extend(size.peers..machines);
        (0..size.peers).for_each(|index| run.start(index));
        run
    }

    /// A peer remembers everybody, as from the file a daemon keeps.
    fn start(&mut self, index: usize) {
        let others: Vec<_> = (0..self.sim.len()).filter(|other| *other != index).collect();
        self.hear();
        self.damage.clear();
        self.sim.start(index, &others);
        self.hear();
        if self.sim.peer(index).is_none() {
            // It died again before it could say anything.
            return;
        }
        let said = self.damage.iter().filter(|(by, _)| *by == index).map(|(_, task)| *task).collect();
        let unsaid = self.watch.started(&self.sim, index, &said);
        self.broken(unsaid);
    }

    fn task(&self, wish: usize) -> TaskId {
        let user = PeerId(*blake3::hash(&self.seed.to_le_bytes()).as_bytes());
        TaskId::derive(user, &(wish as u64).to_le_bytes())
    }

    fn say(&mut self, what: impl FnOnce() -> String) {
        if self.tell {
            self.outcome.story.push(format!("{:>12?}  {}", self.sim.now(), what()));
        }
    }

    fn violated(&mut self, promise: Promise, what: String) {
        self.say(|| format!("VIOLATION of {promise:?}: {what}"));
        let told = self.told.entry(promise).or_default();
        *told += 1;
        if *told <= TOLD_MAX {
            self.outcome.violations.push(Violation { seed: self.seed, promise, what });
        }
    }

    fn broken(&mut self, broken: Vec<(Promise, String)>) {
        broken.into_iter().for_each(|(promise, what)| self.violated(promise, what));
    }
}
