//! What a daemon keeps over its own death.

use super::*;

#[test]
fn a_restarted_daemon_is_who_it_was_has_its_blobs_and_finds_its_peers() {
    run(async {
        let mesh = mesh(0, 3, |_| ()).await;
        let client = mesh.client(2).unwrap();
        let before = client.status().await.unwrap();
        let blob = client.put_blob(b"kept".to_vec()).await.unwrap();
        // Without its list of addresses to begin with, it has only what it remembers.
        let config = std::fs::read_to_string(&mesh.peers()[2].config).unwrap();
        let mut lines: Vec<_> = config.lines().map(str::to_owned).collect();
        let at = lines.iter().position(|line| line.trim_start().starts_with("bootstrap")).expect("it has a list");
        assert!(lines[at].contains(']'), "the list is on one line");
        lines[at] = "bootstrap = []".into();
        std::fs::write(&mesh.peers()[2].config, lines.join("\n")).unwrap();
        let remembered = mesh.peers()[2].data_dir.join("peers.cbor");
        let deadline = std::time::Instant::now() + LONG;
        while !remembered.exists() {
            assert!(std::time::Instant::now() < deadline, "nothing is remembered");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Killed, not stopped: what matters was written before.
        mesh.kill(2).unwrap();

        mesh.restart(2).await.unwrap();
        mesh.wait_all_alive(LONG).await.unwrap();

        let client = mesh.client(2).unwrap();
        let after = client.status().await.unwrap();
        assert_eq!(after.me.peer, before.me.peer);
        let kept = client.blob(blob.id, None).await.unwrap().bytes(usize::MAX).await.unwrap();
        assert_eq!(&kept[..], b"kept");
    });
}

#[test]
fn a_corrupt_list_of_peers_is_set_aside_and_a_corrupt_key_refused() {
    run(async {
        let mesh = mesh(0, 2, |_| ()).await;
        let data_dir = mesh.peers()[1].data_dir.clone();
        mesh.kill(1).unwrap();
        std::fs::write(data_dir.join("peers.cbor"), b"\xff\xffnot a list").unwrap();
        mesh.restart(1).await.unwrap();
        mesh.wait_all_alive(LONG).await.unwrap();

        mesh.kill(1).unwrap();
        std::fs::write(data_dir.join("node.key"), b"short").unwrap();
        assert!(mesh.restart(1).await.is_err(), "a daemon without a key must not start");
        let log = std::fs::read_to_string(&mesh.peers()[1].log).unwrap();
        assert!(log.contains("node.key"), "the log does not name the file: {log}");
    });
}
