//! A log on a real disk: restarts, full files, tampering, losses of power.

use std::fs;
use std::path::Path;

use shoal_protocol::audit::{Fault, Verified, files, verify};

use super::*;

fn key() -> SecretKey {
    SecretKey::from_bytes(&[7; 32])
}

fn view(level: &str) -> ConfigView {
    let value = |key: &str, value: &str| shoal_protocol::api::ConfigValue {
        key: key.into(),
        value: value.into(),
        origin: "default".into(),
    };
    ConfigView { schema: String::new(), values: vec![value("log.level", level), value("api.token", "hunter2")] }
}

/// One life of a daemon that notes these.
fn live(dir: &Path, level: &str, happenings: Vec<Happening>) {
    let (audit, writing) = start(dir, &key(), &view(level));
    happenings.into_iter().for_each(|happening| audit.note(happening));
    writing.end();
}

fn read(dir: &Path) -> (String, Option<String>) {
    let names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let in_order = files::in_order(names.iter().map(String::as_str));
    let text = in_order.into_iter().map(|name| fs::read_to_string(dir.join(name)).unwrap()).collect();
    (text, fs::read_to_string(dir.join(files::HEAD)).ok())
}

fn check(dir: &Path) -> Result<Verified, Fault> {
    let (text, head) = read(dir);
    verify(&text, head.as_deref(), Some(key().peer()))
}

fn kinds(dir: &Path) -> Vec<String> {
    let good = check(dir).expect("nobody touched it");
    let kind = |happening: &Happening| serde_json::to_value(happening).unwrap()["kind"].as_str().unwrap().to_owned();
    good.entries.iter().map(|entry| kind(&entry.happening)).collect()
}

fn joined(n: u8) -> Happening {
    Happening::Joined { peer: PeerId([n; 32]), name: format!("peer-{n}"), role: shoal_protocol::Role::Edge }
}

#[test]
fn a_log_goes_on_over_restarts_and_says_when_the_configuration_changed() {
    let dir = tempfile::tempdir().unwrap();

    live(dir.path(), "info", vec![joined(1), Happening::Stopped]);
    live(dir.path(), "info", vec![joined(1), joined(2), Happening::Stopped]);
    live(dir.path(), "debug", vec![]);

    let expected =
        ["started", "configured", "joined", "stopped", "started", "joined", "stopped", "started", "configured"];
    assert_eq!(kinds(dir.path()), expected);
    let (text, _) = read(dir.path());
    assert!(text.contains("log.level") && !text.contains("hunter2"), "a secret is no business of the log");
}

#[test]
fn a_flood_is_one_line_and_a_number() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, writing) = start(dir.path(), &key(), &view("info"));
    let words = "x".repeat(100_000);
    for port in 0..100 {
        audit.refused(&format!("/ip4/192.0.2.1/udp/{port}/quic-v1"), &words);
    }
    writing.end();

    let good = check(dir.path()).unwrap();
    let refused = good.entries.iter().filter(|entry| matches!(entry.happening, Happening::Refused { .. }));
    assert_eq!(refused.map(|entry| entry.count).collect::<Vec<_>>(), [1, 99]);
    let (text, _) = read(dir.path());
    assert!(text.len() < 4_000, "{} bytes", text.len());
}

/// The room that notes something never waits; what does not fit in the queue is counted.
#[test]
fn what_comes_too_fast_is_counted_as_lost() {
    let (orders, received) = mpsc::sync_channel(4);
    let audit = Audit { orders, lost: Arc::default() };
    (0..10).for_each(|_| audit.note(Happening::Stopped));
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), key(), 1).unwrap();
    let lost = Arc::clone(&audit.lost);
    drop(audit);

    let writer = Writer { log, gather: Gather::default(), lost, is_failing: false };
    writer.run(&beginning(key().peer(), &view("info")), &received);

    let good = check(dir.path()).unwrap();
    let counts: Vec<_> = good.entries.iter().map(|entry| (entry.happening == Happening::Lost, entry.count)).collect();
    assert_eq!(counts.iter().filter(|(is_lost, _)| *is_lost).map(|(_, count)| count).sum::<u64>(), 6);
    assert_eq!(good.entries.iter().filter(|entry| entry.happening == Happening::Stopped).count(), 4);
}

