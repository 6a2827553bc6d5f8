//! What the emulated links do to real sockets in real network namespaces.
//!
//! Where the caller may not make namespaces itself, each test runs again in a user namespace; where that is refused too, it says
//! loudly that it was skipped.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a failure is the answer

mod support;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use shoal_testnet::emulator::Counts;
use shoal_testnet::{Emulator, EmulatorError, Link, Links, Node};
use support::emulated;

const PORT: u16 = 7_000;
const LONG: Duration = Duration::from_secs(10);
const MDNS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);

/// A socket on a node, bound to all its addresses.
fn socket_on(emulator: &Emulator, node: usize) -> UdpSocket {
    let bind = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT));
    emulator.within(node, bind).unwrap().unwrap()
}

fn at(emulator: &Emulator, node: usize) -> SocketAddr {
    (emulator.address(node).unwrap(), PORT).into()
}

fn mesh(count: usize, link: Link) -> (Emulator, Vec<UdpSocket>) {
    let nodes: Vec<Node> = (1..=count).map(|number| Node::edge(format!("edge-{number}"))).collect();
    let emulator = Emulator::start(&nodes, &Links::uniform(link)).unwrap();
    let sockets = (0..count).map(|node| socket_on(&emulator, node)).collect();
    (emulator, sockets)
}

/// Sends a packet and waits for it; `None` if it has not come within the patience.
fn crosses(emulator: &Emulator, sockets: &[UdpSocket], from: usize, to: usize, patience: Duration) -> Option<Duration> {
    let sent = Instant::now();
    let mark = format!("{from}>{to} {:?}", sent);
    sockets[from].send_to(mark.as_bytes(), at(emulator, to)).unwrap();
    let mut buffer = [0; 2_000];
    loop {
        let left = patience.checked_sub(sent.elapsed()).filter(|left| !left.is_zero())?;
        sockets[to].set_read_timeout(Some(left)).unwrap();
        match sockets[to].recv(&mut buffer) {
            Ok(bytes) if buffer[..bytes] == *mark.as_bytes() => return Some(sent.elapsed()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
            Err(error) => panic!("receiving: {error}"),
        }
    }
}

/// Waits until the fabric has seen what was sent on a link, so that a test of absence does not rest on a guess of time.
fn counts_when(emulator: &Emulator, from: usize, to: usize, enough: impl Fn(&Counts) -> bool) -> Counts {
    let deadline = Instant::now() + LONG;
    loop {
        let counts = emulator.counts(from, to).unwrap();
        if enough(&counts) {
            return counts;
        }
        assert!(Instant::now() < deadline, "the counters stayed at {counts:?}");
        std::thread::yield_now();
    }
}

fn assert_cut(emulator: &Emulator, sockets: &[UdpSocket], from: usize, to: usize) {
    let cut_before = emulator.counts(from, to).unwrap().packets_cut;
    sockets[from].send_to(b"into the void", at(emulator, to)).unwrap();
    counts_when(emulator, from, to, |counts| counts.packets_cut > cut_before);
}

#[test]
fn a_round_trip_takes_twice_the_configured_delay() {
    emulated("a_round_trip_takes_twice_the_configured_delay", || {
        let (emulator, sockets) = mesh(2, Link::with_delay(Duration::from_millis(25)));

        let mut round_trips: Vec<Duration> = (0..9)
            .map(|_| {
                let there = crosses(&emulator, &sockets, 0, 1, LONG).expect("the way there");
                there + crosses(&emulator, &sockets, 1, 0, LONG).expect("the way back")
            })
            .collect();
        round_trips.sort();

        let [fastest, median] = [round_trips[0], round_trips[4]];
        assert!(fastest >= Duration::from_millis(50), "a packet was early: {round_trips:?}");
        // Generous: a busy machine adds to the delay, a broken emulator multiplies it.
        assert!(median < Duration::from_millis(100), "packets were late: {round_trips:?}");
    });
}

#[test]
fn a_link_that_loses_everything_delivers_nothing() {
    emulated("a_link_that_loses_everything_delivers_nothing", || {
        let (emulator, sockets) = mesh(2, Link::IDEAL);
        crosses(&emulator, &sockets, 0, 1, LONG).expect("an ideal link delivers");

        emulator.set_link(0, 1, Link { loss: 1.0, ..Link::IDEAL }).unwrap();
        let lost_before = emulator.counts(0, 1).unwrap().packets_lost;
        for _ in 0..20 {
            sockets[0].send_to(b"lost", at(&emulator, 1)).unwrap();
        }

        counts_when(&emulator, 0, 1, |counts| counts.packets_lost == lost_before + 20);
        assert_eq!(crosses(&emulator, &sockets, 0, 1, Duration::from_millis(100)), None);
        crosses(&emulator, &sockets, 1, 0, LONG).expect("the other direction is untouched");
    });
}

#[test]
fn a_partition_separates_its_groups_until_it_heals() {
    emulated("a_partition_separates_its_groups_until_it_heals", || {
        let (emulator, sockets) = mesh(4, Link::IDEAL);

        emulator.partition(&[&[0, 1], &[2, 3]]).unwrap();

        crosses(&emulator, &sockets, 0, 1, LONG).expect("within the first group");
        crosses(&emulator, &sockets, 3, 2, LONG).expect("within the second group");
        assert_cut(&emulator, &sockets, 0, 2);
        assert_cut(&emulator, &sockets, 3, 1);
        assert_eq!(crosses(&emulator, &sockets, 1, 2, Duration::from_millis(100)), None);
        emulator.heal();
        crosses(&emulator, &sockets, 0, 2, LONG).expect("healed");
        crosses(&emulator, &sockets, 3, 1, LONG).expect("healed");
    });
}

#[test]
fn a_one_way_cut_leaves_the_way_back() {
    emulated("a_one_way_cut_leaves_the_way_back", || {
        let (emulator, sockets) = mesh(2, Link::IDEAL);

        emulator.cut(0, 1).unwrap();

        assert_cut(&emulator, &sockets, 0, 1);
        crosses(&emulator, &sockets, 1, 0, LONG).expect("the way back");
    });
}

#[test]
fn a_rate_bounds_what_gets_through() {
    emulated("a_rate_bounds_what_gets_through", || {
        let bits_per_s = 8_000_000;
        let (emulator, sockets) =
            mesh(2, Link { bits_per_s: Some(bits_per_s), queue_bytes: 64 * 1_024, ..Link::IDEAL });

        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            sockets[0].send_to(&[0; 1_200], at(&emulator, 1)).unwrap();
        }
        let counts = emulator.counts(0, 1).unwrap();
        let ceiling = start.elapsed().as_secs_f64() * bits_per_s as f64 / 8.0;

        assert!(counts.packets_overflowed > 0, "a flood did not fill the queue: {counts:?}");
        // The most a wire of that rate can have carried by now; one packet may be on its way out.
        assert!(counts.bytes_delivered as f64 <= ceiling + 1_500.0, "{counts:?} is more than {ceiling} bytes");
        // A machine too busy to let the router run carries less, but not nothing.
        assert!(counts.bytes_delivered as f64 >= ceiling / 5.0, "{counts:?} is far less than {ceiling} bytes");
    });
}

