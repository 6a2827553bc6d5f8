//! Outputs that are known: a stage that says it is deterministic is not run where somebody remembers what it wrote.
//!
//! ```text
//! ready ─► known here? ─► Recall to the keepers of the key ─► the first that knows ─► done, not run
//!                                                         └─► nobody, or too late ─► run ─► Remember to the keepers
//! ```
//!
//! The keepers of a key are the few peers of a view whose hash with the key is greatest (Thaler and Ravishankar, *Using
//! Name-Based Mappings to Increase Hit Rates*, 1998): who asks and who tells find the same ones without talk, as far as their
//! views are the same.
//!
//! What a keeper says is believed as an executor is. A stage whose answers are compared (`verify`) is never recalled.
//!
//! **Invariant:** bounded by [`ENTRIES_MAX`] and [`ENTRY_BYTES_MAX`]; what was not used for longest goes first.

use core::time::Duration;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::run::Done;
use crate::id::{BlobId, PeerId};
use crate::residency::Labels;
use crate::task::spec::{Payload, TaskSpec};
use crate::time::duration_us;

/// Outputs remembered at one peer.
pub const ENTRIES_MAX: usize = 4_096;
/// One of them carried along; larger ones are remembered as blobs only. All together at most 16 MiB.
pub const ENTRY_BYTES_MAX: u64 = 4 * 1024;
/// Keepers of one output: one may be gone, and another may not have heard of it.
const KEEPERS: usize = 3;
/// Keepers have this long to answer; one that is far or busy is not worth more than a short run.
pub(crate) const PATIENCE: Duration = Duration::from_millis(200);

/// What makes two tasks the same: module, arguments, limits and input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemoKey(#[serde(with = "serde_bytes")] pub [u8; 32]);

/// What came of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// What it wrote.
    #[serde(rename = "o")]
    pub output: Payload,
    /// Who ran it.
    #[serde(rename = "p")]
    pub executor: PeerId,
    /// How long.
    #[serde(rename = "r", with = "duration_us")]
    pub run: Duration,
    /// What is said of what it read, and so of its output.
    #[serde(rename = "lb", default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// What peers say to each other about known outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoWord {
    /// Do you know what this writes?
    #[serde(rename = "r")]
    Recall(MemoKey),
    /// The answer.
    #[serde(rename = "k")]
    Recalled(MemoKey, Option<Known>),
    /// This is what it writes.
    #[serde(rename = "m")]
    Remember(MemoKey, Known),
}

impl MemoWord {
    /// Whether our software can have said it.
    pub(crate) fn is_sane(&self) -> bool {
        match self {
            Self::Recall(_) | Self::Recalled(_, None) => true,
            Self::Recalled(_, Some(known)) | Self::Remember(_, known) => known.is_small(),
        }
    }
}

impl Known {
    /// Of a task that ended well, if it is small enough to be remembered.
    pub(super) fn of(done: &Done) -> Option<Self> {
        let output = done.output.clone()?;
        let run = Duration::from_micros(done.run_us);
        let known = Self { output, executor: done.executor, run, labels: done.labels.clone() };
        (done.exit_code == 0 && known.is_small()).then_some(known)
    }

    /// Who holds its output, unless it is here.
    pub(super) fn holder(&self) -> Option<PeerId> {
        match &self.output {
            Payload::Inline(_) => None,
            Payload::Blob(blob) => Some(blob.holder),
        }
    }

    pub(super) fn done(self) -> Done {
        Done {
            exit_code: 0,
            output_bytes: self.output.bytes(),
            output: Some(self.output),
            executor: self.executor,
            labels: self.labels,
            run_us: crate::time::micros(self.run),
            remembered: true,
            recorded: false,
            held_as: None,
        }
    }

    /// Whether others could have its output later: what the home keeps for a pipeline is let go with that.
    pub(super) fn lasts(&self, me: PeerId) -> bool {
        match &self.output {
            Payload::Inline(_) => true,
            Payload::Blob(blob) => blob.holder == me,
        }
    }

    fn is_small(&self) -> bool {
        match &self.output {
            Payload::Inline(bytes) => bytes.len() as u64 <= ENTRY_BYTES_MAX,
            Payload::Blob(_) => true,
        }
    }
}

