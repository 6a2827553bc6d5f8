//! What stands on disk: of each kept task three records, so that none is written again for the sake of another.
//!
//! | key | record | who | written |
//! |---|---|---|---|
//! | `t` · id | [`TaskRecord`] | home, guardian | when it is taken on; when an attempt failed |
//! | `i` · id | its input | home, guardian | when it is taken on; deleted at the end |
//! | `c` · id | [`CouncilRecord`] | every member | before each promise and vote leaves, and at the end |
//! | `s` | [`StoreRecord`] | every peer | at the first start, and by a repair |
//!
//! **Invariant:** dates stand here only, and are read as ages: a wrong clock shifts deadlines over a restart, nothing else.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::acceptor::{Ballot, Vote};
use super::resolution::Council;
use super::{Keeping, Kept, KeptTask};
use crate::id::TaskId;
use crate::sabotage::{self, Bug};
use crate::store::{self, Change, RecordError};
use crate::task::spec::{Payload, TaskSpec};
use crate::time::{DURATION_MAX, Time, micros, optional_duration_us};

const TASK: u8 = b't';
const INPUT: u8 = b'i';
const COUNCIL: u8 = b'c';
/// The key of [`StoreRecord`], whole.
const STORE: &[u8] = b"s";

/// What is known of the store itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct StoreRecord {
    /// What was promised and voted before this date may be missing.
    #[serde(rename = "b")]
    born_unix_ms: u64,
}

/// Key and bytes of the record that says since when a store has been whole.
pub(super) fn store_record(born_unix_ms: u64) -> (Vec<u8>, Vec<u8>) {
    (STORE.to_vec(), store::encode(STORE, &StoreRecord { born_unix_ms }))
}

/// Since when a store has been whole, if it says so.
pub(super) fn born_unix_ms<'a>(
    mut records: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>,
) -> Option<Result<u64, RecordError>> {
    let (key, bytes) = records.find(|(key, _)| is_of_the_store(key))?;
    Some(store::decode::<StoreRecord>(key, bytes).map(|record| record.born_unix_ms))
}

/// Whether a record is about the store, not about a task.
pub(super) fn is_of_the_store(key: &[u8]) -> bool {
    key == STORE
}

/// A task without its input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct TaskRecord {
    #[serde(rename = "n")]
    pub(super) name: String,
    /// Its inputs stand elsewhere.
    #[serde(rename = "s")]
    pub(super) spec: TaskSpec,
    #[serde(rename = "k")]
    pub(super) keeping: Keeping,
    #[serde(rename = "a")]
    pub(super) accepted_unix_ms: u64,
    #[serde(rename = "f", default)]
    pub(super) failures: u32,
}

/// What a member of the council of a task has promised and knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct CouncilRecord {
    #[serde(rename = "c")]
    pub(super) council: Council,
    #[serde(rename = "p")]
    pub(super) promised: Ballot,
    #[serde(rename = "v", default)]
    pub(super) accepted: Option<Vote>,
    /// The vote is known to be the decision.
    #[serde(rename = "r", default)]
    pub(super) resolved: bool,
    /// Earlier councils of the task, from the one of this term on, ended as refusals.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub(super) refused_since: Option<u64>,
    #[serde(rename = "u")]
    pub(super) until_unix_ms: u64,
    /// How far ahead that was when it was written: it is no further later, whatever the clock says.
    #[serde(rename = "l", default, with = "optional_duration_us", skip_serializing_if = "Option::is_none")]
    pub(super) lasts: Option<Duration>,
    /// The store may have held a later one, see [`super::loss`].
    #[serde(rename = "d", default, skip_serializing_if = "core::ops::Not::not")]
    pub(super) doubted: bool,
    /// There is no record of the task beside this one, though its member should have a copy.
    #[serde(rename = "h", default, skip_serializing_if = "core::ops::Not::not")]
    pub(super) lacks_copy: bool,
}

fn key(kind: u8, task: TaskId) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend(task.0);
    key
}

fn put<T: Serialize>(kind: u8, task: TaskId, value: &T) -> Change {
    let key = key(kind, task);
    let bytes = store::encode(&key, value);
    Change::Put { key, bytes }
}

/// What a key is about.
pub(super) fn read_key(key: &[u8]) -> Option<(Kind, TaskId)> {
    let (kind, id) = key.split_first()?;
    let kind = match *kind {
        TASK => Kind::Task,
        INPUT => Kind::Input,
        COUNCIL => Kind::Council,
        _ => return None,
    };
    Some((kind, TaskId(id.try_into().ok()?)))
}

/// The records of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Task,
    Input,
    Council,
}

/// The task itself, without its input.
pub(super) fn put_task(task: TaskId, kept: &KeptTask, accepted_unix_ms: u64) -> Change {
    let spec = TaskSpec { inputs: Vec::new(), ..kept.spec.clone() };
    let (name, keeping, failures) = (kept.name.clone(), kept.keeping, kept.failures);
    put(TASK, task, &TaskRecord { name, spec, keeping, accepted_unix_ms, failures })
}

/// Its input, if it has any.
pub(super) fn put_input(task: TaskId, inputs: &Vec<Payload>) -> Option<Change> {
    (!inputs.is_empty()).then(|| put(INPUT, task, inputs))
}

