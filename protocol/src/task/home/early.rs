//! What is said of an attempt before it is known who has it.

use super::ALTERNATIVES_MAX;
use crate::id::PeerId;

/// What alternatives of an attempt say before it is known to have been passed on to them: their words may have overtaken
/// those of who passed it on, or be made up. Both look alike, so neither counts until the attempt is known to be theirs.
#[derive(Debug, Default)]
pub(crate) struct Early {
    /// Who says to have passed it on, and to whom.
    passed: Vec<(PeerId, PeerId)>,
    /// Who says that it ended.
    ended: Vec<PeerId>,
    /// Who says that it will not run it.
    refused: Vec<PeerId>,
}

impl Early {
    pub(crate) fn passed_on(&mut self, from: PeerId, to: PeerId) {
        self.passed.retain(|(before, _)| *before != from);
        if self.passed.len() < ALTERNATIVES_MAX {
            self.passed.push((from, to));
        }
    }

    pub(crate) fn ended_at(&mut self, peer: PeerId) {
        if self.ended.len() < ALTERNATIVES_MAX && !self.ended.contains(&peer) {
            self.ended.push(peer);
        }
    }

    pub(crate) fn refused(&mut self, peer: PeerId) {
        if self.refused.len() < ALTERNATIVES_MAX && !self.refused.contains(&peer) {
            self.refused.push(peer);
        }
    }

    /// Where it is, since it is known to have been passed on to `to`.
    pub(crate) fn holder_after(&mut self, mut to: PeerId) -> PeerId {
        while let Some(at) = self.passed.iter().position(|(from, _)| *from == to) {
            to = self.passed.swap_remove(at).1;
        }
        to
    }

    /// Whether this peer said that it will not run it.
    pub(crate) fn has_refused(&self, peer: PeerId) -> bool {
        self.refused.contains(&peer)
    }

    /// Whether this peer said that it ended.
    pub(crate) fn has_ended_at(&self, peer: PeerId) -> bool {
        self.ended.contains(&peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    #[test]
    fn what_alternatives_said_too_early_is_followed_from_one_to_the_next() {
        let mut early = Early::default();
        early.passed_on(peer(2), peer(3));
        early.passed_on(peer(3), peer(4));
        early.passed_on(peer(3), peer(5));
        early.ended_at(peer(5));

        assert_eq!(early.holder_after(peer(1)), peer(1), "nobody spoke of that one");
        assert_eq!(early.holder_after(peer(2)), peer(5), "the last word of each counts");
        assert_eq!(early.holder_after(peer(2)), peer(2), "and counts once");
        assert!(early.has_ended_at(peer(5)) && !early.has_ended_at(peer(4)));
    }

    #[test]
    fn what_is_said_too_early_is_bounded() {
        let mut early = Early::default();
        for n in 0..100 {
            early.passed_on(peer(n), peer(n + 1));
            early.ended_at(peer(n));
            early.ended_at(peer(n));
            early.refused(peer(n));
        }

        assert_eq!([early.passed.len(), early.ended.len(), early.refused.len()], [ALTERNATIVES_MAX; 3]);
    }
}