impl MemoKey {
    /// The key of a task; nothing for one that may not be remembered.
    pub(crate) fn of(spec: &TaskSpec) -> Option<Self> {
        let [variant] = spec.variants.as_slice() else { return None };
        if !spec.verify.is_never() {
            return None;
        }
        let mut hasher = blake3::Hasher::new_derive_key("shoal memo v1");
        hasher.update(&variant.module.0);
        hasher.update(&spec.limits.memory_bytes.to_le_bytes());
        hasher.update(&spec.limits.output_bytes.to_le_bytes());
        hasher.update(&(spec.args.len() as u64).to_le_bytes());
        for arg in &spec.args {
            hasher.update(&(arg.len() as u64).to_le_bytes());
            hasher.update(arg.as_bytes());
        }
        for input in &spec.inputs {
            let content = match input {
                Payload::Inline(bytes) => BlobId::of(bytes),
                Payload::Blob(blob) => blob.id,
            };
            hasher.update(&content.0);
        }
        Some(Self(*hasher.finalize().as_bytes()))
    }

    /// Who keeps it, of these peers.
    pub(crate) fn keepers(self, peers: impl Iterator<Item = PeerId>) -> Vec<PeerId> {
        let weight = |peer: &PeerId| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&self.0);
            hasher.update(&peer.0);
            let mut first = [0; 8];
            hasher.finalize_xof().fill(&mut first);
            u64::from_be_bytes(first)
        };
        let mut weighed: Vec<(u64, PeerId)> = peers.map(|peer| (weight(&peer), peer)).collect();
        weighed.sort_unstable_by(|a, b| b.cmp(a));
        weighed.into_iter().take(KEEPERS).map(|(_, peer)| peer).collect()
    }
}

/// What this peer remembers.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    entries: BTreeMap<MemoKey, (u64, Known)>,
    by_use: BTreeMap<u64, MemoKey>,
    uses: u64,
}

impl Memo {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn remember(&mut self, key: MemoKey, known: Known) {
        if !known.is_small() {
            return;
        }
        self.uses += 1;
        if let Some((used, _)) = self.entries.insert(key, (self.uses, known)) {
            self.by_use.remove(&used);
        }
        self.by_use.insert(self.uses, key);
        if self.entries.len() > ENTRIES_MAX
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.entries.remove(&oldest);
        }
    }

    pub(crate) fn recall(&mut self, key: MemoKey) -> Option<Known> {
        let (used, known) = self.entries.get_mut(&key)?;
        self.uses += 1;
        self.by_use.remove(used);
        self.by_use.insert(self.uses, key);
        *used = self.uses;
        Some(known.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(bytes: usize) -> Known {
        let (output, executor) = (Payload::inline(vec![1; bytes]), PeerId([2; 32]));
        Known { output, executor, run: Duration::ZERO, labels: Labels::default() }
    }

    #[test]
    fn what_was_not_used_for_longest_is_forgotten_first_and_large_outputs_are_not_kept() {
        let mut memo = Memo::default();
        let key = |n: u64| MemoKey(*blake3::hash(&n.to_le_bytes()).as_bytes());
        (0..ENTRIES_MAX as u64).for_each(|n| memo.remember(key(n), known(1)));
        assert!(memo.recall(key(0)).is_some());

        memo.remember(key(9_999), known(1));
        memo.remember(key(8_888), known(ENTRY_BYTES_MAX as usize + 1));

        assert_eq!((memo.len(), memo.by_use.len()), (ENTRIES_MAX, ENTRIES_MAX));
        assert!(memo.recall(key(0)).is_some() && memo.recall(key(1)).is_none() && memo.recall(key(8_888)).is_none());
    }

    #[test]
    fn the_key_follows_from_module_arguments_and_input_and_nothing_else() {
        let spec = |args: &[&str], input: &str| TaskSpec {
            args: args.iter().map(ToString::to_string).collect(),
            inputs: vec![Payload::inline(input.as_bytes().to_vec())],
            ..TaskSpec::of_module(BlobId([3; 32]), 10)
        };
        let key = |spec: TaskSpec| MemoKey::of(&spec).expect("it may be remembered");
        let same = TaskSpec { deadline: Some(Duration::from_secs(1)), ..spec(&["a"], "x") };
        assert_eq!(key(spec(&["a"], "x")), key(same));
        assert_ne!(key(spec(&["a"], "x")), key(spec(&["a"], "y")));
        assert_ne!(key(spec(&["a", "b"], "x")), key(spec(&["ab"], "x")));
        let compared = TaskSpec { verify: "auto".parse().expect("a way to verify"), ..spec(&[], "") };
        assert_eq!(MemoKey::of(&compared), None);
    }

    #[test]
    fn all_who_see_the_same_peers_name_the_same_keepers() {
        let peers: Vec<PeerId> = (0..40).map(|n| PeerId([n; 32])).collect();
        let key = MemoKey([5; 32]);
        let keepers = key.keepers(peers.iter().copied());
        assert_eq!((keepers.len(), key.keepers(peers.iter().rev().copied())), (KEEPERS, keepers));
    }
}
