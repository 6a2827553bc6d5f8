use super::*;

const MS: Duration = Duration::from_millis(1);

fn nodes(count: usize) -> Vec<Node> {
    (0..count).map(|index| Node::edge(format!("edge-{index}"))).collect()
}

fn fabric(count: usize, link: Link) -> Fabric {
    Fabric::new(&nodes(count), &Links::uniform(link))
}

/// An IPv4 packet of this size to this address, with a mark to tell it by.
fn packet(to: Ipv4Addr, bytes: usize, mark: u8) -> Vec<u8> {
    let mut packet = vec![0; bytes];
    packet[0] = 0x45;
    packet[16..20].copy_from_slice(&to.octets());
    packet[bytes - 1] = mark;
    packet
}

fn drain(fabric: &mut Fabric, now: Duration) -> Vec<(usize, usize, u8)> {
    let mut arrivals = Vec::new();
    while let Some(Arrival { from, to, packet }) = fabric.pop_due(now) {
        fabric.delivered(from, to, packet.len());
        arrivals.push((from, to, packet[packet.len() - 1]));
    }
    arrivals
}

#[test]
fn a_packet_is_due_after_its_links_delay_and_not_before() {
    let mut fabric = fabric(2, Link::with_delay(10 * MS));

    fabric.accept(5 * MS, 0, &mut packet(address(1), 100, 1));

    assert_eq!(fabric.next_due(), Some(15 * MS));
    assert_eq!(drain(&mut fabric, 14 * MS), []);
    assert_eq!(drain(&mut fabric, 15 * MS), [(0, 1, 1)]);
    let counts = fabric.counts(0, 1);
    assert_eq!((counts.packets_offered, counts.packets_delivered, counts.bytes_delivered), (1, 1, 100));
    assert_eq!(fabric.counts(1, 0), Counts::default());
}

#[test]
fn jitter_varies_the_delay_within_bounds_but_never_the_order() {
    let mut fabric = fabric(2, Link { jitter: 5 * MS, ..Link::with_delay(10 * MS) });
    let mut delays = Vec::new();

    for mark in 0..=255 {
        let now = 50 * MS * u32::from(mark);
        fabric.accept(now, 0, &mut packet(address(1), 100, mark));
        delays.push(fabric.next_due().unwrap() - now);
        assert_eq!(drain(&mut fabric, now + 15 * MS), [(0, 1, mark)]);
    }
    for mark in 0..=255 {
        fabric.accept(20_000 * MS, 0, &mut packet(address(1), 100, mark));
    }
    let order: Vec<u8> = drain(&mut fabric, 30_000 * MS).into_iter().map(|(_, _, mark)| mark).collect();

    assert!(delays.iter().all(|delay| (5 * MS..=15 * MS).contains(delay)));
    assert!(delays.iter().any(|delay| *delay < 8 * MS) && delays.iter().any(|delay| *delay > 12 * MS));
    assert_eq!(order, (0..=255).collect::<Vec<u8>>());
}

#[test]
fn the_same_seed_loses_the_same_packets() {
    let lossy = Link { loss: 0.3, ..Link::IDEAL };
    let run = |seed| {
        let mut links = Links::uniform(lossy);
        links.seed = seed;
        let mut fabric = Fabric::new(&nodes(2), &links);
        for mark in 0..200 {
            fabric.accept(MS, 0, &mut packet(address(1), 100, mark));
        }
        drain(&mut fabric, 2 * MS)
    };

    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    assert!((100..180).contains(&run(1).len()), "{} of 200 arrived at 30 % loss", run(1).len());
}

#[test]
fn a_slow_link_spaces_packets_and_drops_what_its_queue_cannot_hold() {
    // 8 Mbit/s: 1,000 bytes take 1 ms.
    let mut fabric = fabric(2, Link { bits_per_s: Some(8_000_000), queue_bytes: 4_000, ..Link::IDEAL });

    for mark in 0..10 {
        fabric.accept(Duration::ZERO, 0, &mut packet(address(1), 1_000, mark));
    }

    assert_eq!(drain(&mut fabric, MS), [(0, 1, 0)]);
    assert_eq!(drain(&mut fabric, 2 * MS), [(0, 1, 1)]);
    assert_eq!(drain(&mut fabric, 100 * MS), [(0, 1, 2), (0, 1, 3)]);
    let counts = fabric.counts(0, 1);
    assert_eq!((counts.packets_delivered, counts.packets_overflowed), (4, 6));
}

#[test]
fn all_links_of_a_node_share_its_uplink() {
    let mut links = Links::uniform(Link::IDEAL);
    links.edge_uplink = Uplink { bits_per_s: Some(8_000_000), queue_bytes: 100_000 };
    let mut fabric = Fabric::new(&nodes(3), &links);

    fabric.accept(Duration::ZERO, 0, &mut packet(address(1), 1_000, 1));
    fabric.accept(Duration::ZERO, 0, &mut packet(address(2), 1_000, 2));
    fabric.accept(Duration::ZERO, 1, &mut packet(address(2), 1_000, 3));

    assert_eq!(drain(&mut fabric, MS), [(0, 1, 1), (1, 2, 3)]);
    assert_eq!(drain(&mut fabric, 2 * MS), [(0, 2, 2)]);
}

#[test]
fn multicast_reaches_all_others_and_pays_the_uplink_once() {
    let mut links = Links::uniform(Link::IDEAL);
    links.edge_uplink = Uplink { bits_per_s: Some(8_000_000), queue_bytes: 100_000 };
    let mut fabric = Fabric::new(&nodes(4), &links);

    fabric.accept(Duration::ZERO, 2, &mut packet(Ipv4Addr::new(224, 0, 0, 251), 1_000, 9));

    assert_eq!(drain(&mut fabric, MS), [(2, 0, 9), (2, 1, 9), (2, 3, 9)]);
}

