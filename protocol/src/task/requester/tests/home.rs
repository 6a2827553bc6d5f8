//! A home with made-up neighbours: costs are completion times in milliseconds, and every deadline can be read.

use std::collections::BTreeSet;

use rand::SeedableRng;

use super::super::*;
use crate::certificate::Role;
use crate::config::Weights;
use crate::message::LoadDigest;
use crate::rules::{Compiled, InForce};

pub(super) const ME: u8 = 1;
pub(super) const MODULE: BlobId = BlobId([9; 32]);
/// Work of every task here, unless a test says otherwise.
pub(super) const RUN: Duration = Duration::from_millis(100);

pub(super) fn id(n: u8) -> PeerId {
    PeerId([n; 32])
}

pub(super) fn task(n: u8) -> TaskId {
    TaskId([n; 16])
}

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

pub(super) fn attempt(n: u8, epoch: u64) -> TaskRef {
    TaskRef { task: task(n), epoch }
}

pub(super) fn spec() -> TaskSpec {
    TaskSpec { expected: Some(RUN), ..TaskSpec::of_module(MODULE, 1_000) }
}

/// That may run at the peers that carry the label, which no home here does.
pub(super) fn elsewhere() -> TaskSpec {
    let mut spec = spec();
    spec.policy.labels.insert("away".into(), "yes".into());
    spec
}

pub(super) fn load() -> LoadDigest {
    let weights = Weights { delay: 1.0, transfer: 1.0, compute: 1.0 };
    LoadDigest { weights, ..crate::placement::test_load() }
}

/// As the network gives them.
pub(super) struct Neighbour {
    pub(super) member: Member,
    pub(super) load: LoadDigest,
    pub(super) rtt: Duration,
    pub(super) start_in: Duration,
    pub(super) heard_ago: Duration,
}

pub(super) struct Home {
    pub(super) requester: Requester,
    pub(super) now: Time,
    pub(super) places: Vec<Neighbour>,
    pub(super) gone: BTreeSet<PeerId>,
    /// Who has not told its load.
    pub(super) unheard: BTreeSet<PeerId>,
    pub(super) estimates: Estimates,
    pub(super) holders: Holders,
    /// What it said to itself, councils apart.
    pub(super) to_self: Vec<Message>,
    /// Whether its disk takes what is to be written.
    pub(super) writes: bool,
    /// Business rules in force.
    pub(super) rules: Option<Compiled>,
    rng: Rng,
    out: Outbox,
}

impl Home {
    /// A home and neighbours that carry the label, so many milliseconds away and so long before they start a task.
    pub(super) fn among(neighbours: &[(u8, u64, u64)]) -> Self {
        let place = |(n, rtt_ms, start_ms): (u8, u64, u64), labels: &[(&str, &str)]| Neighbour {
            member: Member {
                peer: id(n),
                name: format!("peer-{n}"),
                role: Role::Edge,
                labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            },
            load: load(),
            rtt: ms(rtt_ms),
            start_in: ms(start_ms),
            heard_ago: Duration::ZERO,
        };
        let mut estimates = Estimates::default();
        estimates.holds(id(ME), MODULE);
        neighbours.iter().for_each(|(n, ..)| estimates.holds(id(*n), MODULE));
        let away = neighbours.iter().map(|neighbour| place(*neighbour, &[("away", "yes")]));
        Self {
            requester: Requester::new(id(ME)),
            now: Time::from_millis(1_000),
            places: core::iter::once(place((ME, 0, 0), &[])).chain(away).collect(),
            gone: BTreeSet::new(),
            unheard: BTreeSet::new(),
            estimates,
            holders: Holders::default(),
            to_self: Vec::new(),
            writes: true,
            rules: None,
            rng: Rng::seed_from_u64(7),
            out: Outbox::of(id(ME)),
        }
    }

    /// With a store that was new just now.
    pub(super) fn with_store(neighbours: &[(u8, u64, u64)]) -> Self {
        let mut home = Self::among(neighbours);
        home.act(|home, now, around, out| home.restored(now, &[], (1, 1_700_000_000_000), around, out));
        home
    }

