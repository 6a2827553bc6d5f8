//! How members behave towards this peer: how much they say, and whether it makes sense.
//!
//! ```text
//! message ─► its class's bucket ─ over ──► dropped, a small strike
//!              └ under ─ nonsense? ──────► a strike         STRIKES_MAX strikes ─► cool-off 10 s, 20 s, … ─► banned 1 h
//! ```
//!
//! During a cool-off nothing is placed on the peer, nothing is run for it, and what it says of itself and others is not
//! heard. Beats, results, answers and councils are: whoever does not hear them takes the living for dead, and the
//! decided for open. A banned peer has no connection.
//!
//! | file | one question |
//! |---|---|
//! | `bucket.rs` | how much is too much? |
//! | `class.rs` | what kind of message is it? |
//! | `sense.rs` | can an honest peer have said that? |
//! | `record.rs` | what follows from strikes? |
//!
//! **Invariant:** bounded, and whoever has the least against it is forgotten first: no flood of names washes out a ban.
//! **Not here:** whether a peer does what it says it will. That is `placement/word.rs`.

mod bucket;
mod class;
mod record;
mod sense;

pub use self::class::Class;
use self::record::Record;
pub use self::record::{Sentence, Strike};
use crate::config::LOAD_PEERS_MAX;
use crate::id::PeerId;
use crate::message::Message;
use crate::peer_map::PeerMap;
use crate::time::Time;

/// What is to be done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is heard.
    Heard,
    /// It is not.
    Dropped,
    /// Whoever asks is told that there is no room.
    Refused,
}

/// The conduct of every peer that said something lately.
#[derive(Debug, Default)]
pub struct Conduct {
    peers: PeerMap<Record>,
    fullest_permille: [u16; Class::COUNT],
    /// Messages that were not heard.
    pub dropped: u64,
}

impl Conduct {
    /// A peer said something: what is to be done with it, and what follows for the peer.
    pub fn said(&mut self, now: Time, from: PeerId, message: &Message) -> (Admission, Option<Sentence>) {
        let class = Class::of(message);
        let record = self.record(from);
        let (room, permille) = record.take(now, class);
        let cools_off = record.cools_off(now);
        if let Some(fullest) = self.fullest_permille.get_mut(class as usize) {
            *fullest = permille.max(*fullest);
        }
        if !room {
            self.dropped += 1;
            return (Admission::Dropped, self.strike(now, from, Strike::Flood));
        }
        let sentence = if sense::has_sense(message) { None } else { self.strike(now, from, Strike::Nonsense) };
        let admission = if cools_off { class::while_cooling_off(message) } else { Admission::Heard };
        self.dropped += u64::from(admission != Admission::Heard);
        (admission, sentence)
    }

    /// A peer did what no honest one does; what follows, if that was enough.
    pub fn strike(&mut self, now: Time, peer: PeerId, strike: Strike) -> Option<Sentence> {
        self.record(peer).strike(now, strike)
    }

    /// Whether a peer is to have no connection now.
    pub fn is_banned(&self, now: Time, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|record| record.is_banned(now))
    }

    /// How much of each class's bucket the busiest neighbour has ever used at once, in thousandths.
    pub fn fullest_permille(&self) -> [(&'static str, u16); Class::COUNT] {
        core::array::from_fn(|n| (Class::NAMES[n], self.fullest_permille[n]))
    }

    fn record(&mut self, peer: PeerId) -> &mut Record {
        if self.peers.len() >= LOAD_PEERS_MAX && !self.peers.contains_key(&peer) {
            let least = self.peers.iter().min_by_key(|(_, record)| record.weight()).map(|(peer, _)| *peer);
            least.and_then(|peer| self.peers.remove(&peer));
        }
        self.peers.get_or_insert_with(peer, Record::default)
    }
}

#[cfg(test)]
mod tests;
