//! The policy filter: hard constraints, which are never a cost.
//!
//! **Invariant:** labels and roles are read from signed certificates only.
//! **Not here:** `cloud = fallback`, which depends on how the others rank and is decided in `ranking.rs`; business rules,
//! which are `rules/`.

use core::fmt;

use crate::certificate::{Member, Role};
use crate::message::LoadDigest;
use crate::residency::{Denial, Labels, Receiver, may_receive};
use crate::sabotage::{self, Bug};
use crate::task::spec::{CloudUse, TaskSpec};

/// Why a peer may not run a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exclusion {
    /// The task stays where it was submitted.
    LocalOnly,
    /// Another peer was named.
    NotTheNamedPeer,
    /// It has the wrong role.
    Role(Role),
    /// Its certificate lacks a label, or has another value.
    Label {
        /// The label asked for.
        key: String,
        /// The value asked for.
        value: String,
    },
    /// `cloud = never`.
    CloudNever,
    /// It may not have what the task reads.
    Residency(Denial),
    /// What it would write may not come home.
    OutputStays(Denial),
    /// It could not give the memory even when idle.
    Memory {
        /// What the task may claim, in bytes.
        wanted_bytes: u64,
        /// What it gives to tasks, in bytes.
        total_bytes: u64,
    },
    /// It has not said anything of its load yet.
    LoadUnknown,
    /// It failed this task already.
    AlreadyTried,
    /// It broke its word again and again.
    WordBroken,
    /// Every build loses more than the task allows.
    LossTooGreat,
    /// `cloud = fallback`, and the edge can take it.
    EdgeHasRoom,
    /// It breaks a business rule.
    Rule {
        /// Which.
        name: String,
        /// Where that stands in the file that was deployed.
        line: u32,
        /// Of which set it is.
        version: u64,
        /// How.
        why: String,
    },
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalOnly => f.write_str("the task is local-only"),
            Self::NotTheNamedPeer => f.write_str("another peer was named"),
            Self::Role(role) => write!(f, "only {role} peers may run it"),
            Self::Label { key, value } => write!(f, "label {key}={value} missing in its certificate"),
            Self::CloudNever => f.write_str("--no-cloud is set"),
            Self::Residency(denial) => denial.fmt(f),
            Self::OutputStays(denial) => write!(f, "its output could not come home: {denial}"),
            Self::Memory { wanted_bytes, total_bytes } => {
                write!(f, "the task needs {} MiB, it gives {}", wanted_bytes >> 20, total_bytes >> 20)
            }
            Self::LoadUnknown => f.write_str("its load is not known yet"),
            Self::AlreadyTried => f.write_str("it failed or declined this task before"),
            Self::WordBroken => {
                f.write_str("it did not do what it said of itself, several times; it is tried again later")
            }
            Self::LossTooGreat => f.write_str("every build loses more than the task allows"),
            Self::EdgeHasRoom => f.write_str("cloud=fallback and the edge has room"),
            Self::Rule { name, line, version, why } => {
                write!(f, "rule `{name}` (line {line}, version {version}): {why}")
            }
        }
    }
}

/// What exclusions of peers that have not told their load are counted as.
pub(crate) const LOAD_UNKNOWN_KIND: &str = "load unknown";
/// What exclusions by labels of data are counted as.
pub(crate) const RESIDENCY_KIND: &str = "label of the data";

impl Exclusion {
    /// A short name to count reasons by.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LocalOnly => "local-only",
            Self::NotTheNamedPeer => "not the named peer",
            Self::Role(_) => "other role",
            Self::Label { .. } => "missing label",
            Self::CloudNever => "no-cloud",
            Self::Residency(_) | Self::OutputStays(_) => RESIDENCY_KIND,
            Self::Memory { .. } => "too little memory",
            Self::LoadUnknown => LOAD_UNKNOWN_KIND,
            Self::AlreadyTried => "tried before",
            Self::WordBroken => "broke its word",
            Self::LossTooGreat => "loss too great",
            Self::EdgeHasRoom => "edge has room",
            Self::Rule { .. } => "a rule of the policy",
        }
    }
}