#[test]
fn full_files_get_numbers_and_the_oldest_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::open(dir.path(), key(), 1).unwrap().with_files_of(2_000);
    for n in 0..100 {
        log.append(n, vec![(joined(n as u8), 1)]).unwrap();
        let good = check(dir.path()).unwrap();
        assert_eq!(good.head.last, n + 1);
    }
    drop(log);

    let good = check(dir.path()).unwrap();
    assert!(good.head.first > 1 && good.entries.len() >= 35, "{} entries from {}", good.entries.len(), good.head.first);
    live(dir.path(), "info", vec![]);
    assert_eq!(check(dir.path()).map(|good| good.entries.last().map(|entry| entry.seq)), Ok(Some(102)));
    let oldest = files::in_order(["audit.log.7", "audit.log.6"].into_iter())[0];
    fs::remove_file(dir.path().join(oldest)).unwrap();
    assert!(matches!(check(dir.path()), Err(Fault::CutBeginning { .. })));
}

#[test]
fn where_no_other_file_can_be_begun_the_full_one_goes_on_and_none_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::open(dir.path(), key(), 1).unwrap().with_files_of(2_000);
    let in_the_way = dir.path().join("audit.log.new");
    let mut write = |from: u64, to: u64| (from..to).for_each(|n| log.append(n, vec![(joined(n as u8), 1)]).unwrap());
    write(0, 30);
    fs::create_dir(&in_the_way).unwrap();
    let before = check(dir.path()).unwrap().head.first;
    write(30, 60);
    assert_eq!(check(dir.path()).map(|good| (good.head.first, good.head.last)), Ok((before, 60)));
    fs::remove_dir(&in_the_way).unwrap();
    write(60, 70);

    assert_eq!(check(dir.path()).map(|good| good.head.last), Ok(70));
    assert!(fs::metadata(dir.path().join(files::LOG)).unwrap().len() < 4_000, "it begins anew");
}

#[test]
fn a_line_that_was_begun_when_the_power_went_is_cut_off_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    live(dir.path(), "info", vec![joined(1)]);
    let (mut text, _) = read(dir.path());
    let last = text.lines().last().unwrap().to_owned();
    text.push_str(&last[..50]);
    fs::write(dir.path().join(files::LOG), &text).unwrap();
    assert_eq!(check(dir.path()).map(|good| good.torn), Ok(true));

    live(dir.path(), "info", vec![]);

    assert_eq!(kinds(dir.path()), ["started", "configured", "joined", "started"]);
}

#[test]
fn what_was_tampered_with_is_set_aside_and_the_log_says_so() {
    let tampered = |change: fn(&str) -> String| {
        let dir = tempfile::tempdir().unwrap();
        live(dir.path(), "info", vec![joined(1), joined(2)]);
        let (text, _) = read(dir.path());
        fs::write(dir.path().join(files::LOG), change(&text)).unwrap();
        let before = check(dir.path()).expect_err("it is found");

        live(dir.path(), "info", vec![joined(1)]);

        match check(dir.path()) {
            Err(Fault::Damaged { seq: 5, why }) => assert_eq!(why, before.to_string()),
            other => panic!("{other:?}"),
        }
        let aside = fs::read_dir(dir.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().contains("damaged-"));
        assert_eq!(aside.count(), 2, "the log and its head");
    };

    tampered(|text| text.replacen("peer-1", "peer-9", 1));
    tampered(|text| text.lines().take(3).map(|line| format!("{line}\n")).collect());
}

#[test]
fn a_log_without_its_head_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    live(dir.path(), "info", vec![]);
    fs::remove_file(dir.path().join(files::HEAD)).unwrap();

    live(dir.path(), "info", vec![]);

    assert!(matches!(check(dir.path()), Err(Fault::Damaged { seq: 1, .. })));
}

#[test]
fn a_disk_that_is_not_there_does_not_stop_the_daemon() {
    live(Path::new("/nonexistent/shoal"), "info", vec![joined(1)]);
}
