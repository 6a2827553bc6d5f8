//! Whom to call, and when to call again.
//!
//! | who | how long |
//! |---|---|
//! | an address from the owner's configuration | for ever, while its peer is not connected |
//! | a member that is known | for ever, with growing pauses, while the view has room; one that a council needs, room or not |
//! | an address somebody announced | [`STRANGER_DIALS_MAX`] times; it is announced again if it is real |
//!
//! **Invariant:** at most [`DIALS_MAX`] dials are under way, and pauses grow with the number of peers that are away, so
//! that a mesh that fell apart is not busy with calling; hearsay shortens the pause before one peer's next call, no more
//! often than [`BELIEVED_EVERY`].

use core::time::Duration;
use std::collections::BTreeMap;

use super::{Lent, Membership, Neighbour};
use crate::config::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, DIALS_MAX, PROSPECTS_MAX};
use crate::id::PeerId;
use crate::output::{Output, PeerState};
use crate::rng::{Rng, jittered};
use crate::sabotage::{self, Bug};
use crate::time::Time;

const PAUSE_MIN: Duration = Duration::from_millis(300);
/// The longest pause when few are away: a healed partition is found within ten seconds, also by who has just begun a call into it
/// that must fail first.
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// The same for a peer that is not given up yet: it must be called more than once before it is.
const PAUSE_MAX_LOST: Duration = Duration::from_millis(1_500);
/// Peers that are called at the shortest longest pause; with more, each waits longer and the whole calls as often.
const AWAY_AT_PAUSE_MAX: u32 = 12;
/// A dial the driver never answered counts as failed.
const ANSWER_MAX: Duration = Duration::from_secs(20);
const STRANGER_DIALS_MAX: u32 = 5;
/// Short connections to one peer in a row, after which it is called with pauses.
const CLOSED_IN_A_ROW: u32 = 2;
/// Failed calls after which a peer that nobody watches is given up.
const CALLS_TO_GIVE_UP: u32 = 2;
/// A connection that lasted this long was a success.
const LASTING: Duration = Duration::from_secs(10);
/// A peer that was given up is called this often because others say that it is here.
const BELIEVED_EVERY: Duration = Duration::from_secs(3);
/// One that a council needs is called this often for that, whatever pauses it has.
const CALLED_FOR_EVERY: Duration = Duration::from_secs(1);
/// When both ends lose a connection, or learn of each other, one of them waits this long for the call of the other.
const YIELD: Duration = Duration::from_millis(150);
/// A peer that said goodbye is given time to be away.
pub(super) const LEFT_REST: Duration = Duration::from_secs(60);
/// A peer that was let go for want of room.
pub(super) const LET_GO_REST: Duration = Duration::from_secs(120);

/// Pauses between the calls to one peer or address.
#[derive(Debug, Default, Clone)]
pub(super) struct Backoff {
    failures: u32,
    not_before: Time,
    under_way: Option<Time>,
    /// When somebody last spoke of the peer as one that is here.
    said_here: Option<Time>,
    /// When a council last called for it.
    called_for: Option<Time>,
    /// It floods us: whatever is said of it, it is not called before.
    shut_until: Time,
}

impl Backoff {
    /// When the next call is due; a call under way counts as failed after [`ANSWER_MAX`].
    pub(super) fn due(&self) -> Time {
        self.under_way.map_or(self.not_before.max(self.shut_until), |since| since + ANSWER_MAX)
    }

    pub(super) fn is_under_way(&self, now: Time) -> bool {
        self.under_way.is_some_and(|since| now < since + ANSWER_MAX)
    }

    /// A place is kept for a call that may yet be answered.
    pub(super) fn is_calling(&self) -> bool {
        self.under_way.is_some()
    }

    pub(super) fn started(&mut self, now: Time) {
        self.under_way = Some(now);
    }

    pub(super) fn failed(&mut self, now: Time, longest: Duration, rng: &mut Rng) {
        // A call that was under way when the peer was said to be here says nothing against it.
        let is_outdated = self.under_way.take().is_some_and(|since| self.said_here.is_some_and(|at| at >= since));
        let doubled = PAUSE_MIN * 2u32.saturating_pow(self.failures.min(12));
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + jittered(rng, if is_outdated { PAUSE_MIN } else { doubled.min(longest) });
        if sabotage::is(Bug::NeverReturn) && self.failures > 1 {
            self.not_before = Time(u64::MAX);
        }
    }

    /// Somebody speaks of the peer as one that is here: it is called soon, however long the pause.
    fn said_to_be_here(&mut self, now: Time, rng: &mut Rng) {
        if self.said_here.is_some_and(|at| now.since(at) < BELIEVED_EVERY) {
            return;
        }
        self.said_here = Some(now);
        self.not_before = self.not_before.min(now + jittered(rng, PAUSE_MIN));
    }

