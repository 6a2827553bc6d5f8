//! Founding a mesh and admitting peers, without a daemon.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use shoal_protocol::certificate::{Chain, Role, SecretKey};

use crate::fake::{Ran, shoal};

fn run(arguments: &[&str]) -> Ran {
    Ran::of(shoal(arguments).output().expect("shoal runs"))
}

fn json(ran: &Ran) -> Value {
    assert_eq!(ran.code, 0, "{}", ran.err);
    serde_json::from_str(&ran.out).expect("JSON")
}

fn key(path: &Path) -> SecretKey {
    assert_eq!(std::fs::metadata(path).expect("there").permissions().mode() & 0o777, 0o600, "{}", path.display());
    SecretKey::from_bytes(&std::fs::read(path).expect("readable").try_into().expect("32 bytes"))
}

fn chain(path: &Path) -> Chain {
    Chain::from_bytes(&std::fs::read(path).expect("readable")).expect("a certificate")
}

fn now_unix_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
}

#[test]
fn a_mesh_is_founded_once_and_its_first_member_is_believed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let text = data.display().to_string();

    let founded =
        json(&run(&["mesh", "init", "lab", "--name", "nas", "--label", "site=a", "--data-dir", &text, "--json"]));

    let (mesh, node) = (key(&data.join("mesh.key")), key(&data.join("node.key")));
    assert_eq!(founded["mesh"], mesh.mesh().to_string());
    let certificate =
        chain(&data.join("member.cert")).verify(mesh.mesh(), node.peer(), now_unix_s()).expect("believed");
    assert_ne!(key(&data.join("issuer.key")).peer(), mesh.peer(), "the mesh's own key signs no member");
    assert_eq!((certificate.name.as_str(), certificate.role), ("nas", Role::Edge));
    assert_eq!(certificate.labels.get("site").map(String::as_str), Some("a"));

    let again = run(&["mesh", "init", "--data-dir", &text]);
    assert_eq!(again.code, 2);
    assert_eq!(key(&data.join("mesh.key")).mesh(), mesh.mesh(), "the key was left alone");

    let status = json(&run(&["mesh", "status", "--data-dir", &text, "--json"]));
    assert_eq!(status["peer"], node.peer().to_string());
    assert_eq!(status["member"]["mesh"], mesh.mesh().to_string());
    assert_eq!(status["can_admit"], true);
}

#[test]
fn a_peer_is_admitted_by_its_public_key() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    run(&["mesh", "init", "--name", "nas", "--data-dir", &path("founder")]);
    let stranger = json(&run(&["mesh", "status", "--data-dir", &path("joiner"), "--json"]));
    let peer = stranger["peer"].as_str().expect("an id").to_owned();
    assert!(stranger["member"].is_null());

    let certificate = path("joiner/member.cert");
    let admitted = run(&[
        "mesh",
        "admit",
        "--key",
        &peer,
        "--name",
        "cam-17",
        "--role",
        "cloud",
        "--days",
        "7",
        "-o",
        &certificate,
        "--data-dir",
        &path("founder"),
    ]);

    assert_eq!(admitted.code, 0, "{}", admitted.err);
    let member = json(&run(&["mesh", "status", "--data-dir", &path("joiner"), "--json"]));
    assert_eq!(member["member"]["name"], "cam-17");
    assert_eq!(member["member"]["role"], "cloud");
    assert_eq!(member["can_admit"], false);
    let days = member["member"]["valid_for_s"].as_u64().expect("a number") as f64 / 86_400.0;
    assert!((6.9..=7.0).contains(&days), "{days}");
}

#[test]
fn only_the_holder_of_the_key_admits() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let text = dir.path().display().to_string();
    let key = "ab".repeat(32);

    let ran = run(&["mesh", "admit", "--key", &key, "--name", "x", "--data-dir", &text]);

    assert_eq!(ran.code, 77);
    assert!(ran.err.starts_with("error[SH0150]: nobody here may admit peers to the mesh"), "{}", ran.err);
}

