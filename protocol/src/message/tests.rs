use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::cbor::CborError;
use crate::certificate::{RevocationList, SecretKey, SignedRecord};
use crate::config::{MESSAGE_BYTES_MAX, Weights};
use crate::id::{BlobId, PeerId, ShortId, TaskId};
use crate::latency::Coordinate;
use crate::output::{PeerState, TaskError, TaskResult, Timings};
use crate::pipeline::memo::{Known, MemoKey};
use crate::rules::SignedRules;
use crate::service::{IndexEntry, SignedService};
use crate::task::TaskState;
use crate::task::durable::{
    Ballot, Case, Council, Durability, Found, Guard, Guarded, Keeping, Prepare, Promised, Propose, Refused, Resolution,
    Resolved, Standing, Vote, Voted,
};
use crate::task::report::{Ending, LimitKind, RunReport};
use crate::task::spec::{Limits, OutputUse, Payload, Policy, TaskSpec, Variant};

const TASK: TaskRef = TaskRef { task: TaskId([1; 16]), epoch: 2 };
const PEER: PeerId = PeerId([3; 32]);

fn load() -> LoadDigest {
    LoadDigest {
        sequence: 9,
        description: 0,
        start_in: Duration::from_millis(4),
        usual_start_in: Duration::from_millis(3),
        turnover: Duration::from_millis(80),
        later_start: [20, 30, 50, 90, 170, 330],
        arrivals_per_ks: 12_000,
        cores: 2,
        running: 1,
        queued: 0,
        queue_max: 128,
        cpu_percent: 50,
        speed: 1.5,
        memory_free_bytes: 1 << 20,
        memory_bytes: 1 << 29,
        uplink_bits_per_s: 100_000_000,
        weights: Weights::default(),
        price: 0.0,
        understands_labels: false,
    }
}

fn coordinate() -> Coordinate {
    Coordinate { position_ms: [1.0; 8], height_ms: 0.5, error: 0.2 }
}

fn offer() -> Offer {
    Offer {
        attempt: TASK,
        variant: 0,
        start_in: Duration::from_millis(1),
        run: Duration::from_millis(2),
        expires_in: Duration::from_millis(3),
        has_module: true,
        load: load(),
    }
}

fn spec() -> TaskSpec {
    TaskSpec {
        variants: vec![Variant { name: "int8".into(), module: BlobId([4; 32]), module_bytes: 5, loss: 0.5 }],
        args: vec!["-v".into()],
        inputs: vec![Payload::inline(vec![1, 2, 3])],
        limits: Limits::default(),
        policy: Policy { role: Some(crate::Role::Cloud), ..Policy::default() },
        deadline: Some(Duration::from_secs(1)),
        lambda: None,
        expected: Some(Duration::from_millis(70)),
        retries: None,
        priority: Default::default(),
        patience: Default::default(),
        verify: Default::default(),
        output: Default::default(),
        labels: Default::default(),
        about: Default::default(),
    }
}

fn record() -> SignedRecord {
    use crate::certificate::{Issuer, MemberCertificate, PeerRecord, Role, SecretKey};
    let (mesh, node) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[2; 32]));
    let certificate = MemberCertificate {
        mesh: mesh.mesh(),
        peer: node.peer(),
        name: "nas".into(),
        role: Role::Edge,
        labels: [("site".to_owned(), "a".to_owned())].into(),
        not_before_unix_s: 1,
        expires_unix_s: 2,
        serial: 3,
    };
    PeerRecord {
        certificate: certificate.sign(&Issuer::of(&mesh)),
        addresses: vec!["/ip4/127.0.0.1".into()],
        sequence: 4,
    }
    .sign(&node)
}

/// One of each, with the beginning of the hash of its bytes. Whoever changes a hash changes what peers of other
/// versions read: raise `VERSION`, or add a field with a default instead.
fn revocations() -> SignedRevocations {
    let mesh_key = SecretKey::from_bytes(&[1; 32]);
    let list = RevocationList {
        mesh: mesh_key.mesh(),
        version: 2,
        previous: [3; 32],
        issued_unix_s: 1_800_000_000,
        peers: [PEER].into(),
        issuers: [PeerId([6; 32])].into(),
    };
    list.sign_as_mesh(&mesh_key)
}

