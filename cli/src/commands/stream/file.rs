//! A stream's file: TOML, with the files, modules and pipelines it names looked for beside it.
//!
//! **Invariant:** what is wrong is told with the file, the key, and the line where that is known. A password is never read here.

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use shoal_protocol::BlobId;
use shoal_protocol::TaskSpec;
use shoal_protocol::api::{PipelineRequest, StreamRequest, TaskRequest, VariantRequest, codes};
use shoal_protocol::certificate::Role;
use shoal_protocol::stream::{BrokerSpec, EventTime, SinkSpec, SourceSpec, StreamSpec, StreamWork, WindowRule};
use shoal_protocol::task::spec::{CloudUse, Priority};

use crate::commands::pipeline;
use crate::commands::task::inputs::LocalBlob;
use crate::commands::task::module::Module;
use crate::error::{Exit, Failure};
use crate::format::{parse_bytes, parse_duration};

/// A file of this size is not a stream that somebody wrote.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A stream ready to be started.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) request: StreamRequest,
    /// What it names that is here.
    pub(super) blobs: Vec<LocalBlob>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    durable: Option<u8>,
    source: SourceEntry,
    window: WindowEntry,
    work: WorkEntry,
    sink: SinkEntry,
    #[serde(default)]
    late: Option<SinkEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum SourceEntry {
    Mqtt(BrokerSpec),
    Directory(PathBuf),
    Http(bool),
    Stdin(bool),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowEntry {
    #[serde(default)]
    count: Option<u32>,
    #[serde(default)]
    time: Option<String>,
    #[serde(default)]
    event_time: Option<EventTime>,
    #[serde(default)]
    lateness: Option<String>,
    #[serde(default)]
    idle: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkEntry {
    #[serde(default)]
    module: Option<String>,
    #[serde(default)]
    pipeline: Option<PathBuf>,
    #[serde(default)]
    input: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    memory: Option<String>,
    #[serde(default)]
    timeout: Option<String>,
    #[serde(default)]
    output_limit: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    role: Option<Role>,
    #[serde(default)]
    cloud: Option<CloudUse>,
    #[serde(default)]
    local_only: bool,
    #[serde(default)]
    restricted: bool,
    #[serde(default)]
    priority: Option<Priority>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum SinkEntry {
    File(PathBuf),
    Mqtt(BrokerSpec),
}

/// The file while it is read.
struct Source<'a> {
    path: &'a Path,
    text: String,
}

impl Source<'_> {
    fn wrong(&self, line: Option<usize>, title: impl Into<String>) -> Failure {
        let at = line.map_or_else(|| self.path.display().to_string(), |line| format!("{}:{line}", self.path.display()));
        Failure::new(Exit::Usage, codes::BAD_STREAM, format!("{at}: {}", title.into()))
    }

    fn wrong_at(&self, key: &str, why: &str) -> Failure {
        self.wrong(line_of_key(&self.text, key), format!("`{key}`: {why}"))
    }

    /// Where the daemon finds it, wherever that runs.
    fn beside(&self, path: &Path) -> PathBuf {
        let joined = self.path.parent().unwrap_or(Path::new(".")).join(path);
        std::path::absolute(&joined).unwrap_or(joined)
    }

    fn broker(&self, mut broker: BrokerSpec) -> BrokerSpec {
        if let Some(file) = broker.password.as_deref().and_then(|text| text.strip_prefix("file:")) {
            broker.password = Some(format!("file:{}", self.beside(Path::new(file)).display()));
        }
        broker
    }

    fn millis(&self, key: &str, text: Option<&str>) -> Result<Option<u64>, Failure> {
        let parsed = text.map(parse_duration).transpose().map_err(|why| self.wrong_at(key, &why))?;
        Ok(parsed.map(whole_millis))
    }
}

/// Reads a file and everything it names.
pub(super) fn prepare(path: &Path) -> Result<Prepared, Failure> {
    let size = std::fs::metadata(path).map_err(|error| Failure::read(path, &error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(Failure::usage(format!("`{}` is too large for a stream", path.display())));
    }
    let text = std::fs::read_to_string(path).map_err(|error| Failure::read(path, &error))?;
    let source = Source { path, text };
    let document: Document = toml::from_str(&source.text).map_err(|error| {
        let line = error.span().map(|span| pipeline::lines::of_byte(&source.text, span.start));
        source.wrong(line, error.message()).fix("see the keys there are in docs/streams.md")
    })?;
    let Document { name, durable, source: from, window, work, sink, late } = document;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let (task, pipeline, input, blobs) = prepare_work(&source, work)?;
    let request = StreamRequest {
        name: name.unwrap_or(stem),
        source: match from {
            SourceEntry::Mqtt(broker) => SourceSpec::Mqtt(source.broker(broker)),
            SourceEntry::Directory(path) => SourceSpec::Directory { path: source.beside(&path) },
            SourceEntry::Http(true) => SourceSpec::Http {},
            SourceEntry::Stdin(true) => SourceSpec::Stdin {},
            SourceEntry::Http(false) => return Err(source.wrong_at("http", "is false, and there is no other source")),
            SourceEntry::Stdin(false) => return Err(source.wrong_at("stdin", "is false, and there is no other source")),
        },
        window: WindowRule {
            count: window.count,
            span_ms: source.millis("time", window.time.as_deref())?,
            event_time: window.event_time,
            lateness_ms: source.millis("lateness", window.lateness.as_deref())?.unwrap_or(0),
            idle_ms: source.millis("idle", window.idle.as_deref())?,
        },
        task,
        pipeline,
        input,
        sink: prepare_sink(&source, sink),
        late: late.map(|late| prepare_sink(&source, late)),
        durable,
    };
    check(&source, &request)?;
    Ok(Prepared { request, blobs })
}

fn prepare_sink(source: &Source<'_>, sink: SinkEntry) -> SinkSpec {
    match sink {
        SinkEntry::File(path) => SinkSpec::File { path: source.beside(&path) },
        SinkEntry::Mqtt(broker) => SinkSpec::Mqtt(source.broker(broker)),
    }
}

type Work = (Option<TaskRequest>, Option<PipelineRequest>, Option<String>, Vec<LocalBlob>);

fn prepare_work(source: &Source<'_>, work: WorkEntry) -> Result<Work, Failure> {
    match (&work.module, &work.pipeline) {
        (Some(module), None) => {
            let text = if module.starts_with("b3:") || !(module.contains('/') || module.ends_with(".wasm")) {
                module.clone()
            } else {
                source.beside(Path::new(module)).to_string_lossy().into_owned()
            };
            let module = Module::find(&text).map_err(|failure| {
                let at = source.wrong_at("module", &failure.title);
                Failure { title: at.title, ..failure }
            })?;
            let bytes = |key: &str, text: &Option<String>| {
                text.as_deref().map(parse_bytes).transpose().map_err(|why| source.wrong_at(key, &why))
            };
            let task = TaskRequest {
                variants: vec![VariantRequest { name: String::new(), module: module.id, loss: 0.0 }],
                args: work.args.clone(),
                memory_bytes: bytes("memory", &work.memory)?,
                wall_ms: source.millis("timeout", work.timeout.as_deref())?,
                output_bytes: bytes("output_limit", &work.output_limit)?,
                labels: work.labels.clone(),
                role: work.role,
                cloud: work.cloud,
                local_only: work.local_only,
                restricted: work.restricted,
                priority: work.priority,
                ..TaskRequest::default()
            };
            Ok((Some(task), None, None, module.blob.into_iter().collect()))
        }
        (None, Some(file)) => {
            let (request, blobs) = pipeline::prepared(&source.beside(file))?;
            Ok((None, Some(request), work.input, blobs))
        }
        (Some(_), Some(_)) | (None, None) => {
            let line = source.text.lines().position(|line| line.trim() == "[work]").map(|at| at + 1);
            Err(source.wrong(line, "`work` needs one of `module` and `pipeline`").fix("write `module = \"wordcount\"`"))
        }
    }
}

/// The same check that the daemon makes, where its line can be told.
fn check(source: &Source<'_>, request: &StreamRequest) -> Result<(), Failure> {
    let spec = StreamSpec {
        name: request.name.clone(),
        source: request.source.clone(),
        window: request.window.clone(),
        // What is run is checked where the modules are.
        work: StreamWork::Task(Box::new(TaskSpec::of_module(BlobId([0; 32]), 0))),
        sink: request.sink.clone(),
        late: request.late.clone(),
        durable: request.durable.unwrap_or(1),
    };
    spec.check()
        .map_err(|error| source.wrong(line_of_key(&source.text, error.key()), error.to_string()).fix(error.hint()))
}

/// The line of a key, or of the table of that name, from 1.
fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let begins = |line: &str| {
        let line = line.trim_start();
        let is_key = line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
        let is_table = line.strip_prefix('[').and_then(|rest| rest.split(']').next()).is_some_and(|name| name == key);
        // Inside of an inline table.
        let is_inside = [format!("{{ {key} ="), format!(", {key} =")].iter().any(|part| line.contains(part.as_str()));
        is_key || is_table || is_inside
    };
    text.lines().position(begins).map(|at| at + 1)
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[source]\nmqtt = { broker = \"127.0.0.1:1883\", topic = \"a/+\" }\n[window]\ncount = 10\n\
                        [work]\nmodule = \"./m.wasm\"\n[sink]\nfile = \"out.jsonl\"\n";

    fn prepared(text: &str) -> Result<Prepared, Failure> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("speeds.toml");
        std::fs::write(&file, text).expect("written");
        std::fs::write(dir.path().join("m.wasm"), b"\0asm\x01\0\0\0").expect("written");
        prepare(&file).map_err(|mut failure| {
            failure.title = failure.title.replace(&*file.to_string_lossy(), "speeds.toml").into();
            failure
        })
    }

    #[track_caller]
    fn wrong(text: &str, title: &str) {
        let failure = prepared(text).expect_err("it is wrong");

        assert!(failure.title.starts_with(title), "{}", failure.title);
        assert!(!failure.fix.is_empty() || failure.title.contains('`'), "{failure:?}");
    }

    #[test]
    fn a_file_becomes_a_request_with_absolute_paths() {
        let Prepared { request, blobs } = prepared(GOOD).expect("it is good");

        assert_eq!((request.name.as_str(), request.window.count, blobs.len()), ("speeds", Some(10), 1));
        assert!(matches!(request.sink, SinkSpec::File { path } if path.is_absolute() && path.ends_with("out.jsonl")));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        wrong(&GOOD.replace("count = 10", "count = 0"), "speeds.toml:4: `count` is 0");
        wrong(&GOOD.replace("count = 10", "colour = 1"), "speeds.toml:4: unknown field `colour`");
        wrong(&GOOD.replace("count = 10", "time = \"soon\""), "speeds.toml:4: `time`: ");
        wrong(&GOOD.replace("a/+", ""), "speeds.toml:2: `topic` is empty");
        wrong(&GOOD.replace("module = \"./m.wasm\"\n", ""), "speeds.toml:5: `work` needs one of");
        wrong(&GOOD.replace("./m.wasm", "./n.wasm"), "speeds.toml:6: `module`: cannot read");
        wrong(&GOOD.replace("count = 10", "count = 10\nlateness = \"1s\""), "speeds.toml:5: `lateness` is of no use");
    }

    #[test]
    fn a_password_that_is_no_file_is_refused_and_not_repeated() {
        let text = GOOD.replace("topic =", "username = \"u\", password = \"hunter2\", topic =");

        let failure = prepared(&text).expect_err("it is refused");

        assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
        assert!(failure.title.starts_with("speeds.toml:2: `password`"), "{}", failure.title);
    }
}
