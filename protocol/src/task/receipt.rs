//! What an executor signs of a run whose answer is to be checked: who gave which answer to what.
//!
//! A receipt binds the executor to its answer: it cannot say later that it said something else, and nobody can say it in
//! its place. It proves nothing of the answer itself; that is what running it again is for (`verification.rs`).
//!
//! **Invariant:** the bytes are those of CBOR with the fields in the order below, signed as one kind of document.

use serde::{Deserialize, Serialize};

use super::report::{Ending, RunReport};
use super::spec::{Payload, TaskSpec};
use crate::certificate::{CertificateError, SecretKey, Signed};
use crate::id::{BlobId, PeerId};
use crate::message::TaskRef;

const RECEIPT: &str = "task receipt";

/// What was run, on what, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The task and the epoch.
    #[serde(rename = "t")]
    pub attempt: TaskRef,
    /// The build that was run.
    #[serde(rename = "m")]
    pub module: BlobId,
    /// What it read, by [`input_hash`].
    #[serde(rename = "i")]
    pub input: BlobId,
    /// What came of it, by [`answer_hash`].
    #[serde(rename = "o")]
    pub answer: BlobId,
    /// Work on a reference core, in microseconds, as the executor reckons it.
    #[serde(rename = "w")]
    pub work_us: u64,
}

/// A [`Receipt`] and the signature of its executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SignedReceipt(Signed);

impl Receipt {
    /// Signs it with the node key.
    pub fn sign(&self, node_key: &SecretKey) -> SignedReceipt {
        SignedReceipt(Signed::new(RECEIPT, self, node_key))
    }
}

impl SignedReceipt {
    /// What this executor signed.
    pub fn verify(&self, executor: PeerId) -> Result<Receipt, CertificateError> {
        self.0.open(RECEIPT, &executor.0)
    }
}

/// The hash over arguments and inputs. A blob is named by its own hash, and counts as the bytes that it names.
pub fn input_hash(spec: &TaskSpec) -> BlobId {
    let mut hasher = blake3::Hasher::new_derive_key("shoal task input v1");
    for arg in &spec.args {
        hasher.update(&(arg.len() as u64).to_le_bytes()).update(arg.as_bytes());
    }
    for input in &spec.inputs {
        hasher.update(&id_of(input).0);
    }
    BlobId(*hasher.finalize().as_bytes())
}

/// The hash over how a run ended and what it wrote. What a machine adds of its own, like the words for a trap, is left out.
pub fn answer_hash(report: &RunReport) -> BlobId {
    let mut hasher = blake3::Hasher::new_derive_key("shoal task answer v1");
    let (kind, number) = match &report.ending {
        Ending::Exited(code) => (0, *code),
        Ending::Trapped(_) => (1, 0),
        Ending::LimitHit(limit) => (2, *limit as u32),
        Ending::Invalid(_) => (3, 0),
        Ending::HostFailed(_) => (4, 0),
    };
    hasher.update(&[kind]).update(&number.to_le_bytes()).update(&id_of(&report.output).0);
    BlobId(*hasher.finalize().as_bytes())
}

fn id_of(payload: &Payload) -> BlobId {
    match payload {
        Payload::Inline(bytes) => BlobId::of(bytes),
        Payload::Blob(blob) => blob.id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TaskId;
    use crate::task::spec::BlobRef;

    fn key(n: u8) -> SecretKey {
        SecretKey::from_bytes(&[n; 32])
    }

    fn receipt() -> Receipt {
        Receipt {
            attempt: TaskRef { task: TaskId([1; 16]), epoch: 2 },
            module: BlobId([3; 32]),
            input: BlobId([4; 32]),
            answer: BlobId([5; 32]),
            work_us: 6,
        }
    }

    #[test]
    fn only_its_executor_can_have_signed_it() {
        let signed = receipt().sign(&key(1));

        assert_eq!(signed.verify(key(1).peer()), Ok(receipt()));
        assert!(signed.verify(key(2).peer()).is_err());
    }

    #[test]
    fn an_answer_is_the_same_inline_and_as_a_blob_and_another_with_another_exit() {
        let inline = RunReport { output: Payload::inline(b"42".to_vec()), ..RunReport::without_run(Ending::Exited(0)) };
        let blob = BlobRef { id: BlobId::of(b"42"), bytes: 2, holder: PeerId([9; 32]) };
        let as_blob = RunReport { output: Payload::Blob(blob), ..inline.clone() };
        let other = RunReport { ending: Ending::Exited(1), ..inline.clone() };

        assert_eq!(answer_hash(&inline), answer_hash(&as_blob));
        assert_ne!(answer_hash(&inline), answer_hash(&other));
    }

    #[test]
    fn inputs_are_told_apart_by_arguments_and_bytes() {
        let spec = TaskSpec::of_module(BlobId([0; 32]), 0);
        let with = |args: &[&str], input: &[u8]| {
            let args = args.iter().map(|arg| (*arg).to_owned()).collect();
            input_hash(&TaskSpec { args, inputs: vec![Payload::inline(input.to_vec())], ..spec.clone() })
        };

        assert_eq!(with(&["a", "b"], b"x"), with(&["a", "b"], b"x"));
        assert_ne!(with(&["a", "b"], b"x"), with(&["ab"], b"x"));
        assert_ne!(with(&["a"], b"x"), with(&["a"], b"y"));
    }
}
