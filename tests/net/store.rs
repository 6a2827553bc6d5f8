//! The disk under a daemon: damaged, full, and in somebody else's hands.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};

use shoal_protocol::TaskState;

use super::*;

fn shoald(mesh: &Cluster, peer: usize, arguments: &[&str]) -> Output {
    let program = shoal_testnet::cluster::beside_or_on_path("shoald").unwrap();
    let config = &mesh.peers()[peer].config;
    Command::new(program).args(arguments).arg("--config").arg(config).env_remove("SHOAL_CONFIG").output().unwrap()
}

fn store_of(mesh: &Cluster, peer: usize) -> std::path::PathBuf {
    mesh.peers()[peer].data_dir.join("tasks.redb")
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(file, bytes).unwrap();
}

/// A damaged store is not a fresh start: the daemon says what is wrong and how to go on, with a code that tells a
/// supervisor to leave it alone, and changes nothing.
#[test]
fn a_damaged_store_is_refused_until_a_person_sets_it_aside() {
    run(async {
        let mesh = mesh(0, 2, |_| ()).await;
        let store = store_of(&mesh, 1);
        mesh.kill(1).unwrap();
        flip(&store, 100);
        let damaged = std::fs::read(&store).unwrap();

        let refused = shoald(&mesh, 1, &["run"]);

        let words = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(65), "{words}");
        // Which of the two files it names depends on how far the other goes.
        assert!(words.contains(" is damaged") && words.contains("repair-store"), "{words}");
        assert!(std::fs::read(&store).unwrap() == damaged, "a refusal changes nothing");

        let repaired = shoald(&mesh, 1, &["repair-store"]);
        let words = String::from_utf8_lossy(&repaired.stdout);
        assert!(repaired.status.success() && words.contains("tasks.redb.damaged-1"), "{words}");
        assert!(std::fs::read(store.with_extension("redb.damaged-1")).unwrap() == damaged, "it is kept as it was");
        mesh.restart(1).await.unwrap();
        mesh.wait_all_alive(LONG).await.unwrap();
    });
}

/// As where its log is on the disk that is full.
#[test]
fn a_daemon_whose_log_cannot_be_written_serves_and_ends_as_it_is_told() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        mesh.stop(0).await.unwrap();
        let program = shoal_testnet::cluster::beside_or_on_path("shoald").unwrap();
        let start = |config: &Path| {
            let full = || File::options().write(true).open("/dev/full").unwrap();
            let mut command = tokio::process::Command::new(&program);
            command.arg("--config").arg(config).env_remove("SHOAL_CONFIG").stdout(full()).stderr(full());
            command.kill_on_drop(true).spawn().unwrap()
        };

        let mut daemon = start(&mesh.peers()[0].config);
        let client = mesh.client(0).unwrap();
        while client.status().await.is_err() {
            assert!(daemon.try_wait().unwrap().is_none(), "it has ended");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let request = task_of(&client, example("wordcount"), &[], "a b a").await;
        assert_eq!(client.run(request).await.unwrap().state, TaskState::Done);
        let pid = nix::unistd::Pid::from_raw(daemon.id().unwrap().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert_eq!(daemon.wait().await.unwrap().code(), Some(0));

        let refused = start(Path::new("/nowhere/shoal.toml")).wait().await.unwrap();
        assert_eq!(refused.code(), Some(78));
    });
}

/// The store of streams is another of the same kind.
#[test]
fn a_damaged_store_of_streams_is_set_aside_as_well() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        mesh.kill(0).unwrap();
        let streams = mesh.peers()[0].data_dir.join("streams");
        std::fs::create_dir_all(&streams).unwrap();
        for file in ["tasks.redb", "tasks.log", "tasks.synced"] {
            std::fs::copy(mesh.peers()[0].data_dir.join(file), streams.join(file)).unwrap();
        }
        flip(&streams.join("tasks.redb"), 100);

        let refused = shoald(&mesh, 0, &["run"]);
        let words = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(65) && words.contains("repair-store"), "{words}");

        let repaired = shoald(&mesh, 0, &["repair-store"]);
        let words = String::from_utf8_lossy(&repaired.stdout);
        assert!(repaired.status.success() && words.contains("streams/tasks.redb.damaged-1"), "{words}");
        mesh.restart(0).await.unwrap();
    });
}

#[test]
fn where_there_is_no_store_a_repair_says_so_and_makes_none() {
    let dir = tempfile::tempdir().unwrap();
    let (config, data_dir) = (dir.path().join("shoal.toml"), dir.path().join("no"));
    std::fs::write(&config, format!("[node]\ndata_dir = {:?}\n", data_dir.display().to_string())).unwrap();
    let program = shoal_testnet::cluster::beside_or_on_path("shoald").unwrap();

    let refused = Command::new(program)
        .args(["repair-store", "--config"])
        .arg(&config)
        .env_remove("SHOAL_CONFIG")
        .output()
        .unwrap();

    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && words.contains("there is no task store"), "{words}");
    assert!(!data_dir.exists(), "nothing was made");
}

#[test]
fn a_store_that_a_daemon_has_open_is_not_repaired() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;

        let refused = shoald(&mesh, 0, &["repair-store"]);

        assert_eq!(refused.status.code(), Some(1));
        let words = String::from_utf8_lossy(&refused.stderr);
        assert!(words.contains("another shoald"), "{words}");
        assert!(mesh.client(0).unwrap().status().await.is_ok());
    });
}
