//! One seed from beginning to verdict.

use core::time::Duration;
use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use shoal_protocol::certificate::Role;
use shoal_protocol::config::PeerConfig;
use shoal_protocol::task::durable::Durability;
use shoal_protocol::task::spec::{CloudUse, Payload};
use shoal_protocol::{BlobId, Input, PeerId, TaskId, TaskSpec, Time};

use super::super::Sim;
use super::checks;
use super::history::History;
use super::plan::{Act, CALM, Plan, SYNC};
use super::users::{Wish, wishes};
use super::{Outcome, Size};
use crate::promises::{self, CONVERGE_WITHIN, Promise, Violation};

/// Between the last fault and the last question: every run, its retries and a takeover fit.
const SETTLING: Duration = Duration::from_secs(120);
/// For the answers to the last questions.
const ANSWERING: Duration = Duration::from_secs(10);
/// How often what must never happen is looked for.
const LOOK: Duration = Duration::from_millis(500);

/// Runs a seed; `full` with every message as bytes, every signature checked and a trace, which takes some times as long.
pub fn run(seed: u64, size: Size, full: bool, tell: bool) -> Outcome {
    let mut run = Run::new(seed, size, full, tell);
    run.faults();
    run.calm();
    run.settle();
    run.outcome
}

/// What somebody does at a moment.
enum Deed {
    Submit(usize),
    Cancel(usize),
    Ask(usize, usize),
    Act(Act),
    Look,
}

struct Run {
    seed: u64,
    size: Size,
    sim: Sim,
    plan: Plan,
    wishes: Vec<Wish>,
    history: History,
    outcome: Outcome,
    down: BTreeSet<usize>,
    lost: BTreeSet<usize>,
    /// Tasks of which a copy was destroyed, by the machine that had it.
    destroyed: BTreeSet<(TaskId, usize)>,
    tell: bool,
}

