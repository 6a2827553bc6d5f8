//! Who is to hear of a death: each peer tells its monitors who its neighbours are, while it lives.
//!
//! A monitor that finds it gone tells those it is connected to. Most are, being near; the others (the random part of the
//! view, that shares no neighbour with it) are called, each by two of the monitors. So a death costs messages when there
//! is one, and nothing while there is none.
//!
//! **Invariant:** a will names at most [`WILL_MAX`] peers, [`WILL_FAR_MAX`] of them with an address; and at most
//! [`ERRANDS_MAX`] calls on behalf of the dead are under way.
//! **Not here:** a cloud peer has too many neighbours to name; its death is passed on from neighbour to neighbour
//! (`rumours.rs`).

use core::cmp::Reverse;
use core::time::Duration;

use super::{Lent, Membership, Neighbour};
use crate::certificate::Role;
use crate::config::{ADDRESS_BYTES_MAX, ERRANDS_MAX, WILL_FAR_MAX, WILL_MAX};
use crate::id::{PeerId, ShortId};
use crate::latency::Latency;
use crate::message::{Contact, Message, RumourState, Will};
use crate::output::{Output, PeerState};
use crate::time::Time;

/// Monitors that call the same far neighbour of a dead peer.
const CALLERS: usize = 2;
/// A call that is not answered by then is not waited for.
const ERRAND_MAX: Duration = Duration::from_secs(3);

/// Short names, in order: side by side in memory, for they are looked up for every neighbour in the will of every monitor.
#[derive(Debug, Default)]
struct Names(Vec<ShortId>);

impl Names {
    fn of(names: impl Iterator<Item = ShortId>) -> Self {
        let mut names: Vec<ShortId> = names.collect();
        names.sort_unstable_by_key(|name| name.number());
        names.dedup();
        Self(names)
    }

    fn search(&self, name: &ShortId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&name.number(), ShortId::number)
    }

    fn contains(&self, name: &ShortId) -> bool {
        self.search(name).is_ok()
    }

    fn insert(&mut self, name: ShortId) -> bool {
        let place = self.search(&name);
        if let Err(at) = place {
            self.0.insert(at, name);
        }
        place.is_err()
    }

    fn remove(&mut self, name: &ShortId) {
        if let Ok(at) = self.search(name) {
            self.0.remove(at);
        }
    }

    fn without(&self, others: &Self) -> Vec<ShortId> {
        self.0.iter().filter(|name| !others.contains(name)).copied().collect()
    }
}

/// What a monitor was told.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    turn: usize,
    of: usize,
    names: Names,
    far: Vec<Contact>,
}

/// What was told to a monitor.
#[derive(Debug, Default)]
pub(super) struct Bequeathed {
    turn: u8,
    of: u8,
    names: Names,
    /// Those whose address was given.
    addressed: Names,
}

/// Who is to hear of our death, reckoned once for all monitors.
#[derive(Debug, Default)]
pub(super) struct Heirs {
    /// Of the view that it was reckoned for.
    version: u64,
    peers: Vec<Heir>,
}

#[derive(Debug)]
struct Heir {
    peer: PeerId,
    /// Too few of the monitors are connected to it: they are told where it is.
    is_far: bool,
}

/// The turns of the monitors that call a far heir. All of them reckon alike, whatever else is in their lists: those differ,
/// for each leaves itself out and was told at another time.
fn callers(heir: PeerId, monitors: usize) -> impl Iterator<Item = usize> {
    let monitors = monitors.max(1);
    let first = (heir.abridged().number() % monitors as u64) as usize;
    (0..CALLERS.min(monitors)).map(move |nth| (first + nth) % monitors)
}

/// Somebody to be called because somebody else died.
#[derive(Debug)]
pub(super) struct Errand {
    to: PeerId,
    about: PeerId,
    until: Time,
}