/// The input is not needed any more.
pub(super) fn delete_input(task: TaskId) -> Change {
    Change::Delete { key: key(INPUT, task) }
}

/// What this peer has promised and knows.
pub(super) fn put_council(task: TaskId, kept: &Kept, until_unix_ms: u64, lasts: Duration) -> Change {
    let mut record = CouncilRecord {
        council: kept.council.clone(),
        promised: kept.acceptor.promised,
        accepted: kept.acceptor.accepted.clone(),
        resolved: kept.resolved,
        refused_since: kept.refused_since,
        until_unix_ms,
        lasts: Some(lasts),
        doubted: false,
        lacks_copy: kept.lacks_copy,
    };
    if sabotage::is(Bug::ForgetVote) && !kept.resolved {
        record.accepted = None;
    }
    if sabotage::is(Bug::ForgetPromise)
        && let Some(owner) = kept.council.home()
    {
        record.promised = Ballot { round: 0, owner };
    }
    put(COUNCIL, task, &record)
}

/// Nothing of it is kept any more.
pub(super) fn delete_all(task: TaskId) -> Vec<Change> {
    [TASK, INPUT, COUNCIL].map(|kind| Change::Delete { key: key(kind, task) }).into()
}

/// How long ago a date was; nothing when it lies ahead.
pub(super) fn age(unix_ms_now: u64, unix_ms: u64) -> Duration {
    Duration::from_millis(unix_ms_now.saturating_sub(unix_ms))
}

/// The date at which something of this age began.
pub(super) fn date_of(unix_ms_now: u64, age: Duration) -> u64 {
    unix_ms_now.saturating_sub(micros(age) / 1_000)
}

/// The moment of this run that a date in the future is; now when it is past. A clock that was put back since the date was
/// written does not move it further away than it was then.
pub(super) fn moment(now: Time, unix_ms_now: u64, unix_ms: u64, lasts: Option<Duration>) -> Time {
    let ahead = Duration::from_millis(unix_ms.saturating_sub(unix_ms_now));
    now + ahead.min(lasts.unwrap_or(DURATION_MAX)).min(DURATION_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{BlobId, PeerId};
    use crate::message::Contact;
    use crate::task::durable::{Durability, Resolution};
    use crate::task::{TaskState, durable::Stage, durable::acceptor::Acceptor};

    const TASK_ID: TaskId = TaskId([5; 16]);

    fn bytes_of(change: &Change) -> (usize, String) {
        let Change::Put { key, bytes } = change else { panic!("it is to be put") };
        assert_eq!(read_key(key).map(|(_, task)| task), Some(TASK_ID));
        (bytes.len(), blake3::hash(bytes).to_hex().chars().take(8).collect())
    }

    /// Whoever changes these changes what another version finds on its disk: raise [`store::VERSION`] and read both, or add
    /// a field with a default instead.
    #[test]
    fn records_have_the_bytes_they_always_had() {
        let keeping = Keeping { durability: Durability::Guarded, retention: Duration::from_secs(60) };
        let spec = TaskSpec::of_module(BlobId([4; 32]), 5);
        let (accepted, aged) = (Time::ZERO, Duration::ZERO);
        let copy = KeptTask { name: "count".into(), spec, keeping, accepted, aged, failures: 2 };
        let member = |n: u8| Contact { peer: PeerId([n; 32]), address: "/ip4/127.0.0.1".into() };
        let council = Council { term: 1 << 32 | 7, members: vec![member(1), member(2), member(3)] };
        let mut acceptor = Acceptor::new(PeerId([1; 32]));
        let result = Err(crate::output::TaskError::Cancelled);
        acceptor.accept(acceptor.promised, Resolution { state: TaskState::Cancelled, result });
        let kept = Kept {
            council,
            seen: acceptor.promised,
            acceptor,
            resolved: true,
            until: Time::ZERO,
            retention: Duration::ZERO,
            copy: None,
            lacks_copy: false,
            bytes: 0,
            refused_since: None,
            stage: Stage::Idle,
            confirmed: true,
            since: Time::ZERO,
            aged: Duration::ZERO,
            repeats: 0,
        };

        let task = bytes_of(&put_task(TASK_ID, &copy, 1_000));
        let input = bytes_of(&put_input(TASK_ID, &vec![Payload::inline(vec![1, 2])]).expect("there is some"));
        let council = bytes_of(&put_council(TASK_ID, &kept, 2_000, Duration::from_secs(1)));

        let expected = [(133, "fc81e8f2"), (16, "f35c950e"), (323, "390d3be9")];
        assert_eq!([task, input, council], expected.map(|(bytes, hash)| (bytes, hash.to_owned())));
    }

    #[test]
    fn a_clock_that_was_put_back_keeps_nothing_longer() {
        let left = |unix_ms_now, lasts| moment(Time::ZERO, unix_ms_now, 10_000, lasts).since(Time::ZERO);
        let four = Some(Duration::from_secs(4));

        assert_eq!([7_000, 2_000, 11_000].map(|now| left(now, four).as_secs()), [3, 4, 0]);
        assert_eq!(left(2_000, None).as_secs(), 8, "a record of before that was noted");
    }
}