    /// A council needs it: it is called now, but not again and again when it has no room.
    fn called_for(&mut self, now: Time) {
        if self.called_for.is_none_or(|at| now.since(at) >= CALLED_FOR_EVERY) {
            self.called_for = Some(now);
            (self.failures, self.not_before) = (0, self.not_before.min(now));
        }
    }

    pub(super) fn answered(&mut self) {
        self.under_way = None;
    }

    pub(super) fn rest(&mut self, until: Time) {
        self.under_way = None;
        self.not_before = until;
    }

    /// From the start, no earlier than `at`.
    pub(super) fn renew(&mut self, at: Time) {
        *self = Self { not_before: at, called_for: self.called_for, shut_until: self.shut_until, ..Self::default() };
    }

    /// Not before then, whoever speaks of it.
    pub(super) fn shut(&mut self, until: Time) {
        self.under_way = None;
        self.shut_until = until;
    }
}

/// An address at which a member may be.
#[derive(Debug)]
struct Prospect {
    /// Who is said to be there, or was found there.
    peer: Option<PeerId>,
    bootstrap: bool,
    backoff: Backoff,
}

/// Addresses whose peer is not known as a member yet, and those the owner configured.
#[derive(Debug, Default)]
pub(super) struct Prospects(BTreeMap<String, Prospect>);

impl Prospects {
    fn add(&mut self, now: Time, peer: Option<PeerId>, address: String, bootstrap: bool) {
        if let Some(prospect) = self.0.get_mut(&address) {
            prospect.bootstrap |= bootstrap;
            prospect.peer = prospect.peer.or(peer);
            return;
        }
        if self.0.len() >= PROSPECTS_MAX && !self.make_room() {
            return;
        }
        let backoff = Backoff { not_before: now, ..Backoff::default() };
        self.0.insert(address, Prospect { peer, bootstrap, backoff });
    }

    /// Gives up the stranger that failed most often.
    fn make_room(&mut self) -> bool {
        let strangers = self.0.iter().filter(|(_, prospect)| !prospect.bootstrap);
        let worst = strangers.max_by_key(|(_, prospect)| prospect.backoff.failures).map(|(address, _)| address.clone());
        worst.is_some_and(|address| self.0.remove(&address).is_some())
    }

    /// A member was found, perhaps at one of these addresses.
    fn resolved(&mut self, peer: PeerId, address: Option<&str>) {
        self.0.retain(|at, prospect| {
            if Some(at.as_str()) == address {
                prospect.peer = Some(peer);
                prospect.backoff.renew(Time::ZERO);
            }
            prospect.bootstrap || prospect.peer != Some(peer)
        });
    }

    /// Who was found at these addresses is given time to be away.
    pub(super) fn rest(&mut self, peer: PeerId, until: Time) {
        self.0.values_mut().filter(|it| it.peer == Some(peer)).for_each(|it| it.backoff.rest(until));
    }

    /// Nobody looks for this peer any more, but at addresses from the configuration, where somebody else may be.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.0.retain(|_, prospect| prospect.bootstrap || prospect.peer != Some(peer));
    }

    fn failed(&mut self, now: Time, address: &str, longest: Duration, rng: &mut Rng) {
        let Some(prospect) = self.0.get_mut(address) else { return };
        // Somebody else may live there now.
        prospect.peer = prospect.peer.filter(|_| !prospect.bootstrap);
        prospect.backoff.failed(now, longest, rng);
        if !prospect.bootstrap && prospect.backoff.failures >= STRANGER_DIALS_MAX {
            self.0.remove(address);
        }
    }
}

impl Membership {
    /// An address where a peer may be was announced, configured or remembered.
    pub fn discovered(&mut self, lent: &mut Lent<'_>, peer: Option<PeerId>, address: String, bootstrap: bool) {
        // Who names a peer without knowing where it is leaves the address empty.
        if address.is_empty() || address.len() > ADDRESS_BYTES_MAX || peer == Some(self.me.peer) {
            return;
        }
        if peer.is_some_and(|peer| self.is_revoked(peer)) {
            return;
        }
        match peer.and_then(|peer| self.known.get_mut(&peer)) {
            Some(known) => {
                // An announcement is a sign of life: no need to wait out the pause.
                if !known.connected && !known.backoff.is_under_way(lent.now) && known.state != PeerState::Left {
                    known.backoff.renew(lent.now);
                }
                remember_address(&mut known.addresses, &address);
                if bootstrap {
                    self.prospects.add(lent.now, peer, address, true);
                }
            }
            None => self.prospects.add(lent.now, peer, address, bootstrap),
        }
        self.note_dial(lent.now);
    }

