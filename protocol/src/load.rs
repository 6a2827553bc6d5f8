//! What each peer last said of its spare capacity, corrected by what this peer knows better; and who must be told of ours.
//!
//! A digest is a prediction (*a task arriving now would start in X*), so it ages by itself. Between two digests this peer
//! corrects it by its own awards that the digest cannot contain yet.
//!
//! **Invariant:** a digest is kept only if [`LoadDigest::is_sane`]; all that is remembered has a bound in `config.rs`.
//! **Not here:** making the own digest. That is the executor's queue.

pub(crate) mod arrivals;
mod in_flight;
mod publish;
pub(crate) mod sanity;
pub(crate) mod usual;

use core::time::Duration;
use std::collections::BTreeSet;

use self::in_flight::InFlight;
use self::publish::Published;
use crate::config::LOAD_PEERS_MAX;
use crate::id::PeerId;
use crate::message::{LoadDigest, TaskRef};
use crate::peer_map::PeerMap;
use crate::time::{Time, from_millis_f64, millis};

/// The places behind the next one of which a digest says when they would start.
pub const AHEAD: [u32; 6] = [1, 2, 4, 8, 16, 32];
/// How finely it says so.
pub(crate) const LATER_UNIT: Duration = Duration::from_micros(100);

/// Load of the neighbours, as far as this peer knows.
#[derive(Debug, Default)]
pub struct LoadView {
    peers: PeerMap<PeerLoad>,
    /// The start time that peers of a size speak of lately, in milliseconds; by the logarithm of their cores.
    typical_ms: [f64; SIZES],
    /// Until then somebody's last word is that tasks wait there.
    somebody_queues_until: Time,
    /// Those connected that have said on this connection that they enforce labels of data.
    aware: BTreeSet<PeerId>,
}

/// Sizes of peers that are told apart: each holds four times the cores of the one before.
const SIZES: usize = 5;
/// Share of the newest word in what is typical.
const TYPICAL_GAIN: f64 = 0.05;
/// Silence after which a peer is taken to be as busy as others of its size.
const SILENT: Duration = Duration::from_secs(1);

/// What was said so lately may not have come yet.
const ON_ITS_WAY: Duration = Duration::from_secs(1);
/// A peer describes itself anew this often to who hears from it: that one may have forgotten.
const DESCRIBED_FOR: Duration = Duration::from_secs(60);

fn size_of(cores: u16) -> usize {
    (cores.max(1).ilog2() as usize / 2).min(SIZES - 1)
}

/// What is expected of a peer.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Its last word.
    pub digest: &'a LoadDigest,
    /// When a task arriving there now would start.
    pub start_in: Duration,
    /// How long ago it spoke.
    pub age: Duration,
}

/// Both directions of what is known between this peer and another.
#[derive(Debug, Default)]
struct PeerLoad {
    touched: Time,
    heard: Option<Heard>,
    in_flight: InFlight,
    published: Option<Published>,
    /// The description of ourselves that it was told on this connection, and when.
    described: Option<(u32, Time)>,
    /// The ping that carried our load, until it is answered.
    unanswered: Option<u32>,
}

impl PeerLoad {
    /// Nothing that was said to it counts.
    fn unheard(&mut self) {
        self.published = None;
        self.described = None;
        self.unanswered = None;
    }
}

#[derive(Debug)]
struct Heard {
    digest: LoadDigest,
    at: Time,
    /// Digests of an earlier life of the peer may have had any sequence.
    connection_over: bool,
}

impl LoadView {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A peer spoke of its load. False, and nothing changes, for a digest that cannot be true or is not newer.
    ///
    /// Drops the awards that it contains. For an `Outcome` call `settled` first.
    pub fn heard(&mut self, now: Time, peer: PeerId, digest: LoadDigest) -> bool {
        if digest.understands_labels {
            self.aware.insert(peer);
        }
        let digest = if digest.is_brief() {
            // On this connection it must have described itself before.
            let before =
                self.peers.get(&peer).and_then(|load| load.heard.as_ref()).filter(|last| !last.connection_over);
            let Some(whole) = before.and_then(|before| digest.completed(&before.digest)) else { return false };
            whole
        } else {
            digest
        };
        if !digest.is_sane() {
            return false;
        }
        let digest = LoadDigest { weights: digest.weights.believed(), ..digest };
        let load = self.touch(now, peer);
        if load.heard.as_ref().is_some_and(|last| !last.connection_over && digest.sequence <= last.digest.sequence) {
            return false;
        }
        load.in_flight.heard(now);
        if let Some(typical_ms) = self.typical_ms.get_mut(size_of(digest.cores)) {
            *typical_ms += TYPICAL_GAIN * (millis(digest.start_in) - *typical_ms);
        }
        if digest.queued > 0 {
            self.somebody_queues_until = now + SILENT;
        }
        let load = self.touch(now, peer);
        load.heard = Some(Heard { digest, at: now, connection_over: false });
        true
    }

