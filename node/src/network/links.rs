//! Which peers are connected, and by which connection.
//!
//! Two peers that dial each other at the same moment end up with two connections. Each side sends on the one it
//! admitted last and reads both; the side with the lower id then retires the older one, which loses nothing:
//!
//! ```text
//! lower id:  admits the second ── RETIRE_AFTER ──► finishes the first, reads it to its end, closes it
//! higher id: reads the end of the first ──► writes what it had queued there, finishes it, sends on the second
//! ```
//!
//! One decider needs no agreement on which came first. The newest wins, because only a new connection proves that
//! its peer is alive: the older one may lead to a process that has crashed. Only a new one through a relay loses to a direct
//! one that was just heard; so a link moves to the direct connection as soon as a hole is punched, and never back for nothing.
//!
//! **Invariant:** between `Connected` and `Disconnected` of a peer there is one run of that peer, and at least one link.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shoal_protocol::PeerId;

use super::greeting::Run;
use super::limits::FRESH;
use super::outbox::Outbox;
use super::slots::Slots;

/// Links of one peer that are kept: the newest, and its predecessor until that is retired.
const LINKS_PER_PEER_MAX: usize = 2;

/// Tells connections apart, also those of one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LinkId(pub(super) u64);

/// How a connection gets to a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    Direct,
    /// Through a third peer.
    Relayed,
}

/// One connection with a neighbour. What carries it is of no importance to the rules here.
#[derive(Debug)]
pub(super) struct Link<C = quinn::Connection> {
    pub(super) id: LinkId,
    pub(super) connection: C,
    pub(super) path: Path,
    pub(super) outbox: Outbox,
    pub(super) slots: Slots,
    started: Instant,
    heard_ms: AtomicU64,
    muted: AtomicBool,
}

impl<C> Link<C> {
    pub(super) fn new(id: LinkId, connection: C, path: Path) -> Self {
        Self {
            id,
            connection,
            path,
            outbox: Outbox::default(),
            slots: Slots::default(),
            started: Instant::now(),
            heard_ms: AtomicU64::new(0),
            muted: AtomicBool::new(false),
        }
    }

    pub(super) fn has_heard(&self) {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(ms, Ordering::Relaxed);
    }

    fn is_fresh(&self) -> bool {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        self.outbox.is_open() && self.started.elapsed().saturating_sub(heard) < FRESH
    }

    fn is_fresh_direct(&self) -> bool {
        self.path == Path::Direct && self.is_fresh()
    }

