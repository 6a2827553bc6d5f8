//! The program explains itself.

use crate::fake::{Ran, shoal};

fn run(arguments: &[&str]) -> Ran {
    Ran::of(shoal(arguments).output().expect("shoal runs"))
}

#[test]
fn every_command_has_an_example_in_its_help() {
    for command in [
        "up",
        "status",
        "top",
        "policy lint",
        "policy deploy",
        "policy show",
        "doctor",
        "peers",
        "ping",
        "rtt",
        "run",
        "submit",
        "task ls",
        "task show",
        "task cancel",
        "task result",
        "pipeline run",
        "pipeline plan",
        "pipeline status",
        "pipeline cancel",
        "privacy declare",
        "privacy release",
        "privacy status",
        "service deploy",
        "service rollout",
        "service rollback",
        "service ls",
        "service show",
        "service call",
        "service remove",
        "service bench",
        "stream start",
        "stream status",
        "stream stop",
        "stream ls",
        "stream feed",
        "logs",
        "explain",
        "blob put",
        "blob get",
        "blob ls",
        "blob stat",
        "blob pin",
        "blob unpin",
        "blob rm",
        "events",
        "config show",
        "config check",
        "mesh init",
        "mesh admit",
        "mesh status",
        "mesh invitations",
        "mesh joiners",
        "invite",
        "join",
        "peer label",
        "audit verify",
        "audit show",
        "bench",
        "completion",
        "version",
        "shutdown",
    ] {
        let mut arguments: Vec<&str> = command.split(' ').collect();
        arguments.push("--help");
        let ran = run(&arguments);
        assert_eq!(ran.code, 0, "{command}");
        assert!(ran.out.contains("Example"), "{command}: {}", ran.out);
        assert!(ran.out.contains(&format!("shoal {command}")), "{command}: {}", ran.out);
    }
}

#[test]
fn without_a_command_the_first_steps_are_shown() {
    let ran = run(&[]);

    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("First steps:\n  shoal up -d\n"), "{}", ran.err);
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completion", shell]);
        assert_eq!(ran.code, 0, "{shell}");
        assert!(ran.out.contains("explain") && ran.out.contains("local-only"), "{shell}");
    }
}

#[test]
fn the_version_is_told_without_a_daemon() {
    let ran = run(&["version", "--json", "--api", "unix:/nonexistent/s"]);

    assert_eq!(ran.code, 0);
    let told: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(told["schema"], "shoal/v1");
    assert_eq!(told["shoal"], env!("CARGO_PKG_VERSION"));
    assert!(told["shoald"].is_null());
}
