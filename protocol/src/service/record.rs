//! A service as it is written and deployed: its versions, which of them is called, and which is on its way in.
//!
//! **Invariant:** a [`ServiceRecord`] that is used has been checked by [`ServiceRecord::check`], whoever wrote it.
//! **Not here:** signatures, which are in `signed.rs`.

use serde::{Deserialize, Serialize};

use super::name::ServiceName;
use super::rollout::Rollout;
use crate::id::{BlobId, MeshId, PeerId};
use crate::residency::Labels;
use crate::task::spec::{About, Limits, Patience, Payload, Policy, SpecError, TaskSpec, Variant};

/// Versions that are kept, so that there is one to go back to.
pub const VERSIONS_MAX: usize = 8;
/// A record as it travels, with its signatures.
pub const RECORD_BYTES_MAX: usize = 8 * 1024;
/// What is said of a version, in bytes.
pub const NOTE_BYTES_MAX: usize = 256;
/// Generations count up by one each time; no service gets there.
pub const GENERATION_MAX: u64 = 1 << 40;

/// All that is in force of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// The mesh it is for.
    #[serde(rename = "m")]
    pub mesh: MeshId,
    /// What it is called.
    #[serde(rename = "n")]
    pub name: ServiceName,
    /// Counts what was said of this service, from 1: a later record replaces an earlier one.
    #[serde(rename = "g")]
    pub generation: u64,
    /// When it was signed, in seconds since 1970.
    #[serde(rename = "d")]
    pub issued_unix_s: u64,
    /// The versions that are kept, the oldest first; none of a service that was removed.
    #[serde(rename = "v", default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<ServiceVersion>,
    /// The number of the version that is called.
    #[serde(rename = "c", default, skip_serializing_if = "is_zero")]
    pub current: u32,
    /// The version that gets a share of the calls, and which.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

/// One version: a module, and the bounds and places of its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceVersion {
    /// Counts the versions of a service, from 1; never used again.
    #[serde(rename = "n")]
    pub number: u32,
    /// The module.
    #[serde(rename = "m")]
    pub module: BlobId,
    /// Its size.
    #[serde(rename = "b")]
    pub module_bytes: u64,
    /// Arguments of each run.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Bounds of each run.
    #[serde(rename = "l", default)]
    pub limits: Limits,
    /// Where it may run.
    #[serde(rename = "p", default, skip_serializing_if = "is_unconstrained")]
    pub policy: Policy,
    /// What business rules know its calls by.
    #[serde(rename = "k", default, skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// What is said of the data that it is called with.
    #[serde(rename = "lb", default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// When it was deployed, in seconds since 1970.
    #[serde(rename = "d")]
    pub deployed_unix_s: u64,
    /// For people.
    #[serde(rename = "t", default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_unconstrained(policy: &Policy) -> bool {
    *policy == Policy::default()
}

/// Why a record cannot be meant as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// Nothing is earlier than the first, or later than the last.
    #[error("service `{name}`: a generation is from 1 to {GENERATION_MAX}, this one is {generation}")]
    Generation {
        /// Which service.
        name: ServiceName,
        /// What it says.
        generation: u64,
    },
    /// More versions than are kept, or not in order.
    #[error("service `{name}`: there are 1 to {VERSIONS_MAX} versions, each with a greater number than the one before")]
    Versions {
        /// Which service.
        name: ServiceName,
    },
    /// A version is called that is not there.
    #[error("service `{name}` has no version {number}")]
    NoVersion {
        /// Which service.
        name: ServiceName,
        /// Which version is meant.
        number: u32,
    },
    /// The version that comes in is the one that is there, or its share is none.
    #[error("service `{name}`: {why}")]
    Rollout {
        /// Which service.
        name: ServiceName,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A version that no peer could run.
    #[error("service `{name}`, version {number}: {why}")]
    Version {
        /// Which service.
        name: ServiceName,
        /// Which version.
        number: u32,
        /// What is wrong with it.
        why: SpecError,
    },
}

impl ServiceError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Version { why, .. } => why.hint(),
            Self::NoVersion { .. } => "see its versions with `shoal service show NAME`",
            Self::Generation { .. } | Self::Versions { .. } => "deploy it anew: `shoal service deploy NAME MODULE`",
            Self::Rollout { .. } => "give a share from 0.1% to 100%, or a time up to 30 days",
        }
    }
}

impl ServiceRecord {
    /// Whether the service is there no more.
    pub fn is_removed(&self) -> bool {
        self.versions.is_empty()
    }

    /// One of its versions.
    pub fn version(&self, number: u32) -> Option<&ServiceVersion> {
        self.versions.iter().find(|version| version.number == number)
    }

    /// The version that this call gets at this date: the same for the same `draw`, and, as the share grows, once the new one
    /// always the new one.
    pub fn choose(&self, unix_s: u64, draw: u64) -> u32 {
        match &self.rollout {
            Some(rollout) if rollout.takes(unix_s, draw) => rollout.to,
            Some(_) | None => self.current,
        }
    }

    /// Versions that calls may get now: the one that is there, and the one that comes in.
    pub fn called(&self) -> impl Iterator<Item = &ServiceVersion> {
        let to = self.rollout.as_ref().map(|rollout| rollout.to);
        self.versions.iter().filter(move |version| version.number == self.current || Some(version.number) == to)
    }

