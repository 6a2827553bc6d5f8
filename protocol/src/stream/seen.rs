//! What a source has handed over already: so that what it hands over again, after a crash, is not taken twice.
//!
//! | source | says | known again when |
//! |---|---|---|
//! | MQTT | packet id, and that this is a repetition | the last packet of that id had the same topic and content |
//! | HTTP | idempotency key | the key is one of the last [`KEYS_MAX`] |
//! | feed (standard input) | name of the feed, lines so far | those lines were taken |
//! | directory | file, lines so far | those lines were taken |
//!
//! **Invariant:** bounded, whatever a source says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

/// Idempotency keys that are remembered.
pub(super) const KEYS_MAX: usize = 4_096;
/// Feeds, and files, whose place is remembered; the one that was silent for longest goes first. Of files there is more than one where
/// another was begun before the last one was out of the way.
pub(super) const PLACES_MAX: usize = 64;

/// How one delivery is known again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mark {
    /// An MQTT packet that is not acknowledged yet, as far as we know.
    #[serde(rename = "p")]
    Packet(u16, u64),
    /// The broker has let go of that packet id (QoS 2): the next packet of that id is another one.
    #[serde(rename = "r")]
    Released(u16),
    /// An idempotency key, hashed.
    #[serde(rename = "k")]
    Key(u64, u64),
    /// Lines of a feed that were taken.
    #[serde(rename = "f")]
    Feed(u64, u64),
    /// Lines of a file that were taken.
    #[serde(rename = "d")]
    File(String, u64),
}

/// A short name for these bytes: 64 bits of BLAKE3.
pub fn digest(parts: &[&[u8]]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut short = [0; 8];
    hasher.finalize_xof().fill(&mut short);
    u64::from_le_bytes(short)
}

/// How many lines were taken of what was read last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reached<K> {
    /// The lines, and when it was last heard, as a count.
    of: BTreeMap<K, (u64, u64)>,
    turn: u64,
}

impl<K> Default for Reached<K> {
    fn default() -> Self {
        Self { of: BTreeMap::new(), turn: 0 }
    }
}

impl<K: Ord + Clone> Reached<K> {
    fn note(&mut self, name: K, lines: u64) {
        self.turn += 1;
        self.of.insert(name, (lines, self.turn));
        if self.of.len() > PLACES_MAX
            && let Some(silent) = self.of.iter().min_by_key(|(_, (_, turn))| *turn).map(|(name, _)| name.clone())
        {
            self.of.remove(&silent);
        }
    }

    fn lines<Q: Ord + ?Sized>(&self, name: &Q) -> u64
    where
        K: core::borrow::Borrow<Q>,
    {
        self.of.get(name).map_or(0, |(lines, _)| *lines)
    }

    /// The one that was silent for longest comes first.
    fn all(&self) -> Vec<(K, u64)> {
        let mut all: Vec<_> = self.of.iter().map(|(name, (lines, turn))| (*turn, name, *lines)).collect();
        all.sort_unstable_by_key(|(turn, _, _)| *turn);
        all.into_iter().map(|(_, name, lines)| (name.clone(), lines)).collect()
    }
}

/// What was handed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    packets: BTreeMap<u16, u64>,
    keys: BTreeSet<(u64, u64)>,
    key_order: VecDeque<(u64, u64)>,
    feeds: Reached<u64>,
    files: Reached<String>,
}

/// The part of it that outlives the marks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Places {
    #[serde(rename = "f", default)]
    feeds: Vec<(u64, u64)>,
    /// The file that was read last.
    #[serde(rename = "d", default)]
    file: Option<(String, u64)>,
    /// Those before it.
    #[serde(rename = "g", default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<(String, u64)>,
}

impl Seen {
    pub(super) fn of(places: &Places) -> Self {
        let mut seen = Self::default();
        for (feed, lines) in &places.feeds {
            seen.feeds.note(*feed, *lines);
        }
        for (file, lines) in places.files.iter().chain(&places.file) {
            seen.files.note(file.clone(), *lines);
        }
        seen
    }

