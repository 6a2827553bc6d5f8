//! Data with labels between real peers: where it is served, run, written and kept, and where it is not.

use std::fs;
use std::path::Path;
use std::time::Instant;

use shoal_cli::client::ClientError;
use shoal_protocol::api::{BlobView, LabelsRequest, PipelineRequest, PolicyCheckRequest, StageRequest, codes};
use shoal_protocol::pipeline::PipelineState;
use shoal_protocol::{BlobId, PeerId, TaskState};

use super::*;

/// Where the peers of [`abroad`] are: three in the EU, the fastest in the US, and one of which nobody says it.
const EU: [usize; 3] = [0, 1, 2];
const US: usize = 3;
const UNSAID: usize = 4;
/// Data that is found wherever it is copied to.
const SECRET: &str = "Ada Lovelace, 36, London, one two two";

async fn abroad() -> Cluster {
    mesh(0, 5, |config| {
        for (index, peer) in config.peers.iter_mut().enumerate() {
            let region = match index {
                US => Some("us"),
                UNSAID => None,
                _ => Some("eu"),
            };
            peer.labels.extend(region.map(|region| ("residency".to_owned(), region.to_owned())));
            peer.speed = Some(if index == US { 50.0 } else { 1.0 });
        }
    })
    .await
}

fn labels(residency: &[&str], ttl: Option<Duration>) -> LabelsRequest {
    LabelsRequest {
        residency: residency.iter().map(ToString::to_string).collect(),
        class: vec!["personal".to_owned()],
        ttl_ms: ttl.map(|ttl| ttl.as_millis() as u64),
    }
}

async fn put(client: &Client, bytes: &str, labels: &LabelsRequest) -> BlobView {
    client.put_labelled_blob(bytes.as_bytes().to_vec(), labels).await.unwrap()
}

async fn get(mesh: &Cluster, by: usize, id: BlobId, from: usize) -> Result<Vec<u8>, ClientError> {
    let from = &mesh.peers()[from].name;
    Ok(mesh.client(by).unwrap().blob(id, Some(from)).await?.bytes(usize::MAX).await?.to_vec())
}

/// Whether any file below a directory has these bytes in it.
fn is_on_disk(dir: &Path, needle: &[u8]) -> bool {
    fs::read_dir(dir).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return is_on_disk(&path, needle);
        }
        // A socket, or a file that has gone meanwhile, has nothing to read.
        fs::read(&path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    })
}