    /// Refuses what cannot be meant; the one gate for records of users and of other peers alike.
    pub fn check(&self) -> Result<(), ServiceError> {
        let name = || self.name.clone();
        if !(1..=GENERATION_MAX).contains(&self.generation) {
            return Err(ServiceError::Generation { name: name(), generation: self.generation });
        }
        if self.is_removed() {
            let says_nothing = self.current == 0 && self.rollout.is_none();
            return if says_nothing { Ok(()) } else { Err(ServiceError::Versions { name: name() }) };
        }
        let numbers = || self.versions.iter().map(|version| version.number);
        let is_ascending = numbers().zip(numbers().skip(1)).all(|(before, after)| before < after);
        if self.versions.len() > VERSIONS_MAX || !is_ascending || numbers().any(|number| number == 0) {
            return Err(ServiceError::Versions { name: name() });
        }
        let to = self.rollout.as_ref().map(|rollout| rollout.to);
        for number in [Some(self.current), to].into_iter().flatten() {
            if self.version(number).is_none() {
                return Err(ServiceError::NoVersion { name: name(), number });
            }
        }
        if let Some(rollout) = &self.rollout {
            if rollout.to == self.current {
                let why = "the version that comes in is the one that is called";
                return Err(ServiceError::Rollout { name: name(), why });
            }
            rollout.check().map_err(|why| ServiceError::Rollout { name: name(), why })?;
        }
        self.versions.iter().try_for_each(|version| {
            version.check().map_err(|why| ServiceError::Version { name: name(), number: version.number, why })
        })
    }
}

impl ServiceVersion {
    /// The task that one call of it is.
    pub fn task(&self, name: &ServiceName, inputs: Vec<Payload>, user: Option<PeerId>) -> TaskSpec {
        let variant = Variant { name: String::new(), module: self.module, module_bytes: self.module_bytes, loss: 0.0 };
        TaskSpec {
            variants: vec![variant],
            args: self.args.clone(),
            inputs,
            limits: self.limits,
            policy: self.policy.clone(),
            patience: Patience::Bursts,
            labels: self.labels.clone(),
            about: Box::new(About {
                class: self.class.clone(),
                user: user.map(|user| user.to_string()).unwrap_or_default(),
                task: name.to_string(),
                pipeline: String::new(),
            }),
            ..TaskSpec::of_module(self.module, self.module_bytes)
        }
    }

    fn check(&self) -> Result<(), SpecError> {
        if self.note.len() > NOTE_BYTES_MAX {
            let (size, limit) = (self.note.len() as u64, NOTE_BYTES_MAX as u64);
            return Err(SpecError::TooLarge { what: "note", size, limit });
        }
        let bytes = self.class.len().max(1) as u64;
        if bytes > crate::config::NAME_BYTES_MAX as u64 {
            let limit = crate::config::NAME_BYTES_MAX as u64;
            return Err(SpecError::TooLarge { what: "class", size: bytes, limit });
        }
        let spec = TaskSpec {
            args: self.args.clone(),
            limits: self.limits,
            policy: self.policy.clone(),
            ..TaskSpec::of_module(self.module, self.module_bytes)
        };
        spec.check()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{record, removed, version};
    use super::*;
    use crate::service::rollout::Growth;

    fn says(change: impl FnOnce(&mut ServiceRecord)) -> Result<(), String> {
        let mut record = record("ocr", 3);
        record.versions = vec![version(1), version(2)];
        record.current = 1;
        change(&mut record);
        record.check().map_err(|error| error.to_string())
    }

    fn to(number: u32, growth: Growth) -> Option<Rollout> {
        Some(Rollout { to: number, growth })
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert_eq!(says(|_| ()), Ok(()));
        assert_eq!(says(|it| it.rollout = to(2, Growth::Fixed { permille: 100 })), Ok(()));
        assert!(says(|it| it.generation = 0).is_err() && says(|it| it.generation = GENERATION_MAX + 1).is_err());
        assert!(says(|it| it.versions.reverse()).is_err(), "not in order");
        assert!(says(|it| it.versions = (1..=9).map(version).collect()).is_err(), "too many");
        assert_eq!(says(|it| it.current = 7), Err("service `ocr` has no version 7".into()));
        assert!(says(|it| it.rollout = to(7, Growth::Fixed { permille: 1 })).is_err());
        assert!(says(|it| it.rollout = to(1, Growth::Fixed { permille: 1 })).is_err(), "it is there already");
        assert!(says(|it| it.rollout = to(2, Growth::Fixed { permille: 1_001 })).is_err());
        assert!(says(|it| it.versions[0].note = "x".repeat(257)).is_err());
        assert!(says(|it| it.versions[0].module_bytes = u64::MAX).is_err());
        assert_eq!(removed("ocr", 4).check(), Ok(()));
        assert!(says(|it| it.versions.clear()).is_err(), "a version is called that is not there");
    }

    #[test]
    fn a_call_is_a_task_that_knows_whose_it_is() {
        let name: ServiceName = "ocr".parse().unwrap();
        let version = ServiceVersion { class: "letters".into(), args: vec!["-v".into()], ..version(1) };

        let spec = version.task(&name, vec![Payload::inline(vec![1])], None);

        assert_eq!((spec.about.task.as_str(), spec.about.class.as_str()), ("ocr", "letters"));
        assert_eq!((spec.variants[0].module, spec.args.len(), spec.input_bytes()), (version.module, 1, 1));
        assert_eq!(spec.check(), Ok(()));
    }
}
