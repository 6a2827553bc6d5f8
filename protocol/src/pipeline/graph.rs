//! The graph of a pipeline: checked, in order, and with one node for each task.
//!
//! ```text
//! stage "count" mapped over texts[3] ─► count#0, count#1, count#2 ─► stage "total" takes count ─► total#0
//! ```
//!
//! **Invariant:** the number of a node follows from the spec alone, so what stands on disk about it is found again.

use std::collections::{BTreeMap, BTreeSet};

use super::spec::{PipelineSpec, Stage, StageKind, When};
use crate::config::NAME_BYTES_MAX;
use crate::task::spec::SpecError;

/// Tasks of one pipeline. Each costs its home about a kilobyte in memory and a record on disk; a quarter of what one peer may
/// hold of unfinished tasks at all.
pub const NODES_MAX: usize = 4_096;
/// Connections between them: sixteen each, on average.
pub const EDGES_MAX: usize = 65_536;
/// Elements of all inputs together.
pub const ELEMENTS_MAX: usize = 4_096;
/// The beginning of an output that a condition may ask for, in bytes.
const BEGINNING_BYTES_MAX: usize = 1_024;

/// A task of a pipeline, by its number.
pub type NodeId = u32;

/// One task of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its stage, by number.
    pub stage: u32,
    /// Which of the stage's tasks.
    pub element: u32,
    /// What it reads, in order.
    pub takes: Vec<Take>,
    /// Nodes that must have ended first.
    pub after: Vec<NodeId>,
    /// Nodes that wait for it.
    pub before: Vec<NodeId>,
    /// Nodes that read its output; `before` without those that only ask for its end.
    pub readers: Vec<NodeId>,
}

/// One thing a task reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// An element of an input of the pipeline.
    Input {
        /// Which input.
        input: u32,
        /// Which element.
        element: u32,
    },
    /// The output of a task.
    Output(NodeId),
}

/// A checked graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// Every task, stage by stage as they are declared.
    pub nodes: Vec<Node>,
    /// The first node of each stage, and one past the last of all.
    firsts: Vec<u32>,
    /// Stages, each after those it waits for.
    pub order: Vec<u32>,
    /// Stages that a condition asks for their exit code.
    pub asked_for_code: BTreeSet<u32>,
}

