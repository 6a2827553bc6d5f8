//! What a peer knows of others, as a model for a plan.
//!
//! **Invariant:** where a stage may run is what `placement::rank` says of it, the cloud held back included.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::ahead::CostToGo;
use super::search::{self, Method};
use super::{Fit, Model, Place, Read, Task};
use crate::api::{PlanView, PlannedTask, PlannedTransfer, WithoutPeer, schema};
use crate::blobs::Holders;
use crate::certificate::Role;
use crate::flow::shares::Shares;
use crate::id::{BlobId, PeerId};
use crate::pipeline::graph::{Graph, NodeId, Take};
use crate::pipeline::looking::STAYS_BYTES_MIN;
use crate::pipeline::spec::{PipelineSpec, Stage};
use crate::placement::estimates::Estimates;
use crate::placement::{self, Assessment, Circumstances, HomeLink, Site};
use crate::rules::InForce;
use crate::task::spec::{BlobRef, Payload, TaskSpec};
use crate::time::{Time, millis};

/// Peers in one plan: those that cost least for some stage.
const PLACES_MAX: usize = 16;
/// The same where the graph has more than [`LARGE`] tasks: looking at all pairs of peers for each of its connections takes long.
const PLACES_MAX_LARGE: usize = 6;
const LARGE: usize = 256;
/// Taken for the distance of two peers that have no coordinates yet.
const RTT_UNKNOWN_MS: f64 = 30.0;

/// What a peer knows.
pub struct World<'a> {
    /// This peer and its neighbours.
    pub sites: &'a [Site<'a>],
    /// Round trip between two of them.
    pub rtt: &'a dyn Fn(PeerId, PeerId) -> Option<Duration>,
    /// What was learnt from earlier runs.
    pub estimates: &'a Estimates,
    /// Who holds which blobs.
    pub holders: &'a Holders,
    /// The mesh's λ.
    pub lambda: f64,
    /// This peer's uplink.
    pub uplink_bits_per_s: u64,
    /// The time.
    pub now: Time,
    /// The business rules in force.
    pub rules: Option<InForce<'a>>,
    /// What was spent of the shares they give.
    pub shares: &'a Shares,
}

impl core::fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("World")
    }
}

/// Where the output of a task that has ended is, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// Who has it.
    pub at: PeerId,
    /// Its size.
    pub bytes: u64,
}

/// A model, and whom its places stand for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Survey {
    /// The tasks are in the order of the graph's stages…
    pub model: Model,
    /// …these nodes, in that order.
    nodes: Vec<NodeId>,
    peers: Vec<PeerId>,
    without_peer: Vec<(u32, String)>,
}

impl Survey {
    /// Of a graph of which these nodes have ended.
    pub fn of(spec: &PipelineSpec, graph: &Graph, ended: &BTreeMap<NodeId, Output>, world: &World<'_>) -> Self {
        let mut survey = Self::default();
        survey.model.lambda = world.lambda;
        let sizes = Sizes::of(spec, graph, ended, world.estimates);
        let assessed: Vec<_> = (0u32..)
            .zip(&spec.stages)
            .map(|(index, stage)| assess(stage, sizes.typical(graph, index), world))
            .collect();
        let most = if graph.nodes.len() > LARGE { PLACES_MAX_LARGE } else { PLACES_MAX };
        survey.choose_places(&assessed, most, world);
        for (index, (assessments, why)) in (0u32..).zip(&assessed) {
            let mut fits = survey.fits(assessments);
            if fits.iter().all(Option::is_none) {
                // A statistic is made by the keeper of its data set, wherever that is.
                if spec.stages.get(index as usize).is_some_and(|stage| stage.export.is_none()) {
                    survey.without_peer.push((index, why.clone()));
                }
                // So that the rest of the plan can be told.
                if let Some(home) = fits.first_mut() {
                    *home = Some(Fit { prepare_ms: 0.0, loss: 0.0 });
                }
            }
            survey.model.fits.push(fits);
        }
        survey.add_tasks(spec, graph, ended, &sizes, world);
        survey
    }

