//! Business rules: deployed to a mesh, replaced, refused, and in force after a restart.

use std::time::Instant;

use shoal_protocol::api::codes;
use shoal_protocol::audit::{self, Happening, files};
use shoal_protocol::certificate::{Issuer, Role, SecretKey};
use shoal_protocol::rules::{Rule, RuleSet, SignedRules, Then, When};

use super::*;

fn key_of(mesh: &Cluster) -> SecretKey {
    let bytes = std::fs::read(mesh.dir().join("mesh.key")).unwrap();
    SecretKey::from_bytes(&bytes.try_into().unwrap())
}

/// What an admin of a mesh would deploy: a class of tasks stays in one tier.
fn set(mesh_key: &SecretKey, version: u64, class: &str, tier: Role) -> RuleSet {
    let rule = Rule {
        name: format!("{class} only in the {tier}"),
        line: 4,
        when: When { class: Some(class.into()), ..When::default() },
        then: Then { tiers: Some(vec![tier]), ..Then::default() },
    };
    RuleSet {
        mesh: mesh_key.mesh(),
        version,
        issued_unix_s: 1_800_000_000,
        utc_offset_min: 0,
        wan_share: Some(0.8),
        link_share: None,
        rules: vec![rule],
    }
}

fn signed(mesh_key: &SecretKey, version: u64, class: &str, tier: Role) -> SignedRules {
    SignedRules::sign(&set(mesh_key, version, class, tier), &Issuer::of(mesh_key))
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn in_force(mesh: &Cluster, version: u64) {
    let began = Instant::now();
    until("in force everywhere", async || {
        for index in 0..mesh.peers().len() {
            if mesh.client(index).unwrap().policy().await.unwrap().version != version {
                return false;
            }
        }
        true
    })
    .await;
    println!("version {version} is in force at {} peers after {:?}", mesh.peers().len(), began.elapsed());
}

/// Where a task of a class would have run and did.
async fn ran_in(client: &Client, class: &str) -> Role {
    let mut task = task_of(client, example("wordcount"), &[], "a b").await;
    task.class = vec![class.into()];
    let view = client.run(task).await.unwrap();
    view.executor.unwrap().role
}

async fn audited(mesh: &Cluster, index: usize, what: &str, is_it: impl Fn(&Happening) -> bool) {
    let dir = &mesh.peers()[index].data_dir;
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
    until(what, async || {
        let head = read(files::HEAD);
        let good = audit::verify(&read(files::LOG).unwrap_or_default(), head.as_deref(), None);
        good.is_ok_and(|good| good.entries.iter().any(|entry| is_it(&entry.happening)))
    })
    .await;
}

fn code(error: shoal_cli::client::ClientError) -> String {
    match error {
        shoal_cli::client::ClientError::Problem(problem) => problem.code,
        other => panic!("{other}"),
    }
}

/// A class is kept off the cloud without a restart; a later version says otherwise; what is forged or older is refused.
#[test]
fn rules_are_in_force_without_a_restart_and_only_later_ones_replace_them() {
    run(async {
        let mesh = mesh(1, 3, |_| ()).await;
        let (key, edge) = (key_of(&mesh), mesh.client(1).unwrap());

        edge.deploy(&signed(&key, 1, "reading", Role::Cloud)).await.unwrap();
        in_force(&mesh, 1).await;
        assert_eq!(ran_in(&edge, "reading").await, Role::Cloud, "nobody but the cloud may");
        let explained = edge.explain("last").await.unwrap();
        let decision = explained.items.last().unwrap();
        assert_eq!(decision.rules.iter().map(|rule| (rule.line, rule.version)).collect::<Vec<_>>(), [(4, 1)]);
        let excluded = decision.candidates.iter().find(|candidate| candidate.role == Role::Edge).unwrap();
        assert!(excluded.note.contains("rule `reading only in the cloud` (line 4, version 1)"), "{}", excluded.note);

        // From another peer, to the same peers that go on running.
        mesh.client(2).unwrap().deploy(&signed(&key, 2, "reading", Role::Edge)).await.unwrap();
        in_force(&mesh, 2).await;
        assert_eq!(ran_in(&edge, "reading").await, Role::Edge);
        let mut task = task_of(&edge, example("wordcount"), &[], "a b").await;
        (task.class, task.role) = (vec!["reading".into()], Some(Role::Cloud));
        let problem = edge.run(task).await.unwrap().problem.expect("no user is above the rules");
        assert_eq!(problem.code, codes::NO_CANDIDATE);

        let old = edge.deploy(&signed(&key, 1, "reading", Role::Cloud)).await.unwrap_err();
        let stranger = SecretKey::from_bytes(&[9; 32]);
        let forged = SignedRules::sign(&set(&key, 3, "reading", Role::Cloud), &Issuer::of(&stranger));
        let forged = edge.deploy(&forged).await.unwrap_err();
        assert_eq!((code(old), code(forged)), (codes::POLICY_OLD.into(), codes::POLICY_DENIED.into()));
        audited(&mesh, 1, "the older set", |it| matches!(it, Happening::RulesRefused { version: Some(1), .. })).await;
        audited(&mesh, 1, "the forged set", |it| matches!(it, Happening::RulesRefused { version: None, .. })).await;
        audited(&mesh, 3, "what is in force", |it| matches!(it, Happening::RulesDeployed { version: 2, .. })).await;
        assert_eq!(edge.policy().await.unwrap().version, 2);
    });
}

/// Rules survive a kill; a peer that was away when they were replaced learns it when it is back.
#[test]
fn who_was_away_learns_the_rules_when_it_is_back_and_has_its_own_until_then() {
    run(async {
        let mesh = mesh(0, 3, |_| ()).await;
        let key = key_of(&mesh);
        mesh.client(0).unwrap().deploy(&signed(&key, 1, "reading", Role::Edge)).await.unwrap();
        in_force(&mesh, 1).await;

        mesh.kill(2).unwrap();
        let file = mesh.peers()[2].data_dir.join("policy.cbor");
        let on_disk = SignedRules::from_bytes(&std::fs::read(file).unwrap()).unwrap();
        assert_eq!(on_disk, signed(&key, 1, "reading", Role::Edge));
        mesh.client(0).unwrap().deploy(&signed(&key, 2, "reading", Role::Edge)).await.unwrap();
        mesh.restart(2).await.unwrap();
        let began = mesh.client(2).unwrap().policy().await.unwrap();
        assert!(began.version >= 1 && began.in_force_unix_s.is_some(), "{began:?}");

        in_force(&mesh, 2).await;
    });
}
