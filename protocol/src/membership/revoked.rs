//! Who is a member no more, and how that news travels.
//!
//! ```text
//! list ─► verified ─► newer than what is held? ─► the revoked go ─► a few neighbours are told
//! ping, pong: "what I hold" ─► not what we hold? ─► ours goes to that neighbour, and its to us
//! ```
//!
//! The rumour reaches a mesh in a few round trips; whoever it passed by finds out at the next ping.
//!
//! **Invariant:** nothing is heard of a revoked peer, and nothing is said to it but that it is revoked.
//! **Not here:** signatures. The driver checks them ([`Output::VerifyRevocations`]), and refuses handshakes.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::{Lent, Membership};
use crate::certificate::{RevocationList, SignedRevocations, Signer, VerifiedRevocations};
use crate::id::PeerId;
use crate::message::Message;
use crate::output::{Event, Output, PeerState};
use crate::rng::some_of;
use crate::sabotage::{self, Bug};
use crate::time::Time;

/// Revocation lists are signed anew long before they are this old, so that a peer that holds no younger one has been kept
/// from the news, or whoever signs is gone.
pub const REVOCATIONS_FRESH: Duration = Duration::from_secs(24 * 3_600);
/// Signers whose lists are held: an issuer lasts for months, and its successor's list has all that its own had.
const SIGNERS_MAX: usize = 8;
/// Neighbours told of a new list at once: with sixteen each, a rumour passes one in ten million by (e⁻¹⁶).
const TOLD_OF_LIST: usize = 16;
/// Lists that are being verified, each for a fraction of a millisecond.
const VERIFYING_MAX: usize = 16;
/// A neighbour that holds something else is told what we hold this often at most.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The lists of all signers.
#[derive(Debug, Default)]
pub struct Revocations {
    held: BTreeMap<Signer, Held>,
    peers: BTreeSet<PeerId>,
    issuers: BTreeSet<PeerId>,
    head: u64,
    verifying: usize,
    /// When whoever held something else was last told.
    told: BTreeMap<PeerId, Time>,
}

#[derive(Debug)]
struct Held {
    list: RevocationList,
    digest: [u8; 32],
    signed: SignedRevocations,
}

/// Whether a list is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Old,
    New,
    /// Its signer has signed two lists of one version, or one that does not follow on the one before.
    Forked,
}

impl Revocations {
    /// Whether a peer is a member no more.
    pub fn has(&self, peer: PeerId) -> bool {
        !self.peers.is_empty() && self.peers.contains(&peer)
    }

    /// The peers that are members no more.
    pub fn peers(&self) -> &BTreeSet<PeerId> {
        &self.peers
    }

    /// The issuers whose signatures count no more.
    pub fn issuers(&self) -> &BTreeSet<PeerId> {
        &self.issuers
    }

    /// The lists, to be kept and passed on.
    pub fn lists(&self) -> impl Iterator<Item = &SignedRevocations> {
        self.held.values().map(|held| &held.signed)
    }

    /// Two peers with the same head hold the same lists; 0 is none.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// When the youngest of them was signed, in seconds since 1970.
    pub fn youngest_unix_s(&self) -> Option<u64> {
        self.held.values().map(|held| held.list.issued_unix_s).max()
    }

    fn news(&self, verified: &VerifiedRevocations, digest: [u8; 32]) -> News {
        if let Signer::Issuer(issuer) = verified.signer
            && self.issuers.contains(&issuer)
        {
            return News::Old;
        }
        let Some(held) = self.held.get(&verified.signer) else {
            let has_room = self.held.len() < SIGNERS_MAX || verified.signer == Signer::Mesh;
            let is_newer = || self.oldest().is_some_and(|(_, issued)| issued < verified.list.issued_unix_s);
            return if has_room || is_newer() { News::New } else { News::Old };
        };
        let (ours, theirs) = (&held.list, &verified.list);
        if (theirs.version, digest) <= (ours.version, held.digest) {
            return News::Old;
        }
        let follows = theirs.version > ours.version + 1 || theirs.previous == held.digest;
        if theirs.version > ours.version && follows { News::New } else { News::Forked }
    }

    /// The issuer whose list is the oldest; the mesh key's own is never forgotten.
    fn oldest(&self) -> Option<(Signer, u64)> {
        let issuers = self.held.iter().filter(|(signer, _)| **signer != Signer::Mesh);
        issuers.map(|(signer, held)| (*signer, held.list.issued_unix_s)).min_by_key(|(_, issued)| *issued)
    }

