//! One member's half by itself: councils in any stage, and what it says, writes and orders at each word.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use crate::id::BlobId;
use crate::message::Message;
use crate::output::{TaskError, TaskResult};
use crate::task::TaskState;
use crate::task::durable::acceptor::Acceptor;
use crate::task::report::{Ending, RunReport};
use crate::task::spec::{Payload, TaskSpec};

pub(super) const ME: u8 = 1;
pub(super) const OTHER: u8 = 2;
pub(super) const THIRD: u8 = 3;
pub(super) const STRANGER: u8 = 4;
pub(super) const TASK: TaskId = TaskId([7; 16]);
pub(super) const TERM: u64 = 5 << 32;

pub(super) fn id(n: u8) -> PeerId {
    PeerId([n; 32])
}

pub(super) fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) fn ballot(round: u32, owner: u8) -> Ballot {
    Ballot { round, owner: id(owner) }
}

pub(super) fn case() -> Case {
    Case { task: TASK, term: TERM }
}

pub(super) fn council(members: &[u8]) -> Council {
    let contact = |n: &u8| Contact { peer: id(*n), address: format!("at {n}") };
    Council { term: TERM, members: members.iter().map(contact).collect() }
}

pub(super) fn end(asked: usize) -> Resolution {
    let result = Err(TaskError::AllDeclined { asked, reasons: String::new() });
    Resolution { state: TaskState::Failed, result }
}

pub(super) fn refusal() -> Resolution {
    let result = Err(TaskError::NoGuardian { asked: 1, reasons: String::new() });
    Resolution { state: TaskState::Failed, result }
}

/// A good end whose output and log have so many bytes.
pub(super) fn success(output: Payload, log_bytes: usize) -> Resolution {
    let report = RunReport { output, log: vec![b'x'; log_bytes], ..RunReport::without_run(Ending::Exited(0)) };
    let result =
        TaskResult { report, executor: id(OTHER), variant: 0, attempts: 1, timings: Default::default(), agreed: 0 };
    Resolution { state: TaskState::Done, result: Ok(result) }
}

pub(super) fn copy() -> KeptTask {
    let keeping = Keeping { durability: Durability::Guarded, retention: Duration::from_secs(3_600) };
    let mut spec = TaskSpec::of_module(BlobId([9; 32]), 1);
    spec.inputs = vec![Payload::inline(vec![7; 100])];
    KeptTask { name: "kept".into(), spec, keeping, accepted: Time::ZERO, aged: Duration::ZERO, failures: 0 }
}

pub(super) fn preparing(ballot: Ballot) -> Stage {
    Stage::Preparing { ballot, promises: BTreeMap::new(), leader_gave_up: false }
}

pub(super) fn proposing(ballot: Ballot, votes: &[u8]) -> Stage {
    let vote = Box::new(Vote { ballot, resolution: end(1) });
    Stage::Proposing { vote, votes: votes.iter().map(|n| id(*n)).collect() }
}

pub(super) struct Desk {
    pub(super) durable: Durable,
    pub(super) now: Time,
    pub(super) gone: BTreeSet<PeerId>,
    /// What it ordered beside words and writes.
    pub(super) ordered: Vec<Output>,
    /// Whether its disk takes what is to be written…
    pub(super) writes: bool,
    /// …and what that was.
    pub(super) written: Vec<Vec<crate::store::Change>>,
}

impl Desk {
    /// A store of half a minute, and no task.
    pub(super) fn new() -> Self {
        let mut durable = Durable::new(id(ME));
        durable.journal.open(at(0), 2, 1_700_000_030_000, 1_700_000_000_000);
        Self { durable, now: at(1_000), gone: BTreeSet::new(), ordered: Vec::new(), writes: true, written: Vec::new() }
    }

    /// With a task of this council, which this member keeps a copy of as its guardian only.
    pub(super) fn with(members: &[u8], stage: Stage) -> Self {
        let mut desk = Self::new();
        desk.add(TASK, members, stage);
        desk
    }

