//! Is a neighbour there? SWIM (Das et al. 2002) with heartbeats only where nothing else flows.
//!
//! ```text
//!          silent for probe_after,        no answer in          not refuted in
//!          closed, or rumoured dead       probe_timeout         suspicion
//! steady ──────────────────────► probing ────────────► suspect ────────────► dead
//!   ▲   ping after each silent beat │ ask helpers         │ rumour
//!   └───────────────────────────────┴─────────────────────┘ heard, by us or by a helper
//! ```
//!
//! **Invariant:** every peer that is not heard ends in dead, whatever others say of it: helpers that hear it buy it
//! [`DIRECT_SILENCE_MAX`] until the connection is made anew, and [`UNREACHABLE_MAX`] to come back on it.
//! **Not here:** sending. The detector says what to do as [`Step`]s; `mod.rs` does it.

use core::time::Duration;
use std::collections::BTreeMap;

use rand::RngExt;

use super::local_health::LocalHealth;
use crate::config::DetectorConfig;
use crate::id::PeerId;
use crate::latency::Latency;
use crate::rng::Rng;
use crate::time::Time;

/// A connection that carries nothing for this long, while helpers hear the peer, is made anew.
const DIRECT_SILENCE_MAX: Duration = Duration::from_secs(3);
/// A peer that only others can reach is dead to this one after so long.
const UNREACHABLE_MAX: Duration = Duration::from_secs(5);
/// Rumours about one peer make us look no more often than this.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Neighbours listened to at the full beat; the mesh needs ~8 monitors a peer, not all to watch all.
const CLOSE_MAX: usize = 8;
/// The others are pinged after this many silent beats.
const FAR_BEATS: u32 = 16;
/// Allowance for the path is bounded, so that a peer cannot buy time by answering slowly.
const PATH_MAX: Duration = Duration::from_secs(1);

/// What the detector wants done or has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Ping it.
    Ping(PeerId),
    /// Have others ping it.
    AskHelpers(PeerId),
    /// Neither we nor others hear it.
    Suspect(PeerId),
    /// It is there after all.
    Alive(PeerId),
    /// Others hear it, we do not: close and dial again.
    Reconnect(PeerId),
    /// It is gone, and is no longer watched.
    Dead(PeerId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Steady,
    Probing { until: Time },
    Suspect { until: Time },
}

#[derive(Debug)]
struct Watch {
    phase: Phase,
    connected: bool,
    /// When the connection was lost, if it is.
    lost: Time,
    /// The last word from the peer itself, or the start of a grace period.
    direct: Time,
    /// The last word of a helper.
    indirect: Time,
    pinged: Time,
    jitter: Duration,
    /// Listened to at the full beat.
    close: bool,
    /// Somebody else found it gone before us: a suspicion needs less time.
    hasty: bool,
    checked: Option<Time>,
    /// Allowance for the way there and back.
    path: Duration,
}

/// The watches over all neighbours.
#[derive(Debug)]
pub(super) struct FailureDetector {
    config: DetectorConfig,
    health: LocalHealth,
    watches: BTreeMap<PeerId, Watch>,
    /// The earliest moment anything can be due; may be early, never late.
    next: Option<Time>,
}

impl FailureDetector {
    pub(super) fn new(config: DetectorConfig) -> Self {
        Self { config, health: LocalHealth::default(), watches: BTreeMap::new(), next: None }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.next
    }

    /// There is a connection to the peer: it is there.
    pub(super) fn opened(&mut self, now: Time, peer: PeerId, rng: &mut Rng) {
        let jitter = jitter(rng, self.config.beat);
        let checked = self.watches.get(&peer).and_then(|watch| watch.checked);
        let watch = Watch {
            phase: Phase::Steady,
            connected: true,
            lost: now,
            direct: now,
            indirect: now,
            pinged: now,
            jitter,
            close: true,
            hasty: false,
            checked,
            path: Duration::ZERO,
        };
        self.watches.insert(peer, watch);
        self.wake_by(now + self.config.beat);
    }

