//! Services: deployed at one peer, called at all of them, rolled out, taken back, held back, and given back.

use std::process::{Command, Output};
use std::time::Instant;

use shoal_cli::client::{CallOptions, ClientError};
use shoal_protocol::api::codes;
use shoal_protocol::api::services::ServiceView;
use shoal_protocol::audit::{self, Happening, files};
use shoal_protocol::certificate::{Issuer, SecretKey};
use shoal_protocol::service::{Growth, Rollout, ServiceRecord, ServiceVersion, SignedService};
use shoal_protocol::task::spec::{Limits, Policy};

use super::*;

/// What a test knows of the mesh whose services it deploys.
struct Owner {
    key: SecretKey,
}

impl Owner {
    fn of(mesh: &Cluster) -> Self {
        let bytes = std::fs::read(mesh.dir().join("mesh.key")).unwrap();
        Self { key: SecretKey::from_bytes(&bytes.try_into().unwrap()) }
    }

    /// Stores the modules and deploys them as the versions of a service, of which the first is called.
    async fn deploy(&self, client: &Client, name: &str, generation: u64, modules: &[&[u8]]) -> ServiceRecord {
        let record = self.record(name, generation, modules);
        for module in modules {
            client.put_blob(module.to_vec()).await.unwrap();
        }
        client.deploy_service(&self.sign(&record)).await.unwrap();
        record
    }

    fn record(&self, name: &str, generation: u64, modules: &[&[u8]]) -> ServiceRecord {
        let version = |(number, module): (u32, &&[u8])| ServiceVersion {
            number,
            module: shoal_protocol::BlobId::of(module),
            module_bytes: module.len() as u64,
            args: Vec::new(),
            limits: Limits::default(),
            policy: Policy::default(),
            class: String::new(),
            labels: Default::default(),
            deployed_unix_s: 1_800_000_000,
            note: String::new(),
        };
        ServiceRecord {
            mesh: self.key.mesh(),
            name: name.parse().unwrap(),
            generation,
            issued_unix_s: 1_800_000_000,
            versions: (1..).zip(modules).map(version).collect(),
            current: 1,
            rollout: None,
        }
    }

