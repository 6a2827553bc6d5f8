//! The measured distances that the own coordinate is learnt from, oldest out first.
//!
//! **Invariant:** at most [`SPRINGS_MAX`], one a peer.

use core::time::Duration;

use super::coordinate::Coordinate;
use crate::id::PeerId;
use crate::time::Time;

/// Neighbours, and those that were lately: their residuals still say something of places near them.
const SPRINGS_MAX: usize = 128;
/// Age at which a spring pulls half as much as a fresh one (neighbour decay, Ledlie et al.).
const HALF_LIFE: Duration = Duration::from_secs(60);
/// An older spring does not pull at all: its peer has moved since it was heard, and so has the space.
pub(super) const PULLS_FOR: Duration = Duration::from_secs(300);

/// A measured distance to a peer that said where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spring {
    pub(super) peer: PeerId,
    pub(super) rtt: Duration,
    pub(super) remote: Coordinate,
    pub(super) at: Time,
}

impl Spring {
    /// How much it pulls: 1 when fresh, 0 when old.
    pub(super) fn weight(&self, now: Time) -> f64 {
        let age = now.since(self.at);
        if age > PULLS_FOR { 0.0 } else { 1.0 / (1.0 + age.as_secs_f64() / HALF_LIFE.as_secs_f64()) }
    }
}

/// All of them, in no order; a list that fits the cache, for it is walked with every sample.
#[derive(Debug, Default)]
pub(super) struct Springs {
    springs: Vec<Spring>,
    next: usize,
}

impl Springs {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Spring> {
        self.springs.iter()
    }

    pub(super) fn put(&mut self, spring: Spring) {
        if let Some(known) = self.springs.iter_mut().find(|known| known.peer == spring.peer) {
            *known = spring;
        } else if self.springs.len() < SPRINGS_MAX {
            self.springs.push(spring);
        } else if let Some(oldest) = self.springs.iter_mut().min_by_key(|known| known.at) {
            *oldest = spring;
        }
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.springs.retain(|known| known.peer != peer);
    }

    /// The next few that still pull, in turn.
    pub(super) fn in_turn(&mut self, now: Time, count: usize) -> impl Iterator<Item = (Spring, f64)> {
        let len = self.springs.len();
        let mut left = len;
        let mut given = 0;
        core::iter::from_fn(move || {
            while left > 0 && given < count {
                left -= 1;
                self.next = (self.next + 1) % len;
                let spring = *self.springs.get(self.next)?;
                let weight = spring.weight(now);
                if weight > 0.0 {
                    given += 1;
                    return Some((spring, weight));
                }
            }
            None
        })
    }
}