impl Run {
    fn new(seed: u64, size: Size, full: bool, tell: bool) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x5eed_c4a0_5000_0000);
        let plan = Plan::draw(size, &mut rng);
        let wishes = wishes(size, &mut rng);
        let mut sim = if full { Sim::new(seed, CALM) } else { Sim::quick(seed, CALM) };
        sim.keep_tasks();
        for index in 0..size.peers {
            let role = if index % 5 == 0 { Role::Cloud } else { Role::Edge };
            let config = PeerConfig {
                cores: rng.random_range(1..=4),
                speed: rng.random_range(0.5..2.0),
                ..PeerConfig::default()
            };
            sim.add_cold(role, config);
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
            down: BTreeSet::new(),
            lost: BTreeSet::new(),
            destroyed: BTreeSet::new(),
            tell,
        };
        (0..size.peers).for_each(|index| run.start(index));
        run
    }

    /// A peer remembers everybody, as from the file a daemon keeps.
    fn start(&mut self, index: usize) {
        let others: Vec<_> = (0..self.size.peers).filter(|other| *other != index).collect();
        self.sim.start(index, &others);
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
        self.outcome.violations.push(Violation { seed: self.seed, promise, what });
    }

    // ── While things go wrong ───────────────────────────────────────────────────────────────────────────────────

    fn faults(&mut self) {
        let mut deeds: Vec<(Time, Deed)> = Vec::new();
        for (index, wish) in self.wishes.iter().enumerate() {
            deeds.push((wish.at, Deed::Submit(index)));
            deeds.extend(wish.again.map(|at| (at, Deed::Submit(index))));
            deeds.extend(wish.cancel.map(|at| (at, Deed::Cancel(index))));
            deeds.extend(wish.ask.iter().map(|(at, by)| (*at, Deed::Ask(index, *by))));
        }
        deeds.extend(self.plan.acts.drain(..).map(|(at, act)| (at, Deed::Act(act))));
        let mut at = Time::ZERO;
        while at < self.plan.end {
            at += LOOK;
            deeds.push((at, Deed::Look));
        }
        // Stable: what was planned for one moment happens in the order it was planned in.
        deeds.sort_by_key(|(at, _)| *at);
        for (at, deed) in deeds {
            if at > self.plan.end {
                break;
            }
            self.sim.run_to(at);
            self.look();
            match deed {
                Deed::Submit(wish) => self.submit(wish),
                Deed::Cancel(wish) => self.cancel(wish),
                Deed::Ask(wish, by) => self.ask(self.task(wish), by),
                Deed::Act(act) => self.act(act),
                Deed::Look => {}
            }
        }
    }

    fn look(&mut self) {
        for told in self.sim.take_told() {
            self.say(|| format!("peer {} tells {:?}", told.index, told.news));
            self.history.note(told);
        }
        for (task, by) in self.history.take_acknowledged() {
            let Some(entry) = self.history.tasks.get(&task) else { continue };
            // A machine whose disk was taken away since has no say in what was there when it spoke.
            if self.destroyed.iter().any(|(destroyed, _)| *destroyed == task) || self.lost.contains(&by) {
                continue;
            }
            if let Some(what) = checks::acknowledged(&self.sim, entry, task) {
                self.violated(Promise::Acknowledged, what);
            }
        }
    }

    fn submit(&mut self, index: usize) {
        let task = self.task(index);
        let Some(wish) = self.wishes.get(index).cloned() else { return };
        if self.down.contains(&wish.home) || self.lost.contains(&wish.home) {
            return;
        }
        let mut spec = TaskSpec::of_module(BlobId([7; 32]), 20_000);
        spec.inputs.push(Payload::Inline(vec![0; 1_000]));
        spec.policy.cloud = CloudUse::Allow;
        spec.deadline = wish.deadline;
        self.history.submitted(task, wish.home, wish.keeping.durability);
        self.say(|| {
            format!("{task} ({:?}) is handed in at peer {}, runs {:?}", wish.keeping.durability, wish.home, wish.run)
        });
        self.sim.submit_kept(wish.home, task, spec, wish.keeping, wish.run);
    }

    fn cancel(&mut self, index: usize) {
        let task = self.task(index);
        let Some(home) = self.wishes.get(index).map(|wish| wish.home) else { return };
        if let Some(entry) = self.history.tasks.get_mut(&task) {
            entry.cancelled = true;
            self.say(|| format!("{task} is cancelled at peer {home}"));
            self.sim.tell(home, Input::Cancelled(task));
        }
    }

    fn ask(&mut self, task: TaskId, by: usize) {
        if self.history.tasks.contains_key(&task) && !self.down.contains(&by) && !self.lost.contains(&by) {
            let ticket = self.history.asked(task);
            self.sim.tell(by, Input::Sought { task, ticket });
        }
    }

    fn act(&mut self, act: Act) {
        self.say(|| format!("{act:?}"));
        match act {
            Act::Crash(index) => self.crash(index),
            Act::Start(index) => {
                if self.down.remove(&index) {
                    self.start(index);
                }
            }
            Act::Freeze(index) => self.sim.freeze(index),
            Act::Thaw(index) => self.sim.thaw(index),
            Act::Cut(ways) => ways.into_iter().for_each(|(from, to)| self.sim.network().cut(from, to)),
            Act::Mend(ways) => ways.into_iter().for_each(|(from, to)| self.sim.network().mend(from, to)),
            Act::Link(link) => self.sim.network().set_default(link),
            Act::Disturb(duplicated, delayed) => self.sim.network().disturb(duplicated, delayed),
            Act::Disk(index, trouble, sync) => self.sim.trouble_disk(index, trouble, sync),
            Act::FlipBit(index) => {
                let key = self.sim.flip_a_bit(index);
                let task = key.and_then(|key| Some(TaskId(*key.last_chunk::<16>()?)));
                self.destroyed.extend(task.map(|task| (task, index)));
            }
            Act::ReplaceDisk(index) => {
                self.destroy(index);
                self.sim.replace_disk(index);
            }
            Act::Lose(index) => {
                self.crash(index);
                self.destroy(index);
                self.lost.insert(index);
            }
            Act::Calendar(index, off_ms) => self.sim.set_calendar(index, off_ms),
            Act::Struck(fault) => *self.outcome.faults.entry(fault).or_default() += 1,
        }
    }

    fn crash(&mut self, index: usize) {
        if !self.lost.contains(&index) && self.down.insert(index) {
            self.sim.crash(index);
        }
    }

    /// All that lies on a machine's disk is gone.
    fn destroy(&mut self, index: usize) {
        let tasks: Vec<_> = self.history.tasks.keys().copied().collect();
        let gone = tasks.into_iter().filter(|task| checks::has_record(&self.sim, index, *task));
        self.destroyed.extend(gone.map(|task| (task, index)).collect::<Vec<_>>());
    }

    // ── When nothing goes wrong any more ────────────────────────────────────────────────────────────────────────

    fn calm(&mut self) {
        self.say(|| "the faults stop".into());
        self.sim.network().heal();
        self.sim.network().set_default(CALM);
        self.sim.network().disturb(0.0, 0.0);
        for index in 0..self.size.peers {
            self.sim.thaw(index);
            self.sim.trouble_disk(index, None, SYNC);
            if self.down.remove(&index) && !self.lost.contains(&index) {
                self.start(index);
            }
        }
        let calm = self.sim.now();
        if !self.sim.run_until_done(CONVERGE_WITHIN, Sim::converged) {
            let strangers = self.sim.strangers();
            let after = match self.sim.run_until_done(SETTLING, Sim::converged) {
                true => format!("it took {:?}", self.sim.now().since(calm)),
                false => "they never did".to_owned(),
            };
            let what = format!(
                "{:?} after the last fault not all peers saw each other ({after}); first: {:?} did not see {:?} of {}",
                CONVERGE_WITHIN,
                strangers.first().map(|pair| pair.0),
                strangers.first().map(|pair| pair.1),
                strangers.len()
            );
            self.violated(Promise::Convergence, what);
        }
        self.look();
    }

    fn settle(&mut self) {
        self.sim.run_for(SETTLING);
        self.look();
        let mut rng = Pcg64Mcg::seed_from_u64(self.seed ^ 0xa5c);
        let acknowledged: Vec<_> = self
            .history
            .tasks
            .iter()
            .filter(|(_, entry)| entry.acknowledged.is_some())
            .map(|(task, _)| *task)
            .collect();
        for task in &acknowledged {
            let by = rng.random_range(0..self.size.peers);
            let by = (by..by + self.size.peers).map(|by| by % self.size.peers).find(|by| !self.lost.contains(by));
            by.into_iter().for_each(|by| self.ask(*task, by));
        }
        self.sim.run_for(ANSWERING);
        self.look();
        let ends: Vec<_> = self
            .history
            .tasks
            .iter()
            .filter_map(|(task, entry)| {
                // A home that lost its disk knows no keys: handed in again there, the task is another one.
                let is_excused = self.destroyed.contains(&(*task, entry.home))
                    || self.is_excused(*task, entry.durability, entry.home);
                promises::one_end(*task, entry).filter(|_| !is_excused)
            })
            .collect();
        ends.into_iter().for_each(|what| self.violated(Promise::OneEnd, what));
        for task in &acknowledged {
            let Some(entry) = self.history.tasks.get(task) else { continue };
            if self.is_excused(*task, entry.durability, entry.home) {
                self.outcome.copies_lost += 1;
                continue;
            }
            if let Some(what) = promises::ended(*task, entry) {
                self.violated(Promise::NotLost, what);
            }
        }
        self.outcome.submitted = self.history.tasks.len() as u64;
        self.outcome.acknowledged = acknowledged.len() as u64;
        self.outcome.simulated = self.sim.now().since(Time::ZERO);
        self.outcome.trace = self.sim.trace_hash();
    }

    /// Whether the faults destroyed more copies than the promise stands.
    fn is_excused(&self, task: TaskId, durability: Durability, home: usize) -> bool {
        let destroyed = self.destroyed.iter().filter(|(destroyed, _)| *destroyed == task).count();
        promises::is_beyond_promise(durability, destroyed, self.lost.contains(&home))
    }
}