    /// The connection closed: a hint. Others are asked at once.
    pub(super) fn closed(&mut self, now: Time, peer: PeerId) -> Vec<Step> {
        let scale = self.health.scale(now);
        let Some(watch) = self.watches.get_mut(&peer) else { return Vec::new() };
        watch.connected = false;
        watch.lost = now;
        if watch.phase != Phase::Steady {
            return Vec::new();
        }
        let until = now + probe_time(&self.config, watch, scale);
        watch.phase = Phase::Probing { until };
        self.wake_by(until);
        vec![Step::AskHelpers(peer)]
    }

    /// Nobody asks about the peer any more.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.watches.remove(&peer);
    }

    /// Whether the detector would find out if the peer went.
    pub(super) fn watches(&self, peer: PeerId) -> bool {
        self.watches.contains_key(&peer)
    }

    /// The peer said something itself.
    pub(super) fn heard(&mut self, now: Time, peer: PeerId) -> Vec<Step> {
        self.notice_lateness(now);
        let Some(watch) = self.watches.get_mut(&peer) else { return Vec::new() };
        if !watch.connected {
            return Vec::new(); // sent before the connection closed; says nothing of now
        }
        watch.direct = now;
        watch.indirect = now;
        watch.settle(peer)
    }

    /// Somebody else heard the peer, after we asked.
    pub(super) fn vouched(&mut self, now: Time, peer: PeerId) -> Vec<Step> {
        let Some(watch) = self.watches.get_mut(&peer) else { return Vec::new() };
        watch.indirect = now;
        let steps = watch.settle(peer);
        self.wake_by(now + self.config.beat);
        steps
    }

    /// Somebody says the peer is gone: look for ourselves.
    pub(super) fn check(&mut self, now: Time, peer: PeerId) -> Vec<Step> {
        let scale = self.health.scale(now);
        let Some(watch) = self.watches.get_mut(&peer) else { return Vec::new() };
        let checked_lately = watch.checked.is_some_and(|at| now.since(at) < CHECK_EVERY);
        if watch.phase != Phase::Steady || checked_lately {
            return Vec::new();
        }
        watch.checked = Some(now);
        watch.hasty = true;
        let until = now + probe_time(&self.config, watch, scale);
        watch.phase = Phase::Probing { until };
        let ping = watch.connected.then_some(Step::Ping(peer));
        self.wake_by(until);
        ping.into_iter().chain([Step::AskHelpers(peer)]).collect()
    }

    /// Somebody suspects *us*: our answers come late.
    pub(super) fn suspected_ourselves(&mut self, now: Time) {
        self.health.blame(now);
    }

    /// A ping left: the next is due a beat later.
    pub(super) fn pinged(&mut self, now: Time, peer: PeerId, rng: &mut Rng) {
        let jitter = jitter(rng, self.config.beat);
        if let Some(watch) = self.watches.get_mut(&peer) {
            watch.pinged = now;
            watch.jitter = jitter;
        }
    }

    /// Chooses whom to listen to closely: `first` in any case, then the rest in their order while there is room.
    pub(super) fn listen_closely(&mut self, now: Time, first: &[PeerId], rest: &[PeerId]) {
        for watch in self.watches.values_mut() {
            watch.close = false;
        }
        let room = CLOSE_MAX.max(first.len());
        for peer in first.iter().chain(rest).take(room) {
            if let Some(watch) = self.watches.get_mut(peer) {
                watch.close = true;
            }
        }
        self.wake_by(now);
    }

    /// Everything that is due.
    pub(super) fn timer(&mut self, now: Time, latency: &Latency) -> Vec<Step> {
        self.notice_lateness(now);
        let scale = self.health.scale(now);
        let mut steps = Vec::new();
        for (peer, watch) in &mut self.watches {
            watch.path = latency.rtt(*peer).unwrap_or_default().min(PATH_MAX);
            watch.advance(now, *peer, &self.config, scale, &mut steps);
        }
        for step in &steps {
            if let Step::Dead(peer) = step {
                self.watches.remove(peer);
            }
        }
        self.next = self.watches.values().map(|watch| watch.due(&self.config, scale)).min();
        steps
    }

    fn wake_by(&mut self, at: Time) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// If we were stopped or starved, the silence was ours: everybody gets a fresh start.
    fn notice_lateness(&mut self, now: Time) {
        let Some(next) = self.next else { return };
        if now.since(next) <= self.config.beat {
            return;
        }
        self.health.blame(now);
        let fresh = now + self.config.probe_after + self.config.suspicion;
        for watch in self.watches.values_mut() {
            watch.direct = now;
            watch.indirect = now;
            watch.lost = watch.lost.max(now);
            watch.phase = match watch.phase {
                Phase::Suspect { .. } => Phase::Suspect { until: fresh },
                Phase::Steady | Phase::Probing { .. } => Phase::Steady,
            };
        }
        self.next = Some(now);
    }
}

