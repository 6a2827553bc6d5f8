//! What each link is like: the links file and the values the emulator works with.
//!
//! **Invariant:** a [`Link`] built here is usable as it is: no negative delay, no rate of zero, no queue a full packet cannot enter.
//! **Not here:** what happens to a packet; that is `fabric.rs`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shoal_protocol::certificate::Role;

/// The links file used when none is given.
pub const DEFAULT_LINKS_TOML: &str = include_str!("../../links.toml");

const DELAY_MS_MAX: f64 = 10_000.0;
const RATE_MBIT_PER_S_MAX: f64 = 100_000.0;
/// Below this a queue could refuse every packet of full size.
const QUEUE_KIB_MIN: u32 = 4;
const QUEUE_KIB_MAX: u32 = 65_536;
const QUEUE_KIB_DEFAULT: u32 = 256;

/// One emulated machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    pub name: String,
    pub role: Role,
}

impl Node {
    pub fn edge(name: impl Into<String>) -> Self {
        Self { name: name.into(), role: Role::Edge }
    }

    pub fn cloud(name: impl Into<String>) -> Self {
        Self { name: name.into(), role: Role::Cloud }
    }
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    pub delay: Duration,
    /// The delay of each packet varies evenly by up to this much either way; packets of a pair never overtake each other.
    pub jitter: Duration,
    /// Probability that a packet is lost, 0 to 1.
    pub loss: f64,
    /// `None`: as fast as the machine copies.
    pub bits_per_s: Option<u64>,
    /// What may wait for its turn on a limited link; the rest is dropped at the tail.
    pub queue_bytes: u64,
}

impl Link {
    /// No delay, no loss, no limit.
    pub const IDEAL: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0.0,
        bits_per_s: None,
        queue_bytes: QUEUE_KIB_DEFAULT as u64 * 1024,
    };

    /// An otherwise ideal link with this one-way delay.
    pub fn with_delay(delay: Duration) -> Self {
        Self { delay, ..Self::IDEAL }
    }
}

/// What one node can send altogether, whatever the number of its links.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uplink {
    pub bits_per_s: Option<u64>,
    pub queue_bytes: u64,
}

/// The links of a whole mesh.
#[derive(Clone, Debug, PartialEq)]
pub struct Links {
    pub seed: u64,
    pub edge_edge: Link,
    pub edge_cloud: Link,
    pub cloud_cloud: Link,
    pub edge_uplink: Uplink,
    pub cloud_uplink: Uplink,
    pairs: Vec<Pair>,
}

impl Default for Links {
    fn default() -> Self {
        #[allow(clippy::expect_used)] // the text is part of this crate, and a test parses it
        Self::parse(DEFAULT_LINKS_TOML, Path::new("the built-in links.toml")).expect("the built-in links file is valid")
    }
}

impl Links {
    /// Every link the same, uplinks unlimited.
    pub fn uniform(link: Link) -> Self {
        let uplink = Uplink { bits_per_s: None, queue_bytes: Link::IDEAL.queue_bytes };
        Self {
            seed: 0,
            edge_edge: link,
            edge_cloud: link,
            cloud_cloud: link,
            edge_uplink: uplink,
            cloud_uplink: uplink,
            pairs: Vec::new(),
        }
    }

    /// Sets the delay between two named nodes, the same both ways; nothing else of that link changes.
    pub fn delay_between(&mut self, from: &str, to: &str, delay: Duration) {
        let change = Change { delay: Some(delay), ..Change::default() };
        self.pairs.push(Pair { from: from.to_owned(), to: to.to_owned(), one_way: false, change });
    }

    pub fn load(path: &Path) -> Result<Self, LinksError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| LinksError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// `origin` only serves the error messages.
    pub fn parse(text: &str, origin: &Path) -> Result<Self, LinksError> {
        let file: File =
            toml::from_str(text).map_err(|source| LinksError::Malformed { path: origin.to_owned(), source })?;
        file.check(origin)
    }

    /// The link from one node to another, with what its named pair overrides.
    pub fn between(&self, from: &Node, to: &Node) -> Link {
        let mut link = match (from.role, to.role) {
            (Role::Edge, Role::Edge) => self.edge_edge,
            (Role::Cloud, Role::Cloud) => self.cloud_cloud,
            (Role::Edge, Role::Cloud) | (Role::Cloud, Role::Edge) => self.edge_cloud,
        };
        for pair in &self.pairs {
            if pair.joins(&from.name, &to.name) {
                pair.change.apply(&mut link);
            }
        }
        link
    }

    pub fn uplink(&self, node: &Node) -> Uplink {
        match node.role {
            Role::Edge => self.edge_uplink,
            Role::Cloud => self.cloud_uplink,
        }
    }

    /// The first name in a `[[pair]]` that no node bears.
    pub(crate) fn stray_name(&self, nodes: &[Node]) -> Option<&str> {
        self.pairs
            .iter()
            .flat_map(|pair| [pair.from.as_str(), pair.to.as_str()])
            .find(|name| nodes.iter().all(|node| node.name != *name))
    }
}

