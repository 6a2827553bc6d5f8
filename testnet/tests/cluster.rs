//! Meshes of real `shoald` processes. Build them first: `cargo build --release --bins`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a failure is the answer

mod support;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shoal_testnet::{Cluster, ClusterConfig, ClusterError, Discovery, Links, Network, PeerPlan, PeerState, Where};
use support::{LONG, emulated, processes_with};

fn run<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}

/// A daemon that is none, for what can go wrong at the start.
fn script(name: &str) -> Option<PathBuf> {
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support").join(name))
}

fn on_emulated_links(cloud: usize, edge: usize) -> ClusterConfig {
    ClusterConfig { network: Where::Emulated(Links::default()), ..ClusterConfig::new(cloud, edge) }
}

/// The story of a cloud peer that is killed, and returns as who it was.
#[test]
fn a_killed_peer_is_seen_dead_by_all_and_returns_as_itself() {
    run(async {
        let cluster = Cluster::start(ClusterConfig::new(1, 2).on_loopback()).await.unwrap();
        assert_eq!(*cluster.network(), Network::Loopback { because: None });
        let [cloud, first, second] = [0, 1, 2];

        cluster.kill(cloud).unwrap();

        assert!(!cluster.is_running(cloud).unwrap());
        cluster.wait_for_state(first, cloud, PeerState::Dead, LONG).await.unwrap();
        cluster.wait_for_state(second, cloud, PeerState::Dead, LONG).await.unwrap();
        cluster.restart(cloud).await.unwrap();
        cluster.wait_all_alive(LONG).await.unwrap();
        let status = cluster.client(cloud).unwrap().status().await.unwrap();
        assert_eq!((status.me.peer, status.me.name.as_str()), (cluster.peers()[cloud].peer, "cloud-1"));
        assert_eq!(status.mesh, cluster.mesh());
    });
}

#[test]
fn a_frozen_peer_is_seen_dead_and_alive_again_when_it_thaws() {
    run(async {
        let cluster = Cluster::start(ClusterConfig::new(0, 3).on_loopback()).await.unwrap();

        cluster.freeze(2).unwrap();

        cluster.wait_for_state(0, 2, PeerState::Dead, LONG).await.unwrap();
        cluster.wait_all_alive(LONG).await.expect("the two that are not frozen see each other");
        cluster.thaw(2).unwrap();
        cluster.wait_all_alive(LONG).await.unwrap();
    });
}

#[test]
fn a_stopped_peer_ends_by_itself_and_says_goodbye() {
    run(async {
        let cluster = Cluster::start(ClusterConfig::new(0, 2).on_loopback()).await.unwrap();

        let status = cluster.stop(1).await.unwrap();

        assert_eq!(status.code(), Some(0), "{}", std::fs::read_to_string(&cluster.peers()[1].log).unwrap());
        cluster.wait_for_state(0, 1, PeerState::Left, LONG).await.unwrap();
        assert!(matches!(cluster.kill(1), Err(ClusterError::NotRunning { .. })));
        assert_eq!(cluster.newly_ended(), [], "whoever stops a peer knows of its end");
    });
}

#[test]
fn peers_on_emulated_links_are_as_far_from_each_other_as_the_links_say() {
    emulated("peers_on_emulated_links_are_as_far_from_each_other_as_the_links_say", || {
        run(async {
            let cluster = Cluster::start(on_emulated_links(1, 2)).await.unwrap();
            let client = cluster.client(cluster.index("edge-1").unwrap()).unwrap();

            let ping = async |peer| {
                // On a full machine an answer may come too late.
                for _ in 0..20 {
                    if let Some(rtt_ms) = client.ping(peer).await.unwrap().rtt_ms {
                        return rtt_ms;
                    }
                }
                panic!("{peer} never answers");
            };
            let (near, far) = (ping("edge-2").await, ping("cloud-1").await);

            // One way is 1 ms and 15 ms, each packet up to 0.1 ms and 0.5 ms early.
            assert!(near >= 1.8 && far >= 29.0, "near {near} ms, far {far} ms");
        });
    });
}

#[test]
fn a_partition_of_emulated_links_is_noticed_and_heals() {
    emulated("a_partition_of_emulated_links_is_noticed_and_heals", || {
        run(async {
            let cluster = Cluster::start(on_emulated_links(1, 2)).await.unwrap();
            let (cloud, edge) = (0, 1);

            cluster.partition(&[&[cloud], &[1, 2]]).unwrap();

            cluster.wait_for_state(edge, cloud, PeerState::Dead, LONG).await.unwrap();
            cluster.wait_for_state(cloud, edge, PeerState::Dead, LONG).await.unwrap();
            cluster.heal().unwrap();
            cluster.wait_all_alive(LONG).await.unwrap();
        });
    });
}

