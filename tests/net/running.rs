//! A task runs where it should, and its answer is right wherever that is.

use shoal_protocol::TaskState;
use shoal_protocol::task::spec::CloudUse;

use super::*;

const WORDS: &str = "one two two\nthree three three\n";

#[test]
fn a_task_runs_at_home_while_home_is_free() {
    run(async {
        let mesh = mesh(1, 2, |_| ()).await;
        let client = mesh.client(1).unwrap();
        let request = task_of(&client, example("wordcount"), &[], WORDS).await;
        // Who would compile it soonest is a matter of milliseconds on a busy machine: home has done so.
        client.run(TaskRequest { peer: Some("edge-1".into()), ..request.clone() }).await.unwrap();

        let view = client.run(request).await.unwrap();

        let why = client.explain(&view.task.to_string()).await.unwrap();
        assert_eq!((view.state, view.exit_code, executor(&view)), (TaskState::Done, Some(0), "edge-1"), "{why:#?}");
        assert_eq!(text(&view), native("wordcount", &[], WORDS));
    });
}

#[test]
fn a_task_runs_at_a_named_neighbour_which_fetches_its_module() {
    run(async {
        let mesh = mesh(1, 2, |_| ()).await;
        let client = mesh.client(1).unwrap();
        let mut request = task_of(&client, example("wordcount"), &[], WORDS).await;
        request.peer = Some("edge-2".into());

        let view = client.run(request.clone()).await.unwrap();

        assert_eq!(executor(&view), "edge-2");
        assert_eq!(text(&view), native("wordcount", &[], WORDS));
        let held = mesh.client(2).unwrap().blobs().await.unwrap();
        assert!(held.items.iter().any(|blob| blob.id == request.variants[0].module), "the module was not cached");
    });
}

#[test]
fn large_input_and_output_travel_as_blobs_and_arrive_whole() {
    run(async {
        let mesh = mesh(0, 2, |_| ()).await;
        let client = mesh.client(0).unwrap();
        let echo = wat::parse_str(include_str!("echo.wat")).unwrap();
        let input = "0123456789abcdef".repeat(40_000);
        let mut request = task_of(&client, &echo, &[], &input).await;
        request.peer = Some("edge-2".into());

        let view = client.run(request).await.unwrap();

        assert_eq!((view.state, executor(&view)), (TaskState::Done, "edge-2"), "{view:?}");
        let output = client.result(&view.task.to_string()).await.unwrap().bytes(usize::MAX).await.unwrap();
        assert!(output == input.as_bytes(), "{} bytes came back of {}", output.len(), input.len());
    });
}

/// Both edge peers have one core; ten long tasks come at once: the edge takes some, the cloud the rest, all are right.
#[test]
fn work_overflows_to_the_cloud_when_the_edge_is_full() {
    run(async {
        let mesh = mesh(2, 2, |_| ()).await;
        let client = mesh.client(2).unwrap();
        let args = ["30000000"];
        let request = task_of(&client, example("spin"), &args, "").await;
        // What a run costs is learnt from the first one.
        client.run(request.clone()).await.unwrap();

        let mut ids = Vec::new();
        for _ in 0..10 {
            ids.push(client.submit(&request).await.unwrap().task.to_string());
        }
        let mut executors = Vec::new();
        for id in ids {
            let view = client.wait(&id).await.unwrap();
            assert_eq!(text(&view), native("spin", &args, ""));
            executors.push(executor(&view).to_owned());
        }

        assert!(executors.iter().any(|name| name.starts_with("cloud")), "{executors:?}");
        assert!(executors.iter().any(|name| name.starts_with("edge")), "{executors:?}");
    });
}

#[test]
fn without_the_cloud_everything_stays_at_the_edge_and_local_only_at_home() {
    run(async {
        let mesh = mesh(1, 2, |_| ()).await;
        let client = mesh.client(1).unwrap();
        let request = task_of(&client, example("spin"), &["10000000"], "").await;
        let mut ids = Vec::new();
        for n in 0..12 {
            let cloud = Some(CloudUse::Never);
            let request = TaskRequest { cloud, local_only: n % 2 == 0, ..request.clone() };
            ids.push((n, client.submit(&request).await.unwrap().task.to_string()));
        }

        for (n, id) in ids {
            let view = client.wait(&id).await.unwrap();
            assert_eq!(view.exit_code, Some(0), "{view:?}");
            assert!(executor(&view).starts_with("edge"), "{view:?}");
            assert!(n % 2 == 1 || executor(&view) == "edge-1", "{view:?}");
        }
    });
}

/// The same key names the same task: a client that asks again gets the answer there is.
#[test]
fn the_same_idempotency_key_runs_once() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        let client = mesh.client(0).unwrap();
        let mut request = task_of(&client, example("wordcount"), &[], WORDS).await;
        request.idempotency_key = Some("order-17".into());

        let first = client.run(request.clone()).await.unwrap();
        let again = client.run(request).await.unwrap();

        assert_eq!(first.task, again.task);
        assert_eq!(client.status().await.unwrap().tasks.executed_here, 1);
    });
}
