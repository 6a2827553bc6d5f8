//! A stream as its user states it: where records come from, how they are cut into windows, what runs on each, where results go.
//!
//! **Invariant:** a [`StreamSpec`] that is run has been checked by [`StreamSpec::check`]; it holds no secret, only the
//! names of files that do.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::event_time::EventTime;
use super::{WINDOW_RECORDS_MAX, digest};
use crate::pipeline::graph::{Graph, GraphError};
use crate::pipeline::spec::PipelineSpec;
use crate::task::spec::TaskSpec;

/// A name is part of keys on disk, of MQTT client ids and of file names.
const NAME_BYTES_MAX: usize = 40;
/// MQTT allows 65,535; nobody types that.
const TOPIC_BYTES_MAX: usize = 512;
/// `host:port`.
const BROKER_BYTES_MAX: usize = 260;
/// A week: a longer window would hold its records for longer than anybody waits.
const SPAN_MS_MAX: u64 = 7 * 24 * 3_600 * 1_000;

/// A stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamSpec {
    /// What it is called: lower-case letters, digits, `-` and `_`.
    #[serde(rename = "n")]
    pub name: String,
    /// Where records come from.
    #[serde(rename = "s")]
    pub source: SourceSpec,
    /// How they are cut into windows.
    #[serde(rename = "w")]
    pub window: WindowRule,
    /// What is run on each.
    #[serde(rename = "r")]
    pub work: StreamWork,
    /// Where results go.
    #[serde(rename = "o")]
    pub sink: SinkSpec,
    /// Where records go that came too late; they are only counted where absent.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub late: Option<SinkSpec>,
    /// Peers that must have a record on disk before it is acknowledged: 1 or 2.
    #[serde(rename = "d")]
    pub durable: u8,
}

/// Where records come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum SourceSpec {
    /// Each message of a topic is a record.
    Mqtt(BrokerSpec),
    /// Each line of each new file is a record; a file that was taken is renamed to `NAME.done`.
    Directory {
        /// Which.
        path: PathBuf,
    },
    /// `POST /v1/streams/NAME/records`: each line is a record.
    Http {},
    /// `shoal stream feed NAME`: each line is a record.
    Stdin {},
}

/// A topic of a broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSpec {
    /// `host:port`.
    pub broker: String,
    /// A topic; a filter with `+` and `#` where it is a source.
    pub topic: String,
    /// 1 or 2, and 1 where absent; results are always published with 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<u8>,
    /// 3.1.1 or 5, which is taken where absent.
    #[serde(default)]
    pub version: MqttVersion,
    /// Who this is to the broker; made from the stream's name where absent. The same at whichever peer runs the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Who this is to the broker's list of users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// `file:PATH`, read at each connection: the password itself is written down nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Each record begins with its topic and a tab.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub with_topic: bool,
}

impl BrokerSpec {
    /// The file that holds the password.
    pub fn password_file(&self) -> Option<&Path> {
        self.password.as_deref().and_then(|text| text.strip_prefix("file:")).map(Path::new)
    }
}

/// A version of MQTT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MqttVersion {
    /// 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
    /// 5.
    #[default]
    #[serde(rename = "5")]
    V5,
}

/// Where results go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum SinkSpec {
    /// A line of JSON for each window, appended.
    File {
        /// Which.
        path: PathBuf,
    },
    /// The same line as a message.
    Mqtt(BrokerSpec),
}

/// How records are cut into windows: by `count`, or by `span`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowRule {
    /// So many records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// The records of so many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_ms: Option<u64>,
    /// When a record happened; when it arrived where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<EventTime>,
    /// A window by event time is closed this long after its end, in event time.
    #[serde(default)]
    pub lateness_ms: u64,
    /// Open windows are closed when nothing arrived for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u64>,
}

/// What is run on each window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum StreamWork {
    /// One module, which reads the window's records as lines.
    #[serde(rename = "t")]
    Task(Box<TaskSpec>),
    /// A pipeline, in which the window's records are the one element of an input.
    #[serde(rename = "p")]
    Pipeline {
        /// The pipeline; that input has no elements in it.
        #[serde(rename = "s")]
        spec: Box<PipelineSpec>,
        /// That input.
        #[serde(rename = "i")]
        input: String,
    },
}

/// Why a stream cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A value that cannot be.
    #[error("`{key}` {why}")]
    Value {
        /// Which.
        key: &'static str,
        /// Why not.
        why: String,
        /// What it may be.
        fix: &'static str,
    },
    /// The pipeline cannot be run.
    #[error("the pipeline cannot be run: {0}")]
    Graph(GraphError),
}

impl SpecError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Value { fix, .. } => (*fix).to_owned(),
            Self::Graph(error) => error.hint(),
        }
    }

    /// The key in a file that it is about.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Value { key, .. } => key,
            Self::Graph(_) => "pipeline",
        }
    }
}

