use super::*;

const S: Duration = Duration::from_secs(1);
const INSIDE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 2), 7600);
const OTHER_PORT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 2), 7601);
const CLOUD: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 1), 7600);
const CLOUD_OTHER_PORT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 1), 9000);
const FRIEND: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, 3), 40_000);
const NAT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

fn packet(from: SocketAddrV4, to: SocketAddrV4) -> Vec<u8> {
    let mut packet = vec![0; 40];
    (packet[0], packet[9]) = (0x45, UDP);
    packet[12..16].copy_from_slice(&from.ip().octets());
    packet[16..20].copy_from_slice(&to.ip().octets());
    packet[20..22].copy_from_slice(&from.port().to_be_bytes());
    packet[22..24].copy_from_slice(&to.port().to_be_bytes());
    packet
}

/// Sends out; where it seems to come from.
fn out(nat: &mut Nat, now: Duration, from: SocketAddrV4, to: SocketAddrV4) -> Option<SocketAddrV4> {
    let mut packet = packet(from, to);
    let left = nat.leave(now, &mut packet);
    left.then(|| {
        let (seen, still_to) = endpoints(&packet).unwrap();
        assert_eq!(still_to, to);
        assert_eq!(checksum(&packet[..20]), 0, "the header's checksum is right");
        seen
    })
}

/// Sends in; whom it reaches.
fn back(nat: &mut Nat, now: Duration, from: SocketAddrV4, to: SocketAddrV4) -> Option<SocketAddrV4> {
    let mut packet = packet(from, to);
    let entered = nat.enter(now, &mut packet);
    entered.then(|| {
        let (still_from, reached) = endpoints(&packet).unwrap();
        assert_eq!(still_from, from);
        reached
    })
}

#[test]
fn a_full_cone_lets_everybody_in_once_something_has_left() {
    let mut nat = Nat::new(NatKind::FullCone, NAT);
    let guessed = SocketAddrV4::new(NAT, PORT_MIN);
    assert_eq!(back(&mut nat, S, CLOUD, guessed), None, "nothing has left");

    let seen = out(&mut nat, S, INSIDE, CLOUD).unwrap();

    assert_eq!(*seen.ip(), NAT);
    assert_ne!(seen.port(), INSIDE.port(), "ports are not kept");
    assert_eq!(out(&mut nat, S, INSIDE, FRIEND), Some(seen), "one mapping for all destinations");
    assert_eq!(back(&mut nat, S, CLOUD_OTHER_PORT, seen), Some(INSIDE));
    assert_ne!(out(&mut nat, S, OTHER_PORT, CLOUD), Some(seen));
    assert_eq!(nat.counts().mappings_made, 2);
}

#[test]
fn a_port_restricted_nat_lets_in_whom_the_node_has_sent_to_and_no_other_port_of_it() {
    let mut nat = Nat::new(NatKind::PortRestricted, NAT);
    let seen = out(&mut nat, S, INSIDE, CLOUD).unwrap();

    assert_eq!(back(&mut nat, S, CLOUD, seen), Some(INSIDE));
    assert_eq!(back(&mut nat, S, CLOUD_OTHER_PORT, seen), None);
    assert_eq!(back(&mut nat, S, FRIEND, seen), None);
    assert_eq!(out(&mut nat, S, INSIDE, FRIEND), Some(seen), "one mapping for all destinations: it can be punched");
    assert_eq!(back(&mut nat, S, FRIEND, seen), Some(INSIDE));
    let counts = nat.counts();
    assert_eq!((counts.packets_out, counts.packets_in, counts.packets_filtered), (2, 2, 2));
}

