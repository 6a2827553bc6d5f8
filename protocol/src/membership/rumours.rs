//! What others say of a peer, and what it is worth.
//!
//! | rumour | about us | about a neighbour |
//! |---|---|---|
//! | suspect | refute with a higher incarnation | tell it, and pass its refutation on to who said so |
//! | dead | the same | the same, and look for ourselves at once, through helpers too |
//! | alive | – | ends a suspicion of a lower incarnation, once |
//!
//! **Invariant:** one peer's word kills nobody; and a refutation is believed of others only while we suspect.

use super::{Lent, Membership};
use crate::id::PeerId;
use crate::message::{Message, Rumour, RumourState};
use crate::rng::some_of;

/// Those who wait for the refutation of one peer.
const ACCUSERS_MAX: usize = 8;
/// A rumour of an incarnation this far ahead of ours is a lie: it would use up the numbers.
const INCARNATION_LEAP_MAX: u32 = 1 << 16;
/// Neighbours told of a suspicion beside the suspect, and of a death that we did not find first.
const TOLD_OF_HEARSAY: usize = 8;

impl Membership {
    /// A neighbour passed on news of a peer.
    pub fn rumour(&mut self, lent: &mut Lent<'_>, from: PeerId, rumour: Rumour) {
        if rumour.peer == self.me.peer {
            self.refute(lent, from, rumour);
            return;
        }
        match rumour.state {
            RumourState::Alive => self.believe_alive(lent, from, rumour),
            RumourState::Suspect => self.look_after(lent, from, rumour, false),
            RumourState::Dead => self.look_after(lent, from, rumour, true),
        }
    }

    /// Tells the suspect, so that it can refute, and a few who may hear it better.
    pub(super) fn tell_suspicion(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let Some(rumour) = self.about(peer, RumourState::Suspect) else { return };
        let others = self.others_alive(&[peer]);
        let told = some_of(lent.rng, others, TOLD_OF_HEARSAY);
        let suspect = self.known.get(&peer).filter(|known| known.connected).map(|_| peer);
        for to in suspect.into_iter().chain(told) {
            lent.out.send(to, Message::Rumour(rumour));
        }
    }

    /// Tells everyone of a death; only a few of one that was heard of before it was found.
    pub(super) fn tell_death(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let Some(rumour) = self.about(peer, RumourState::Dead) else { return };
        let others = self.others_alive(&[peer]);
        let heard_of = self.known.get(&peer).is_some_and(|known| known.dead_by_hearsay == Some(rumour.incarnation));
        let count = if heard_of { TOLD_OF_HEARSAY } else { others.len() };
        for to in some_of(lent.rng, others, count) {
            lent.out.send(to, Message::Rumour(rumour));
        }
    }

    fn refute(&mut self, lent: &mut Lent<'_>, from: PeerId, rumour: Rumour) {
        if rumour.state == RumourState::Alive
            || rumour.incarnation.saturating_sub(self.incarnation) > INCARNATION_LEAP_MAX
        {
            return;
        }
        let is_news = rumour.incarnation >= self.incarnation;
        let told = if is_news { self.others_alive(&[]) } else { vec![from] };
        if is_news {
            self.incarnation = rumour.incarnation.saturating_add(1);
            self.detector.suspected_ourselves(lent.now);
        }
        let refutation = Rumour { peer: self.me.peer, incarnation: self.incarnation, state: RumourState::Alive };
        for to in told {
            lent.out.send(to, Message::Rumour(refutation));
        }
    }

    fn believe_alive(&mut self, lent: &mut Lent<'_>, from: PeerId, rumour: Rumour) {
        let Some(known) = self.known.get_mut(&rumour.peer) else { return };
        if from == rumour.peer {
            known.incarnation = rumour.incarnation;
            for accuser in core::mem::take(&mut known.accusers) {
                lent.out.send(accuser, Message::Rumour(rumour));
            }
            return; // that it spoke was noted when the message was heard
        }
        if rumour.incarnation > known.incarnation {
            known.incarnation = rumour.incarnation;
            let steps = self.detector.vouched(lent.now, rumour.peer);
            self.carry_out(lent, steps);
        }
    }

    fn look_after(&mut self, lent: &mut Lent<'_>, from: PeerId, rumour: Rumour, dead: bool) {
        let Some(known) = self.known.get_mut(&rumour.peer) else { return };
        if rumour.peer == from || !known.connected {
            return;
        }
        if !known.accusers.contains(&from) && known.accusers.len() < ACCUSERS_MAX {
            known.accusers.push(from);
            // It may be that only the way between those two is broken: the suspect hears of it from us.
            lent.out.send(rumour.peer, Message::Rumour(rumour));
        }
        if dead {
            known.dead_by_hearsay = Some(rumour.incarnation);
            let steps = self.detector.check(lent.now, rumour.peer);
            self.carry_out(lent, steps);
        }
    }

    fn about(&self, peer: PeerId, state: RumourState) -> Option<Rumour> {
        Some(Rumour { peer, incarnation: self.known.get(&peer)?.incarnation, state })
    }
}