fn rules() -> SignedRules {
    use crate::rules::{RuleSet, tests};
    let mesh_key = SecretKey::from_bytes(&[1; 32]);
    let set = RuleSet { wan_share: Some(0.5), ..tests::set(3, vec![tests::rule("a")]) };
    SignedRules::sign(&set, &crate::certificate::Issuer::of(&mesh_key))
}

fn golden() -> Vec<(Message, usize, &'static str)> {
    let report = RunReport {
        ending: Ending::LimitHit(LimitKind::Wall),
        output: Payload::inline(vec![7]),
        log: b"late".to_vec(),
        run: Duration::from_secs(1),
        memory_bytes: 65_536,
        labels: Default::default(),
    };
    let award = Award {
        attempt: TASK,
        home: PEER,
        variant: 0,
        spec: spec(),
        work: Duration::from_millis(50),
        works_us: Vec::new(),
        expected_start: Duration::ZERO,
        firm: false,
        hops: 1,
        alternatives: vec![PEER],
        near: Marks::default(),
        kept: false,
        received: vec![TASK],
        safe: Marks::default(),
    };
    let ask = Ask {
        attempt: TASK,
        variants: vec![AskVariant { module: BlobId([4; 32]), module_bytes: 5, work: Duration::from_millis(6) }],
        input_bytes: 7,
        memory_bytes: 8,
        deadline_in: None,
    };
    let outcome = Outcome {
        attempt: TASK,
        variant: 0,
        report,
        speed: 2.0,
        prepare: Duration::ZERO,
        queued: Duration::ZERO,
        load: load(),
        receipt: None,
    };
    let receipt = crate::task::receipt::Receipt {
        attempt: TASK,
        module: BlobId([4; 32]),
        input: BlobId([5; 32]),
        answer: BlobId([6; 32]),
        work_us: 7,
    };
    let receipt = receipt.sign(&crate::certificate::SecretKey::from_bytes(&[2; 32]));
    let signed = Outcome { receipt: Some(receipt), ..outcome.clone() };
    let described = LoadDigest { description: 1, ..load() };
    let brief = described.abridged();
    let output = OutputUse::Keep(Duration::from_secs(9));
    let stays = Award { spec: TaskSpec { output, ..spec() }, ..award.clone() };
    let several = Award { works_us: vec![9_000, 2_000], ..award.clone() };
    let mut marked = award.clone();
    marked.abridge(PEER);
    let ping = Ping {
        sequence: 1,
        incarnation: 2,
        coordinate: Some(coordinate()),
        load: None,
        revocations: 0,
        rules: 0,
        services: 0,
        wants_load: false,
    };
    let pong = Pong {
        sequence: 1,
        incarnation: 2,
        coordinate: None,
        load: Some(load()),
        revocations: 0,
        rules: 0,
        services: 0,
    };
    let will = Will {
        turn: 1,
        of: 8,
        added: vec![PEER.abridged()],
        removed: vec![ShortId([4; 8])],
        far: vec![Contact { peer: PEER, address: "/ip4/127.0.0.1".into() }],
    };
    let expires_in = Duration::from_secs(9);
    let prepare = Prepare {
        task: TASK.task,
        council: council(),
        ballot: BALLOT,
        expires_in,
        leader_gave_up: false,
        age: Duration::ZERO,
    };
    let propose = Propose {
        task: TASK.task,
        council: council(),
        vote: vote(),
        expires_in: Duration::from_secs(9),
        age: Duration::ZERO,
    };
    let resolution = Some(vote().resolution);
    let resolved = Resolved { case: CASE, ballot: BALLOT, resolution };
    let declined = |reason| Message::Declined(Declined { attempt: TASK, reason, load: None });
    vec![
        (Message::Beat(Beat { incarnation: 2, next_ms: 1_050 }), 14, "ffde86cc"),
        (Message::Will(Box::new(will)), 93, "ea42579c"),
        (Message::Parting(Parting::NoRoom), 7, "52fb3e8a"),
        (Message::Ping(Ping { revocations: u64::MAX, ..ping.clone() }), 45, "44c8e9f3"),
        (Message::Ping(ping.clone()), 34, "4a823dbe"),
        (Message::Pong(pong), 126, "9e02950e"),
        (Message::ProbeRequest(ProbeRequest { sequence: 1, target: PEER }), 45, "c691f49b"),
        (Message::ProbeAnswered(ProbeAnswered { sequence: 1, target: PEER, incarnation: 2 }), 48, "faea4eb3"),
        (Message::Rumour(Rumour { peer: PEER, incarnation: 1, state: RumourState::Suspect }), 49, "674189a4"),
        (Message::Records(Records { records: vec![record()], places: Vec::new() }), 489, "42d5223c"),
        (Message::Revocations(Box::new(revocations())), 238, "92070678"),
        (Message::Ping(Ping { rules: u64::MAX, ..ping.clone() }), 45, "20194154"),
        (Message::Rules(Box::new(RulesWord::Wanted)), 7, "2f205281"),
        (Message::Rules(Box::new(RulesWord::Here(rules()))), 327, "429d178a"),
        (Message::Load(load()), 117, "7f912bdf"),
        (Message::Load(described), 120, "84c9ddad"),
        (Message::Load(brief), 35, "10b79d65"),
        (Message::Ask(ask), 85, "ddcea448"),
        (Message::Offer(offer()), 166, "52ac10af"),
        (Message::Release(TASK), 28, "c08314d3"),
        (Message::Award(Box::new(award)), 267, "f8f101a6"),
        (Message::Award(Box::new(marked)), 192, "d14e8c7a"),
        (
            Message::Accepted(Accepted {
                attempt: TASK,
                state: TaskState::Queued,
                start_in: Duration::ZERO,
                load: load(),
            }),
            157,
            "5c9efeea",
        ),
        (declined(DeclineReason::QueueFull), 35, "347a7506"),
        (declined(DeclineReason::Sandbox), 35, "3f5e8348"),
        (declined(DeclineReason::Memory { wanted_bytes: 1, free_bytes: 2 }), 43, "15b14fb1"),
        (declined(DeclineReason::Counter(Box::new(offer()))), 197, "9c89b0a3"),
        (Message::Forwarded(Forwarded { attempt: TASK, to: PEER, load: load() }), 181, "20949ebb"),
        (Message::Pull(load()), 117, "1138acc4"),
        (Message::Progress(Progress { attempt: TASK, state: TaskState::Running }), 41, "d83c49b9"),
        (Message::Query(TASK), 28, "1f5aa362"),
        (Message::Outcome(Box::new(outcome)), 191, "db20a763"),
        (Message::Outcome(Box::new(signed)), 403, "d0291a18"),
        (Message::OutcomesReceived(vec![TASK]), 29, "943b582f"),
        (Message::Cancel(TASK), 28, "b13b4bff"),
        (Message::Leaving, 4, "998d92bb"),
        (Message::Seek(Seek { ticket: 1, task: TASK.task, hops: 1 }), 31, "f96b9b49"),
        (Message::Found(Box::new(FoundHere { ticket: 1, found: found() })), 244, "e2649a99"),
        (counsel(Counsel::Guard(Box::new(guard()))), 381, "52eb20ac"),
        (counsel(Counsel::Guarded(Guarded { case: CASE, refusal: None })), 43, "e728ebfe"),
        (counsel(Counsel::Guarded(Guarded { case: CASE, refusal: Some("full".into()) })), 50, "13d39a0d"),
        (counsel(Counsel::Prepare(prepare)), 257, "829f3087"),
        (
            counsel(Counsel::Promised(Box::new(Promised { case: CASE, ballot: BALLOT, accepted: Some(vote()) }))),
            295,
            "95b69905",
        ),
        (counsel(Counsel::Propose(Box::new(propose))), 425, "e4034e41"),
        (counsel(Counsel::Accepted(Voted { case: CASE, ballot: BALLOT })), 85, "f675e9c3"),
        (counsel(Counsel::Refused(Refused { case: CASE, promised: BALLOT, leader_is_here: true })), 88, "3b744972"),
        (counsel(Counsel::Resolved(Box::new(resolved))), 250, "1d76fe4f"),
        (counsel(Counsel::Known(CASE)), 40, "f0f3a1ee"),
        (counsel(Counsel::Inquire(vec![CASE])), 41, "27a400ac"),
        (counsel(Counsel::Withdraw(CASE)), 40, "0b6e7f69"),
        (
            counsel(Counsel::Standing(Standing { case: CASE, ballot: BALLOT, holds: true, leads: false })),
            91,
            "4882edb0",
        ),
        (Message::Want(Want { blobs: vec![BlobId([4; 32])] }), 43, "8438fffe"),
        (Message::Have(Have { blobs: vec![held()] }), 49, "5b63a280"),
        (Message::Hold(Hold { task: TASK.task, lease: Duration::from_secs(9) }), 32, "dbd5f58e"),
        (Message::Award(Box::new(stays)), 277, "8b203f07"),
        (Message::Award(Box::new(several)), 277, "3d7af4f1"),
        (Message::Memo(Box::new(MemoWord::Recall(MemoKey([7; 32])))), 42, "5c08736d"),
        (Message::Memo(Box::new(MemoWord::Remember(MemoKey([7; 32]), known()))), 93, "ace292e6"),
        (Message::Ping(Ping { services: u64::MAX, ..ping }), 45, "fecae633"),
        (services(ServicesWord::Index(vec![IndexEntry { name: name(), head: 1 << 40 }])), 27, "c358cb52"),
        (services(ServicesWord::Here(vec![service()])), 478, "b44cffce"),
        (services(ServicesWord::Warm(vec![WarmModule { module: BlobId([4; 32]), instances: 3 }])), 49, "fa1e1436"),
    ]
}

