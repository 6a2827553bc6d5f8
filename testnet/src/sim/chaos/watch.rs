//! What must never be otherwise at any peer, looked for while everything goes wrong.
//!
//! **Invariant:** only what a person could see from outside counts: what is held, what runs where, what is said of damage.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use shoal_protocol::message::TaskRef;
use shoal_protocol::{TaskId, Time};

use super::super::Sim;
use super::super::marks::Leak;
use crate::promises::Promise;

/// A reservation may outlive its time by this much: timers are late by less.
const OVERDUE_MAX: Duration = Duration::from_secs(1);
/// What was said while messages were doubled has arrived twice after this long.
const DOUBLED_LATE_MAX: Duration = Duration::from_secs(5);

/// A record whose bit was flipped, as it was before.
#[derive(Debug)]
struct Flipped {
    key: Vec<u8>,
    was: Vec<u8>,
}

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Where each attempt began to run first.
    began: BTreeMap<TaskRef, usize>,
    looked_at: usize,
    /// Tasks that may not run at a cloud peer.
    local: BTreeSet<TaskId>,
    flipped: BTreeMap<usize, Vec<Flipped>>,
    /// When messages arrive twice: an award may be heard by two that it was passed between.
    pub(super) doubling: Doubling,
}

/// When messages arrive twice.
#[derive(Debug, Default)]
pub(super) struct Doubling {
    by_network: bool,
    /// Those who repeat what they said.
    liars: BTreeSet<usize>,
    until: Option<Time>,
}

impl Doubling {
    pub(super) fn network(&mut self, now: Time, doubles: bool) {
        self.note(now);
        self.by_network = doubles;
    }

    pub(super) fn liar(&mut self, now: Time, index: usize, lies: bool) {
        self.note(now);
        match lies {
            true => self.liars.insert(index),
            false => self.liars.remove(&index),
        };
    }

    fn note(&mut self, now: Time) {
        if self.is_on() {
            self.until = Some(now + DOUBLED_LATE_MAX);
        }
    }

    fn is_on(&self) -> bool {
        self.by_network || !self.liars.is_empty()
    }

    /// Whether what was said of a task may have been heard twice that was handed in then.
    pub(super) fn concerns(&self, handed_in: Time) -> bool {
        self.is_on() || self.until.is_some_and(|until| handed_in <= until)
    }
}

impl Watch {
    /// A task may not run at a cloud peer.
    pub(super) fn keep_from_clouds(&mut self, task: TaskId) {
        self.local.insert(task);
    }

    /// A bit of a record is wrong now.
    pub(super) fn flipped(&mut self, index: usize, key: Vec<u8>, was: Vec<u8>) {
        self.flipped.entry(index).or_default().push(Flipped { key, was });
    }

    /// A machine has another disk, or is gone.
    pub(super) fn disk_gone(&mut self, index: usize) {
        self.flipped.remove(&index);
    }

    /// I4 and I10, of the runs since the last look.
    ///
    /// Tasks that are in memory only are numbered anew when their home starts anew: they are not single, and no more are those
    /// that were heard of twice.
    pub(super) fn runs(
        &mut self,
        sim: &Sim,
        is_cloud: impl Fn(usize) -> bool,
        is_single: impl Fn(TaskId) -> bool,
    ) -> Vec<(Promise, String)> {
        let mut broken = Vec::new();
        let runs = sim.runs();
        for ran in runs.get(self.looked_at..).unwrap_or_default() {
            let (attempt, index) = (ran.attempt, ran.index);
            let first = *self.began.entry(attempt).or_insert(index);
            if first != index && is_single(attempt.task) {
                let what =
                    format!("attempt {:x} at {} ran at peer {first} and at peer {index}", attempt.epoch, attempt.task);
                broken.push((Promise::OneRun, what));
            }
            if is_cloud(index) && self.local.contains(&attempt.task) {
                let what = format!("{} ran at peer {index}, a cloud, which its user does not allow", attempt.task);
                broken.push((Promise::Residency, what));
            }
        }
        self.looked_at = runs.len();
        broken
    }

    /// I10, of everything that was sent since the last look.
    pub(super) fn leaks(sim: &mut Sim) -> Vec<(Promise, String)> {
        let told = |leak: Leak| {
            let Leak { at, from, to, what } = leak;
            (
                Promise::Residency,
                format!("peer {from} sent data to peer {to} at {at:?}, which may not have it ({what})"),
            )
        };
        sim.take_leaks().into_iter().map(told).collect()
    }

    /// What a machine that starts finds damaged, and must say; `said` is what it said.
    pub(super) fn started(&mut self, sim: &Sim, index: usize, said: &BTreeSet<TaskId>) -> Vec<(Promise, String)> {
        let Some(disk) = sim.disk(index) else { return Vec::new() };
        let bad = |flipped: &&Flipped| {
            let now = disk.records().find(|(key, _)| *key == flipped.key);
            now.is_some_and(|(_, bytes)| bytes != flipped.was)
        };
        let unsaid = |flipped: &Flipped| {
            let task = TaskId(*flipped.key.last_chunk::<16>()?);
            let what = format!("peer {index} started with a damaged record of {task} and did not say so");
            (!said.contains(&task)).then_some((Promise::Damage, what))
        };
        let flipped = self.flipped.remove(&index).unwrap_or_default();
        flipped.iter().filter(bad).filter_map(unsaid).collect()
    }
}

/// I5 and I6 at one peer, now.
pub(super) fn holdings(sim: &Sim, index: usize) -> Vec<(Promise, String)> {
    let (Some(peer), Some(now)) = (sim.peer(index), sim.clock(index)) else { return Vec::new() };
    let over = peer.holdings().into_iter().filter(|holding| holding.held > holding.max);
    let over = over.map(|holding| {
        let what = format!("peer {index} holds {} {}, its bound is {}", holding.held, holding.what, holding.max);
        (Promise::Bounds, what)
    });
    let overdue = peer.overdue_reservation(now).filter(|late| *late > OVERDUE_MAX);
    let overdue = overdue.map(|late| {
        (Promise::Reservations, format!("a reservation at peer {index} has outlived its time by {late:?}"))
    });
    over.chain(overdue).collect()
}

/// I1, of the moment of the acknowledgement: machines that had the task on disk by then.
pub(super) fn copies_at(sim: &Sim, task: TaskId, at: Time) -> usize {
    let key = [b"t", task.0.as_slice()].concat();
    let had = |index: &usize| sim.disk(*index).and_then(|disk| disk.since(&key)).is_some_and(|since| since <= at);
    (0..sim.len()).filter(had).count()
}

/// The records of a task that are still on the disks of machines that run.
pub(super) fn remains(sim: &Sim, task: TaskId) -> Vec<usize> {
    (0..sim.len()).filter(|index| sim.peer(*index).is_some() && super::checks::has_record(sim, *index, task)).collect()
}
