//! Who has which blob, beyond those this peer knows: records of holders, kept by members all over the mesh (Kademlia).
//!
//! ```text
//! provide(blob) ─► the peers with the ids nearest to the blob's keep: "this peer has it", until it is not said again
//! find_providers(blob) ─► they are asked; at most some seconds later: who has it
//! ```
//!
//! A record is kept under a hash of the blob's name that is keyed with the mesh: it means nothing to who is no member.
//!
//! **Invariant:** what members make this peer keep is bounded, by blobs and by holders of each.
//! **Not here:** whether a holder may give a blob away, and fetching it. A record is a hint, like gossip.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use libp2p::kad::store::{MemoryStore, RecordStore};
use libp2p::kad::{self, GetProvidersOk, InboundRequest, ProviderRecord, QueryId, QueryResult, RecordKey};
use libp2p::{Multiaddr, StreamProtocol};
use shoal_protocol::config::{ADDRESS_BYTES_MAX, ADDRESSES_MAX};
use shoal_protocol::{BlobId, MeshId, PeerId};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::identity::from_libp2p;
use super::limits::{
    PROVIDED_MAX, PROVIDERS_AGAIN_AFTER, PROVIDERS_BLOBS_MAX, PROVIDERS_PER_BLOB_MAX, PROVIDERS_QUERIES_MAX,
    PROVIDERS_QUERY_MAX, PROVIDERS_SAYING_MAX, PROVIDERS_TTL,
};
use super::swarm::Command;
use super::{Network, ProvideError};

/// How often it is looked for what counts no more.
const KEPT_LOOK: Duration = Duration::from_secs(60);

pub(super) type Table = kad::Behaviour<MemoryStore>;

/// What is asked for here.
#[derive(Debug)]
pub(super) enum Asked {
    Provide(BlobId),
    Unprovide(BlobId),
    Find { blob: BlobId, found: oneshot::Sender<Vec<PeerId>> },
}

impl Network {
    /// Tells the mesh that this peer has a blob, now and again until [`Network::unprovide`]; of at most
    /// [`PROVIDED_MAX`] blobs.
    pub fn provide(&self, blob: BlobId) -> Result<(), ProvideError> {
        self.ask(Asked::Provide(blob))
    }

    /// Stops telling; what was told is forgotten in some hours.
    pub fn unprovide(&self, blob: BlobId) -> Result<(), ProvideError> {
        self.ask(Asked::Unprovide(blob))
    }

    /// Members that have said to have a blob, this one not among them; within seconds, whatever the mesh does.
    ///
    /// Those that are not connected are being dialled when this returns.
    pub async fn find_providers(&self, blob: BlobId) -> Result<Vec<PeerId>, ProvideError> {
        let (found, answer) = oneshot::channel();
        self.ask(Asked::Find { blob, found })?;
        // The search itself ends in time; this is for a network that closes meanwhile.
        let answer = timeout(2 * PROVIDERS_QUERY_MAX, answer).await;
        answer.ok().and_then(Result::ok).ok_or(ProvideError::Busy)
    }

    fn ask(&self, asked: Asked) -> Result<(), ProvideError> {
        self.commands.try_send(Command::Providers(asked)).map_err(|_| ProvideError::Busy)
    }
}

struct Search {
    blob: BlobId,
    found: oneshot::Sender<Vec<PeerId>>,
    holders: BTreeSet<PeerId>,
    /// It goes on under the name that the version before gives to records.
    is_second: bool,
}

/// Searches under way, and what is said again and again.
pub(super) struct Providers {
    /// What names of records are keyed with.
    names: [u8; 32],
    searches: HashMap<QueryId, Search>,
    /// Blobs that are here, and when that was last said.
    provided: BTreeMap<BlobId, Option<Instant>>,
    /// Sayings under way.
    saying: HashSet<QueryId>,
    kept: Kept,
}

/// What other members have said to have, and until when that counts. The table itself forgets such a record only when somebody asks
/// for its blob.
#[derive(Default)]
struct Kept {
    of: HashMap<libp2p::PeerId, HashMap<RecordKey, Instant>>,
    /// How many of them have said so of each blob.
    holders: HashMap<RecordKey, usize>,
    looked: Option<Instant>,
}

