//! Goodbyes: of neighbours that leave or close, of those that said so and did not go, and our own.

use core::time::Duration;

use super::{Lent, Membership, dialling};
use crate::id::PeerId;
use crate::message::{Message, Parting};
use crate::output::{Outbox, PeerState};
use crate::time::Time;

/// Whoever says goodbye goes within two seconds; one that is still connected after this long has not left.
const GOODBYE_MAX: Duration = Duration::from_secs(4);

impl Membership {
    /// A neighbour is about to close, and says why.
    pub fn parting(&mut self, from: PeerId, why: Parting) {
        if let Some(known) = self.known.get_mut(&from).filter(|known| known.connected) {
            known.parted = Some(why);
        }
    }

    /// A neighbour said goodbye.
    pub fn left(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let Some(known) = self.known.get_mut(&peer) else { return };
        let until = lent.now + dialling::LEFT_REST;
        known.backoff.renew(until);
        self.prospects.rest(peer, until);
        known.watch = None;
        if known.connected {
            known.connection_since = lent.now;
            self.next_goodbye.get_or_insert(lent.now + GOODBYE_MAX);
        }
        self.view_changed(lent.now);
        self.enter(lent, peer, PeerState::Left);
        lent.loads.forget(peer);
    }

    /// Says goodbye to everyone, and calls nobody any more.
    pub fn leave(&mut self, out: &mut Outbox) {
        self.leaving = true;
        self.next_dial = None;
        for to in self.known.iter().filter(|(_, known)| known.connected).map(|(peer, _)| *peer) {
            out.send(to, Message::Leaving);
        }
    }

    /// Whoever said goodbye and is still connected is not going: the connection is closed, and both begin anew.
    pub(super) fn take_at_its_word(&mut self, lent: &mut Lent<'_>) {
        if self.next_goodbye.is_none_or(|at| at > lent.now) {
            return;
        }
        let left = self.known.values().filter(|known| known.connected && known.state == PeerState::Left);
        let left: Vec<(PeerId, Time)> = left.map(|known| (known.member.peer, known.connection_since)).collect();
        self.next_goodbye = None;
        for (peer, since) in left {
            if lent.now.since(since) >= GOODBYE_MAX {
                self.close(lent, peer, Parting::Silent, "it said goodbye, and did not go");
            } else {
                self.next_goodbye = Some(self.next_goodbye.unwrap_or(since + GOODBYE_MAX).min(since + GOODBYE_MAX));
            }
        }
    }
}
