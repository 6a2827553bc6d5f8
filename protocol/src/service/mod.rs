//! Services: functions with a name, called at any peer, in versions that come in gradually and can be taken back.
//!
//! ```text
//! shoal service deploy ─► SignedService ─ ping: "I hold other ones" ─► every peer: verified, on disk, in force
//! call of a name ─► version by the share at this date ─► an ordinary task ─► counted: a new version that fails is held back
//!                       └─► kept ready here, as many as the load needs; none when it is not called any more
//! ```
//!
//! | file | one question |
//! |---|---|
//! | `name.rs` | what may it be called? |
//! | `record.rs` | what is in force of it? |
//! | `rollout.rs` | which share of the calls does a new version get now? |
//! | `signed.rs` | who may say so, and which record is the later one? |
//! | `registry.rs` | which services are there? |
//! | `outcomes.rs` | how did its calls end, and is the new version to be called on? |
//! | `warmth.rs` | how many instances are kept ready? |
//! | `keepers.rs` | who holds its modules, so that they outlive who deployed it? |
//!
//! **Invariant:** pure; in a mesh without services nothing is asked here.
//! **Not here:** how records spread (`membership/services.rs`), where a call runs (`placement/`), and what of it all is ordered
//! (`peer/services/`).

mod keepers;
mod name;
mod outcomes;
mod record;
mod registry;
mod rollout;
mod signed;
mod warmth;

pub use self::keepers::{KEEPERS, KEPT_BYTES_MAX, is_keeper};
pub use self::name::{NameError, ServiceName};
pub use self::outcomes::{Outcomes, Tally};
pub use self::record::{
    GENERATION_MAX, NOTE_BYTES_MAX, RECORD_BYTES_MAX, ServiceError, ServiceRecord, ServiceVersion, VERSIONS_MAX,
};
pub use self::registry::{Held, INDEX_MAX, IndexEntry, REMOVED_MAX, Registry, SERVICES_MAX, digest};
pub use self::rollout::{ALL_PERMILLE, Growth, OVER_S_MAX, Rollout, draw};
pub use self::signed::{DEPLOY_LABEL, DeployError, Head, SignedService, VerifiedService, may_deploy};
pub use self::warmth::{WARM_MAX, Warmth};

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::certificate::{Issuer, SecretKey};
    use crate::id::BlobId;
    use crate::task::spec::{Limits, Policy};

    pub(crate) fn mesh_key() -> SecretKey {
        SecretKey::from_bytes(&[1; 32])
    }

    pub(crate) fn version(number: u32) -> ServiceVersion {
        ServiceVersion {
            number,
            module: BlobId([number as u8; 32]),
            module_bytes: 1_000,
            args: Vec::new(),
            limits: Limits::default(),
            policy: Policy::default(),
            class: String::new(),
            labels: Default::default(),
            deployed_unix_s: 1_800_000_000,
            note: String::new(),
        }
    }

    /// A service of one version.
    pub(crate) fn record(name: &str, generation: u64) -> ServiceRecord {
        ServiceRecord {
            mesh: mesh_key().mesh(),
            name: name.parse().unwrap(),
            generation,
            issued_unix_s: 1_800_000_000,
            versions: vec![version(1)],
            current: 1,
            rollout: None,
        }
    }

    /// One whose second version gets half of the calls.
    pub(crate) fn rolled_out(name: &str, generation: u64) -> ServiceRecord {
        let rollout = Some(Rollout { to: 2, growth: Growth::Fixed { permille: 500 } });
        ServiceRecord { versions: vec![version(1), version(2)], rollout, ..record(name, generation) }
    }

    pub(crate) fn removed(name: &str, generation: u64) -> ServiceRecord {
        ServiceRecord { versions: Vec::new(), current: 0, ..record(name, generation) }
    }

    pub(crate) fn verified(record: &ServiceRecord) -> VerifiedService {
        SignedService::by_issuer(record, &Issuer::of(&mesh_key())).verify(record.mesh).unwrap()
    }
}