impl Kept {
    /// Takes a record, unless its member has said too much, or all of them have: our own always find room.
    fn take(&mut self, now: Instant, mut record: ProviderRecord, table: &mut Table) {
        self.forget_old(now, table);
        let (who, key) = (record.provider, record.key.clone());
        let of_it = self.of.entry(who).or_default();
        let is_full = of_it.len() >= PROVIDED_MAX && !of_it.contains_key(&key);
        if is_full || self.holders.len() >= PROVIDERS_BLOBS_MAX - PROVIDED_MAX && !self.holders.contains_key(&key) {
            return tracing::debug!(peer = %who, "no room for another holder of a blob");
        }
        record.addresses.retain(|address: &Multiaddr| address.len() <= ADDRESS_BYTES_MAX);
        record.addresses.truncate(ADDRESSES_MAX);
        if let Err(error) = table.store_mut().add_provider(record) {
            return tracing::debug!(%error, "no room for another holder of a blob");
        }
        // Where it has enough holders the table takes no other, and does not say so.
        let is_kept = table.store_mut().providers(&key).iter().any(|kept| kept.provider == who);
        if is_kept && of_it.insert(key.clone(), now + PROVIDERS_TTL).is_none() {
            *self.holders.entry(key).or_default() += 1;
        }
    }

    fn forget_old(&mut self, now: Instant, table: &mut Table) {
        if self.looked.is_some_and(|looked| now.duration_since(looked) < KEPT_LOOK) {
            return;
        }
        self.looked = Some(now);
        self.of.retain(|who, records| {
            records.retain(|key, until| {
                let counts = now < *until;
                if !counts {
                    table.store_mut().remove_provider(key, who);
                    if let Entry::Occupied(mut holders) = self.holders.entry(key.clone()) {
                        *holders.get_mut() -= 1;
                        if *holders.get() == 0 {
                            holders.remove();
                        }
                    }
                }
                counts
            });
            !records.is_empty()
        });
    }
}

impl Providers {
    pub(super) fn of(mesh: MeshId) -> Self {
        Self {
            names: blake3::derive_key("shoal 2026-11 names of records of providers", &mesh.0),
            searches: HashMap::new(),
            provided: BTreeMap::new(),
            saying: HashSet::new(),
            kept: Kept::default(),
        }
    }

    pub(super) fn on_asked(&mut self, now: Instant, asked: Asked, table: &mut Table) {
        match asked {
            Asked::Provide(blob) if self.provided.len() < PROVIDED_MAX => {
                self.provided.entry(blob).or_default();
                self.say_due(now, table);
            }
            Asked::Provide(blob) => tracing::debug!(%blob, "the mesh is told of no more blobs"),
            Asked::Unprovide(blob) => {
                self.provided.remove(&blob);
                table.stop_providing(&key(&self.names, blob));
            }
            // Dropping the sender says that it could not be done.
            Asked::Find { .. } if self.searches.len() >= PROVIDERS_QUERIES_MAX => {}
            Asked::Find { blob, found } => {
                let search = Search { blob, found, holders: BTreeSet::new(), is_second: false };
                self.searches.insert(table.get_providers(key(&self.names, blob)), search);
            }
        }
    }

    /// Whether something is asked of the table.
    pub(super) fn is_busy(&self) -> bool {
        !self.searches.is_empty() || !self.saying.is_empty()
    }

    /// Says of the blobs that are due that they are here; a few at once.
    pub(super) fn say_due(&mut self, now: Instant, table: &mut Table) {
        for (blob, said) in &mut self.provided {
            if self.saying.len() >= PROVIDERS_SAYING_MAX {
                return;
            }
            if said.is_some_and(|said| now.duration_since(said) < PROVIDERS_AGAIN_AFTER) {
                continue;
            }
            *said = Some(now);
            match table.start_providing(key(&self.names, *blob)) {
                Ok(query) => drop(self.saying.insert(query)),
                Err(error) => tracing::debug!(%blob, %error, "the mesh is not told of a blob"),
            }
        }
    }

