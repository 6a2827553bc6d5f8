//! What the detector wants done: to ask, to doubt, to believe again, and to bury.
//!
//! **Not here:** when it wants that. That is `failure_detector.rs`.

use super::failure_detector::Step;
use super::{Lent, Membership};
use crate::id::PeerId;
use crate::message::{Message, Parting, RumourState};
use crate::output::{Event, Output, PeerState};

impl Membership {
    pub(super) fn carry_out(&mut self, lent: &mut Lent<'_>, peer: PeerId, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Ping => {
                    self.ping(lent, peer, None);
                }
                Step::AskHelpers => self.ask_helpers(lent, peer),
                Step::Suspect => {
                    self.enter(lent, peer, PeerState::Suspect);
                    self.tell_suspicion(lent, peer);
                }
                Step::Alive => self.enter(lent, peer, PeerState::Alive),
                Step::Reconnect => self.reconnect(lent, peer),
                Step::Dead => self.bury(lent, peer),
            }
        }
    }

    /// The same, where others raised the doubt: the peer is asked by telling it what is said of it, and its refutation is
    /// passed on.
    pub(super) fn question(&mut self, lent: &mut Lent<'_>, peer: PeerId, mut steps: Vec<Step>) {
        if let (Some(at), Some(rumour)) =
            (steps.iter().position(|step| *step == Step::Ping), self.about(peer, RumourState::Suspect))
        {
            steps.remove(at);
            lent.out.send(peer, Message::Rumour(rumour));
        }
        self.carry_out(lent, peer, steps);
    }

    pub(super) fn vouched_for(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let Some(watch) = self.known.get_mut(&peer).and_then(|known| known.watch.as_mut()) else { return };
        let step = self.detector.vouched(lent.now, peer, watch);
        self.carry_out(lent, peer, step.into_iter().collect());
    }

    pub(super) fn lost_sight(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let Some(watch) = self.known.get_mut(&peer).and_then(|known| known.watch.as_mut()) else { return };
        let steps = self.detector.closed(lent.now, peer, watch);
        self.carry_out(lent, peer, steps);
    }

    pub(super) fn stop_watching(&mut self, peer: PeerId) {
        self.asked.remove(&peer);
        if let Some(known) = self.known.get_mut(&peer) {
            known.watch = None;
        }
    }

    /// Others hear it and we do not: the connection is at fault.
    fn reconnect(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let reason = "nothing came through for seconds, though others hear the peer".into();
        lent.out.push(Output::Disconnect { peer, reason });
        self.disconnected(lent, peer);
    }

    fn bury(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        self.enter(lent, peer, PeerState::Dead);
        self.tell_death(lent, peer);
        self.stop_watching(peer);
        let Some(known) = self.known.get_mut(&peer) else { return };
        known.lost = false;
        known.accusers.clear();
        known.inherited = None;
        if known.connected {
            self.redial(lent.now, peer, lent.rng);
            self.close(lent, peer, Parting::Silent, "it was silent, to us and to others");
        }
        lent.loads.forget(peer);
        self.note_dial(lent.now);
    }

    pub(super) fn enter(&mut self, lent: &mut Lent<'_>, peer: PeerId, state: PeerState) {
        let Some(known) = self.known.get_mut(&peer) else { return };
        if core::mem::replace(&mut known.state, state) == state {
            return;
        }
        self.fits.take();
        let name = known.member.name.clone();
        self.changes.push((peer, state));
        lent.out.notify(Event::PeerChanged { peer, name, state });
    }
}