impl Membership {
    /// Tells a monitor of the neighbours that came and went since it was told.
    pub(super) fn bequeath(&mut self, lent: &mut Lent<'_>, monitor: PeerId) {
        if self.me.role == Role::Cloud {
            return;
        }
        if self.heirs.version != self.view_version {
            self.heirs = Heirs { version: self.view_version, peers: self.heirs(lent.latency) };
        }
        let heirs = || self.heirs.peers.iter().filter(|heir| heir.peer != monitor);
        let names = Names::of(heirs().map(|heir| heir.peer.abridged()));
        let far: Vec<PeerId> = heirs().filter(|heir| heir.is_far).map(|heir| heir.peer).collect();
        let place = self.beats.monitors().position(|peer| peer == monitor);
        let number = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
        let (turn, of) = (number(place.unwrap_or_default()), number(self.beats.monitors().count()));

        let Some(known) = self.known.get_mut(&monitor) else { return };
        let told = known.bequeathed.get_or_insert_default();
        let (added, removed) = (names.without(&told.names), told.names.without(&names));
        told.addressed.0.retain(|name| names.contains(name));
        let news: Vec<PeerId> = far.into_iter().filter(|peer| told.addressed.insert(peer.abridged())).collect();
        let is_moved = (told.turn, told.of) != (turn, of);
        (told.turn, told.of, told.names) = (turn, of, names);
        let contact = |peer| {
            let address = self.known.get(&peer)?.addresses.first()?;
            Some(Contact { peer, address: address.clone() })
        };
        let will = Will { turn, of, added, removed, far: news.into_iter().filter_map(contact).collect() };
        if is_moved || !(will.added.is_empty() && will.removed.is_empty() && will.far.is_empty()) {
            lent.out.send(monitor, Message::Will(Box::new(will)));
        }
    }

    /// A neighbour chose us as a monitor, and says who is to hear of its death.
    pub fn will(&mut self, from: PeerId, will: Will) {
        let Some(known) = self.known.get_mut(&from).filter(|known| known.connected) else { return };
        let inherited = known.inherited.get_or_insert_default();
        (inherited.turn, inherited.of) = (usize::from(will.turn), usize::from(will.of));
        let mut let_go = Vec::new();
        for name in will.removed.iter().take(WILL_MAX) {
            let_go.extend(inherited.names.contains(name).then_some(*name));
            inherited.names.remove(name);
            inherited.far.retain(|contact| contact.peer.abridged() != *name);
        }
        let room = WILL_MAX.saturating_sub(inherited.names.0.len());
        for name in will.added.into_iter().take(room) {
            inherited.names.insert(name);
        }
        for contact in will.far.into_iter().filter(|contact| contact.address.len() <= ADDRESS_BYTES_MAX) {
            let is_named = inherited.names.contains(&contact.peer.abridged());
            let is_known = inherited.far.iter().any(|known| known.peer == contact.peer);
            if is_named && !is_known && inherited.far.len() < WILL_FAR_MAX {
                inherited.far.push(contact);
            }
        }
        if self.beats.monitors().any(|monitor| monitor == from) && self.has_neighbour_named(&let_go) {
            // Our heirs were reckoned with its being connected to that one.
            self.view_version += 1;
        }
    }

    fn has_neighbour_named(&self, names: &[ShortId]) -> bool {
        !names.is_empty() && self.alive_neighbours().any(|known| names.contains(&known.member.peer.abridged()))
    }

    /// We are a monitor of that peer no more: what it said of its neighbours is kept up to date no more.
    pub(super) fn disinherit(&mut self, from: PeerId) {
        if let Some(known) = self.known.get_mut(&from) {
            known.inherited = None;
        }
    }

    /// Neighbours of ours that the will of a peer names; nothing when it left us none.
    pub(super) fn co_holders(&self, of: PeerId) -> Option<Vec<PeerId>> {
        let inherited = self.known.get(&of)?.inherited.as_ref()?;
        let is_named = |known: &&Neighbour| inherited.names.contains(&known.member.peer.abridged());
        Some(
            self.alive_neighbours()
                .filter(is_named)
                .map(|known| known.member.peer)
                .filter(|peer| *peer != of)
                .collect(),
        )
    }

