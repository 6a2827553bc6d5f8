//! Services in the local API.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /v1/services` | | [`super::Listing`] of [`ServiceView`] |
//! | `GET /v1/services/{name}?removed=true` | | [`ServiceView`]; with `removed`, also of one that is there no more |
//! | `POST /v1/services` | [`ServiceRequest`] | [`ServiceView`], once the record is on disk and in force here, and at the neighbours that take it within a second: a first version, a new one, a share, a way back, or the end of the service |
//! | `POST /v1/services/{name}/call?key=K&peer=P&deadline_ms=N` | the input's bytes | the output's bytes, with the headers below |
//!
//! Calls with the same `key` get the same version, as long as its share does not shrink; with `peer` a call runs there or nowhere.
//! A call may have an `Idempotency-Key`. Its answer says in [`VERSION_HEADER`] which version ran, in [`PEER_HEADER`] where, in
//! [`RUN_HEADER`] for how many microseconds, and in [`TASK_HEADER`] as which task.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::certificate::CertificateError;
use crate::id::{BlobId, PeerId};
use crate::service::{ALL_PERMILLE, Growth, Held, Rollout, ServiceName, SignedService};

/// Which version of the service answered.
pub const VERSION_HEADER: &str = "shoal-version";
/// The name of the peer that ran it.
pub const PEER_HEADER: &str = "shoal-peer";
/// Microseconds that the module ran.
pub const RUN_HEADER: &str = "shoal-run-us";
/// The task that the call was.
pub const TASK_HEADER: &str = "shoal-task";

/// A service, as one peer sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// [`super::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// What it is called.
    pub name: ServiceName,
    /// Which record is in force here.
    pub generation: u64,
    /// The version that is called.
    pub current: u32,
    /// The version that comes in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutView>,
    /// The versions that are kept, the oldest first; none of one that was removed.
    pub versions: Vec<VersionView>,
    /// Where instances are kept ready, as far as this peer has heard.
    #[serde(default)]
    pub warm: Vec<WarmView>,
    /// Whose key has signed the record.
    pub signer: PeerId,
    /// When, in seconds since 1970.
    pub issued_unix_s: u64,
    /// The record, as [`SignedService::to_bytes`] in base64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub signed: String,
    /// Who has heard of it; said of what was handed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}

/// How far what a peer holds of services has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// Its neighbours.
    pub neighbours: usize,
    /// Those of them that have said that they hold the same.
    pub holding: usize,
}

impl Spread {
    /// Whether all neighbours hold it.
    pub fn is_complete(&self) -> bool {
        self.holding >= self.neighbours
    }
}

/// A version on its way in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutView {
    /// Its number.
    pub to: u32,
    /// The share of the calls that it gets now by the record, 0 to 1; a peer where it fails gives it none.
    pub share: f64,
    /// From when on its share grows, in seconds since 1970; absent where it stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_unix_s: Option<u64>,
    /// For how many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_s: Option<u64>,
}

impl RolloutView {
    /// A roll-out that gives so many of a thousand calls.
    pub(crate) fn of(rollout: &Rollout, permille: u16) -> Self {
        let (from_unix_s, over_s) = match rollout.growth {
            Growth::Fixed { .. } => (None, None),
            Growth::Linear { from_unix_s, over_s } => (Some(from_unix_s), Some(over_s)),
        };
        Self { to: rollout.to, share: f64::from(permille) / f64::from(ALL_PERMILLE), from_unix_s, over_s }
    }
}

/// One version, and how its calls from this peer went since the record is in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionView {
    /// Its number.
    pub number: u32,
    /// Its module.
    pub module: BlobId,
    /// The size of that.
    pub module_bytes: u64,
    /// Linear memory of a run, in bytes.
    pub memory_bytes: u64,
    /// Wall time of a run, in milliseconds.
    pub wall_ms: u64,
    /// What business rules know its calls by.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// When it was deployed, in seconds since 1970.
    pub deployed_unix_s: u64,
    /// The share of the calls from here that it gets now, 0 to 1.
    pub share: f64,
    /// It failed too many calls from here, and gets no more of them until something else is deployed.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub held_back: bool,
    /// Calls from here that ended.
    pub calls: u64,
    /// Of those, which the module failed.
    pub failures: u64,
    /// How long the latest took, in milliseconds: median.
    pub p50_ms: Option<f64>,
    /// The same: 99th percentile.
    pub p99_ms: Option<f64>,
}

/// Where a version is ready to be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmView {
    /// Which peer.
    pub peer: PeerId,
    /// Its name.
    pub name: String,
    /// Which version.
    pub version: u32,
    /// How many instances.
    pub instances: u16,
}

impl ServiceView {
    /// What its record says of a service, without its versions and where it is ready.
    pub(crate) fn of(held: &Held) -> Self {
        let record = &held.record;
        Self {
            schema: schema(),
            name: record.name.clone(),
            generation: record.generation,
            current: record.current,
            rollout: None,
            versions: Vec::new(),
            warm: Vec::new(),
            signer: held.signer,
            issued_unix_s: record.issued_unix_s,
            signed: STANDARD.encode(held.signed.to_bytes()),
            spread: None,
        }
    }

    /// Whether it is there no more.
    pub fn is_removed(&self) -> bool {
        self.versions.is_empty()
    }

    /// The record that is in force.
    pub fn read(&self) -> Result<SignedService, CertificateError> {
        read(&self.signed)
    }
}

/// `POST /v1/services`: a signed record to be put in force and passed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRequest {
    /// As in [`ServiceView::signed`].
    pub signed: String,
}

impl ServiceRequest {
    /// The request that hands in a record.
    pub fn of(signed: &SignedService) -> Self {
        Self { signed: STANDARD.encode(signed.to_bytes()) }
    }

    /// What is handed in.
    pub fn read(&self) -> Result<SignedService, CertificateError> {
        read(&self.signed)
    }
}

fn read(signed: &str) -> Result<SignedService, CertificateError> {
    let unreadable = |why: String| CertificateError::Unreadable { what: "service", why };
    let bytes = STANDARD.decode(signed).map_err(|error| unreadable(error.to_string()))?;
    SignedService::from_bytes(&bytes)
}
