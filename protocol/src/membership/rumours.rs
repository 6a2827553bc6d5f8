//! What others say of a peer, and what it is worth.
//!
//! | rumour | about us | about a neighbour |
//! |---|---|---|
//! | suspect | refute with a higher incarnation | ask it, and pass its refutation on to who said so |
//! | dead | the same | the same; two who say so are believed once our own question stays unanswered |
//! | alive | – | ends a suspicion of a lower incarnation, once |
//!
//! A death travels from the monitors to those the dead peer named (`will.rs`). A cloud peer has too many neighbours to
//! name them: whoever holds it and hears of its death passes that on, once.
//!
//! **Invariant:** one peer's word kills nobody; and a refutation is believed of others only while we suspect.

use core::time::Duration;

use super::failure_detector::{Votes, Watch};
use super::{Lent, Membership};
use crate::certificate::Role;
use crate::id::PeerId;
use crate::message::{Message, Rumour, RumourState};
use crate::rng::some_of;
use crate::time::Time;

/// Those whose word on one peer is remembered, and who wait for its refutation.
const ACCUSERS_MAX: usize = 8;
/// How long such a word counts.
const WORD_MAX: Duration = Duration::from_secs(5);
/// A rumour of an incarnation this far ahead of ours is a lie: it would use up the numbers.
const INCARNATION_LEAP_MAX: u32 = 1 << 16;
/// Neighbours told of a suspicion, or of a death that we did not find first, where it is not known whom it concerns.
const TOLD_OF_HEARSAY: usize = 8;
/// Neighbours that the death of a cloud peer is passed on to.
const TOLD_OF_CLOUD: usize = 12;

/// Who suspects a neighbour or found it dead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accuser {
    peer: PeerId,
    dead: bool,
    at: Time,
}

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

    /// Tells the suspect, so that it can refute, and those who hold it, so that they look as well.
    pub(super) fn tell_suspicion(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let Some(rumour) = self.about(peer, RumourState::Suspect) else { return };
        let told = match self.co_holders(peer) {
            Some(holders) => holders,
            None => some_of(lent.rng, self.others_alive(&[peer]), TOLD_OF_HEARSAY),
        };
        let suspect = self.known.get(&peer).filter(|known| known.connected).map(|_| peer);
        for to in suspect.into_iter().chain(told) {
            lent.out.send(to, Message::Rumour(rumour));
        }
        self.call_heirs(lent, peer);
    }

    /// Tells those who hold a dead peer: those it named; else all of a mesh that fits the view, but only a few when others
    /// knew before.
    pub(super) fn tell_death(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let Some(rumour) = self.about(peer, RumourState::Dead) else { return };
        if let Some(holders) = self.co_holders(peer) {
            for to in holders {
                lent.out.send(to, Message::Rumour(rumour));
            }
            self.call_heirs(lent, peer);
            return;
        }
        let others = self.others_alive(&[peer]);
        let count = match self.known.get(&peer) {
            Some(known) if known.member.role == Role::Cloud && known.passed_on => 0,
            Some(known) if known.member.role == Role::Cloud => TOLD_OF_CLOUD,
            Some(known) if known.votes(lent.now).dead > 0 => TOLD_OF_HEARSAY,
            Some(_) | None => others.len(),
        };
        let count = if self.whole_mesh_fits() { count } else { count.min(TOLD_OF_CLOUD) };
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
        if rumour.incarnation >= self.incarnation {
            self.incarnation = rumour.incarnation.saturating_add(1);
            self.detector.suspected_ourselves(lent.now);
        }
        let refutation = Rumour { peer: self.me.peer, incarnation: self.incarnation, state: RumourState::Alive };
        lent.out.send(from, Message::Rumour(refutation));
    }

    fn believe_alive(&mut self, lent: &mut Lent<'_>, from: PeerId, rumour: Rumour) {
        let Some(known) = self.known.get_mut(&rumour.peer) else { return };
        if from == rumour.peer {
            known.incarnation = rumour.incarnation;
            for accuser in core::mem::take(&mut known.accusers) {
                lent.out.send(accuser.peer, Message::Rumour(rumour));
            }
            return; // that it spoke was noted when the message was heard
        }
        let leap = rumour.incarnation.checked_sub(known.incarnation);
        let is_newer = leap.is_some_and(|leap| (1..=INCARNATION_LEAP_MAX).contains(&leap));
        if is_newer && known.watch.as_ref().is_some_and(Watch::is_in_doubt) {
            known.incarnation = rumour.incarnation;
            self.vouched_for(lent, rumour.peer);
        }
    }

    fn look_after(&mut self, lent: &mut Lent<'_>, from: PeerId, rumour: Rumour, dead: bool) {
        let Some(known) = self.known.get_mut(&rumour.peer).filter(|known| known.connected) else { return };
        if rumour.peer == from || rumour.incarnation < known.incarnation {
            return;
        }
        known.accuse(lent.now, from, dead);
        let votes = known.votes(lent.now);
        let Some(watch) = &mut known.watch else { return };
        let steps = self.detector.doubted(lent.now, rumour.peer, watch, votes);
        let concerns_all = dead && known.member.role == Role::Cloud && watch.is_in_doubt();
        let passes_on = concerns_all && !core::mem::replace(&mut known.passed_on, true);
        self.question(lent, rumour.peer, steps);
        if passes_on {
            for to in some_of(lent.rng, self.others_alive(&[rumour.peer, from]), TOLD_OF_CLOUD) {
                lent.out.send(to, Message::Rumour(rumour));
            }
        }
    }

    pub(super) fn about(&self, peer: PeerId, state: RumourState) -> Option<Rumour> {
        Some(Rumour { peer, incarnation: self.known.get(&peer)?.incarnation, state })
    }
}

impl super::Neighbour {
    fn accuse(&mut self, now: Time, by: PeerId, dead: bool) {
        self.accusers.retain(|accuser| now.since(accuser.at) < WORD_MAX && (accuser.peer != by || accuser.dead));
        let is_known = self.accusers.iter().any(|accuser| accuser.peer == by);
        if !is_known && self.accusers.len() < ACCUSERS_MAX {
            self.accusers.push(Accuser { peer: by, dead, at: now });
        }
    }

    /// How many call it dead.
    pub(super) fn votes(&self, now: Time) -> Votes {
        let counts = |accuser: &&Accuser| accuser.dead && now.since(accuser.at) < WORD_MAX;
        Votes { dead: self.accusers.iter().filter(counts).count() }
    }

    /// Who spoke against it.
    pub(super) fn accusers(&self) -> impl Iterator<Item = PeerId> {
        self.accusers.iter().map(|accuser| accuser.peer)
    }
}