/// What is wrong with a pipeline, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// There is nothing to do.
    #[error("the pipeline has no stage")]
    Empty,
    /// Too much of something.
    #[error("the pipeline has {count} {what}, {limit} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        limit: usize,
        /// The stage at which it was too many.
        stage: Option<String>,
    },
    /// A name that cannot be told apart, or written.
    #[error("`{name}` {why}")]
    Name {
        /// Which.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nothing is called so.
    #[error("stage `{stage}`: `{key}` names `{name}`, and there is no {wanted} of that name")]
    Unknown {
        /// Where.
        stage: String,
        /// Under which key.
        key: &'static str,
        /// What was named.
        name: String,
        /// What it may be.
        wanted: &'static str,
        /// The names there are.
        known: Vec<String>,
    },
    /// Stages that wait for each other.
    #[error("stages wait for each other: {}", .path.join(" → "))]
    Cycle {
        /// Around the circle, its first stage once more at the end.
        path: Vec<String>,
    },
    /// Nothing to map over.
    #[error("stage `{stage}`: `map` names `{source_name}`, which has no element")]
    NothingToMap {
        /// Where.
        stage: String,
        /// What it is mapped over.
        source_name: String,
    },
    /// A condition that says nothing, or asks too much.
    #[error("stage `{stage}`: `when` {why}")]
    When {
        /// Where.
        stage: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An export that is none, or more than one.
    #[error("stage `{stage}`: `export` {why}")]
    Export {
        /// Where.
        stage: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A task that could not be run.
    #[error("stage `{stage}`: {error}")]
    Task {
        /// Where.
        stage: String,
        /// What is wrong with it.
        error: SpecError,
    },
}

impl GraphError {
    /// The stage it is about, and the key of that.
    pub fn place(&self) -> (Option<&str>, Option<&'static str>) {
        match self {
            Self::Empty => (None, None),
            Self::TooMany { stage, .. } => (stage.as_deref(), Some("map")),
            Self::Name { name, .. } => (Some(name), Some("name")),
            Self::Unknown { stage, key, .. } => (Some(stage), Some(key)),
            Self::Cycle { path } => (path.first().map(String::as_str), Some("inputs")),
            Self::NothingToMap { stage, .. } => (Some(stage), Some("map")),
            Self::When { stage, .. } => (Some(stage), Some("when")),
            Self::Export { stage, .. } => (Some(stage), Some("export")),
            Self::Task { stage, .. } => (Some(stage), None),
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Empty => "add a stage: [[stage]] with a name and a module".into(),
            Self::TooMany { limit, .. } => {
                format!("give each task several elements, or split the work into pipelines of at most {limit}")
            }
            Self::Name { .. } => "give every input and stage a name of its own, of 1 to 128 characters without blanks".into(),
            Self::Unknown { known, .. } if known.is_empty() => "there is none; leave the key out".into(),
            Self::Unknown { known, .. } => format!("use one of: {}", known.join(", ")),
            Self::Cycle { .. } => "take one of these stages out of the `inputs`, `map`, `near` or `when` of the next".into(),
            Self::NothingToMap { .. } => "give the input at least one element".into(),
            Self::When { .. } => "write when = { stage = \"check\", exit_code = 0 } or { stage = \"check\", output_starts_with = \"yes\" }".into(),
            Self::Export { .. } => {
                "write kind = \"export\" and export = { dataset = \"street\", query = \"mean\", epsilon = \"0.1\" }".into()
            }
            Self::Task { error, .. } => error.hint().into(),
        }
    }
}

/// What a stage may take from.
#[derive(Debug, Clone, Copy)]
enum Source {
    Input(u32),
    Stage(u32),
}

impl Graph {
    /// The graph of a pipeline, or what is wrong with it.
    pub fn of(spec: &PipelineSpec) -> Result<Self, GraphError> {
        if spec.stages.is_empty() {
            return Err(GraphError::Empty);
        }
        let too_many = |what, count, limit| GraphError::TooMany { what, count, limit, stage: None };
        if spec.stages.len() > NODES_MAX {
            return Err(too_many("stages", spec.stages.len(), NODES_MAX));
        }
        let elements: usize = spec.inputs.iter().map(|input| input.elements.len()).sum();
        if elements > ELEMENTS_MAX || spec.inputs.len() > ELEMENTS_MAX {
            return Err(too_many("elements of inputs", elements.max(spec.inputs.len()), ELEMENTS_MAX));
        }
        let names = names(spec)?;
        for stage in &spec.stages {
            check_task(stage)?;
        }
        if let Some(stage) = spec.stages.iter().find(|stage| stage.inputs.len() > EDGES_MAX) {
            let (count, stage) = (stage.inputs.len(), Some(stage.name.clone()));
            return Err(GraphError::TooMany { what: "inputs", count, limit: EDGES_MAX, stage });
        }
        let order = order(spec, &names)?;
        let mut graph = Self { order, ..Self::default() };
        let widths = graph.widths(spec, &names)?;
        graph.expand(spec, &names, &widths)?;
        Ok(graph)
    }

    /// The nodes of a stage.
    pub fn nodes_of(&self, stage: u32) -> core::ops::Range<NodeId> {
        let at = |index: usize| self.firsts.get(index).copied().unwrap_or_default();
        at(stage as usize)..at(stage as usize + 1)
    }

    /// A node; `id` is one of this graph.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id as usize)
    }

    /// Whether nothing takes what this stage writes: it is a result of the pipeline.
    pub fn is_result(&self, stage: u32) -> bool {
        self.nodes_of(stage).all(|id| self.node(id).is_none_or(|node| node.readers.is_empty()))
    }

    /// How many tasks each stage has.
    fn widths(&self, spec: &PipelineSpec, names: &BTreeMap<&str, Source>) -> Result<Vec<u32>, GraphError> {
        let mut widths = vec![1u32; spec.stages.len()];
        let mut total = 0usize;
        for index in &self.order {
            let Some(stage) = spec.stages.get(*index as usize) else { continue };
            let width = match stage.map.as_deref().and_then(|name| names.get(name)) {
                None => 1,
                Some(Source::Input(input)) => {
                    spec.inputs.get(*input as usize).map_or(0, |input| input.elements.len() as u32)
                }
                Some(Source::Stage(other)) => widths.get(*other as usize).copied().unwrap_or(1),
            };
            if width == 0 {
                let source_name = stage.map.clone().unwrap_or_default();
                return Err(GraphError::NothingToMap { stage: stage.name.clone(), source_name });
            }
            total = total.saturating_add(width as usize);
            if total > NODES_MAX {
                let stage = Some(stage.name.clone());
                return Err(GraphError::TooMany { what: "tasks", count: total, limit: NODES_MAX, stage });
            }
            if let Some(entry) = widths.get_mut(*index as usize) {
                *entry = width;
            }
        }
        Ok(widths)
    }

    fn expand(
        &mut self,
        spec: &PipelineSpec,
        names: &BTreeMap<&str, Source>,
        widths: &[u32],
    ) -> Result<(), GraphError> {
        let mut first = 0;
        self.firsts = vec![0];
        for width in widths {
            first += width;
            self.firsts.push(first);
        }
        let mut edges = 0usize;
        for (index, stage) in (0u32..).zip(&spec.stages) {
            let width = widths.get(index as usize).copied().unwrap_or(1);
            let whole = self.whole_takes(spec, stage, names)?;
            let awaited = self.awaited(stage, names);
            if stage.when.as_ref().is_some_and(|when| when.exit_code.is_some())
                && let Some(Source::Stage(asked)) = stage.when.as_ref().and_then(|when| names.get(when.stage.as_str()))
            {
                self.asked_for_code.insert(*asked);
            }
            for element in 0..width {
                let mut takes = Vec::with_capacity(whole.len() + 1);
                match stage.map.as_deref().and_then(|name| names.get(name)) {
                    Some(Source::Input(input)) => takes.push(Take::Input { input: *input, element }),
                    Some(Source::Stage(other)) => takes.push(Take::Output(self.nodes_of(*other).start + element)),
                    None => {}
                }
                takes.extend(&whole);
                let read = takes.iter().filter_map(|take| match take {
                    Take::Output(node) => Some(*node),
                    Take::Input { .. } => None,
                });
                let after: BTreeSet<NodeId> = read.chain(awaited.iter().copied()).collect();
                edges += takes.len().max(after.len());
                if edges > EDGES_MAX {
                    let stage = Some(stage.name.clone());
                    return Err(GraphError::TooMany { what: "connections", count: edges, limit: EDGES_MAX, stage });
                }
                let after = after.into_iter().collect();
                let (before, readers) = (Vec::new(), Vec::new());
                self.nodes.push(Node { stage: index, element, takes, after, before, readers });
            }
        }
        self.connect();
        Ok(())
    }

    /// What every task of a stage reads beside its element. That it is too much is found out before it is there: a few bytes of names
    /// can say as much as no memory holds.
    fn whole_takes(
        &self,
        spec: &PipelineSpec,
        stage: &Stage,
        names: &BTreeMap<&str, Source>,
    ) -> Result<Vec<Take>, GraphError> {
        let mut takes = Vec::new();
        for source in stage.inputs.iter().filter_map(|name| names.get(name.as_str())) {
            let more = match source {
                Source::Input(input) => spec.inputs.get(*input as usize).map_or(0, |input| input.elements.len()),
                Source::Stage(other) => self.nodes_of(*other).len(),
            };
            let count = takes.len().saturating_add(more);
            if count > EDGES_MAX {
                let stage = Some(stage.name.clone());
                return Err(GraphError::TooMany { what: "connections", count, limit: EDGES_MAX, stage });
            }
            match source {
                Source::Input(input) => {
                    takes.extend((0..more as u32).map(|element| Take::Input { input: *input, element }));
                }
                Source::Stage(other) => takes.extend(self.nodes_of(*other).map(Take::Output)),
            }
        }
        Ok(takes)
    }

    /// Nodes whose end a stage waits for without reading their output.
    fn awaited(&self, stage: &Stage, names: &BTreeMap<&str, Source>) -> Vec<NodeId> {
        let named = stage.when.as_ref().map(|when| when.stage.as_str()).into_iter().chain(stage.near.as_deref());
        let stages = named.filter_map(|name| match names.get(name) {
            Some(Source::Stage(other)) => Some(*other),
            Some(Source::Input(_)) | None => None,
        });
        stages.flat_map(|other| self.nodes_of(other)).collect()
    }

    fn connect(&mut self) {
        let mut before = vec![Vec::new(); self.nodes.len()];
        let mut readers = vec![Vec::new(); self.nodes.len()];
        for (id, node) in (0u32..).zip(&self.nodes) {
            for earlier in &node.after {
                if let Some(list) = before.get_mut(*earlier as usize) {
                    list.push(id);
                }
            }
            let read: BTreeSet<NodeId> = node
                .takes
                .iter()
                .filter_map(|take| match take {
                    Take::Output(node) => Some(*node),
                    Take::Input { .. } => None,
                })
                .collect();
            for earlier in read {
                if let Some(list) = readers.get_mut(earlier as usize) {
                    list.push(id);
                }
            }
        }
        for ((node, before), readers) in self.nodes.iter_mut().zip(before).zip(readers) {
            (node.before, node.readers) = (before, readers);
        }
    }
}

fn names(spec: &PipelineSpec) -> Result<BTreeMap<&str, Source>, GraphError> {
    let inputs = (0u32..).zip(&spec.inputs).map(|(index, input)| (input.name.as_str(), Source::Input(index)));
    let stages = (0u32..).zip(&spec.stages).map(|(index, stage)| (stage.name.as_str(), Source::Stage(index)));
    let mut names = BTreeMap::new();
    for (name, source) in inputs.chain(stages) {
        let why = if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_whitespace) {
            Some("is no name for an input or a stage")
        } else if names.insert(name, source).is_some() {
            Some("is the name of two things")
        } else {
            None
        };
        if let Some(why) = why {
            return Err(GraphError::Name { name: name.chars().take(NAME_BYTES_MAX).collect(), why });
        }
    }
    Ok(names)
}

