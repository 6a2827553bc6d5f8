//! What is to be run, and where it may run.
//!
//! **Invariant:** a [`TaskSpec`] that exists has been checked by [`TaskSpec::check`]; inside the protocol it is trusted.
//! **Not here:** how a run ended (`report.rs`), and where a task is in its life. That is `requester/` at home and `executor/` where it runs.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::verification::Verify;
use crate::certificate::Role;
use crate::config;
use crate::id::{BlobId, PeerId};
use crate::residency::Labels;
use crate::time::{duration_us, optional_duration_us};

/// A task: a WASI preview-1 command module, what it reads, and the bounds it runs in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Builds of the same model or program, any of which answers; at least one.
    #[serde(rename = "v")]
    pub variants: Vec<Variant>,
    /// Command-line arguments after the program name.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Standard input: these payloads one after the other.
    #[serde(rename = "i", default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Payload>,
    /// Bounds of the run.
    #[serde(rename = "l", default)]
    pub limits: Limits,
    /// Where it may run; hard constraints, never costs.
    #[serde(rename = "p", default, skip_serializing_if = "Policy::is_default")]
    pub policy: Policy,
    /// The answer is worth less after this long from acceptance.
    #[serde(rename = "d", default, with = "optional_duration_us", skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// λ of the objective for this task; the mesh's own where absent.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub lambda: Option<f64>,
    /// Work on a reference core, as its user expects it; runs of the module show how far such words can be trusted.
    #[serde(rename = "e", default, with = "optional_duration_us", skip_serializing_if = "Option::is_none")]
    pub expected: Option<Duration>,
    /// Attempts after the first where an executor is lost, or fails it; as many as there may be where absent.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u8>,
    /// Which of those that wait at one peer it goes before.
    #[serde(rename = "y", default, skip_serializing_if = "Priority::is_normal")]
    pub priority: Priority,
    /// How long it may be expected to wait for a core.
    #[serde(rename = "q", default, skip_serializing_if = "Patience::is_endless")]
    pub patience: Patience,
    /// How its answer is made sure of.
    #[serde(rename = "f", default, skip_serializing_if = "Verify::is_never")]
    pub verify: Verify,
    /// What becomes of its output.
    #[serde(rename = "o", default, skip_serializing_if = "OutputUse::is_return")]
    pub output: OutputUse,
    /// What is said of the data it reads, all of it together, as far as its home knows: of whom it may be run by, and where
    /// what it writes may go. Not the labels that its executor must have: those are in the policy.
    #[serde(rename = "lb", default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// What it is about, for the business rules at home; an award leaves it out.
    #[serde(rename = "u", default, skip_serializing_if = "About::is_unsaid")]
    pub about: Box<About>,
}

/// What its user says of a task, by which business rules and the flow of data tell tasks apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// What kind of work it is.
    #[serde(rename = "c", skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// The key of who submitted it.
    #[serde(rename = "u", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// What it is called.
    #[serde(rename = "n", skip_serializing_if = "String::is_empty")]
    pub task: String,
    /// The pipeline it is a stage of.
    #[serde(rename = "p", skip_serializing_if = "String::is_empty")]
    pub pipeline: String,
}

impl About {
    fn is_unsaid(&self) -> bool {
        *self == Self::default()
    }

    fn longest_bytes(&self) -> usize {
        [&self.class, &self.user, &self.task, &self.pipeline].into_iter().map(String::len).max().unwrap_or_default()
    }
}

/// What becomes of a task's standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputUse {
    /// It is brought home.
    #[default]
    #[serde(rename = "r")]
    Return,
    /// It stays where it was made, as a blob whatever its size, for so long after the run: a task that reads it runs near it.
    /// It may be lost with that peer, also that of a durable task; what needs it then runs the task again.
    #[serde(rename = "k", with = "duration_us")]
    Keep(Duration),
}

impl OutputUse {
    fn is_return(&self) -> bool {
        *self == Self::Return
    }

    /// How long it is kept where it was made, if it is.
    pub fn lease(self) -> Option<Duration> {
        match self {
            Self::Return => None,
            Self::Keep(lease) => Some(lease),
        }
    }
}

