//! Whatever members of councils say, in whatever order, and whatever the disk does: a peer does not panic, keeps its
//! promises, and says nothing that binds it before it is on disk.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::certificate::{Member, Role};
use crate::config::PeerConfig;
use crate::id::{BlobId, PeerId, TaskId};
use crate::input::Input;
use crate::message::{Contact, Message};
use crate::output::{Output, TaskError};
use crate::peer::Peer;
use crate::store::Ticket;
use crate::task::TaskState;
use crate::task::durable::{
    Ballot, Case, Council, Counsel, Durability, Guard, Guarded, Keeping, Prepare, Promised, Propose, Refused,
    Resolution, Resolved, Standing, Vote, Voted,
};
use crate::task::spec::TaskSpec;
use crate::time::Time;

const ME: u8 = 1;
/// Longer than any of this takes: what is promised is forgotten after its time.
const SPAN: Duration = Duration::from_secs(3_600);

fn id(n: u8) -> PeerId {
    PeerId([n; 32])
}

fn member(n: u8) -> Member {
    Member { peer: id(n), name: format!("peer-{n}"), role: Role::Edge, labels: BTreeMap::new() }
}

#[derive(Debug, Clone)]
enum Deed {
    Said(u8, Counsel),
    /// The oldest batch is on disk, or is not.
    Written(bool),
    Submitted(u8, bool),
    Cancelled(u8),
    Connected(u8),
    Disconnected(u8),
    Passed(u16),
}

fn counsel() -> impl Strategy<Value = Counsel> {
    let task = (0..3u8).prop_map(|n| TaskId([n; 16]));
    let ballot = (0..4u32, 1..4u8).prop_map(|(round, owner)| Ballot { round, owner: id(owner) });
    let end = (0..3usize).prop_map(|asked| {
        let result = Err(TaskError::AllDeclined { asked, reasons: String::new() });
        Resolution { state: TaskState::Failed, result }
    });
    (task, (0..3usize, 0..3u64), ballot, end, any::<bool>(), 0..13u8).prop_map(
        |(task, (turn, term), ballot, resolution, yes, kind)| {
            let mut members: Vec<Contact> = (1..4u8).map(|n| Contact { peer: id(n), address: String::new() }).collect();
            members.rotate_left(turn);
            let council = Council { term: (1 << 32) + term, members };
            let case = Case { task, term: council.term };
            let vote = Vote { ballot, resolution: resolution.clone() };
            match kind {
                0 | 1 => Counsel::Guard(Box::new(Guard {
                    task,
                    council,
                    name: String::new(),
                    spec: TaskSpec::of_module(BlobId([9; 32]), 1),
                    keeping: Keeping { durability: Durability::Guarded, retention: SPAN },
                    age: SPAN,
                })),
                2 => Counsel::Guarded(Guarded { case, refusal: yes.then(String::new) }),
                3 | 4 => Counsel::Prepare(Prepare {
                    task,
                    council,
                    ballot,
                    expires_in: SPAN,
                    leader_gave_up: yes,
                    age: SPAN,
                }),
                5 => Counsel::Promised(Box::new(Promised { case, ballot, accepted: yes.then_some(vote) })),
                6 | 7 => Counsel::Propose(Box::new(Propose { task, council, vote, expires_in: SPAN, age: SPAN })),
                8 => Counsel::Accepted(Voted { case, ballot }),
                9 => Counsel::Refused(Refused { case, promised: ballot, leader_is_here: yes }),
                10 => Counsel::Resolved(Box::new(Resolved { case, ballot, resolution: yes.then_some(resolution) })),
                11 => Counsel::Standing(Standing { case, ballot, holds: yes, leads: yes }),
                _ => {
                    if yes {
                        Counsel::Inquire(vec![case; 3])
                    } else {
                        Counsel::Withdraw(case)
                    }
                }
            }
        },
    )
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => (2..5u8, counsel()).prop_map(|(from, counsel)| Deed::Said(from, counsel)),
        4 => any::<bool>().prop_map(Deed::Written),
        1 => (0..3u8, any::<bool>()).prop_map(|(n, guarded)| Deed::Submitted(n, guarded)),
        1 => (0..3u8).prop_map(Deed::Cancelled),
        1 => (2..5u8).prop_map(Deed::Connected),
        1 => (2..5u8).prop_map(Deed::Disconnected),
        2 => any::<u16>().prop_map(Deed::Passed),
    ]
}