fn services(word: ServicesWord) -> Message {
    Message::Services(Box::new(word))
}

fn name() -> crate::service::ServiceName {
    "ocr".parse().unwrap()
}

fn service() -> SignedService {
    let mesh_key = SecretKey::from_bytes(&[1; 32]);
    let record = crate::service::tests::rolled_out("ocr", 7);
    SignedService::by_issuer(&record, &crate::certificate::Issuer::of(&mesh_key))
}

const CASE: Case = Case { task: TASK.task, term: 1 << 32 | 7 };
const BALLOT: Ballot = Ballot { round: 3, owner: PEER };

fn counsel(counsel: Counsel) -> Message {
    Message::Council(Box::new(counsel))
}

fn council() -> Council {
    let member = |n: u8| Contact { peer: PeerId([n; 32]), address: format!("/ip4/127.0.0.{n}") };
    Council { term: CASE.term, members: vec![member(1), member(2), member(3)] }
}

fn result() -> Result<TaskResult, TaskError> {
    let report = RunReport { output: Payload::inline(vec![7]), ..RunReport::without_run(Ending::Exited(0)) };
    Ok(TaskResult { report, executor: PEER, variant: 0, attempts: 1, agreed: 0, timings: Timings::default() })
}

fn vote() -> Vote {
    Vote { ballot: BALLOT, resolution: Resolution { state: TaskState::Done, result: result() } }
}

