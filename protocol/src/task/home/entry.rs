//! One task of a user of this peer.

use core::time::Duration;
use std::collections::BTreeMap;

use super::{Early, Phase, Promise};
use crate::id::PeerId;
use crate::message::TaskRef;
use crate::output::TaskError;
use crate::placement::Record;
use crate::task::TaskState;
use crate::task::durable::{Durability, Keeping, KeptTask};
use crate::task::requester::{Ahead, Answers};
use crate::task::spec::{Payload, TaskSpec};
use crate::time::Time;

/// So often a kept task finds nobody before it takes who was late before: half a minute of pauses that grow.
pub(crate) const WAITS_FOR_BETTER: u32 = 7;

/// A task of a user of this peer.
#[derive(Debug)]
pub(crate) struct HomeTask {
    pub(crate) name: String,
    pub(crate) spec: TaskSpec,
    pub(crate) state: TaskState,
    pub(crate) phase: Phase,
    pub(crate) accepted: Time,
    pub(crate) awarded: Time,
    /// What its executor made us expect.
    pub(crate) promise: Promise,
    /// The current attempt; only its outcome may be committed.
    pub(crate) epoch: u64,
    /// Attempts that died with their executor, or that it failed.
    pub(crate) failures: u32,
    /// Since when attempts fail; nothing once one is under way again.
    pub(crate) failing_since: Option<Time>,
    /// Peers not to ask again, and why.
    pub(crate) tried: BTreeMap<PeerId, String>,
    pub(crate) executor: Option<PeerId>,
    pub(crate) variant: u8,
    pub(crate) records: Vec<Record>,
    /// How it is kept.
    pub(crate) keeping: Keeping,
    /// How old it was when it was accepted here.
    pub(crate) aged: Duration,
    /// The highest epoch that an attempt may have had so far.
    pub(crate) issued: u64,
    /// It was submitted here; otherwise it was taken over.
    pub(crate) ours: bool,
    /// What was said about the current attempt by who is not known to have it.
    pub(crate) early: Early,
    /// What those said that have run it, where that is compared.
    pub(crate) answers: Answers,
    /// Executors whose results are let go when its end is decided.
    pub(crate) release: Vec<(PeerId, TaskRef)>,
    /// Its user withdrew it before it was on disk.
    pub(crate) cancelled: bool,
    /// How often nobody could run it, since it began or since it last took who was there.
    pub(crate) waits: u32,
    /// The attempt is at a peer that is distrusted, as nobody else was left.
    pub(crate) is_last_resort: bool,
    /// What comes after it would cost, by where it runs.
    pub(crate) ahead: Ahead,
    /// Of its input, in memory.
    pub(super) bytes: u64,
    pub(super) turn: u64,
}

impl HomeTask {
    /// Time left to the deadline at `now`.
    pub(crate) fn deadline_in(&self, now: Time) -> Option<Duration> {
        self.spec.deadline.map(|deadline| deadline.saturating_sub(self.age(now)))
    }

    /// Time since it was submitted.
    pub(crate) fn age(&self, now: Time) -> Duration {
        self.aged + now.since(self.accepted)
    }

    /// Whether it has waited so long for somebody that it takes who was late before; one that may run once is not risked so.
    pub(crate) fn takes_anybody(&self) -> bool {
        self.waits >= WAITS_FOR_BETTER && self.spec.retries != Some(0)
    }

    /// The attempt came to nothing. That of a peer which was not expected to do better is none of those there may be, unless the
    /// user has said how many: its lifetime bounds them.
    pub(crate) fn has_failed(&mut self) {
        if !self.is_last_resort || self.spec.retries.is_some() {
            self.failures += 1;
        }
    }

    /// Whether it is on disk.
    pub(crate) fn is_kept(&self) -> bool {
        self.keeping.durability != Durability::Memory
    }

    /// Whether all that is known is that its record cannot be read.
    pub(crate) fn is_damaged(&self) -> bool {
        matches!(self.phase, Phase::Ended(Err(TaskError::RecordDamaged { .. })))
    }

    /// An epoch that no attempt had before.
    pub(crate) fn next_epoch(&self) -> u64 {
        self.epoch.max(self.issued) + 1
    }

    /// What is kept of it.
    pub(crate) fn to_keep(&self) -> KeptTask {
        KeptTask {
            name: self.name.clone(),
            spec: self.spec.clone(),
            keeping: self.keeping,
            accepted: self.accepted,
            aged: self.aged,
            failures: self.failures,
        }
    }

    /// The record of the current attempt.
    pub(crate) fn record(&mut self) -> Option<&mut Record> {
        self.records.last_mut()
    }

    pub(super) fn result_bytes(&self) -> usize {
        match &self.phase {
            Phase::Ended(Ok(result)) => {
                let output = match &result.report.output {
                    Payload::Inline(bytes) => bytes.len(),
                    Payload::Blob(_) => 0,
                };
                output + result.report.log.len()
            }
            Phase::Ended(Err(_)) => 0,
            Phase::Waiting
            | Phase::Asking { .. }
            | Phase::Awarded { .. }
            | Phase::Collecting { .. }
            | Phase::Storing
            | Phase::Recovering { .. }
            | Phase::Resolving
            | Phase::Elsewhere => 0,
        }
    }
}
