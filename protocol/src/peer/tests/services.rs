//! Calls of services, and what a peer keeps ready for them.

use super::*;
use crate::message::{Message, ServicesWord, WarmModule};
use crate::output::Event;
use crate::service::tests::{record, removed, rolled_out, verified};
use crate::service::{ServiceName, ServiceRecord};
use crate::time::Time;

fn told(peer: &mut Peer, now: Time, input: Input) -> Vec<Output> {
    peer.handle(now, input);
    core::iter::from_fn(|| peer.poll_output()).collect()
}

fn name() -> ServiceName {
    "ocr".parse().unwrap()
}

fn secs(s: u64) -> Time {
    Time::from_millis(s * 1_000)
}

/// The module of a version of the record that the tests use.
fn module(version: u8) -> BlobId {
    BlobId([version; 32])
}

fn deploy(peer: &mut Peer, now: Time, record: &ServiceRecord) -> Vec<Output> {
    told(peer, now, Input::ServicesDeployed { records: vec![verified(record)], by_user: false })
}

/// A peer with three neighbours in the cloud, which hold modules instead of it.
fn peer() -> Peer {
    let mut peer = Peer::new(member(2), PeerConfig::default(), 1, Time::ZERO);
    for n in [1, 3, 5] {
        told(&mut peer, Time::ZERO, Input::Connected { member: member(n), address: None });
    }
    peer
}

fn call(peer: &mut Peer, now: Time, task: u8, version: u32) -> Vec<Output> {
    let task = TaskId([task; 16]);
    let called = peer.services().service(&name()).unwrap().record.version(version).unwrap().clone();
    let spec = called.task(&name(), vec![Payload::inline(vec![1])], None);
    told(peer, now, Input::Called { task, service: name(), version, spec: Box::new(spec) })
}

/// Has the driver do what is ordered until nothing more is.
fn settle(peer: &mut Peer, now: Time, mut orders: Vec<Output>, ending: &Ending) -> Vec<Output> {
    let mut all = orders.clone();
    while let Some(order) = orders.pop() {
        let fact = match order {
            Output::Fetch { attempt, .. } => Input::Fetched { attempt, result: Ok(()) },
            Output::KeepModule { module, .. } => Input::ModuleKept { module, result: Ok(()) },
            Output::Prepare { module } => Input::Prepared { module, result: Ok(Duration::ZERO) },
            Output::Execute(execution) => {
                Input::Finished { attempt: execution.attempt, report: report(ending.clone()) }
            }
            _ => continue,
        };
        let more = told(peer, now, fact);
        all.extend(more.iter().cloned());
        orders.extend(more);
    }
    all
}

fn kept(orders: &[Output]) -> Vec<(BlobId, u16)> {
    let kept = orders.iter().filter_map(|order| match order {
        Output::KeepModule { module, instances, .. } => Some((*module, *instances)),
        _ => None,
    });
    kept.collect()
}

fn released(orders: &[Output]) -> Vec<BlobId> {
    let released = orders.iter().filter_map(|order| match order {
        Output::ReleaseModule { module } => Some(*module),
        _ => None,
    });
    released.collect()
}

#[test]
fn a_call_is_run_counted_and_keeps_an_instance_until_nobody_calls_any_more() {
    let mut peer = peer();
    let orders = deploy(&mut peer, Time::ZERO, &record("ocr", 1));
    assert!(kept(&orders).is_empty(), "three others hold it: {orders:?}");

    let orders = call(&mut peer, secs(1), 1, 1);
    assert_eq!(kept(&orders), [(module(1), 1)]);
    let fetched = |order: &&Output| matches!(order, Output::Fetch { .. });
    assert_eq!(orders.iter().filter(fetched).count(), 1, "it is not here yet: {orders:?}");
    let orders = settle(&mut peer, secs(1), orders, &Ending::Exited(0));

    assert!(orders.iter().any(|order| matches!(order, Output::Finish { result: Ok(_), .. })), "{orders:?}");
    let view = peer.service_view(secs(1), &name()).unwrap();
    assert_eq!((view.versions[0].calls, view.versions[0].failures), (1, 0));
    assert_eq!(view.warm.iter().map(|warm| (warm.peer, warm.instances)).collect::<Vec<_>>(), [(id(2), 1)]);
    let again = call(&mut peer, secs(2), 2, 1);
    assert!(again.iter().any(|order| matches!(order, Output::Execute(_))), "it is ready: {again:?}");
    settle(&mut peer, secs(2), again, &Ending::Exited(0));

    let before = told(&mut peer, secs(301), Input::TimerFired);
    assert!(released(&before).is_empty());
    let after = told(&mut peer, secs(303), Input::TimerFired);
    assert_eq!(released(&after), [module(1)]);
    assert!(peer.service_view(secs(303), &name()).unwrap().warm.is_empty());
}

