//! Which services there are, and how news of them travels.
//!
//! ```text
//! record ─► verified, on disk ─► later than what is held? ─► in force ─► a few neighbours are pinged: "I hold these"
//! ping, pong: "what I hold" ─► not what we hold? ─► Index: what we hold of each ─► Here: what of it is older, or missing
//! ```
//!
//! As with business rules, whoever lacks something asks for it: a version before this one says nothing of services, and is
//! sent nothing about them.
//!
//! **Invariant:** an earlier record never replaces a later one; a record is on disk before it is in force.
//! **Not here:** signatures and disks, which are the driver's; what a record says, which is `service/`.

use core::time::Duration;
use std::collections::BTreeMap;

use super::{Lent, Membership};
use crate::api::services::Spread;
use crate::config::FRAME_BYTES_MAX;
use crate::id::PeerId;
use crate::message::{Message, ServicesWord};
use crate::output::{Event, Output};
use crate::rng::some_of;
use crate::service::{
    Held, INDEX_MAX, IndexEntry, RECORD_BYTES_MAX, Registry, ServiceName, SignedService, VerifiedService, digest,
};
use crate::time::Time;

/// Neighbours that hear of a new record at once, as of a revocation.
const TOLD_OF_SERVICES: usize = 16;
/// Messages with records that are being verified, each for a few milliseconds at most.
const VERIFYING_MAX: usize = 4;
/// Neighbours asked within [`ASKED_AGAIN_AFTER`]: an answer is as long as a frame.
const ASKED_MAX: usize = 3;
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Records of one message: it is a frame of the control stream.
const HERE_BYTES_MAX: usize = FRAME_BYTES_MAX - RECORD_BYTES_MAX;

/// What this peer knows of services.
#[derive(Debug, Default)]
pub struct Services {
    registry: Registry,
    /// Of what is passed on, as one number; made anew when something changes.
    head: u64,
    /// Grows with every change.
    version: u64,
    verifying: usize,
    /// Who was asked, and when.
    asked: BTreeMap<PeerId, Time>,
    /// Neighbours, as long as they are connected, that have said that they hold something else, and what, until they are
    /// asked.
    others: BTreeMap<PeerId, u64>,
    /// Neighbours, as long as they are connected, that read what is said of services, and what they said last that they hold.
    readers: BTreeMap<PeerId, u64>,
}

impl Services {
    /// The records that are in force.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Grows whenever a record enters into force.
    pub fn version(&self) -> u64 {
        self.version
    }
}

impl Membership {
    /// What is known of services.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Neighbours that read what is said of services: those that hold some themselves.
    pub fn readers_of_services(&self) -> Vec<PeerId> {
        self.services.readers.keys().copied().collect()
    }

    /// How far what is in force here has come.
    pub fn spread_of_services(&self) -> Spread {
        let holds = |peer: &PeerId| self.services.readers.get(peer) == Some(&self.services.head);
        let neighbours = self.others_alive(&[]);
        let holding = neighbours.iter().filter(|peer| holds(peer)).count();
        Spread { neighbours: neighbours.len(), holding }
    }

    /// Whether a record would replace the one in force.
    pub fn replaces_service(&self, verified: &VerifiedService) -> bool {
        !self.revocations.issuers().contains(&verified.issuer)
            && !self.is_revoked(verified.signer)
            && self.services.registry.replaces(verified, |held| self.trusts_service(held))
    }

    fn trusts_service(&self, held: &Held) -> bool {
        !self.revocations.issuers().contains(&held.issuer) && !self.is_revoked(held.signer)
    }

    /// Of every record whose signer is still trusted, which it is. What was signed by others stays in force until any other
    /// comes, and is passed on no more.
    fn services_to_tell(&self) -> impl Iterator<Item = &Held> {
        self.services.registry.all().filter(|held| self.trusts_service(held))
    }

    /// What is said of services in pings; 0 is none.
    pub(super) fn services_head(&self) -> u64 {
        self.services.head
    }

    /// Records entered into force, or signers are trusted no more.
    pub(super) fn services_changed(&mut self) {
        self.services.head = digest(self.services_to_tell());
        self.services.version += 1;
    }

    /// A connection is over, or new: the next may be to another version of the software than the one before.
    pub(super) fn services_unread(&mut self, peer: PeerId) {
        self.services.readers.remove(&peer);
        self.services.others.remove(&peer);
    }

