//! Pipelines over real processes: right wherever their stages run, and whoever is killed meanwhile.

use std::collections::BTreeMap;
use std::time::Instant;

use shoal_protocol::Role;
use shoal_protocol::api::{OutputView, PipelineRequest, PipelineView, StageRequest, codes};
use shoal_protocol::pipeline::spec::When;
use shoal_protocol::pipeline::{PipelineState, StageState};

use super::*;

async fn stage(client: &Client, name: &str, module: &str, args: &[&str], inputs: &[&str]) -> StageRequest {
    let task = TaskRequest { inputs: Vec::new(), ..task_of(client, example(module), args, "").await };
    let inputs = inputs.iter().map(ToString::to_string).collect();
    StageRequest { name: name.into(), task, inputs, ..StageRequest::default() }
}

fn inputs(name: &str, texts: &[&str]) -> BTreeMap<String, Vec<InputRequest>> {
    BTreeMap::from([(name.to_owned(), texts.iter().map(|text| InputRequest::Text((*text).to_owned())).collect())])
}

async fn end(client: &Client, id: &str) -> PipelineView {
    let view = client.pipeline(id, LONG).await.unwrap();
    assert!(view.state.is_final(), "{view:?}");
    view
}

fn result<'a>(view: &'a PipelineView, stage: &str) -> &'a str {
    match view.results.get(stage).and_then(|results| results.first()).map(|result| &result.output) {
        Some(OutputView::Text(text)) => text,
        other => panic!("{stage} wrote {other:?}: {view:?}"),
    }
}

#[test]
fn a_map_a_reduction_and_a_condition_give_what_they_give_natively() {
    run(async {
        let mesh = mesh(1, 2, |_| ()).await;
        let client = mesh.client(1).unwrap();
        let texts = ["a b b\n", "b c\n", "c c c d\n"];
        let count = StageRequest { map: Some("texts".into()), ..stage(&client, "count", "wordcount", &[], &[]).await };
        let mut total = stage(&client, "total", "wordcount", &["--top", "2"], &["count"]).await;
        total.task.peer = Some("edge-2".into());
        let when = |text: &str| When {
            stage: "total".into(),
            exit_code: None,
            output_starts_with: Some(text.into()),
            not: false,
        };
        let yes =
            StageRequest { when: Some(when("lines=")), ..stage(&client, "yes", "wordcount", &[], &["total"]).await };
        let no =
            StageRequest { when: Some(when("nothing")), ..stage(&client, "no", "wordcount", &[], &["total"]).await };
        let request = PipelineRequest {
            name: "words".into(),
            inputs: inputs("texts", &texts),
            stages: vec![yes, no, count, total],
            ..PipelineRequest::default()
        };

        let plan = client.plan(request.clone()).await.unwrap();
        let accepted = client.submit_pipeline(&request).await.unwrap();
        let view = end(&client, &accepted.pipeline.to_string()).await;

        let counts: String = texts.iter().map(|text| native("wordcount", &[], text)).collect();
        let totals = native("wordcount", &["--top", "2"], &counts);
        assert_eq!(view.state, PipelineState::Done, "{view:?}");
        assert_eq!(result(&view, "yes"), native("wordcount", &[], &totals));
        let states: Vec<_> = view.stages.iter().map(|stage| stage.state).collect();
        assert_eq!(states, [StageState::Done, StageState::Skipped, StageState::Done, StageState::Done]);
        assert_eq!(view.stages[3].peers, ["edge-2"]);
        assert_eq!((plan.tasks.len(), plan.without_peer.len()), (6, 0), "{plan:?}");
        let planned = plan.tasks.iter().find(|task| task.stage == "total").unwrap();
        assert_eq!(planned.name, "edge-2");
    });
}