#[test]
fn a_partition_cuts_across_groups_also_what_is_under_way_and_heals() {
    let mut fabric = fabric(3, Link::with_delay(10 * MS));

    fabric.accept(Duration::ZERO, 0, &mut packet(address(2), 100, 1));
    fabric.partition(&[0, 0, 1]);
    fabric.accept(MS, 0, &mut packet(address(1), 100, 2));
    fabric.accept(MS, 0, &mut packet(address(2), 100, 3));
    fabric.accept(MS, 2, &mut packet(address(1), 100, 4));

    assert_eq!(drain(&mut fabric, 20 * MS), [(0, 1, 2)]);
    assert_eq!((fabric.counts(0, 2).packets_cut, fabric.counts(2, 1).packets_cut), (2, 1));
    fabric.heal();
    fabric.accept(30 * MS, 0, &mut packet(address(2), 100, 5));
    assert_eq!(drain(&mut fabric, 40 * MS), [(0, 2, 5)]);
}

#[test]
fn a_one_way_cut_leaves_the_way_back() {
    let mut fabric = fabric(2, Link::IDEAL);

    fabric.cut(0, 1);
    fabric.accept(MS, 0, &mut packet(address(1), 100, 1));
    fabric.accept(MS, 1, &mut packet(address(0), 100, 2));

    assert_eq!(drain(&mut fabric, MS), [(1, 0, 2)]);
}

#[test]
fn what_is_addressed_to_nobody_is_counted_and_dropped() {
    let mut fabric = fabric(2, Link::IDEAL);
    let mut ipv6 = packet(address(1), 60, 0);
    ipv6[0] = 0x60;

    for mut stray in [packet(address(7), 60, 0), packet(Ipv4Addr::new(8, 8, 8, 8), 60, 0), ipv6, vec![0x45; 3], vec![]]
    {
        fabric.accept(MS, 0, &mut stray);
    }

    assert_eq!(fabric.next_due(), None);
    assert_eq!(fabric.unroutable(), 5);
}

#[test]
fn packets_under_way_are_bounded_also_on_an_unlimited_link() {
    let mut fabric = fabric(2, Link::with_delay(10_000 * MS));

    for _ in 0..UNDER_WAY_MAX + 3 {
        fabric.accept(MS, 0, &mut packet(address(1), 21, 0));
    }

    assert_eq!(fabric.under_way.len(), UNDER_WAY_MAX);
    assert_eq!(fabric.counts(0, 1).packets_overflowed, 3);
}

#[test]
fn every_node_has_an_address_of_its_own() {
    assert_eq!(address(0), Ipv4Addr::new(10, 77, 0, 1));
    assert_eq!(address(255), Ipv4Addr::new(10, 77, 1, 0));
    let fabric = fabric(300, Link::IDEAL);
    for node in 0..300 {
        assert!(matches!(fabric.destination(&packet(address(node), 21, 0)), Destination::One(to) if to == node));
    }
}

#[test]
fn who_is_behind_a_nat_is_at_its_outside_address_and_hears_only_answers() {
    let behind = |kind| vec![Node::cloud("cloud"), Node::edge("a").behind(kind), Node::edge("b").behind(kind)];
    let mut fabric = Fabric::new(&behind(NatKind::PortRestricted), &Links::uniform(Link::IDEAL));
    let udp = |from: Ipv4Addr, from_port: u16, to: Ipv4Addr, to_port: u16, mark: u8| {
        let mut packet = packet(to, 60, mark);
        packet[9] = 17;
        packet[12..16].copy_from_slice(&from.octets());
        packet[20..22].copy_from_slice(&from_port.to_be_bytes());
        packet[22..24].copy_from_slice(&to_port.to_be_bytes());
        packet
    };
    let source_of = |packet: &[u8]| {
        let port = u16::from_be_bytes([packet[20], packet[21]]);
        (Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]), port)
    };

    fabric.accept(MS, 1, &mut udp(address(1), 7600, address(0), 7600, 1));
    let Arrival { packet: arrived, .. } = fabric.pop_due(MS).unwrap();
    let (outside, port) = source_of(&arrived);
    assert_eq!(outside, outside_address(1));
    fabric.accept(2 * MS, 0, &mut udp(address(0), 7600, outside, port, 2));
    assert_eq!(drain(&mut fabric, 2 * MS), [(0, 1, 2)]);

    fabric.accept(3 * MS, 0, &mut udp(address(0), 7601, outside, port, 3));
    fabric.accept(3 * MS, 0, &mut udp(address(0), 7600, address(1), 7600, 4));
    fabric.accept(3 * MS, 2, &mut udp(address(2), 7600, outside, port, 5));
    fabric.accept(3 * MS, 1, &mut packet(Ipv4Addr::new(224, 0, 0, 251), 60, 6));
    fabric.accept(3 * MS, 0, &mut packet(Ipv4Addr::new(224, 0, 0, 251), 60, 7));
    assert_eq!(drain(&mut fabric, 3 * MS), [], "another port, an inside address, another node, multicast");

    assert_eq!((fabric.counts(0, 1).packets_filtered, fabric.counts(2, 1).packets_filtered), (1, 1));
    assert_eq!((fabric.unroutable(), fabric.nat_counts(1).unwrap().packets_filtered), (1, 2));
    assert_eq!(fabric.nat_counts(0), None);
}
