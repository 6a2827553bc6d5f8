//! Is a neighbour there? Each says when its next word comes, and is looked for when it does not.
//!
//! ```text
//!          a word is late, or               no answer,            not refuted in
//!          the connection closed            helpers' neither      suspicion
//! steady ──────────────────────► probing ──────────────► suspect ──────────────► dead
//!   │ ▲                             ▲                       │ rumour              ▲
//!   │ └──────── heard, by us or by a helper ────────────────┘                     │
//!   └── somebody says it is gone ──► checking ── own ping unanswered, and others found it dead ──┘
//! ```
//!
//! Eight monitors hear a peer in turn, so one of them misses it at once; the rest of the view hears it rarely and is told.
//!
//! **Invariant:** nobody dies unless an own ping stayed unanswered; and every peer that is not heard ends in dead, whatever
//! others say of it: helpers that hear it buy it [`DIRECT_SILENCE_MAX`] until the connection is made anew, and
//! [`UNREACHABLE_MAX`] to come back on it.
//! **Not here:** sending, and whose words count. The detector says what to do as [`Step`]s; `mod.rs` does it.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::BinaryHeap;

use super::local_health::LocalHealth;
use crate::config::DetectorConfig;
use crate::id::PeerId;
use crate::time::Time;

/// A connection that carries nothing for this long after a word was due, while helpers hear the peer, is made anew.
const DIRECT_SILENCE_MAX: Duration = Duration::from_secs(3);
/// A peer that only others can reach is dead to this one after so long.
const UNREACHABLE_MAX: Duration = Duration::from_secs(5);
/// A peer that helpers hear and we do not is asked after again this much later.
const RECHECK_AFTER: Duration = Duration::from_secs(1);
/// Rumours about one peer make us look no more often than this.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Beside one and a half round trips: what an answer may take.
const ANSWER_MARGIN: Duration = Duration::from_millis(80);
/// The same for each way of an exchange, where nobody doubts yet: with it, one retransmission makes nobody suspicious.
const EXCHANGE_MARGIN: Duration = Duration::from_millis(80);
/// So many others that found a peer dead are believed as soon as our own ping stayed unanswered.
const QUORUM: usize = 2;
/// Allowance for the path is bounded, so that a peer cannot buy time by answering slowly.
const PATH_MAX: Duration = Duration::from_secs(1);
/// The path of a neighbour that was not measured yet.
const PATH_UNMEASURED: Duration = Duration::from_millis(150);
/// Shorter and longer promises are taken as these.
const PROMISE_MIN: Duration = Duration::from_millis(200);
const PROMISE_MAX: Duration = Duration::from_secs(300);
/// A host that wakes us later than this was not listening either.
const LATE: Duration = Duration::from_millis(50);
/// Later than this is a sign of a host that will be late again.
const VERY_LATE: Duration = Duration::from_millis(250);

/// What the detector wants done or has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Ping it.
    Ping,
    /// Have others ping it.
    AskHelpers,
    /// Neither we nor others hear it.
    Suspect,
    /// It is there after all.
    Alive,
    /// Others hear it, we do not: close and dial again.
    Reconnect,
    /// It is gone, and is no longer watched.
    Dead,
}

/// What others say of a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Votes {
    /// That call it dead.
    pub(super) dead: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Steady,
    Checking { until: Time },
    Probing { until: Time },
    Suspect { until: Time },
}

/// What one neighbour said, and how it stands.
#[derive(Debug)]
pub(super) struct Watch {
    phase: Phase,
    connected: bool,
    /// When the connection was lost, if it is.
    lost: Time,
    /// The last word from the peer itself, or the start of a grace period.
    direct: Time,
    /// It said that its next word comes within this.
    promise: Duration,
    /// The last word of a helper.
    indirect: Time,
    /// By then a ping of ours should have been answered; meaningful in doubt only.
    answer_by: Time,
    /// By then the question of an exchange should have been answered; nothing once the peer said anything since.
    asked: Option<Time>,
    checked: Option<Time>,
    /// The way there and back.
    path: Duration,
    /// When the agenda has it next.
    scheduled: Time,
}

