//! Connections to neighbours: how one begins, and what is left of it when it ends.
//!
//! **Invariant:** a closed connection is a hint, not a death.
//! **Not here:** whom to call (`dialling.rs`), and whom to stay connected to (`view.rs`).

use super::{Lent, Membership, Neighbour, dialling};
use crate::certificate::Member;
use crate::id::PeerId;
use crate::message::{Message, Parting};
use crate::output::{Output, PeerState};
use crate::time::Time;

impl Membership {
    /// A neighbour showed a valid certificate on a new connection.
    pub fn connected(&mut self, lent: &mut Lent<'_>, member: Member, address: Option<String>) {
        let peer = member.peer;
        if self.is_revoked(peer) {
            lent.out.push(Output::Disconnect { peer, reason: "it has been revoked".into() });
            return;
        }
        if peer == self.me.peer || !self.make_room_for(peer) {
            lent.out.send(peer, Message::Parting(Parting::NoRoom));
            lent.out.push(Output::Disconnect { peer, reason: "there is no room for another neighbour".into() });
            return;
        }
        let (now, me) = (lent.now, self.me.peer);
        self.services_unread(peer);
        let known = self.known.get_or_insert_with(peer, || Neighbour::new(now, me, member.clone()));
        self.connected += usize::from(!core::mem::replace(&mut known.connected, true));
        self.fits.take();
        known.member = member;
        if known.state == PeerState::Dead {
            known.told.clear(); // it may know less than before, and takes fewer for alive
        }
        (known.lost, known.called_for) = (false, false);
        known.connection_since = now;
        known.heard = Some(now);
        known.address = address.clone();
        known.accusers.clear();
        lent.latency.reconnected(peer);
        known.passed_on = false;
        known.parted = None;
        known.bequeathed = None;
        known.inherited = None;
        known.exchanged = now;
        let watch = self.detector.opened(now, peer, lent.latency.rtt(peer), known.watch.as_ref());
        known.watch = Some(watch);
        self.beats.schedule_exchange(known, &self.me, lent.rng);
        self.dial_answered(peer, address.as_deref());
        lent.loads.reconnected(peer);
        self.view_changed(now);
        self.enter(lent, peer, PeerState::Alive);
        self.greet(lent, peer);
        self.ping(lent, peer, None);
        self.run_errands(lent, peer);
        self.keep_below_limit(lent, peer);
    }

    /// An issuer has signed something newer of a peer than what it showed when it connected.
    pub fn recertified(&mut self, now: Time, member: Member) {
        if member.peer == self.me.peer {
            self.me = member;
        } else if let Some(known) = self.known.get_mut(&member.peer) {
            known.member = member;
            self.fits.take();
            self.view_changed(now);
        }
    }

    /// The last connection to a neighbour closed: a hint, not a death, unless it said why.
    pub fn disconnected(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        self.pardon_if_late(lent.now);
        let Some(known) = self.known.get(&peer).filter(|known| known.connected) else { return };
        let refuses = self.refuses(lent.now, known);
        self.hang_up(lent.now, peer);
        let Some(known) = self.known.get_mut(&peer) else { return };
        let said_goodbye = known.state == PeerState::Left;
        let lives = refuses || known.parted.is_some();
        known.lost = !said_goodbye && !lives;
        let has_no_room = known.parted.take() == Some(Parting::NoRoom);
        if said_goodbye {
            known.watch = None;
        } else {
            self.redial(lent.now, peer, lent.rng);
            if has_no_room || refuses {
                self.rest(lent.now, peer);
            }
            if lives {
                self.stop_watching(peer);
            } else {
                self.lost_sight(lent, peer);
            }
        }
        if let Some(known) = self.known.get_mut(&peer) {
            known.connection_since = lent.now;
        }
        self.note_dial(lent.now);
    }

    /// A peer is to have no connection until then: it is closed, and not called.
    pub fn shut_out(&mut self, lent: &mut Lent<'_>, peer: PeerId, until: Time) {
        if self.is_connected(peer) {
            self.close(lent, peer, Parting::NoRoom, "it floods us, or talks nonsense, and went on");
        }
        if let Some(known) = self.known.get_mut(&peer) {
            known.backoff.shut(until);
        }
        self.prospects.rest(peer, until);
    }

    /// Closes a connection and says why.
    pub(super) fn close(&mut self, lent: &mut Lent<'_>, peer: PeerId, why: Parting, reason: &str) {
        self.stop_watching(peer);
        self.hang_up(lent.now, peer);
        if let Some(known) = self.known.get_mut(&peer) {
            known.connection_since = lent.now;
        }
        lent.out.send(peer, Message::Parting(why));
        lent.out.push(Output::Disconnect { peer, reason: reason.into() });
    }

    /// There is no connection any more.
    pub(super) fn hang_up(&mut self, now: Time, peer: PeerId) {
        self.beats.forget(peer);
        self.services_unread(peer);
        let Some(known) = self.known.get_mut(&peer) else { return };
        self.connected -= usize::from(core::mem::replace(&mut known.connected, false));
        self.fits.take();
        known.address = None;
        self.view_changed(now);
    }

    /// A neighbour without room for us is not called for a while.
    fn rest(&mut self, now: Time, peer: PeerId) {
        let fits = self.whole_mesh_fits();
        if let Some(known) = self.known.get_mut(&peer).filter(|_| !fits) {
            known.backoff.rest(now + dialling::LET_GO_REST);
        }
    }
}
