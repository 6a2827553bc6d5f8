//! Privacy budgets over real processes: whoever is killed, and however many ask, nothing leaves that is not paid for.

use std::collections::BTreeMap;

use shoal_cli::client::ClientError;
use shoal_protocol::api::{OutputView, PipelineRequest, ReleaseRequest, StageRequest, codes};
use shoal_protocol::pipeline::PipelineState;
use shoal_protocol::pipeline::spec::StageKind;
use shoal_protocol::privacy::{Declaration, Export, Noise, Query, Release};
use tokio::task::JoinSet;

use super::*;

/// A budget of ε for a street of meters; each test asks about rows of its own.
fn street(epsilon: &str) -> Declaration {
    let text = format!(
        r#"{{"name": "street", "subject": "household", "rows_per_subject": 7,
             "value": {{"lower": 0, "upper": 100, "resolution": 0.1, "unit": "kWh"}},
             "budget": {{"epsilon": "{epsilon}"}}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn asked(dataset: &str, epsilon: &str, rows: &str) -> ReleaseRequest {
    ReleaseRequest {
        dataset: dataset.into(),
        query: Query::Sum,
        noise: Noise::Epsilon(epsilon.parse().unwrap()),
        data: vec![InputRequest::Text(rows.into())],
    }
}

/// A question of its own.
fn rows(n: usize) -> String {
    format!("a,{n}.5\nb,2\n")
}

async fn spent(client: &Client) -> f64 {
    client.datasets().await.unwrap().items[0].budget.spent.to_f64()
}

/// The daemon is killed while many questions are under way, again and again. What was told before a death is told again
/// after it, in the same words and for nothing; and all that was ever told was paid for.
#[test]
fn privacy_ledger_is_right_after_kill_9_in_the_middle() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        mesh.client(0).unwrap().declare(&street("3")).await.unwrap();
        let mut told: BTreeMap<usize, Release> = BTreeMap::new();
        for life in 0..8usize {
            let client = mesh.client(0).unwrap();
            let mut asking = JoinSet::new();
            // Some were asked in the life before, and have an answer or not.
            for n in life * 6..life * 6 + 12 {
                let client = client.clone();
                asking.spawn(async move { (n, client.release(&asked("street", "0.05", &rows(n))).await) });
            }
            let (mut answered, mut is_killed) = (0, false);
            while let Some(answer) = asking.join_next().await {
                let (n, answer) = answer.unwrap();
                if let Ok(release) = answer {
                    let before = told.insert(n, release.clone());
                    assert!(before.is_none_or(|before| before == release), "another answer to question {n}");
                    answered += 1;
                }
                // A different moment in each life: the rest is cut off in the middle.
                if answered > life && !is_killed {
                    mesh.kill(0).unwrap();
                    is_killed = true;
                }
            }
            if !is_killed {
                mesh.kill(0).unwrap();
            }
            mesh.restart(0).await.unwrap();
            let client = mesh.client(0).unwrap();
            let paid = spent(&client).await;
            assert!(paid + 1e-9 >= 0.05 * told.len() as f64, "{paid} was paid for {} answers", told.len());
            for (n, before) in &told {
                assert_eq!(client.release(&asked("street", "0.05", &rows(*n))).await.unwrap(), *before);
            }
            assert_eq!(spent(&client).await, paid, "what was told before costs nothing");
        }
        assert!(told.len() >= 8, "only {} questions were answered", told.len());
    });
}

