//! One kept task: the task itself, what this peer has promised about it, and what it does about it.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::Keeping;
use super::acceptor::{Acceptor, Ballot, Vote};
use super::resolution::{Council, Resolution};
use super::wire::Case;
use crate::id::{BlobId, PeerId, TaskId};
use crate::task::spec::{BlobRef, Payload, TaskSpec};
use crate::time::Time;

/// A task as whoever leads it needs it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeptTask {
    pub(crate) name: String,
    pub(crate) spec: TaskSpec,
    pub(crate) keeping: Keeping,
    /// When it was taken on, or this peer learnt of it…
    pub(crate) accepted: Time,
    /// …and how old it was then.
    pub(crate) aged: Duration,
    /// Attempts that died with their executors, or that they failed.
    pub(crate) failures: u32,
}

impl KeptTask {
    pub(crate) fn age(&self, now: Time) -> Duration {
        self.aged + now.since(self.accepted)
    }

    /// Everything that must be in the local store to run it.
    pub(super) fn blobs(&self) -> Vec<BlobId> {
        let inputs = self.spec.inputs.iter().filter_map(|input| match input {
            Payload::Blob(blob) => Some(blob.id),
            Payload::Inline(_) => None,
        });
        self.spec.variants.iter().map(|variant| variant.module).chain(inputs).collect()
    }
}

/// One kept task, in whatever role.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) council: Council,
    pub(super) acceptor: Acceptor,
    /// The vote of the acceptor is known to be the end.
    pub(super) resolved: bool,
    /// Earlier councils of the task ended as refusals, from the one of this term on; known at home.
    pub(super) refused_since: Option<u64>,
    /// The highest ballot heard of: its owner leads.
    pub(super) seen: Ballot,
    /// Everything about it is forgotten then.
    pub(super) until: Time,
    /// How long its end is kept; zero at a witness, which keeps it until `until` in any case.
    pub(super) retention: Duration,
    /// The task, while its end is open; whoever leads it has another in its book.
    pub(super) copy: Option<Box<KeptTask>>,
    /// It should be here too, and is not: this member was asked for its vote and has no copy.
    pub(super) lacks_copy: bool,
    /// What it counts for in memory.
    pub(super) bytes: usize,
    pub(super) stage: Stage,
    /// As many copies are on disk as its user asked for, and home has not refused it, as far as whoever leads it has heard since it
    /// started or was followed.
    pub(super) confirmed: bool,
    /// Since when this run knows of it, and how old it was then.
    pub(super) since: Time,
    pub(super) aged: Duration,
    /// How often the words of this stage were repeated.
    pub(super) repeats: u32,
}

/// What this peer does about a kept task.
#[derive(Debug)]
pub(super) enum Stage {
    /// Nothing: another leads it, or everybody knows how it ended.
    Idle,
    /// Its records are being written.
    Writing,
    /// Its guardian was asked for a copy.
    Guarding,
    /// We lead it, and it has not ended.
    Leading,
    /// We would lead it.
    Preparing {
        ballot: Ballot,
        promises: BTreeMap<PeerId, Option<Vote>>,
        /// The one that led says itself that it does not.
        leader_gave_up: bool,
    },
    /// We lead it, and this is to be its end.
    Proposing { vote: Box<Vote>, votes: BTreeSet<PeerId> },
    /// It has ended, and these know.
    Telling { known: BTreeSet<PeerId> },
}

impl Kept {
    pub(super) fn leader(&self) -> PeerId {
        self.seen.max(self.acceptor.promised).owner
    }

    /// Whether this member can run the task, should its leader be lost; home has it in its book.
    pub(super) fn is_heir(&self, me: PeerId) -> bool {
        self.copy.is_some() || self.council.home() == Some(me) && !self.lacks_copy
    }

    pub(super) fn see(&mut self, ballot: Ballot) {
        self.seen = self.seen.max(ballot);
    }

    /// Whether this peer leads, and has not been told otherwise.
    pub(super) fn leads(&self) -> bool {
        match self.stage {
            Stage::Writing | Stage::Guarding | Stage::Leading | Stage::Proposing { .. } => true,
            Stage::Idle | Stage::Preparing { .. } | Stage::Telling { .. } => false,
        }
    }

    /// Whether a submission of this term is on its way to our disk.
    pub(super) fn is_written_as(&self, term: u64) -> bool {
        matches!(self.stage, Stage::Writing) && self.council.term == term
    }

    /// Whether it has ended, and a member that keeps a copy has not said that it knows.
    pub(super) fn is_untold(&self) -> bool {
        let Stage::Telling { known } = &self.stage else { return false };
        self.council.with_copies().any(|peer| !known.contains(&peer))
    }

    /// Whether nobody else can decide on its end, and there is none on this disk.
    pub(super) fn is_open_here_alone(&self) -> bool {
        (!self.resolved || self.leads()) && self.council.members.len() == 1
    }

    pub(super) fn age(&self, now: Time) -> Duration {
        self.aged.saturating_add(now.since(self.since))
    }

    pub(super) fn case(&self, task: TaskId) -> Case {
        Case { task, term: self.council.term }
    }

    /// Whether this is what is left of a submission that was refused: there may be another.
    pub(super) fn makes_way(&self) -> bool {
        self.end().is_some_and(Resolution::is_refusal)
    }

    pub(super) fn end(&self) -> Option<&Resolution> {
        self.resolved.then(|| self.acceptor.accepted.as_ref().map(|vote| &vote.resolution)).flatten()
    }
}

/// Inline bytes of a task's input: what it costs in memory.
pub(super) fn weight(spec: &TaskSpec) -> usize {
    let inline = spec.inputs.iter().map(|input| match input {
        Payload::Inline(bytes) => bytes.len(),
        Payload::Blob(_) => 0,
    });
    inline.sum::<usize>() + spec.args.iter().map(String::len).sum::<usize>()
}

pub(super) fn weight_of_end(resolution: &Resolution) -> usize {
    resolution.result.as_ref().map_or(0, |result| {
        let output = match &result.report.output {
            Payload::Inline(bytes) => bytes.len(),
            Payload::Blob(_) => 0,
        };
        output + result.report.log.len()
    })
}

/// The large output of an end, if it has one.
pub(super) fn output_of(resolution: &Resolution) -> Option<BlobRef> {
    match resolution.result.as_ref().ok()?.report.output {
        Payload::Blob(blob) => Some(blob),
        Payload::Inline(_) => None,
    }
}
