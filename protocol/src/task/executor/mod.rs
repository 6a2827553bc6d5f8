//! The executing half of negotiation: what this peer offers, admits, queues and runs for itself and for others.
//!
//! ```text
//! Ask ─► reserve, Offer ──► (Release | expiry) ─► free again
//! Award ─► Declined | Forwarded
//!       └► fetching ─► preparing ─► queued ─► running ─► Outcome, repeated until OutcomeReceived
//! Pull ─────────────────────────────► Forwarded
//! ```
//!
//! **Invariant:** what is running or waiting never exceeds the cores and the queue bound, reservations included; an
//! outcome is kept until its home has it.
//! **Not here:** choosing an executor. That is `requester/`.

mod answers;
mod capacity;
mod homes;
mod late;
mod pulling;
mod results;
mod running;

use core::cell::Cell;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use self::results::{Results, Unacknowledged};
use super::TaskState;
use super::deadlines::Deadlines;
use super::report::{Ending, RunReport};
use super::schedule::Lines;
use super::spec::{BlobRef, Payload};
use crate::brief::{Marks, mark};
use crate::config::{
    ACKNOWLEDGED_MAX, COMPILE_US_PER_BYTE, ENDING_BYTES_MAX, HOPS_MAX, MODULES_MAX, PeerConfig, RESERVATIONS_MAX,
    UNACKNOWLEDGED_BYTES_MAX, UNACKNOWLEDGED_MAX, WALL_MAX,
};
use crate::id::{BlobId, PeerId, TaskId};
use crate::input::{HostLoad, PrepareError};
use crate::load::arrivals::Arrivals;
use crate::load::sanity::START_IN_MAX;
use crate::load::usual::Usual;
use crate::load::{AHEAD, LATER_UNIT};
use crate::message::{
    Accepted, Ask, Award, DeclineReason, Declined, Forwarded, LoadDigest, Message, Offer, Outcome, Progress, TaskRef,
};
use crate::output::{Execution, Outbox, Output};
use crate::placement::cost::{self, Job, Terms, run_time, transmission};
use crate::placement::estimates::Estimates;
use crate::residency::Labels;
use crate::sabotage::{self, Bug};
use crate::task::epoch;
use crate::task::receipt::{self, Receipt, SignedReceipt};
use crate::time::Time;

/// An offer stands this long: 1.2 round trips of 100 ms. Longer would block capacity, shorter would break promises.
const OFFER_TTL: Duration = Duration::from_millis(120);
/// A start later than home believed by more than this, and by more than a fiftieth of the run, is worth a look at others.
const LATE_START: Duration = Duration::from_millis(2);
const LATE_SHARE: u32 = 50;
/// With nobody better known, a start later than home believed by more than this and a run is countered.
const COUNTER_LATE: Duration = Duration::from_millis(500);
/// Tasks expected to be over within this time are not confirmed: their outcome is the confirmation.
const UNCONFIRMED_RUN: Duration = Duration::from_millis(1_000);
/// Tasks expected to run longer than this tell their home when they start.
const PROGRESS_RUN: Duration = Duration::from_millis(2_000);
/// A task that waits this long is as urgent as those of the next priority.
const AGEING: Duration = Duration::from_secs(10);
/// A task without a deadline waits behind those that have one within this time, as if that were its own; so does one whose deadline
/// is later.
const UNHURRIED: Duration = Duration::from_secs(60);
/// A dead home's tasks are kept this long, in case it was only cut off.
const ORPHAN_GRACE: Duration = Duration::from_secs(10);
/// The same for tasks that are on disk at home: it will ask for them when it is back.
const KEPT_ORPHAN_GRACE: Duration = Duration::from_secs(600);

#[derive(Debug)]
enum Stage {
    Fetching,
    Preparing,
    Queued,
    Running { since: Time },
}

#[derive(Debug)]
struct Held {
    award: Award,
    stage: Stage,
    arrived: Time,
    ready: Time,
    /// Order of arrival.
    turn: u64,
    /// How long it is expected to run here.
    run: Duration,
    due: Option<Time>,
    /// What it reads, where that is to be signed.
    input: Option<BlobId>,
    confirmed: bool,
}

impl Held {
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

    /// Whether its home itself gave it to this peer; otherwise somebody passed it on.
    fn is_direct(&self) -> bool {
        self.award.hops == 0
    }

    fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running { .. })
    }

    /// Who starts first: by priority, then by deadline, then by arrival. With each [`AGEING`] of waiting a task rises by one
    /// priority, and one without a deadline is not put off for ever by those that have one.
    fn order(&self, now: Time) -> (u32, Time, u64) {
        let waited = now.since(self.arrived).as_micros() / AGEING.as_micros();
        let priority = (self.award.spec.priority as u32).saturating_sub(u32::try_from(waited).unwrap_or(u32::MAX));
        let unhurried = self.arrived + UNHURRIED;
        (priority, self.due.map_or(unhurried, |due| due.min(unhurried)), self.turn)
    }
}