/// Why what a task writes elsewhere could not come home, where it is to.
pub fn output_stays(spec: &TaskSpec, home: &Member) -> Option<Denial> {
    if spec.labels.is_empty() || spec.output.lease().is_some() {
        return None;
    }
    may_receive(&Labels::of_output(&spec.labels), Receiver::of(home, true)).err()
}

/// Whether `member` may run a task at all, from what its certificate and its digest say.
pub fn check(spec: &TaskSpec, member: &Member, is_home: bool, load: Option<&LoadDigest>) -> Result<(), Exclusion> {
    let policy = &spec.policy;
    if policy.local_only && !is_home {
        return Err(Exclusion::LocalOnly);
    }
    if policy.peer.is_some_and(|peer| peer != member.peer) {
        return Err(Exclusion::NotTheNamedPeer);
    }
    if let Some(role) = policy.role.filter(|role| *role != member.role) {
        return Err(Exclusion::Role(role));
    }
    if let Some((key, value)) = policy.labels.iter().find(|(key, value)| member.labels.get(*key) != Some(*value)) {
        return Err(Exclusion::Label { key: key.clone(), value: value.clone() });
    }
    if policy.cloud == CloudUse::Never && member.role == Role::Cloud && !sabotage::is(Bug::IgnorePolicy) {
        return Err(Exclusion::CloudNever);
    }
    // Where everything is already nothing moves.
    if !(is_home && spec.reads_only_at(member.peer)) {
        // Who has not said yet whether it knows labels is left out below, for that and not for the labels.
        let understands = is_home || load.is_none_or(|load| load.understands_labels);
        may_receive(&spec.labels, Receiver::of(member, understands)).map_err(Exclusion::Residency)?;
    }
    let Some(load) = load else { return Err(Exclusion::LoadUnknown) };
    if load.memory_bytes < spec.limits.memory_bytes {
        return Err(Exclusion::Memory { wanted_bytes: spec.limits.memory_bytes, total_bytes: load.memory_bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::id::{BlobId, PeerId};
    use crate::placement::test_load;

    fn member(role: Role) -> Member {
        let labels = BTreeMap::from([("site".to_owned(), "a".to_owned())]);
        Member { peer: PeerId([1; 32]), name: "cam".into(), role, labels }
    }

    #[track_caller]
    fn assert_verdict(change: impl FnOnce(&mut TaskSpec), role: Role, expected: Result<(), Exclusion>) {
        let mut spec = TaskSpec::of_module(BlobId([0; 32]), 1);
        change(&mut spec);
        assert_eq!(check(&spec, &member(role), false, Some(&test_load())), expected);
    }

    #[test]
    fn every_hard_constraint_excludes() {
        assert_verdict(|_| (), Role::Edge, Ok(()));
        assert_verdict(|spec| spec.policy.local_only = true, Role::Edge, Err(Exclusion::LocalOnly));
        let other = Some(PeerId([2; 32]));
        assert_verdict(|spec| spec.policy.peer = other, Role::Edge, Err(Exclusion::NotTheNamedPeer));
        assert_verdict(|spec| spec.policy.role = Some(Role::Cloud), Role::Edge, Err(Exclusion::Role(Role::Cloud)));
        assert_verdict(|spec| spec.policy.cloud = CloudUse::Never, Role::Cloud, Err(Exclusion::CloudNever));
        assert_verdict(|spec| spec.policy.cloud = CloudUse::Never, Role::Edge, Ok(()));
        let label = |value: &str| BTreeMap::from([("site".to_owned(), value.to_owned())]);
        assert_verdict(|spec| spec.policy.labels = label("a"), Role::Edge, Ok(()));
        let missing = Exclusion::Label { key: "site".into(), value: "b".into() };
        assert_verdict(|spec| spec.policy.labels = label("b"), Role::Edge, Err(missing));
        let total_bytes = test_load().memory_bytes;
        let wanted_bytes = total_bytes + 1;
        let memory = Exclusion::Memory { wanted_bytes, total_bytes };
        assert_verdict(|spec| spec.limits.memory_bytes = wanted_bytes, Role::Edge, Err(memory));
    }

    #[test]
    fn a_peer_that_never_told_its_load_is_not_asked() {
        let spec = TaskSpec::of_module(BlobId([0; 32]), 1);
        assert_eq!(check(&spec, &member(Role::Edge), false, None), Err(Exclusion::LoadUnknown));
    }
}