/// Why a links file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    #[error("cannot read the links file {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the links file {} is not as expected: {source}", path.display())]
    Malformed { path: PathBuf, source: toml::de::Error },
    #[error("in the links file {}, {place}.{key} is {value}: it must be {bounds}", path.display())]
    OutOfBounds { path: PathBuf, place: String, key: &'static str, value: f64, bounds: String },
}

impl LinksError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable { .. } => "check the path after --links, or leave it out for the default links".into(),
            Self::Malformed { .. } => "start from the default: `shoal-testnet links > links.toml`".into(),
            Self::OutOfBounds { key, bounds, .. } => format!("set {key} to a value {bounds}"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    seed: u64,
    #[serde(rename = "edge-edge")]
    edge_edge: LinkEntry,
    #[serde(rename = "edge-cloud")]
    edge_cloud: LinkEntry,
    #[serde(rename = "cloud-cloud")]
    cloud_cloud: LinkEntry,
    #[serde(default)]
    uplink: UplinkEntry,
    #[serde(default)]
    pair: Vec<PairEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkEntry {
    delay_ms: f64,
    #[serde(default)]
    jitter_ms: f64,
    #[serde(default)]
    loss_percent: f64,
    mbit_per_s: Option<f64>,
    queue_kib: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UplinkEntry {
    edge_mbit_per_s: Option<f64>,
    cloud_mbit_per_s: Option<f64>,
    queue_kib: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PairEntry {
    from: String,
    to: String,
    #[serde(default)]
    one_way: bool,
    delay_ms: Option<f64>,
    jitter_ms: Option<f64>,
    loss_percent: Option<f64>,
    mbit_per_s: Option<f64>,
    queue_kib: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
struct Pair {
    from: String,
    to: String,
    one_way: bool,
    change: Change,
}

impl Pair {
    fn joins(&self, from: &str, to: &str) -> bool {
        (self.from == from && self.to == to) || (!self.one_way && self.from == to && self.to == from)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Change {
    delay: Option<Duration>,
    jitter: Option<Duration>,
    loss: Option<f64>,
    bits_per_s: Option<u64>,
    queue_bytes: Option<u64>,
}

impl Change {
    fn apply(&self, link: &mut Link) {
        link.delay = self.delay.unwrap_or(link.delay);
        link.jitter = self.jitter.unwrap_or(link.jitter);
        link.loss = self.loss.unwrap_or(link.loss);
        link.bits_per_s = self.bits_per_s.or(link.bits_per_s);
        link.queue_bytes = self.queue_bytes.unwrap_or(link.queue_bytes);
    }
}

impl File {
    fn check(self, path: &Path) -> Result<Links, LinksError> {
        let at = |place: &str| Checker { path: path.to_owned(), place: place.to_owned() };
        let uplink = at("uplink");
        let queue_bytes = uplink.queue(self.uplink.queue_kib)?.unwrap_or(u64::from(QUEUE_KIB_DEFAULT) * 1024);
        Ok(Links {
            seed: self.seed,
            edge_edge: at("edge-edge").link(&self.edge_edge)?,
            edge_cloud: at("edge-cloud").link(&self.edge_cloud)?,
            cloud_cloud: at("cloud-cloud").link(&self.cloud_cloud)?,
            edge_uplink: Uplink {
                bits_per_s: uplink.rate("edge_mbit_per_s", self.uplink.edge_mbit_per_s)?,
                queue_bytes,
            },
            cloud_uplink: Uplink {
                bits_per_s: uplink.rate("cloud_mbit_per_s", self.uplink.cloud_mbit_per_s)?,
                queue_bytes,
            },
            pairs: self
                .pair
                .into_iter()
                .map(|pair| at(&format!("pair {}-{}", pair.from, pair.to)).pair(pair))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// Turns the numbers of one table of the file into checked values.
struct Checker {
    path: PathBuf,
    place: String,
}

impl Checker {
    fn link(&self, entry: &LinkEntry) -> Result<Link, LinksError> {
        let mut link = Link {
            delay: self.millis("delay_ms", entry.delay_ms)?,
            jitter: self.millis("jitter_ms", entry.jitter_ms)?,
            loss: self.percent(entry.loss_percent)?,
            bits_per_s: self.rate("mbit_per_s", entry.mbit_per_s)?,
            ..Link::IDEAL
        };
        link.queue_bytes = self.queue(entry.queue_kib)?.unwrap_or(link.queue_bytes);
        Ok(link)
    }

    fn pair(&self, entry: PairEntry) -> Result<Pair, LinksError> {
        let change = Change {
            delay: entry.delay_ms.map(|value| self.millis("delay_ms", value)).transpose()?,
            jitter: entry.jitter_ms.map(|value| self.millis("jitter_ms", value)).transpose()?,
            loss: entry.loss_percent.map(|value| self.percent(value)).transpose()?,
            bits_per_s: self.rate("mbit_per_s", entry.mbit_per_s)?,
            queue_bytes: self.queue(entry.queue_kib)?,
        };
        Ok(Pair { from: entry.from, to: entry.to, one_way: entry.one_way, change })
    }

    fn millis(&self, key: &'static str, value: f64) -> Result<Duration, LinksError> {
        self.within(key, value, 0.0, DELAY_MS_MAX).map(|millis| Duration::from_secs_f64(millis / 1_000.0))
    }

    fn percent(&self, value: f64) -> Result<f64, LinksError> {
        self.within("loss_percent", value, 0.0, 100.0).map(|percent| percent / 100.0)
    }

    fn rate(&self, key: &'static str, value: Option<f64>) -> Result<Option<u64>, LinksError> {
        let Some(value) = value else { return Ok(None) };
        self.within(key, value, 0.001, RATE_MBIT_PER_S_MAX).map(|mbit| Some((mbit * 1_000_000.0) as u64))
    }

    fn queue(&self, value: Option<u32>) -> Result<Option<u64>, LinksError> {
        let Some(kib) = value else { return Ok(None) };
        self.within("queue_kib", f64::from(kib), f64::from(QUEUE_KIB_MIN), f64::from(QUEUE_KIB_MAX))?;
        Ok(Some(u64::from(kib) * 1024))
    }

    fn within(&self, key: &'static str, value: f64, least: f64, most: f64) -> Result<f64, LinksError> {
        // A NaN is in no range, so it is refused here too.
        if (least..=most).contains(&value) {
            return Ok(value);
        }
        let bounds = format!("between {least} and {most}");
        Err(LinksError::OutOfBounds { path: self.path.clone(), place: self.place.clone(), key, value, bounds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Links, LinksError> {
        Links::parse(text, Path::new("test.toml"))
    }

    fn with_pair(pair: &str) -> Result<Links, LinksError> {
        parse(&format!("{DEFAULT_LINKS_TOML}\n[[pair]]\n{pair}"))
    }

    #[test]
    fn the_default_links_are_slower_towards_the_cloud() {
        let links = Links::default();

        let near = links.between(&Node::edge("a"), &Node::edge("b"));
        let far = links.between(&Node::edge("a"), &Node::cloud("c"));

        assert_eq!(near.delay, Duration::from_millis(1));
        assert_eq!(far.delay, Duration::from_millis(15));
        assert_eq!((near.bits_per_s, far.bits_per_s), (Some(100_000_000), Some(50_000_000)));
    }

    #[test]
    fn a_pair_overrides_only_what_it_names_and_both_ways() {
        let links = with_pair("from = \"edge-1\"\nto = \"cloud-1\"\ndelay_ms = 60.0").unwrap();

        for (from, to) in [("edge-1", "cloud-1"), ("cloud-1", "edge-1")] {
            let link = links.between(&Node::edge(from), &Node::cloud(to));
            assert_eq!((link.delay, link.bits_per_s), (Duration::from_millis(60), Some(50_000_000)));
        }
    }

    #[test]
    fn a_one_way_pair_leaves_the_way_back_alone() {
        let links = with_pair("from = \"edge-1\"\nto = \"edge-2\"\none_way = true\nloss_percent = 100.0").unwrap();

        assert_eq!(links.between(&Node::edge("edge-1"), &Node::edge("edge-2")).loss, 1.0);
        assert_eq!(links.between(&Node::edge("edge-2"), &Node::edge("edge-1")).loss, 0.0);
    }

    #[test]
    fn a_misspelt_key_is_an_error_that_names_it() {
        let error = with_pair("from = \"edge-1\"\nto = \"edge-2\"\ndelay = 3.0").unwrap_err();

        assert!(error.to_string().contains("unknown field `delay`"), "{error}");
    }

    #[test]
    fn numbers_out_of_bounds_are_errors_with_place_and_fix() {
        for bad in ["delay_ms = -1.0", "delay_ms = nan", "loss_percent = 101.0", "mbit_per_s = 0.0", "queue_kib = 1"] {
            let error = with_pair(&format!("from = \"edge-1\"\nto = \"edge-2\"\n{bad}")).unwrap_err();

            assert!(matches!(error, LinksError::OutOfBounds { .. }), "{bad}: {error}");
            assert!(error.to_string().contains("pair edge-1-edge-2"), "{error}");
            assert!(error.hint().contains("between"), "{}", error.hint());
        }
    }

    #[test]
    fn a_pair_of_a_name_nobody_bears_is_found() {
        let links = with_pair("from = \"edge-1\"\nto = \"edge-9\"").unwrap();

        assert_eq!(links.stray_name(&[Node::edge("edge-1")]), Some("edge-9"));
        assert_eq!(links.stray_name(&[Node::edge("edge-1"), Node::edge("edge-9")]), None);
    }
}
