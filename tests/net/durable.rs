//! What `shoal submit` promises: an acknowledged task ends, and its result is there, whoever dies meanwhile.

use std::path::PathBuf;
use std::time::Instant;

use shoal_cli::client::ClientError;
use shoal_protocol::api::codes;
use shoal_protocol::{PeerId, TaskState};

use super::*;

const USER: PeerId = PeerId([0x5a; 32]);
const SPIN: [&str; 1] = ["600000000"];

/// A task that is kept, of a user who comes back with the same key.
async fn kept(client: &Client, module: &str, args: &[&str], input: &str, durable: u8) -> TaskRequest {
    let request = task_of(client, example(module), args, input).await;
    TaskRequest { durable, submitter: Some(USER), ..request }
}

fn code_of<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    result.unwrap_err().code().unwrap_or_default().to_owned()
}

async fn until(client: &Client, id: &str, wanted: impl Fn(&TaskView) -> bool) -> TaskView {
    let deadline = Instant::now() + LONG;
    loop {
        let view = client.task(id).await;
        match view {
            Ok(view) if wanted(&view) => return view,
            other => assert!(Instant::now() < deadline, "it never came to that: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn an_acknowledged_task_survives_kill_9_of_its_home_in_every_state() {
    run(async {
        let mesh = mesh(0, 2, |config| config.peers.iter_mut().for_each(|peer| peer.cores = 1)).await;
        let mut expected = Vec::new();
        let client = mesh.client(0).unwrap();
        // More than can run: some run here, some elsewhere, the others wait.
        for n in 0..6 {
            let work = (200_000_000 + n).to_string();
            let request = kept(&client, "spin", &[&work], "", 1).await;
            expected.push((client.submit(&request).await.unwrap().task.to_string(), native("spin", &[&work], "")));
        }

        for pause in [0, 300, 1_500] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            mesh.kill(0).unwrap();
            mesh.restart(0).await.unwrap();
        }

        let client = mesh.client(0).unwrap();
        for (id, output) in expected {
            let view = client.wait(&id).await.unwrap();
            assert_eq!((view.state, text(&view)), (TaskState::Done, output.as_str()), "{view:?}");
        }
        assert_eq!(client.tasks(100).await.unwrap().items.len(), 6, "each of them once");
    });
}

#[test]
fn a_result_is_there_after_a_restart_and_the_same_key_names_the_same_task() {
    run(async {
        let mesh = mesh(0, 2, |_| ()).await;
        let client = mesh.client(0).unwrap();
        let request = kept(&client, "wordcount", &[], "one two two", 1).await;
        let request = TaskRequest { idempotency_key: Some("once".into()), ..request };
        let first = client.submit(&request).await.unwrap();
        let done = client.wait(&first.task.to_string()).await.unwrap();

        mesh.kill(0).unwrap();
        mesh.restart(0).await.unwrap();

        let client = mesh.client(0).unwrap();
        let again = client.submit(&request).await.unwrap();
        assert_eq!((again.task, again.state), (first.task, TaskState::Done), "{again:?}");
        let kept = client.task(&first.task.to_string()).await.unwrap();
        assert_eq!(text(&kept), text(&done));
        // From a peer that never heard of it, by the whole id.
        let other = mesh.client(1).unwrap();
        mesh.wait_all_alive(LONG).await.unwrap();
        let fetched = other.wait(&first.task.to_string()).await.unwrap();
        assert_eq!((fetched.state, text(&fetched)), (TaskState::Done, text(&done)));
        assert_eq!(code_of(other.cancel(&first.task.to_string()).await), codes::NO_TASK, "not where it was handed in");
    });
}

#[test]
fn a_key_names_one_task_whatever_is_handed_in_with_it() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        let client = mesh.client(0).unwrap();
        let keyed = |request: TaskRequest| TaskRequest { idempotency_key: Some("one".into()), ..request };
        let first = client.submit(&keyed(kept(&client, "wordcount", &[], "one", 1).await)).await.unwrap();

        let other_module = keyed(kept(&client, "noop", &[], "one", 1).await);
        let other_arguments = keyed(kept(&client, "wordcount", &["--top", "3"], "one", 1).await);
        let other_input = keyed(kept(&client, "wordcount", &[], "two", 1).await);

        assert_eq!(code_of(client.submit(&other_module).await), codes::KEY_TAKEN);
        assert_eq!(code_of(client.submit(&other_arguments).await), codes::KEY_TAKEN);
        assert_eq!(client.submit(&other_input).await.unwrap().task, first.task, "what it reads is not compared");
    });
}