fn held() -> Held {
    Held { blob: BlobId([4; 32]), bytes: 5, labels: Default::default() }
}

fn known() -> Known {
    let output = Payload::inline(vec![1, 2]);
    Known { output, executor: PeerId([2; 32]), run: Duration::from_millis(5), labels: Default::default() }
}

fn found() -> Found {
    let (name, age) = ("count".into(), Duration::from_secs(9));
    Found {
        task: TASK.task,
        name,
        state: TaskState::Done,
        holder: PEER,
        age,
        result: Some(result()),
        unpromised: false,
    }
}

fn guard() -> Guard {
    let keeping = Keeping { durability: Durability::Guarded, retention: Duration::from_secs(60) };
    let (name, age) = ("count".into(), Duration::from_millis(5));
    Guard { task: TASK.task, council: council(), name, spec: spec(), keeping, age }
}

/// The longest answers that may be decided fit their frames, with everything that is said beside them.
#[test]
fn the_largest_copy_and_the_largest_vote_fit_their_frames() {
    let spec = largest_spec();
    let guard = Guard { spec, name: "n".repeat(crate::config::NAME_BYTES_MAX), ..guard() };
    let report = RunReport {
        output: Payload::inline(vec![0xff; crate::config::INLINE_BYTES_MAX as usize]),
        log: vec![0xff; crate::config::LOG_BYTES_MAX],
        ..RunReport::without_run(Ending::Exited(0))
    };
    let result =
        Ok(TaskResult { report, executor: PEER, variant: 0, attempts: 1, agreed: 0, timings: Timings::default() });
    let vote = Vote { ballot: BALLOT, resolution: Resolution { state: TaskState::Done, result } };
    let propose = Propose { task: TASK.task, council: council(), vote, expires_in: Duration::MAX, age: Duration::MAX };

    assert!(counsel(Counsel::Guard(Box::new(guard))).encode().len() <= MESSAGE_BYTES_MAX);
    assert!(counsel(Counsel::Propose(Box::new(propose))).encode().len() <= MESSAGE_BYTES_MAX);
}

