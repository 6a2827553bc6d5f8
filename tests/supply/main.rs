//! What the dependencies are: their licences, sources and versions, by the lists of `deny.toml`.
//!
//! `cargo deny` checks the same file where it is installed, and advisories beside. This is what can be checked anywhere, in a
//! second: from `Cargo.lock` and the manifests that cargo has downloaded anyway.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a failure is the answer

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

impl Package {
    fn label(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

fn cargo(arguments: &[&str]) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let ran = Command::new(program)
        .args(arguments)
        .args(["--locked", "--offline"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}

/// Names and versions of all that is in a build for this machine, whatever else `Cargo.lock` has.
fn built() -> BTreeMap<String, BTreeSet<String>> {
    let listed = cargo(&["tree", "--workspace", "--edges=normal,build", "--prefix=none", "--format={p}"]);
    let mut built: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8(listed).unwrap().lines() {
        if let [name, version, ..] = line.split(' ').collect::<Vec<_>>()[..] {
            built.entry(name.to_owned()).or_default().insert(version.trim_start_matches('v').to_owned());
        }
    }
    assert!(built.len() > 100, "{built:?}");
    built
}

/// The kind of machine this is: packages for others alone may not have been downloaded.
fn host() -> String {
    let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(program).arg("-vV").output().expect("rustc runs").stdout;
    let said = String::from_utf8(said).unwrap();
    said.lines().find_map(|line| line.strip_prefix("host: ")).expect("it names its host").to_owned()
}

/// Every package that a build for a machine like this one may take in.
fn packages() -> Vec<Package> {
    let filter = format!("--filter-platform={}", host());
    let metadata: Value =
        serde_json::from_slice(&cargo(&["metadata", "--format-version=1", "--all-features", &filter])).expect("JSON");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let package = |value: &Value| Package {
        name: text(&value["name"]).unwrap(),
        version: text(&value["version"]).unwrap(),
        license: text(&value["license"]),
        source: text(&value["source"]),
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

fn foreign() -> Vec<Package> {
    packages().into_iter().filter(|package| package.source.is_some()).collect()
}

fn policy() -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deny.toml");
    std::fs::read_to_string(path).unwrap().parse().expect("deny.toml is TOML")
}

fn strings(value: &toml::Value) -> BTreeSet<String> {
    value.as_array().expect("a list").iter().map(|item| item.as_str().expect("a string").to_owned()).collect()
}

/// Whether an SPDX expression can be satisfied with these licences.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    let satisfied = any_of(&mut words, allowed);
    satisfied && words.is_empty()
}

fn any_of(words: &mut Vec<&str>, allowed: &BTreeSet<String>) -> bool {
    let mut satisfied = all_of(words, allowed);
    while words.last() == Some(&"OR") {
        words.pop();
        satisfied |= all_of(words, allowed);
    }
    satisfied
}

fn all_of(words: &mut Vec<&str>, allowed: &BTreeSet<String>) -> bool {
    let mut satisfied = one(words, allowed);
    while words.last() == Some(&"AND") {
        words.pop();
        satisfied &= one(words, allowed);
    }
    satisfied
}

fn one(words: &mut Vec<&str>, allowed: &BTreeSet<String>) -> bool {
    let Some(mut word) = words.pop().map(str::to_owned) else { return false };
    if word == "(" {
        let satisfied = any_of(words, allowed);
        return words.pop() == Some(")") && satisfied;
    }
    if words.last() == Some(&"WITH") {
        words.pop();
        word = format!("{word} WITH {}", words.pop().unwrap_or_default());
    }
    allowed.contains(&word)
}

#[test]
fn every_dependency_has_a_licence_that_may_be_carried() {
    let allowed = strings(&policy()["licenses"]["allow"]);
    let bad: Vec<String> = foreign()
        .iter()
        .filter(|package| !package.license.as_ref().is_some_and(|license| is_allowed(license, &allowed)))
        .map(|package| format!("{}: {:?}", package.label(), package.license))
        .collect();

    assert_eq!(bad, Vec::<String>::new(), "not in the list of deny.toml");
}

#[test]
fn every_dependency_is_from_one_registry() {
    let policy = policy();
    assert_eq!(policy["sources"]["unknown-git"].as_str(), Some("deny"));
    assert_eq!(policy["sources"]["unknown-registry"].as_str(), Some("deny"));
    let mut sources: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in foreign() {
        sources.entry(package.source.clone().unwrap_or_default()).or_default().push(package.label());
    }
    let elsewhere: Vec<_> = sources.iter().filter(|(source, _)| !source.starts_with("registry+")).collect();

    assert_eq!(elsewhere, []);
    assert_eq!(sources.len(), 1, "{:?}", sources.keys());
}

fn numbers(version: &str) -> Vec<u64> {
    let release = version.split(['-', '+']).next().unwrap_or_default();
    release.split('.').map(|number| number.parse().expect("a number")).collect()
}

#[test]
fn no_banned_crate_and_no_version_below_a_floor_comes_back() {
    let policy = policy();
    let banned: BTreeMap<String, Option<Vec<u64>>> = policy["bans"]["deny"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|ban| match ban["crate"].as_str().expect("a string").split_once("@<") {
            Some((name, floor)) => (name.to_owned(), Some(numbers(floor))),
            None => (ban["crate"].as_str().expect("a string").to_owned(), None),
        })
        .collect();
    assert!(banned.contains_key("quinn-proto") && banned.contains_key("wasmtime"), "{banned:?}");
    let is_banned = |name: &str, version: &str| match banned.get(name) {
        Some(Some(floor)) => numbers(version) < *floor,
        Some(None) => true,
        None => false,
    };
    let each = built().into_iter().flat_map(|(name, versions)| versions.into_iter().map(move |it| (name.clone(), it)));
    let found: Vec<_> = each.filter(|(name, version)| is_banned(name, version)).collect();

    assert_eq!(found, []);
}

/// Two of these in one program would be two states, two providers of randomness, or two sandboxes.
#[test]
fn what_must_be_there_once_is() {
    let once = [
        "aws-lc-rs",
        "blake3",
        "ciborium",
        "ed25519-dalek",
        "quinn-proto",
        "redb",
        "rustls",
        "serde",
        "tokio",
        "wasmtime",
    ];
    let versions = built();

    let several: Vec<_> =
        once.iter().filter(|name| versions.get(**name).is_none_or(|found| found.len() != 1)).collect();
    assert!(several.is_empty(), "{several:?}");
}

#[test]
fn expressions_of_licences_are_read_as_they_are_meant() {
    let allowed: BTreeSet<String> = ["MIT", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
    let check = |expression: &str| is_allowed(expression, &allowed);

    assert!(check("MIT") && check("MIT OR GPL-3.0") && check("GPL-3.0/MIT") && check("(GPL-3.0 OR MIT) AND MIT"));
    assert!(check("Apache-2.0 WITH LLVM-exception OR Apache-2.0"));
    assert!(!check("GPL-3.0") && !check("MIT AND GPL-3.0") && !check("Apache-2.0") && !check("") && !check("MIT MIT"));
}