#[test]
fn tasks_are_listed_after_a_restart_in_the_order_in_which_they_came() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        let client = mesh.client(0).unwrap();
        for n in 0..6 {
            let request = kept(&client, "wordcount", &[], &"word ".repeat(n), 1).await;
            let view = client.submit(&TaskRequest { name: n.to_string(), ..request }).await.unwrap();
            client.wait(&view.task.to_string()).await.unwrap();
        }

        mesh.kill(0).unwrap();
        mesh.restart(0).await.unwrap();

        let listed = mesh.client(0).unwrap().tasks(100).await.unwrap().items;
        let names: Vec<&str> = listed.iter().map(|task| task.name.as_str()).collect();
        assert_eq!(names, ["5", "4", "3", "2", "1", "0"]);
        assert!(listed.iter().all(|task| task.executor.is_some()), "{listed:?}");
    });
}

#[test]
fn a_time_that_is_none_is_refused() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        let client = mesh.client(0).unwrap();
        let request = kept(&client, "noop", &[], "", 1).await;

        let late = TaskRequest { deadline_ms: Some(0), ..request.clone() };
        let forgotten = TaskRequest { retention_ms: Some(0), ..request };

        assert_eq!(code_of(client.submit(&late).await), codes::BAD_REQUEST);
        assert_eq!(code_of(client.submit(&forgotten).await), codes::BAD_REQUEST);
    });
}

#[test]
fn a_guardian_takes_over_when_the_home_is_gone() {
    run(async {
        let mesh = mesh(1, 3, |_| ()).await;
        let home = mesh.index("edge-1").unwrap();
        let client = mesh.client(home).unwrap();
        let request = TaskRequest {
            role: Some(shoal_protocol::Role::Cloud),
            idempotency_key: Some("guarded".into()),
            ..kept(&client, "spin", &SPIN, "", 2).await
        };
        let id = client.submit(&request).await.unwrap().task.to_string();

        mesh.kill(home).unwrap();

        let other = mesh.client(mesh.index("edge-3").unwrap()).unwrap();
        let view = until(&other, &id, |view| view.state.is_final()).await;
        assert_eq!((view.state, text(&view)), (TaskState::Done, native("spin", &SPIN, "").as_str()), "{view:?}");
        // The home comes back and learns what happened meanwhile; nothing runs again.
        mesh.restart(home).await.unwrap();
        let home = mesh.client(home).unwrap();
        let told = until(&home, &id, |view| view.state.is_final()).await;
        assert_eq!((told.state, text(&told)), (TaskState::Done, text(&view)));
    });
}

