//! The executing half of negotiation: what this peer offers, admits, queues and runs for itself and for others.
//!
//! ```text
//! Ask ─► reserve, Offer ──► (Release | expiry) ─► free again
//! Award ─► Declined | Forwarded
//!       └► fetching ─► preparing ─► queued ─► running ─► Outcome, repeated until OutcomeReceived
//! ```
//!
//! **Invariant:** what is running or waiting never exceeds the cores and the queue bound, reservations included; an
//! outcome is kept until its home has it.
//! **Not here:** choosing an executor. That is `requester.rs`.

use core::cell::Cell;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::TaskState;
use super::deadlines::Deadlines;
use super::schedule;
use super::spec::{BlobRef, Ending, Payload, RunReport};
use crate::config::{
    COMPILE_US_PER_BYTE, HOPS_MAX, MODULES_MAX, PeerConfig, RESERVATIONS_MAX, UNACKNOWLEDGED_MAX, WALL_MAX,
};
use crate::id::{BlobId, PeerId, TaskId};
use crate::input::HostLoad;
use crate::load::sanity::START_IN_MAX;
use crate::message::{
    Accepted, Ask, Award, DeclineReason, Declined, Forwarded, LoadDigest, Message, Offer, Outcome, Progress, TaskRef,
};
use crate::output::{Execution, Outbox, Output};
use crate::placement::cost::{run_time, transmission};
use crate::placement::estimates::Estimates;
use crate::time::Time;

/// An offer stands this long: 1.2 round trips of 100 ms. Longer would block capacity, shorter would break promises.
const OFFER_TTL: Duration = Duration::from_millis(120);
/// A start later than home believed by more than this, and more than a quarter of the run, is worth a word.
const LATE_START: Duration = Duration::from_millis(5);
/// Tasks expected to be over within this time are not confirmed: their outcome is the confirmation.
const UNCONFIRMED_RUN: Duration = Duration::from_millis(20);
/// Tasks expected to run longer than this tell their home when they start.
const PROGRESS_RUN: Duration = Duration::from_millis(200);
/// A dead home's tasks are kept this long, in case it was only cut off.
const ORPHAN_GRACE: Duration = Duration::from_secs(10);

#[derive(Debug)]
enum Stage {
    Fetching,
    Preparing,
    Queued,
    Running { since: Time },
}

#[derive(Debug)]
struct Job {
    award: Award,
    stage: Stage,
    arrived: Time,
    ready: Time,
    /// Order of arrival.
    turn: u64,
    /// How long it is expected to run here.
    run: Duration,
    due: Option<Time>,
    confirmed: bool,
}

impl Job {
    fn module(&self) -> Option<BlobId> {
        self.award.spec.variants.get(usize::from(self.award.variant)).map(|variant| variant.module)
    }

    fn state(&self) -> TaskState {
        match self.stage {
            Stage::Fetching | Stage::Preparing => TaskState::Fetching,
            Stage::Queued => TaskState::Queued,
            Stage::Running { .. } => TaskState::Running,
        }
    }

    fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running { .. })
    }
}

#[derive(Debug)]
struct Reservation {
    run: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    ReservationExpires(TaskId),
    HomeOrphaned(PeerId),
}

/// What the executing half is told of the rest of the peer.
pub struct Around<'a> {
    /// What was learnt from earlier runs.
    pub estimates: &'a Estimates,
    /// When a task passed on to a neighbour would start, its distance included.
    pub start_elsewhere: &'a dyn Fn(PeerId) -> Option<Duration>,
}

impl core::fmt::Debug for Around<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Around")
    }
}

/// The tasks that are here to be run.
#[derive(Debug)]
pub struct Executing {
    me: PeerId,
    config: PeerConfig,
    host: Option<HostLoad>,
    jobs: BTreeMap<TaskRef, Job>,
    reservations: BTreeMap<TaskId, Reservation>,
    unacknowledged: BTreeMap<TaskRef, (PeerId, Outcome)>,
    prepared: BTreeSet<BlobId>,
    deadlines: Deadlines<Due>,
    /// Digests made so far: each is numbered, also those that a shared borrow makes.
    digests: Cell<u32>,
    turns: u64,
    leaving: bool,
    changed: bool,
    /// Runs that ended here since start.
    pub executed: u64,
}

