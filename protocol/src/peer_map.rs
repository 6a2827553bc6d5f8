//! A map from peers to what is known of them, in the order of their ids.
//!
//! A view has tens of entries and is looked into for every message: a search over the first bytes of the ids, side by side
//! in memory, takes a fraction of what a tree of whole ids does. Ids are public keys, so the search begins where one of that
//! value should be; it is mostly there or beside. Entries stay where they are when others come and go.
//!
//! **Invariant:** the two lists are of one length and in the order of the ids.

use crate::id::PeerId;

/// Entries by peer.
#[derive(Debug)]
pub(crate) struct PeerMap<T> {
    firsts: Vec<u64>,
    // A box each: moving pointers on an insertion is cheap, moving entries is not.
    entries: Vec<Box<(PeerId, T)>>,
}

impl<T> Default for PeerMap<T> {
    fn default() -> Self {
        Self { firsts: Vec::new(), entries: Vec::new() }
    }
}

fn first(peer: &PeerId) -> u64 {
    peer.abridged().number()
}

impl<T> PeerMap<T> {
    /// Where the peer is, or would be.
    fn search(&self, peer: &PeerId) -> Result<usize, usize> {
        let wanted = first(peer);
        let mut at = self.lower_bound(wanted);
        while self.firsts.get(at) == Some(&wanted) {
            match self.entries.get(at) {
                Some(entry) if entry.0 == *peer => return Ok(at),
                Some(entry) if entry.0 > *peer => return Err(at),
                Some(_) | None => at += 1,
            }
        }
        Err(at)
    }

    /// The first place whose id does not begin with less. Where somebody chose the ids, it halves what is left as usual.
    fn lower_bound(&self, wanted: u64) -> usize {
        let len = self.firsts.len();
        let guess = ((u128::from(wanted) * len as u128) >> u64::BITS) as usize;
        let beside = BESIDE + len / 32;
        let (from, to) = (guess.saturating_sub(beside), (guess + beside).min(len));
        let starts_before = from == 0 || self.firsts.get(from - 1).is_some_and(|first| *first < wanted);
        let ends_after = to == len || self.firsts.get(to).is_some_and(|first| *first >= wanted);
        let (from, to) = if starts_before && ends_after { (from, to) } else { (0, len) };
        from + self.firsts.get(from..to).unwrap_or_default().partition_point(|first| *first < wanted)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn contains_key(&self, peer: &PeerId) -> bool {
        self.search(peer).is_ok()
    }

    pub(crate) fn get(&self, peer: &PeerId) -> Option<&T> {
        self.entries.get(self.search(peer).ok()?).map(|entry| &entry.1)
    }

    pub(crate) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut T> {
        let at = self.search(peer).ok()?;
        self.entries.get_mut(at).map(|entry| &mut entry.1)
    }

    /// The entry of a peer, made if there is none.
    pub(crate) fn get_or_insert_with(&mut self, peer: PeerId, make: impl FnOnce() -> T) -> &mut T {
        let at = match self.search(&peer) {
            Ok(at) => at,
            Err(at) => {
                self.firsts.insert(at, first(&peer));
                self.entries.insert(at, Box::new((peer, make())));
                at
            }
        };
        &mut self.entries[at].1 // the search found it or it was inserted there
    }

    pub(crate) fn remove(&mut self, peer: &PeerId) -> Option<T> {
        let at = self.search(peer).ok()?;
        self.firsts.remove(at);
        Some(self.entries.remove(at).1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&PeerId, &T)> {
        self.entries.iter().map(|entry| (&entry.0, &entry.1))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&PeerId, &mut T)> {
        self.entries.iter_mut().map(|entry| {
            let (peer, entry) = &mut **entry;
            (&*peer, entry)
        })
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|entry| &entry.1)
    }
}

/// Places to each side of where an id should be, and a thirty-second of all: twice the standard deviation or more.
const BESIDE: usize = 8;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn peer(n: u8) -> PeerId {
        // Some share their first bytes.
        let mut id = [n / 4; 32];
        id[31] = n;
        PeerId(id)
    }

    proptest! {
        #[test]
        fn it_does_what_an_ordered_map_does(deeds in proptest::collection::vec((0u8..32, any::<bool>()), 0..200)) {
            let (mut map, mut model) = (PeerMap::default(), BTreeMap::new());
            for (n, adds) in deeds {
                if adds {
                    prop_assert_eq!(*map.get_or_insert_with(peer(n), || n), *model.entry(peer(n)).or_insert(n));
                } else {
                    prop_assert_eq!(map.remove(&peer(n)), model.remove(&peer(n)));
                }
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(map.get(&peer(n)), model.get(&peer(n)));
                prop_assert_eq!(map.contains_key(&peer(n)), model.contains_key(&peer(n)));
            }
        }
    }
}
