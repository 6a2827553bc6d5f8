//! `sim case` and `sim place`, as a person and a script use them.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a failure is the answer

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output};

fn sim(dir: &Path, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal-testnet"));
    command.current_dir(dir).arg("sim").args(arguments.split_whitespace()).output().unwrap()
}

const FILES: &str = "--nodes case/nodes.csv --rtt case/rtt.csv --tasks case/tasks.csv";

/// A directory with a small case in `case`.
fn with_case() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut matrix = String::new();
    for a in 0..12_i32 {
        let row: Vec<String> = (0..12_i32).map(|b| (4 * (a - b).abs()).to_string()).collect();
        writeln!(matrix, "{}", row.join(",")).unwrap();
    }
    std::fs::write(dir.path().join("matrix.csv"), matrix).unwrap();
    let made = sim(dir.path(), "case --rtt matrix.csv --out case --clouds 2 --count 500 --load 0.6 --seed 4");
    assert!(made.status.success(), "{made:?}");
    assert!(String::from_utf8_lossy(&made.stderr).contains("12 nodes, 2 of them clouds; 500 tasks"), "{made:?}");
    dir
}

#[test]
fn a_case_is_made_and_placed_and_told_to_scripts() {
    let dir = with_case();

    let placed = sim(dir.path(), &format!("place {FILES} --policy clairvoyant --json --completions out.csv"));

    assert!(placed.status.success(), "{placed:?}");
    let told: serde_json::Value = serde_json::from_slice(&placed.stdout).unwrap();
    for key in [
        "policy",
        "tasks",
        "completed",
        "mean_ms",
        "p50_ms",
        "p99_ms",
        "moved_share",
        "messages_per_task",
        "control_bytes_per_peer_s",
        "decision_cpu_us_p50",
        "decision_cpu_us_p99",
        "wall_s",
    ] {
        assert!(!told[key].is_null(), "{key}: {told}");
    }
    assert_eq!((&told["tasks"], &told["completed"], &told["counted"]), (&500.into(), &500.into(), &400.into()));
    assert!(told["mean_ms"].as_f64() >= told["lower_bound_mean_ms"].as_f64());
    let out = std::fs::read_to_string(dir.path().join("out.csv")).unwrap();
    assert_eq!(out.lines().next(), Some("id,executor,start_ms,end_ms,completed_ms"));
    assert_eq!(out.lines().count(), 501);
}

#[test]
fn the_same_seed_places_the_same_way() {
    let dir = with_case();
    let place = |out: &str, seed: u64| {
        let placed = sim(dir.path(), &format!("place {FILES} --policy sparrow --seed {seed} --completions {out}"));
        assert!(placed.status.success(), "{placed:?}");
        std::fs::read_to_string(dir.path().join(out)).unwrap()
    };

    let (first, again, other) = (place("1.csv", 7), place("2.csv", 7), place("3.csv", 8));

    assert_eq!(first, again);
    assert_ne!(first, other);
}

#[test]
fn a_person_is_told_in_a_few_lines() {
    let dir = with_case();

    let placed = sim(dir.path(), &format!("place {FILES} --policy clairvoyant --churn 50 --kill-cloud-at 2000"));

    assert!(placed.status.success(), "{placed:?}");
    let text = String::from_utf8(placed.stdout).unwrap();
    assert!(text.contains("clairvoyant on 12 nodes at 60.0 % load"), "{text}");
    assert!(text.contains("crashes"), "{text}");
    assert!(text.contains("no policy has a mean below"), "{text}");
}

#[test]
fn bad_input_is_named_with_its_place() {
    let dir = with_case();
    let refused = |arguments: &str| {
        let output = sim(dir.path(), arguments);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    std::fs::write(dir.path().join("ragged.csv"), "0,1\n1\n").unwrap();
    std::fs::write(dir.path().join("two.csv"), "0,1\n1,0\n").unwrap();
    std::fs::write(dir.path().join("fog.csv"), "id,tier,cores,speed,uplink_mbps\n0,fog,1,1,20\n").unwrap();

    let ragged = refused("case --rtt ragged.csv --out x");
    let missing = refused("case --rtt nowhere.csv --out x");
    let fog = refused("place --nodes fog.csv --rtt two.csv --tasks case/tasks.csv --policy local");
    let size = refused("place --nodes case/nodes.csv --rtt two.csv --tasks case/tasks.csv --policy local");
    let policy = refused(&format!("place {FILES} --policy best"));
    let faults = refused(&format!("place {FILES} --policy local --kill-cloud-at 100"));
    let clouds = refused("case --rtt two.csv --out x --clouds 2");

    let check = |(code, said): (Option<i32>, String), expected: i32, why: &str| {
        assert_eq!(code, Some(expected), "{said}");
        assert!(said.contains(why), "{said}");
    };
    check(ragged, 78, "ragged.csv, line 2, field 2: is missing");
    check(missing, 78, "cannot read nowhere.csv");
    check(fog, 78, "fog.csv, line 2, field tier: `fog` is not a tier; edge and cloud are");
    check(size, 78, "two.csv has 2 nodes and case/nodes.csv has 12");
    check(policy, 2, "power-of-two");
    check(faults, 2, "the policy local is not defined where nodes crash");
    check(clouds, 2, "2 of 2 nodes cannot be clouds");
}
