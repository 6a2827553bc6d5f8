//! Signed records: our own, made anew when our addresses change, and those of others, remembered over restarts.
//!
//! **Invariant:** a record that is kept has been verified; the file is replaced as a whole or not at all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shoal_protocol::certificate::{MemberCertificate, PeerRecord, SignedRecord};
use shoal_protocol::config::ADDRESSES_MAX;
use shoal_protocol::{Input, Member, MeshId, PeerId, Time, cbor};

use crate::config::Identity;
use crate::small_file;

/// Peers remembered; more than a view and its passive list.
const REMEMBERED_MAX: usize = 256;
/// A file beyond this was not written by us.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Changes come in bursts when a peer joins; one write is enough for them.
const SAVE_AFTER: Duration = Duration::from_secs(3);
const FILE_NAME: &str = "peers.cbor";

/// A record whose signatures were right.
#[derive(Debug, Clone)]
pub(crate) struct Verified {
    record: SignedRecord,
    pub(crate) member: Member,
    pub(crate) addresses: Vec<String>,
    sequence: u64,
    pub(crate) certificate: MemberCertificate,
    /// Later ones were heard of later.
    heard: u64,
}

impl Verified {
    pub(crate) fn input(&self) -> Input {
        Input::RecordVerified {
            record: self.record.clone(),
            member: self.member.clone(),
            addresses: self.addresses.clone(),
            sequence: self.sequence,
        }
    }
}

/// Checks what neighbours sent; costs two signatures each, so it is done beside the loop.
pub(crate) fn verify(records: Vec<SignedRecord>, mesh: MeshId, now_unix_s: u64) -> Vec<Verified> {
    let check = |record: SignedRecord| match record.verify(mesh, now_unix_s) {
        Ok((said, certificate)) => Some(Verified {
            member: certificate.member(),
            addresses: said.addresses,
            sequence: said.sequence,
            certificate,
            heard: 0,
            record,
        }),
        Err(error) => {
            tracing::debug!(peer = ?record.peer, %error, "a peer record is not believed");
            None
        }
    };
    records.into_iter().filter_map(check).collect()
}

#[derive(Debug)]
pub(crate) struct Records {
    me: PeerId,
    path: PathBuf,
    known: BTreeMap<PeerId, Verified>,
    own_sequence: u64,
    heard: u64,
    changed: Option<Time>,
}

impl Records {
    pub(crate) fn new(me: PeerId, data_dir: &Path) -> Self {
        let path = data_dir.join(FILE_NAME);
        Self { me, path, known: BTreeMap::new(), own_sequence: 0, heard: 0, changed: None }
    }

    /// What was remembered when the last run ended; a damaged file is set aside.
    pub(crate) fn load(&self) -> Vec<SignedRecord> {
        let without = "peers are found again by bootstrap and mDNS";
        let mut records: Vec<SignedRecord> =
            small_file::read_or_set_aside(&self.path, FILE_BYTES_MAX, cbor::decode, without).unwrap_or_default();
        records.truncate(REMEMBERED_MAX);
        records
    }

    /// Parts records into those known to the byte, whose verdict stands, and those to be verified.
    pub(crate) fn sort(&self, records: Vec<SignedRecord>, now_unix_s: u64) -> (Vec<Input>, Vec<SignedRecord>) {
        let mut known = Vec::new();
        let mut unknown = Vec::new();
        for record in records {
            match self.known.get(&record.peer) {
                _ if record.peer == self.me => {}
                Some(had) if had.record == record && now_unix_s < had.certificate.expires_unix_s => {
                    known.push(had.input())
                }
                Some(_) | None => unknown.push(record),
            }
        }
        (known, unknown)
    }

    /// Remembers a verified record if it is news.
    pub(crate) fn remember(&mut self, now: Time, verified: &Verified) {
        let peer = verified.record.peer;
        if self.known.get(&peer).is_some_and(|had| had.sequence >= verified.sequence) {
            return;
        }
        if self.known.len() >= REMEMBERED_MAX && !self.known.contains_key(&peer) {
            let oldest = self.known.iter().min_by_key(|(_, had)| had.heard).map(|(peer, _)| *peer);
            oldest.map(|oldest| self.known.remove(&oldest));
        }
        self.heard += 1;
        self.known.insert(peer, Verified { heard: self.heard, ..verified.clone() });
        self.changed.get_or_insert(now);
    }

    /// Our own record with these addresses, newer than any before, also of earlier runs.
    pub(crate) fn sign_own(&mut self, identity: &Identity, addresses: Vec<String>, now_unix: Duration) -> SignedRecord {
        let clock_ms = u64::try_from(now_unix.as_millis()).unwrap_or(u64::MAX);
        self.own_sequence = clock_ms.max(self.own_sequence + 1);
        let record = PeerRecord {
            certificate: identity.chain.clone(),
            addresses: best_first(addresses),
            sequence: self.own_sequence,
        };
        record.sign(&identity.key)
    }

    /// What to write, when enough time has passed since something changed.
    pub(crate) fn due(&mut self, now: Time) -> Option<(PathBuf, Vec<u8>)> {
        let changed = self.changed?;
        (now.since(changed) >= SAVE_AFTER).then(|| self.snapshot())
    }

    /// What to write before the process ends.
    pub(crate) fn unsaved(&mut self) -> Option<(PathBuf, Vec<u8>)> {
        self.changed.is_some().then(|| self.snapshot())
    }