    /// Takes a list in. What its signer once revoked stays revoked, also where a later list leaves it out.
    fn adopt(&mut self, verified: VerifiedRevocations, digest: [u8; 32]) {
        let VerifiedRevocations { signer, mut list, signed } = verified;
        if let Some(held) = self.held.remove(&signer) {
            list.peers.extend(held.list.peers);
            list.issuers.extend(held.list.issuers);
        } else if self.held.len() >= SIGNERS_MAX {
            self.oldest().map(|(oldest, _)| self.held.remove(&oldest));
        }
        self.held.insert(signer, Held { list, digest, signed });
        self.issuers = self.held.values().flat_map(|held| held.list.issuers.iter().copied()).collect();
        let issuers = &self.issuers;
        self.held.retain(|signer, _| !matches!(signer, Signer::Issuer(issuer) if issuers.contains(issuer)));
        self.peers = self.held.values().flat_map(|held| held.list.peers.iter().copied()).collect();
        let mut hasher = blake3::Hasher::new();
        for held in self.held.values() {
            hasher.update(&held.digest);
        }
        let mut head = [0; 8];
        hasher.finalize_xof().fill(&mut head);
        self.head = u64::from_le_bytes(head);
    }
}

impl Membership {
    /// Who is a member no more.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Whether a peer may be heard.
    pub fn is_revoked(&self, peer: PeerId) -> bool {
        self.revocations.has(peer)
    }

    /// A neighbour sent a list.
    pub fn revocations_told(&mut self, lent: &mut Lent<'_>, signed: SignedRevocations) {
        let Some((signer, version)) = signed.claim() else { return };
        let is_known = self.revocations.held.get(&signer).is_some_and(|held| held.list.version > version);
        if is_known || self.revocations.verifying >= VERIFYING_MAX {
            return;
        }
        if self.revocations.held.get(&signer).is_some_and(|held| held.signed == signed) {
            return;
        }
        self.revocations.verifying += 1;
        lent.out.push(Output::VerifyRevocations(Box::new(signed)));
    }

    /// There is a verdict on a list that was told.
    pub fn revocations_judged(&mut self) {
        self.revocations.verifying = self.revocations.verifying.saturating_sub(1);
    }

    /// A list proved genuine: one that was told, one from disk, or one that a user here hands in. Gives those who are
    /// revoked by it and were not before.
    pub fn revoke(&mut self, lent: &mut Lent<'_>, verified: VerifiedRevocations) -> Vec<PeerId> {
        let digest = verified.signed.digest();
        let news = self.revocations.news(&verified, digest);
        if news == News::Old {
            return Vec::new();
        }
        if news == News::Forked {
            lent.out.notify(Event::RevocationsForked { version: verified.list.version });
        }
        let before = self.revocations.peers.clone();
        let signed = verified.signed.clone();
        self.revocations.adopt(verified, digest);
        self.services_changed();
        let revoked: Vec<PeerId> = self.revocations.peers.difference(&before).copied().collect();
        lent.out.push(Output::KeepRevocations);
        let told = some_of(lent.rng, self.others_alive(&revoked), TOLD_OF_LIST);
        for to in revoked.iter().copied().filter(|peer| self.is_connected(*peer)).chain(told) {
            lent.out.send(to, Message::Revocations(Box::new(signed.clone())));
        }
        if sabotage::is(Bug::IgnoreRevocation) {
            return Vec::new();
        }
        revoked.iter().for_each(|peer| self.expel(lent, *peer));
        revoked
    }

    /// A neighbour says what it holds: who holds something else is told, and tells.
    pub(super) fn compare_revocations(&mut self, lent: &mut Lent<'_>, from: PeerId, theirs: u64) {
        let now = lent.now;
        if theirs == self.revocations.head || self.revocations.held.is_empty() {
            return;
        }
        self.revocations.told.retain(|_, at| now.since(*at) < TOLD_AGAIN_AFTER);
        if self.revocations.told.insert(from, now).is_none() {
            for list in self.revocations.lists() {
                lent.out.send(from, Message::Revocations(Box::new(list.clone())));
            }
        }
    }

    /// Forgets a peer, but that it is revoked.
    fn expel(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        if peer == self.me.peer {
            lent.out.notify(Event::PeerRevoked { peer, name: self.me.name.clone() });
            return;
        }
        if self.is_connected(peer) {
            self.beats.forget(peer);
            self.hang_up(lent.now, peer);
            lent.out.push(Output::Disconnect { peer, reason: "it has been revoked".into() });
        }
        self.stop_watching(peer);
        self.prospects.forget(peer);
        let Some(known) = self.known.remove(&peer) else { return };
        self.fits.take();
        self.changes.push((peer, PeerState::Left));
        lent.out.notify(Event::PeerRevoked { peer, name: known.member.name });
    }
}
