//! What the rest of the peer can ask about who is here.

use super::{Membership, Neighbour};
use crate::certificate::Member;
use crate::id::{PeerId, ShortId};
use crate::output::PeerState;

impl Membership {
    /// Neighbours that are connected and believed to be there.
    pub fn alive_neighbours(&self) -> impl Iterator<Item = &Neighbour> {
        self.known.values().filter(|known| known.is_alive())
    }

    /// Everyone, in the order of their ids.
    pub fn known(&self) -> impl Iterator<Item = &Neighbour> {
        self.known.values()
    }

    /// What is remembered of the only peer with this short id.
    pub(crate) fn by_short(&self, short: ShortId) -> Option<&Neighbour> {
        self.known.get_short(short)
    }

    /// What is remembered of a peer.
    pub fn neighbour(&self, peer: PeerId) -> Option<&Neighbour> {
        self.known.get(&peer)
    }

    /// Who a peer is.
    pub fn member(&self, peer: PeerId) -> Option<&Member> {
        self.known.get(&peer).map(|known| &known.member)
    }

    /// What is believed of a peer.
    pub fn state(&self, peer: PeerId) -> Option<PeerState> {
        self.known.get(&peer).map(|known| known.state)
    }

    /// Whether a message can be sent to it.
    pub fn is_connected(&self, peer: PeerId) -> bool {
        self.known.get(&peer).is_some_and(|known| known.connected)
    }

    /// Grows whenever a neighbour comes or goes.
    pub fn view_version(&self) -> u64 {
        self.view_version
    }

    /// The incarnation this peer speaks with.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Records that were not checked because their sender sent too many.
    pub fn records_refused(&self) -> u64 {
        self.records_refused
    }
}