#[test]
fn a_mesh_forms_by_multicast_alone() {
    emulated("a_mesh_forms_by_multicast_alone", || {
        run(async {
            let config = ClusterConfig { discovery: Discovery::Mdns, ..on_emulated_links(1, 2) };

            let cluster = Cluster::start(config).await.unwrap();

            let text = std::fs::read_to_string(&cluster.peers()[0].config).unwrap();
            assert!(text.contains("bootstrap = []"), "{text}");
        });
    });
}

#[test]
fn a_daemon_that_ends_at_once_is_told_with_its_last_words() {
    run(async {
        let config = ClusterConfig::new(1, 0).on_loopback();

        let error = Cluster::start(ClusterConfig { shoald: script("failing-daemon.sh"), ..config }).await.unwrap_err();

        let ClusterError::Ended { name, status, .. } = &error else { panic!("{error}") };
        assert_eq!((name.as_str(), status.code()), ("cloud-1", Some(3)));
        assert!(error.to_string().contains("no room in the harbour"), "{error}");
    });
}

#[test]
fn a_mesh_that_does_not_form_says_who_lacks_what_and_leaves_nothing_behind() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let config = ClusterConfig {
            shoald: script("silent-daemon.sh"),
            dir: Some(dir.path().join("mesh")),
            patience: Duration::from_millis(100),
            ..ClusterConfig::new(1, 1).on_loopback()
        };

        let error = Cluster::start(config).await.unwrap_err();

        let ClusterError::TimedOut { missing, .. } = &error else { panic!("{error}") };
        assert!(missing[0].starts_with("cloud-1 gives no answer"), "{missing:?}");
        assert!(missing[1].starts_with("edge-1 gives no answer"), "{missing:?}");
        assert_eq!(processes_with(&dir.path().display().to_string()), [] as [u32; 0]);
    });
}

#[test]
fn a_directory_in_use_or_with_other_things_in_it_is_left_alone() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("letter"), "Dear Ada").unwrap();
        let config = |dir: &Path| ClusterConfig {
            shoald: script("silent-daemon.sh"),
            dir: Some(dir.to_owned()),
            patience: Duration::from_millis(50),
            ..ClusterConfig::new(1, 0).on_loopback()
        };
        let mesh = dir.path().join("mesh");

        let foreign = Cluster::start(config(dir.path())).await.unwrap_err();
        let first = Cluster::start(config(&mesh)).await.unwrap_err();
        let after_the_first = Cluster::start(config(&mesh)).await.unwrap_err();
        let lock = std::fs::File::open(mesh.join("testnet.lock")).unwrap();
        lock.lock().unwrap();
        let while_in_use = Cluster::start(config(&mesh)).await.unwrap_err();

        assert!(matches!(foreign, ClusterError::DirNotOurs { .. }), "{foreign}");
        assert!(matches!(first, ClusterError::TimedOut { .. }), "{first}");
        assert!(matches!(after_the_first, ClusterError::TimedOut { .. }), "{after_the_first}");
        assert!(matches!(while_in_use, ClusterError::DirInUse { .. }), "{while_in_use}");
    });
}

#[test]
fn mistakes_are_errors_that_say_what_to_do() {
    run(async {
        let none = ClusterConfig { peers: Vec::new(), ..ClusterConfig::new(1, 1) };
        let twice = ClusterConfig { peers: vec![PeerPlan::edge("a"), PeerPlan::cloud("a")], ..none.clone() };
        let path = ClusterConfig { peers: vec![PeerPlan::edge("../a")], ..none.clone() };
        let missing =
            ClusterConfig { shoald: Some("/no/such/shoald".into()), ..ClusterConfig::new(1, 0).on_loopback() };
        let reach_out = ClusterConfig { discovery: Discovery::Mdns, ..ClusterConfig::new(1, 1).on_loopback() };

        for (config, fix) in
            [(none, "--cloud"), (twice, "name"), (path, "name"), (missing, "cargo build"), (reach_out, "--loopback")]
        {
            let error = Cluster::start(config).await.unwrap_err();
            assert!(error.hint().contains(fix), "{error}: {}", error.hint());
        }
    });
}

#[test]
fn an_end_nobody_asked_for_is_news_once() {
    run(async {
        let cluster = Cluster::start(ClusterConfig::new(0, 2).on_loopback()).await.unwrap();
        let pid = nix::unistd::Pid::from_raw(cluster.pid(0).unwrap().unwrap().cast_signed());

        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();

        let mut news = Vec::new();
        while news.is_empty() {
            news = cluster.newly_ended();
        }
        assert_eq!((news[0].0.as_str(), news[0].1.signal()), ("edge-1", Some(9)));
        assert_eq!(cluster.newly_ended(), []);
    });
}
