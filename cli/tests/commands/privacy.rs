//! Statistics within a privacy budget, as a person asks for them.

use insta::assert_snapshot;
use shoal_protocol::api::{BlobView, BudgetView, DatasetView, Listing, ReleaseRequest, codes, schema};
use shoal_protocol::id::{BlobId, PeerId};
use shoal_protocol::privacy::{Declaration, Refused, Release, Spent};

use crate::fake::{Fake, Reply};

const DECLARATION: &str = r#"
name = "street"
subject = "household"
rows_per_subject = 7
data = "meters.csv"
window = "30d"
[value]
lower = 0
upper = 100
resolution = 0.1
unit = "kWh"
[budget]
epsilon = 3
delta = 0.000001
"#;

fn view(declared: Declaration) -> DatasetView {
    let decimal = |text: &str| text.parse().expect("a number");
    DatasetView {
        schema: schema(),
        keeper: PeerId([7; 32]),
        declared,
        budget: BudgetView {
            measure: shoal_protocol::privacy::accounting::Measure::Rho,
            limit: decimal("0.17"),
            spent: decimal("0.005"),
            left: decimal("0.165"),
            delta: Some(decimal("0.000001")),
            spent_epsilon: Some(decimal("0.4807")),
            ends_in_s: Some(86_400),
        },
        population: None,
        releases: 1,
    }
}

fn declared() -> Declaration {
    serde_json::from_str(
        r#"{"name": "street", "subject": "household", "rows_per_subject": 7, "window_s": 2592000,
            "value": {"lower": "0", "upper": "100", "resolution": "0.1", "unit": "kWh"},
            "budget": {"epsilon": "3", "delta": "0.000001"}}"#,
    )
    .expect("a declaration")
}

fn release() -> Release {
    serde_json::from_str(&format!(
        r#"{{"dataset": "street", "keeper": "{}", "request": "00112233445566778899aabbccddeeff", "query": "mean",
            "noise": {{"epsilon": "1"}}, "mechanism": "discrete Laplace noise", "protects": "one household", "epsilon": "1",
            "delta": "0", "figures": [{{"name": "mean", "value": "25.9", "unit": "kWh", "error_95": "1.8", "error_unit": "kWh"}}]}}"#,
        PeerId([7; 32])
    ))
    .expect("a release")
}

#[test]
fn a_declaration_is_read_with_its_rows_which_are_stored_and_pinned() {
    let rows = b"h1,3\n";
    let blob = BlobView {
        schema: schema(),
        id: BlobId::of(rows),
        bytes: 5,
        is_module: false,
        pinned: false,
        complete: true,
        labels: Default::default(),
    };
    let fake = Fake::new()
        .on("POST /v1/blobs", Reply::json(&blob))
        .on("POST /v1/privacy/datasets", Reply::json(&view(declared())))
        .on(&format!("POST /v1/blobs/{}/pin", blob.id), Reply::bytes(b""));
    fake.file("street.toml", DECLARATION.as_bytes());
    fake.file("meters.csv", rows);

    let ran = fake.run(&["privacy", "declare", "street.toml"]);

    assert_eq!(ran.code, 0, "{}", ran.err);
    let asked = fake.asked();
    let sent: Declaration = asked.iter().find(|it| it.what.ends_with("datasets")).expect("declared").json();
    assert_eq!(sent, Declaration { data: Some(blob.id), ..declared() });
    assert!(ran.err.contains("→ shoal privacy release street count --epsilon 0.1"), "{}", ran.err);
}

#[test]
fn what_is_wrong_with_a_declaration_is_told_before_the_daemon_is_asked() {
    let fake = Fake::new();
    for (change, words) in [
        (("epsilon = 3", "epsilom = 3"), "street.toml: line 12: unknown field `epsilom`"),
        (("upper = 100", "upper = 0"), "`lower` is below `upper`"),
        (("rows_per_subject = 7", "rows_per_subject = 0"), "`rows_per_subject` is 1 to 10000"),
    ] {
        let text = DECLARATION.replace("data = \"meters.csv\"\n", "").replace(change.0, change.1);
        fake.file("street.toml", text.as_bytes());

        let ran = fake.run(&["privacy", "declare", "street.toml"]);

        assert!(ran.err.contains(words), "{}", ran.err);
        assert_eq!(ran.code, 2, "{}", ran.err);
    }
}

#[test]
fn a_release_says_what_it_is_how_far_off_and_whom_it_protects() {
    let fake = Fake::new().on("POST /v1/privacy/releases", Reply::json(&release()));

    let ran = fake.run(&["privacy", "release", "street@nas", "mean", "--epsilon", "1"]);

    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_snapshot!(ran.out, @r"
    street/mean 25.9 kWh ± 1.8 kWh (95 %)
    privacy: ε = 1, δ = 0, by discrete Laplace noise
    protects: one household
    ");
    let sent: ReleaseRequest = fake.asked()[0].json();
    assert_eq!((sent.dataset.as_str(), sent.query.to_string().as_str()), ("street@nas", "mean"));
    let json = fake.run(&["--json", "privacy", "release", "street@nas", "mean", "--epsilon", "1"]);
    assert_eq!(serde_json::from_str::<Release>(&json.out).expect("JSON"), release());
}

#[test]
fn a_spent_budget_is_a_denial_with_the_figures() {
    let refused = Refused::Spent(Box::new(Spent {
        whose: "data set street".into(),
        asked: "0.2".parse().expect("a number"),
        left: "0.1".parse().expect("a number"),
        limit: "3".parse().expect("a number"),
        measure: shoal_protocol::privacy::accounting::Measure::Epsilon,
        ends_in_s: None,
    }));
    let problem = shoal_protocol::api::Problem {
        code: codes::BUDGET_SPENT.into(),
        status: 403,
        title: refused.to_string(),
        detail: String::new(),
        hint: refused.hint(),
        retryable: false,
        retry_after_ms: None,
    };
    let fake = Fake::new().on("POST /v1/privacy/releases", Reply::problem(&problem));

    let ran = fake.run(&["privacy", "release", "street", "sum", "--epsilon", "0.2"]);

    assert_eq!(ran.code, 77);
    assert!(
        ran.err.starts_with("error[SH0441]: the budget of data set street is spent: 0.2 of ε is asked"),
        "{}",
        ran.err
    );
}

#[test]
fn a_question_that_is_none_is_a_wrong_argument() {
    for words in
        [&["street", "median", "--epsilon", "1"][..], &["street", "sum"], &["street", "sum", "--epsilon", "1e-3"]]
    {
        let ran = Fake::new().run(&[&["privacy", "release"], words].concat());

        assert_eq!(ran.code, 2, "{}", ran.err);
    }
}

#[test]
fn status_shows_what_is_left() {
    let fake = Fake::new().on("GET /v1/privacy/datasets", Reply::json(&Listing::new(vec![view(declared())])));

    let ran = fake.run(&["privacy", "status"]);

    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_snapshot!(ran.out, @r"
    DATA SET  PROTECTS       SPENT                           LEFT     OF      WHOLE AGAIN IN  RELEASES
    street    one household  ρ 0.005 (ε 0.4807, δ 0.000001)  ρ 0.165  ρ 0.17  1d 0h           1
    ");
}