    fn choose_places(&mut self, assessed: &[(Vec<Assessment>, String)], most: usize, world: &World<'_>) {
        let home = world.sites.iter().find(|site| site.is_home).map(|site| site.member.peer);
        self.peers.extend(home);
        // The best of every stage, then the second of every stage, …
        let deepest = assessed.iter().map(|(all, _)| all.len()).max().unwrap_or_default();
        'full: for depth in 0..deepest {
            for (assessments, _) in assessed {
                if let Some(assessment) = assessments.get(depth)
                    && !self.peers.contains(&assessment.peer)
                {
                    if self.peers.len() >= most {
                        break 'full;
                    }
                    self.peers.push(assessment.peer);
                }
            }
        }
        for peer in self.peers.clone() {
            let Some(site) = world.sites.iter().find(|site| site.member.peer == peer) else { continue };
            let load = site.load;
            self.model.places.push(Place {
                cores: load.map_or(1, |load| load.cores),
                speed: load.map_or(1.0, |load| load.speed),
                start_in_ms: millis(site.start_in),
                uplink_bits_per_s: if site.is_home {
                    world.uplink_bits_per_s
                } else {
                    load.map_or(world.uplink_bits_per_s, |load| load.uplink_bits_per_s)
                },
                weights: load.map(|load| load.weights).unwrap_or_default(),
                price: load.map_or(0.0, |load| load.price),
                is_cloud: site.member.role == Role::Cloud,
            });
            let way = |other: &PeerId| {
                if *other == peer { 0.0 } else { (world.rtt)(peer, *other).map_or(RTT_UNKNOWN_MS, millis) }
            };
            self.model.rtt_ms.push(self.peers.iter().map(way).collect());
        }
    }

    fn fits(&self, assessments: &[Assessment]) -> Vec<Option<Fit>> {
        let fit = |peer: &PeerId| {
            let found = assessments.iter().find(|assessment| assessment.peer == *peer)?;
            let waits = if found.must_prepare { millis(found.start_in) } else { 0.0 };
            Some(Fit { prepare_ms: waits, loss: 0.0 })
        };
        self.peers.iter().map(fit).collect()
    }

    fn place_of(&self, peer: PeerId) -> usize {
        // Who is not in the plan is taken for one as far away as home.
        self.peers.iter().position(|known| *known == peer).unwrap_or(super::HOME)
    }

    fn add_tasks(
        &mut self,
        spec: &PipelineSpec,
        graph: &Graph,
        ended: &BTreeMap<NodeId, Output>,
        sizes: &Sizes,
        world: &World<'_>,
    ) {
        self.nodes = graph.order.iter().flat_map(|stage| graph.nodes_of(*stage)).collect();
        let mut task_of = vec![0u32; graph.nodes.len()];
        for (task, node) in (0u32..).zip(&self.nodes) {
            if let Some(entry) = task_of.get_mut(*node as usize) {
                *entry = task;
            }
        }
        let at = |node: NodeId| task_of.get(node as usize).copied().unwrap_or_default();
        let mut firsts = Vec::with_capacity(spec.inputs.len());
        for input in &spec.inputs {
            firsts.push(self.model.sources);
            self.model.sources += input.elements.len() as u32;
        }
        let home = self.peers.first().copied();
        for id in self.nodes.clone() {
            let Some((node, stage)) =
                graph.node(id).and_then(|node| Some((node, spec.stages.get(node.stage as usize)?)))
            else {
                continue;
            };
            let reads = node.takes.iter().filter_map(|take| match take {
                Take::Output(earlier) => Some(Read::Output(at(*earlier))),
                Take::Input { input, element } => {
                    let payload = spec.inputs.get(*input as usize)?.elements.get(*element as usize)?;
                    let holder = match payload {
                        Payload::Inline(_) => home?,
                        Payload::Blob(blob) => blob.holder,
                    };
                    let source = firsts.get(*input as usize)? + element;
                    Some(Read::Held { source, at: self.place_of(holder), bytes: payload.bytes() })
                }
            });
            let reads: Vec<Read> = reads.collect();
            let near = stage.near.as_ref().and_then(|near| {
                let index = (0u32..).zip(&spec.stages).find(|(_, other)| other.name == *near)?.0;
                Some(at(graph.nodes_of(index).start))
            });
            let is_result = node.readers.is_empty();
            // What a condition looks into has to come home.
            let is_looked_into = spec
                .stages
                .iter()
                .filter_map(|it| it.when.as_ref())
                .any(|when| when.stage == stage.name && when.output_starts_with.is_some());
            let stays = !is_result && !is_looked_into && sizes.output(id) >= STAYS_BYTES_MIN;
            self.model.tasks.push(Task {
                work: work(stage, sizes.input(id), world.estimates),
                output_bytes: sizes.output(id),
                stays,
                reads,
                after: node.after.iter().map(|earlier| at(*earlier)).collect(),
                is_result,
                fits: node.stage as usize,
                near,
                ended_at: ended.get(&id).map(|output| self.place_of(output.at)),
            });
        }
    }

    /// Nodes whose output had best stay where it is made.
    pub fn staying(&self) -> BTreeSet<NodeId> {
        let nodes = self.model.tasks.iter().zip(&self.nodes);
        nodes.filter(|(task, _)| task.stays && task.ended_at.is_none()).map(|(_, node)| *node).collect()
    }

    /// What lies ahead of each node at each peer.
    pub fn cost_to_go(&self) -> BTreeMap<NodeId, BTreeMap<PeerId, f64>> {
        let table = CostToGo::of(&self.model);
        let mut by_node = BTreeMap::new();
        for (task, node) in (0u32..).zip(&self.nodes) {
            let over = table.over_the_best(task);
            if over.iter().any(|more| *more > 0.0) {
                by_node.insert(*node, self.peers.iter().copied().zip(over).collect());
            }
        }
        by_node
    }

    /// The plan as a person is shown it.
    pub fn plan(&self, name: &str, spec: &PipelineSpec, world: &World<'_>) -> PlanView {
        let without_peer = self.without_peer.iter().filter_map(|(stage, why)| {
            Some(WithoutPeer { stage: spec.stages.get(*stage as usize)?.name.clone(), why: why.clone() })
        });
        let mut view = PlanView {
            schema: schema(),
            name: name.to_owned(),
            method: "list".into(),
            completion_ms: 0.0,
            moved_bytes: 0,
            between_tiers_bytes: 0,
            within_deadline: None,
            tasks: Vec::new(),
            without_peer: without_peer.collect(),
        };
        let Some((schedule, method)) = search::plan(&self.model) else { return view };
        if method == Method::Search {
            view.method = "search".into();
        }
        view.completion_ms = schedule.completion_ms;
        view.moved_bytes = schedule.moved_bytes;
        view.between_tiers_bytes = schedule.between_tiers_bytes;
        view.within_deadline = spec.deadline.map(|deadline| schedule.completion_ms <= millis(deadline));
        let member = |place: usize| {
            let peer = self.peers.get(place)?;
            world.sites.iter().find(|site| site.member.peer == *peer).map(|site| site.member)
        };
        let mut elements: BTreeMap<usize, u32> = BTreeMap::new();
        for (index, task) in self.model.tasks.iter().enumerate() {
            let element = elements.entry(task.fits).or_default();
            let this = *element;
            *element += 1;
            let Some(slot) = schedule.slots.get(index).and_then(Option::as_ref) else { continue };
            let Some(member) = member(slot.place) else { continue };
            let from = slot.from.iter().map(|(place, bytes)| PlannedTransfer {
                peer: self
                    .peers
                    .get(*place)
                    .and_then(|_| Some(self::name(world, *self.peers.get(*place)?)))
                    .unwrap_or_default(),
                bytes: *bytes,
            });
            let read = |read: &Read| match read {
                Read::Held { bytes, .. } => *bytes,
                Read::Output(earlier) => self.model.tasks.get(*earlier as usize).map_or(0, |task| task.output_bytes),
            };
            view.tasks.push(PlannedTask {
                stage: spec.stages.get(task.fits).map(|stage| stage.name.clone()).unwrap_or_default(),
                element: this,
                peer: member.peer,
                name: member.name.clone(),
                role: member.role,
                input_bytes: task.reads.iter().map(read).sum(),
                from: from.collect(),
                output_bytes: task.output_bytes,
                start_ms: slot.start_ms,
                end_ms: slot.end_ms,
            });
        }
        view.tasks.sort_by(|a, b| a.start_ms.total_cmp(&b.start_ms));
        view
    }
}

