//! A pipeline's file: TOML, with the files and modules it names looked for beside it.
//!
//! **Invariant:** what is wrong is told with the file, the stage, the key, and the line where that is known.

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use shoal_protocol::api::{
    InputRequest, LabelsRequest, PipelineRequest, StageRequest, TaskRequest, VariantRequest, codes,
};
use shoal_protocol::certificate::Role;
use shoal_protocol::pipeline::graph::{ELEMENTS_MAX, Graph};
use shoal_protocol::pipeline::spec::{PipelineInput, PipelineSpec, Stage, StageKind, When};
use shoal_protocol::privacy::export::{Export, Format};
use shoal_protocol::privacy::{Decimal, Noise, Query};
use shoal_protocol::task::spec::{CloudUse, Payload, Priority, TaskSpec};

use super::lines;
use crate::commands::task::inputs::{InputArgument, Inputs, LocalBlob, Room};
use crate::commands::task::module::Module;
use crate::error::{Exit, Failure};
use crate::format::{parse_bytes, parse_duration};

/// A file of this size is not a pipeline that somebody wrote.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A pipeline ready to be handed in.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) request: PipelineRequest,
    /// What it names that is here.
    pub(crate) blobs: Vec<LocalBlob>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    deadline: Option<String>,
    #[serde(default)]
    priority: Option<Priority>,
    #[serde(default)]
    retention: Option<String>,
    #[serde(default)]
    inputs: BTreeMap<String, InputEntry>,
    #[serde(rename = "stage", default)]
    stages: Vec<StageEntry>,
}

/// `"file"`, `["file", …]`, or a table: `{ text = "…" }`, `{ directory = "…" }`, `{ file = "…", residency = ["eu"] }`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum InputEntry {
    One(String),
    Several(Vec<String>),
    Described(Box<Described>),
}

/// Where an input comes from, by one of the first five keys, and what is said of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    /// These bytes.
    text: Option<String>,
    /// Each file in it, by name.
    directory: Option<PathBuf>,
    /// Each line of it.
    lines: Option<PathBuf>,
    /// This one.
    file: Option<String>,
    /// These, one after the other.
    files: Option<Vec<String>>,
    /// Where it may be.
    #[serde(default)]
    residency: Names,
    /// What kind of data it is.
    #[serde(default)]
    class: Names,
    /// How long it may be read.
    ttl: Option<String>,
}

/// `"eu"`, or `["eu", "ch"]`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Several(Vec<String>),
}

impl Default for Names {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Names {
    fn all(self) -> Vec<String> {
        match self {
            Self::One(name) => vec![name],
            Self::Several(names) => names,
        }
    }
}

/// What elements are made of.
enum Made {
    Text(String),
    Directory(PathBuf),
    Lines(PathBuf),
    Files(Vec<String>),
}

impl Described {
    /// Its source, and what is said of it; nothing where there is no source, or several.
    fn split(self) -> Option<(Made, LabelsRequest, Option<String>)> {
        let labels = LabelsRequest { residency: self.residency.all(), class: self.class.all(), ttl_ms: None };
        let sources = [
            self.text.map(Made::Text),
            self.directory.map(Made::Directory),
            self.lines.map(Made::Lines),
            self.file.map(|file| Made::Files(vec![file])),
            self.files.map(Made::Files),
        ];
        let mut sources = sources.into_iter().flatten();
        let source = sources.next().filter(|_| sources.next().is_none())?;
        Some((source, labels, self.ttl))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StageEntry {
    name: String,
    #[serde(default)]
    kind: StageKind,
    #[serde(default)]
    module: Option<String>,
    #[serde(default)]
    export: Option<ExportEntry>,
    #[serde(default)]
    variants: Vec<VariantEntry>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    map: Option<String>,
    #[serde(default)]
    inputs: Vec<String>,
    #[serde(default)]
    when: Option<When>,
    #[serde(default)]
    near: Option<String>,
    #[serde(default)]
    retries: u8,
    #[serde(default)]
    deterministic: bool,
    #[serde(default)]
    expect_output: Option<String>,
    #[serde(default)]
    expect_ms: Option<f64>,
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
    peer: Option<String>,
    #[serde(default)]
    local_only: bool,
    #[serde(default)]
    restricted: bool,
    #[serde(default)]
    loss_max: Option<f64>,
    #[serde(default)]
    lambda: Option<f64>,
    #[serde(default)]
    priority: Option<Priority>,
    #[serde(default)]
    verify: Option<String>,
    #[serde(default)]
    class: Option<String>,
}

/// `{ dataset = "street@nas", query = "mean", epsilon = "0.1" }`, or with `rho`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportEntry {
    dataset: String,
    query: Query,
    #[serde(default)]
    epsilon: Option<Decimal>,
    #[serde(default)]
    rho: Option<Decimal>,
    #[serde(default)]
    format: Format,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VariantEntry {
    name: String,
    module: String,
    loss: f64,
}

/// The file while it is read.
struct Source<'a> {
    path: &'a Path,
    text: String,
}

impl Source<'_> {
    fn wrong(&self, line: Option<usize>, title: impl Into<String>) -> Failure {
        let at = line.map_or_else(|| self.path.display().to_string(), |line| format!("{}:{line}", self.path.display()));
        Failure::new(Exit::Usage, codes::BAD_PIPELINE, format!("{at}: {}", title.into()))
    }