    pub(super) fn add(&mut self, task: TaskId, members: &[u8], stage: Stage) {
        let council = council(members);
        let acceptor = Acceptor::new(council.home().expect("somebody"));
        let is_guardian = council.guardian() == Some(id(ME));
        let kept = Kept {
            seen: acceptor.promised,
            acceptor,
            council,
            resolved: false,
            refused_since: None,
            until: at(3_601_000),
            retention: Duration::from_secs(600),
            copy: is_guardian.then(|| Box::new(copy())),
            lacks_copy: false,
            bytes: 100,
            stage,
            confirmed: true,
            since: at(0),
            aged: Duration::ZERO,
            repeats: 0,
        };
        self.durable.keep(self.now, task, kept);
    }

    pub(super) fn kept(&mut self) -> &mut Kept {
        self.durable.kept.get_mut(&TASK).expect("it is kept")
    }

    pub(super) fn is_idle(&mut self) -> bool {
        matches!(self.kept().stage, Stage::Idle)
    }

    /// What is said when this is done, everything written at once.
    pub(super) fn act(&mut self, deed: impl FnOnce(&mut Durable, &mut Lent<'_>)) -> Vec<(u8, Counsel)> {
        let gone = self.gone.clone();
        let (mut out, mut said) = (Outbox::default(), Vec::new());
        let is_here = |peer: PeerId| !gone.contains(&peer);
        deed(&mut self.durable, &mut Lent { now: self.now, is_here: &is_here, out: &mut out });
        while let Some(output) = out.pop() {
            match output {
                Output::Send { to, message: Message::Council(counsel) } => said.push((to.0[0], *counsel)),
                Output::Persist { ticket, changes } => {
                    self.written.push(changes);
                    let mut lent = Lent { now: self.now, is_here: &is_here, out: &mut out };
                    match self.writes {
                        true => self.durable.persisted(ticket, &mut lent),
                        false => self.durable.persist_failed(ticket, "full".into(), &mut lent),
                    }
                }
                other => self.ordered.push(other),
            }
        }
        said
    }

    pub(super) fn hear(&mut self, from: u8, counsel: Counsel) -> Vec<(u8, Counsel)> {
        self.act(|durable, lent| durable.handle(id(from), counsel, lent))
    }

    pub(super) fn kinds(&mut self, from: u8, counsel: Counsel) -> Vec<(u8, &'static str)> {
        self.hear(from, counsel).iter().map(|(to, counsel)| (*to, counsel.kind())).collect()
    }

    /// What is said while time passes.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<(u8, &'static str)> {
        let until = self.now + time;
        let mut said = Vec::new();
        while let Some(at) = self.durable.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            said.extend(self.act(|durable, lent| durable.timer(lent)));
        }
        self.now = until;
        said.iter().map(|(to, counsel)| (*to, counsel.kind())).collect()
    }

    /// What the requesting half has to act on, in short.
    pub(super) fn happened(&mut self) -> Vec<&'static str> {
        assert_eq!(self.durable.has_happened(), !self.durable.happened.is_empty());
        let name = |happened: Happened| match happened {
            Happened::Admitted(_) => "admitted",
            Happened::Refused(..) => "refused",
            Happened::Leads(..) => "leads",
            Happened::Deposed(_) => "deposed",
            Happened::Resolved(..) => "resolved",
            Happened::Withdrawn(_) => "withdrawn",
            Happened::CopyWanted(_) => "copy wanted",
            Happened::Forgotten(_) => "forgotten",
            Happened::Restored(..) => "restored",
            Happened::Damaged(..) => "damaged",
        };
        self.durable.take_happened().into_iter().map(name).collect()
    }

    pub(super) fn wanted(&mut self) -> Vec<u8> {
        self.durable.take_wanted().iter().map(|contact| contact.peer.0[0]).collect()
    }
}