    /// A council needs one of its members, last known at this address: it is called now, whether the view has room or not.
    pub fn called_for(&mut self, lent: &mut Lent<'_>, peer: PeerId, address: String) {
        let Some(known) = self.known.get_mut(&peer) else {
            return self.discovered(lent, Some(peer), address, false);
        };
        if known.connected || known.state == PeerState::Left {
            return;
        }
        let is_usable = !address.is_empty() && address.len() <= ADDRESS_BYTES_MAX;
        if is_usable && known.addresses.len() < ADDRESSES_MAX && !known.addresses.contains(&address) {
            known.addresses.push(address);
        }
        known.called_for = true;
        known.backoff.called_for(lent.now);
        self.note_dial(lent.now);
    }

    /// A dial ended without a connection.
    pub fn dial_failed(&mut self, lent: &mut Lent<'_>, peer: Option<PeerId>, address: Option<&str>) {
        let longest = peer.map_or_else(|| self.longest_pause(), |peer| self.longest_pause_for(peer));
        if let Some(address) = address {
            self.prospects.failed(lent.now, address, longest, lent.rng);
        }
        if let Some((peer, known)) = peer.and_then(|peer| Some((peer, self.known.get_mut(&peer)?))) {
            if !known.connected {
                known.backoff.failed(lent.now, longest, lent.rng);
            }
            // Whoever needs it calls for it again.
            known.called_for = false;
            self.give_up_if_gone(lent, peer);
        } else if let (Some(peer), None) = (peer, address) {
            let at: Vec<String> = self.prospects.of(peer);
            for address in at {
                self.prospects.failed(lent.now, &address, longest, lent.rng);
            }
        }
        self.dial_due(lent);
    }

    /// A peer that was here, is not watched for want of a place, and cannot be reached is not here any more.
    fn give_up_if_gone(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let Some(known) = self.known.get(&peer) else { return };
        let was_here = known.heard.is_some() && matches!(known.state, PeerState::Alive | PeerState::Suspect);
        let is_out_of_sight = !known.connected && known.watch.is_none();
        if was_here && is_out_of_sight && known.backoff.failures >= CALLS_TO_GIVE_UP {
            self.enter(lent, peer, PeerState::Dead);
        }
    }

    /// A connection came up: nobody else need be called for this peer.
    pub(super) fn dial_answered(&mut self, peer: PeerId, address: Option<&str>) {
        self.prospects.resolved(peer, address);
        let Some(known) = self.known.get_mut(&peer) else { return };
        known.backoff.answered();
        if let Some(address) = address {
            remember_address(&mut known.addresses, address);
        }
    }

    /// A connection was lost: call at once, unless the peer keeps closing what was just opened.
    pub(super) fn redial(&mut self, now: Time, peer: PeerId, rng: &mut Rng) {
        let (longest, yields) = (self.longest_pause_for(peer), self.me.peer > peer);
        let Some(known) = self.known.get_mut(&peer) else { return };
        let failures = if now.since(known.connection_since) >= LASTING { 0 } else { known.backoff.failures + 1 };
        if failures > CLOSED_IN_A_ROW {
            known.backoff.failed(now, longest, rng);
        } else {
            known.backoff.renew(if yields { now + YIELD } else { now });
            known.backoff.failures = failures;
        }
    }

    /// Whether a peer that just closed has closed again and again what was opened: it lives, and has no place for us.
    pub(super) fn refuses(&self, now: Time, known: &Neighbour) -> bool {
        let was_short = now.since(known.connection_since) < LASTING;
        was_short && known.backoff.failures >= CLOSED_IN_A_ROW
    }

    /// A member was learnt of that may learn of us at the same moment.
    pub(super) fn first_dial(&mut self, now: Time, peer: PeerId) {
        let yields = self.me.peer > peer && self.alive_neighbours().next().is_some();
        if let Some(known) = self.known.get_mut(&peer) {
            known.backoff.renew(if yields { now + YIELD } else { now });
        }
    }

    /// A neighbour knows these as peers that are here: those of them that were given up are called soon. So the two halves of
    /// a mesh that was cut find each other as soon as the first two do, however many are away.
    pub(super) fn said_to_be_here(&mut self, lent: &mut Lent<'_>, peers: impl Iterator<Item = PeerId>) {
        let mut is_news = false;
        for peer in peers {
            let Some(known) = self.known.get_mut(&peer).filter(|known| !known.connected) else { continue };
            if known.state == PeerState::Dead {
                known.backoff.said_to_be_here(lent.now, lent.rng);
                is_news = true;
            }
        }
        if is_news {
            self.note_dial(lent.now);
        }
    }

    /// Somebody may be to be called now.
    pub(super) fn note_dial(&mut self, now: Time) {
        self.next_dial = Some(self.next_dial.map_or(now, |at| at.min(now))).filter(|_| !self.leaving);
    }