/// Which tasks go before others where they wait; whoever has waited long goes before all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before all others.
    High,
    /// As most.
    #[default]
    Normal,
    /// When nobody else waits.
    Low,
}

impl Priority {
    fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

/// How long a task may be expected to wait for a core; one that would wait longer is refused, and its user comes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Patience {
    /// However long.
    #[default]
    #[serde(rename = "e")]
    Endless,
    /// However long in a burst, and half its run when the burst does not end (`requester/admission.rs`).
    #[serde(rename = "b")]
    Bursts,
    /// So long.
    #[serde(rename = "w", with = "duration_us")]
    Within(Duration),
}

impl Patience {
    fn is_endless(&self) -> bool {
        *self == Self::Endless
    }
}

/// One build of a task's module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// For people: `full`, `int8`.
    #[serde(rename = "n", default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The module.
    #[serde(rename = "m")]
    pub module: BlobId,
    /// Its size, which is what fetching it costs.
    #[serde(rename = "b")]
    pub module_bytes: u64,
    /// Declared loss of its answers, 0 (perfect) to 1.
    #[serde(rename = "l", default, skip_serializing_if = "is_perfect")]
    pub loss: f64,
}

fn is_perfect(loss: &f64) -> bool {
    *loss == 0.0
}

/// Bytes that a task reads or wrote: carried along when small, named by hash otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// The bytes themselves.
    #[serde(rename = "i", with = "byte_string")]
    Inline(Bytes),
    /// A blob to be fetched from a peer that holds it.
    #[serde(rename = "b")]
    Blob(BlobRef),
}

/// A blob, its size, and a peer that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    /// The hash of its content.
    #[serde(rename = "i")]
    pub id: BlobId,
    /// Its size, known before the first byte moves.
    #[serde(rename = "b")]
    pub bytes: u64,
    /// A peer that has it.
    #[serde(rename = "h")]
    pub holder: PeerId,
}

/// [`Bytes`] as the byte string that a `Vec<u8>` is: home, award and every later attempt share one copy.
mod byte_string {
    use bytes::Bytes;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        serde_bytes::deserialize::<Vec<u8>, D>(deserializer).map(Bytes::from)
    }
}

impl Payload {
    /// These bytes, carried along.
    pub fn inline(bytes: impl Into<Bytes>) -> Self {
        Self::Inline(bytes.into())
    }

    /// The blob, if it is one.
    pub fn blob(&self) -> Option<BlobRef> {
        match self {
            Self::Inline(_) => None,
            Self::Blob(blob) => Some(*blob),
        }
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Blob(blob) => blob.bytes,
        }
    }
}

/// Bounds of one run; the executing peer enforces them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Linear memory, in bytes.
    #[serde(rename = "m")]
    pub memory_bytes: u64,
    /// Wall time of the run itself.
    #[serde(rename = "w", with = "duration_us")]
    pub wall: Duration,
    /// Standard output, in bytes.
    #[serde(rename = "o")]
    pub output_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: config::MEMORY_BYTES_DEFAULT,
            wall: config::WALL_DEFAULT,
            output_bytes: config::OUTPUT_BYTES_DEFAULT,
        }
    }
}

/// How a task may use cloud peers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CloudUse {
    /// Only when no edge peer can start it in time (the default).
    #[default]
    Fallback,
    /// As any other peer: the cost decides.
    Allow,
    /// Not at all.
    Never,
}

impl CloudUse {
    fn is_fallback(&self) -> bool {
        *self == Self::Fallback
    }
}

/// Hard constraints on the executor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Labels that the executor's certificate must carry.
    #[serde(rename = "l", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The only role it may have.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Whether cloud peers are asked.
    #[serde(rename = "c", default, skip_serializing_if = "CloudUse::is_fallback")]
    pub cloud: CloudUse,
    /// Only the peer it was submitted at.
    #[serde(rename = "o", default, skip_serializing_if = "is_false")]
    pub local_only: bool,
    /// Only this peer.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerId>,
    /// No variant with a greater declared loss.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub loss_max: Option<Loss>,
    /// Only where tasks run behind the whole sandbox; a peer whose system lacks a part of it declines.
    #[serde(rename = "s", default, skip_serializing_if = "is_false")]
    pub restricted: bool,
}

