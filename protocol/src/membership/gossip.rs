//! Peer exchange: whom to tell about whom, so that a mesh heals from any one live member.
//!
//! On a new connection both ends give their own record and some others; later, now and then, a few that the neighbour was
//! not given lately. In a mesh that fits the view a new record is passed on at once, so that a newcomer soon knows all.
//! A mesh in which everyone has been told of everyone is silent.
//!
//! **Invariant:** a message holds at most [`RECORDS_PER_MESSAGE_MAX`] records and [`RECORD_BYTES_PER_MESSAGE`]; a neighbour
//! makes us check at most [`RECORDS_TAKEN_MAX`] signatures per [`TAKEN_WINDOW`].
//! **Not here:** signatures. The driver checks them ([`Output::VerifyRecords`]).

use core::time::Duration;

use rand::RngExt;

use super::dialling::remember_address;
use super::neighbour::Record;
use super::view::connected_max;
use super::{Lent, Membership, Neighbour, nearer};
use crate::certificate::{Member, SignedRecord};
use crate::config::{ADDRESSES_MAX, FRAME_BYTES_MAX, PASSIVE_MAX, RECORDS_PER_MESSAGE_MAX};
use crate::id::PeerId;
use crate::message::{Message, Records};
use crate::output::{Output, PeerState};
use crate::rng::{jittered, some_of};
use crate::time::Time;

/// Half a frame, whatever addresses and labels the records hold.
const RECORD_BYTES_PER_MESSAGE: usize = FRAME_BYTES_MAX / 2;
/// Records given on a new connection in a mesh larger than the view: everybody meets many.
const RECORDS_TO_GREET: usize = 2;
/// Records given in one round of upkeep.
const RECORDS_PER_ROUND: usize = 2;
/// Records looked at to choose some for a neighbour: a cloud peer has thousands, and is greeted by as many.
const CANDIDATES_MAX: usize = 128;
/// Records remembered as given to one neighbour.
const TOLD_MAX: usize = 64;
/// Records one neighbour may have checked in a window.
const RECORDS_TAKEN_MAX: usize = 64;
const TAKEN_WINDOW: Duration = Duration::from_secs(10);
const ROUND: Duration = Duration::from_secs(30);
/// Rounds are this short, and go to this many, while few peers are known or some are new.
const ROUND_WITH_NEWS: Duration = Duration::from_secs(1);
const TOLD_OF_NEWS: usize = 5;
/// Dead peers that are remembered however many live ones there are: of both sides of a cut, enough to find each other by.
const DEAD_REMEMBERED: usize = 16;
const FEW: usize = 5;
/// How long a peer is new.
const NEWS: Duration = Duration::from_secs(10);

impl Membership {
    /// Our own record is new: everybody connected hears it.
    pub fn record_signed(&mut self, lent: &mut Lent<'_>, record: SignedRecord) {
        self.own_record = Some(record.clone());
        for to in self.others_alive(&[]) {
            lent.out.send(to, Message::Records(Records { records: vec![record.clone()], places: Vec::new() }));
        }
    }

    /// A neighbour told of peers: those that are news are given to the driver to be checked.
    pub fn records(&mut self, lent: &mut Lent<'_>, from: PeerId, records: Records) {
        let me = self.me.peer;
        for (record, place) in records.records.iter().zip(&records.places).take(RECORDS_PER_MESSAGE_MAX) {
            if let Some(place) = place {
                lent.latency.heard_of(lent.now, record.peer, *place);
            }
        }
        self.said_to_be_here(lent, records.records.iter().take(RECORDS_PER_MESSAGE_MAX).map(|record| record.peer));
        let news: Vec<SignedRecord> = records
            .records
            .into_iter()
            .take(RECORDS_PER_MESSAGE_MAX)
            .filter(|record| record.peer != me && !self.holds(record))
            .collect();
        let Some(neighbour) = self.known.get_mut(&from) else { return };
        let allowed = allowance(neighbour, lent.now).min(news.len());
        neighbour.records_taken.1 += allowed;
        self.records_refused += (news.len() - allowed) as u64;
        if allowed > 0 {
            lent.out.push(Output::VerifyRecords(news.into_iter().take(allowed).collect()));
        }
    }