#[test]
fn privacy_two_peers_asking_at_once_never_exceed_the_budget() {
    run(async {
        let mesh = mesh(0, 3, |_| ()).await;
        let keeper = mesh.client(mesh.index("edge-1").unwrap()).unwrap();
        keeper.declare(&street("1")).await.unwrap();
        let mut asking = JoinSet::new();
        for n in 0..15usize {
            for name in ["edge-2", "edge-3"] {
                let client = mesh.client(mesh.index(name).unwrap()).unwrap();
                // Both ask the first five questions, and the others one each.
                let question = if n < 5 || name == "edge-2" { n } else { n + 100 };
                asking.spawn(async move {
                    (question, client.release(&asked("street@edge-1", "0.1", &rows(question))).await)
                });
            }
        }
        let mut told: BTreeMap<usize, Vec<Release>> = BTreeMap::new();
        while let Some(answer) = asking.join_next().await {
            match answer.unwrap() {
                (question, Ok(release)) => told.entry(question).or_default().push(release),
                (_, Err(error)) => assert_eq!(error.code(), Some(codes::BUDGET_SPENT), "{error}"),
            }
        }

        assert_eq!(told.len(), 10, "ten times 0.1 is all there is");
        assert!(told.values().all(|same| same.windows(2).all(|two| two[0] == two[1])), "one answer to one question");
        assert!((spent(&keeper).await - 1.0).abs() < 1e-9);
        for name in ["edge-2", "edge-3"] {
            let other = mesh.client(mesh.index(name).unwrap()).unwrap();
            assert!(other.datasets().await.unwrap().items.is_empty(), "{name} keeps a ledger of its own");
        }
    });
}

