//! From a mesh of one to a mesh of two with one ticket, and what becomes of certificates afterwards: the commands as a
//! person types them, and real daemons.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use shoal_protocol::Role;
use shoal_protocol::api::{InvitationRequest, LabelRequest};
use shoal_protocol::certificate::{Chain, MemberCertificate};
use tokio::process::{Child, Command};

use super::*;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(20);

fn program(name: &str) -> Command {
    let mut command = Command::new(shoal_tests::program(name));
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"SHOAL")) {
        command.env_remove(variable);
    }
    command.env("NO_COLOR", "1").env("SHOAL_NET_MDNS", "false").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A machine: a data directory, and the daemon that may run on it.
struct Machine {
    dir: PathBuf,
    daemon: Option<Child>,
}

impl Machine {
    fn new(within: &Path, name: &str) -> Self {
        Self { dir: within.join(name), daemon: None }
    }

    fn client(&self) -> Client {
        Client::new(self.dir.join("api.sock"))
    }

    fn shoal(&self) -> Command {
        let mut command = program("shoal");
        command.env("SHOAL_API", format!("unix:{}", self.dir.join("api.sock").display()));
        command
    }

    /// Runs the daemon, and waits for its API.
    async fn up(&mut self) {
        let mut command = program("shoald");
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        command.arg("--data-dir").arg(&self.dir).args(["--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--api"]);
        command.arg(format!("unix:{}", self.dir.join("api.sock").display()));
        command.env("SHOAL_MESH_NAME", "lab").env("SHOAL_TESTNET_SPEED", "1").stderr(log);
        self.daemon = Some(command.spawn().unwrap());
        let deadline = Instant::now() + LONG;
        while self.client().status().await.is_err() {
            assert!(Instant::now() < deadline, "the daemon does not answer: {}", self.log());
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn kill(&mut self) {
        self.daemon.take().unwrap().kill().await.unwrap();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// `shoal mesh init`, and the daemon.
    async fn founds(within: &Path, name: &str) -> Self {
        let mut machine = Self::new(within, name);
        let mut init = machine.shoal();
        init.args(["mesh", "init", "lab", "--name", name, "--data-dir"]).arg(&machine.dir);
        let founded = init.output().await.unwrap();
        assert!(founded.status.success(), "{}", String::from_utf8_lossy(&founded.stderr));
        machine.up().await;
        machine
    }

    /// `shoal join` with the ticket on standard input.
    async fn join(&self, ticket: &str, more: &[&str]) -> Ran {
        let mut command = self.shoal();
        command.args(["join", "-", "--data-dir"]).arg(&self.dir).args(more);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stdin, ticket.as_bytes()).await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn certificate(&self) -> MemberCertificate {
        let chain = Chain::from_bytes(&std::fs::read(self.dir.join("member.cert")).unwrap()).unwrap();
        let key: [u8; 32] = std::fs::read(self.dir.join("node.key")).unwrap().try_into().unwrap();
        let me = shoal_protocol::certificate::SecretKey::from_bytes(&key).peer();
        // As the peer itself believes it: at a date when it is valid.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        chain.verify(chain.claimed_mesh().unwrap(), me, now).unwrap()
    }

    /// What this machine's peer knows of the labels of another.
    async fn sees(&self, name: &str) -> Option<std::collections::BTreeMap<String, String>> {
        let peers = self.client().peers().await.unwrap().items;
        peers.into_iter().find(|peer| peer.name == name && peer.load.is_some()).map(|peer| peer.labels)
    }

    async fn ticket(&self, change: impl FnOnce(&mut InvitationRequest)) -> String {
        let mut request = InvitationRequest {
            role: Role::Edge,
            labels: std::collections::BTreeMap::from([("site".to_owned(), "a".to_owned())]),
            name: None,
            ttl_s: 3_600,
            uses: 1,
            approve: false,
            life_s: None,
            addresses: Vec::new(),
        };
        change(&mut request);
        self.client().invite(&request).await.unwrap().ticket.unwrap()
    }
}

#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

#[test]
fn one_pasted_ticket_makes_a_member_and_its_first_task_runs() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let founder = Machine::founds(dir.path(), "nas").await;
        let mut invite = founder.shoal();
        invite.args(["invite", "--role", "edge", "--label", "site=a"]);
        let invited = invite.output().await.unwrap();
        let ticket = String::from_utf8(invited.stdout).unwrap();
        assert!(ticket.starts_with("shoal1") && ticket.lines().count() == 1, "stdout is the ticket: {ticket}");
        let mut joiner = Machine::new(dir.path(), "cam");
        let began = Instant::now();

        let joined = joiner.join(&ticket, &["--name", "cam"]).await;
        assert_eq!(joined.code, 0, "{joined:?}");
        let became = began.elapsed();
        joiner.up().await;
        let started = began.elapsed();
        until("the new peer sees its neighbour", async || joiner.sees("nas").await.is_some()).await;
        let client = joiner.client();
        let task =
            TaskRequest { peer: Some("nas".into()), ..task_of(&client, example("wordcount"), &[], "a b b").await };
        let view = client.run(task).await.unwrap();

        assert_eq!((view.exit_code, executor(&view)), (Some(0), "nas"));
        println!(
            "a member after {became:?}, up after {started:?}, first task at a neighbour after {:?}",
            began.elapsed()
        );
        until("the founder sees it with its labels", async || {
            founder.sees("cam").await.is_some_and(|labels| labels.get("site").map(String::as_str) == Some("a"))
        })
        .await;
        assert!(!founder.log().contains(ticket.trim()) && !joiner.log().contains(ticket.trim()), "no ticket in a log");

        // It finds its mesh again by itself, also without what it remembers of others.
        joiner.kill().await;
        let _ = std::fs::remove_file(joiner.dir.join("peers.cbor"));
        joiner.up().await;
        until("it is back", async || joiner.sees("nas").await.is_some()).await;
    });
}

