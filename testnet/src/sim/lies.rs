//! What a machine that lies sends instead of, and beside, what its software says.
//!
//! | it lies about | how |
//! |---|---|
//! | itself | load, price, speed, start times, its place: nonsense, or too good to be true |
//! | others | that they are dead; that attempts it was never given have ended; that councils it does not sit on have decided |
//! | time | it says again what it said before, and everything twice |
//! | the language | bytes that are no message |
//!
//! **Invariant:** it never lies about what it was trusted with: the results of what it was given to run, and its votes on
//! councils that it sits on. Those are taken at its word (`docs/reliability.md`).

use core::time::Duration;
use std::collections::VecDeque;

use rand::{Rng, RngExt};
use shoal_protocol::latency::Coordinate;
use shoal_protocol::message::{LoadDigest, Message, Outcome, Progress, Rumour, RumourState, TaskRef};
use shoal_protocol::output::TaskError;
use shoal_protocol::task::durable::{Ballot, Case, Council, Counsel, Refused, Resolution, Resolved, Standing, Voted};
use shoal_protocol::task::report::{Ending, RunReport};
use shoal_protocol::task::spec::Payload;
use shoal_protocol::time::DURATION_MAX;
use shoal_protocol::{PeerId, TaskId, TaskState};

/// What is remembered of what was said, and of what others were given.
const REMEMBERED: usize = 256;

/// What a liar heard of, and may lie about.
#[derive(Debug, Default)]
pub(super) struct Gossip {
    /// Attempts, their homes, who gave them to whom, and whether the tasks are kept.
    awards: VecDeque<(TaskRef, PeerId, [PeerId; 2], bool)>,
    councils: VecDeque<(Case, Council, Ballot)>,
    /// What this machine said, and to whom.
    said: VecDeque<(PeerId, Message)>,
}

fn remember<T>(all: &mut VecDeque<T>, one: T) {
    if all.len() >= REMEMBERED {
        all.pop_front();
    }
    all.push_back(one);
}

impl Gossip {
    /// Something is said in the mesh that may be lied about later.
    pub(super) fn overhear(&mut self, from: PeerId, to: PeerId, message: &Message) {
        match message {
            Message::Award(award) => {
                remember(&mut self.awards, (award.attempt, award.home_or(from), [from, to], award.kept));
            }
            Message::Council(counsel) => {
                if let Counsel::Propose(propose) = &**counsel {
                    let case = Case { task: propose.task, term: propose.council.term };
                    remember(&mut self.councils, (case, propose.council.clone(), propose.vote.ballot));
                }
            }
            _ => {}
        }
    }

    /// Whether this machine was given an attempt at the task, or gave it.
    fn had(&self, me: PeerId, task: TaskId) -> bool {
        self.awards.iter().any(|(attempt, _, hands, _)| attempt.task == task && hands.contains(&me))
    }

    /// What a liar sends beside the message it was about to send: to whom, and what.
    pub(super) fn more(
        &mut self,
        me: PeerId,
        to: PeerId,
        honest: &Message,
        others: &[PeerId],
        rng: &mut impl Rng,
    ) -> Vec<(PeerId, Message)> {
        remember(&mut self.said, (to, honest.clone()));
        let mut more = Vec::new();
        if rng.random_bool(0.1) {
            more.push((to, honest.clone()));
        }
        if rng.random_bool(0.1) {
            more.extend(any(&self.said, rng).cloned());
        }
        if rng.random_bool(0.03) {
            let (peer, to) = (any_of(others, rng), any_of(others, rng));
            let state = if rng.random_bool(0.5) { RumourState::Dead } else { RumourState::Suspect };
            let rumour = peer.map(|peer| Rumour { peer, incarnation: rng.random_range(0..9), state });
            more.extend(to.zip(rumour).map(|(to, rumour)| (to, Message::Rumour(rumour))));
        }
        if rng.random_bool(0.1)
            && let Some((attempt, home, _, kept)) = any(&self.awards, rng)
            && !self.had(me, attempt.task)
        {
            // The next attempt may become its own, and about those it does not lie.
            let epoch = attempt.epoch.saturating_sub(rng.random_range(0..=1));
            more.push((*home, forged(TaskRef { epoch, ..*attempt }, *kept, rng)));
        }
        if rng.random_bool(0.1)
            && let Some((case, council, ballot)) = any(&self.councils, rng)
            && !council.has(me)
        {
            let counsel = forged_counsel(*case, *ballot, rng);
            more.extend(council.peers().map(|peer| (peer, Message::Council(Box::new(counsel.clone())))));
        }
        more
    }
}

fn any<'a, T>(all: &'a VecDeque<T>, rng: &mut impl Rng) -> Option<&'a T> {
    all.get(rng.random_range(0..all.len().max(1)))
}

fn any_of(all: &[PeerId], rng: &mut impl Rng) -> Option<PeerId> {
    all.get(rng.random_range(0..all.len().max(1))).copied()
}