    /// What the peer last said.
    pub fn digest(&self, peer: PeerId) -> Option<&LoadDigest> {
        Some(&self.peers.get(&peer)?.heard.as_ref()?.digest)
    }

    /// How long ago it said so.
    pub fn age(&self, now: Time, peer: PeerId) -> Option<Duration> {
        Some(now.since(self.peers.get(&peer)?.heard.as_ref()?.at))
    }

    /// When a task arriving there now would start: what it said, less the time that passed, plus our own awards that it
    /// did not count yet.
    pub fn start_in(&self, now: Time, peer: PeerId) -> Option<Duration> {
        self.expected(now, peer, Duration::ZERO).map(|expected| expected.start_in)
    }

    /// The digest of a peer, and what follows from it now for a task that has this way to go.
    pub fn expected(&self, now: Time, peer: PeerId, rtt: Duration) -> Option<Expected<'_>> {
        let load = self.peers.get(&peer)?;
        let heard = load.heard.as_ref()?;
        let age = now.since(heard.at);
        let said = heard.digest.start_behind(age, rtt, load.in_flight.len());
        let typical = self.typical_ms.get(size_of(heard.digest.cores)).copied().unwrap_or_default();
        // Doubt never goes beyond what is typical: whoever says more need not be doubted.
        let doubted = if millis(said) >= typical {
            Duration::ZERO
        } else {
            let known = (-age.as_secs_f64() / SILENT.as_secs_f64()).exp();
            from_millis_f64(typical * (1.0 - known))
        };
        // Who has not run anything yet cannot say how much later others would start.
        let is_new = heard.digest.turnover.is_zero();
        let behind = if is_new { load.in_flight.wait(&heard.digest) } else { Duration::ZERO };
        // However old its word, what was given to it since is known.
        let free_in = load.in_flight.free_in(now, rtt, heard.digest.cores);
        Some(Expected { digest: &heard.digest, start_in: (said.max(doubted) + behind).max(free_in), age })
    }

    /// Whether [`LoadView::backlog`] can have something to say of anybody: an idle mesh need not be looked through.
    pub fn somebody_queues(&self, now: Time) -> bool {
        now <= self.somebody_queues_until
    }

    /// How long tasks wait there, by its last word.
    pub fn backlog(&self, now: Time, peer: PeerId) -> Option<Duration> {
        let heard = self.peers.get(&peer)?.heard.as_ref()?;
        let age = now.since(heard.at);
        if heard.digest.queued == 0 || age > SILENT {
            return None;
        }
        Some(heard.digest.start_in.saturating_sub(age))
    }

    /// Own awards to the peer that its digest does not contain yet.
    pub fn in_flight(&self, peer: PeerId) -> usize {
        self.peers.get(&peer).map_or(0, |load| load.in_flight.len())
    }

    /// A task was awarded to the peer; `work` is the time it will hold a core *there*, and what we hear after `known_after`
    /// was said by a peer that had it.
    pub fn assigned(&mut self, now: Time, peer: PeerId, attempt: TaskRef, work: Duration, known_after: Duration) {
        self.touch(now, peer).in_flight.assigned(attempt, work, now + known_after);
    }

    /// The award came to an end (run, declined, lost): it weighs on the peer no more.
    pub fn settled(&mut self, peer: PeerId, attempt: TaskRef) {
        if let Some(load) = self.peers.get_mut(&peer) {
            load.in_flight.settled(attempt);
        }
    }

    /// Whether a peer enforces labels of data, as far as it has said since it is connected.
    pub fn understands_labels(&self, peer: PeerId) -> bool {
        self.aware.contains(&peer)
    }

    /// Its connection is closed: it may come back with another version.
    pub fn disconnected(&mut self, peer: PeerId) {
        self.aware.remove(&peer);
    }

    /// A new connection: the peer may have restarted and count its digests anew, and it may have forgotten ours.
    pub fn reconnected(&mut self, peer: PeerId) {
        self.aware.remove(&peer);
        if let Some(load) = self.peers.get_mut(&peer) {
            load.unheard();
            if let Some(heard) = &mut load.heard {
                heard.connection_over = true;
            }
        }
    }

    /// Whether the peer has spoken of its load on this connection.
    pub fn is_heard(&self, peer: PeerId) -> bool {
        let heard = self.peers.get(&peer).and_then(|load| load.heard.as_ref());
        heard.is_some_and(|heard| !heard.connection_over)
    }

    /// A peer has not heard our load, unless it is on its way: what it was told may have been on a connection that is over for it,
    /// and here goes on.
    pub fn asked_for(&mut self, now: Time, from: PeerId) {
        let Some(load) = self.peers.get_mut(&from) else { return };
        // Short forms say nothing to who has not heard the description.
        let described = load.described.map(|(_, at)| now.since(at));
        let told = described.or_else(|| load.published.as_ref().map(|published| published.age(now)));
        if told.is_none_or(|age| age >= ON_ITS_WAY) {
            load.unheard();
        }
    }

    /// A peer is gone.
    pub fn forget(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }

    /// Whether `to` would decide wrongly by what it last heard from us: see `publish.rs` for the rule.
    pub fn should_publish(&self, now: Time, to: PeerId, current: &LoadDigest) -> bool {
        match self.peers.get(&to).and_then(|load| load.published.as_ref()) {
            Some(published) => published.misleads(now, current),
            None => true,
        }
    }

    /// Whether `to` is worth a message of its own: it knows nothing of us, or something that is not so any more.
    pub fn should_announce(&self, now: Time, to: PeerId, current: &LoadDigest) -> bool {
        match self.peers.get(&to).and_then(|load| load.published.as_ref()) {
            Some(published) => published.is_outdated(now, current),
            None => true,
        }
    }

    /// When a task would start here as `to` believes, going by what it last heard; nothing when it heard nothing.
    pub fn believed(&self, now: Time, to: PeerId) -> Option<Duration> {
        Some(self.peers.get(&to)?.published.as_ref()?.believed(now))
    }

    /// When tasks start at peers of this size lately.
    pub fn typical_start(&self, cores: u16) -> Duration {
        from_millis_f64(self.typical_ms.get(size_of(cores)).copied().unwrap_or_default())
    }

    /// `digest` was sent to `to`, in whatever message.
    pub fn published(&mut self, now: Time, to: PeerId, digest: &LoadDigest) {
        self.touch(now, to).published = Some(Published::new(now, digest));
    }

    /// The digest to add to a message to `to`, when it is worth its bytes; it counts as sent.
    pub fn publish(&mut self, now: Time, to: PeerId, current: &LoadDigest) -> Option<LoadDigest> {
        if !self.should_publish(now, to, current) {
            return None;
        }
        self.published(now, to, current);
        Some(current.clone())
    }

    /// The same for a ping. What an earlier ping carried that has no answer was not heard: whoever never learns what this
    /// peer is gives it no work, and no labelled data.
    pub fn publish_asking(&mut self, now: Time, to: PeerId, sequence: u32, current: &LoadDigest) -> Option<LoadDigest> {
        if let Some(load) = self.peers.get_mut(&to).filter(|load| load.unanswered.is_some()) {
            load.unheard();
        }
        let digest = self.publish(now, to, current)?;
        self.touch(now, to).unanswered = Some(sequence);
        Some(digest)
    }

    /// A ping has an answer: what it carried was heard.
    pub fn answered(&mut self, from: PeerId, sequence: u32) {
        if let Some(load) = self.peers.get_mut(&from).filter(|load| load.unanswered == Some(sequence)) {
            load.unanswered = None;
        }
    }

    /// Whether `peer` reads short forms: it says so by using them.
    pub(crate) fn reads_brief(&self, peer: PeerId) -> bool {
        self.digest(peer).is_some_and(|digest| digest.description != 0)
    }

    /// `digest` is about to be sent to `to`: it leaves out what that peer was told.
    pub(crate) fn abridge(&mut self, now: Time, to: PeerId, digest: &mut LoadDigest) {
        if !self.reads_brief(to) {
            return;
        }
        let Some(load) = self.peers.get_mut(&to) else { return };
        match load.described {
            Some((description, at)) if description == digest.description && now.since(at) < DESCRIBED_FOR => {
                *digest = digest.abridged();
            }
            _ => load.described = Some((digest.description, now)),
        }
    }

    fn touch(&mut self, now: Time, peer: PeerId) -> &mut PeerLoad {
        if self.peers.len() >= LOAD_PEERS_MAX && !self.peers.contains_key(&peer) {
            let oldest = self.peers.iter().min_by_key(|(_, load)| load.touched).map(|(peer, _)| *peer);
            oldest.map(|peer| self.peers.remove(&peer));
        }
        let load = self.peers.get_or_insert_with(peer, PeerLoad::default);
        load.touched = now;
        load
    }
}

#[cfg(test)]
mod tests;
