//! Whom to ask for one blob, how often each was tried, and why nobody brings it.
//!
//! **Not here:** finding, calling and asking them. That is `fetch.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use shoal_protocol::PeerId;

/// A broken or busy source is taken up again this often: within some three seconds.
const TRIES_MAX: u32 = 6;
/// Pause before the second try; then it doubles, and is added.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Peers that one blob is looked for at.
const CANDIDATES_MAX: usize = 32;

/// Whom to ask for a blob, and what became of asking.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) next: VecDeque<PeerId>,
    pub(super) tries: BTreeMap<PeerId, u32>,
    /// Through with their part; they may be asked for what others do not bring.
    pub(super) idle: Vec<PeerId>,
    reasons: Vec<String>,
    pub(super) failures: u32,
}

impl Sources {
    /// How many of them are new.
    pub(super) fn add(&mut self, me: PeerId, found: impl IntoIterator<Item = PeerId>) -> usize {
        let before = self.tries.len();
        for peer in found {
            if peer != me && self.tries.len() < CANDIDATES_MAX && !self.tries.contains_key(&peer) {
                self.tries.insert(peer, 0);
                self.next.push_back(peer);
            }
        }
        self.tries.len() - before
    }

    /// Whether a source that failed gets another try.
    pub(super) fn failed(&mut self, peer: PeerId, why: String, may_again: bool) -> bool {
        // Others have to bring what it was to bring.
        self.next.extend(self.idle.drain(..));
        let tries = self.tries.entry(peer).or_default();
        *tries += 1;
        let again = may_again && *tries < TRIES_MAX;
        self.failures += 1;
        if !again {
            self.reasons.push(format!("{}: {why}", peer.short()));
        }
        again
    }

    pub(super) fn pause(&self, peer: PeerId) -> Duration {
        let tries = self.tries.get(&peer).copied().unwrap_or_default();
        RETRY_PAUSE * (1_u32 << tries.min(TRIES_MAX)).saturating_sub(1)
    }

    /// Why nobody brings it.
    pub(super) fn why_not(&self) -> String {
        if self.reasons.is_empty() { "no peer that is within reach has it".into() } else { self.reasons.join("; ") }
    }
}