fn wrong(key: &'static str, why: impl Into<String>, fix: &'static str) -> SpecError {
    SpecError::Value { key, why: why.into(), fix }
}

/// Whether a stream may be called that.
pub fn check_name(name: &str) -> Result<(), SpecError> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(good) {
        return Ok(());
    }
    let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
    Err(wrong("name", format!("is `{shown}`"), "use 1 to 40 lower-case letters, digits, `-` and `_`"))
}

impl StreamSpec {
    /// Refuses what cannot be run.
    pub fn check(&self) -> Result<(), SpecError> {
        check_name(&self.name)?;
        if !(1..=2).contains(&self.durable) {
            return Err(wrong(
                "durable",
                format!("is {}", self.durable),
                "use 1 (on disk here) or 2 (and at another peer)",
            ));
        }
        match &self.source {
            SourceSpec::Mqtt(broker) => check_broker(broker, true)?,
            SourceSpec::Directory { path } => check_path("path", path)?,
            SourceSpec::Http {} | SourceSpec::Stdin {} => {}
        }
        self.window.check()?;
        check_sink(&self.sink)?;
        self.check_client_ids()?;
        if let Some(late) = &self.late {
            check_sink(late)?;
            if *late == self.sink {
                return Err(wrong("late", "is where the results go", "use another file or topic"));
            }
        }
        match &self.work {
            StreamWork::Task(_) => Ok(()),
            StreamWork::Pipeline { spec, input } => {
                if !spec.inputs.iter().any(|one| one.name == *input) {
                    let why = format!("is `{input}`, and the pipeline has no input of that name");
                    return Err(wrong("input", why, "name the input of the pipeline that windows are given to"));
                }
                Graph::of(spec).map(drop).map_err(SpecError::Graph)
            }
        }
    }

    /// A broker ends the connection of a client when another comes that is called the same.
    fn check_client_ids(&self) -> Result<(), SpecError> {
        let source = match &self.source {
            SourceSpec::Mqtt(broker) => Some(self.source_client_id(broker)),
            SourceSpec::Directory { .. } | SourceSpec::Http {} | SourceSpec::Stdin {} => None,
        };
        let sinks = [Some(&self.sink), self.late.as_ref()].into_iter().flatten().filter_map(|sink| match sink {
            SinkSpec::Mqtt(broker) => Some(self.sink_client_id(broker)),
            SinkSpec::File { .. } => None,
        });
        let mut ids: Vec<String> = source.into_iter().chain(sinks).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() == count {
            return Ok(());
        }
        Err(wrong("client_id", "is given twice", "give source, sink and late another one each, or leave it out"))
    }

    /// What this peer is to the source's broker.
    pub fn source_client_id(&self, broker: &BrokerSpec) -> String {
        broker.client_id.clone().unwrap_or_else(|| format!("shoal-{}-{:08x}", self.name, short_name(broker)))
    }

    /// What this peer is to the sink's broker: a session of its own.
    pub fn sink_client_id(&self, broker: &BrokerSpec) -> String {
        broker.client_id.clone().unwrap_or_else(|| format!("shoal-{}-out-{:08x}", self.name, short_name(broker)))
    }
}

/// Two meshes may have streams of one name at one broker; of one topic as well, hardly.
fn short_name(broker: &BrokerSpec) -> u32 {
    digest(&[broker.broker.as_bytes(), broker.topic.as_bytes()]) as u32
}

impl WindowRule {
    fn check(&self) -> Result<(), SpecError> {
        match (self.count, self.span_ms) {
            (Some(count), None) if count == 0 || count > WINDOW_RECORDS_MAX => {
                return Err(wrong("count", format!("is {count}"), "use 1 to 65536 records"));
            }
            (Some(_), None) if self.event_time.is_some() => {
                return Err(wrong("event_time", "is of no use to windows by count", "leave it out, or use `time`"));
            }
            (None, Some(span)) if span == 0 || span > SPAN_MS_MAX => {
                return Err(wrong("time", format!("is {span} ms"), "use 1 ms to 7 days"));
            }
            (Some(_), None) | (None, Some(_)) => {}
            (Some(_), Some(_)) | (None, None) => {
                return Err(wrong(
                    "window",
                    "needs one of `count` and `time`",
                    "write `count = 1000` or `time = \"10s\"`",
                ));
            }
        }
        if let Some(event_time) = &self.event_time
            && (event_time.field.is_some() == event_time.column.is_some() || event_time.column == Some(0))
        {
            return Err(wrong(
                "event_time",
                "needs one of `field` and `column`",
                "name a JSON field, or a column from 1",
            ));
        }
        if self.lateness_ms > SPAN_MS_MAX || self.idle_ms.is_some_and(|idle| idle == 0 || idle > SPAN_MS_MAX) {
            return Err(wrong("idle", "or `lateness` is too long, or nothing", "use 1 ms to 7 days"));
        }
        if self.lateness_ms > 0 && self.event_time.is_none() {
            return Err(wrong(
                "lateness",
                "is of no use without `event_time`",
                "nothing arrives later than it arrives",
            ));
        }
        Ok(())
    }
}