    fn sign(&self, record: &ServiceRecord) -> SignedService {
        SignedService::by_issuer(record, &Issuer::of(&self.key))
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until each of these peers knows this generation.
async fn known(mesh: &Cluster, peers: &[usize], name: &str, generation: u64) {
    until("known everywhere", async || {
        for index in peers {
            let view = mesh.client(*index).unwrap().service(name, true).await;
            if !view.is_ok_and(|view| view.generation == generation) {
                return false;
            }
        }
        true
    })
    .await;
}

async fn called(client: &Client, name: &str, input: &str) -> (u64, String) {
    let answered = client.call(name, &CallOptions::default(), input.to_owned()).await.unwrap();
    let version = answered.version;
    (version, String::from_utf8(answered.bytes().await.unwrap().to_vec()).unwrap())
}

fn code(error: &ClientError) -> &str {
    error.code().unwrap_or_else(|| panic!("{error}"))
}

/// A module that answers nothing and exits with this code.
fn exits(code: u32) -> Vec<u8> {
    let text = format!(
        "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))
           (memory (export \"memory\") 1) (func (export \"_start\") (call $exit (i32.const {code}))))"
    );
    wat::parse_str(text).unwrap()
}

async fn shoal(mesh: &Cluster, peer: usize, arguments: &[&str]) -> Output {
    let mut command = Command::new(shoal_tests::program("shoal"));
    command.env_remove("SHOAL_API").env_remove("SHOAL_NODE_DATA_DIR").env("NO_COLOR", "1");
    command.arg("--api").arg(mesh.peers()[peer].api()).args(arguments).stdin(std::process::Stdio::null());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[track_caller]
fn good(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Who is told that a neighbour holds it can call it there at once.
#[test]
fn service_is_held_by_as_many_neighbours_as_its_deployment_says() {
    run(async {
        let mesh = mesh(0, 3, |_| ()).await;
        let (owner, client) = (Owner::of(&mesh), mesh.client(0).unwrap());
        for generation in 1..=5 {
            let record = owner.record("words", generation, &[example("wordcount")]);
            client.put_blob(example("wordcount").to_vec()).await.unwrap();

            let spread = client.deploy_service(&owner.sign(&record)).await.unwrap().spread.unwrap();

            let mut holding = 0;
            for neighbour in [1, 2] {
                let view = mesh.client(neighbour).unwrap().service("words", false).await;
                holding += usize::from(view.is_ok_and(|view| view.generation == generation));
            }
            assert!(spread.holding <= holding && spread.neighbours <= 2, "{spread:?}, and {holding} hold it");
        }
    });
}

/// The commands as a person types them: deployed by an issuer and by a member that may, called everywhere, rolled out, taken
/// back and removed; what is not allowed is refused with what to do.
#[test]
fn service_commands_deploy_call_roll_out_take_back_and_remove() {
    run(async {
        let mesh = mesh(1, 2, |config| {
            config.peers[2].labels.insert("deploy".into(), "asr, words-*".into());
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path.display().to_string()
        };
        let (words, echo) = (file("w.wasm", example("wordcount")), file("e.wasm", &echo()));
        let input = file("words", b"a b b");
        let issuer = mesh.dir().display().to_string();
        let deploy = ["service", "deploy", "words"];

        let shown =
            good(&shoal(&mesh, 1, &[&deploy[..], &[words.as_str(), "--data-dir", issuer.as_str()]].concat()).await);
        assert!(shown.contains("service words   generation 1") && shown.contains("100%"), "{shown}");
        known(&mesh, &[0, 1, 2], "words", 1).await;
        for peer in 0..3 {
            let ran = shoal(&mesh, peer, &["service", "call", "words", "-i", &input, "-v"]).await;
            assert_eq!(good(&ran), native("wordcount", &[], "a b b"), "at peer {peer}");
            assert!(String::from_utf8_lossy(&ran.stderr).starts_with("version 1 at "), "{ran:?}");
        }
        let missing = shoal(&mesh, 0, &["service", "call", "word"]).await;
        let said = String::from_utf8_lossy(&missing.stderr).into_owned();
        assert!(said.contains(codes::NO_SERVICE) && said.contains("did you mean words?"), "{said}");

        let half = ["--share", "50%", "--note", "an echo", "--data-dir", issuer.as_str()];
        good(&shoal(&mesh, 0, &[&deploy[..], &[echo.as_str()], &half].concat()).await);
        known(&mesh, &[0, 1, 2], "words", 2).await;
        let listed = good(&shoal(&mesh, 1, &["service", "ls"]).await);
        assert!(listed.contains("2 (50%)"), "{listed}");
        let finish = ["service", "rollout", "words", "--finish", "--data-dir", &issuer];
        good(&shoal(&mesh, 1, &finish).await);
        known(&mesh, &[0, 1, 2], "words", 3).await;
        assert_eq!(called(&mesh.client(2).unwrap(), "words", "a b b").await, (2, "a b b".into()));
        good(&shoal(&mesh, 1, &["service", "rollback", "words", "--data-dir", &issuer]).await);
        known(&mesh, &[0, 1, 2], "words", 4).await;
        assert_eq!(called(&mesh.client(2).unwrap(), "words", "a b b").await.0, 1);

        // A member deploys what its certificate names, and nothing else.
        let member = mesh.peers()[2].data_dir.display().to_string();
        good(&shoal(&mesh, 2, &["service", "deploy", "words-2", words.as_str(), "--data-dir", member.as_str()]).await);
        known(&mesh, &[0, 1, 2], "words-2", 1).await;
        let denied = shoal(&mesh, 2, &["service", "remove", "words", "--data-dir", &member]).await;
        assert_eq!(denied.status.code(), Some(77), "{denied:?}");
        let said = String::from_utf8_lossy(&denied.stderr).into_owned();
        assert!(said.contains(codes::SERVICE_DENIED) && said.contains("deploy=words"), "{said}");

        good(&shoal(&mesh, 0, &["service", "remove", "words", "--data-dir", &issuer]).await);
        known(&mesh, &[0, 1, 2], "words", 5).await;
        let gone = mesh.client(1).unwrap().call("words", &CallOptions::default(), "").await.unwrap_err();
        assert_eq!(code(&gone), codes::NO_SERVICE);
        let listed = good(&shoal(&mesh, 1, &["service", "ls", "--json"]).await);
        let json: serde_json::Value = serde_json::from_str(&listed).unwrap();
        assert_eq!((&json["items"][0]["name"], json["items"].as_array().unwrap().len()), (&"words-2".into(), 1));
    });
}

fn echo() -> Vec<u8> {
    wat::parse_str(include_str!("echo.wat")).unwrap()
}

/// One call in ten gets the new version; the same key always the same; a large input comes back whole.
#[test]
fn service_a_new_version_gets_its_share_of_the_calls_and_a_key_keeps_its_version() {
    run(async {
        let mesh = mesh(0, 2, |_| ()).await;
        let (owner, clients) = (Owner::of(&mesh), [mesh.client(0).unwrap(), mesh.client(1).unwrap()]);
        let modules = [echo(), exits(0)];
        let modules: Vec<&[u8]> = modules.iter().map(Vec::as_slice).collect();
        let mut record = owner.deploy(&clients[0], "echo", 1, &modules).await;
        let rollout = |permille| Some(Rollout { to: 2, growth: Growth::Fixed { permille } });
        (record.generation, record.rollout) = (2, rollout(100));
        clients[0].deploy_service(&owner.sign(&record)).await.unwrap();
        known(&mesh, &[0, 1], "echo", 2).await;

        let mut new = 0;
        for call in 0..1_000 {
            let (version, output) = called(&clients[call % 2], "echo", "x").await;
            assert_eq!(output, if version == 1 { "x" } else { "" });
            new += usize::from(version == 2);
        }
        // Five standard deviations of a thousand draws.
        assert!((53..=147).contains(&new), "{new} of 1,000 calls got the new version");

        (record.generation, record.rollout) = (3, rollout(500));
        clients[1].deploy_service(&owner.sign(&record)).await.unwrap();
        known(&mesh, &[0, 1], "echo", 3).await;
        for user in 0..20 {
            let options = CallOptions { key: Some(format!("user {user}")), ..CallOptions::default() };
            let mut versions = Vec::new();
            for call in 0..4 {
                versions.push(clients[call % 2].call("echo", &options, "x").await.unwrap().version);
            }
            assert!(versions.iter().all(|version| *version == versions[0]), "{user}: {versions:?}");
        }
        record.current = 1;
        (record.generation, record.rollout) = (4, None);
        clients[1].deploy_service(&owner.sign(&record)).await.unwrap();
        let large = "0123456789abcdef".repeat(40_000);
        let elsewhere = CallOptions { peer: Some("edge-1".into()), ..CallOptions::default() };
        let answered = clients[1].call("echo", &elsewhere, large.clone()).await.unwrap();
        assert_eq!((answered.peer.as_str(), answered.version), ("edge-1", 1));
        assert!(answered.bytes().await.unwrap() == large.as_bytes());
    });
}

/// A new version that fails gets no more calls from a peer that has seen it fail, and that is told and written down.
#[test]
fn service_a_new_version_that_fails_is_held_back() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        let (owner, client) = (Owner::of(&mesh), mesh.client(0).unwrap());
        let modules = [exits(0), exits(3)];
        let modules: Vec<&[u8]> = modules.iter().map(Vec::as_slice).collect();
        let mut record = owner.deploy(&client, "judge", 1, &modules).await;
        record.generation = 2;
        record.rollout = Some(Rollout { to: 2, growth: Growth::Fixed { permille: 500 } });
        client.deploy_service(&owner.sign(&record)).await.unwrap();

        let mut failed = 0;
        for _ in 0..200 {
            match client.call("judge", &CallOptions::default(), "").await {
                Ok(answered) => assert_eq!(answered.version, 1),
                Err(error) => {
                    assert_eq!(code(&error), codes::CALL_FAILED, "{error}");
                    assert!(error.to_string().contains("version 2"), "{error}");
                    failed += 1;
                }
            }
        }

        assert_eq!(failed, 20, "it is judged by twenty calls, and gets no more");
        let view = client.service("judge", false).await.unwrap();
        assert!(view.versions[1].held_back && view.versions[1].share == 0.0, "{view:?}");
        assert_eq!((view.versions[0].calls, view.versions[1].failures), (180, 20));
        audited(&mesh, "held back", |it| matches!(it, Happening::ServiceHeldBack { version: 2, .. })).await;
        let shown = good(&shoal(&mesh, 0, &["service", "show", "judge"]).await);
        assert!(shown.contains("held back") && shown.contains("shoal service rollback judge"), "{shown}");
    });
}

async fn audited(mesh: &Cluster, what: &str, is_it: impl Fn(&Happening) -> bool) {
    let dir = &mesh.peers()[0].data_dir;
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
    until(what, async || {
        let head = read(files::HEAD);
        let good = audit::verify(&read(files::LOG).unwrap_or_default(), head.as_deref(), None);
        good.is_ok_and(|good| good.entries.iter().any(|entry| is_it(&entry.happening)))
    })
    .await;
}

/// The peer where it was deployed is killed: its module is held elsewhere, and calls go on at peers that never called before.
#[test]
fn service_outlives_the_peer_that_deployed_it() {
    run(async {
        let mesh = mesh(0, 5, |_| ()).await;
        let (owner, deployer) = (Owner::of(&mesh), mesh.client(0).unwrap());
        let record = owner.deploy(&deployer, "words", 1, &[example("wordcount")]).await;
        known(&mesh, &[0, 1, 2, 3, 4], "words", 1).await;
        let module = record.versions[0].module;
        let others: Vec<Client> = (1..5).map(|index| mesh.client(index).unwrap()).collect();
        // Three of five peers hold it, so two of the others at least.
        until("held by two others", async || {
            let mut held = 0;
            for client in &others {
                held += usize::from(client.blob_stat(module, false).await.is_ok_and(|stat| stat.local));
            }
            held >= 2
        })
        .await;

        mesh.kill(0).unwrap();

        for client in &others {
            assert_eq!(called(client, "words", "a b").await, (1, native("wordcount", &[], "a b")));
        }
    });
}

/// Records survive a kill and are as good as before; what is forged, older, or without its module is refused and written down.
#[test]
fn service_records_survive_a_kill_and_only_good_ones_are_taken() {
    run(async {
        let mesh = mesh(0, 2, |_| ()).await;
        let (owner, client) = (Owner::of(&mesh), mesh.client(0).unwrap());
        let record = owner.deploy(&client, "words", 2, &[example("wordcount")]).await;
        known(&mesh, &[0, 1], "words", 2).await;

        let refused = async |record: &ServiceRecord, key: &SecretKey| {
            let signed = SignedService::by_issuer(record, &Issuer::of(key));
            code(&client.deploy_service(&signed).await.unwrap_err()).to_owned()
        };
        let old = ServiceRecord { generation: 1, ..record.clone() };
        let newer = ServiceRecord { generation: 3, ..record.clone() };
        let stranger = SecretKey::from_bytes(&[9; 32]);
        let without_module = owner.record("other", 1, &[b"not stored anywhere"]);
        let wrong = ServiceRecord { current: 7, ..newer.clone() };
        assert_eq!(refused(&old, &owner.key).await, codes::SERVICE_OLD);
        assert_eq!(refused(&newer, &stranger).await, codes::SERVICE_DENIED);
        assert_eq!(refused(&without_module, &owner.key).await, codes::NO_BLOB);
        assert_eq!(refused(&wrong, &owner.key).await, codes::BAD_SERVICE);
        audited(&mesh, "the forged one", |it| matches!(it, Happening::ServiceRefused { name: None, .. })).await;
        audited(&mesh, "the old one", |it| matches!(it, Happening::ServiceRefused { name: Some(_), .. })).await;

        // Both at once, so that neither has it from the other.
        mesh.kill(0).unwrap();
        mesh.kill(1).unwrap();
        mesh.start_again(0).unwrap();
        mesh.restart(1).await.unwrap();
        until("it answers again", async || client.status().await.is_ok()).await;
        let view = client.service("words", false).await.unwrap();
        assert_eq!((view.generation, view.current), (2, 1));
        for index in 0..2 {
            assert_eq!(called(&mesh.client(index).unwrap(), "words", "a b").await.0, 1);
        }
    });
}

/// An instance is kept where calls come from, and none where they do not any more: its memory is given back.
#[test]
fn service_instances_are_kept_while_it_is_called_and_given_back_when_it_is_not() {
    run(async {
        let mesh = mesh(0, 2, |config| config.service_idle = Duration::from_secs(6)).await;
        let (owner, client) = (Owner::of(&mesh), mesh.client(0).unwrap());
        let record = owner.deploy(&client, "words", 1, &[example("wordcount")]).await;
        known(&mesh, &[0, 1], "words", 1).await;
        let ready = |view: &ServiceView| view.warm.iter().map(|warm| warm.name.clone()).collect::<Vec<_>>();
        assert!(ready(&client.service("words", false).await.unwrap()).is_empty(), "nobody has called it");

        called(&client, "words", "a b").await;
        let neighbour = mesh.client(1).unwrap();
        until("ready where it was called, as the neighbour hears", async || {
            called(&client, "words", "a b").await;
            let heard = neighbour.service("words", false).await.unwrap();
            ready(&heard).contains(&"edge-1".to_owned())
        })
        .await;
        let is_prepared = async || {
            let blobs = client.blobs().await.unwrap().items;
            blobs.iter().any(|blob| blob.id == record.versions[0].module && blob.is_module)
        };
        assert!(is_prepared().await);

        until("nothing is kept ready", async || {
            let views =
                [client.service("words", false).await.unwrap(), neighbour.service("words", false).await.unwrap()];
            views.iter().all(|view| ready(view).is_empty())
        })
        .await;
        assert!(!is_prepared().await, "its memory is given back");
        assert_eq!(called(&client, "words", "a b").await.0, 1, "and it comes again when it is called");
    });
}
