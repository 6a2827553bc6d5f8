//! Peers behind NATs, on emulated links: they meet through a relay, then directly where their NATs let them.

use std::collections::BTreeMap;
use std::time::Instant;

use shoal_protocol::TaskState;
use shoal_protocol::api::{PathView, PeerView, Status};
use shoal_testnet::{Link, Links, NatKind, Where};

use super::*;
use crate::support::emulated;

const WORDS: &str = "one two two\nthree three three\n";
/// About two seconds: long enough to be interrupted.
const SPIN: [&str; 1] = ["600000000"];
/// One way between any two: far enough that a relay costs something.
const DELAY: Duration = Duration::from_millis(10);

/// So many cloud peers that everybody reaches, and an edge peer behind each of these.
async fn behind(clouds: usize, nats: &[NatKind]) -> Cluster {
    let mut config = ClusterConfig::new(clouds, nats.len());
    config.network = Where::Emulated(Links::uniform(Link::with_delay(DELAY)));
    config.patience = LONG;
    config.log = "info,shoal_node::network=debug".into();
    for (peer, nat) in config.peers.iter_mut().skip(clouds).zip(nats) {
        (peer.nat, peer.slowdown) = (*nat, 1.0);
    }
    Cluster::start(config).await.unwrap()
}

async fn status(mesh: &Cluster, of: usize) -> Status {
    mesh.client(of).unwrap().status().await.unwrap()
}

fn path(status: &Status, to: &str) -> Option<PathView> {
    status.peers.iter().find(|peer| peer.name == to).and_then(|peer| peer.path)
}