impl Policy {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// A loss that compares by its bits, so that policies can be compared exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "f64", into = "f64")]
pub struct Loss(u64);

impl From<f64> for Loss {
    fn from(value: f64) -> Self {
        Self(value.to_bits())
    }
}

impl From<Loss> for f64 {
    fn from(value: Loss) -> Self {
        Self::from_bits(value.0)
    }
}

/// Accuracies are said with few decimals, and one less an accuracy is none of the numbers that are: so many of them count.
const ACCURACY_STEPS: f64 = 1e9;

impl Loss {
    /// What an answer of this accuracy, 0 to 1, loses.
    pub fn of_accuracy(accuracy: f64) -> Self {
        Self::from(((1.0 - accuracy) * ACCURACY_STEPS).round() / ACCURACY_STEPS)
    }

    /// 1 less the loss.
    pub fn accuracy(self) -> f64 {
        ((1.0 - f64::from(self)) * ACCURACY_STEPS).round() / ACCURACY_STEPS
    }
}

/// Why a task cannot be accepted as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No module at all, or too many builds of it.
    #[error("a task has 1 to {limit} module variants, this one has {count}")]
    Variants {
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A real number that is not finite, or outside its range.
    #[error("{what} must be {expected}")]
    Number {
        /// Which field.
        what: &'static str,
        /// Its range in words.
        expected: &'static str,
    },
    /// Every build loses more than the task allows.
    #[error(
        "no build is accurate enough: accuracy {} is asked for (a loss of at most {}), and the best has {} (a loss of {})",
        .allowed.accuracy(), f64::from(*.allowed), .least.accuracy(), f64::from(*.least)
    )]
    Inaccurate {
        /// The least declared loss there is.
        least: Loss,
        /// The greatest that is allowed.
        allowed: Loss,
    },
    /// Over a size limit.
    #[error("{what}: {size} is over the limit of {limit}")]
    TooLarge {
        /// Which field.
        what: &'static str,
        /// What was asked.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
}

impl SpecError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Variants { .. } => "name one module, or up to eight variants of it",
            Self::Number { .. } => "correct the number",
            Self::Inaccurate { .. } => "add a better build, or ask for less: `--min-accuracy`, `--loss-max`",
            Self::TooLarge { .. } => "store large inputs as blobs (`shoal blob put`) and lower the limits asked for",
        }
    }
}

impl TaskSpec {
    /// A task of one module with default limits and no constraints.
    pub fn of_module(module: BlobId, module_bytes: u64) -> Self {
        Self {
            variants: vec![Variant { name: String::new(), module, module_bytes, loss: 0.0 }],
            args: Vec::new(),
            inputs: Vec::new(),
            limits: Limits::default(),
            policy: Policy::default(),
            deadline: None,
            lambda: None,
            expected: None,
            retries: None,
            priority: Priority::default(),
            patience: Patience::default(),
            verify: Verify::default(),
            output: OutputUse::default(),
            labels: Labels::default(),
            about: Box::default(),
        }
    }

    /// Whether a peer has everything it reads, so that nothing moves when it is run there.
    pub fn reads_only_at(&self, peer: PeerId) -> bool {
        self.inputs.iter().all(|input| input.blob().is_none_or(|blob| blob.holder == peer))
    }

    /// Total size of standard input.
    pub fn input_bytes(&self) -> u64 {
        self.inputs.iter().map(Payload::bytes).fold(0, u64::saturating_add)
    }

    /// Of that, what is in memory.
    pub fn inline_bytes(&self) -> u64 {
        let inline = |input: &Payload| match input {
            Payload::Inline(bytes) => bytes.len() as u64,
            Payload::Blob(_) => 0,
        };
        self.inputs.iter().map(inline).fold(0, u64::saturating_add)
    }