    /// Calls those of the heirs that we are not connected to and that are ours to call: those whose address the will gives,
    /// and those that we know from elsewhere, for what it says of who is connected to whom is some seconds old.
    pub(super) fn call_heirs(&mut self, lent: &mut Lent<'_>, of: PeerId) {
        let Some(inherited) = self.known.get(&of).and_then(|known| known.inherited.as_ref()) else { return };
        let is_ours = |heir| callers(heir, inherited.of).any(|turn| turn == inherited.turn);
        let told = inherited.far.iter().filter(|contact| is_ours(contact.peer) && contact.peer != self.me.peer);
        let mut calls: Vec<Contact> = told.filter(|contact| !self.is_connected(contact.peer)).cloned().collect();
        let is_heir = |known: &&Neighbour| {
            let is_here = matches!(known.state, PeerState::Alive | PeerState::Suspect);
            !known.connected && is_here && inherited.names.contains(&known.member.peer.abridged())
        };
        for heir in self.known.values().filter(is_heir).filter(|known| is_ours(known.member.peer)) {
            let peer = heir.member.peer;
            let address = heir.addresses.first().filter(|_| calls.iter().all(|contact| contact.peer != peer));
            calls.extend(address.map(|address| Contact { peer, address: address.clone() }));
        }
        let now = lent.now;
        self.errands.retain(|errand| errand.until > now);
        for Contact { peer: to, address } in calls {
            if self.errands.len() >= ERRANDS_MAX || self.leaving {
                return;
            }
            if self.errands.iter().any(|errand| errand.to == to && errand.about == of) {
                continue;
            }
            self.errands.push(Errand { to, about: of, until: now + ERRAND_MAX });
            lent.out.push(Output::Dial { peer: Some(to), addresses: vec![address] });
        }
    }

    /// Somebody we may have called is there: it hears what it was called for.
    pub(super) fn run_errands(&mut self, lent: &mut Lent<'_>, to: PeerId) {
        let (now, mut about) = (lent.now, Vec::new());
        self.errands.retain(|errand| {
            if errand.to == to && errand.until > now {
                about.push(errand.about);
            }
            errand.to != to && errand.until > now
        });
        for peer in about {
            let state = match self.state(peer) {
                Some(PeerState::Dead) => RumourState::Dead,
                Some(PeerState::Suspect) => RumourState::Suspect,
                Some(PeerState::Alive | PeerState::Left) | None => continue,
            };
            if let Some(rumour) = self.about(peer, state) {
                lent.out.send(to, Message::Rumour(rumour));
            }
        }
    }

    /// The neighbours, and which of them too few monitors are connected to. A monitor whose monitor we are said so in its own
    /// will; of the others it is likely the less the farther it is.
    fn heirs(&self, latency: &Latency) -> Vec<Heir> {
        let wills: Vec<&Inherited> =
            self.beats.monitors().filter_map(|monitor| self.known.get(&monitor)?.inherited.as_deref()).collect();
        let told_by = |name: &ShortId| wills.iter().filter(|will| will.names.contains(name)).take(CALLERS).count();
        let mut heirs: Vec<(usize, Duration, &Neighbour)> = self
            .alive_neighbours()
            .map(|known| {
                let distance = latency.rtt(known.member.peer).unwrap_or(Duration::MAX);
                (told_by(&known.member.peer.abridged()), distance, known)
            })
            .collect();
        heirs.sort_unstable_by_key(|(told_by, distance, known)| (*told_by, Reverse(*distance), known.rank));
        heirs.truncate(WILL_MAX);
        let heir = |(n, (told_by, _, known)): (usize, (usize, Duration, &Neighbour))| {
            let peer = known.member.peer;
            let is_monitor = || self.beats.monitors().any(|monitor| monitor == peer);
            let is_far = told_by < CALLERS && n < WILL_FAR_MAX && !known.addresses.is_empty() && !is_monitor();
            Heir { peer, is_far }
        };
        heirs.into_iter().enumerate().map(heir).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Monitors that were told at different times have the heirs at different places of their lists.
    #[test]
    fn two_monitors_call_an_heir_wherever_it_stands_in_their_lists() {
        let heir = |n: u8| PeerId([n.wrapping_mul(37); 32]);
        let lists: Vec<Vec<PeerId>> = (0..8).map(|turn| (turn..24).map(heir).collect()).collect();

        for n in 8..24 {
            let calls = |(turn, list): &(usize, &Vec<PeerId>)| {
                list.contains(&heir(n)) && callers(heir(n), lists.len()).any(|caller| caller == *turn)
            };
            assert_eq!(lists.iter().enumerate().filter(calls).count(), CALLERS, "heir {n}");
        }
        assert_eq!(callers(heir(1), 1).collect::<Vec<_>>(), [0]);
        assert_eq!(callers(heir(1), 0).collect::<Vec<_>>(), [0]);
    }
}