#[test]
fn privacy_refusal_says_what_was_asked_and_what_is_left_and_both_are_audited() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        let client = mesh.client(0).unwrap();
        client.declare(&street("0.3")).await.unwrap();
        client.release(&asked("street", "0.2", &rows(1))).await.unwrap();

        let error = client.release(&asked("street", "0.2", &rows(2))).await.unwrap_err();

        let ClientError::Problem(problem) = error else { panic!("{error}") };
        assert_eq!((problem.code.as_str(), problem.status, problem.retryable), (codes::BUDGET_SPENT, 403, false));
        let told = "the budget of data set street is spent: 0.2 of ε is asked, 0.1 of 0.3 is left";
        assert_eq!(problem.title, told);
        let unknown = client.release(&asked("other", "0.1", &rows(1))).await.unwrap_err();
        assert_eq!(unknown.code(), Some(codes::NO_DATASET));
        let mut changed = street("3");
        changed.rows_per_subject = 8;
        assert_eq!(client.declare(&changed).await.unwrap_err().code(), Some(codes::DECLARED_OTHERWISE));
        let log = mesh.peers()[0].data_dir.join("audit.log");
        let deadline = std::time::Instant::now() + LONG;
        loop {
            let lines = std::fs::read_to_string(&log).unwrap();
            let has = |kind: &str| lines.lines().any(|line| line.contains(kind) && line.contains("\"street\""));
            if has("statistic_released") && has("statistic_refused") {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "it is not in the audit log: {lines}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn privacy_a_keeper_that_is_away_is_waited_for_and_nobody_answers_in_its_place() {
    run(async {
        let mesh = mesh(0, 2, |_| ()).await;
        let keeper = mesh.index("edge-1").unwrap();
        let other = mesh.client(mesh.index("edge-2").unwrap()).unwrap();
        mesh.client(keeper).unwrap().declare(&street("1")).await.unwrap();
        let first = other.release(&asked("street@edge-1", "0.3", &rows(1))).await.unwrap();
        mesh.kill(keeper).unwrap();

        let error = other.release(&asked("street@edge-1", "0.3", &rows(1))).await.unwrap_err();

        let ClientError::Problem(problem) = error else { panic!("{error}") };
        assert_eq!((problem.code.as_str(), problem.retryable), (codes::KEEPER_AWAY, true), "{problem:?}");
        let here = other.release(&asked("street", "0.3", &rows(1))).await.unwrap_err();
        assert_eq!(here.code(), Some(codes::NO_DATASET));
        mesh.restart(keeper).await.unwrap();
        mesh.wait_all_alive(LONG).await.unwrap();
        assert_eq!(other.release(&asked("street@edge-1", "0.3", &rows(1))).await.unwrap(), first);
    });
}

fn export_of(dataset: &str, epsilon: &str) -> PipelineRequest {
    let export = Export {
        dataset: dataset.into(),
        query: Query::Mean,
        noise: Noise::Epsilon(epsilon.parse().unwrap()),
        format: Default::default(),
    };
    let stage = StageRequest {
        name: "publish".into(),
        kind: StageKind::Export,
        inputs: vec!["meters".into()],
        export: Some(export),
        ..StageRequest::default()
    };
    let meters = include_str!("../../examples/data/street/meters.csv");
    PipelineRequest {
        name: "street".into(),
        inputs: BTreeMap::from([("meters".into(), vec![InputRequest::Text(meters.into())])]),
        stages: vec![stage],
        ..PipelineRequest::default()
    }
}

/// Handed in at another peer than the keeper's, and while that is away.
#[test]
fn privacy_export_is_a_stage_that_its_keeper_makes() {
    run(async {
        let mesh = mesh(0, 2, |_| ()).await;
        let keeper = mesh.index("edge-1").unwrap();
        mesh.client(keeper).unwrap().declare(&street("1")).await.unwrap();
        let client = mesh.client(mesh.index("edge-2").unwrap()).unwrap();
        mesh.kill(keeper).unwrap();
        let waiting = client.submit_pipeline(&export_of("street@edge-1", "0.8")).await.unwrap();
        let early = client.pipeline(&waiting.pipeline.to_string(), Duration::from_millis(500)).await.unwrap();
        assert_eq!(early.state, PipelineState::Running, "{early:?}");

        mesh.restart(keeper).await.unwrap();
        let view = client.pipeline(&waiting.pipeline.to_string(), LONG).await.unwrap();

        assert_eq!(view.state, PipelineState::Done, "{view:?}");
        let OutputView::Text(text) = &view.results["publish"][0].output else { panic!("{view:?}") };
        assert!(text.starts_with("street/mean "), "{text}");
        assert!(text.contains("privacy: ε = 0.8, δ = 0, by discrete Laplace noise"), "{text}");
        assert!(text.contains("protects: one household with all its rows"), "{text}");
        assert_eq!(view.stages[0].peers, ["edge-1"]);
        let again = client.submit_pipeline(&export_of("street@edge-1", "0.8")).await.unwrap();
        let again = client.pipeline(&again.pipeline.to_string(), LONG).await.unwrap();
        assert_eq!(again.results, view.results, "the same again, for nothing");
        let more = client.submit_pipeline(&export_of("street@edge-1", "0.3")).await.unwrap();
        let more = client.pipeline(&more.pipeline.to_string(), LONG).await.unwrap();
        assert_eq!(more.state, PipelineState::Failed);
        assert_eq!(more.problem.unwrap().code, codes::BUDGET_SPENT);
    });
}

#[test]
fn privacy_the_example_runs_as_its_page_says() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        let shoal = shoal_testnet::cluster::beside_or_on_path("shoal").unwrap();
        let top = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let say = async |words: &str| {
            let mut command = tokio::process::Command::new(&shoal);
            command.args(["--api", &mesh.peers()[0].api()]).args(words.split(' ')).current_dir(&top);
            let output = command.kill_on_drop(true).output().await.unwrap();
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            (output.status.code().unwrap(), out.into_owned(), err.into_owned())
        };
        let (code, out, err) = say("privacy declare examples/privacy/street.toml").await;
        assert!(code == 0 && out.contains("one household"), "{out}{err}");

        for (words, begin) in [
            ("privacy release street mean --epsilon 0.1", "street/mean "),
            ("privacy release street mean --epsilon 1", "street/mean "),
            ("privacy release street sum --epsilon 0.2", "street/sum "),
            ("privacy release street histogram --epsilon 0.2", "street/mon "),
            ("privacy release street quantile:0.9 --epsilon 0.2", "street/quantile 0.9 "),
            ("pipeline run examples/privacy/publish.toml", "street/"),
        ] {
            let (code, out, err) = say(words).await;
            assert!(code == 0 && out.starts_with(begin), "{words}: {out}{err}");
            assert_eq!(say(words).await.1, out, "{words}: another answer");
        }
        let (code, out, _) = say("privacy status --json").await;
        assert!(code == 0 && out.contains("\"spent\""), "{out}");
        let (code, _, err) = say("privacy release street sum --epsilon 9").await;
        assert!(code == 77 && err.contains("SH0441"), "{code}: {err}");
    });
}