fn name(world: &World<'_>, peer: PeerId) -> String {
    world
        .sites
        .iter()
        .find(|site| site.member.peer == peer)
        .map_or_else(|| peer.short(), |site| site.member.name.clone())
}

/// Who may run a stage, the best first; or why nobody may.
fn assess(stage: &Stage, input_bytes: u64, world: &World<'_>) -> (Vec<Assessment>, String) {
    if stage.export.is_some() {
        return (Vec::new(), String::new());
    }
    let spec = reading(stage, input_bytes);
    let (tried, ahead) = (BTreeMap::new(), BTreeMap::new());
    let circumstances = Circumstances {
        estimates: world.estimates,
        holders: world.holders,
        link: HomeLink { uplink_bits_per_s: world.uplink_bits_per_s, uplink_wait: Duration::ZERO },
        lambda: world.lambda,
        deadline_in: None,
        tried: &tried,
        last_resort: false,
        ahead: &ahead,
        rules: world.rules.and_then(|rules| rules.on(world.now, &spec, world.shares, world.uplink_bits_per_s)),
    };
    let ranking = placement::rank(&spec, world.sites, &circumstances);
    let candidates: Vec<Assessment> = ranking.candidates().into_iter().map(|candidate| candidate.assessment).collect();
    if !candidates.is_empty() {
        return (candidates, String::new());
    }
    let mut reasons: BTreeMap<&'static str, usize> = BTreeMap::new();
    ranking.exclusions().for_each(|exclusion| *reasons.entry(exclusion.kind()).or_default() += 1);
    let reasons: Vec<String> = reasons.into_iter().map(|(reason, count)| format!("{count} × {reason}")).collect();
    (candidates, reasons.join(", "))
}

