//! The audit log, read by whoever has its files.

use std::path::Path;

use shoal_protocol::audit::{Chain, Happening, files};
use shoal_protocol::certificate::SecretKey;

use crate::fake::{Ran, shoal};

fn run(arguments: &[&str]) -> Ran {
    Ran::of(shoal(arguments).output().expect("shoal runs"))
}

fn key() -> SecretKey {
    SecretKey::from_bytes(&[7; 32])
}

/// Three entries in two files, as a daemon leaves them; the number and hash of the last.
fn write(dir: &Path) -> String {
    let refused = || Happening::Refused { address: "/ip4/192.0.2.1/udp/7600".into(), reason: "of another mesh".into() };
    let mut chain = Chain::new();
    let mut line = |count, happening| chain.write(1_795_926_067_000, happening, count, &key()) + "\n";
    std::fs::write(dir.join("audit.log.1"), line(1, Happening::Stopped)).expect("written");
    std::fs::write(dir.join(files::LOG), line(40, refused()) + &line(1, Happening::Stopped)).expect("written");
    let head = chain.head(key().peer(), 1);
    std::fs::write(dir.join(files::HEAD), head.write(&key()) + "\n").expect("written");
    format!("{}:{}", head.last, head.hash)
}

#[test]
fn a_log_that_is_as_it_was_written_is_shown_and_its_end_can_be_noted() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let noted = write(dir.path());
    let data = dir.path().display().to_string();
    let log = dir.path().join("audit.log").display().to_string();

    let verified = run(&["audit", "verify", "--data-dir", &data]);
    assert_eq!((verified.code, verified.out.lines().last()), (0, Some(noted.as_str())), "{}", verified.err);
    assert_eq!(run(&["audit", "verify", &log, "--noted", &noted]).code, 0);
    let shown = run(&["audit", "show", &log]);

    let expected = "2026-11-29 04:21:07Z      1  stopped\n\
        2026-11-29 04:21:07Z      2  refused  /ip4/192.0.2.1/udp/7600  of another mesh  ×40\n\
        2026-11-29 04:21:07Z      3  stopped\n";
    assert_eq!(shown.out, expected, "{}", shown.err);
    let json = run(&["audit", "show", &log, "--last", "2", "--json"]);
    let kinds: Vec<serde_json::Value> = json
        .out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["kind"].clone())
        .collect();
    assert_eq!(kinds, ["refused", "stopped"]);
}

#[test]
fn a_log_that_was_touched_or_is_not_the_noted_one_is_denied() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let noted = write(dir.path());
    let log = dir.path().join("audit.log");
    let text = log.display().to_string();
    let denied = |arguments: &[&str], why: &str| {
        let ran = run(arguments);
        assert_eq!(ran.code, 77, "{}", ran.out);
        assert!(ran.err.contains("SH0170") && ran.err.contains(why), "{}", ran.err);
    };

    let other = noted.replace(':', ":0").chars().take(66).collect::<String>();
    denied(&["audit", "verify", &text, "--noted", &other], "written anew");
    denied(&["audit", "verify", &text, "--peer", &SecretKey::from_bytes(&[8; 32]).peer().to_string()], "signed by");
    let whole = std::fs::read_to_string(&log).expect("readable");
    std::fs::write(&log, whole.replacen("×", "x", 1).replacen("192.0.2.1", "192.0.2.2", 1)).expect("written");
    denied(&["audit", "verify", &text], "the line after entry 1");
    std::fs::write(&log, whole.lines().next().expect("a line").to_owned() + "\n").expect("written");
    denied(&["audit", "show", &text], "the end was cut off");
    std::fs::remove_file(dir.path().join("audit.log.1")).expect("removed");
    std::fs::write(&log, whole).expect("written");
    denied(&["audit", "verify", &text], "the beginning was cut off");
}

#[test]
fn where_there_is_no_log_that_is_said() {
    let dir = tempfile::tempdir().expect("a temporary directory");

    let ran = run(&["audit", "verify", "--data-dir", &dir.path().display().to_string()]);

    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("there is no audit log"), "{}", ran.err);
}