    /// Does something with the requester and carries out what it orders of itself; gives what it orders of others.
    pub(super) fn act(&mut self, deed: impl FnOnce(&mut Requester, Time, &mut Around<'_>, &mut Outbox)) -> Vec<Output> {
        let sites: Vec<Site<'_>> = self
            .places
            .iter()
            .map(|place| Site {
                member: &place.member,
                is_home: place.member.peer == id(ME),
                rtt: place.rtt,
                loss: 0.0,
                load: (!self.unheard.contains(&place.member.peer)).then_some(&place.load),
                start_in: place.start_in,
                heard_ago: place.heard_ago,
            })
            .collect();
        let gone = &self.gone;
        let mut around = Around {
            sites: &|| &sites,
            is_here: &|peer| !gone.contains(&peer),
            permits: &|_, _| Ok(()),
            estimates: &self.estimates,
            holders: &self.holders,
            lambda: 1.0,
            uplink_bits_per_s: 100_000_000,
            rules: self.rules.as_ref().zip(sites.first()).map(|(rules, home)| InForce {
                rules,
                minute: Some(0),
                home: home.member,
            }),
            address: &|peer| Some(format!("at {}", peer.0[0])),
            rng: &mut self.rng,
        };
        let (requester, now, out) = (&mut self.requester, self.now, &mut self.out);
        deed(requester, now, &mut around, out);
        let mut outputs = Vec::new();
        loop {
            requester.heed(now, &mut around, out);
            if let Some(message) = out.pop_to_self() {
                match message {
                    Message::Council(counsel) => requester.handle_counsel(now, id(ME), *counsel, &mut around, out),
                    other => self.to_self.push(other),
                }
            } else if let Some(output) = out.pop() {
                match output {
                    Output::Persist { ticket, .. } => {
                        let written = if self.writes { Ok(()) } else { Err("full".to_owned()) };
                        requester.persisted(now, ticket, written, &mut around, out);
                    }
                    other => outputs.push(other),
                }
            } else if !requester.has_happened() {
                return outputs;
            }
        }
    }

    pub(super) fn submit(&mut self, n: u8, spec: TaskSpec) -> Vec<Output> {
        self.submit_as(n, spec, Durability::Memory)
    }

    pub(super) fn submit_as(&mut self, n: u8, spec: TaskSpec, durability: Durability) -> Vec<Output> {
        let keeping = Keeping { durability, retention: Duration::from_secs(3_600) };
        let submission = Submission { name: "a task".into(), spec, keeping, ahead: Ahead::new() };
        self.act(|home, now, around, out| home.submit(now, task(n), submission, around, out))
    }

    /// As the peer routes it.
    pub(super) fn hear(&mut self, from: u8, message: Message) -> Vec<Output> {
        let from = id(from);
        self.act(|home, now, around, out| match message {
            Message::Offer(offer) => home.handle_offer(now, from, &offer, around, out),
            Message::Accepted(accepted) => home.handle_accepted(now, from, &accepted, out),
            Message::Progress(progress) => home.handle_progress(now, from, progress, out),
            Message::Forwarded(forwarded) => home.handle_forwarded(now, from, &forwarded, around, out),
            Message::Declined(declined) => home.handle_declined(now, from, &declined, around, out),
            Message::Outcome(outcome) => drop(home.handle_outcome(now, from, *outcome, around, out)),
            Message::Council(counsel) => home.handle_counsel(now, from, *counsel, around, out),
            other => panic!("{other:?} is not for this half"),
        })
    }

    /// Lets time pass, and does what is due at each moment something is.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<Output> {
        let until = self.now + time;
        let mut outputs = Vec::new();
        while let Some(at) = self.requester.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            outputs.extend(self.act(|home, now, around, out| home.timer(now, around, out)));
        }
        self.now = until;
        outputs
    }

    pub(super) fn entry(&self, n: u8) -> &HomeTask {
        self.requester.book.get(task(n)).expect("the task is in the book")
    }

    /// How long until something is due.
    pub(super) fn due_in(&self) -> Option<Duration> {
        self.requester.next_deadline().map(|at| at.since(self.now))
    }

    pub(super) fn assignments(&mut self) -> Vec<Assignment> {
        self.requester.take_assignments()
    }
}

/// To whom something was said.
pub(super) fn said(outputs: &[Output]) -> Vec<(u8, &Message)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send { to, message } => Some((to.0[0], message)),
            _ => None,
        })
        .collect()
}

/// Awards among what was said.
pub(super) fn awards(outputs: &[Output]) -> Vec<(u8, &Award)> {
    said(outputs)
        .into_iter()
        .filter_map(|(to, message)| match message {
            Message::Award(award) => Some((to, &**award)),
            _ => None,
        })
        .collect()
}

/// States that tasks entered, as told to whoever follows.
pub(super) fn states(outputs: &[Output]) -> Vec<TaskState> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Notify(Event::TaskChanged { state, .. }) => Some(*state),
            _ => None,
        })
        .collect()
}

/// How tasks ended for their users.
pub(super) fn ends(outputs: &[Output]) -> Vec<Result<TaskResult, TaskError>> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Finish { result, .. } => Some(result.clone()),
            _ => None,
        })
        .collect()
}

pub(super) fn offer(attempt: TaskRef, start_ms: u64) -> Offer {
    let expires_in = Duration::from_secs(1);
    Offer { attempt, variant: 0, start_in: ms(start_ms), run: RUN, expires_in, has_module: true, load: load() }
}

pub(super) fn declined(attempt: TaskRef, reason: DeclineReason) -> Message {
    Message::Declined(Declined { attempt, reason, load: None })
}

pub(super) fn outcome(attempt: TaskRef, ending: Ending, output: Payload) -> Outcome {
    let report = RunReport { output, run: ms(80), ..RunReport::without_run(ending) };
    Outcome { attempt, variant: 0, report, speed: 1.0, prepare: ms(3), queued: ms(4), load: load(), receipt: None }
}

pub(super) fn done(attempt: TaskRef) -> Message {
    Message::Outcome(Box::new(outcome(attempt, Ending::Exited(0), Payload::inline(b"out".to_vec()))))
}