fn check_sink(sink: &SinkSpec) -> Result<(), SpecError> {
    match sink {
        SinkSpec::File { path } => check_path("file", path),
        SinkSpec::Mqtt(broker) => check_broker(broker, false),
    }
}

fn check_path(key: &'static str, path: &Path) -> Result<(), SpecError> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(wrong(key, format!("is `{}`, and the daemon runs elsewhere", path.display()), "use an absolute path"))
}

fn check_broker(broker: &BrokerSpec, source: bool) -> Result<(), SpecError> {
    let port = broker.broker.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    if !port.is_some_and(|(host, port)| !host.is_empty() && port > 0) || broker.broker.len() > BROKER_BYTES_MAX {
        return Err(wrong("broker", "is no address", "write \"host:port\", as \"127.0.0.1:1883\""));
    }
    let topic = &broker.topic;
    if topic.is_empty() || topic.len() > TOPIC_BYTES_MAX || topic.contains('\0') {
        return Err(wrong("topic", "is empty or too long", "use 1 to 512 bytes"));
    }
    if !source && topic.contains(['+', '#']) {
        return Err(wrong("topic", format!("is `{topic}`"), "results go to one topic, without `+` and `#`"));
    }
    if source && !broker.qos.is_none_or(|qos| (1..=2).contains(&qos)) {
        return Err(wrong("qos", "is neither 1 nor 2", "with 0, a broker gives nothing a second time"));
    }
    if !source && broker.qos.is_some_and(|qos| qos != 2) {
        return Err(wrong(
            "qos",
            "is not 2",
            "leave it out: results are published with 2, which makes them arrive once",
        ));
    }
    if broker.password.is_some() && broker.password_file().is_none_or(|path| !path.is_absolute()) {
        return Err(wrong("password", "is not the name of a file", "write \"file:/etc/shoal/broker.password\""));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::BlobId;

    fn good() -> StreamSpec {
        let broker = BrokerSpec {
            broker: "127.0.0.1:1883".into(),
            topic: "city/+/speed".into(),
            qos: None,
            version: MqttVersion::V5,
            client_id: None,
            username: None,
            password: None,
            with_topic: false,
        };
        StreamSpec {
            name: "speeds".into(),
            source: SourceSpec::Mqtt(broker),
            window: WindowRule { count: Some(10), ..WindowRule::default() },
            work: StreamWork::Task(Box::new(TaskSpec::of_module(BlobId([1; 32]), 1))),
            sink: SinkSpec::File { path: "/tmp/out".into() },
            late: None,
            durable: 1,
        }
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut StreamSpec), key: &str) {
        let mut spec = good();
        change(&mut spec);

        assert_eq!(spec.check().map_err(|error| error.key()), Err(key), "{spec:?}");
    }

    fn broker(spec: &mut StreamSpec) -> &mut BrokerSpec {
        match &mut spec.source {
            SourceSpec::Mqtt(broker) => broker,
            other => panic!("no broker: {other:?}"),
        }
    }

    #[test]
    fn what_cannot_be_run_is_refused_by_its_key() {
        assert_eq!(good().check(), Ok(()));
        refused(|spec| spec.name = "A b".into(), "name");
        refused(|spec| spec.durable = 3, "durable");
        refused(|spec| spec.window.span_ms = Some(5), "window");
        refused(|spec| spec.window.count = Some(0), "count");
        refused(|spec| spec.window = WindowRule { span_ms: Some(0), ..WindowRule::default() }, "time");
        refused(|spec| spec.window.lateness_ms = 5, "lateness");
        refused(|spec| spec.sink = SinkSpec::File { path: "out".into() }, "file");
        refused(|spec| spec.late = Some(spec.sink.clone()), "late");
        refused(
            |spec| {
                broker(spec).client_id = Some("me".into());
                let mut out = broker(spec).clone();
                out.topic = "out".into();
                spec.sink = SinkSpec::Mqtt(out);
            },
            "client_id",
        );
        refused(|spec| broker(spec).broker = "nowhere".into(), "broker");
        refused(|spec| broker(spec).qos = Some(0), "qos");
        refused(|spec| broker(spec).password = Some("hunter2".into()), "password");
        refused(|spec| spec.sink = SinkSpec::Mqtt(broker(&mut good()).clone()), "topic");
    }

    #[test]
    fn a_password_that_was_written_into_a_definition_is_not_repeated_in_the_refusal() {
        let mut spec = good();
        broker(&mut spec).password = Some("hunter2".into());

        let error = spec.check().unwrap_err();

        assert!(!format!("{error} {} {error:?}", error.hint()).contains("hunter2"), "{error:?}");
    }
}