#[test]
fn every_message_has_the_bytes_it_always_had_and_reads_back() {
    for (message, bytes, hash) in golden() {
        let body = message.encode();

        assert_eq!(Message::decode(&body).as_ref(), Ok(&message));
        let actual = (body.len(), blake3::hash(&body).to_hex().chars().take(8).collect::<String>());
        assert_eq!(actual, (bytes, hash.to_owned()), "{message:?}");
    }
}

/// Golden bytes are what a fuzzer begins with. After a change that is meant: `SHOAL_WRITE_CORPUS=1`.
#[test]
#[allow(clippy::disallowed_methods)] // A test may be told to write.
fn the_fuzzer_begins_with_each_message() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus/frame");
    for (number, (message, ..)) in golden().into_iter().enumerate() {
        let path = directory.join(format!("{number:02}-{}", message.kind()));
        if std::env::var("SHOAL_WRITE_CORPUS").is_ok() {
            std::fs::write(&path, message.encode()).expect("the corpus can be written");
        }
        let seed = std::fs::read(&path).unwrap_or_default();
        assert!(seed == message.encode(), "{} is not the golden message", path.display());
    }
}

#[test]
fn a_small_message_is_these_very_bytes() {
    let rumour = Message::Rumour(Rumour { peer: PeerId([0xab; 32]), incarnation: 7, state: RumourState::Alive });

    let mut expected = vec![VERSION, 0xa1, 0x62, b'r', b'u', 0xa3, 0x61, b'p', 0x58, 32];
    expected.extend([0xab; 32]);
    expected.extend([0x61, b'i', 7, 0x61, b's', 0x61, b'a']);
    assert_eq!(rumour.encode(), expected);
}

#[test]
fn a_field_from_a_newer_peer_is_skipped() {
    #[derive(Serialize)]
    enum Newer {
        #[serde(rename = "pr")]
        ProbeRequest {
            #[serde(rename = "q")]
            sequence: u32,
            #[serde(rename = "t")]
            target: PeerId,
            #[serde(rename = "zz")]
            news: Vec<(u8, String)>,
        },
    }
    let newer = Newer::ProbeRequest { sequence: 1, target: PEER, news: vec![(1, "hello".into())] };

    let read = Message::decode(&encode_body(&newer));

    assert_eq!(read, Ok(Message::ProbeRequest(ProbeRequest { sequence: 1, target: PEER })));
}