    /// A neighbour says what it holds: where that is not what we hold, it is asked for what we lack.
    pub(super) fn compare_services(&mut self, lent: &mut Lent<'_>, from: PeerId, theirs: u64) {
        if theirs == 0 {
            return;
        }
        self.services.readers.insert(from, theirs);
        self.services.others.insert(from, theirs);
        self.ask_who_holds_others(lent);
    }

    /// Asks neighbours that were said to hold something else, as many as may be asked now; the others are asked in time. Each
    /// word of a neighbour is asked after once: what both will always see differently costs no more than that.
    pub(super) fn ask_who_holds_others(&mut self, lent: &mut Lent<'_>) {
        if self.services.others.is_empty() {
            return;
        }
        let (now, head) = (lent.now, self.services.head);
        let Services { asked, others, .. } = &mut self.services;
        asked.retain(|_, at| now.since(*at) < ASKED_AGAIN_AFTER);
        others.retain(|_, theirs| *theirs != head);
        let room = ASKED_MAX.saturating_sub(asked.len());
        let next: Vec<PeerId> = others.keys().filter(|peer| !asked.contains_key(peer)).take(room).copied().collect();
        for peer in next {
            self.services.others.remove(&peer);
            if self.is_connected(peer) {
                self.services.asked.insert(peer, now);
                self.ask_for_services(lent, peer);
            }
        }
    }

    fn ask_for_services(&self, lent: &mut Lent<'_>, from: PeerId) {
        let entry = |held: &Held| IndexEntry { name: held.record.name.clone(), head: held.head };
        let index = self.services_to_tell().map(entry).collect();
        lent.out.send(from, Message::Services(Box::new(ServicesWord::Index(index))));
    }

    /// A neighbour says what it holds, or sends what we lack. What is kept ready where is for the peer to hear.
    pub fn services_word(&mut self, lent: &mut Lent<'_>, from: PeerId, word: ServicesWord) {
        match word {
            ServicesWord::Index(index) => {
                let here = self.lacking(&index);
                if !here.is_empty() {
                    lent.out.send(from, Message::Services(Box::new(ServicesWord::Here(here))));
                }
            }
            ServicesWord::Here(signed) => {
                let is_news =
                    |signed: &SignedService| signed.claim().is_some_and(|(name, head)| head > self.head_of(&name));
                let news: Vec<SignedService> = signed.into_iter().take(INDEX_MAX).filter(is_news).collect();
                if !news.is_empty() && self.services.verifying < VERIFYING_MAX {
                    self.services.verifying += 1;
                    lent.out.push(Output::VerifyServices { from, signed: news });
                }
            }
            ServicesWord::Warm(_) => {}
        }
    }

    /// The head of what is passed on of a service; 0 where nothing is.
    fn head_of(&self, name: &ServiceName) -> u64 {
        let held = self.services.registry.held(name).filter(|held| self.trusts_service(held));
        held.map_or(0, |held| held.head)
    }

    /// What a neighbour lacks that holds these, as far as it fits a frame; the rest is there when it asks again.
    fn lacking(&self, index: &[IndexEntry]) -> Vec<SignedService> {
        let theirs: BTreeMap<&ServiceName, u64> =
            index.iter().take(INDEX_MAX).map(|entry| (&entry.name, entry.head)).collect();
        let mut bytes = 0;
        self.services_to_tell()
            .filter(|held| held.head > theirs.get(&held.record.name).copied().unwrap_or_default())
            .map(|held| held.signed.clone())
            .take_while(|signed| {
                bytes += signed.to_bytes().len();
                bytes <= HERE_BYTES_MAX
            })
            .collect()
    }

    /// There is a verdict on records that were sent.
    pub fn services_judged(&mut self) {
        self.services.verifying = self.services.verifying.saturating_sub(1);
    }

    /// Records proved genuine and are on disk; whether any of them is in force now.
    pub fn deploy_services(&mut self, lent: &mut Lent<'_>, verified: Vec<VerifiedService>) -> bool {
        let mut is_changed = false;
        for verified in verified {
            if !self.replaces_service(&verified) {
                continue;
            }
            let (name, generation) = (verified.record.name.clone(), verified.record.generation);
            let is_removed = verified.record.is_removed();
            self.services.registry.put(verified);
            is_changed = true;
            lent.out.notify(Event::ServiceDeployed { name: name.to_string(), generation, removed: is_removed });
        }
        if !is_changed {
            return false;
        }
        self.services.asked.clear();
        self.services_changed();
        for peer in some_of(lent.rng, self.others_alive(&[]), TOLD_OF_SERVICES) {
            self.ping_now(lent, peer);
        }
        true
    }
}