    /// A record proved genuine: from disk at the start, or from a neighbour.
    pub fn record_verified(
        &mut self,
        lent: &mut Lent<'_>,
        record: SignedRecord,
        member: Member,
        addresses: Vec<String>,
        sequence: u64,
    ) {
        let peer = member.peer;
        if peer == self.me.peer || self.is_revoked(peer) || self.is_older(peer, sequence) || !self.make_room_for(peer) {
            return;
        }
        let is_new = !self.known.contains_key(&peer);
        let (now, me) = (lent.now, self.me.peer);
        let known = self.known.get_or_insert_with(peer, || Neighbour::new(now, me, member.clone()));
        if !known.connected {
            known.member = member; // a connected peer has shown its certificate, perhaps a newer one
        }
        known.record = Some(Record::new(record, sequence));
        for address in addresses.iter().take(ADDRESSES_MAX).rev() {
            remember_address(&mut known.addresses, address);
        }
        if is_new {
            self.fits.take();
            self.first_dial(lent.now, peer);
        }
        if self.whole_mesh_fits() {
            self.last_news = lent.now;
            self.next_round = self.next_round.min(lent.now + ROUND_WITH_NEWS);
            self.pass_on(lent, peer);
        }
        if is_new && self.may_call(peer) {
            self.note_dial(now);
        }
    }

    /// The first thing said on a new connection.
    pub(super) fn greet(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let mut records: Vec<SignedRecord> = self.own_record.clone().into_iter().collect();
        let count = if self.whole_mesh_fits() { RECORDS_PER_MESSAGE_MAX - 1 } else { RECORDS_TO_GREET };
        records.extend(self.untold(lent, peer, count));
        say_records(lent, peer, records);
    }

    /// A new record goes on at once to a few who were not given it.
    fn pass_on(&mut self, lent: &mut Lent<'_>, about: PeerId) {
        let Some(record) = self.known.get(&about).and_then(|known| known.record.as_ref()) else { return };
        let (key, signed) = (record.key(), record.signed.clone());
        for to in some_of(lent.rng, self.others_alive(&[about]), TOLD_OF_NEWS) {
            let Some(neighbour) = self.known.get_mut(&to).filter(|to| !to.told.contains(&key)) else { continue };
            remember_told(neighbour, [key]);
            lent.out.send(to, Message::Records(Records { records: vec![signed.clone()], places: Vec::new() }));
        }
    }

    /// One round of upkeep: one neighbour hears of a few peers; more do while there is news.
    pub(super) fn exchange(&mut self, lent: &mut Lent<'_>) {
        let is_news = lent.now.since(self.last_news) < NEWS && self.whole_mesh_fits();
        let hurry = is_news || self.alive_neighbours().count() < FEW;
        for peer in some_of(lent.rng, self.others_alive(&[]), if hurry { TOLD_OF_NEWS } else { 1 }) {
            let records = self.untold(lent, peer, RECORDS_PER_ROUND);
            say_records(lent, peer, records);
        }
        let pause = if self.whole_mesh_fits() { ROUND } else { self.search.pause() };
        self.next_round = lent.now + jittered(lent.rng, if hurry { ROUND_WITH_NEWS } else { pause });
    }