    /// The same of a key of a stage.
    fn wrong_at(&self, stage: &str, key: &str, why: &str) -> Failure {
        let line = lines::of_stage(&self.text, stage, Some(key));
        self.wrong(line, format!("stage `{stage}`: `{key}`: {why}"))
    }

    /// What another part found, with the place in front.
    fn placed(&self, line: Option<usize>, what: &str, failure: Failure) -> Failure {
        let at = self.wrong(line, format!("{what}: {}", failure.title));
        Failure { title: at.title, ..failure }
    }

    fn beside(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new(".")).join(path)
    }
}

/// Reads a file and everything it names.
pub(crate) fn prepare(path: &Path) -> Result<Prepared, Failure> {
    let size = std::fs::metadata(path).map_err(|error| Failure::read(path, &error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(Failure::usage(format!("`{}` is too large for a pipeline", path.display())));
    }
    let text = std::fs::read_to_string(path).map_err(|error| Failure::read(path, &error))?;
    let source = Source { path, text };
    let document: Document = toml::from_str(&source.text).map_err(|error| {
        let line = error.span().map(|span| lines::of_byte(&source.text, span.start));
        source.wrong(line, error.message()).fix("see the keys there are in docs/pipelines.md")
    })?;
    let mut blobs = Vec::new();
    let (mut inputs, mut labels, mut room) = (BTreeMap::new(), BTreeMap::new(), Room::of_a_pipeline());
    for (name, entry) in document.inputs {
        let (made, said) = described(&source, &name, entry)?;
        let (requests, more) = elements(&source, &name, made, &mut room)?;
        blobs.extend(more.into_iter().map(|blob| blob.labelled(&said)));
        inputs.insert(name.clone(), requests);
        if !said.is_empty() {
            labels.insert(name, said);
        }
    }
    let mut stages = Vec::with_capacity(document.stages.len());
    for entry in document.stages {
        let (stage, more) = stage(&source, entry)?;
        blobs.extend(more);
        stages.push(stage);
    }
    let duration = |key: &str, text: Option<String>| match text.map(|text| parse_duration(&text)).transpose() {
        Ok(duration) => Ok(duration.map(whole_millis)),
        Err(why) => Err(source.wrong(None, format!("`{key}`: {why}"))),
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let request = PipelineRequest {
        name: document.name.unwrap_or(stem),
        inputs,
        labels,
        stages,
        deadline_ms: duration("deadline", document.deadline)?,
        priority: document.priority,
        retention_ms: duration("retention", document.retention)?,
        idempotency_key: None,
        submitter: None,
        dry_run: false,
    };
    check_graph(&source, &request)?;
    blobs.sort_by_key(|blob| blob.id);
    blobs.dedup_by_key(|blob| blob.id);
    Ok(Prepared { request, blobs })
}

/// The same check the daemon makes, where its line can be told.
fn check_graph(source: &Source<'_>, request: &PipelineRequest) -> Result<(), Failure> {
    let task = |stage: &StageRequest| {
        let module = stage.task.variants.first().map(|it| it.module);
        let task = TaskSpec::of_module(module.unwrap_or(shoal_protocol::BlobId([0; 32])), 0);
        if module.is_some() { task } else { TaskSpec { variants: Vec::new(), ..task } }
    };
    let stage = |stage: &StageRequest| Stage {
        name: stage.name.clone(),
        kind: stage.kind,
        task: task(stage),
        map: stage.map.clone(),
        inputs: stage.inputs.clone(),
        when: stage.when.clone(),
        near: stage.near.clone(),
        retries: 0,
        deterministic: false,
        expected_output_bytes: None,
        export: stage.export.clone(),
    };
    let input = |(name, elements): (&String, &Vec<InputRequest>)| PipelineInput {
        name: name.clone(),
        elements: elements.iter().map(|_| Payload::inline(Vec::new())).collect(),
        labels: Vec::new(),
    };
    let spec = PipelineSpec {
        inputs: request.inputs.iter().map(input).collect(),
        stages: request.stages.iter().map(stage).collect(),
        ..PipelineSpec::default()
    };
    let Err(error) = Graph::of(&spec) else { return Ok(()) };
    let (stage, key) = error.place();
    let line = stage.and_then(|stage| lines::of_stage(&source.text, stage, key));
    Err(source.wrong(line, error.to_string()).fix(error.hint()))
}

/// Where an input comes from, and what is said of it.
fn described(source: &Source<'_>, name: &str, entry: InputEntry) -> Result<(Made, LabelsRequest), Failure> {
    let described = match entry {
        InputEntry::One(file) => return Ok((Made::Files(vec![file]), LabelsRequest::default())),
        InputEntry::Several(files) => return Ok((Made::Files(files), LabelsRequest::default())),
        InputEntry::Described(described) => *described,
    };
    let wrong = |why: &str| source.wrong(None, format!("input `{name}` {why}"));
    let Some((made, labels, ttl)) = described.split() else {
        let fix = "give it one of: text, file, files, directory, lines";
        return Err(wrong("has no source, or several").fix(fix));
    };
    let ttl = ttl.map(|text| parse_duration(&text)).transpose().map_err(|why| wrong(&format!("`ttl`: {why}")))?;
    Ok((made, LabelsRequest { ttl_ms: ttl.map(whole_millis), ..labels }))
}

/// What of them rides along in the request takes up its room; the rest are blobs.
fn elements(
    source: &Source<'_>,
    name: &str,
    made: Made,
    room: &mut Room,
) -> Result<(Vec<InputRequest>, Vec<LocalBlob>), Failure> {
    let what = format!("input `{name}`");
    let placed = |failure: Failure| source.placed(None, &what, failure);
    let files = match made {
        Made::Files(files) => files,
        Made::Text(text) => return Ok((vec![InputRequest::Text(text)], Vec::new())),
        Made::Directory(directory) => {
            let directory = source.beside(&directory.to_string_lossy());
            let read = std::fs::read_dir(&directory).map_err(|error| placed(Failure::read(&directory, &error)))?;
            let mut files: Vec<PathBuf> = read.flatten().map(|it| it.path()).filter(|path| path.is_file()).collect();
            files.sort();
            return read_each(files.into_iter().map(InputArgument::File), room).map_err(placed);
        }
        Made::Lines(file) => {
            let file = source.beside(&file.to_string_lossy());
            let text = std::fs::read_to_string(&file).map_err(|error| placed(Failure::read(&file, &error)))?;
            let mut blobs = Vec::new();
            let line = |line: &str| match line.len() as u64 <= room.most() {
                true => {
                    room.take(line.len() as u64);
                    InputRequest::Text(line.into())
                }
                false => {
                    let blob = LocalBlob::in_memory(file.display().to_string(), line.as_bytes().to_vec());
                    blobs.push(blob.clone());
                    InputRequest::Blob(blob.id)
                }
            };
            let lines: Vec<InputRequest> = text.split_inclusive('\n').map(line).collect();
            return Ok((lines, blobs));
        }
    };
    let argument = |file: String| match InputArgument::parse(&file) {
        Ok(InputArgument::File(path)) => Ok(InputArgument::File(source.beside(&path.to_string_lossy()))),
        Ok(InputArgument::Standard) => Ok(InputArgument::Standard),
        Ok(InputArgument::Blob(blob)) => Ok(InputArgument::Blob(blob)),
        Err(why) => Err(source.wrong(None, format!("{what}: {why}"))),
    };
    let arguments = files.into_iter().map(argument).collect::<Result<Vec<_>, _>>()?;
    if arguments.len() > ELEMENTS_MAX {
        let title = format!("{what} has {} elements, {ELEMENTS_MAX} are allowed", arguments.len());
        return Err(source.wrong(None, title).fix("put several into one file"));
    }
    read_each(arguments.into_iter(), room).map_err(placed)
}

/// One by one: each element is the input of a task of its own, and none has to leave room for others.
fn read_each(
    arguments: impl Iterator<Item = InputArgument>,
    room: &mut Room,
) -> Result<(Vec<InputRequest>, Vec<LocalBlob>), Failure> {
    let (mut requests, mut blobs) = (Vec::new(), Vec::new());
    for argument in arguments {
        let read = Inputs::read_within(&[argument], room.most())?;
        room.take(read.inline_bytes());
        requests.extend(read.requests);
        blobs.extend(read.blobs);
    }
    Ok((requests, blobs))
}

fn stage(source: &Source<'_>, entry: StageEntry) -> Result<(StageRequest, Vec<LocalBlob>), Failure> {
    let name = entry.name;
    let module_of = |text: &str| {
        let text = if text.starts_with("b3:") || !(text.contains('/') || text.ends_with(".wasm")) {
            text.to_owned()
        } else {
            source.beside(text).to_string_lossy().into_owned()
        };
        Module::find(&text).map_err(|failure| {
            let line = lines::of_stage(&source.text, &name, Some("module"));
            source.placed(line, &format!("stage `{name}`: `module`"), failure)
        })
    };
    for (key, number) in [("loss_max", entry.loss_max), ("lambda", entry.lambda), ("expect_ms", entry.expect_ms)] {
        if number.is_some_and(|number| !number.is_finite()) {
            return Err(source.wrong_at(&name, key, "expected a number, as 1.5"));
        }
    }
    let (mut blobs, mut variants) = (Vec::new(), Vec::new());
    match &entry.module {
        Some(module) => {
            let main = module_of(module)?;
            blobs.extend(main.blob);
            let main_name = if entry.variants.is_empty() { "" } else { "full" };
            variants.push(VariantRequest { name: main_name.to_owned(), module: main.id, loss: 0.0 });
        }
        None if entry.export.is_none() => {
            let line = lines::of_stage(&source.text, &name, None);
            return Err(source.wrong(line, format!("stage `{name}`: missing field `module`")).fix("name its module"));
        }
        None => {}
    }
    let export = entry.export.map(|export| export.read(source, &name)).transpose()?;
    for variant in entry.variants {
        let build = module_of(&variant.module)?;
        variants.push(VariantRequest { name: variant.name, module: build.id, loss: variant.loss });
        blobs.extend(build.blob);
    }
    let bytes = |key: &str, text: Option<String>| {
        text.map(|text| parse_bytes(&text)).transpose().map_err(|why| source.wrong_at(&name, key, &why))
    };
    let timeout = entry.timeout.map(|text| parse_duration(&text)).transpose();
    let wall = timeout.map_err(|why| source.wrong_at(&name, "timeout", &why))?;
    let task = TaskRequest {
        variants,
        args: entry.args,
        memory_bytes: bytes("memory", entry.memory)?,
        wall_ms: wall.map(whole_millis),
        output_bytes: bytes("output_limit", entry.output_limit)?,
        labels: entry.labels,
        role: entry.role,
        cloud: entry.cloud,
        local_only: entry.local_only,
        peer: entry.peer,
        restricted: entry.restricted,
        loss_max: entry.loss_max,
        lambda: entry.lambda,
        expected_ms: entry.expect_ms,
        priority: entry.priority,
        verify: entry.verify,
        class: entry.class.into_iter().collect(),
        ..TaskRequest::default()
    };
    let expected_output_bytes = bytes("expect_output", entry.expect_output)?;
    let request = StageRequest {
        name: name.clone(),
        kind: entry.kind,
        task,
        map: entry.map,
        inputs: entry.inputs,
        when: entry.when,
        near: entry.near,
        retries: entry.retries,
        deterministic: entry.deterministic,
        expected_output_bytes,
        export,
    };
    Ok((request, blobs))
}

impl ExportEntry {
    fn read(self, source: &Source<'_>, stage: &str) -> Result<Export, Failure> {
        let noise = match (self.epsilon, self.rho) {
            (Some(epsilon), None) => Noise::Epsilon(epsilon),
            (None, Some(rho)) => Noise::Rho(rho),
            (Some(_), Some(_)) | (None, None) => {
                let failure = source.wrong_at(stage, "export", "names its noise by `epsilon` or by `rho`");
                return Err(failure.fix("see docs/privacy.md"));
            }
        };
        Ok(Export { dataset: self.dataset, query: self.query, noise, format: self.format })
    }
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str) -> Failure {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("p.toml");
        std::fs::write(&file, text).expect("written");
        std::fs::write(dir.path().join("m.wasm"), b"\0asm\x01\0\0\0").expect("written");
        let mut failure = prepare(&file).expect_err("it is wrong");
        failure.title = failure.title.replace(&*file.to_string_lossy(), "p.toml").into();
        failure
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_a_fix() {
        let stage = |name: &str, more: &str| format!("[[stage]]\nname = \"{name}\"\nmodule = \"./m.wasm\"\n{more}\n");
        let circle = stage("a", "inputs = [\"b\"]") + &stage("b", "inputs = [\"a\"]");
        for (text, title) in [
            (
                stage("a", "inputs = [\"c\"]"),
                "p.toml:4: stage `a`: `inputs` names `c`, and there is no input or stage of that name",
            ),
            (circle, "p.toml:4: stages wait for each other: a → b → a"),
            (stage("a", "colour = 1"), "p.toml:4: unknown field `colour`"),
            (stage("a", "timeout = \"soon\""), "p.toml:4: stage `a`: `timeout`: "),
            (stage("a", "") + &stage("a", ""), "p.toml:2: `a` is the name of two things"),
            ("[[stage]]\nname = \"a\"\nmodule = \"./n.wasm\"\n".into(), "p.toml:3: stage `a`: `module`: cannot read "),
            ("name = \"x\"\n".into(), "p.toml: the pipeline has no stage"),
            ("name = \n".into(), "p.toml:1: "),
        ] {
            let failure = failure(&text);
            assert!(failure.title.starts_with(title), "{}", failure.title);
            assert!(title.contains("timeout") || !failure.fix.is_empty(), "{failure:?}");
        }
    }

    #[test]
    fn inputs_are_files_texts_directories_and_lines() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let write = |name: &str, bytes: &str| std::fs::write(dir.path().join(name), bytes).expect("written");
        std::fs::create_dir(dir.path().join("d")).expect("made");
        ["b", "a"].into_iter().for_each(|name| write(&format!("d/{name}"), name));
        write("x", "one\ntwo\n");
        std::fs::write(dir.path().join("m.wasm"), b"\0asm\x01\0\0\0").expect("written");
        write(
            "p.toml",
            "[inputs]\none = \"x\"\ntwo = [\"x\", \"d/a\"]\nd = { directory = \"d\" }\nl = { lines = \"x\" }\nt = { text = \"hi\" }\n[[stage]]\nname = \"s\"\nmodule = \"./m.wasm\"\nmap = \"l\"\n",
        );

        let prepared = prepare(&dir.path().join("p.toml")).expect("it is right");

        let text = |text: &str| InputRequest::Text(text.into());
        let inputs = &prepared.request.inputs;
        assert_eq!(inputs["one"], [text("one\ntwo\n")]);
        assert_eq!(inputs["two"], [text("one\ntwo\n"), text("a")]);
        assert_eq!(inputs["d"], [text("a"), text("b")]);
        assert_eq!(inputs["l"], [text("one\n"), text("two\n")]);
        assert_eq!(inputs["t"], [text("hi")]);
        assert_eq!((prepared.request.name.as_str(), prepared.blobs.len()), ("p", 1));
    }
}