    /// Takes what the table has found; the holders that came with it.
    pub(super) fn on_event(&mut self, now: Instant, event: kad::Event, table: &mut Table) -> Vec<libp2p::PeerId> {
        match event {
            kad::Event::InboundRequest { request: InboundRequest::AddProvider { record: Some(record) } } => {
                self.kept.take(now, record, table);
                Vec::new()
            }
            kad::Event::OutboundQueryProgressed { id, result: QueryResult::GetProviders(result), step, .. } => {
                let found = match result {
                    Ok(GetProvidersOk::FoundProviders { providers, .. }) => providers.into_iter().collect(),
                    Ok(GetProvidersOk::FinishedWithNoAdditionalRecord { .. }) | Err(_) => Vec::new(),
                };
                self.on_found(id, &found, step.last, table);
                found
            }
            kad::Event::OutboundQueryProgressed { id, result: QueryResult::StartProviding(_), .. } => {
                // Where nobody was told, somebody will be the next time.
                self.saying.remove(&id);
                self.say_due(now, table);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn on_found(&mut self, id: QueryId, found: &[libp2p::PeerId], is_last: bool, table: &mut Table) {
        let Some(search) = self.searches.get_mut(&id) else { return };
        search.holders.extend(found.iter().filter_map(from_libp2p));
        let is_enough = search.holders.len() >= PROVIDERS_PER_BLOB_MAX || search.found.is_closed();
        if is_enough && let Some(mut query) = table.query_mut(&id) {
            query.finish();
        }
        if (is_last || is_enough)
            && let Some(search) = self.searches.remove(&id)
        {
            if search.holders.is_empty() && !search.is_second && !search.found.is_closed() {
                let again = table.get_providers(RecordKey::new(&search.blob.0));
                self.searches.insert(again, Search { is_second: true, ..search });
                return;
            }
            let holders = search.holders.into_iter().take(PROVIDERS_PER_BLOB_MAX).collect();
            // Nobody may wait any more.
            let _ = search.found.send(holders);
        }
    }
}

/// Whether a member keeps such records, by the protocols it names.
pub(super) fn keeps_records(table: &Table, protocols: &[StreamProtocol]) -> bool {
    table.protocol_names().iter().any(|ours| protocols.contains(ours))
}

fn key(names: &[u8; 32], blob: BlobId) -> RecordKey {
    RecordKey::new(blake3::keyed_hash(names, &blob.0).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::behaviour;
    use super::*;

    fn record(who: libp2p::PeerId, n: usize) -> ProviderRecord {
        ProviderRecord::new(RecordKey::new(&n.to_be_bytes()), who, Vec::new())
    }

    #[tokio::test]
    async fn what_members_say_to_have_is_bounded_for_each_and_leaves_room_for_our_own() {
        let now = Instant::now();
        let mut table = behaviour::providers(libp2p::PeerId::random());
        let mut kept = Kept::default();
        let (first, others) = (libp2p::PeerId::random(), [(); 8].map(|()| libp2p::PeerId::random()));

        (0..2 * PROVIDED_MAX).for_each(|n| kept.take(now, record(first, n), &mut table));
        assert_eq!(kept.of[&first].len(), PROVIDED_MAX);
        for (who, from) in others.into_iter().zip((1..).map(|n| n * 2 * PROVIDED_MAX)) {
            (from..from + PROVIDED_MAX).for_each(|n| kept.take(now, record(who, n), &mut table));
        }

        for n in 0..PROVIDED_MAX {
            let own = RecordKey::new(&[&b"own"[..], &n.to_be_bytes()].concat());
            assert!(table.start_providing(own).is_ok(), "{n} of our own found room");
        }
    }

    #[tokio::test]
    async fn what_is_not_said_again_makes_room() {
        let now = Instant::now();
        let mut table = behaviour::providers(libp2p::PeerId::random());
        let (mut kept, who) = (Kept::default(), libp2p::PeerId::random());
        (0..PROVIDED_MAX).for_each(|n| kept.take(now, record(who, n), &mut table));

        let later = now + PROVIDERS_TTL;
        kept.take(later, record(who, PROVIDED_MAX), &mut table);

        assert_eq!((kept.of[&who].len(), kept.holders.len()), (1, 1));
        assert!(table.store_mut().providers(&record(who, 0).key).is_empty());
    }
}
