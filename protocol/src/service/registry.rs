//! The services of a mesh, as far as one peer knows them.
//!
//! Of each service the latest record is held, also of one that was removed: who was away must hear that. Registries are
//! merged record by record, so in whatever order and however often they come, all end with the same.
//!
//! **Invariant:** an earlier record never replaces a later one; at most [`SERVICES_MAX`] services and [`REMOVED_MAX`] removed
//! ones are held.
//! **Not here:** how records travel. That is `membership/services.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::name::ServiceName;
use super::record::{ServiceRecord, ServiceVersion};
use super::signed::{Head, SignedService, VerifiedService};
use crate::id::{BlobId, PeerId};

/// Services of one mesh.
pub const SERVICES_MAX: usize = 256;
/// Removed services that are remembered, so that they stay removed. The one that was removed first is forgotten first.
pub const REMOVED_MAX: usize = 256;
/// Records named in one message.
pub const INDEX_MAX: usize = SERVICES_MAX + REMOVED_MAX;

/// One service as it is held.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// What it says.
    pub record: ServiceRecord,
    /// Whose key has signed it.
    pub signer: PeerId,
    /// Which issuer vouches for that.
    pub issuer: PeerId,
    /// As it travels.
    pub signed: SignedService,
    /// Which of two records holds.
    pub head: Head,
}

/// What is held of one service, for who holds another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// Which service.
    #[serde(rename = "n")]
    pub name: ServiceName,
    /// Which record.
    #[serde(rename = "h")]
    pub head: Head,
}

/// The latest record of each service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Registry {
    held: BTreeMap<ServiceName, Held>,
}

impl Registry {
    /// What is held of a service, though it may have been removed.
    pub fn held(&self, name: &ServiceName) -> Option<&Held> {
        self.held.get(name)
    }

    /// A service that is there.
    pub fn service(&self, name: &ServiceName) -> Option<&Held> {
        self.held(name).filter(|held| !held.record.is_removed())
    }

    /// Those that are there, by name.
    pub fn services(&self) -> impl Iterator<Item = &Held> {
        self.held.values().filter(|held| !held.record.is_removed())
    }

    /// Everything that is held, those that were removed included.
    pub fn all(&self) -> impl Iterator<Item = &Held> {
        self.held.values()
    }

    /// Whether nothing was ever deployed.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Every version of every service that has this module.
    pub fn versions_of(&self, module: BlobId) -> impl Iterator<Item = (&ServiceName, &ServiceVersion)> {
        self.services().flat_map(move |held| {
            let versions = held.record.versions.iter().filter(move |version| version.module == module);
            versions.map(|version| (&held.record.name, version))
        })
    }

    /// Whether there is room for a record: a service that is new to a registry that is full has none.
    pub fn has_room_for(&self, record: &ServiceRecord) -> bool {
        record.is_removed() || self.service(&record.name).is_some() || self.services().count() < SERVICES_MAX
    }

    /// Takes a record in, if it replaces what is held; `is_trusted` says of the signers that they still are. What was signed
    /// by who is trusted no more gives way to any other record.
    pub fn take(&mut self, verified: VerifiedService, is_trusted: impl Fn(&Held) -> bool) -> bool {
        if !self.replaces(&verified, is_trusted) {
            return false;
        }
        self.put(verified);
        true
    }

    /// Takes in a record that replaces what is held.
    pub(crate) fn put(&mut self, verified: VerifiedService) {
        let head = verified.head();
        let VerifiedService { signer, issuer, record, signed } = verified;
        self.held.insert(record.name.clone(), Held { record, signer, issuer, signed, head });
        self.forget_removed();
    }

    /// Whether a record would replace what is held.
    pub fn replaces(&self, verified: &VerifiedService, is_trusted: impl Fn(&Held) -> bool) -> bool {
        let held = self.held(&verified.record.name);
        let head = held.filter(|held| is_trusted(held)).map_or(0, |held| held.head);
        verified.head() > head && self.has_room_for(&verified.record)
    }

