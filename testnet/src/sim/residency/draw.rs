//! A case: a few peers, a few pieces of data with labels, and what is done with them.

use std::collections::BTreeMap;

use rand::{Rng, RngExt};
use shoal_protocol::blobs::Holders;
use shoal_protocol::certificate::{Member, Role};
use shoal_protocol::config::Weights;
use shoal_protocol::message::LoadDigest;
use shoal_protocol::residency::Labels;
use shoal_protocol::task::spec::{BlobRef, CloudUse, OutputUse, Payload};
use shoal_protocol::{BlobId, TaskSpec};

use super::{bare_task, id};

const REGIONS: [&str; 4] = ["eu", "us", "ap", "ch"];
const SITES: [&str; 3] = ["street-9", "depot", "roof"];
const CLASSES: [&str; 3] = ["personal", "public", "medical"];

/// A peer, as its certificate and its last digest have it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    index: usize,
    role: Role,
    pub(crate) region: Option<&'static str>,
    pub(crate) site: Option<&'static str>,
    pub(crate) is_aware: bool,
}

/// A piece of data, and what its owner says of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drawn {
    pub(crate) regions: Vec<&'static str>,
    pub(crate) sites: Vec<&'static str>,
    pub(crate) classes: Vec<&'static str>,
    /// It is a blob there; it comes with the task where it is nowhere.
    pub(crate) at: Option<usize>,
}

/// Everything about one question.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The first is the home of the task.
    pub(crate) peers: Vec<Place>,
    pub(crate) data: Vec<Drawn>,
    pub(crate) keeps_output: bool,
    pub(crate) is_local: bool,
    cloud: CloudUse,
    role: Option<Role>,
    /// Home knows who else holds the blobs.
    pub(crate) is_told: bool,
}

fn some_of(names: &[&'static str], rng: &mut impl Rng) -> Vec<&'static str> {
    if rng.random_bool(0.5) {
        return Vec::new();
    }
    names.iter().copied().filter(|_| rng.random_bool(0.5)).collect()
}

fn one_of(names: &[&'static str], rng: &mut impl Rng) -> Option<&'static str> {
    rng.random_bool(0.75).then(|| names[rng.random_range(0..names.len())])
}

impl Place {
    fn draw(index: usize, rng: &mut impl Rng) -> Self {
        let role = if rng.random_bool(0.3) { Role::Cloud } else { Role::Edge };
        let (region, site) = (one_of(&REGIONS, rng), one_of(&SITES, rng));
        Self { index, role, region, site, is_aware: index == 0 || rng.random_bool(0.9) }
    }

    pub(super) fn member(&self) -> Member {
        let region = self.region.map(|region| ("residency".to_owned(), region.to_owned()));
        let site = self.site.map(|site| ("site".to_owned(), site.to_owned()));
        // A label that says nothing of where a peer is.
        let owner = [("owner".to_owned(), "eu".to_owned())];
        let labels: BTreeMap<_, _> = region.into_iter().chain(site).chain(owner).collect();
        Member { peer: id(self.index), name: format!("peer-{}", self.index), role: self.role, labels }
    }

    pub(super) fn load(&self) -> LoadDigest {
        LoadDigest {
            sequence: 1,
            description: 1,
            start_in: core::time::Duration::ZERO,
            usual_start_in: core::time::Duration::ZERO,
            turnover: core::time::Duration::ZERO,
            later_start: [0; 6],
            arrivals_per_ks: 0,
            cores: 2,
            running: 0,
            queued: 0,
            queue_max: 128,
            cpu_percent: 0,
            speed: 1.0,
            memory_free_bytes: 1 << 30,
            memory_bytes: 1 << 30,
            uplink_bits_per_s: 100_000_000,
            weights: Weights::default(),
            price: 0.0,
            understands_labels: self.is_aware,
        }
    }
}

impl Drawn {
    pub(super) fn draw(peers: usize, rng: &mut impl Rng) -> Self {
        let is_free = rng.random_bool(0.3);
        let mut some = |names: &[&'static str]| if is_free { Vec::new() } else { some_of(names, rng) };
        let (regions, sites, classes) = (some(&REGIONS), some(&SITES), some(&CLASSES));
        let at = rng.random_bool(0.5).then(|| rng.random_range(0..peers));
        Self { regions, sites, classes, at }
    }

    /// As the peer has them.
    pub(super) fn labels(&self) -> Labels {
        let sites: Vec<String> = self.sites.iter().map(|site| format!("site:{site}")).collect();
        let places = self.regions.iter().copied().chain(sites.iter().map(String::as_str));
        let labels = Labels::residing(places).and_then(|labels| labels.of_classes(self.classes.iter().copied()));
        // The names of this file are names; were they not, the reference would say otherwise at once.
        labels.unwrap_or_else(|_| Labels::sealed())
    }

    fn blob(&self, number: usize) -> Option<BlobRef> {
        Some(BlobRef { id: BlobId([number as u8 + 1; 32]), bytes: 1_000, holder: id(self.at?) })
    }
}

/// What is said of several together.
pub(super) fn joined(data: &[Drawn]) -> Labels {
    let mut all = Labels::default();
    data.iter().for_each(|one| all.join(&one.labels()));
    all
}

impl Case {
    pub(super) fn draw(rng: &mut impl Rng) -> Self {
        let count = rng.random_range(2..=8);
        let peers = (0..count).map(|index| Place::draw(index, rng)).collect();
        let data = (0..rng.random_range(1..=5)).map(|_| Drawn::draw(count, rng)).collect();
        let cloud = [CloudUse::Allow, CloudUse::Fallback, CloudUse::Never][rng.random_range(0..3)];
        let role = rng.random_bool(0.1).then_some(Role::Edge);
        let (keeps_output, is_local) = (rng.random_bool(0.5), rng.random_bool(0.05));
        Self { peers, data, keeps_output, is_local, cloud, role, is_told: rng.random_bool(0.5) }
    }

    pub(super) fn spec(&self) -> TaskSpec {
        let mut spec = bare_task();
        for (number, one) in self.data.iter().enumerate() {
            spec.inputs.push(match one.blob(number) {
                Some(blob) => Payload::Blob(blob),
                None => Payload::inline(vec![number as u8; 8]),
            });
        }
        spec.labels = joined(&self.data);
        spec.policy.cloud = self.cloud;
        spec.policy.role = self.role;
        spec.policy.local_only = self.is_local;
        if self.keeps_output {
            spec.output = OutputUse::Keep(core::time::Duration::from_secs(60));
        }
        spec
    }

    pub(super) fn holders(&self) -> Holders {
        let mut holders = Holders::default();
        for (number, one) in self.data.iter().enumerate() {
            if let Some(blob) = one.blob(number) {
                holders.note(blob.holder, blob.id, blob.bytes);
            }
        }
        holders
    }
}