    /// What it still receives is not delivered.
    pub(super) fn mute(&self) {
        self.muted.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_muted(&self) -> bool {
        self.muted.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Neighbour<C> {
    run: Run,
    /// Oldest first.
    links: Vec<Arc<Link<C>>>,
}

/// What the arrival of a link means to the driver.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The peer was not connected.
    Connected,
    /// It was, by connections that have ended or belong to an earlier run.
    Reconnected,
    /// It is, by an older connection as well; that one is to be retired by this side, or by the other.
    Duplicate { retire: Option<LinkId> },
    /// There are as many neighbours as there may be; nothing changed.
    Full,
}

#[derive(Debug)]
pub(super) struct Links<C = quinn::Connection> {
    local: PeerId,
    peers_max: usize,
    neighbours: BTreeMap<PeerId, Neighbour<C>>,
}

impl<C> Links<C> {
    pub(super) fn new(local: PeerId, peers_max: usize) -> Self {
        Self { local, peers_max, neighbours: BTreeMap::new() }
    }

    pub(super) fn arrive(&mut self, peer: PeerId, run: Run, link: Arc<Link<C>>) -> Arrival {
        let count = self.neighbours.len();
        let mut entry = match self.neighbours.entry(peer) {
            Entry::Vacant(_) if count >= self.peers_max => return Arrival::Full,
            Entry::Vacant(entry) => {
                entry.insert(Neighbour { run, links: vec![link] });
                return Arrival::Connected;
            }
            Entry::Occupied(entry) => entry,
        };
        let neighbour = entry.get_mut();
        let other_run = neighbour.run != run;
        if other_run || neighbour.links.iter().all(|old| !old.outbox.is_open()) {
            for old in neighbour.links.drain(..) {
                old.mute();
                if other_run {
                    old.outbox.cut();
                }
            }
            *neighbour = Neighbour { run, links: vec![link] };
            return Arrival::Reconnected;
        }
        // A way around is no better than a direct one that works, however new it is.
        let keeps = link.path == Path::Relayed && neighbour.links.last().is_some_and(|old| old.is_fresh_direct());
        let loser = if keeps { Some(link.id) } else { neighbour.links.last().map(|old| old.id) };
        let retire = loser.filter(|_| self.local < peer);
        let at = neighbour.links.len() - usize::from(keeps);
        neighbour.links.insert(at, link);
        while neighbour.links.len() > LINKS_PER_PEER_MAX {
            neighbour.links.remove(0).outbox.cut();
        }
        Arrival::Duplicate { retire }
    }

    /// Forgets a link that has ended; true when it was the peer's last.
    pub(super) fn depart(&mut self, peer: PeerId, link: LinkId) -> bool {
        let Entry::Occupied(mut entry) = self.neighbours.entry(peer) else { return false };
        let links = &mut entry.get_mut().links;
        let before = links.len();
        links.retain(|other| other.id != link);
        let was_last = before > 0 && links.is_empty();
        if was_last {
            entry.remove();
        }
        was_last
    }

    /// The link to send on.
    pub(super) fn newest(&self, peer: PeerId) -> Option<&Arc<Link<C>>> {
        self.neighbours.get(&peer)?.links.last()
    }

    /// Whether the peer was heard so recently that a new connection by this path would be one too many.
    pub(super) fn is_fresh(&self, peer: PeerId, path: Path) -> bool {
        self.newest(peer).is_some_and(|link| match path {
            Path::Relayed => link.is_fresh(),
            Path::Direct => link.is_fresh_direct(),
        })
    }

    pub(super) fn of(&self, peer: PeerId) -> &[Arc<Link<C>>] {
        self.neighbours.get(&peer).map(|neighbour| neighbour.links.as_slice()).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.neighbours.is_empty()
    }

    /// Each neighbour's newest link.
    pub(super) fn newest_of_all(&self) -> impl Iterator<Item = (PeerId, Arc<Link<C>>)> {
        self.neighbours.iter().filter_map(|(peer, neighbour)| Some((*peer, Arc::clone(neighbour.links.last()?))))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Link<C>>> {
        self.neighbours.values().flat_map(|neighbour| &neighbour.links)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: PeerId = PeerId([1; 32]);
    const HIGH: PeerId = PeerId([2; 32]);

    fn link(id: u64) -> Arc<Link<()>> {
        relayed_or_not(id, Path::Direct)
    }

    fn relayed_or_not(id: u64, path: Path) -> Arc<Link<()>> {
        Arc::new(Link::new(LinkId(id), (), path))
    }

    fn newest(links: &Links<()>, peer: PeerId) -> Option<LinkId> {
        links.newest(peer).map(|link| link.id)
    }

    #[test]
    fn of_two_connections_only_the_lower_id_retires_the_older() {
        let mut low = Links::new(LOW, 8);
        let mut high = Links::new(HIGH, 8);
        assert_eq!(low.arrive(HIGH, Run(1), link(1)), Arrival::Connected);
        assert_eq!(high.arrive(LOW, Run(2), link(1)), Arrival::Connected);

        let retire = Some(LinkId(1));
        assert_eq!(low.arrive(HIGH, Run(1), link(2)), Arrival::Duplicate { retire });
        assert_eq!(high.arrive(LOW, Run(2), link(2)), Arrival::Duplicate { retire: None });
        assert_eq!(newest(&low, HIGH), Some(LinkId(2)));

        assert!(!low.depart(HIGH, LinkId(1)));
        assert!(low.depart(HIGH, LinkId(2)), "the last one");
    }

    #[test]
    fn a_direct_connection_takes_over_from_a_relayed_one_and_not_the_other_way_round() {
        let mut links = Links::new(LOW, 8);
        links.arrive(HIGH, Run(1), relayed_or_not(1, Path::Relayed));
        assert!(links.is_fresh(HIGH, Path::Relayed) && !links.is_fresh(HIGH, Path::Direct));

        let direct = links.arrive(HIGH, Run(1), relayed_or_not(2, Path::Direct));
        assert_eq!(direct, Arrival::Duplicate { retire: Some(LinkId(1)) });
        links.depart(HIGH, LinkId(1));
        let relayed = links.arrive(HIGH, Run(1), relayed_or_not(3, Path::Relayed));

        assert_eq!(relayed, Arrival::Duplicate { retire: Some(LinkId(3)) });
        assert_eq!(newest(&links, HIGH), Some(LinkId(2)));
        assert!(links.is_fresh(HIGH, Path::Direct));
    }

    #[test]
    fn a_new_run_of_a_peer_replaces_the_old_one_at_once() {
        let mut links = Links::new(HIGH, 8);
        let old = link(1);
        links.arrive(LOW, Run(1), Arc::clone(&old));

        assert_eq!(links.arrive(LOW, Run(2), link(2)), Arrival::Reconnected);

        assert!(old.is_muted() && !old.outbox.is_open());
        assert!(!links.depart(LOW, old.id), "its end is no longer news");
        assert_eq!(newest(&links, LOW), Some(LinkId(2)));
    }

    #[test]
    fn a_connection_made_while_the_old_one_is_closing_is_a_new_start() {
        let mut links = Links::new(LOW, 8);
        let old = link(1);
        links.arrive(HIGH, Run(1), Arc::clone(&old));
        old.outbox.close();

        assert_eq!(links.arrive(HIGH, Run(1), link(2)), Arrival::Reconnected);
    }

    #[test]
    fn a_peer_over_the_limit_is_not_taken_but_a_known_one_is() {
        let mut links = Links::new(LOW, 1);
        links.arrive(HIGH, Run(1), link(1));

        assert_eq!(links.arrive(PeerId([3; 32]), Run(1), link(2)), Arrival::Full);
        assert_eq!(links.arrive(HIGH, Run(2), link(3)), Arrival::Reconnected);
    }

    #[test]
    fn dials_without_end_leave_two_links() {
        let mut links = Links::new(HIGH, 8);
        for id in 1..10 {
            links.arrive(LOW, Run(1), link(id));
        }

        assert_eq!(links.of(LOW).len(), LINKS_PER_PEER_MAX);
    }
}