    fn snapshot(&mut self) -> (PathBuf, Vec<u8>) {
        self.changed = None;
        let records: Vec<&SignedRecord> = self.known.values().map(|verified| &verified.record).collect();
        (self.path.clone(), cbor::encode(&records))
    }
}

/// Replaces the file as a whole.
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    if let Err(error) = small_file::replace(path, bytes, 0o600) {
        tracing::warn!(file = %path.display(), %error, "the known peers could not be saved");
    }
}

/// A peer elsewhere can use any address before it can use a loopback one; those through relays come last, and all of them
/// are told: who has them is reached by nothing else.
fn best_first(addresses: Vec<String>) -> Vec<String> {
    let (relayed, mut addresses): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.contains("/p2p-circuit"));
    let is_loopback = |address: &String| address.starts_with("/ip4/127.") || address.starts_with("/ip6/::1/");
    let is_link_local = |address: &String| address.starts_with("/ip4/169.254.") || address.starts_with("/ip6/fe80:");
    addresses.sort_by_key(|address| (is_link_local(address), is_loopback(address), address.starts_with("/ip6/")));
    addresses.truncate(ADDRESSES_MAX.saturating_sub(relayed.len()));
    addresses.extend(relayed);
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

#[cfg(test)]
mod tests {
    use shoal_protocol::Role;
    use shoal_protocol::certificate::{Issuer, SecretKey};

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn identity(seed: u8) -> Identity {
        let (mesh, key) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[seed; 32]));
        let certificate = MemberCertificate {
            mesh: mesh.mesh(),
            peer: key.peer(),
            name: format!("peer-{seed}"),
            role: Role::Edge,
            labels: BTreeMap::new(),
            not_before_unix_s: 0,
            expires_unix_s: NOW + 100,
            serial: 0,
        };
        Identity { mesh: mesh.mesh(), chain: certificate.sign(&Issuer::of(&mesh)), certificate, key }
    }

    fn record(identity: &Identity, sequence: u64) -> SignedRecord {
        let addresses = vec!["/ip4/192.0.2.1/udp/1/quic-v1".into()];
        PeerRecord { certificate: identity.chain.clone(), addresses, sequence }.sign(&identity.key)
    }

    fn records(dir: &Path) -> Records {
        Records::new(identity(2).key.peer(), dir)
    }

    #[test]
    fn what_was_remembered_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (identity(3), identity(4));
        let mut before = records(dir.path());
        for verified in verify(vec![record(&a, 1), record(&b, 1), record(&a, 2)], a.mesh, NOW) {
            before.remember(Time::ZERO, &verified);
        }
        assert!(before.due(Time::from_millis(10)).is_none(), "a burst is written once");
        let (path, bytes) = before.due(Time::ZERO + SAVE_AFTER).unwrap();
        write(&path, &bytes);
        assert!(before.unsaved().is_none());

        let found = records(dir.path()).load();

        assert_eq!(found.len(), 2);
        assert!(found.contains(&record(&a, 2)) && found.contains(&record(&b, 1)));
    }

    #[test]
    fn a_record_is_verified_once_and_a_forged_one_never() {
        let dir = tempfile::tempdir().unwrap();
        let (a, stranger) = (identity(3), identity(4));
        let mut records = records(dir.path());
        let mut forged = record(&stranger, 9);
        forged.peer = a.key.peer();
        for verified in verify(vec![record(&a, 1), forged.clone()], a.mesh, NOW) {
            records.remember(Time::ZERO, &verified);
        }

        let (known, unknown) = records.sort(vec![record(&a, 1), record(&a, 2), forged.clone()], NOW);

        assert!(matches!(&known[..], [Input::RecordVerified { sequence: 1, .. }]));
        assert_eq!(unknown, [record(&a, 2), forged]);
        assert!(records.sort(vec![record(&a, 1)], NOW + 100).0.is_empty(), "its certificate has expired");
    }

    #[test]
    fn our_own_records_only_grow_and_name_far_addresses_first() {
        let dir = tempfile::tempdir().unwrap();
        let me = identity(2);
        let mut records = records(dir.path());
        let addresses: Vec<String> = vec!["/ip4/127.0.0.1/udp/1/quic-v1".into(), "/ip4/192.0.2.9/udp/1/quic-v1".into()];

        let first = records.sign_own(&me, addresses.clone(), Duration::from_secs(NOW));
        let second = records.sign_own(&me, addresses, Duration::from_secs(NOW));

        let (first, _) = first.verify(me.mesh, NOW).unwrap();
        let (second, _) = second.verify(me.mesh, NOW).unwrap();
        assert!(second.sequence > first.sequence && first.sequence >= NOW * 1_000);
        assert!(first.addresses[0].contains("192.0.2.9"), "{:?}", first.addresses);
    }

    #[test]
    fn ways_through_relays_are_told_however_many_addresses_there_are() {
        let circuit = "/ip4/198.51.100.1/udp/7600/quic-v1/p2p/12D3KooW/p2p-circuit".to_owned();
        let mut addresses = vec![circuit.clone()];
        addresses.extend((0..20).map(|n| format!("/ip4/192.0.2.{n}/udp/1/quic-v1")));

        let told = best_first(addresses);

        assert_eq!(told.len(), ADDRESSES_MAX);
        assert_eq!(told.last(), Some(&circuit));
    }
}