/// Also at the one that leads the task now, though it was not handed in there.
#[test]
fn who_waits_for_a_task_of_a_lost_home_is_told_its_end_at_every_peer() {
    run(async {
        let mesh = mesh(1, 3, |_| ()).await;
        let home = mesh.index("edge-1").unwrap();
        let client = mesh.client(home).unwrap();
        let request = TaskRequest {
            role: Some(shoal_protocol::Role::Cloud),
            idempotency_key: Some("waited for".into()),
            ..kept(&client, "spin", &SPIN, "", 2).await
        };
        client.submit(&request).await.unwrap();
        for peer in 0..mesh.peers().len() {
            // Whoever hands it in anew has the module.
            mesh.client(peer).unwrap().put_blob(example("spin").to_vec()).await.unwrap();
        }

        mesh.kill(home).unwrap();

        let mut told = tokio::task::JoinSet::new();
        for peer in (0..mesh.peers().len()).filter(|peer| *peer != home) {
            let (client, request) = (mesh.client(peer).unwrap(), request.clone());
            told.spawn(async move {
                loop {
                    match client.run(request.clone()).await {
                        Ok(view) => break view,
                        // Nobody leads it yet who could say that it was acknowledged.
                        Err(ClientError::Problem(problem)) if problem.retryable => {
                            tokio::time::sleep(Duration::from_millis(100)).await;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        for view in told.join_all().await {
            assert_eq!((view.state, text(&view)), (TaskState::Done, native("spin", &SPIN, "").as_str()), "{view:?}");
        }
    });
}

#[test]
fn a_killed_executor_costs_a_kept_task_one_attempt() {
    run(async {
        let mesh = mesh(2, 1, |_| ()).await;
        let client = mesh.client(2).unwrap();
        let request = kept(&client, "spin", &SPIN, "", 1).await;
        let request = TaskRequest { role: Some(shoal_protocol::Role::Cloud), ..request };
        let id = client.submit(&request).await.unwrap().task.to_string();
        let running = until(&client, &id, |view| view.state == TaskState::Running).await;

        mesh.kill(mesh.index(executor(&running)).unwrap()).unwrap();

        let view = client.wait(&id).await.unwrap();
        assert_eq!((view.state, text(&view)), (TaskState::Done, native("spin", &SPIN, "").as_str()), "{view:?}");
        assert_ne!(executor(&view), executor(&running));
    });
}

#[test]
fn a_cancelled_task_stays_cancelled_over_a_restart() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        let client = mesh.client(0).unwrap();
        let endless = wat::parse_str("(module (memory (export \"memory\") 1) (func (export \"_start\") (loop br 0)))");
        let request = task_of(&client, &endless.unwrap(), &[], "").await;
        let request = TaskRequest { durable: 1, ..request };
        let id = client.submit(&request).await.unwrap().task.to_string();
        client.cancel(&id).await.unwrap();
        until(&client, &id, |view| view.state == TaskState::Cancelled).await;

        mesh.kill(0).unwrap();
        mesh.restart(0).await.unwrap();

        let view = mesh.client(0).unwrap().task(&id).await.unwrap();
        assert_eq!(view.state, TaskState::Cancelled);
    });
}

/// A disk with 64 MiB, seen by the daemon alone.
struct SmallDisk {
    program: PathBuf,
    place: PathBuf,
    _dir: tempfile::TempDir,
}

impl SmallDisk {
    /// Nothing where the system does not let an ordinary user make one.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("disk");
        std::fs::create_dir(&place).unwrap();
        let shoald = shoal_testnet::cluster::beside_or_on_path("shoald").unwrap();
        let program = dir.path().join("shoald-on-a-small-disk");
        let script = format!(
            "#!/bin/sh\nexec unshare --map-root-user --mount sh -c '\n\
             mount -t tmpfs -o size=64m none {place} && cp \"$(dirname \"$2\")\"/data/* {place} && exec {shoald} \"$@\" --data-dir {place}' sh \"$@\"\n",
            place = place.display(),
            shoald = shoald.display(),
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let possible = std::process::Command::new("unshare").args(["--map-root-user", "--mount", "true"]).status();
        possible.is_ok_and(|status| status.success()).then_some(Self { program, place, _dir: dir })
    }

    /// The disk as the daemon sees it.
    fn within(&self, pid: u32) -> PathBuf {
        PathBuf::from(format!("/proc/{pid}/root{}", self.place.display()))
    }
}

#[test]
fn a_full_disk_refuses_submissions_not_runs_and_recovers() {
    let Some(disk) = SmallDisk::new() else {
        return eprintln!("\n*** SKIPPED: no mount namespace can be made here ***\n");
    };
    run(async {
        let mesh = mesh(0, 1, |config| config.shoald = Some(disk.program.clone())).await;
        let client = mesh.client(0).unwrap();
        let request = kept(&client, "wordcount", &[], "a b", 1).await;
        let before = client.submit(&request).await.unwrap().task.to_string();
        client.wait(&before).await.unwrap();
        let filler = disk.within(mesh.pid(0).unwrap().unwrap()).join("filler");
        let block = vec![1; 1 << 20];
        let mut written = Vec::new();
        while std::fs::write(&filler, &written).is_ok() && written.len() < 128 << 20 {
            written.extend_from_slice(&block);
        }

        let refused = client.submit(&TaskRequest { idempotency_key: Some("full".into()), ..request.clone() }).await;

        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Some(codes::STORE), "{refused}");
        assert!(refused.to_string().contains("disk full"), "{refused}");
        let in_memory = TaskRequest { durable: 0, ..request.clone() };
        assert_eq!(client.run(in_memory).await.unwrap().state, TaskState::Done);

        std::fs::remove_file(&filler).unwrap();
        let deadline = Instant::now() + LONG;
        let id = loop {
            match client.submit(&TaskRequest { idempotency_key: Some("room".into()), ..request.clone() }).await {
                Ok(view) => break view.task.to_string(),
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(client.wait(&id).await.unwrap().state, TaskState::Done);
        assert_eq!(client.task(&before).await.unwrap().state, TaskState::Done);
    });
}
