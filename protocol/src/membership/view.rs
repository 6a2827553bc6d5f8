//! Whom to stay connected to: everyone in a small mesh; in a large one the nearest, a few at random, and the clouds.
//!
//! Near is by round trip. The random ones are those with the lowest rank of the *pair*, which both ends reckon alike: what
//! one end would keep, the other end tends to keep too, and nobody flaps.
//!
//! **Invariant:** a neighbour is let go only when there are [`VIEW_SLACK`] more than the view needs, never while it is
//! watched, waits for a result from here or decides with us what became of a task, and not before its round trip could be
//! measured, unless there are [`CONNECTED_MAX`].

use core::time::Duration;

use super::dialling::LET_GO_REST;
use super::{Lent, Membership, Neighbour};
use crate::certificate::Role;
use crate::config::{
    CLOUD_CONNECTED_MAX, CLOUD_EDGES_MAX, CONNECTED_MAX, VIEW_CLOUD_MAX, VIEW_NEAR_MAX, VIEW_RANDOM_MAX, VIEW_SLACK,
};
use crate::id::PeerId;
use crate::message::Parting;
use crate::output::PeerState;

/// A new neighbour has this long to show how near it is.
const SETTLING: Duration = Duration::from_secs(3);

impl Membership {
    /// The places the view has left to call somebody for; a call under way keeps one. A cloud peer takes more, and calls
    /// no more.
    pub(super) fn room(&self) -> Room {
        let (mut edges, mut clouds) = (0, 0);
        for known in self.known.values().filter(|known| known.connected || known.backoff.is_calling()) {
            match known.member.role {
                Role::Edge => edges += 1,
                Role::Cloud => clouds += 1,
            }
        }
        let left = |role, taken| wanted(Role::Edge, role).saturating_sub(taken);
        Room { edge: left(Role::Edge, edges), cloud: left(Role::Cloud, clouds) }
    }

    /// Whether the view has a place for somebody new. Asked for every record there is, so it is quick where the answer is
    /// plain: a cloud peer that has more neighbours than any view holds is called, and calls nobody.
    pub(super) fn may_call(&self, peer: PeerId) -> bool {
        self.connected < CONNECTED_MAX && self.known.get(&peer).is_some_and(|known| self.room().calls(known))
    }

    /// Whether all peers there are find a place.
    pub(super) fn whole_mesh_fits(&self) -> bool {
        let fits = |role| self.of_role(role).nth(wanted(Role::Edge, role)).is_none();
        let known = self.fits.get().unwrap_or_else(|| [Role::Edge, Role::Cloud].into_iter().all(fits));
        self.fits.set(Some(known));
        known
    }

    /// Lets the worst neighbours go where there are too many.
    pub(super) fn trim(&mut self, lent: &mut Lent<'_>) {
        for role in [Role::Edge, Role::Cloud] {
            while let Some(peer) = self.one_too_many(role, lent) {
                self.let_go(lent, peer);
            }
        }
    }

    /// A newcomer takes the place of the worst neighbour when all are taken, or finds none.
    pub(super) fn keep_below_limit(&mut self, lent: &mut Lent<'_>, newcomer: PeerId) {
        if self.connected <= connected_max(self.me.role) {
            return;
        }
        let worst = self.worst_of(Role::Edge, VIEW_NEAR_MAX, lent, |_| true);
        let worst = worst.or_else(|| self.worst_of(Role::Cloud, 0, lent, |_| true));
        // Whoever is needed takes the place also of one that is near.
        let near = || self.worst_of(Role::Edge, 0, lent, |_| true).filter(|_| (lent.needs)(newcomer));
        self.let_go(lent, worst.or_else(near).unwrap_or(newcomer));
    }

    fn one_too_many(&self, role: Role, lent: &Lent<'_>) -> Option<PeerId> {
        let connected = self.of_role(role).filter(|known| known.connected).count();
        if connected <= wanted(self.me.role, role) + VIEW_SLACK {
            return None;
        }
        let settled = |known: &Neighbour| lent.now.since(known.connection_since) >= SETTLING;
        self.worst_of(role, VIEW_NEAR_MAX, lent, settled)
    }

    /// The neighbour least worth its place: the farthest cloud; among edges outside the nearest `near`, the highest rank.
    fn worst_of(
        &self,
        role: Role,
        near: usize,
        lent: &Lent<'_>,
        eligible: impl Fn(&Neighbour) -> bool,
    ) -> Option<PeerId> {
        let distance = |peer: &PeerId| lent.latency.rtt(*peer).unwrap_or(Duration::MAX);
        let mut peers: Vec<PeerId> =
            self.of_role(role).filter(|known| known.connected).map(|known| known.member.peer).collect();
        peers.sort_by_key(|peer| (distance(peer), *peer));
        let candidates = match role {
            Role::Cloud => peers,
            Role::Edge => {
                let mut far = peers.split_off(near.min(peers.len()));
                far.sort_by_key(|peer| self.known.get(peer).map(|known| known.rank));
                far
            }
        };
        let may_go = |peer: &PeerId| {
            self.known.get(peer).is_some_and(|known| !known.watched && eligible(known)) && !(lent.needs)(*peer)
        };
        candidates.into_iter().rev().find(may_go)
    }

    /// Closes a connection for want of room, and says so: the other end is not to take it for a fault.
    pub(super) fn let_go(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let Some(known) = self.known.get_mut(&peer) else { return };
        known.backoff.rest(lent.now + LET_GO_REST);
        self.close(lent, peer, Parting::NoRoom, "there are nearer neighbours than this view holds");
    }

    fn of_role(&self, role: Role) -> impl Iterator<Item = &Neighbour> {
        self.known.values().filter(move |known| known.member.role == role && !is_gone(known))
    }
}

/// Places left in the view.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    edge: usize,
    cloud: usize,
}

impl Room {
    /// Whether a peer that is not connected should be.
    pub(super) fn calls(&self, known: &Neighbour) -> bool {
        if known.connected || known.addresses.is_empty() {
            return false;
        }
        let has_room = match known.member.role {
            Role::Edge => self.edge > 0,
            Role::Cloud => self.cloud > 0,
        };
        match known.state {
            // The other side of a partition, or a machine that restarts: found by calling it.
            PeerState::Dead => true,
            PeerState::Alive | PeerState::Suspect | PeerState::Left => {
                has_room || known.lost || known.called_for || known.backoff.is_calling()
            }
        }
    }

    pub(super) fn take(&mut self, role: Role) {
        let places = match role {
            Role::Edge => &mut self.edge,
            Role::Cloud => &mut self.cloud,
        };
        *places = places.saturating_sub(1);
    }
}

fn is_gone(known: &Neighbour) -> bool {
    match known.state {
        PeerState::Dead | PeerState::Left => !known.connected,
        PeerState::Alive | PeerState::Suspect => false,
    }
}

/// Peers of the edge want a view; cloud peers are wanted by them, and take everybody who comes.
fn wanted(by: Role, of: Role) -> usize {
    match (by, of) {
        (Role::Edge, Role::Edge) => VIEW_NEAR_MAX + VIEW_RANDOM_MAX,
        (Role::Edge | Role::Cloud, Role::Cloud) => VIEW_CLOUD_MAX,
        (Role::Cloud, Role::Edge) => CLOUD_EDGES_MAX,
    }
}

/// Neighbours a peer of this role may have.
pub(super) fn connected_max(role: Role) -> usize {
    match role {
        Role::Edge => CONNECTED_MAX,
        Role::Cloud => CLOUD_CONNECTED_MAX,
    }
}