impl Executing {
    /// Nothing to run yet.
    pub fn new(me: PeerId, config: PeerConfig) -> Self {
        Self {
            me,
            config,
            host: None,
            jobs: BTreeMap::new(),
            reservations: BTreeMap::new(),
            unacknowledged: BTreeMap::new(),
            prepared: BTreeSet::new(),
            deadlines: Deadlines::default(),
            digests: Cell::new(0),
            turns: 0,
            leaving: false,
            changed: false,
            executed: 0,
        }
    }

    // ── What others say ─────────────────────────────────────────────────────────────────────────────────────────

    /// Answers a request for an offer, and reserves what it offers.
    pub fn handle_ask(&mut self, now: Time, from: PeerId, ask: &Ask, around: &Around<'_>, out: &mut Outbox) {
        let attempt = ask.attempt;
        if let Some(reason) = self.why_not(ask.memory_bytes, ask.attempt.task) {
            return self.decline(now, from, attempt, reason, out);
        }
        let cheapest = (0u8..)
            .zip(&ask.variants)
            .map(|(index, variant)| {
                let prepare = self.prepare(variant.module, variant.module_bytes, from);
                (index, variant, prepare, run_time(variant.work, self.speed()))
            })
            .min_by_key(|(_, _, prepare, run)| *prepare + *run);
        let Some((index, variant, prepare, run)) = cheapest else {
            let reason = DeclineReason::Unacceptable("it names no module".into());
            return self.decline(now, from, attempt, reason, out);
        };
        let run = run.mul_f64(around.estimates.quote_error(self.me)).min(WALL_MAX);
        let offer = self.offer(now, attempt, index, variant.module, prepare, run);
        out.send(from, Message::Offer(offer));
    }

    fn offer(
        &mut self,
        now: Time,
        attempt: TaskRef,
        variant: u8,
        module: BlobId,
        prepare: Duration,
        run: Duration,
    ) -> Offer {
        let load = self.digest(now);
        let start_in = load.start_in.max(prepare);
        self.reservations.insert(attempt.task, Reservation { run });
        self.deadlines.set(Due::ReservationExpires(attempt.task), now + OFFER_TTL);
        let has_module = self.prepared.contains(&module);
        Offer { attempt, variant, start_in, run, expires_in: OFFER_TTL, has_module, load }
    }

    /// Admits, declines, counters or passes on.
    pub fn handle_award(&mut self, now: Time, from: PeerId, award: Award, around: &Around<'_>, out: &mut Outbox) {
        let attempt = award.attempt;
        if self.repeat_of_known(now, attempt, award.home, out) {
            return;
        }
        let reserved = self.release(attempt.task);
        let Some(variant) = award.spec.variants.get(usize::from(award.variant)).cloned() else {
            let reason = DeclineReason::Unacceptable("it names a build that it does not carry".into());
            return self.decline(now, award.home, attempt, reason, out);
        };
        if let Err(error) = award.spec.check() {
            return self.decline(now, award.home, attempt, DeclineReason::Unacceptable(error.to_string()), out);
        }
        if let Some(reason) = self.why_not(award.spec.limits.memory_bytes, attempt.task) {
            if matches!(reason, DeclineReason::QueueFull) && self.pass_on(now, from, &award, Duration::MAX, around, out)
            {
                return;
            }
            return self.decline(now, award.home, attempt, reason, out);
        }
        let work = if around.estimates.knows(variant.module) {
            around.estimates.work(&award.spec, &variant)
        } else {
            award.work
        };
        let run = run_time(work, self.speed()).min(award.spec.limits.wall);
        let prepare = self.prepare(variant.module, variant.module_bytes, award.home);
        let start_in = self.start_for_new(now).max(prepare);
        let late = start_in > award.expected_start + LATE_START.max(run / 4);
        if late && !reserved && !award.firm {
            if self.pass_on(now, from, &award, start_in, around, out) {
                return;
            }
            let counter = self.offer(now, attempt, award.variant, variant.module, prepare, run);
            return self.decline(now, award.home, attempt, DeclineReason::Counter(Box::new(counter)), out);
        }
        self.admit(now, award, variant.module, variant.module_bytes, run, start_in, out);
    }