/// The end of an attempt that this machine does not have.
///
/// Of a kept task it says only that it is running: a home that has just started takes the end of an attempt from whoever
/// tells it (`docs/reliability.md`).
fn forged(attempt: TaskRef, kept: bool, rng: &mut impl Rng) -> Message {
    if kept || rng.random_bool(0.3) {
        return Message::Progress(Progress { attempt, state: TaskState::Running });
    }
    let report = RunReport {
        ending: Ending::Exited(0),
        output: Payload::inline(b"forged".to_vec()),
        log: Vec::new(),
        run: Duration::from_millis(1),
        memory_bytes: 0,
        labels: Default::default(),
    };
    let mut load = nonsense(rng);
    load.speed = 1.0;
    let (prepare, queued) = (Duration::ZERO, Duration::ZERO);
    Message::Outcome(Box::new(Outcome {
        attempt,
        variant: 0,
        report,
        speed: 1e9,
        prepare,
        queued,
        load,
        receipt: None,
    }))
}

/// What somebody says to a council that does not sit on it.
fn forged_counsel(case: Case, ballot: Ballot, rng: &mut impl Rng) -> Counsel {
    let higher = Ballot { round: ballot.round + rng.random_range(0..3), ..ballot };
    let resolution = Resolution { state: TaskState::Failed, result: Err(TaskError::Cancelled) };
    match rng.random_range(0..5) {
        0 => Counsel::Accepted(Voted { case, ballot }),
        1 => Counsel::Refused(Refused { case, promised: higher, leader_is_here: true }),
        2 => Counsel::Standing(Standing { case, ballot: higher, holds: false, leads: false }),
        3 => Counsel::Withdraw(case),
        _ => Counsel::Resolved(Box::new(Resolved { case, ballot, resolution: Some(resolution) })),
    }
}

/// Bytes instead of a message.
pub(super) fn garbage(rng: &mut impl Rng) -> Vec<u8> {
    let len = rng.random_range(0..200);
    let mut bytes: Vec<u8> = (0..len).map(|_| rng.random()).collect();
    // Often it begins like a message.
    if rng.random_bool(0.5)
        && let Some(first) = bytes.first_mut()
    {
        *first = shoal_protocol::message::VERSION;
    }
    bytes
}

/// A message as a liar says it: the same, or about itself something else.
pub(super) fn twist(mut message: Message, rng: &mut impl Rng) -> Message {
    if !rng.random_bool(0.5) {
        return message;
    }
    match &mut message {
        Message::Load(load) | Message::Pull(load) => *load = nonsense(rng),
        Message::Offer(offer) => {
            (offer.start_in, offer.run, offer.expires_in) = (any_span(rng), any_span(rng), any_span(rng));
            (offer.load, offer.variant) = (nonsense(rng), rng.random());
        }
        Message::Accepted(accepted) => {
            (accepted.load, accepted.start_in) = (nonsense(rng), any_span(rng));
            accepted.attempt.epoch = accepted.attempt.epoch.saturating_add_signed(rng.random_range(-1..=1));
        }
        Message::Declined(declined) => declined.load = Some(nonsense(rng)),
        Message::Forwarded(forwarded) => forwarded.load = nonsense(rng),
        Message::Outcome(outcome) => {
            (outcome.load, outcome.speed) = (nonsense(rng), any_number(rng));
            (outcome.prepare, outcome.queued, outcome.report.run) = (any_span(rng), any_span(rng), any_span(rng));
        }
        Message::Ping(ping) => (ping.load, ping.coordinate) = (Some(nonsense(rng)), Some(nowhere(rng))),
        Message::Pong(pong) => {
            (pong.load, pong.coordinate) = (Some(nonsense(rng)), Some(nowhere(rng)));
            pong.sequence = pong.sequence.wrapping_add(rng.random_range(0..2));
        }
        Message::Beat(beat) => beat.next_ms = rng.random(),
        _ => {}
    }
    message
}

fn nonsense(rng: &mut impl Rng) -> LoadDigest {
    LoadDigest {
        sequence: rng.random_range(0..100_000),
        description: rng.random_range(0..4),
        start_in: any_span(rng),
        usual_start_in: any_span(rng),
        turnover: any_span(rng),
        later_start: core::array::from_fn(|_| rng.random()),
        arrivals_per_ks: rng.random(),
        cores: if rng.random_bool(0.2) { 0 } else { rng.random() },
        running: rng.random(),
        queued: rng.random(),
        queue_max: rng.random(),
        cpu_percent: rng.random(),
        speed: any_number(rng),
        memory_free_bytes: rng.random(),
        memory_bytes: rng.random(),
        uplink_bits_per_s: if rng.random_bool(0.5) { 0 } else { rng.random() },
        weights: shoal_protocol::config::Weights {
            delay: any_number(rng),
            transfer: any_number(rng),
            compute: any_number(rng),
        },
        price: any_number(rng),
        understands_labels: true,
    }
}

fn nowhere(rng: &mut impl Rng) -> Coordinate {
    let mut far = || any_number(rng) as f32;
    Coordinate { position_ms: core::array::from_fn(|_| far()), height_ms: far(), error: far() }
}

fn any_span(rng: &mut impl Rng) -> Duration {
    match rng.random_range(0..3) {
        0 => Duration::ZERO,
        // As long as one can be after it was read from a message.
        1 => Duration::from_micros(u64::MAX >> rng.random_range(0..64)).min(DURATION_MAX),
        _ => Duration::from_micros(rng.random_range(0..10_000_000)),
    }
}

fn any_number(rng: &mut impl Rng) -> f64 {
    let odd = [0.0, -1.0, 1.0, 1e-300, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    if rng.random_bool(0.5) { odd[rng.random_range(0..odd.len())] } else { rng.random_range(0.0..10.0) }
}