    fn forget_removed(&mut self) {
        let removed = || self.held.values().filter(|held| held.record.is_removed());
        if removed().count() <= REMOVED_MAX {
            return;
        }
        let first = removed().min_by_key(|held| (held.record.issued_unix_s, &held.record.name));
        if let Some(name) = first.map(|held| held.record.name.clone()) {
            self.held.remove(&name);
        }
    }
}

/// What two peers that hold the same records have in common, as one number; 0 is none.
pub fn digest<'a>(held: impl Iterator<Item = &'a Held>) -> u64 {
    let mut hasher = blake3::Hasher::new();
    let mut is_empty = true;
    for held in held {
        is_empty = false;
        hasher.update(held.record.name.as_str().as_bytes()).update(b"\0").update(&held.head.to_be_bytes());
    }
    if is_empty {
        return 0;
    }
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    // One in 2⁶⁴ registries would be none.
    u64::from_be_bytes(first).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{record, removed, verified};
    use super::*;

    fn merged(records: &[VerifiedService]) -> Registry {
        let mut registry = Registry::default();
        for record in records {
            registry.take(record.clone(), |_| true);
        }
        registry
    }

    fn any_record() -> impl Strategy<Value = VerifiedService> {
        (0..4u8, 1..5u64, any::<bool>(), 0..3u64).prop_map(|(name, generation, is_removed, issued)| {
            let name = format!("s{name}");
            let mut made = if is_removed { removed(&name, generation) } else { record(&name, generation) };
            made.issued_unix_s += issued;
            verified(&made)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn registries_that_heard_the_same_are_the_same_in_whatever_order_and_however_often(
            records in prop::collection::vec(any_record(), 0..12), seed: u64,
        ) {
            let mut shuffled = records.clone();
            let mut rng = <crate::rng::Rng as rand::SeedableRng>::seed_from_u64(seed);
            let count = shuffled.len();
            shuffled = crate::rng::some_of(&mut rng, shuffled, count);
            shuffled.extend(records.iter().take(3).cloned());

            let (one, other) = (merged(&records), merged(&shuffled));

            prop_assert_eq!(&one, &other);
            prop_assert_eq!(digest(one.all()), digest(other.all()));
        }
    }

    #[test]
    fn a_later_record_replaces_an_earlier_one_and_a_removed_service_stays_so() {
        let mut registry = merged(&[verified(&record("ocr", 2))]);
        let name = "ocr".parse().unwrap();

        assert!(!registry.take(verified(&record("ocr", 1)), |_| true));
        assert!(registry.service(&name).is_some());
        assert!(registry.take(verified(&removed("ocr", 3)), |_| true));
        assert!(!registry.take(verified(&record("ocr", 2)), |_| true));

        assert!(registry.service(&name).is_none() && registry.held(&name).is_some());
        assert!(registry.take(verified(&record("ocr", 4)), |_| true), "it may come again");
    }

    #[test]
    fn what_was_signed_by_who_is_trusted_no_more_gives_way_to_any_other() {
        let mut registry = merged(&[verified(&record("ocr", 1 << 39))]);

        assert!(!registry.take(verified(&record("ocr", 1)), |_| true));
        assert!(registry.take(verified(&record("ocr", 1)), |_| false));
    }

    #[test]
    fn there_is_an_end_to_services_and_to_the_memory_of_removed_ones() {
        let mut registry = Registry::default();
        for n in 0..SERVICES_MAX {
            assert!(registry.take(verified(&record(&format!("s{n}"), 1)), |_| true));
        }
        assert!(!registry.take(verified(&record("one-more", 1)), |_| true));
        assert!(registry.take(verified(&record("s7", 2)), |_| true), "what is there is replaced");

        for n in 0..=REMOVED_MAX {
            let made = ServiceRecord { issued_unix_s: 1_000 + n as u64, ..removed(&format!("r{n}"), 1) };
            registry.take(verified(&made), |_| true);
        }

        assert_eq!(registry.all().count(), INDEX_MAX);
        assert!(registry.held(&"r0".parse().unwrap()).is_none(), "it was removed first");
    }

    #[test]
    fn nothing_held_is_said_by_nothing() {
        assert_eq!(digest(Registry::default().all()), 0);
        assert_ne!(digest(merged(&[verified(&record("ocr", 1))]).all()), 0);
    }
}