#[test]
fn a_peer_that_is_alone_holds_the_modules_of_every_version_for_others() {
    let mut peer = Peer::new(member(2), PeerConfig::default(), 1, Time::ZERO);

    let orders = deploy(&mut peer, Time::ZERO, &rolled_out("ocr", 1));
    assert_eq!(kept(&orders), [(module(1), 0), (module(2), 0)]);
    let orders = settle(&mut peer, Time::ZERO, orders, &Ending::Exited(0));
    assert!(!orders.iter().any(|order| matches!(order, Output::Prepare { .. })), "nobody calls it: {orders:?}");

    let orders = deploy(&mut peer, secs(1), &removed("ocr", 2));
    assert_eq!(released(&orders), [module(1), module(2)]);
    assert_eq!(peer.call(secs(1), &name(), 0).map(|version| version.number), None);
}

#[test]
fn a_module_that_could_not_be_had_is_asked_for_again() {
    let mut peer = Peer::new(member(2), PeerConfig::default(), 1, Time::ZERO);
    deploy(&mut peer, Time::ZERO, &record("ocr", 1));
    let absent = Input::ModuleKept { module: module(1), result: Err("nobody has it".into()) };
    told(&mut peer, Time::ZERO, absent);

    assert!(kept(&told(&mut peer, secs(2), Input::TimerFired)).is_empty());
    assert_eq!(kept(&told(&mut peer, secs(6), Input::TimerFired)), [(module(1), 0)]);
}

#[test]
fn neighbours_that_read_it_are_told_what_is_ready_and_when_it_is_not_any_more() {
    let mut peer = peer();
    deploy(&mut peer, Time::ZERO, &record("ocr", 1));
    let ping = Ping {
        sequence: 1,
        incarnation: 0,
        coordinate: None,
        load: None,
        revocations: 0,
        rules: 0,
        services: 7,
        wants_load: false,
    };
    told(&mut peer, Time::ZERO, Input::Received { from: id(3), message: Message::Ping(ping) });
    let orders = call(&mut peer, secs(1), 1, 1);
    let mut orders = settle(&mut peer, secs(1), orders, &Ending::Exited(0));
    orders.extend(told(&mut peer, secs(3), Input::TimerFired));
    let said = |orders: &[Output]| -> Vec<(PeerId, ServicesWord)> {
        let said = orders.iter().filter_map(|order| match order {
            Output::Send { to, message: Message::Services(word) } => Some((*to, (**word).clone())),
            _ => None,
        });
        said.collect()
    };

    let ready = ServicesWord::Warm(vec![WarmModule { module: module(1), instances: 1 }]);
    assert_eq!(said(&orders), [(id(3), ready)]);
    assert_eq!(said(&told(&mut peer, secs(302), Input::TimerFired)), [(id(3), ServicesWord::Warm(Vec::new()))]);
}

#[test]
fn a_neighbour_that_is_ready_is_known_as_such_until_it_says_otherwise() {
    let mut peer = peer();
    deploy(&mut peer, Time::ZERO, &record("ocr", 1));
    let warm = |modules: Vec<WarmModule>| Input::Received {
        from: id(3),
        message: Message::Services(Box::new(ServicesWord::Warm(modules))),
    };
    let variant = peer.services().service(&name()).unwrap().record.versions[0].task(&name(), Vec::new(), None).variants;
    let prepare = |peer: &Peer| peer.estimates.prepare(id(3), &variant[0], Some(1_000_000));

    told(&mut peer, Time::ZERO, warm(vec![WarmModule { module: module(1), instances: 2 }]));
    assert_eq!(prepare(&peer), Duration::ZERO);
    assert_eq!(peer.holders_of(module(1)), [id(3)]);
    let view = peer.service_view(Time::ZERO, &name()).unwrap();
    assert_eq!((view.warm[0].peer, view.warm[0].instances, view.warm[0].version), (id(3), 2, 1));

    told(&mut peer, Time::ZERO, warm(Vec::new()));
    assert!(prepare(&peer) > Duration::ZERO);
}

#[test]
fn a_version_that_fails_is_held_back_and_told_of() {
    let mut peer = Peer::new(member(2), PeerConfig::default(), 1, Time::ZERO);
    let orders = deploy(&mut peer, Time::ZERO, &rolled_out("ocr", 1));
    settle(&mut peer, Time::ZERO, orders, &Ending::Exited(0));
    let number = |peer: &Peer, draw: u64| peer.call(secs(1), &name(), draw).unwrap().number;
    assert_eq!((number(&peer, 499), number(&peer, 500)), (2, 1), "half of the calls");

    let mut all = Vec::new();
    for task in 0..20 {
        let orders = call(&mut peer, secs(1), task, 2);
        all.extend(settle(&mut peer, secs(1), orders, &Ending::Trapped("unreachable".into())));
    }

    let held = Event::ServiceHeldBack { name: "ocr".into(), version: 2, failures: 20, calls: 20 };
    assert!(all.contains(&Output::Notify(held)), "{all:?}");
    assert_eq!((number(&peer, 499), number(&peer, 500)), (1, 1));
    let view = peer.service_view(secs(1), &name()).unwrap();
    assert!(view.versions[1].held_back && view.versions[1].share == 0.0 && view.versions[0].share == 1.0);
    deploy(&mut peer, secs(2), &rolled_out("ocr", 2));
    assert_eq!(number(&peer, 499), 2, "another generation is another chance");
}
