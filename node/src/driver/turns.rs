//! Turns at the peers that blobs come from: who waits for a slow one keeps nobody from the others.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use shoal_protocol::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// At most so many have their turn at one peer.
///
/// **Invariant:** a peer is remembered only while somebody has a turn at it or waits for one.
#[derive(Debug)]
pub(super) struct Turns {
    at_once: usize,
    holders: RefCell<BTreeMap<PeerId, Arc<Semaphore>>>,
}

/// Held until the next may have it.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(super) fn new(at_once: usize) -> Self {
        Self { at_once, holders: RefCell::default() }
    }

    /// Waits for one, in the order of asking.
    pub(super) async fn at(&self, holder: PeerId) -> Turn {
        // The semaphore is never closed; an error here would only lift the bound.
        Turn { _permit: self.of(holder).acquire_owned().await.ok() }
    }

    /// One that there is without waiting.
    pub(super) fn now(&self, holder: PeerId) -> Option<Turn> {
        self.of(holder).try_acquire_owned().ok().map(|permit| Turn { _permit: Some(permit) })
    }

    fn of(&self, holder: PeerId) -> Arc<Semaphore> {
        let mut holders = self.holders.borrow_mut();
        holders.retain(|_, turns| Arc::strong_count(turns) > 1);
        Arc::clone(holders.entry(holder).or_insert_with(|| Arc::new(Semaphore::new(self.at_once))))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const SLOW: PeerId = PeerId([1; 32]);
    const OTHER: PeerId = PeerId([2; 32]);

    #[test]
    fn who_waits_for_a_slow_peer_keeps_nobody_from_another() {
        let turns = Turns::new(3);
        let mut had: Vec<Turn> = (0..3).map(|_| turns.at(SLOW).now_or_never().unwrap()).collect();
        let mut waits = Box::pin(turns.at(SLOW));
        assert!((&mut waits).now_or_never().is_none());

        assert!(turns.at(OTHER).now_or_never().is_some());
        assert!(turns.now(SLOW).is_none() && turns.now(OTHER).is_some());

        had.pop();
        assert!(waits.now_or_never().is_some());
    }

    #[test]
    fn a_peer_is_forgotten_with_the_last_turn_at_it() {
        let turns = Turns::new(3);
        let had = turns.at(SLOW).now_or_never().unwrap();
        let _other = turns.at(OTHER).now_or_never().unwrap();
        assert_eq!(turns.holders.borrow().len(), 2);

        drop(had);
        let _again = turns.at(OTHER).now_or_never().unwrap();

        assert!(turns.holders.borrow().keys().eq([&OTHER]));
    }
}