    /// Makes every call that is due, and notes when the next one is.
    pub(super) fn dial_due(&mut self, lent: &mut Lent<'_>) {
        if !self.leaving {
            self.dial_prospects(lent);
            self.dial_members(lent);
        }
        self.next_dial = self.earliest_dial(lent.now);
    }

    /// Calls a member now, room or not.
    pub(super) fn dial(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let Some(known) = self.known.get_mut(&peer) else { return };
        known.backoff.started(lent.now);
        lent.out.push(Output::Dial { peer: Some(peer), addresses: known.addresses.clone() });
    }

    fn dial_members(&mut self, lent: &mut Lent<'_>) {
        let now = lent.now;
        let mut room = self.room();
        let mut due: Vec<(Time, PeerId)> = self
            .known
            .iter()
            .filter(|(_, known)| known.backoff.due() <= now && room.calls(known))
            .map(|(peer, known)| (known.backoff.due(), *peer))
            .collect();
        due.sort_unstable();
        let mut free = DIALS_MAX.saturating_sub(self.dials_under_way(now));
        for (_, peer) in due {
            // Asked anew for each: the call before may have taken the last place.
            let Some(known) = self.known.get(&peer).filter(|known| free > 0 && room.calls(known)) else { continue };
            room.take(known.member.role);
            free -= 1;
            self.dial(lent, peer);
        }
    }

    fn dial_prospects(&mut self, lent: &mut Lent<'_>) {
        let now = lent.now;
        let due: Vec<String> = self
            .prospects
            .0
            .iter()
            .filter(|(_, prospect)| self.calls_prospect(prospect) && prospect.backoff.due() <= now)
            .map(|(address, _)| address.clone())
            .collect();
        for address in due {
            if self.dials_under_way(now) >= DIALS_MAX {
                return;
            }
            let Some(prospect) = self.prospects.0.get_mut(&address) else { continue };
            prospect.backoff.started(now);
            // A configured address is called without a name: the machine behind it may have a new key.
            let peer = prospect.peer.filter(|_| !prospect.bootstrap);
            lent.out.push(Output::Dial { peer, addresses: vec![address] });
        }
    }

    /// Once it is known who lives at an address, that peer is called as a member, until it is given up.
    fn calls_prospect(&self, prospect: &Prospect) -> bool {
        match prospect.peer.and_then(|peer| self.known.get(&peer)) {
            Some(known) => {
                prospect.bootstrap && !known.connected && matches!(known.state, PeerState::Dead | PeerState::Left)
            }
            None => prospect.peer != Some(self.me.peer),
        }
    }

    fn dials_under_way(&self, now: Time) -> usize {
        let members = self.known.values().filter(|known| known.backoff.is_under_way(now)).count();
        members + self.prospects.0.values().filter(|prospect| prospect.backoff.is_under_way(now)).count()
    }

    fn earliest_dial(&self, now: Time) -> Option<Time> {
        let room = self.room();
        let members = self.known.values().filter(|known| room.calls(known)).map(|known| known.backoff.due());
        let prospects = self.prospects.0.values().filter(|it| self.calls_prospect(it)).map(|it| it.backoff.due());
        let earliest = members.chain(prospects).min()?;
        // What is due but found all dials busy waits for one of them to end, or a moment.
        Some(if earliest <= now { now + PAUSE_MIN } else { earliest }).filter(|_| !self.leaving)
    }

    /// The longest pause before a peer is called again: short for one that was here a moment ago.
    fn longest_pause_for(&self, peer: PeerId) -> Duration {
        let was_here =
            |known: &Neighbour| matches!(known.state, PeerState::Alive | PeerState::Suspect) && known.heard.is_some();
        let longest = self.longest_pause();
        if self.known.get(&peer).is_some_and(was_here) { longest.min(PAUSE_MAX_LOST) } else { longest }
    }

    fn longest_pause(&self) -> Duration {
        let is_called = |known: &&Neighbour| !known.connected && (known.state == PeerState::Dead || known.lost);
        let away = self.known.values().filter(is_called).count();
        let away = u32::try_from(away).unwrap_or(u32::MAX);
        PAUSE_MAX.saturating_mul(away.max(AWAY_AT_PAUSE_MAX)) / AWAY_AT_PAUSE_MAX
    }
}

impl Prospects {
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    fn of(&self, peer: PeerId) -> Vec<String> {
        self.0.iter().filter(|(_, prospect)| prospect.peer == Some(peer)).map(|(address, _)| address.clone()).collect()
    }
}

/// Puts an address first; the ones not used for longest fall off the end.
pub(super) fn remember_address(addresses: &mut Vec<String>, address: &str) {
    addresses.retain(|known| known != address);
    addresses.insert(0, address.to_owned());
    addresses.truncate(ADDRESSES_MAX);
}
