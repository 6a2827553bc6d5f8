//! Streams, as text and as JSON.

use std::io::Write;
use std::process::Stdio;

use insta::assert_snapshot;
use shoal_protocol::api::{Listing, Problem, StreamState, StreamView, TakenView, codes, schema};
use shoal_protocol::stream::{BrokerSpec, MqttVersion, SinkSpec, SourceSpec};

use crate::fake::{Fake, Ran, Reply};
use crate::fixtures::NAS;

fn stream() -> StreamView {
    let broker = BrokerSpec {
        broker: "10.0.0.2:1883".into(),
        topic: "city/+/speed".into(),
        qos: Some(1),
        version: MqttVersion::V5,
        client_id: None,
        username: None,
        password: None,
        with_topic: false,
    };
    StreamView {
        schema: schema(),
        name: "speeds".into(),
        state: StreamState::Waiting,
        owner: NAS,
        owner_name: "nas".into(),
        successor: None,
        successor_name: None,
        epoch: 2,
        durable: 1,
        source: SourceSpec::Mqtt(broker),
        sink: SinkSpec::File { path: "/srv/out.jsonl".into() },
        records: 12_034,
        records_per_s: 812.5,
        repeated: 3,
        refused: 0,
        late: 7,
        timeless: 1,
        windows: 12,
        failed: 1,
        open_windows: 1,
        open_records: 34,
        pending_windows: 0,
        held_bytes: 2_048,
        connections: 4,
        notes: vec!["broker 10.0.0.2:1883 does not answer".into()],
    }
}

#[test]
fn a_stream_is_shown_with_what_is_wrong() {
    let ran = Fake::new().on("GET /v1/streams/speeds", Reply::json(&stream())).run(&["stream", "status", "speeds"]);

    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_snapshot!(ran.out, @r"
    stream speeds   waiting   at nas, successor none
      from     mqtt city/+/speed at 10.0.0.2:1883
      to       /srv/out.jsonl
      records  12034 taken (812/s) · 7 late · 3 repeated
      windows  12 written, 1 of them with an error · 0 pending · 1 open with 34 records
      held     2K · durable 1 · epoch 2
    ! broker 10.0.0.2:1883 does not answer
    ");
}

#[test]
fn streams_are_listed() {
    let ran = Fake::new().on("GET /v1/streams", Reply::json(&Listing::new(vec![stream()]))).run(&["stream", "ls"]);

    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_snapshot!(ran.out, @r"
    STREAM  STATE    AT   RECORDS  WINDOWS  PENDING  LATE  FROM
    speeds  waiting  nas  12034    12       0        7     mqtt city/+/speed at 10.0.0.2:1883
    ");
}

#[test]
fn a_stream_in_json_has_the_schema_and_every_count() {
    let daemon = Fake::new().on("GET /v1/streams/speeds", Reply::json(&stream()));

    let ran = daemon.run(&["stream", "status", "speeds", "--json"]);

    let shown: StreamView = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(shown, stream());
}

#[test]
fn an_unknown_stream_is_told_with_the_next_command() {
    let problem = Problem {
        code: codes::NO_STREAM.into(),
        status: 404,
        title: "there is no stream `speed` here".into(),
        detail: String::new(),
        hint: String::new(),
        retryable: false,
        retry_after_ms: None,
    };
    let ran = Fake::new().on("GET /v1/streams/speed", Reply::problem(&problem)).run(&["stream", "status", "speed"]);

    assert_snapshot!(ran.err, @r"
    error[SH0416]: there is no stream `speed` here
      fix   see the streams there are: shoal stream ls
    ");
}

#[test]
fn a_line_is_fed_when_it_is_there_and_not_when_many_are() {
    let taken = |taken, lines| TakenView { schema: schema(), taken, known: false, feed_lines: Some(lines) };
    let route = |from: u64| format!("POST /v1/streams/words/records?feed=book&from={from}");
    let fake = Fake::new()
        .on(&route(0), Reply::json(&taken(0, 0)))
        .on(&route(0), Reply::json(&taken(1, 1)))
        .on(&route(1), Reply::json(&taken(1, 2)));
    let mut command = fake.command(&["stream", "feed", "words", "--id", "book"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("shoal runs");
    let mut input = child.stdin.take().expect("piped");

    input.write_all(b"a\n").expect("taken");
    fake.wait_for_times(&route(0), 2);
    input.write_all(b"b\n").expect("taken");
    fake.wait_for(&route(1));

    drop(input);
    let ran = Ran::of(child.wait_with_output().expect("shoal ends"));
    assert_eq!((ran.code, ran.out.as_str()), (0, "2 lines read, 2 taken\n"));
    assert_eq!(fake.asked().iter().map(|asked| asked.body.as_slice()).collect::<Vec<_>>(), [&b""[..], b"a\n", b"b\n"]);
}
