//! What becomes of the tasks of a peer that is a member no more, and of those that it was given.

use std::collections::BTreeSet;

use super::*;
use crate::certificate::{Issuer, RevocationList, Role, SecretKey, VerifiedRevocations};
use crate::message::Message;

struct Told {
    peer: Peer,
    ms: u64,
}

impl Told {
    /// A cloud peer with two idle edge neighbours.
    fn new() -> Self {
        let config = PeerConfig { cores: 1, ..PeerConfig::default() };
        let mut told = Self { peer: Peer::new(member(1), config, 1, Time::ZERO), ms: 10 };
        told.tell(Input::Prepared { module: MODULE, result: Ok(Duration::ZERO) });
        for n in [2, 4] {
            told.tell(Input::Connected { member: member(n), address: None });
            told.says(n, Message::Load(load(1, 0)));
        }
        told
    }

    fn tell(&mut self, input: Input) -> Vec<Output> {
        self.ms += 1;
        self.peer.handle(Time::from_millis(self.ms), input);
        core::iter::from_fn(|| self.peer.poll_output()).collect()
    }

    fn says(&mut self, n: u8, message: Message) -> Vec<Output> {
        self.tell(Input::Received { from: id(n), message })
    }

    fn revoke(&mut self, n: u8) -> Vec<Output> {
        let mesh_key = SecretKey::from_bytes(&[1; 32]);
        let (peers, issuers) = (BTreeSet::from([id(n)]), BTreeSet::new());
        let mesh = mesh_key.mesh();
        let list = RevocationList { mesh, version: 1, previous: [0; 32], issued_unix_s: 0, peers, issuers };
        let verified: VerifiedRevocations = list.sign(&Issuer::of(&mesh_key)).verify(mesh).unwrap();
        self.tell(Input::Revoked(Box::new(verified)))
    }

    /// A neighbour gives a task.
    fn is_given(&mut self, n: u8, task: u8) -> (TaskRef, Vec<Output>) {
        let attempt = TaskRef { task: TaskId([task; 16]), epoch: 1 };
        let award = Award {
            attempt,
            home: id(n),
            variant: 0,
            spec: TaskSpec::of_module(MODULE, 1_000),
            work: Duration::from_millis(500),
            works_us: Vec::new(),
            expected_start: Duration::ZERO,
            firm: true,
            hops: 0,
            alternatives: Vec::new(),
            near: Marks::default(),
            kept: false,
            received: Vec::new(),
            safe: Marks::default(),
        };
        (attempt, self.says(n, Message::Award(Box::new(award))))
    }

    /// A user here submits a task that an edge peer elsewhere must run; who got it.
    fn submit(&mut self, task: u8) -> (PeerId, TaskRef) {
        let mut spec = TaskSpec::of_module(MODULE, 1_000);
        spec.policy.role = Some(Role::Edge);
        let keeping = Keeping::default();
        let orders = self.tell(Input::Submitted {
            task: TaskId([task; 16]),
            name: String::new(),
            spec: Box::new(spec),
            keeping,
        });
        awarded(&orders).expect("somebody gets it")
    }
}

fn awarded(orders: &[Output]) -> Option<(PeerId, TaskRef)> {
    orders.iter().find_map(|order| match order {
        Output::Send { to, message: Message::Award(award) } => Some((*to, award.attempt)),
        _ => None,
    })
}

#[test]
fn what_runs_or_waits_for_it_is_dropped_and_what_runs_for_others_is_not() {
    let mut told = Told::new();
    let (running, _) = told.is_given(2, 1);
    let (waiting, _) = told.is_given(2, 2);
    let (of_another, _) = told.is_given(4, 3);

    let orders = told.revoke(2);

    assert!(orders.contains(&Output::Abort(running)));
    assert!(!told.peer.executing.serves(id(2)), "{waiting:?} is not held either");
    assert!(told.peer.executing.serves(id(4)));
    let starts = |order: &Output| matches!(order, Output::Execute(execution) if execution.attempt == of_another);
    assert!(orders.iter().any(starts), "the core is free for it");
}

#[test]
fn what_it_was_given_is_given_to_others_at_once_and_its_result_is_not_heard() {
    let mut told = Told::new();
    let (first, attempt) = told.submit(1);
    let revoked = first.0[0];
    let other = if revoked == 2 { id(4) } else { id(2) };

    let orders = told.revoke(revoked);

    assert_eq!(awarded(&orders), Some((other, TaskRef { epoch: attempt.epoch + 1, ..attempt })));
    let report = RunReport { output: Payload::inline(b"forged".to_vec()), ..report(Ending::Exited(0)) };
    let (prepare, queued) = (Duration::ZERO, Duration::ZERO);
    let outcome = Outcome { attempt, variant: 0, report, speed: 1.0, prepare, queued, load: load(9, 0), receipt: None };
    assert_eq!(told.says(revoked, Message::Outcome(Box::new(outcome))), []);
}

#[test]
fn what_was_reserved_for_it_is_free_again() {
    let mut told = Told::new();
    let attempt = TaskRef { task: TaskId([1; 16]), epoch: 1 };
    let variants = vec![AskVariant { module: MODULE, module_bytes: 1, work: Duration::from_millis(500) }];
    told.says(2, Message::Ask(Ask { attempt, variants, input_bytes: 1, memory_bytes: 1, deadline_in: None }));
    let held = |told: &Told| told.peer.executing.digest(Time::from_millis(told.ms)).start_in;
    assert!(held(&told) > Duration::ZERO, "the reservation is in the digest");

    told.revoke(2);

    assert_eq!(held(&told), Duration::ZERO);
}

#[test]
fn nobody_gets_work_who_is_revoked_and_it_is_told_why() {
    let mut told = Told::new();

    let orders = told.revoke(2);

    let to_it: Vec<_> =
        orders.iter().filter(|order| matches!(order, Output::Send { to, .. } if *to == id(2))).collect();
    assert!(matches!(to_it.as_slice(), [Output::Send { message: Message::Revocations(_), .. }]), "{to_it:?}");
    assert!(orders.contains(&Output::Disconnect { peer: id(2), reason: "it has been revoked".into() }));
    for task in 1..20 {
        assert_eq!(told.submit(task).0, id(4));
    }
}
