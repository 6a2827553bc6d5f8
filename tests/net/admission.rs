//! Who is let in.

use shoal_protocol::output::PeerState;

use super::*;

/// Two meshes, one of which tries to talk to the other: the stranger is cut off, and the mesh works on.
#[test]
fn a_peer_of_another_mesh_is_refused() {
    run(async {
        let mesh = mesh(0, 2, |_| ()).await;
        let there = mesh.client(0).unwrap();
        let address = there.status().await.unwrap().addresses.first().cloned().expect("it listens");
        let stranger = Cluster::start(ClusterConfig::new(0, 1).on_loopback()).await.unwrap();
        let config = std::fs::read_to_string(&stranger.peers()[0].config).unwrap();
        let pointed = config.replace("bootstrap = []", &format!("bootstrap = [\"{address}\"]"));
        assert_ne!(config, pointed, "the stranger's configuration has no bootstrap list to fill: {config}");
        std::fs::write(&stranger.peers()[0].config, pointed).unwrap();
        stranger.restart(0).await.unwrap();

        let refused = async || {
            let status = stranger.client(0).unwrap().status().await.unwrap();
            let strangers = there.status().await.unwrap().counters.get("refused").copied().unwrap_or(0);
            let log = std::fs::read_to_string(&mesh.peers()[0].log).unwrap();
            (status.peers.is_empty(), strangers > 0 || log.contains("stranger"))
        };
        let deadline = std::time::Instant::now() + LONG;
        while refused().await != (true, true) {
            assert!(std::time::Instant::now() < deadline, "nobody was refused");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }

        let known = there.peers().await.unwrap().items;
        assert_eq!(known.len(), 1, "{known:?}");
        assert_eq!(known[0].state, PeerState::Alive);
        let view = there.run(task_of(&there, example("wordcount"), &[], "a b").await).await.unwrap();
        assert_eq!(view.exit_code, Some(0));
    });
}