/// What was said in full is left out since: it says the same.
#[test]
fn what_the_version_before_says_in_full_is_read() {
    use ciborium::Value;
    let award = golden().into_iter().find_map(|(message, ..)| match message {
        Message::Award(award) => Some(award),
        _ => None,
    });
    let award = award.expect("an award");
    let mut body: Value = crate::cbor::decode(&crate::cbor::encode(&award)).expect("CBOR");
    let text = |key: &str| Value::Text(key.into());
    fn field<'a>(value: &'a mut Value, key: &str) -> &'a mut Vec<(Value, Value)> {
        let fields = value.as_map_mut().expect("a map");
        let wanted = fields.iter_mut().find(|(known, _)| known.as_text() == Some(key));
        wanted.and_then(|(_, value)| value.as_map_mut()).expect("a map in it")
    }
    body.as_map_mut().expect("a map").push((text("f"), Value::Bool(false)));
    field(&mut body, "s").push((text("w"), Value::Null));
    for (key, value) in [("c", text("fallback")), ("o", Value::Bool(false)), ("p", Value::Null), ("x", Value::Null)] {
        let spec = body.as_map_mut().expect("a map").iter_mut().find(|(known, _)| known.as_text() == Some("s"));
        field(&mut spec.expect("a spec").1, "p").push((text(key), value));
    }

    let read: Award = crate::cbor::decode(&crate::cbor::encode(&body)).expect("an award");

    assert_eq!(read, *award);
}

#[test]
fn what_is_not_a_message_of_this_version_is_an_error() {
    let body = Message::Leaving.encode();
    let other = [&[VERSION + 1], &body[1..]].concat();

    assert_eq!(Message::decode(&[]), Err(DecodeError::Empty));
    assert_eq!(Message::decode(&other), Err(DecodeError::OtherVersion { theirs: VERSION + 1 }));
    assert_eq!(
        Message::decode(&vec![VERSION; MESSAGE_BYTES_MAX + 1]),
        Err(DecodeError::TooLarge(MESSAGE_BYTES_MAX + 1))
    );
    let trailing = [body.as_slice(), &[0]].concat();
    assert_eq!(Message::decode(&trailing), Err(DecodeError::Body(CborError::Trailing(1))));
}

fn largest_spec() -> TaskSpec {
    let mut spec = spec();
    spec.variants = vec![Variant { name: "x".repeat(128), ..spec.variants[0].clone() }; crate::config::VARIANTS_MAX];
    spec.args = vec!["y".repeat(crate::config::ARGUMENT_BYTES_MAX as usize - 1)];
    spec.inputs = vec![Payload::inline(vec![0xff; crate::config::INLINE_BYTES_MAX as usize])];
    spec.policy.labels.insert("l".into(), "z".repeat(crate::config::ARGUMENT_BYTES_MAX as usize - 1));
    assert_eq!(spec.check(), Ok(()));
    spec
}

#[test]
fn the_largest_award_that_may_exist_fits_its_frame() {
    let spec = largest_spec();
    let award = Award {
        attempt: TASK,
        home: PEER,
        variant: 0,
        spec,
        work: Duration::MAX,
        works_us: Vec::new(),
        expected_start: Duration::MAX,
        firm: true,
        hops: 2,
        alternatives: vec![PEER; 8],
        near: Marks::default(),
        kept: true,
        received: vec![TASK; crate::config::ACKNOWLEDGED_MAX],
        safe: Marks::default(),
    };

    assert!(Message::Award(Box::new(award)).encode().len() <= MESSAGE_BYTES_MAX);
}

#[test]
fn states_of_peers_have_names_people_read() {
    assert_eq!(serde_json::to_string(&PeerState::Suspect).expect("an enum is JSON"), "\"suspect\"");
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(mut body in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = Message::decode(&body);
        if let Some(version) = body.first_mut() {
            *version = VERSION;
            let _ = Message::decode(&body);
            let _ = Hello::decode(&body);
        }
    }

    #[test]
    fn a_damaged_message_is_read_as_some_message_or_refused(at in 0..4096usize, bit in 0..8u8, which in 0..golden().len()) {
        let mut body = golden()[which].0.encode();
        let at = at % body.len();
        body[at] ^= 1 << bit;
        let _ = Message::decode(&body);
    }
}