    /// A repeated award, or one that an earlier or later attempt at the same task makes moot.
    fn repeat_of_known(&mut self, now: Time, attempt: TaskRef, home: PeerId, out: &mut Outbox) -> bool {
        if self.unacknowledged.contains_key(&attempt) || self.jobs.contains_key(&attempt) {
            self.handle_query(now, home, attempt, out);
            return true;
        }
        let others: Vec<_> = self.attempts_of(attempt.task).collect();
        if others.iter().any(|other| other.epoch > attempt.epoch) {
            self.decline(now, home, attempt, DeclineReason::Unknown, out);
            return true;
        }
        for older in others {
            self.drop_job(now, older, out);
        }
        false
    }

    fn attempts_of(&self, task: TaskId) -> impl Iterator<Item = TaskRef> + use<'_> {
        let all = TaskRef { task, epoch: 0 }..=TaskRef { task, epoch: u32::MAX };
        self.jobs.range(all).map(|(attempt, _)| *attempt)
    }

    /// Passes an award on to one of the candidates home named, if one would start it clearly sooner.
    fn pass_on(
        &mut self,
        now: Time,
        from: PeerId,
        award: &Award,
        start_in: Duration,
        around: &Around<'_>,
        out: &mut Outbox,
    ) -> bool {
        if award.hops >= HOPS_MAX {
            return false;
        }
        let sooner = award
            .alternatives
            .iter()
            .filter(|peer| ![self.me, from, award.home].contains(peer))
            .filter_map(|peer| Some((*peer, (around.start_elsewhere)(*peer)?)))
            .filter(|(_, start)| start.saturating_mul(2) < start_in)
            .min_by_key(|(_, start)| *start);
        let Some((to, start)) = sooner else { return false };
        let alternatives = award.alternatives.iter().copied().filter(|peer| *peer != to).collect();
        let passed = Award { hops: award.hops + 1, expected_start: start, alternatives, ..award.clone() };
        out.send(to, Message::Award(Box::new(passed)));
        let load = self.digest(now);
        out.send(award.home, Message::Forwarded(Forwarded { attempt: award.attempt, to, load }));
        true
    }

    #[allow(clippy::too_many_arguments)] // Every one is a fact that its only caller has just established.
    fn admit(
        &mut self,
        now: Time,
        award: Award,
        module: BlobId,
        module_bytes: u64,
        run: Duration,
        start_in: Duration,
        out: &mut Outbox,
    ) {
        let (attempt, home) = (award.attempt, award.home);
        let due = award.spec.deadline.map(|deadline| now + deadline);
        let mut blobs: Vec<_> = award.spec.inputs.iter().filter_map(|input| self.missing(input)).collect();
        let prepared = self.prepared.contains(&module);
        if !prepared && home != self.me {
            blobs.push(BlobRef { id: module, bytes: module_bytes, holder: home });
        }
        let stage = match (blobs.is_empty(), prepared) {
            (false, _) => Stage::Fetching,
            (true, false) => Stage::Preparing,
            (true, true) => Stage::Queued,
        };
        let waits = !matches!(stage, Stage::Queued) || !start_in.is_zero();
        let confirmed = home == self.me || waits || run > UNCONFIRMED_RUN;
        self.turns += 1;
        let job = Job { award, stage, arrived: now, ready: now, turn: self.turns, run, due, confirmed };
        if confirmed {
            let (state, load) = (job.state(), self.digest(now));
            out.send(home, Message::Accepted(Accepted { attempt, state, start_in, load }));
        }
        match job.stage {
            Stage::Fetching => out.push(Output::Fetch { attempt, blobs }),
            Stage::Preparing => out.push(Output::Prepare { module }),
            Stage::Queued | Stage::Running { .. } => {}
        }
        self.jobs.insert(attempt, job);
        self.changed = true;
        self.start_ready(now, out);
    }

    fn missing(&self, input: &Payload) -> Option<BlobRef> {
        match input {
            Payload::Inline(_) => None,
            Payload::Blob(blob) => (blob.holder != self.me).then_some(*blob),
        }
    }

    /// The reserved capacity is free again.
    pub fn handle_release(&mut self, attempt: TaskRef) {
        self.release(attempt.task);
    }

    fn release(&mut self, task: TaskId) -> bool {
        self.deadlines.clear(&Due::ReservationExpires(task));
        self.reservations.remove(&task).is_some()
    }

    /// Nobody wants this attempt any more.
    pub fn handle_cancel(&mut self, now: Time, from: PeerId, attempt: TaskRef, out: &mut Outbox) {
        let is_home = |home: PeerId| home == from;
        if self.unacknowledged.get(&attempt).is_some_and(|(home, _)| is_home(*home)) {
            self.unacknowledged.remove(&attempt);
        }
        if self.jobs.get(&attempt).is_some_and(|job| is_home(job.award.home)) {
            self.drop_job(now, attempt, out);
        }
    }

    /// Says what has become of an attempt.
    pub fn handle_query(&mut self, now: Time, from: PeerId, attempt: TaskRef, out: &mut Outbox) {
        if let Some((_, outcome)) = self.unacknowledged.get(&attempt) {
            return out.send(from, Message::Outcome(Box::new(outcome.clone())));
        }
        match self.jobs.get_mut(&attempt) {
            Some(job) => {
                job.confirmed = true;
                let state = job.state();
                out.send(from, Message::Progress(Progress { attempt, state }));
            }
            None => self.decline(now, from, attempt, DeclineReason::Unknown, out),
        }
    }

    /// The home has the result.
    pub fn handle_outcome_received(&mut self, from: PeerId, attempt: TaskRef) {
        if self.unacknowledged.get(&attempt).is_some_and(|(home, _)| *home == from) {
            self.unacknowledged.remove(&attempt);
        }
    }

    // ── What the driver says ────────────────────────────────────────────────────────────────────────────────────

    /// The blobs of an attempt are here, or cannot be had.
    pub fn fetched(&mut self, now: Time, attempt: TaskRef, result: Result<(), String>, out: &mut Outbox) {
        let Some(job) = self.jobs.get_mut(&attempt) else { return };
        if !matches!(job.stage, Stage::Fetching) {
            return;
        }
        if let Err(why) = result {
            let home = job.award.home;
            self.jobs.remove(&attempt);
            self.decline(now, home, attempt, DeclineReason::FetchFailed(why), out);
            return self.start_ready(now, out);
        }
        let Some(module) = job.module() else { return };
        if self.prepared.contains(&module) {
            self.make_ready(now, attempt, out);
        } else {
            job.stage = Stage::Preparing;
            out.push(Output::Prepare { module });
        }
    }

    /// A module can be started at once, or never.
    pub fn prepared(&mut self, now: Time, module: BlobId, result: Result<Duration, String>, out: &mut Outbox) {
        let waiting: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, job)| matches!(job.stage, Stage::Preparing) && job.module() == Some(module))
            .map(|(attempt, _)| *attempt)
            .collect();
        match result {
            Ok(_) => {
                if self.prepared.len() >= MODULES_MAX {
                    self.prepared.pop_first();
                }
                self.prepared.insert(module);
                for attempt in waiting {
                    self.make_ready(now, attempt, out);
                }
            }
            Err(why) => {
                for attempt in waiting {
                    self.finished(now, attempt, RunReport::without_run(Ending::Invalid(why.clone())), out);
                }
            }
        }
    }

    fn make_ready(&mut self, now: Time, attempt: TaskRef, out: &mut Outbox) {
        if let Some(job) = self.jobs.get_mut(&attempt) {
            job.stage = Stage::Queued;
            job.ready = now;
        }
        self.start_ready(now, out);
    }

    /// A run ended.
    pub fn finished(&mut self, now: Time, attempt: TaskRef, report: RunReport, out: &mut Outbox) {
        let Some(job) = self.jobs.remove(&attempt) else { return };
        if matches!(report.ending, Ending::HostFailed(_)) {
            // Perhaps the module is not prepared any more: prepare it anew the next time.
            job.module().map(|module| self.prepared.remove(&module));
        }
        let started = match job.stage {
            Stage::Running { since } => since,
            Stage::Fetching | Stage::Preparing | Stage::Queued => now,
        };
        self.executed += 1;
        self.changed = true;
        self.start_ready(now, out);
        let outcome = Outcome {
            attempt,
            report,
            speed: self.speed(),
            prepare: job.ready.since(job.arrived),
            queued: started.since(job.ready),
            load: self.digest(now),
        };
        out.send(job.award.home, Message::Outcome(Box::new(outcome.clone())));
        if self.unacknowledged.len() >= UNACKNOWLEDGED_MAX {
            self.unacknowledged.pop_first();
        }
        self.unacknowledged.insert(attempt, (job.award.home, outcome));
    }

    /// What other programs leave to tasks changed.
    pub fn load_sampled(&mut self, host: HostLoad) {
        self.host = Some(HostLoad { cpu_percent: host.cpu_percent.min(100), ..host });
        self.changed = true;
    }

    // ── Homes that come and go ──────────────────────────────────────────────────────────────────────────────────

    /// A peer died: what runs for it is kept for a while, in case it was only cut off.
    pub fn home_lost(&mut self, now: Time, home: PeerId) {
        let concerned = self.jobs.values().any(|job| job.award.home == home)
            || self.unacknowledged.values().any(|(owner, _)| *owner == home);
        if concerned {
            self.deadlines.set(Due::HomeOrphaned(home), now + ORPHAN_GRACE);
        }
    }

    /// A peer is back: it gets the results it may have missed.
    pub fn home_back(&mut self, home: PeerId, out: &mut Outbox) {
        self.deadlines.clear(&Due::HomeOrphaned(home));
        for (owner, outcome) in self.unacknowledged.values() {
            if *owner == home {
                out.send(home, Message::Outcome(Box::new(outcome.clone())));
            }
        }
    }

    /// Gives up reservations and orphans whose time is over.
    pub fn timer(&mut self, now: Time, out: &mut Outbox) {
        while let Some(due) = self.deadlines.pop_due(now) {
            match due {
                Due::ReservationExpires(task) => drop(self.reservations.remove(&task)),
                Due::HomeOrphaned(home) => {
                    self.unacknowledged.retain(|_, (owner, _)| *owner != home);
                    let orphans: Vec<_> = self
                        .jobs
                        .iter()
                        .filter(|(_, job)| job.award.home == home)
                        .map(|(attempt, _)| *attempt)
                        .collect();
                    orphans.into_iter().for_each(|attempt| self.drop_job(now, attempt, out));
                }
            }
        }
    }

    /// When [`Executing::timer`] has something to do.
    pub fn next_deadline(&self) -> Option<Time> {
        self.deadlines.next()
    }

    /// Takes no more work and hands back what has not started; true when nothing runs for others.
    pub fn hand_back(&mut self, now: Time, running_too: bool, out: &mut Outbox) -> bool {
        self.leaving = true;
        let back: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, job)| running_too || !job.is_running())
            .map(|(attempt, job)| (*attempt, job.award.home))
            .collect();
        for (attempt, home) in back {
            self.drop_job(now, attempt, out);
            self.decline(now, home, attempt, DeclineReason::Leaving, out);
        }
        self.jobs.is_empty()
    }

    // ── Capacity ────────────────────────────────────────────────────────────────────────────────────────────────

    /// What this peer says of its spare capacity now.
    pub fn digest(&self, now: Time) -> LoadDigest {
        self.digests.set(self.digests.get().wrapping_add(1));
        self.load(now)
    }

    /// The same without numbering it, for one's own eyes.
    pub fn load(&self, now: Time) -> LoadDigest {
        let running = self.jobs.values().filter(|job| job.is_running()).count();
        LoadDigest {
            sequence: self.digests.get(),
            start_in: self.start_for_new(now).min(START_IN_MAX),
            cores: self.config.cores,
            running: u16::try_from(running).unwrap_or(u16::MAX),
            queued: u16::try_from(self.jobs.len() - running).unwrap_or(u16::MAX),
            queue_max: u16::try_from(self.config.queue_max).unwrap_or(u16::MAX),
            cpu_percent: self.host.map_or(0, |host| host.cpu_percent),
            speed: self.speed(),
            memory_free_bytes: self.memory_free(),
            memory_bytes: self.config.memory_bytes,
            uplink_bits_per_s: self.config.uplink_bits_per_s,
            weights: self.config.weights,
            price: self.config.price,
        }
    }

    /// Whether what is queued or running here changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    /// Whether nothing is queued or running here.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    fn start_for_new(&self, now: Time) -> Duration {
        let running = self.jobs.values().filter_map(|job| match job.stage {
            Stage::Running { since } => Some(schedule::left(job.run, now.since(since))),
            Stage::Fetching | Stage::Preparing | Stage::Queued => None,
        });
        let waiting = self.jobs.values().filter(|job| !job.is_running()).map(|job| job.run);
        let reserved = self.reservations.values().map(|reservation| reservation.run);
        schedule::start_for_new(self.config.cores, running, waiting.chain(reserved))
    }

    /// Speed of a core for tasks: the measured one, less what other programs take of the cores that tasks may use.
    fn speed(&self) -> f64 {
        let Some(host) = self.host else { return self.config.speed };
        let cores = f64::from(self.config.cores.max(1));
        let left = (self.config.host_cores - host.foreign_cores).clamp(0.1, cores);
        self.config.speed * (left / cores.min(self.config.host_cores.max(0.1))).min(1.0)
    }

    fn memory_claimed(&self) -> u64 {
        self.jobs
            .values()
            .filter(|job| job.is_running())
            .map(|job| job.award.spec.limits.memory_bytes)
            .fold(0, u64::saturating_add)
    }

    fn memory_free(&self) -> u64 {
        let own = self.config.memory_bytes.saturating_sub(self.memory_claimed());
        self.host.map_or(own, |host| own.min(host.memory_free_bytes))
    }

    fn why_not(&self, memory_bytes: u64, task: TaskId) -> Option<DeclineReason> {
        let waiting = self.jobs.values().filter(|job| !job.is_running()).count();
        let reserved = self.reservations.len() - usize::from(self.reservations.contains_key(&task));
        let host_free = self.host.map_or(u64::MAX, |host| host.memory_free_bytes);
        if self.leaving {
            Some(DeclineReason::Leaving)
        } else if memory_bytes > self.config.memory_bytes.min(host_free.max(self.memory_claimed())) {
            let free_bytes = self.config.memory_bytes.min(host_free);
            Some(DeclineReason::Memory { wanted_bytes: memory_bytes, free_bytes })
        } else if waiting + reserved >= self.config.queue_max || reserved >= RESERVATIONS_MAX {
            Some(DeclineReason::QueueFull)
        } else {
            None
        }
    }

    fn prepare(&self, module: BlobId, module_bytes: u64, holder: PeerId) -> Duration {
        if self.prepared.contains(&module) {
            return Duration::ZERO;
        }
        let link = (holder != self.me).then_some(self.config.uplink_bits_per_s);
        Duration::from_micros(module_bytes.saturating_mul(COMPILE_US_PER_BYTE)) + transmission(module_bytes, link)
    }

    /// Starts what is ready while cores and memory last: earliest deadline first, then in order of arrival.
    fn start_ready(&mut self, now: Time, out: &mut Outbox) {
        loop {
            let running = self.jobs.values().filter(|job| job.is_running()).count();
            if running >= usize::from(self.config.cores.max(1)) {
                return;
            }
            let free = self.config.memory_bytes.saturating_sub(self.memory_claimed());
            let next = self
                .jobs
                .iter()
                .filter(|(_, job)| matches!(job.stage, Stage::Queued) && job.award.spec.limits.memory_bytes <= free)
                .min_by_key(|(_, job)| (job.due.unwrap_or(Time(u64::MAX)), job.turn))
                .map(|(attempt, _)| *attempt);
            let Some(attempt) = next else { return };
            self.start(now, attempt, out);
        }
    }

    fn start(&mut self, now: Time, attempt: TaskRef, out: &mut Outbox) {
        let Some(job) = self.jobs.get_mut(&attempt) else { return };
        let Some(module) = job.module() else { return };
        job.stage = Stage::Running { since: now };
        let tell = job.confirmed && (job.award.home == self.me || job.run > PROGRESS_RUN);
        if tell {
            out.send(job.award.home, Message::Progress(Progress { attempt, state: TaskState::Running }));
        }
        let spec = &mut job.award.spec;
        // The run is the last one to need the input: it moves, since it may be large.
        let inputs = core::mem::take(&mut spec.inputs);
        let args = core::mem::take(&mut spec.args);
        out.push(Output::Execute(Box::new(Execution { attempt, module, args, inputs, limits: spec.limits })));
    }

    fn drop_job(&mut self, now: Time, attempt: TaskRef, out: &mut Outbox) {
        if self.jobs.remove(&attempt).is_some() {
            self.changed = true;
            out.push(Output::Abort(attempt));
            self.start_ready(now, out);
        }
    }

    fn decline(&mut self, now: Time, to: PeerId, attempt: TaskRef, reason: DeclineReason, out: &mut Outbox) {
        let load = Some(self.digest(now));
        out.send(to, Message::Declined(Declined { attempt, reason, load }));
    }
}

#[cfg(test)]
#[path = "executor_tests.rs"]
mod tests;