#[test]
fn multicast_reaches_every_other_node() {
    emulated("multicast_reaches_every_other_node", || {
        let (emulator, sockets) = mesh(4, Link::with_delay(Duration::from_millis(2)));
        for (node, socket) in sockets.iter().enumerate() {
            socket.join_multicast_v4(&MDNS, &emulator.address(node).unwrap()).unwrap();
            socket.set_multicast_loop_v4(false).unwrap();
        }

        sockets[1].send_to(b"who is there", (MDNS, PORT)).unwrap();

        for node in [0, 2, 3] {
            sockets[node].set_read_timeout(Some(LONG)).unwrap();
            let mut buffer = [0; 100];
            let (bytes, from) = sockets[node].recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..bytes], from), (&b"who is there"[..], at(&emulator, 1)));
        }
    });
}

#[test]
fn nodes_see_loopback_and_each_other_and_nothing_else() {
    emulated("nodes_see_loopback_and_each_other_and_nothing_else", || {
        let (_emulator, sockets) = mesh(2, Link::IDEAL);

        sockets[0].send_to(b"self", (Ipv4Addr::LOCALHOST, PORT)).unwrap();
        sockets[0].set_read_timeout(Some(LONG)).unwrap();
        let mut buffer = [0; 10];

        assert_eq!(sockets[0].recv(&mut buffer).unwrap(), 4);
        assert!(sockets[0].send_to(b"out", (Ipv4Addr::new(192, 0, 2, 1), PORT)).is_err());
    });
}

#[test]
fn what_runs_on_a_node_ends_with_the_emulator() {
    emulated("what_runs_on_a_node_ends_with_the_emulator", || {
        let (emulator, _) = mesh(1, Link::IDEAL);
        let mut sleep = Command::new("sleep");
        sleep.arg("600");
        let mut child = emulator.spawn_in(0, sleep).unwrap();
        assert!(child.try_wait().unwrap().is_none());

        drop(emulator);

        assert!(!child.wait().unwrap().success());
    });
}

#[test]
fn mistakes_are_errors_that_say_what_to_do() {
    emulated("mistakes_are_errors_that_say_what_to_do", || {
        let (emulator, _) = mesh(2, Link::IDEAL);
        let two_alike = [Node::edge("a"), Node::cloud("a")];

        assert!(matches!(Emulator::start(&two_alike, &Links::default()), Err(EmulatorError::DuplicateName { .. })));
        assert!(matches!(Emulator::start(&[], &Links::default()), Err(EmulatorError::NodeCount { count: 0 })));
        assert!(matches!(emulator.cut(0, 2), Err(EmulatorError::NoSuchNode { node: 2, count: 2 })));
        assert!(matches!(emulator.partition(&[&[0]]), Err(EmulatorError::NotAPartition { node: 1 })));
        assert!(matches!(emulator.partition(&[&[0, 1], &[1]]), Err(EmulatorError::NotAPartition { node: 1 })));
        assert_eq!(emulator.spawn_in(7, Command::new("true")).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}