    pub(super) fn places(&self) -> Places {
        let mut files = self.files.all();
        Places { feeds: self.feeds.all(), file: files.pop(), files }
    }

    /// Whether this was handed over before. `repeated`: the source says that it may have been.
    pub fn is_known(&self, mark: &Mark, repeated: bool) -> bool {
        match mark {
            Mark::Packet(id, content) => repeated && self.packets.get(id) == Some(content),
            Mark::Released(id) => !self.packets.contains_key(id),
            Mark::Key(a, b) => self.keys.contains(&(*a, *b)),
            Mark::Feed(feed, lines) => *lines <= self.lines_of_feed(*feed),
            Mark::File(name, lines) => *lines <= self.lines_of_file(name),
        }
    }

    /// It was.
    pub fn note(&mut self, mark: &Mark) {
        match mark {
            Mark::Packet(id, content) => drop(self.packets.insert(*id, *content)),
            Mark::Released(id) => drop(self.packets.remove(id)),
            Mark::Key(a, b) => {
                if self.keys.insert((*a, *b)) {
                    self.key_order.push_back((*a, *b));
                }
                if self.key_order.len() > KEYS_MAX
                    && let Some(oldest) = self.key_order.pop_front()
                {
                    self.keys.remove(&oldest);
                }
            }
            Mark::Feed(feed, lines) => self.feeds.note(*feed, *lines),
            Mark::File(name, lines) => self.files.note(name.clone(), *lines),
        }
    }

    /// Lines of this feed that were taken.
    pub fn lines_of_feed(&self, feed: u64) -> u64 {
        self.feeds.lines(&feed)
    }

    /// Lines of this file that were taken.
    pub fn lines_of_file(&self, name: &str) -> u64 {
        self.files.lines(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_known_only_as_a_repetition_of_the_same() {
        let mut seen = Seen::default();
        seen.note(&Mark::Packet(7, 1));

        assert!(seen.is_known(&Mark::Packet(7, 1), true));
        assert!(!seen.is_known(&Mark::Packet(7, 1), false), "a broker gives an id out again once it was acknowledged");
        assert!(!seen.is_known(&Mark::Packet(7, 2), true));
        assert!(!seen.is_known(&Mark::Packet(8, 1), true));
    }

    #[test]
    fn a_released_packet_is_another_one_next_time() {
        let mut seen = Seen::default();
        seen.note(&Mark::Packet(7, 1));
        seen.note(&Mark::Released(7));

        assert!(!seen.is_known(&Mark::Packet(7, 1), true));
        assert!(seen.is_known(&Mark::Released(7), false));
    }

    #[test]
    fn only_the_last_keys_are_remembered() {
        let mut seen = Seen::default();
        for key in 0..=KEYS_MAX as u64 {
            seen.note(&Mark::Key(key, 0));
        }

        assert!(!seen.is_known(&Mark::Key(0, 0), false));
        assert!(seen.is_known(&Mark::Key(1, 0), false));
    }

    #[test]
    fn the_place_in_a_feed_and_in_a_file_is_remembered_over_a_restart() {
        let mut seen = Seen::default();
        seen.note(&Mark::Feed(5, 100));
        seen.note(&Mark::File("b.csv".into(), 3));
        seen.note(&Mark::File("a.csv".into(), 1));

        let seen = Seen::of(&seen.places());

        assert_eq!((seen.lines_of_feed(5), seen.lines_of_feed(6)), (100, 0));
        assert_eq!(["a.csv", "b.csv", "c.csv"].map(|file| seen.lines_of_file(file)), [1, 3, 0]);
    }

    #[test]
    fn the_feed_that_was_silent_for_longest_is_forgotten_first() {
        let mut seen = Seen::default();
        for feed in 0..PLACES_MAX as u64 {
            seen.note(&Mark::Feed(feed, 1));
        }
        seen.note(&Mark::Feed(0, 2));
        seen.note(&Mark::Feed(1_000, 1));

        assert_eq!((seen.lines_of_feed(0), seen.lines_of_feed(1), seen.lines_of_feed(1_000)), (2, 0, 1));
    }
}