/// The task of a stage, as if it read so many bytes from home.
fn reading(stage: &Stage, bytes: u64) -> TaskSpec {
    let blob = BlobRef { id: BlobId([0; 32]), bytes, holder: PeerId([0; 32]) };
    TaskSpec { inputs: vec![Payload::Blob(blob)], ..stage.task.clone() }
}

fn work(stage: &Stage, input_bytes: u64, estimates: &Estimates) -> Duration {
    let spec = reading(stage, input_bytes);
    spec.variants.first().map_or(Duration::ZERO, |variant| estimates.work(&spec, variant))
}

/// How much each node reads and writes, as far as that can be told.
struct Sizes {
    inputs: Vec<u64>,
    outputs: Vec<u64>,
}

impl Sizes {
    fn of(spec: &PipelineSpec, graph: &Graph, ended: &BTreeMap<NodeId, Output>, estimates: &Estimates) -> Self {
        let mut sizes = Self { inputs: vec![0; graph.nodes.len()], outputs: vec![0; graph.nodes.len()] };
        for id in graph.order.iter().flat_map(|stage| graph.nodes_of(*stage)) {
            let Some((node, stage)) =
                graph.node(id).and_then(|node| Some((node, spec.stages.get(node.stage as usize)?)))
            else {
                continue;
            };
            let read = |take: &Take| match take {
                Take::Output(earlier) => sizes.output(*earlier),
                Take::Input { input, element } => {
                    let payload = spec.inputs.get(*input as usize).and_then(|it| it.elements.get(*element as usize));
                    payload.map_or(0, Payload::bytes)
                }
            };
            let input = node.takes.iter().map(read).fold(0, u64::saturating_add);
            let learnt = stage.task.variants.first().filter(|variant| estimates.knows(variant.module));
            let learnt = learnt.map(|variant| estimates.output_bytes(variant.module));
            let ended = ended.get(&id).map(|output| output.bytes);
            // Of a module that nobody knows: it writes what it reads.
            let output = ended.or(stage.expected_output_bytes).or(learnt).unwrap_or(input);
            for (list, value) in [(&mut sizes.inputs, input), (&mut sizes.outputs, output)] {
                if let Some(cell) = list.get_mut(id as usize) {
                    *cell = value;
                }
            }
        }
        sizes
    }

    fn input(&self, id: NodeId) -> u64 {
        self.inputs.get(id as usize).copied().unwrap_or_default()
    }

    fn output(&self, id: NodeId) -> u64 {
        self.outputs.get(id as usize).copied().unwrap_or_default()
    }

    /// What the first task of a stage reads.
    fn typical(&self, graph: &Graph, stage: u32) -> u64 {
        self.input(graph.nodes_of(stage).start)
    }
}