#[test]
fn a_symmetric_nat_shows_each_destination_another_port() {
    let mut nat = Nat::new(NatKind::Symmetric, NAT);
    let to_cloud = out(&mut nat, S, INSIDE, CLOUD).unwrap();
    let to_friend = out(&mut nat, S, INSIDE, FRIEND).unwrap();

    assert_ne!(to_cloud, to_friend);
    assert_eq!(back(&mut nat, S, CLOUD, to_cloud), Some(INSIDE));
    assert_eq!(back(&mut nat, S, FRIEND, to_cloud), None, "what the cloud has seen is of no use to others");
    assert_eq!(back(&mut nat, S, FRIEND, to_friend), Some(INSIDE));
    assert_eq!(out(&mut nat, S, INSIDE, CLOUD), Some(to_cloud));
}

#[test]
fn a_mapping_lasts_while_the_node_sends_and_not_because_others_do() {
    let mut nat = Nat::new(NatKind::PortRestricted, NAT);
    let seen = out(&mut nat, S, INSIDE, CLOUD).unwrap();
    out(&mut nat, 100 * S, INSIDE, CLOUD).unwrap();

    assert_eq!(back(&mut nat, 219 * S, CLOUD, seen), Some(INSIDE));
    assert_eq!(back(&mut nat, 220 * S, CLOUD, seen), None, "the packet in between renews nothing");
    let anew = out(&mut nat, 221 * S, INSIDE, CLOUD).unwrap();
    assert_ne!(anew, seen);
    assert_eq!(back(&mut nat, 222 * S, CLOUD, seen), None);
    assert_eq!(back(&mut nat, 222 * S, CLOUD, anew), Some(INSIDE));
}

#[test]
fn a_permission_ends_while_the_mapping_lives_on() {
    let mut nat = Nat::new(NatKind::PortRestricted, NAT);
    let seen = out(&mut nat, S, INSIDE, FRIEND).unwrap();
    out(&mut nat, 100 * S, INSIDE, CLOUD).unwrap();

    assert_eq!(back(&mut nat, 130 * S, FRIEND, seen), None);
    assert_eq!(back(&mut nat, 130 * S, CLOUD, seen), Some(INSIDE));
}

#[test]
fn only_whole_udp_packets_pass() {
    let mut nat = Nat::new(NatKind::FullCone, NAT);
    let whole = packet(INSIDE, CLOUD);
    let changed = |at: usize, byte: u8| {
        let mut packet = whole.clone();
        packet[at] = byte;
        packet
    };
    let others = [changed(9, 6), changed(6, 0x20), changed(7, 1), changed(0, 0x65), whole[..24].to_vec(), Vec::new()];

    for mut other in others.clone() {
        assert!(!nat.leave(S, &mut other) && !nat.enter(S, &mut other));
    }

    assert_eq!(nat.counts().packets_untranslatable, 2 * others.len() as u64);
    assert_eq!(nat.counts().mappings_made, 0);
}

#[test]
fn there_is_an_end_of_mappings_and_old_ones_make_room() {
    let mut nat = Nat::new(NatKind::Symmetric, NAT);
    let to = |n: usize| SocketAddrV4::new(*CLOUD.ip(), n as u16);
    for n in 0..MAPPINGS_MAX {
        assert!(out(&mut nat, S, INSIDE, to(n)).is_some());
    }

    assert_eq!(out(&mut nat, 2 * S, INSIDE, to(MAPPINGS_MAX)), None);
    assert_eq!(nat.counts().packets_without_mapping, 1);
    assert!(out(&mut nat, 200 * S, INSIDE, to(MAPPINGS_MAX)).is_some());
    assert_eq!(nat.by_port.len(), 1);
    assert_eq!(nat.by_inside.len(), 1);
}

#[test]
fn a_node_that_moves_is_at_another_address_and_what_was_open_is_shut() {
    let mut nat = Nat::new(NatKind::FullCone, NAT);
    let before = out(&mut nat, S, INSIDE, CLOUD).unwrap();

    nat.moves();

    assert_eq!(back(&mut nat, 2 * S, CLOUD, before), None);
    let after = out(&mut nat, 3 * S, INSIDE, CLOUD).unwrap();
    assert_eq!(*after.ip(), nat.outside());
    assert_ne!(after.ip(), before.ip());
    assert_eq!(back(&mut nat, 4 * S, CLOUD, after), Some(INSIDE));
}