/// Waits until something is so at a peer.
async fn until(mesh: &Cluster, of: usize, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
    let deadline = Instant::now() + LONG;
    loop {
        let status = status(mesh, of).await;
        if is_so(&status) {
            return status;
        }
        let words = mesh.last_words(of).unwrap_or_default();
        assert!(Instant::now() < deadline, "{what}: never; {status:?}\n{words}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A task of one peer that only another may run.
async fn runs_at(mesh: &Cluster, home: usize, there: &str) {
    let is_known = |peer: &PeerView| peer.name == there && peer.load.is_some();
    until(mesh, home, "the load of the other", |status| status.peers.iter().any(is_known)).await;
    let client = mesh.client(home).unwrap();
    let mut request = task_of(&client, example("wordcount"), &[], WORDS).await;
    request.peer = Some(there.into());

    let view = client.run(request).await.unwrap();

    assert_eq!((view.state, executor(&view)), (TaskState::Done, there), "{view:?}");
    assert_eq!(text(&view), native("wordcount", &[], WORDS));
}

fn is_circuit(address: &str) -> bool {
    address.contains("/p2p-circuit")
}

fn counter(counters: &BTreeMap<String, u64>, name: &str) -> u64 {
    counters[name]
}

#[test]
fn two_peers_behind_port_restricted_nats_meet_through_a_relay_and_then_directly() {
    emulated("nat::two_peers_behind_port_restricted_nats_meet_through_a_relay_and_then_directly", || {
        run(async {
            // Formed: each sees the others alive, so that the two are connected somehow.
            let mesh = behind(1, &[NatKind::PortRestricted; 2]).await;

            let direct = |status: &Status| path(status, "edge-2") == Some(PathView::Direct);
            let after = until(&mesh, 1, "a direct connection", direct).await;
            runs_at(&mesh, 1, "edge-2").await;

            assert!(counter(&after.counters, "relayed") >= 1, "it began through a relay");
            assert_eq!(counter(&after.counters, "punched"), 1);
            let relay = status(&mesh, 0).await;
            assert!(counter(&relay.counters, "circuits") >= 1);
            assert!(relay.peers.iter().all(|peer| peer.path == Some(PathView::Direct)), "{relay:?}");
            let emulator = mesh.emulator().unwrap();
            for edge in [1, 2] {
                let nat = emulator.nat_counts(edge).unwrap().unwrap();
                // The other is of the port from which it calls a neighbour back.
                assert!(nat.mappings_made <= 2, "one port serves all: {nat:?}");
            }
            let (there, back) = (emulator.counts(1, 2).unwrap(), emulator.counts(2, 1).unwrap());
            assert!(there.packets_delivered > 0 && back.packets_delivered > 0, "{there:?} {back:?}");
        });
    });
}

#[test]
fn two_peers_behind_symmetric_nats_stay_relayed_and_work() {
    emulated("nat::two_peers_behind_symmetric_nats_stay_relayed_and_work", || {
        run(async {
            let mesh = behind(1, &[NatKind::Symmetric; 2]).await;

            runs_at(&mesh, 1, "edge-2").await;
            runs_at(&mesh, 2, "edge-1").await;
            // One side hears that it was in vain: the one that was called.
            let gave_up = async || {
                let mut failed = 0;
                for edge in [1, 2] {
                    failed += counter(&status(&mesh, edge).await.counters, "punches_failed");
                }
                failed > 0
            };
            let deadline = Instant::now() + LONG;
            while !gave_up().await {
                assert!(Instant::now() < deadline, "it goes on trying");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            runs_at(&mesh, 1, "edge-2").await;

            let after = status(&mesh, 1).await;
            assert_eq!(path(&after, "edge-2"), Some(PathView::Relayed));
            assert_eq!(counter(&after.counters, "punched"), 0);
            let emulator = mesh.emulator().unwrap();
            assert_eq!(emulator.counts(1, 2).unwrap().packets_delivered, 0, "nothing gets through by itself");
        });
    });
}

#[test]
fn a_peer_behind_a_full_cone_is_reached_by_a_symmetric_one() {
    emulated("nat::a_peer_behind_a_full_cone_is_reached_by_a_symmetric_one", || {
        run(async {
            let mesh = behind(1, &[NatKind::FullCone, NatKind::Symmetric]).await;

            let told = |status: &Status| {
                let is_outside =
                    |address: &String| address.starts_with("/ip4/198.18.0.2/udp/4") && !is_circuit(address);
                status.addresses.iter().any(is_outside)
            };
            until(&mesh, 1, "an address outside", told).await;
            // Also if it was called through a relay before its outer address was known.
            let reached = |status: &Status| path(status, "edge-1") == Some(PathView::Direct);
            until(&mesh, 2, "a direct connection from behind a symmetric NAT", reached).await;
            runs_at(&mesh, 2, "edge-1").await;
        });
    });
}

#[test]
fn a_relay_that_dies_is_replaced_by_another() {
    emulated("nat::a_relay_that_dies_is_replaced_by_another", || {
        run(async {
            let mesh = behind(3, &[NatKind::Symmetric; 2]).await;
            let relays = |status: &Status| -> Vec<String> {
                let circuits = status.addresses.iter().filter(|address| is_circuit(address));
                circuits.filter_map(|address| address.split('/').nth(2)).map(str::to_owned).collect()
            };
            let before = until(&mesh, 3, "two relays", |status| relays(status).len() == 2).await;
            runs_at(&mesh, 3, "edge-2").await;

            let dies = relays(&before).swap_remove(0);
            let index = (0..3).find(|cloud| mesh.peers()[*cloud].address.ip().to_string() == dies).unwrap();
            mesh.kill(index).unwrap();

            let replaced = |status: &Status| relays(status).len() == 2 && !relays(status).contains(&dies);
            until(&mesh, 3, "another relay", replaced).await;
            let connected = |status: &Status| path(status, "edge-2") == Some(PathView::Relayed);
            until(&mesh, 3, "a connection through another relay", connected).await;
            runs_at(&mesh, 3, "edge-2").await;
        });
    });
}

/// The connection goes on from the new address (RFC 9000, 9), so that nobody notices but the path.
#[test]
fn a_peer_that_changes_network_keeps_its_connection_and_its_tasks() {
    emulated("nat::a_peer_that_changes_network_keeps_its_connection_and_its_tasks", || {
        run(async {
            let mesh = behind(1, &[NatKind::PortRestricted]).await;
            runs_at(&mesh, 1, "cloud-1").await;
            let client = mesh.client(1).unwrap();
            let mut request = task_of(&client, example("spin"), &SPIN, "").await;
            request.peer = Some("cloud-1".into());
            let task = client.submit(&request).await.unwrap().task.to_string();
            until(&mesh, 1, "it runs", |status| status.tasks.running == 1).await;
            let admitted = counter(&status(&mesh, 1).await.counters, "admitted");

            assert!(mesh.emulator().unwrap().move_to_another_network(1).unwrap());

            let view = client.wait(&task).await.unwrap();
            assert_eq!((view.state, view.attempt), (TaskState::Done, 1), "it was not begun again: {view:?}");
            assert_eq!((executor(&view), text(&view)), ("cloud-1", native("spin", &SPIN, "").as_str()));
            runs_at(&mesh, 1, "cloud-1").await;
            let after = status(&mesh, 1).await;
            assert_eq!(
                counter(&after.counters, "admitted"),
                admitted,
                "the connection is the one from before: {after:?}"
            );
            let nat = mesh.emulator().unwrap().nat_counts(1).unwrap().unwrap();
            assert!(nat.mappings_made >= 2, "it is seen elsewhere now: {nat:?}");
        });
    });
}
