//! One seed from beginning to verdict.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use shoal_protocol::certificate::{RevocationList, Role};
use shoal_protocol::config::PeerConfig;
use shoal_protocol::task::durable::{Durability, Keeping};
use shoal_protocol::task::spec::{BlobRef, CloudUse, Payload};
use shoal_protocol::{BlobId, Input, PeerId, TaskId, TaskSpec, Time};

use super::super::marks::{Mark, REGIONS};
use super::super::{Sim, TaskNews};
use super::afterwards::{self, Expected, Test};
use super::checks;
use super::history::History;
use super::plan::{Act, CALM, Plan, SYNC};
use super::truth::{self, Asked};
use super::users::{Comes, Labelled, Wish, wishes};
use super::watch::{self, Watch};
use super::{Outcome, Size};
use crate::promises::{self, CONVERGE_WITHIN, Promise, Violation};

/// Between the last fault and the last question: every run, its retries and a takeover fit.
const SETTLING: Duration = Duration::from_secs(120);
/// After the faults, before tasks are handed in again: a connection whose other end is gone has been noticed.
const QUIET: Duration = Duration::from_secs(15);
/// For the answers to the last questions.
const ANSWERING: Duration = Duration::from_secs(10);
/// How often what must never happen is looked for.
const LOOK: Duration = Duration::from_millis(500);

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
    /// The last list that was signed, and its hash.
    revocations: Option<(RevocationList, [u8; 32])>,
    /// Tasks of which a copy was destroyed, by the machine that had it.
    destroyed: BTreeSet<(TaskId, usize)>,
    watch: Watch,
    /// A calendar was set.
    calendar_set: bool,
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