    /// Some records of peers thought to be here that `to` was not given lately; they count as given.
    fn untold(&mut self, lent: &mut Lent<'_>, to: PeerId, count: usize) -> Vec<SignedRecord> {
        let Some(told) = self.known.get(&to).map(|neighbour| &neighbour.told) else { return Vec::new() };
        // Ids are as good as random: so is every stretch of them.
        let skipped = lent.rng.random_range(0..self.known.len().max(1));
        let in_turn = self.known.iter().skip(skipped).chain(self.known.iter().take(skipped));
        let candidates: Vec<&Record> = in_turn
            .filter(|(peer, known)| **peer != to && known.state == PeerState::Alive)
            .filter_map(|(_, known)| known.record.as_ref())
            .filter(|record| !told.contains(&record.key()))
            .take(CANDIDATES_MAX)
            .collect();
        let candidates = if self.whole_mesh_fits() {
            some_of(lent.rng, candidates, count)
        } else {
            nearer::most_useful(lent, to, candidates, count)
        };
        let mut bytes = 0;
        let chosen: Vec<&Record> = candidates
            .into_iter()
            .filter(|record| {
                bytes += record.bytes;
                bytes <= RECORD_BYTES_PER_MESSAGE
            })
            .collect();
        let keys: Vec<u64> = chosen.iter().map(|record| record.key()).collect();
        let records = chosen.into_iter().map(|record| record.signed.clone()).collect();
        if let Some(neighbour) = self.known.get_mut(&to) {
            remember_told(neighbour, keys);
        }
        records
    }

    fn holds(&self, record: &SignedRecord) -> bool {
        let known = self.known.get(&record.peer).and_then(|known| known.record.as_ref());
        known.is_some_and(|known| known.signed == *record)
    }

    fn is_older(&self, peer: PeerId, sequence: u64) -> bool {
        let known = self.known.get(&peer).and_then(|known| known.record.as_ref());
        known.is_some_and(|known| sequence <= known.sequence)
    }

    /// Forgets the peer least worth knowing when a new one needs its place; false when all are worth more.
    pub(super) fn make_room_for(&mut self, peer: PeerId) -> bool {
        if self.known.contains_key(&peer) || self.known.len() < connected_max(self.me.role) + PASSIVE_MAX {
            return true;
        }
        let reserved = self.last_heard_of_the_dead();
        let may_go = |known: &Neighbour| !(known.connected || is_dead(known) && known.heard >= reserved);
        let least = self.known.iter().filter(|(_, known)| may_go(known)).min_by_key(|(_, known)| known.worth());
        let Some(least) = least.map(|(peer, _)| *peer) else { return false };
        self.known.remove(&least);
        self.asked.remove(&least);
        self.fits.take();
        true
    }

    /// Since when those were heard of the dead that are remembered, however many others there are: after a long partition they
    /// are whom to call on its other side.
    fn last_heard_of_the_dead(&self) -> Option<Time> {
        let mut heard: Vec<Time> =
            self.known.values().filter(|known| is_dead(known)).filter_map(|known| known.heard).collect();
        heard.sort_unstable_by(|a, b| b.cmp(a));
        // With fewer all are; who was never heard is none of them.
        heard.get(DEAD_REMEMBERED - 1).or(heard.last()).copied().or(Some(Time(u64::MAX)))
    }
}

fn is_dead(known: &Neighbour) -> bool {
    known.state == PeerState::Dead
}

fn say_records(lent: &mut Lent<'_>, to: PeerId, records: Vec<SignedRecord>) {
    if records.is_empty() {
        return;
    }
    let places = records.iter().map(|record| lent.latency.place(record.peer)).collect();
    lent.out.send(to, Message::Records(Records { records, places }));
}

fn remember_told(neighbour: &mut Neighbour, keys: impl IntoIterator<Item = u64>) {
    neighbour.told.extend(keys);
    while neighbour.told.len() > TOLD_MAX {
        neighbour.told.pop_front();
    }
}

fn allowance(neighbour: &mut Neighbour, now: Time) -> usize {
    if now.since(neighbour.records_taken.0) >= TAKEN_WINDOW {
        neighbour.records_taken = (now, 0);
    }
    RECORDS_TAKEN_MAX.saturating_sub(neighbour.records_taken.1)
}