/// The agenda over all watches. The watches themselves live with their neighbours.
#[derive(Debug)]
pub(super) struct FailureDetector {
    config: DetectorConfig,
    health: LocalHealth,
    /// When to look at whom; early entries and those of forgotten peers are skipped.
    agenda: BinaryHeap<Reverse<(Time, PeerId)>>,
}

impl FailureDetector {
    pub(super) fn new(config: DetectorConfig) -> Self {
        Self { config, health: LocalHealth::default(), agenda: BinaryHeap::new() }
    }

    /// When [`FailureDetector::next_due`] may have something; may be early, never late.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.agenda.peek().map(|Reverse((at, _))| *at)
    }

    /// There is a connection to the peer: it is there.
    pub(super) fn opened(&mut self, now: Time, peer: PeerId, rtt: Option<Duration>, before: Option<&Watch>) -> Watch {
        let mut watch = Watch {
            phase: Phase::Steady,
            connected: true,
            lost: now,
            direct: now,
            promise: self.config.idle,
            indirect: Time::ZERO,
            answer_by: now,
            asked: None,
            checked: before.and_then(|watch| watch.checked),
            path: rtt.unwrap_or(PATH_UNMEASURED).min(PATH_MAX),
            scheduled: Time(u64::MAX),
        };
        self.schedule(now, peer, &mut watch);
        watch
    }

    /// The connection closed: a hint. Others are asked at once.
    pub(super) fn closed(&mut self, now: Time, peer: PeerId, watch: &mut Watch) -> Vec<Step> {
        watch.connected = false;
        watch.lost = now;
        let steps = match watch.phase {
            Phase::Steady | Phase::Checking { .. } => self.probe(now, watch),
            Phase::Probing { .. } | Phase::Suspect { .. } => Vec::new(),
        };
        self.schedule(now, peer, watch);
        steps
    }

    /// The peer said something itself.
    pub(super) fn heard(&self, now: Time, watch: &mut Watch) -> Option<Step> {
        if !watch.connected {
            return None; // sent before the connection closed; says nothing of now
        }
        watch.direct = now;
        watch.asked = None;
        watch.settle()
    }

    /// The peer was asked something that it answers at once: it is missed when it does not, as after a late beat. So who
    /// is not told of a death, being too new to be in the will, need not wait for the connection to time out.
    pub(super) fn asked(&mut self, now: Time, peer: PeerId, watch: &mut Watch) {
        let answer_by = now + (watch.path + EXCHANGE_MARGIN.mul_f64(self.health.scale(now))) * 2;
        watch.asked = watch.asked.or(Some(answer_by));
        self.schedule(now, peer, watch);
    }

    /// The peer said when its next word comes.
    pub(super) fn promised(&mut self, now: Time, peer: PeerId, watch: &mut Watch, within: Duration) {
        watch.promise = within.clamp(PROMISE_MIN, PROMISE_MAX);
        self.schedule(now, peer, watch);
    }

    /// The way to the peer was measured.
    pub(super) fn measured(watch: &mut Watch, rtt: Duration) {
        watch.path = rtt.min(PATH_MAX);
    }

    /// Somebody else heard the peer, after we asked.
    pub(super) fn vouched(&mut self, now: Time, peer: PeerId, watch: &mut Watch) -> Option<Step> {
        watch.indirect = now;
        let step = watch.settle();
        self.schedule(now, peer, watch);
        step
    }

    /// Somebody says the peer is gone: look for ourselves. `votes` counts this one.
    pub(super) fn doubted(&mut self, now: Time, peer: PeerId, watch: &mut Watch, votes: Votes) -> Vec<Step> {
        let steps = match watch.phase {
            Phase::Steady if watch.checked.is_none_or(|at| now.since(at) >= CHECK_EVERY) => {
                watch.checked = Some(now);
                let until = self.answer_by(now, watch);
                watch.answer_by = until;
                watch.phase = Phase::Checking { until };
                vec![Step::Ping]
            }
            Phase::Steady => Vec::new(),
            Phase::Checking { .. } | Phase::Suspect { .. } => watch.convict(now, votes),
            Phase::Probing { until } => {
                if votes.dead >= QUORUM {
                    watch.phase = Phase::Probing { until: until.min(watch.answer_by) };
                }
                watch.convict(now, votes)
            }
        };
        self.schedule(now, peer, watch);
        steps
    }

    /// Somebody suspects *us*: our answers come late.
    pub(super) fn suspected_ourselves(&mut self, now: Time) {
        self.health.blame(now);
    }

    /// Whether a peer is the next in the agenda.
    pub(super) fn is_next(&self, peer: PeerId) -> bool {
        self.agenda.peek().is_some_and(|Reverse((_, next))| *next == peer)
    }

    /// The next in the agenda.
    pub(super) fn next_entry(&self) -> Option<(Time, PeerId)> {
        self.agenda.peek().map(|Reverse(entry)| *entry)
    }

    /// Puts the next in the agenda off, or drops it, when it is not due at its time any more; whether it was.
    pub(super) fn postpones(&mut self, now: Time, at: Time, peer: PeerId, watch: Option<&mut Watch>) -> bool {
        let Some(watch) = watch.filter(|watch| watch.scheduled == at) else { return self.agenda.pop().is_some() };
        let due = watch.due(&self.config, self.health.scale(now));
        if due <= at {
            return false;
        }
        // In its place: for each word that is heard, half the work of taking it out and putting it in again.
        if let Some(mut next) = self.agenda.peek_mut() {
            watch.scheduled = due.max(now);
            *next = Reverse((watch.scheduled, peer));
        }
        true
    }

    /// A peer to look at with [`FailureDetector::advance`], if one is due.
    pub(super) fn next_due(&mut self, now: Time) -> Option<(Time, PeerId)> {
        let Reverse((at, _)) = self.agenda.peek()?;
        if *at > now {
            return None;
        }
        self.agenda.pop().map(|Reverse(entry)| entry)
    }

    /// Looks at a peer whose entry of the agenda, made for `at`, is due.
    pub(super) fn advance(&mut self, now: Time, at: Time, peer: PeerId, watch: &mut Watch, votes: Votes) -> Vec<Step> {
        if watch.scheduled != at {
            return Vec::new();
        }
        watch.scheduled = Time(u64::MAX);
        let steps = if watch.due(&self.config, self.health.scale(now)) <= now {
            self.act(now, watch, votes)
        } else {
            Vec::new()
        };
        self.schedule(now, peer, watch);
        steps
    }

    fn act(&mut self, now: Time, watch: &mut Watch, votes: Votes) -> Vec<Step> {
        match watch.phase {
            Phase::Steady if !watch.connected && now >= watch.lost + UNREACHABLE_MAX => vec![Step::Dead],
            Phase::Steady if watch.connected && now >= watch.missed_since() + DIRECT_SILENCE_MAX => {
                vec![Step::Reconnect]
            }
            Phase::Steady => self.probe(now, watch),
            Phase::Checking { .. } => {
                let verdict = watch.convict(now, votes);
                if verdict.is_empty() { self.probe(now, watch) } else { verdict }
            }
            Phase::Probing { .. } if votes.dead >= QUORUM && now >= watch.answer_by => vec![Step::Dead],
            Phase::Probing { .. } => {
                let suspicion = self.config.suspicion.mul_f64(self.health.scale(now));
                watch.phase = Phase::Suspect { until: now + suspicion + watch.path };
                let mut steps = vec![Step::Suspect];
                steps.extend(watch.convict(now, votes));
                steps
            }
            Phase::Suspect { .. } => vec![Step::Dead],
        }
    }

    /// A direct ping, and helpers at the same moment: loss on one path is not silence.
    fn probe(&mut self, now: Time, watch: &mut Watch) -> Vec<Step> {
        let verify = self.config.verify.mul_f64(self.health.scale(now));
        watch.phase = Phase::Probing { until: now + verify + watch.path * 2 };
        watch.answer_by = self.answer_by(now, watch);
        let ping = watch.connected.then_some(Step::Ping);
        ping.into_iter().chain([Step::AskHelpers]).collect()
    }

    fn answer_by(&mut self, now: Time, watch: &Watch) -> Time {
        now + watch.path.mul_f64(1.5) + ANSWER_MARGIN.mul_f64(self.health.scale(now))
    }

    fn schedule(&mut self, now: Time, peer: PeerId, watch: &mut Watch) {
        let due = watch.due(&self.config, self.health.scale(now)).max(now);
        if due < watch.scheduled {
            watch.scheduled = due;
            self.agenda.push(Reverse((due, peer)));
        }
    }

    /// How late we are, if that is worth a pardon: then everybody is to be given it with [`Watch::pardon`].
    pub(super) fn lateness(&mut self, now: Time) -> Option<Duration> {
        let late = now.since(self.next_deadline()?);
        if late <= LATE {
            return None;
        }
        if late > VERY_LATE {
            self.health.blame(now);
        }
        Some(late)
    }

    /// What was silent while we were not listening has that time again. Its entry in the agenda is made anew.
    pub(super) fn pardon(&mut self, now: Time, peer: PeerId, watch: &mut Watch, late: Duration) {
        watch.pardon(now, late, self.config.suspicion);
        watch.scheduled = Time(u64::MAX);
        self.schedule(now, peer, watch);
    }

    /// Before everybody is pardoned.
    pub(super) fn clear_agenda(&mut self) {
        self.agenda.clear();
    }
}