#[test]
fn a_ticket_that_is_of_no_use_says_why() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let founder = Machine::founds(dir.path(), "nas").await;
        let ticket = founder.ticket(|_| ()).await;
        let (first, second) = (Machine::new(dir.path(), "first"), Machine::new(dir.path(), "second"));
        assert_eq!(first.join(&ticket, &[]).await.code, 0);

        let used = second.join(&ticket, &[]).await;
        let at = ticket.len() - 20;
        let other = if ticket.as_bytes()[at] == b'a' { "b" } else { "a" };
        let mistyped = second.join(&format!("{}{other}{}", &ticket[..at], &ticket[at + 1..]), &[]).await;
        let cut = second.join(&ticket[..ticket.len() - 7], &[]).await;
        let no_ticket = second.join("hello", &[]).await;
        let again = first.join(&ticket, &[]).await;

        assert!(used.code == 77 && used.err.contains("used already"), "{used:?}");
        assert!(mistyped.code == 2 && mistyped.err.contains("mistyped"), "{mistyped:?}");
        assert!(cut.code == 2 && cut.err.contains("7 characters are missing"), "{cut:?}");
        assert!(no_ticket.code == 2 && no_ticket.err.contains("begins with `shoal1`"), "{no_ticket:?}");
        assert!(!second.dir.join("member.cert").exists());
        assert_eq!(again.code, 0, "whoever used it may fetch its certificate again: {again:?}");

        let other_mesh = Machine::founds(dir.path(), "other").await;
        let elsewhere = first.join(&other_mesh.ticket(|_| ()).await, &[]).await;
        assert!(elsewhere.code == 77 && elsewhere.err.contains("another mesh already"), "{elsewhere:?}");
        let nobody = founder.ticket(|_| ()).await;
        drop(founder);
        let unanswered = second.join(&nobody, &[]).await;
        assert!(unanswered.code == 69 && unanswered.err.contains("does not answer"), "{unanswered:?}");
    });
}