/// What is handed in.
#[derive(Debug, Clone, Copy)]
struct Work {
    home: usize,
    keeping: Keeping,
    run: Duration,
    deadline: Option<Duration>,
    may_use_clouds: bool,
    labelled: Option<Labelled>,
}

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
            down: BTreeSet::new(),
            lost: BTreeSet::new(),
            revocations: None,
            destroyed: BTreeSet::new(),
            watch: Watch::default(),
            calendar_set: false,
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

    /// What must never be, now.
    fn look(&mut self) {
        self.hear();
        // Who lost its disk numbers its terms and attempts anew.
        let is_sound = |task: TaskId| !self.destroyed.iter().any(|(destroyed, _)| *destroyed == task);
        let kept = |task| {
            is_sound(task) && self.history.tasks.get(&task).is_some_and(|entry| entry.durability != Durability::Memory)
        };
        let runs = self.watch.runs(&self.sim, is_cloud, kept);
        self.broken(runs);
        let leaks = Watch::leaks(&mut self.sim);
        self.broken(leaks);
        for index in 0..self.sim.len() {
            let over = watch::holdings(&self.sim, index);
            self.broken(over);
        }
    }

    /// What users were told.
    fn hear(&mut self) {
        for told in self.sim.take_told() {
            self.say(|| format!("peer {} tells {:?}", told.index, told.news));
            match &told.news {
                TaskNews::Acknowledged(task) => self.acknowledged(*task, told.index, told.at),
                TaskNews::Found(ticket, Some(found)) if found.state.is_final() => drop(self.last_asked.remove(ticket)),
                TaskNews::Damaged(Some(task)) => drop(self.damage.insert((told.index, *task))),
                TaskNews::Found(..) | TaskNews::Damaged(None) | TaskNews::Finished(..) | TaskNews::Withheld { .. } => {}
            }
            self.history.note(told);
        }
    }

    fn acknowledged(&mut self, task: TaskId, by: usize, at: Time) {
        // A machine whose disk was taken away since has no say in what was there when it spoke.
        if self.destroyed.iter().any(|(destroyed, _)| *destroyed == task) || self.lost.contains(&by) {
            return;
        }
        let there = watch::copies_at(&self.sim, task, at);
        let entry = self.history.tasks.get(&task);
        if let Some(what) = entry.and_then(|entry| checks::acknowledged(there, entry, task)) {
            self.violated(Promise::Acknowledged, what);
        }
    }

    fn submit(&mut self, index: usize) {
        let task = self.task(index);
        let Some(wish) = self.wishes.get(index).cloned() else { return };
        if self.down.contains(&wish.home) || self.lost.contains(&wish.home) {
            return;
        }
        let Wish { home, keeping, run, deadline, may_use_clouds, labelled, .. } = wish;
        self.hand_in(task, Work { home, keeping, run, deadline, may_use_clouds, labelled });
    }

    fn hand_in(&mut self, task: TaskId, work: Work) {
        let Work { home, keeping, run, deadline, may_use_clouds, labelled } = work;
        // A home that is in no region may not be told the end by an heir.
        let may_be_told = region(home).is_some() || keeping.durability != Durability::Guarded;
        let labelled = labelled.filter(|_| may_be_told);
        // With labels few are left in a small mesh, and all of them may be clouds.
        let may_use_clouds = may_use_clouds || labelled.is_some();
        let mut spec = TaskSpec::of_module(BlobId([7; 32]), 20_000);
        spec.inputs.push(Payload::inline(vec![0; 1_000]));
        if let Some(labelled) = labelled {
            self.label(task, home, labelled, &mut spec);
        }
        spec.policy.cloud = if may_use_clouds { CloudUse::Allow } else { CloudUse::Never };
        spec.deadline = deadline;
        if !may_use_clouds {
            self.watch.keep_from_clouds(task);
        }
        self.handed_in.entry(task).or_insert((self.sim.now(), deadline.unwrap_or(keeping.retention)));
        self.history.submitted(task, home, keeping.durability);
        self.say(|| format!("{task} ({:?}) is handed in at peer {home}, runs {run:?}", keeping.durability));
        self.sim.submit_kept(home, task, spec, keeping, run);
    }

    /// Adds input that may be in the region of its home and in another, or nowhere but there.
    fn label(&mut self, task: TaskId, home: usize, labelled: Labelled, spec: &mut TaskSpec) {
        let mark = Mark::of(region(home).into_iter().chain([labelled.also]));
        self.marks.insert(task, mark);
        let id = BlobId::of(&task.0);
        let holder = match labelled.comes {
            Comes::Inline => {
                self.sim.watch_marks();
                spec.inputs.push(Payload::inline(mark.bytes()));
                return spec.labels.join(&mark.labels());
            }
            Comes::AsBlob => {
                spec.labels.join(&mark.labels());
                home
            }
            // Whoever it was put at has it, and may.
            Comes::FromElsewhere => {
                let others = (1..self.size.peers).map(|step| (home + step) % self.size.peers);
                others.clone().find(|other| mark.allows(region(*other))).unwrap_or(home)
            }
        };
        self.sim.mark_blob(id, mark);
        spec.inputs.push(Payload::Blob(BlobRef { id, bytes: 100_000, holder: self.sim.id(holder) }));
    }

    fn cancel(&mut self, index: usize) {
        if let Some(home) = self.wishes.get(index).map(|wish| wish.home) {
            self.cancel_at(home, self.task(index));
        }
    }

    fn cancel_at(&mut self, home: usize, task: TaskId) {
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
                if !self.lost.contains(&index) && self.down.remove(&index) {
                    self.start(index);
                }
            }
            Act::Freeze(index) => self.sim.freeze(index),
            Act::Thaw(index) => self.sim.thaw(index),
            Act::Cut(ways) => ways.into_iter().for_each(|(from, to)| self.sim.network().cut(from, to)),
            Act::Mend(ways) => ways.into_iter().for_each(|(from, to)| self.sim.network().mend(from, to)),
            Act::Link(link) => self.sim.network().set_default(link),
            Act::Disturb(duplicated, delayed) => {
                self.watch.doubled |= duplicated > 0.0;
                self.sim.network().disturb(duplicated, delayed);
            }
            Act::Disk(index, trouble, sync) => self.sim.trouble_disk(index, trouble, sync),
            Act::FlipBit(index) => {
                let Some((key, was)) = self.sim.flip_a_bit(index) else { return };
                let task = key.last_chunk::<16>().map(|id| TaskId(*id));
                self.destroyed.extend(task.map(|task| (task, index)));
                self.watch.flipped(index, key, was);
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
            Act::Revoke(index, by) => self.revoke(index, by),
            Act::End(index) => {
                if self.down.insert(index) {
                    self.sim.crash(index);
                }
            }
            Act::Calendar(index, off_ms) => {
                self.calendar_set = true;
                self.sim.set_calendar(index, off_ms);
            }
            Act::Leave(index) => {
                if !self.down.contains(&index) && !self.lost.contains(&index) {
                    self.sim.tell(index, Input::ShutdownRequested);
                }
            }
            Act::Install(index, edition) => self.sim.install(index, edition),
            Act::Lie(index, lies) => {
                self.watch.doubled |= lies;
                self.sim.lie(index, lies);
            }
            Act::Struck(fault) => *self.outcome.faults.entry(fault).or_default() += 1,
        }
    }

    fn crash(&mut self, index: usize) {
        if !self.lost.contains(&index) && self.down.insert(index) {
            self.sim.crash(index);
        }
    }

    /// Nobody counts on a machine from now on, whatever it says, though it may take a while until it hears why.
    fn revoke(&mut self, index: usize, by: usize) {
        let peers = self.size.peers;
        let runs = |by: &usize| *by != index && !self.down.contains(by) && !self.lost.contains(by);
        let Some(by) = (by..by + peers).map(|by| by % peers).find(runs) else { return };
        if !self.lost.insert(index) {
            return;
        }
        self.destroy(index);
        let mut list = match self.revocations.take() {
            Some((list, digest)) => list.next(digest, list.issued_unix_s),
            None => self.sim.first_revocations(),
        };
        list.peers.insert(self.sim.id(index));
        self.revocations = self.sim.revoke(by, &list).map(|signed| (list, signed.digest()));
    }

    /// All that lies on a machine's disk is gone.
    fn destroy(&mut self, index: usize) {
        let tasks: Vec<_> = self.history.tasks.keys().copied().collect();
        // A witness that was never asked has no record, and will not sit with a new disk either.
        let gone = tasks.into_iter().filter(|task| {
            let home = self.history.tasks.get(task).map(|entry| entry.home);
            checks::has_record(&self.sim, index, *task)
                || home.is_some_and(|home| checks::is_member(&self.sim, home, index, *task))
        });
        self.destroyed.extend(gone.map(|task| (task, index)).collect::<Vec<_>>());
        self.watch.disk_gone(index);
    }

    // ── When nothing goes wrong any more ────────────────────────────────────────────────────────────────────────

    fn calm(&mut self) {
        self.say(|| "the faults stop".into());
        self.sim.network().heal();
        self.sim.network().set_default(CALM);
        self.sim.network().disturb(0.0, 0.0);
        for index in 0..self.sim.len() {
            self.sim.lie(index, false);
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
            self.describe_strangers(&strangers);
            self.violated(Promise::Convergence, what);
        }
        self.sim.run_for(QUIET.saturating_sub(self.sim.now().since(calm)));
        self.look();
    }

    /// Tells what each of two peers knows of the other.
    fn describe_strangers(&mut self, strangers: &[(usize, usize)]) {
        let ways = strangers.iter().take(3).flat_map(|(one, other)| [(*one, *other), (*other, *one)]);
        let mut known = Vec::new();
        for (by, of) in ways {
            let Some((peer, now)) = self.sim.peer(by).zip(self.sim.clock(by)) else { continue };
            let view = peer.peers(now).into_iter().find(|view| view.peer == self.sim.id(of));
            known.push(format!("at {:?} peer {by} knows of peer {of}: {view:?}", self.sim.now()));
        }
        known.into_iter().for_each(|what| self.say(|| what));
    }

    /// What is handed in now must be taken on, and end as it should.
    fn afterwards(&mut self) {
        let began = self.sim.now();
        let mut rng = Pcg64Mcg::seed_from_u64(self.seed ^ 0xaf7e);
        let mut homes: Vec<usize> = (0..self.size.peers).filter(|index| !self.lost.contains(index)).collect();
        let turn = rng.random_range(0..homes.len().max(1));
        homes.rotate_left(turn);
        let first = self.wishes.len();
        let tests: Vec<(TaskId, Test)> =
            (first..).map(|n| self.task(n)).zip(afterwards::tests(&homes, &mut rng)).collect();
        for (task, test) in &tests {
            let Test { home, keeping, run, deadline, .. } = *test;
            self.hand_in(*task, Work { home, keeping, run, deadline, may_use_clouds: true, labelled: None });
        }
        self.sim.run_for(afterwards::CANCELLED_AFTER);
        for (task, test) in tests.iter().filter(|(_, test)| test.expected == Expected::Cancelled) {
            self.cancel_at(test.home, *task);
        }
        let gone = homes.first().copied().unwrap_or(0);
        self.look();
        self.say(|| format!("peer {gone} is gone"));
        self.crash(gone);
        self.watch_until(began + (afterwards::WITHIN - afterwards::ASKED_BEFORE));
        for (task, _) in tests.iter().filter(|(_, test)| test.expected == Expected::Orphaned) {
            let others: Vec<usize> = homes.iter().copied().filter(|index| *index != gone).collect();
            let by = others.get(rng.random_range(0..others.len().max(1)));
            by.into_iter().for_each(|by| self.ask(*task, *by));
        }
        self.watch_until(began + afterwards::WITHIN);
        for (task, test) in &tests {
            let Some(entry) = self.history.tasks.get(task) else { continue };
            let what = afterwards::judge(test, entry, began).map(|what| format!("{task} {what}"));
            what.into_iter().for_each(|what| self.violated(Promise::Works, what));
            let runs_on = self.sim.running_at(*task).map(|at| format!("{task} has ended and still runs at peer {at}"));
            runs_on.into_iter().for_each(|what| self.violated(Promise::Works, what));
        }
        self.down.remove(&gone);
        self.start(gone);
        self.watch_until(began + SETTLING);
        for (task, _) in tests.iter().filter(|(_, test)| test.expected == Expected::Forgotten) {
            // What is asked for below is what must still be found.
            self.history.tasks.remove(task);
            let remains = watch::remains(&self.sim, *task);
            if !remains.is_empty() {
                let what = format!(
                    "{task} was kept for {:?} and is still on the disks of {remains:?} {:?} after it was handed in",
                    afterwards::SHORTLY,
                    self.sim.now().since(began)
                );
                self.violated(Promise::Retention, what);
            }
        }
    }

    fn watch_until(&mut self, end: Time) {
        while self.sim.now() < end {
            self.sim.run_to((self.sim.now() + Duration::from_secs(1)).min(end));
            self.look();
        }
    }

    fn settle(&mut self) {
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
            // I7 does not go beyond I10: a result is told to who may have it.
            let mark = self.marks.get(task).copied();
            let may = |by: &usize| !self.lost.contains(by) && mark.is_none_or(|mark| mark.allows(region(*by)));
            let by = (by..by + self.size.peers).map(|by| by % self.size.peers).find(may);
            if let Some(by) = by {
                let ticket = self.history.asked(*task);
                self.last_asked.insert(ticket, *task);
                self.say(|| format!("peer {by} is asked for {task} ({ticket})"));
                self.sim.tell(by, Input::Sought { task: *task, ticket });
            }
        }
        self.sim.run_for(ANSWERING);
        self.look();
        self.judge_ends();
        for task in &acknowledged {
            let Some(entry) = self.history.tasks.get(task) else { continue };
            if self.is_excused(*task, entry.durability, entry.home) {
                self.outcome.copies_lost += 1;
                continue;
            }
            if let Some(what) = promises::ended(*task, entry) {
                let peers = (0..self.size.peers).filter_map(|index| Some((index, self.sim.peer(index)?)));
                let at: Vec<_> = peers.map(|(index, peer)| format!("peer {index}: {}", peer.describe(*task))).collect();
                at.into_iter().for_each(|what| self.say(|| what));
                self.violated(Promise::NotLost, what);
            } else if self.last_asked.values().any(|asked| asked == task) {
                let what = format!("{task} has ended, and another peer that is asked for its end does not find it");
                self.violated(Promise::Reachable, what);
            }
        }
        self.outcome.submitted = self.history.tasks.len() as u64;
        self.outcome.acknowledged = acknowledged.len() as u64;
        self.outcome.simulated = self.sim.now().since(Time::ZERO);
        self.outcome.trace = self.sim.trace_hash();
    }

    /// I2 to I4 for every task that somebody told an end of.
    fn judge_ends(&mut self) {
        let mut broken = Vec::new();
        for (task, entry) in &self.history.tasks {
            // A home that lost its disk knows no keys: handed in again there, the task is another one.
            let is_another = self.destroyed.contains(&(*task, entry.home));
            if !is_another && !self.is_excused(*task, entry.durability, entry.home) {
                broken.extend(promises::one_end(*task, entry).map(|what| (Promise::OneEnd, what)));
            }
            let (at, lifetime) = self.handed_in.get(task).copied().unwrap_or_default();
            let asked = Asked { at, lifetime, calendar_set: self.calendar_set };
            let is_kept = entry.durability != Durability::Memory;
            let judged = entry.answers.iter().filter(|_| is_kept && entry.acknowledged.is_some());
            broken.extend(judged.filter_map(|answer| truth::of(&self.sim, *task, entry, answer, asked)));
        }
        self.broken(broken);
    }

    /// Whether the faults destroyed more copies than the promise stands.
    fn is_excused(&self, task: TaskId, durability: Durability, home: usize) -> bool {
        let destroyed = self.destroyed.iter().filter(|(destroyed, _)| *destroyed == task).count();
        promises::is_beyond_promise(durability, destroyed, self.lost.contains(&home))
    }
}
