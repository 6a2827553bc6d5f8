//! What may still be acted on when something of a store is missing, and what a store cannot speak to.
//!
//! Whoever forgets a vote can vote twice, and a task has two ends. So an acceptor of Paxos must not go on with less than it had
//! on disk (Lamport, *Paxos Made Simple*, 2001, §2.3: "stable storage"). What is missing of a damaged store is not known, and an
//! older record in the place of a lost one is a good record: its checksum fits.
//!
//! **Invariant:** nobody promises or votes about a task of which its store may have held more than it holds. A task that had
//! ended, as far as the record goes, has that end: there is no other.

use core::time::Duration;
use std::collections::BTreeMap;

use super::Durable;
use super::record::{self, CouncilRecord, Kind};
use crate::id::TaskId;
use crate::store;
use crate::time::Time;

/// Marks what must not be acted on in what is left of a store, of which whatever was written before this date may be missing: from
/// now on it counts as new. Which tasks that concerns.
pub fn doubt(records: &mut BTreeMap<Vec<u8>, Vec<u8>>, unix_ms: u64) -> Vec<TaskId> {
    let (key, bytes) = record::store_record(unix_ms);
    records.insert(key, bytes);
    let mut doubted = Vec::new();
    for (key, bytes) in records.iter_mut() {
        let Some((Kind::Council, task)) = record::read_key(key) else { continue };
        let Ok(found) = store::decode::<CouncilRecord>(key, bytes) else { continue };
        // Another submission under the same key may have followed one that was refused.
        let is_settled = found.resolved && !found.accepted.as_ref().is_some_and(|vote| vote.resolution.is_refusal());
        if !is_settled {
            *bytes = store::encode(key, &CouncilRecord { doubted: true, ..found });
            doubted.push(task);
        }
    }
    doubted
}

impl Durable {
    /// Whether this store may have held a record of a council of this age and lost it.
    pub(super) fn may_have_forgotten(&self, age: Duration, now: Time) -> bool {
        age > self.journal.store_age(now)
    }
}

#[cfg(test)]
mod tests {
    use super::super::acceptor::{Acceptor, Vote};
    use super::super::{Council, Resolution};
    use super::*;
    use crate::id::PeerId;
    use crate::message::Contact;
    use crate::output::TaskError;
    use crate::task::TaskState;

    const OPEN: TaskId = TaskId([1; 16]);
    const ENDED: TaskId = TaskId([2; 16]);
    const REFUSED: TaskId = TaskId([3; 16]);

    fn council(task: TaskId, end: Option<TaskError>) -> (Vec<u8>, Vec<u8>) {
        let home = PeerId([1; 32]);
        let mut acceptor = Acceptor::new(home);
        let resolution = end.map(|error| Resolution { state: TaskState::Failed, result: Err(error) });
        acceptor.accepted = resolution.map(|resolution| Vote { ballot: acceptor.promised, resolution });
        let members = vec![Contact { peer: home, address: String::new() }];
        let found = CouncilRecord {
            council: Council { term: 1, members },
            promised: acceptor.promised,
            resolved: acceptor.accepted.is_some(),
            accepted: acceptor.accepted,
            refused_since: None,
            until_unix_ms: 9,
            lasts: None,
            doubted: false,
            lacks_copy: false,
        };
        let key = [b"c", task.0.as_slice()].concat();
        let bytes = store::encode(&key, &found);
        (key, bytes)
    }

    fn store_of_three() -> BTreeMap<Vec<u8>, Vec<u8>> {
        let refused = TaskError::NoGuardian { asked: 1, reasons: String::new() };
        [council(OPEN, None), council(ENDED, Some(TaskError::Cancelled)), council(REFUSED, Some(refused))].into()
    }

    #[test]
    fn only_what_has_ended_is_believed_of_a_store_that_lost_something() {
        let mut records = store_of_three();

        let doubted = doubt(&mut records, 5);

        assert_eq!(doubted, [OPEN, REFUSED]);
        assert_eq!(record::born_unix_ms(records.iter()), Some(Ok(5)));
    }
}