#[test]
fn a_certificate_is_renewed_before_its_end_and_no_connection_is_closed() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let founder = Machine::founds(dir.path(), "nas").await;
        let ticket = founder.ticket(|request| request.life_s = Some(20)).await;
        let mut joiner = Machine::new(dir.path(), "cam");
        assert_eq!(joiner.join(&ticket, &["--name", "cam"]).await.code, 0);
        let first = joiner.certificate();
        joiner.up().await;
        until("they are neighbours", async || joiner.sees("nas").await.is_some()).await;
        let admitted = async || founder.client().status().await.unwrap().counters["admitted"];
        let before = admitted().await;

        // Past the end of the first: it lives by a later one.
        until("it is renewed twice", async || joiner.certificate().expires_unix_s > first.expires_unix_s + 20).await;

        let now = joiner.certificate();
        assert_eq!((&now.name, now.role, &now.labels), (&first.name, first.role, &first.labels));
        assert!(now.serial > first.serial);
        assert_eq!(admitted().await, before, "the connection is the same all the time");
        let client = joiner.client();
        let task = TaskRequest { peer: Some("nas".into()), ..task_of(&client, example("noop"), &[], "").await };
        assert_eq!(client.run(task).await.unwrap().exit_code, Some(0));
        // What is on disk is what it comes back with.
        joiner.kill().await;
        joiner.up().await;
        until("it is back", async || joiner.sees("nas").await.is_some()).await;
    });
}

#[test]
fn new_labels_take_effect_everywhere_and_at_once() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let founder = Machine::founds(dir.path(), "nas").await;
        let ticket = founder.ticket(|request| request.uses = 2).await;
        let (mut cam, mut gate) = (Machine::new(dir.path(), "cam"), Machine::new(dir.path(), "gate"));
        for machine in [&mut cam, &mut gate] {
            let name = machine.dir.file_name().unwrap().to_str().unwrap().to_owned();
            assert_eq!(machine.join(&ticket, &["--name", &name]).await.code, 0);
            machine.up().await;
        }
        until("all see all", async || gate.sees("cam").await.is_some() && cam.sees("gate").await.is_some()).await;
        let client = gate.client();
        let at_b = TaskRequest {
            labels: std::collections::BTreeMap::from([("site".to_owned(), "b".to_owned())]),
            ..task_of(&client, example("noop"), &[], "").await
        };
        let nobody = client.run(at_b.clone()).await;
        assert!(nobody.is_err() || nobody.unwrap().exit_code.is_none(), "nobody is at site b");

        let mut label = founder.shoal();
        label.args(["peer", "label", "cam", "site=b", "room=3"]);
        let labelled = label.output().await.unwrap();

        assert_eq!(String::from_utf8_lossy(&labelled.stdout), "cam edge room=3 site=b\n");
        let is_at_b = |labels: Option<std::collections::BTreeMap<String, String>>| {
            labels.is_some_and(|labels| labels.get("site").map(String::as_str) == Some("b"))
        };
        until("a third peer sees it", async || is_at_b(gate.sees("cam").await)).await;
        let view = client.run(at_b).await.unwrap();
        assert_eq!((view.exit_code, executor(&view)), (Some(0), "cam"));

        // One that is away gets it when it is back.
        cam.kill().await;
        let change = LabelRequest { set: std::collections::BTreeMap::new(), remove: vec!["site".into()] };
        let view = founder.client().label("cam", &change).await.unwrap();
        assert!(!view.delivered && !view.labels.contains_key("site"), "{view:?}");
        cam.up().await;
        until("it has its new certificate", async || !cam.certificate().labels.contains_key("site")).await;
    });
}

#[test]
fn a_machine_that_is_to_be_approved_shows_the_words_that_are_shown_there() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let founder = Machine::founds(dir.path(), "nas").await;
        let ticket = founder.ticket(|request| request.approve = true).await;
        let joiner = Machine::new(dir.path(), "cam");
        let client = founder.client();
        let approving = async {
            until("it waits", async || !client.joiners().await.unwrap().items.is_empty()).await;
            let waiting = client.joiners().await.unwrap().items.remove(0);
            let mut approve = founder.shoal();
            approve.args(["mesh", "joiners", "--approve", &waiting.number.to_string()]);
            assert!(approve.output().await.unwrap().status.success());
            waiting
        };

        let (joined, waiting) = tokio::join!(joiner.join(&ticket, &["--name", "cam"]), approving);

        assert_eq!(joined.code, 0, "{joined:?}");
        assert_eq!((waiting.name.as_str(), waiting.words.split(' ').count()), ("cam", 6));
        assert!(joined.err.contains(&waiting.words), "{joined:?}");
        assert!(joined.out.contains("is a member of mesh lab"), "{joined:?}");
    });
}