/// The stages each stage waits for, or the name that leads nowhere.
fn dependencies(spec: &PipelineSpec, names: &BTreeMap<&str, Source>) -> Result<Vec<BTreeSet<u32>>, GraphError> {
    let mut all = Vec::with_capacity(spec.stages.len());
    for stage in &spec.stages {
        let mut of_stage = BTreeSet::new();
        let keys = stage
            .map
            .iter()
            .map(|name| ("map", name))
            .chain(stage.inputs.iter().map(|name| ("inputs", name)))
            .chain(stage.near.iter().map(|name| ("near", name)))
            .chain(stage.when.iter().map(|when| ("when", &when.stage)));
        for (key, name) in keys {
            match names.get(name.as_str()) {
                Some(Source::Stage(other)) => drop(of_stage.insert(*other)),
                Some(Source::Input(_)) if key != "when" => {}
                Some(Source::Input(_)) | None => {
                    let wanted = if key == "when" { "stage" } else { "input or stage" };
                    let is_wanted = |source: &&Source| key != "when" || matches!(source, Source::Stage(_));
                    let known = names.iter().filter(|(known, source)| **known != stage.name && is_wanted(source));
                    let known = known.map(|(known, _)| (*known).to_owned()).take(16).collect();
                    let (stage, name) = (stage.name.clone(), name.chars().take(NAME_BYTES_MAX).collect());
                    return Err(GraphError::Unknown { stage, key, name, wanted, known });
                }
            }
        }
        check_when(stage)?;
        all.push(of_stage);
    }
    Ok(all)
}