impl Watch {
    /// The peer is there: whatever was begun against it ends.
    fn settle(&mut self, peer: PeerId) -> Vec<Step> {
        let was_suspect = matches!(self.phase, Phase::Suspect { .. });
        self.phase = Phase::Steady;
        self.hasty = false;
        if was_suspect { vec![Step::Alive(peer)] } else { Vec::new() }
    }

    fn advance(&mut self, now: Time, peer: PeerId, config: &DetectorConfig, scale: f64, steps: &mut Vec<Step>) {
        if self.connected && now >= self.ping_due(config) {
            steps.push(Step::Ping(peer));
        }
        match self.phase {
            Phase::Steady if !self.connected && now >= self.lost + UNREACHABLE_MAX => {
                steps.push(Step::Dead(peer));
            }
            Phase::Steady if self.connected && now >= self.direct + self.silence_max(config) => {
                steps.push(Step::Reconnect(peer));
            }
            Phase::Steady if now >= self.probe_due(config, scale) => {
                self.phase = Phase::Probing { until: now + probe_time(config, self, scale) };
                steps.push(Step::AskHelpers(peer));
            }
            Phase::Probing { until } if now >= until => {
                let suspicion = if self.hasty { config.suspicion / 2 } else { config.suspicion };
                self.phase = Phase::Suspect { until: now + suspicion.mul_f64(scale) + self.path };
                steps.push(Step::Suspect(peer));
            }
            Phase::Suspect { until } if now >= until => steps.push(Step::Dead(peer)),
            Phase::Steady | Phase::Probing { .. } | Phase::Suspect { .. } => {}
        }
    }

    /// When anything can be due next, if nothing is heard until then.
    fn due(&self, config: &DetectorConfig, scale: f64) -> Time {
        let phase = match self.phase {
            Phase::Steady if self.connected => {
                self.probe_due(config, scale).min(self.direct + self.silence_max(config))
            }
            Phase::Steady => self.probe_due(config, scale).min(self.lost + UNREACHABLE_MAX),
            Phase::Probing { until } | Phase::Suspect { until } => until,
        };
        if self.connected { phase.min(self.ping_due(config)) } else { phase }
    }

    fn ping_due(&self, config: &DetectorConfig) -> Time {
        self.direct.max(self.pinged) + self.beat(config) + self.jitter
    }

    fn probe_due(&self, config: &DetectorConfig, scale: f64) -> Time {
        // A far neighbour is asked rarely, so its silence begins to count a slow beat later.
        let late = self.beat(config).saturating_sub(config.beat);
        self.direct.max(self.indirect) + late + config.probe_after.mul_f64(scale) + self.path
    }

    fn silence_max(&self, config: &DetectorConfig) -> Duration {
        self.beat(config) + DIRECT_SILENCE_MAX.max(config.probe_after * 2)
    }

    fn beat(&self, config: &DetectorConfig) -> Duration {
        let steady = self.phase == Phase::Steady;
        if self.close || !steady { config.beat } else { config.beat * FAR_BEATS }
    }
}

/// Time for a question to a helper, its ping, and both answers.
fn probe_time(config: &DetectorConfig, watch: &Watch, scale: f64) -> Duration {
    config.probe_timeout.mul_f64(scale) + watch.path * 2
}

/// So that the two ends of a connection rarely ping at the same moment: one ping and its answer serve both.
fn jitter(rng: &mut Rng, beat: Duration) -> Duration {
    beat.mul_f64(rng.random_range(0.0..0.25))
}
