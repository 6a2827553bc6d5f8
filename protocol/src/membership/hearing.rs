//! Hearing a neighbour: whatever it says moves the time at which its silence would be strange.

use core::time::Duration;

use super::{Lent, Membership};
use crate::id::PeerId;
use crate::message::Beat;
use crate::time::Time;

impl Membership {
    /// A neighbour said something; call this for every message but a beat, before its own handler.
    pub fn heard(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        self.listen(lent, peer, None);
    }

    /// A neighbour says when to expect it again.
    pub fn beaten(&mut self, lent: &mut Lent<'_>, from: PeerId, beat: Beat) {
        if self.beats.dismisses(&beat) {
            self.disinherit(from);
        }
        self.listen(lent, from, Some(beat));
    }

    fn listen(&mut self, lent: &mut Lent<'_>, peer: PeerId, beat: Option<Beat>) {
        self.pardon_if_late(lent.now);
        let Some(known) = self.known.get_mut(&peer).filter(|known| known.connected) else { return };
        known.heard = Some(lent.now);
        if let Some(beat) = beat {
            known.incarnation = beat.incarnation;
        }
        let Some(watch) = &mut known.watch else { return };
        if watch.is_in_doubt() {
            known.passed_on = false;
        }
        let step = self.detector.heard(lent.now, watch);
        if let Some(beat) = beat {
            self.detector.promised(lent.now, peer, watch, Duration::from_millis(u64::from(beat.next_ms)));
        }
        if self.detector.is_next(peer) {
            self.look_ahead(lent.now);
        }
        if let Some(step) = step {
            self.carry_out(lent, peer, vec![step]);
        }
    }

    /// The next entry of the agenda is one that is due then, as far as is known now: so nobody is woken for nothing.
    pub(super) fn look_ahead(&mut self, now: Time) {
        while let Some((at, peer)) = self.detector.next_entry() {
            let watch = self.known.get_mut(&peer).and_then(|known| known.watch.as_mut());
            if !self.detector.postpones(now, at, peer, watch) {
                return;
            }
        }
    }

    /// When we were stopped or starved, the silence of the others was ours.
    pub(super) fn pardon_if_late(&mut self, now: Time) {
        let Some(late) = self.detector.lateness(now) else { return };
        self.detector.clear_agenda();
        for (peer, known) in self.known.iter_mut() {
            if let Some(watch) = &mut known.watch {
                self.detector.pardon(now, *peer, watch, late);
            }
        }
    }
}