#[test]
fn bad_graphs_are_refused_by_the_name_of_the_stage() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        let client = mesh.client(0).unwrap();
        let of = async |stages| {
            client.submit_pipeline(&PipelineRequest { stages, ..PipelineRequest::default() }).await.unwrap_err()
        };
        let circle =
            vec![stage(&client, "a", "noop", &[], &["b"]).await, stage(&client, "b", "noop", &[], &["a"]).await];
        let unknown = vec![stage(&client, "a", "noop", &[], &["c"]).await];
        let mut missing = stage(&client, "lost", "noop", &[], &[]).await;
        missing.task.variants[0].module = shoal_protocol::BlobId([7; 32]);
        let wide = vec![stage(&client, "s", "noop", &[], &[]).await; 4_097];

        for (stages, code, words) in [
            (circle, codes::BAD_PIPELINE, "a → b → a"),
            (unknown, codes::BAD_PIPELINE, "stage `a`: `inputs` names `c`"),
            (vec![missing], codes::NO_BLOB, "stage `lost`"),
            (wide, codes::BAD_PIPELINE, "4097 stages, 4096 are allowed"),
            (Vec::new(), codes::BAD_PIPELINE, "no stage"),
        ] {
            let error = of(stages).await;
            assert_eq!(error.code(), Some(code), "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    });
}

/// Fifty stages, ten side by side in five rows. Peers are killed again and again, home too.
#[test]
fn fifty_stages_end_right_through_kills_and_none_that_has_ended_is_run_again() {
    run(async {
        let mesh = mesh(2, 2, |config| config.peers.iter_mut().for_each(|peer| peer.cores = 1)).await;
        let home = mesh.index("edge-1").unwrap();
        let client = mesh.client(home).unwrap();
        let (mut stages, mut expected) = (Vec::new(), BTreeMap::new());
        for row in 0..5 {
            for column in 0..10 {
                let name = format!("r{row}c{column}");
                let spins = (8_000_000 + row * 10 + column).to_string();
                let earlier = format!("r{}c{column}", row - 1);
                let before: Vec<&str> = if row > 0 { vec![&earlier] } else { Vec::new() };
                let mut it = stage(&client, &name, "spin", &[&spins], &before).await;
                it.task.cloud = Some(shoal_protocol::task::spec::CloudUse::Allow);
                // Every other one is sent away, so that others than home have something to lose.
                it.task.role = (column % 2 == 1).then_some(Role::Cloud);
                stages.push(it);
                if row == 4 {
                    expected.insert(name, native("spin", &[&spins], ""));
                }
            }
        }
        let request = PipelineRequest { name: "fifty".into(), stages, ..PipelineRequest::default() };
        let id = client.submit_pipeline(&request).await.unwrap().pipeline.to_string();

        let (mut told, mut victims) = (BTreeMap::<String, u32>::new(), [home, 0, home, 1, home].into_iter());
        let began = Instant::now();
        let view = loop {
            assert!(began.elapsed() < LONG, "it takes too long");
            let Ok(view) = mesh.client(home).unwrap().pipeline(&id, Duration::from_millis(100)).await else { continue };
            for stage in view.stages.iter().filter(|stage| stage.done == stage.tasks) {
                let runs = *told.entry(stage.name.clone()).or_insert(stage.runs);
                assert_eq!(stage.runs, runs, "{} was run again after it had ended", stage.name);
            }
            for name in told.keys() {
                let stage = view.stages.iter().find(|stage| stage.name == *name).unwrap();
                assert_eq!(stage.done, stage.tasks, "{name} had ended");
            }
            if view.state.is_final() {
                break view;
            }
            let ended: u32 = view.stages.iter().map(|stage| stage.done).sum();
            let kills = 5 - victims.len() as u32;
            if ended >= 6 + kills * 8
                && let Some(victim) = victims.next()
            {
                mesh.kill(victim).unwrap();
                mesh.restart(victim).await.unwrap();
            }
        };

        assert_eq!((view.state, victims.len()), (PipelineState::Done, 0), "{view:?}");
        for (name, output) in expected {
            assert_eq!(result(&view, &name), output);
        }
        let again = mesh.client(home).unwrap().pipeline(&id, Duration::ZERO).await.unwrap();
        assert_eq!(again, view);
    });
}

#[test]
fn the_examples_run_from_their_files() {
    run(async {
        let mesh = mesh(1, 2, |_| ()).await;
        let shoal = shoal_testnet::cluster::beside_or_on_path("shoal").unwrap();
        let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/pipelines");
        for (file, words) in
            [("words.toml", "lines="), ("city.toml", "lines="), ("listen.toml", "lines="), ("voices.toml", "lines=")]
        {
            for verb in ["plan", "run"] {
                let mut command = tokio::process::Command::new(&shoal);
                command.args(["--api", &mesh.peers()[1].api(), "pipeline", verb]).arg(examples.join(file));
                let output = command.kill_on_drop(true).output().await.unwrap();
                let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
                assert!(output.status.success(), "{file}: {out}{err}");
                assert!(verb == "plan" && out.contains("done in") || out.starts_with(words), "{file}: {out}{err}");
            }
        }
    });
}
