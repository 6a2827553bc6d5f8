//! The three use cases as a person starts them. Build the daemon first: `cargo build --release --bins`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a failure is the answer

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use shoal_examples::held_back;

fn usecase(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal-testnet"));
    command.arg("usecase").args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn figures(arguments: &[&str]) -> Value {
    let output = usecase(arguments);

    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(report: &Value, key: &str) -> f64 {
    report[key].as_f64().unwrap_or_else(|| panic!("{key} of {report}"))
}

#[test]
fn a_home_on_a_mesh_understands_what_it_has_not_heard() {
    let dir = tempfile::tempdir().unwrap();
    let chart = dir.path().join("home.svg");

    let report = figures(&["home", "--json", "--plot", chart.to_str().unwrap()]);

    assert_eq!((report["schema"].as_str(), report["usecase"].as_str()), (Some("shoal/v1"), Some("home")));
    assert!(number(&report, "accuracy") >= 0.95 && number(&report, "accuracy_small") >= 0.9, "{report}");
    assert!((0.01..0.4).contains(&number(&report, "escalated")), "{report}");
    assert!(number(&report, "occupancy_accuracy") >= 0.97, "{report}");
    let mesh = &report["mesh"];
    assert!(number(mesh, "edge_tasks") >= 2.0 && number(mesh, "cloud_tasks") >= 1.0, "{mesh}");
    assert_eq!(number(mesh, "answers_as_native"), number(mesh, "edge_tasks") + number(mesh, "cloud_tasks"));
    assert!(std::fs::read_to_string(chart).unwrap().starts_with("<svg"));
}

#[test]
fn a_factory_on_a_mesh_foretells_lives_and_finds_failures() {
    let report = figures(&["industry", "--json"]);

    assert!(number(&report, "rul_rmse") <= 18.0, "{report}");
    assert_eq!((number(&report, "windows"), number(&report, "windows_found")), (6.0, 6.0));
    assert!(number(&report, "false_alarms_per_month") <= 1.0, "{report}");
    assert!(report["plan"][0].as_str().unwrap().starts_with("service=1 "), "{report}");
    assert!(number(&report["mesh"], "cloud_tasks") >= 1.0);
}

#[test]
fn a_city_is_forecast_better_than_by_its_own_speeds() {
    let report = figures(&["city", "--json", "--native"]);

    assert!(number(&report, "mae_model") < 0.85 * number(&report, "mae_persistence"), "{report}");
    assert!(number(&report, "targets") > 100_000.0 && number(&report, "maps") > 500.0, "{report}");
    assert_eq!(report["mesh"], Value::Null);
}

/// Only some of a case's files: the others' figures are absent, not made up.
#[test]
fn what_is_not_given_is_not_judged() {
    let dir = tempfile::tempdir().unwrap();
    let (name, text) = held_back::SERIES[0];
    let rows = text.lines().skip(1).map(|row| format!("{row}\n"));
    std::fs::write(dir.path().join(name), format!("timestamp,value\n{}", rows.collect::<String>())).unwrap();
    std::fs::write(dir.path().join("labels_windows.json"), held_back::FAILURE_WINDOWS).unwrap();

    let report = figures(&["industry", "--json", "--native", "--data", dir.path().to_str().unwrap()]);

    assert_eq!((&report["rul_rmse"], &report["engines"]), (&Value::Null, &Value::from(0)));
    assert_eq!((number(&report, "windows"), number(&report, "windows_found")), (4.0, 4.0));
    assert_eq!(report["files"].as_array().unwrap().len(), 2);
}

#[test]
fn bad_files_and_empty_directories_are_told_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let complaint = |case: &str| {
        let output = usecase(&[case, "--native", "--data", path]);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(78), 0));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let put = |name: &str, text: &[u8]| std::fs::write(Path::new(path).join(name), text).unwrap();

    for case in ["home", "city", "industry"] {
        assert!(complaint(case).contains("holds no "), "{}", complaint(case));
    }
    put("7_theo_3.wav", b"RIFF");
    assert!(complaint("home").contains("7_theo_3.wav: the input is not a WAV file"), "{}", complaint("home"));
    put("speeds.csv", b"773869,767541\n60,60\n");
    assert!(complaint("city").contains("speeds.csv: line 1: 2 columns"), "{}", complaint("city"));
    put("test_FD001.txt", b"1 1 0.5\n");
    put("RUL_FD001.txt", b"5\n");
    assert!(complaint("industry").contains("test_FD001.txt: line 1: 3 numbers"), "{}", complaint("industry"));
}
