//! A map from peers to what is known of them, in the order of their ids.
//!
//! A view has tens of entries and is looked into for every message: a search over the first bytes of the ids, side by side
//! in memory with the way to the rest, takes a fraction of what a tree of whole ids does. Ids are public keys, so the
//! search begins where one of that value should be; it is mostly there or beside. Entries stay where they are when others
//! come and go.
//!
//! **Invariant:** places are in the order of the ids, and each begins with the first bytes of its entry's.

use crate::id::{PeerId, ShortId};

/// Entries by peer.
#[derive(Debug)]
pub(crate) struct PeerMap<T>(Vec<Place<T>>);

#[derive(Debug)]
struct Place<T> {
    first: u64,
    // A box each: moving pointers on an insertion is cheap, moving entries is not.
    entry: Box<Entry<T>>,
}

/// In this order in memory: whoever compares the id goes on with what stands first in the entry.
#[derive(Debug)]
#[repr(C)]
struct Entry<T> {
    peer: PeerId,
    known: T,
}

impl<T> Default for PeerMap<T> {
    fn default() -> Self {
        Self(Vec::new())
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
        while let Some(place) = self.0.get(at).filter(|place| place.first == wanted) {
            // Nearly always the one: told by a comparison that need not find out which is less.
            if place.entry.peer == *peer {
                return Ok(at);
            }
            if place.entry.peer > *peer {
                return Err(at);
            }
            at += 1;
        }
        Err(at)
    }

    /// The first place whose id does not begin with less: by leaps that double, from where it should be, and by halving the
    /// last of them. Where somebody chose the ids, that takes twice as many looks as halving the whole.
    fn lower_bound(&self, wanted: u64) -> usize {
        let Self(places) = self;
        let guess = ((u128::from(wanted) * places.len() as u128) >> u64::BITS) as usize;
        let comes_before = |at: usize| places.get(at).is_some_and(|place| place.first < wanted);
        let (mut from, mut to, mut leap) = (guess, guess, 1);
        if comes_before(guess) {
            while comes_before(to) {
                (from, to, leap) = (to + 1, to + leap, leap * 2);
            }
        } else {
            while from > 0 && !comes_before(from - 1) {
                (from, to, leap) = (from.saturating_sub(leap), from - 1, leap * 2);
            }
        }
        let (from, to) = (from.min(places.len()), to.min(places.len()));
        from + places.get(from..to).unwrap_or_default().partition_point(|place| place.first < wanted)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn contains_key(&self, peer: &PeerId) -> bool {
        self.search(peer).is_ok()
    }

    pub(crate) fn get(&self, peer: &PeerId) -> Option<&T> {
        self.0.get(self.search(peer).ok()?).map(|place| &place.entry.known)
    }

    pub(crate) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut T> {
        let at = self.search(peer).ok()?;
        self.0.get_mut(at).map(|place| &mut place.entry.known)
    }

    /// The entry of a peer, made if there is none.
    pub(crate) fn get_or_insert_with(&mut self, peer: PeerId, make: impl FnOnce() -> T) -> &mut T {
        let at = match self.search(&peer) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, Place { first: first(&peer), entry: Box::new(Entry { peer, known: make() }) });
                at
            }
        };
        &mut self.0[at].entry.known // the search found it or it was inserted there
    }

    /// The only entry of a peer whose id begins like this.
    pub(crate) fn get_short(&self, short: ShortId) -> Option<&T> {
        let at = self.lower_bound(short.number());
        let begins_so = |at: usize| self.0.get(at).filter(|place| place.first == short.number());
        begins_so(at).filter(|_| begins_so(at + 1).is_none()).map(|place| &place.entry.known)
    }

    pub(crate) fn remove(&mut self, peer: &PeerId) -> Option<T> {
        let at = self.search(peer).ok()?;
        Some(self.0.remove(at).entry.known)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&PeerId, &T)> {
        self.0.iter().map(|place| (&place.entry.peer, &place.entry.known))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&PeerId, &mut T)> {
        self.0.iter_mut().map(|place| {
            let Entry { peer, known } = &mut *place.entry;
            (&*peer, known)
        })
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|place| &place.entry.known)
    }
}

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