#[derive(Debug)]
struct Reservation {
    home: PeerId,
    run: Duration,
    expires: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    ReservationExpires(TaskId),
    HomeOrphaned(PeerId),
    KeptOrphaned(PeerId),
}

/// What the executing half is told of the rest of the peer.
pub struct Around<'a> {
    /// What was learnt from earlier runs.
    pub estimates: &'a Estimates,
    /// What is known of a neighbour as a place for a task that was passed on to it.
    pub elsewhere: &'a dyn Fn(PeerId) -> Option<Elsewhere<'a>>,
    /// Whether data with these labels may go to a neighbour.
    pub permits: &'a dyn Fn(PeerId, &Labels) -> bool,
}

/// A neighbour to which a task may be passed on.
#[derive(Debug, Clone, Copy)]
pub struct Elsewhere<'a> {
    /// When a task arriving there would start.
    pub start_in: Duration,
    /// Round trip to it.
    pub rtt: Duration,
    /// Its last digest.
    pub load: &'a LoadDigest,
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
    /// What digests say that does not change with tasks, and the speed that is part of it.
    description: u32,
    described_speed: f64,
    /// What of the uplink is left beside what others fetch here.
    uplink_left: u64,
    jobs: BTreeMap<TaskRef, Held>,
    /// The same, as far as time is concerned.
    lines: Lines,
    /// Of the jobs, those that run, and the memory they may claim.
    running: usize,
    memory_claimed: u64,
    reservations: BTreeMap<TaskId, Reservation>,
    unacknowledged: Results,
    prepared: BTreeSet<BlobId>,
    /// Modules of services that are not in the local store: a task of a user here that needs one has to have it fetched.
    absent: BTreeSet<BlobId>,
    deadlines: Deadlines<Due>,
    /// Digests made so far: each is numbered, also those that a shared borrow makes.
    digests: Cell<u32>,
    turns: u64,
    leaving: bool,
    /// Somebody may have been revoked, and this peer not have heard of it.
    is_out_of_date: bool,
    changed: bool,
    /// Runs that ended here since start.
    pub executed: u64,
    usual: Usual,
    arrivals: Arrivals,
    /// Awards passed on since the last call of [`Executing::take_passed`]: to whom, how long they run there, how far it is.
    passed: Vec<(PeerId, TaskRef, Duration, Duration)>,
}

impl Executing {
    /// Nothing to run yet.
    pub fn new(me: PeerId, config: PeerConfig) -> Self {
        Self {
            me,
            description: 1,
            uplink_left: config.uplink_bits_per_s,
            described_speed: config.speed,
            config,
            host: None,
            jobs: BTreeMap::new(),
            lines: Lines::default(),
            running: 0,
            memory_claimed: 0,
            reservations: BTreeMap::new(),
            unacknowledged: Results::default(),
            prepared: BTreeSet::new(),
            absent: BTreeSet::new(),
            deadlines: Deadlines::default(),
            digests: Cell::new(0),
            turns: 0,
            leaving: false,
            is_out_of_date: false,
            changed: false,
            executed: 0,
            usual: Usual::default(),
            arrivals: Arrivals::default(),
            passed: Vec::new(),
        }
    }

    /// Whether what is queued or running here changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    /// Awards passed on since the last call: they burden their receivers until these say so.
    pub fn take_passed(&mut self) -> Vec<(PeerId, TaskRef, Duration, Duration)> {
        core::mem::take(&mut self.passed)
    }

    /// Whether a module can be started here at once.
    pub fn is_prepared(&self, module: BlobId) -> bool {
        self.prepared.contains(&module)
    }

    /// The memory of a module was given back.
    pub fn released(&mut self, module: BlobId) {
        self.prepared.remove(&module);
    }

    /// Modules of services that are not here.
    pub fn modules_are_absent(&mut self, absent: BTreeSet<BlobId>) {
        self.absent = absent;
    }

    /// One of them is here.
    pub fn module_is_here(&mut self, module: BlobId) {
        self.absent.remove(&module);
    }

    /// The module that an attempt here is a run of.
    pub fn module_of(&self, attempt: TaskRef) -> Option<BlobId> {
        self.jobs.get(&attempt)?.module()
    }

    /// Whether a core is free and nothing is there to be run on it.
    pub fn wants_work(&self) -> bool {
        !self.leaving && self.has_free_core()
    }

    /// From now on restricted tasks are declined, or no longer.
    pub fn revocations_aged(&mut self, is_stale: bool) {
        self.is_out_of_date = is_stale;
    }

    /// Whether somebody may have been revoked without this peer having heard of it.
    pub fn may_be_out_of_date(&self) -> bool {
        self.is_out_of_date
    }

    /// Whether nothing is queued or running here.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    fn decline(&mut self, now: Time, to: PeerId, attempt: TaskRef, reason: DeclineReason, out: &mut Outbox) {
        let load = Some(self.digest(now));
        out.send(to, Message::Declined(Declined { attempt, reason, load }));
    }
}

#[cfg(test)]
mod tests;
