//! The rules of one member, by themselves.

use proptest::prelude::*;

use crate::id::PeerId;
use crate::output::TaskError;
use crate::task::TaskState;
use crate::task::durable::acceptor::{Acceptor, bound_to};
use crate::task::durable::{Ballot, Resolution};

fn ballot(round: u32, owner: u8) -> Ballot {
    Ballot { round, owner: PeerId([owner; 32]) }
}

fn end(asked: usize) -> Resolution {
    let result = Err(TaskError::AllDeclined { asked, reasons: String::new() });
    Resolution { state: TaskState::Failed, result }
}

#[test]
fn a_member_accepts_nothing_below_its_promise() {
    let mut acceptor = Acceptor::new(PeerId([0; 32]));

    assert!(acceptor.promise(ballot(2, 1)));
    assert!(acceptor.promise(ballot(2, 1)), "the same once more");
    assert!(!acceptor.promise(ballot(1, 2)));
    assert!(!acceptor.accept(ballot(0, 0), end(0)));
    assert!(acceptor.accept(ballot(2, 1), end(1)));
    assert_eq!(acceptor.accepted.map(|vote| vote.resolution), Some(end(1)));
}

proptest! {
    /// Three members, three leaders, any order of bids and proposals that reach any of them: one end.
    #[test]
    fn whatever_arrives_in_whatever_order_one_end_is_decided(
        steps in proptest::collection::vec((0..3usize, 0..3usize, any::<bool>()), 1..200),
    ) {
        let mut members = vec![Acceptor::new(PeerId([0; 32])); 3];
        // Of each leader: its ballot, the promises it has, and what it proposes.
        let mut leaders = vec![(ballot(0, 0), vec![None; 3], Some(end(0)))];
        leaders.extend((1..3u8).map(|n| (ballot(u32::from(n), n), vec![None; 3], None)));
        let mut votes = std::collections::BTreeMap::<Ballot, std::collections::BTreeSet<usize>>::new();
        let mut decided: Vec<Resolution> = Vec::new();
        for (leader, member, bids) in steps {
            let (own, promises, proposal) = &mut leaders[leader];
            if bids {
                if proposal.is_none() && members[member].promise(*own) {
                    promises[member] = Some(members[member].accepted.clone());
                } else if proposal.is_none() {
                    // Refused: it bids again, higher.
                    *own = ballot(own.round + 3, own.owner.0[0]);
                    *promises = vec![None; 3];
                }
                let promised: Vec<_> = promises.iter().flatten().cloned().collect();
                if proposal.is_none() && promised.len() >= 2 {
                    *proposal = Some(bound_to(promised.iter()).unwrap_or_else(|| end(leader)));
                }
            } else if let Some(resolution) = proposal {
                if members[member].accept(*own, resolution.clone()) {
                    let voters = votes.entry(*own).or_default();
                    voters.insert(member);
                    if voters.len() >= 2 {
                        decided.push(resolution.clone());
                    }
                } else if leader > 0 {
                    (*own, *promises, *proposal) = (ballot(own.round + 3, own.owner.0[0]), vec![None; 3], None);
                }
            }
        }
        decided.dedup();
        prop_assert!(decided.len() <= 1, "{decided:?}");
    }
}