    /// Refuses what no peer could run; the one gate for specs of users and of other peers alike.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.variants.is_empty() || self.variants.len() > config::VARIANTS_MAX {
            return Err(SpecError::Variants { count: self.variants.len(), limit: config::VARIANTS_MAX });
        }
        if !self.variants.iter().all(|variant| (0.0..=1.0).contains(&variant.loss)) {
            return Err(SpecError::Number { what: "the declared loss of a variant", expected: "from 0 to 1" });
        }
        if !self.lambda.is_none_or(|lambda| lambda.is_finite() && (0.0..=1e6).contains(&lambda)) {
            return Err(SpecError::Number { what: "lambda", expected: "from 0 to 1,000,000" });
        }
        if !self.verify.is_sound() {
            return Err(SpecError::Number {
                what: "how answers are verified",
                expected: "a share from 0 to 1, or k of at most 7",
            });
        }
        if !self.verify.is_never() && self.variants.len() > 1 {
            // Other builds may give other answers, all of them right.
            return Err(SpecError::Variants { count: self.variants.len(), limit: 1 });
        }
        if !self.policy.loss_max.is_none_or(|loss| (0.0..=1.0).contains(&f64::from(loss))) {
            return Err(SpecError::Number { what: "the greatest loss allowed", expected: "from 0 to 1" });
        }
        if let Some(allowed) = self.policy.loss_max {
            let least = self.variants.iter().map(|variant| variant.loss).fold(f64::INFINITY, f64::min);
            if least > f64::from(allowed) {
                return Err(SpecError::Inaccurate { least: least.into(), allowed });
            }
        }
        let argument_bytes = self.args.iter().map(|arg| arg.len() as u64 + 1).sum();
        let name_bytes = self.variants.iter().map(|variant| variant.name.len() as u64).max().unwrap_or(0);
        let label_bytes = self.policy.labels.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
        let module_bytes = self.variants.iter().map(|variant| variant.module_bytes).max().unwrap_or(0);
        for (what, size, limit) in [
            ("inline input", self.inline_bytes(), config::INLINE_BYTES_MAX),
            ("number of inputs", self.inputs.len() as u64, config::INPUTS_MAX),
            ("input", self.input_bytes(), config::INPUT_BYTES_MAX),
            ("arguments", argument_bytes, config::ARGUMENT_BYTES_MAX),
            ("variant name", name_bytes, config::NAME_BYTES_MAX as u64),
            ("class, user or name of a task", self.about.longest_bytes() as u64, config::NAME_BYTES_MAX as u64),
            ("labels asked for", label_bytes, config::ARGUMENT_BYTES_MAX),
            ("module", module_bytes, config::MODULE_BYTES_MAX),
            ("memory limit", self.limits.memory_bytes, config::MEMORY_BYTES_MAX),
            ("output limit", self.limits.output_bytes, config::OUTPUT_BYTES_MAX),
            ("wall-time limit in s", self.limits.wall.as_secs(), config::WALL_MAX.as_secs()),
            (
                "time its output is kept, in s",
                self.output.lease().unwrap_or_default().as_secs(),
                config::RETENTION_MAX.as_secs(),
            ),
        ] {
            if size > limit {
                return Err(SpecError::TooLarge { what, size, limit });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accuracy_is_one_less_a_loss_in_the_numbers_that_people_write() {
        for (accuracy, loss) in [(0.9667, 0.0333), (0.95, 0.05), (1.0, 0.0), (0.0, 1.0), (0.93, 0.07)] {
            assert_eq!(Loss::of_accuracy(accuracy), Loss::from(loss));
            assert_eq!(Loss::from(loss).accuracy(), accuracy);
        }
    }

    #[test]
    fn a_task_without_a_build_that_is_accurate_enough_is_refused_with_both_numbers() {
        let mut spec = TaskSpec::of_module(BlobId([1; 32]), 1);
        spec.variants[0].loss = 0.0667;
        spec.policy.loss_max = Some(Loss::of_accuracy(0.9333));
        assert_eq!(spec.check(), Ok(()), "just accurate enough");

        spec.policy.loss_max = Some(Loss::of_accuracy(0.95));

        let refused = spec.check().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "no build is accurate enough: accuracy 0.95 is asked for (a loss of at most 0.05), and the best has 0.9333 (a \
             loss of 0.0667)"
        );
        assert!(refused.hint().contains("--min-accuracy"));
    }
}