#[test]
fn the_mesh_key_can_be_away_and_under_a_passphrase() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("passphrase"), "correct horse\n").expect("written");
    std::fs::write(path("wrong"), "battery staple\n").expect("written");
    let founder = path("founder");
    let init =
        run(&["mesh", "init", "--name", "nas", "--data-dir", &founder, "--passphrase-file", &path("passphrase")]);
    assert_eq!(init.code, 0, "{}", init.err);
    let sealed = std::fs::read(dir.path().join("founder/mesh.key")).expect("readable");
    assert!(sealed.len() > 32, "it is not there as it is");
    std::fs::rename(path("founder/mesh.key"), path("mesh.key")).expect("moved away");
    let admit = |name: &str| {
        let (peer, certificate) = ("ab".repeat(32), path(name));
        let admitted = ["mesh", "admit", "--key", &peer, "--name", "x", "-o", &certificate, "--data-dir", &founder];
        assert_eq!(run(&admitted).code, 0);
        chain(&dir.path().join(name))
    };
    let before = admit("before.cert");

    let rotate = |more: &[&str]| {
        let key = path("mesh.key");
        let words = ["mesh", "rotate-issuer", "--mesh-key", &key, "--data-dir", &founder, "--json"];
        run(&[&words, more].concat())
    };
    let asked = rotate(&[]);
    let wrong = rotate(&["--passphrase-file", &path("wrong")]);
    let rotated = json(&rotate(&["--passphrase-file", &path("passphrase"), "--days", "7"]));

    assert_eq!((asked.code, wrong.code), (77, 77), "{} {}", asked.err, wrong.err);
    assert!(asked.err.contains("--passphrase-file"), "{}", asked.err);
    assert!(wrong.err.contains("not the passphrase"), "{}", wrong.err);
    let after = admit("after.cert");
    let mesh = before.claimed_mesh().expect("a mesh");
    assert_eq!(rotated["mesh"], mesh.to_string());
    let peer: shoal_protocol::PeerId = "ab".repeat(32).parse().expect("an id");
    let days = |chain: &Chain| {
        let certificate = chain.verify(mesh, peer, now_unix_s()).expect("believed");
        (certificate.expires_unix_s - now_unix_s()).div_ceil(86_400)
    };
    assert_eq!(days(&before), 30, "what the issuer before has signed stays valid");
    assert_eq!(days(&after), 7, "nothing outlives its issuer");
}

#[test]
fn damaged_files_are_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let text = dir.path().display().to_string();
    assert_eq!(run(&["mesh", "init", "--name", "nas", "--data-dir", &text]).code, 0);

    std::fs::write(dir.path().join("member.cert"), b"garbage").expect("written");
    let certificate = run(&["mesh", "status", "--data-dir", &text]);
    std::fs::set_permissions(dir.path().join("node.key"), PermissionsExt::from_mode(0o644)).expect("changed");
    let readable = run(&["mesh", "status", "--data-dir", &text]);

    assert_eq!((certificate.code, readable.code), (78, 78));
    assert!(certificate.err.contains("member.cert"), "{}", certificate.err);
    assert!(readable.err.contains("others can read it (mode 0644)"), "{}", readable.err);
}

#[test]
fn what_is_no_ticket_is_refused_before_anything_is_begun() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data").display().to_string();
    let file = dir.path().join("ticket");
    std::fs::write(&file, "shoal1abc").expect("written");
    let from_file = format!("file:{}", file.display());

    let nonsense = run(&["join", "hello", "--data-dir", &data]);
    let cut = run(&["join", &from_file, "--data-dir", &data, "--json"]);
    let missing = run(&["join", "file:/nonexistent/ticket", "--data-dir", &data]);

    assert_eq!((nonsense.code, cut.code, missing.code), (2, 2, 2));
    assert!(nonsense.err.contains("this is no ticket") && nonsense.err.contains("shoal invite"), "{}", nonsense.err);
    let error: Value = serde_json::from_str(&cut.err).expect("JSON");
    assert!(error["error"]["title"].as_str().is_some_and(|title| title.contains("cut off")), "{error}");
    assert!(missing.err.contains("/nonexistent/ticket"), "{}", missing.err);
    assert!(!dir.path().join("data").exists(), "nothing was made");
}
