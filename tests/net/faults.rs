//! Executors that die, freeze or come back: the answer arrives, once.

use shoal_protocol::TaskState;

use super::*;

/// Long enough to be interrupted, short enough to be run again: about two seconds on this machine.
const SPIN: [&str; 1] = ["600000000"];

/// Submits a long task to the cloud and waits until it runs there; the index of the peer that has it, and at which attempt.
async fn running_in_the_cloud(mesh: &Cluster, client: &Client) -> (String, usize, u32) {
    let mut request = task_of(client, example("spin"), &SPIN, "").await;
    request.role = Some(shoal_protocol::Role::Cloud);
    let id = client.submit(&request).await.unwrap().task.to_string();
    let deadline = std::time::Instant::now() + LONG;
    loop {
        let view = client.task(&id).await.unwrap();
        if view.state == TaskState::Running {
            return (id, mesh.index(executor(&view)).unwrap(), view.attempt);
        }
        assert!(!view.state.is_final() && std::time::Instant::now() < deadline, "it never ran: {view:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn the_task_of_a_killed_executor_is_answered_by_another() {
    run(async {
        let mesh = mesh(2, 1, |_| ()).await;
        let client = mesh.client(2).unwrap();
        let (id, holder, before) = running_in_the_cloud(&mesh, &client).await;

        mesh.kill(holder).unwrap();
        let view = client.wait(&id).await.unwrap();

        assert_eq!((view.state, view.attempt), (TaskState::Done, before + 1), "{view:?}");
        assert_eq!(text(&view), native("spin", &SPIN, ""));
        assert_ne!(mesh.index(executor(&view)).unwrap(), holder);
        let decisions = client.explain(&id).await.unwrap().items;
        assert!(decisions.len() >= view.attempt as usize, "each attempt explains itself: {decisions:?}");
    });
}

#[test]
fn a_frozen_executor_that_wakes_with_the_answer_too_changes_nothing() {
    run(async {
        let mesh = mesh(2, 1, |_| ()).await;
        let client = mesh.client(2).unwrap();
        let (id, holder, before) = running_in_the_cloud(&mesh, &client).await;

        mesh.freeze(holder).unwrap();
        let view = client.wait(&id).await.unwrap();
        assert_eq!((view.state, view.attempt), (TaskState::Done, before + 1), "{view:?}");
        mesh.thaw(holder).unwrap();
        mesh.wait_all_alive(LONG).await.unwrap();
        // The woken peer has nothing left to run once it has offered its answer, or was told to stop.
        let woken = mesh.client(holder).unwrap();
        let deadline = std::time::Instant::now() + LONG;
        while woken.status().await.unwrap().me.load.unwrap().running > 0 {
            assert!(std::time::Instant::now() < deadline, "the woken peer never ends its run");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }

        let after = client.task(&id).await.unwrap();
        assert_eq!((after.state, after.attempt, executor(&after)), (TaskState::Done, before + 1, executor(&view)));
        assert_eq!(text(&after), native("spin", &SPIN, ""));
        assert_eq!(client.status().await.unwrap().tasks.done, 1);
    });
}

/// A peer that is asked to stop hands back what it has not begun: nothing is lost, nobody waits for a timeout.
#[test]
fn a_stopping_peer_hands_its_queue_back() {
    run(async {
        let mesh = mesh(2, 1, |config| config.peers.iter_mut().for_each(|peer| peer.cores = 1)).await;
        let client = mesh.client(2).unwrap();
        let mut request = task_of(&client, example("spin"), &["100000000"], "").await;
        request.role = Some(shoal_protocol::Role::Cloud);
        let mut ids = Vec::new();
        for _ in 0..8 {
            ids.push(client.submit(&request).await.unwrap().task.to_string());
        }

        let ended = mesh.stop(0).await.unwrap();

        assert!(ended.success(), "{ended:?}: {}", mesh.last_words(0).unwrap());
        for id in ids {
            let view = client.wait(&id).await.unwrap();
            assert_eq!(view.state, TaskState::Done, "{view:?}");
        }
    });
}

#[test]
fn a_cancelled_task_stops_running_where_it_runs() {
    run(async {
        let mesh = mesh(1, 1, |_| ()).await;
        let client = mesh.client(1).unwrap();
        let endless = wat::parse_str("(module (memory (export \"memory\") 1) (func (export \"_start\") (loop br 0)))");
        let mut request = task_of(&client, &endless.unwrap(), &[], "").await;
        request.role = Some(shoal_protocol::Role::Cloud);
        let id = client.submit(&request).await.unwrap().task.to_string();
        let cloud = mesh.client(0).unwrap();
        let running = async |wanted: u16| {
            while cloud.status().await.unwrap().me.load.unwrap().running != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, running(1)).await.expect("it never ran");

        let view = client.cancel(&id).await.unwrap();

        assert_eq!(view.state, TaskState::Cancelled);
        tokio::time::timeout(LONG, running(0)).await.expect("it runs on");
    });
}