/// Whether a peer has these bytes: in a file, or in a blob, whose files are sealed.
async fn has(mesh: &Cluster, index: usize, needle: &[u8]) -> bool {
    let client = mesh.client(index).unwrap();
    for blob in client.blobs().await.unwrap().items.into_iter().filter(|blob| blob.complete) {
        // One that is gone by now is not there.
        let Ok(download) = client.blob(blob.id, None).await else { continue };
        let bytes = download.bytes(usize::MAX).await.unwrap_or_default();
        if bytes.windows(needle.len()).any(|window| window == needle) {
            return true;
        }
    }
    is_on_disk(&mesh.peers()[index].data_dir, needle)
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so().await {
        assert!(Instant::now() < deadline, "it never came to that: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn residency_a_blob_of_the_eu_is_not_served_to_a_peer_of_the_us_that_asks_for_it() {
    run(async {
        let mesh = abroad().await;
        let owner = mesh.client(0).unwrap();
        let blob = put(&owner, SECRET, &labels(&["eu"], None)).await;
        assert_eq!(blob.labels.residency, Some(vec!["eu".to_owned()]));
        let free = owner.put_blob(b"free".to_vec()).await.unwrap();

        assert_eq!(get(&mesh, 1, blob.id, 0).await.unwrap(), SECRET.as_bytes());
        // From its owner, and from who has fetched it: the labels came with it.
        for from in [0, 1] {
            for by in [US, UNSAID] {
                let error = get(&mesh, by, blob.id, from).await.unwrap_err();
                assert_eq!(error.code(), Some(codes::NO_BLOB), "{error}");
            }
        }
        assert_eq!(get(&mesh, US, free.id, 0).await.unwrap(), b"free");

        let stat = mesh.client(1).unwrap().blob_stat(blob.id, false).await.unwrap();
        assert_eq!(
            (stat.labels.residency.clone(), stat.labels.class.clone()),
            (Some(vec!["eu".into()]), vec!["personal".into()])
        );
        assert!(stat.owners.len() == 1 && stat.owners[0].name == mesh.peers()[0].name, "{stat:?}");
        let seen = mesh.client(US).unwrap().blob_stat(blob.id, true).await;
        assert!(seen.is_err(), "that somebody has it is not told either: {seen:?}");
        assert!(has(&mesh, 1, SECRET.as_bytes()).await && !has(&mesh, US, SECRET.as_bytes()).await);

        let denials = owner.status().await.unwrap().counters["shoal_policy_denials_total{rule=\"residency\"}"];
        assert!(denials >= 2, "{denials}");
        let log = mesh.peers()[0].data_dir.join("audit.log");
        until("an entry in the audit log", async || {
            fs::read_to_string(&log).is_ok_and(|text| text.contains("\"withheld\"") && text.contains("residency=eu"))
        })
        .await;

        // What a peer has of it, it still has with its labels after a restart.
        mesh.restart(1).await.unwrap();
        mesh.wait_all_alive(LONG).await.unwrap();
        get(&mesh, US, blob.id, 1).await.unwrap_err();
        assert_eq!(get(&mesh, 2, blob.id, 1).await.unwrap(), SECRET.as_bytes());
    });
}

#[test]
fn residency_a_task_does_not_run_where_its_data_may_not_be_though_that_is_fastest() {
    run(async {
        let mesh = abroad().await;
        let client = mesh.client(0).unwrap();
        let free = task_of(&client, example("wordcount"), &[], SECRET).await;
        // Far longer than the way there: it is worth going.
        let free = TaskRequest { expected_ms: Some(20_000.0), ..free };
        let view = client.run(free.clone()).await.unwrap();
        assert_eq!(executor(&view), mesh.peers()[US].name, "{view:?}");

        let bound = TaskRequest { residency: vec!["eu".into()], class: vec!["personal".into()], ..free };
        let decision = client.dry_run(bound.clone()).await.unwrap();
        let of = |index: usize| decision.candidates.iter().find(|it| it.peer == mesh.peers()[index].peer).unwrap();
        assert!(of(US).note.contains("residency=eu") && of(US).note.contains("residency=us"), "{decision:?}");
        assert!(of(UNSAID).note.contains("does not say residency"), "{decision:?}");
        for _ in 0..5 {
            let view = client.run(bound.clone()).await.unwrap();
            assert!(EU.iter().any(|index| mesh.peers()[*index].name == executor(&view)), "{view:?}");
            assert_eq!(text(&view), native("wordcount", &[], SECRET));
        }

        let pinned = TaskRequest { peer: Some(mesh.peers()[US].name.clone()), ..bound.clone() };
        let refused = client.run(pinned).await.unwrap();
        let problem = refused.problem.unwrap();
        assert_eq!((refused.state, problem.code.as_str()), (TaskState::Failed, codes::RESIDENCY), "{problem:?}");
        assert!(problem.title.contains("residency=eu") && problem.hint.contains("shoal policy check"), "{problem:?}");

        let asked = PolicyCheckRequest { task: Some(bound), pipeline: None };
        let checked = client.check_policy(&asked).await.unwrap();
        let may: Vec<usize> = (0..5)
            .filter(|index| {
                let peer = mesh.peers()[*index].peer;
                checked.subjects[0].peers.iter().any(|verdict| verdict.peer == peer && verdict.allowed)
            })
            .collect();
        assert_eq!(may, EU, "{checked:?}");
        assert!(!has(&mesh, UNSAID, SECRET.as_bytes()).await);
    });
}

#[test]
fn residency_what_is_made_of_data_goes_no_further_than_the_data() {
    run(async {
        let mesh = abroad().await;
        let client = mesh.client(0).unwrap();
        let blob = put(&client, SECRET, &labels(&["eu"], None)).await;
        let task = task_of(&client, example("wordcount"), &[], "").await;
        let kept = TaskRequest {
            inputs: vec![InputRequest::Blob(blob.id)],
            keep_output: true,
            peer: Some(mesh.peers()[1].name.clone()),
            ..task.clone()
        };

        let view = client.run(kept).await.unwrap();

        let Some(OutputView::Blob { id, .. }) = view.output else { panic!("{view:?}") };
        let stat = mesh.client(1).unwrap().blob_stat(id, false).await.unwrap();
        assert_eq!(stat.labels.residency, Some(vec!["eu".to_owned()]), "{stat:?}");
        assert_eq!(get(&mesh, 2, id, 1).await.unwrap(), native("wordcount", &[], SECRET).as_bytes());
        get(&mesh, US, id, 1).await.unwrap_err();

        // A peer of the US hands in a task on data that it may not have, and of whose labels it knows nothing.
        let abroad = mesh.client(US).unwrap();
        let module = abroad.put_blob(example("wordcount").to_vec()).await.unwrap().id;
        let variants = vec![VariantRequest { name: String::new(), module, loss: 0.0 }];
        let asked = TaskRequest { variants, inputs: vec![InputRequest::Blob(blob.id)], ..TaskRequest::default() };
        let refused = abroad.run(asked).await.unwrap_err();
        assert_eq!(refused.code(), Some(codes::NO_BLOB), "{refused}");
    });
}

#[test]
fn residency_stages_of_a_pipeline_hand_their_labels_on() {
    run(async {
        let mesh = abroad().await;
        let client = mesh.client(0).unwrap();
        let task = TaskRequest {
            inputs: Vec::new(),
            expected_ms: Some(20_000.0),
            ..task_of(&client, example("wordcount"), &[], "").await
        };
        let stage = |name: &str, map: Option<&str>, inputs: &[&str]| StageRequest {
            name: name.to_owned(),
            task: task.clone(),
            map: map.map(str::to_owned),
            inputs: inputs.iter().map(ToString::to_string).collect(),
            deterministic: true,
            ..StageRequest::default()
        };
        let request = PipelineRequest {
            name: "words".into(),
            inputs: [
                ("letters".to_owned(), vec![InputRequest::Text(SECRET.into()), InputRequest::Text("three".into())]),
                ("free".to_owned(), vec![InputRequest::Text("four".into())]),
            ]
            .into(),
            labels: [("letters".to_owned(), labels(&["eu"], None))].into(),
            stages: vec![
                stage("count", Some("letters"), &[]),
                stage("sum", None, &["count"]),
                stage("other", None, &["free"]),
            ],
            ..PipelineRequest::default()
        };
        let asked = PolicyCheckRequest { task: None, pipeline: Some(request.clone()) };
        let checked = client.check_policy(&asked).await.unwrap();
        let us = mesh.peers()[US].peer;
        let may_go_abroad: Vec<(String, bool)> = checked
            .subjects
            .iter()
            .map(|it| (it.stage.clone().unwrap(), it.peers.iter().any(|peer| peer.peer == us && peer.allowed)))
            .collect();
        let expected = [("count", false), ("sum", false), ("other", true)].map(|(stage, may)| (stage.to_owned(), may));
        assert_eq!(may_go_abroad, expected);

        let accepted = client.submit_pipeline(&request).await.unwrap();
        let id = accepted.pipeline.to_string();
        let mut view = accepted;
        until("the end of the pipeline", async || {
            view = client.pipeline(&id, Duration::from_secs(1)).await.unwrap();
            view.state.is_final()
        })
        .await;

        assert_eq!(view.state, PipelineState::Done, "{view:?}");
        let ran_at = |name: &str| {
            let stage = view.stages.iter().find(|stage| stage.name == name).unwrap();
            stage.peers.clone()
        };
        let abroad = mesh.peers()[US].name.clone();
        assert!(!ran_at("count").contains(&abroad) && !ran_at("sum").contains(&abroad), "{view:?}");
        for index in [US, UNSAID] {
            assert!(!has(&mesh, index, b"Lovelace").await, "{index}");
        }
    });
}

#[test]
fn residency_the_guardian_of_a_task_is_never_a_peer_that_may_not_have_it() {
    run(async {
        let mesh = abroad().await;
        let client = mesh.client(0).unwrap();
        let task = task_of(&client, example("wordcount"), &[], SECRET).await;
        let (residency, submitter) = (vec!["eu".into()], Some(PeerId([0x5a; 32])));
        let kept = TaskRequest { durable: 2, residency, submitter, ..task };
        for n in 0..4 {
            let request = TaskRequest { idempotency_key: Some(format!("key {n}")), ..kept.clone() };
            let view = client.submit(&request).await.unwrap();
            let view = client.wait(&view.task.to_string()).await.unwrap();
            assert_eq!(
                (view.state, text(&view)),
                (TaskState::Done, native("wordcount", &[], SECRET).as_str()),
                "{view:?}"
            );
        }
        for index in [US, UNSAID] {
            assert!(!has(&mesh, index, b"Lovelace").await, "{index}");
        }

        // With one peer left that may have it there is nobody to keep it.
        let alone = TaskRequest { residency: vec!["us".into()], ..kept };
        let error = mesh.client(0).unwrap().submit(&alone).await.unwrap_err();
        assert_eq!(error.code(), Some(codes::NO_GUARDIAN), "{error}");
        assert!(error.to_string().contains("residency=us"), "{error}");
    });
}

#[test]
fn residency_a_blob_whose_time_is_over_is_gone_everywhere_also_after_a_restart() {
    run(async {
        let mesh = abroad().await;
        let client = mesh.client(0).unwrap();
        let short = put(&client, SECRET, &labels(&[], Some(Duration::from_secs(10)))).await;
        assert_eq!(get(&mesh, US, short.id, 0).await.unwrap(), SECRET.as_bytes(), "it may go anywhere until then");
        let while_down =
            put(&mesh.client(1).unwrap(), "gone meanwhile", &labels(&["eu"], Some(Duration::from_secs(10)))).await;
        let lasting = put(&client, "lasting", &labels(&["eu"], Some(Duration::from_secs(3_600)))).await;
        mesh.client(1).unwrap().pin_blob(while_down.id).await.unwrap();
        mesh.kill(1).unwrap();

        until("its end at both", async || {
            let mut gone = true;
            for index in [0, US] {
                let blobs = mesh.client(index).unwrap().blobs().await.unwrap();
                gone &= blobs.items.iter().all(|blob| blob.id != short.id);
            }
            gone
        })
        .await;
        for index in [0, US] {
            assert!(!has(&mesh, index, SECRET.as_bytes()).await, "{index}");
        }
        get(&mesh, 2, short.id, 0).await.unwrap_err();

        mesh.restart(1).await.unwrap();
        mesh.wait_all_alive(LONG).await.unwrap();
        let here = mesh.client(1).unwrap().blobs().await.unwrap();
        assert!(here.items.iter().all(|blob| blob.id != while_down.id), "{here:?}");
        assert!(!has(&mesh, 1, b"gone meanwhile").await);
        assert_eq!(get(&mesh, 1, lasting.id, 0).await.unwrap(), b"lasting");
    });
}