impl Watch {
    /// The peer is there: whatever was begun against it ends.
    fn settle(&mut self) -> Option<Step> {
        let was_suspect = matches!(self.phase, Phase::Suspect { .. });
        self.phase = Phase::Steady;
        was_suspect.then_some(Step::Alive)
    }

    /// Whether something is begun against the peer.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.phase != Phase::Steady
    }

    /// Others found it dead, and we had no answer: whoever looked long itself needs one witness, others more.
    fn convict(&self, now: Time, votes: Votes) -> Vec<Step> {
        let witnesses = match self.phase {
            Phase::Suspect { .. } => 1,
            Phase::Steady | Phase::Checking { .. } | Phase::Probing { .. } => QUORUM,
        };
        if votes.dead >= witnesses && now >= self.answer_by { vec![Step::Dead] } else { Vec::new() }
    }

    /// When anything can be due next, if nothing is heard until then.
    fn due(&self, config: &DetectorConfig, scale: f64) -> Time {
        match self.phase {
            Phase::Steady if self.connected => {
                let word = self.direct + self.promise + config.lateness.mul_f64(scale) + self.path;
                let word = self.asked.map_or(word, |answer_by| answer_by.min(word));
                // Whatever others say, the time comes when it must be heard by ourselves.
                word.max(self.indirect + RECHECK_AFTER).min(word.max(self.missed_since() + DIRECT_SILENCE_MAX))
            }
            Phase::Steady => (self.indirect.max(self.lost) + RECHECK_AFTER).min(self.lost + UNREACHABLE_MAX),
            Phase::Checking { until } | Phase::Probing { until } | Phase::Suspect { until } => until,
        }
    }

    /// When a word should have come, of a peer that is connected.
    fn missed_since(&self) -> Time {
        let promised = self.direct + self.promise;
        self.asked.map_or(promised, |answer_by| answer_by.min(promised))
    }

    fn pardon(&mut self, now: Time, late: Duration, suspicion: Duration) {
        self.direct = (self.direct + late).min(now);
        self.lost = (self.lost + late).min(now);
        let fresh = |until: Time| (until + late).max(now + suspicion);
        self.phase = match self.phase {
            Phase::Steady => Phase::Steady,
            Phase::Checking { until } => Phase::Checking { until: fresh(until) },
            Phase::Probing { until } => Phase::Probing { until: fresh(until) },
            Phase::Suspect { until } => Phase::Suspect { until: fresh(until) },
        };
        self.answer_by = fresh(self.answer_by);
        self.asked = self.asked.map(fresh);
    }
}