fn check_task(stage: &Stage) -> Result<(), GraphError> {
    let why = match (&stage.export, stage.kind == StageKind::Export) {
        (None, false) => {
            return stage.task.check().map_err(|error| GraphError::Task { stage: stage.name.clone(), error });
        }
        (None, true) => "lacks what is to be exported",
        (Some(_), false) => "is of a stage whose kind is not `export`",
        (Some(_), true) if stage.map.is_some() => "cannot be mapped: a statistic is about all that is read",
        (Some(_), true) if !stage.task.variants.is_empty() => "has a module: it is made by its keeper, without one",
        (Some(_), true) => return Ok(()),
    };
    Err(GraphError::Export { stage: stage.name.clone(), why })
}

fn check_when(stage: &Stage) -> Result<(), GraphError> {
    let Some(When { exit_code, output_starts_with, .. }) = &stage.when else { return Ok(()) };
    let why = match output_starts_with {
        None if exit_code.is_none() => "asks for nothing",
        Some(beginning) if beginning.len() > BEGINNING_BYTES_MAX => "asks for more than 1,024 bytes",
        Some(_) | None => return Ok(()),
    };
    Err(GraphError::When { stage: stage.name.clone(), why })
}

/// Each stage after those it waits for, otherwise as declared (Kahn 1962); or a circle.
fn order(spec: &PipelineSpec, names: &BTreeMap<&str, Source>) -> Result<Vec<u32>, GraphError> {
    let dependencies = dependencies(spec, names)?;
    let mut waiting: Vec<usize> = dependencies.iter().map(BTreeSet::len).collect();
    let mut followers = vec![Vec::new(); dependencies.len()];
    for (index, earlier) in (0u32..).zip(&dependencies) {
        for other in earlier {
            if let Some(list) = followers.get_mut(*other as usize) {
                list.push(index);
            }
        }
    }
    let free = (0u32..).zip(&waiting).filter(|(_, count)| **count == 0).map(|(index, _)| index);
    let mut free: BTreeSet<u32> = free.collect();
    let mut order = Vec::with_capacity(dependencies.len());
    while let Some(next) = free.pop_first() {
        order.push(next);
        for follower in followers.get(next as usize).into_iter().flatten() {
            if let Some(count) = waiting.get_mut(*follower as usize) {
                *count -= 1;
                if *count == 0 {
                    free.insert(*follower);
                }
            }
        }
    }
    if order.len() == dependencies.len() { Ok(order) } else { Err(cycle(spec, &dependencies, &order)) }
}

/// Whoever is not in the order waits, at last, for a circle: going back from any of them leads around it.
fn cycle(spec: &PipelineSpec, dependencies: &[BTreeSet<u32>], order: &[u32]) -> GraphError {
    let done: BTreeSet<u32> = order.iter().copied().collect();
    let mut path: Vec<u32> = Vec::new();
    let mut at = (0..dependencies.len() as u32).find(|index| !done.contains(index));
    while let Some(stage) = at {
        if let Some(begin) = path.iter().position(|seen| *seen == stage) {
            path.drain(..begin);
            path.push(stage);
            break;
        }
        path.push(stage);
        let earlier = dependencies.get(stage as usize);
        at = earlier.and_then(|earlier| earlier.iter().find(|other| !done.contains(other)).copied());
    }
    // Going back was against the flow.
    path.reverse();
    let name = |stage: &u32| spec.stages.get(*stage as usize).map(|stage| stage.name.clone()).unwrap_or_default();
    GraphError::Cycle { path: path.iter().map(name).collect() }
}