proptest! {
    #[test]
    fn no_words_of_members_make_a_peer_break_a_promise(deeds in proptest::collection::vec(deed(), 1..120)) {
        let mut now = Time::ZERO;
        let mut peer = Peer::new(member(ME), PeerConfig::default(), 7, now);
        peer.handle(now, Input::Restored { records: Vec::new(), boot: 1, unix_ms: 1_000_000 });
        // Nothing waits for what a new store says of itself.
        while peer.poll_output().is_some() {}
        let mut pending: BTreeSet<Ticket> = BTreeSet::new();
        let mut promised: BTreeMap<Case, Ballot> = BTreeMap::new();
        // A later council supersedes an earlier one, which nobody honest asks any more.
        let mut terms: BTreeMap<TaskId, BTreeSet<u64>> = BTreeMap::new();
        for deed in deeds {
            let input = match deed {
                Deed::Said(from, counsel) => {
                    let council = match &counsel {
                        Counsel::Guard(guard) => Some((guard.task, guard.council.term)),
                        Counsel::Prepare(prepare) => Some((prepare.task, prepare.council.term)),
                        Counsel::Propose(propose) => Some((propose.task, propose.council.term)),
                        _ => None,
                    };
                    if let Some((task, term)) = council {
                        terms.entry(task).or_default().insert(term);
                    }
                    Input::Received { from: id(from), message: Message::Council(Box::new(counsel)) }
                }
                Deed::Written(well) => match pending.pop_first() {
                    Some(ticket) if well => Input::Persisted { ticket },
                    Some(ticket) => Input::PersistFailed { ticket, reason: "full".into() },
                    None => continue,
                },
                Deed::Submitted(n, guarded) => {
                    let durability = if guarded { Durability::Guarded } else { Durability::Disk };
                    let keeping = Keeping { durability, retention: SPAN };
                    let spec = TaskSpec::of_module(BlobId([9; 32]), 1);
                    Input::Submitted { task: TaskId([n; 16]), name: String::new(), spec: Box::new(spec), keeping }
                }
                Deed::Cancelled(n) => Input::Cancelled(TaskId([n; 16])),
                Deed::Connected(n) => Input::Connected { member: member(n), address: None },
                Deed::Disconnected(n) => Input::Disconnected { peer: id(n) },
                Deed::Passed(ms) => {
                    now += Duration::from_millis(u64::from(ms % 3_000));
                    Input::TimerFired
                }
            };
            let mut inputs = std::collections::VecDeque::from([input]);
            while let Some(input) = inputs.pop_front() {
                let writes = matches!(input, Input::Persisted { .. });
                peer.handle(now, input);
                while let Some(output) = peer.poll_output() {
                    match output {
                        Output::Persist { ticket, .. } => prop_assert!(pending.insert(ticket), "a ticket twice"),
                        Output::Fetch { attempt, .. } => inputs.push_back(Input::Fetched { attempt, result: Ok(()) }),
                        Output::Send { message: Message::Council(counsel), .. } => match *counsel {
                            Counsel::Promised(word) => {
                                prop_assert!(writes, "a promise left before it was written");
                                let highest = promised.entry(word.case).or_insert(word.ballot);
                                *highest = word.ballot.max(*highest);
                            }
                            Counsel::Accepted(word) => {
                                prop_assert!(writes, "a vote left before it was written");
                                let only_one = terms.get(&word.case.task).is_none_or(|terms| terms.len() == 1);
                                let highest = promised.get(&word.case).copied().filter(|_| only_one);
                                prop_assert!(highest.is_none_or(|highest| word.ballot >= highest), "a promise was broken");
                            }
                            _ => {}
                        },
                        _ => {}
                    }
                }
            }
        }
    }
}
