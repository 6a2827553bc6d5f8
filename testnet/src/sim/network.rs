//! The simulated network: delay, jitter, loss, partitions.
//!
//! A connection (`links.rs`) is a stream: what was sent over it arrives in order, or, when `loss` strikes, late by a
//! retransmission and everything behind it too, as on QUIC. What is sent into a partition is gone. Bulk (a task's input)
//! has streams of its own: it waits for the sender's uplink, first in, first out, and nothing waits for it.
//!
//! **Invariant:** a script changes the network; while events are handled it stays as it is.

use core::fmt;
use core::time::Duration;
use std::collections::{HashMap, HashSet};

use rand::{Rng, RngExt};
use shoal_protocol::time::micros;

/// The way between two peers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// One way.
    pub delay: Duration,
    /// Up to this much more.
    pub jitter: Duration,
    /// Share of messages that must be sent again, 0 to 1.
    pub loss: f64,
}

impl Link {
    /// A link with this one-way delay, in milliseconds, and nothing else.
    pub const fn ms(delay: u64) -> Self {
        Self { delay: Duration::from_millis(delay), jitter: Duration::ZERO, loss: 0.0 }
    }
}

/// A message that is disturbed comes up to so much later.
const DISTURBED_MAX: Duration = Duration::from_millis(500);

/// The one-way delay from a peer to another.
type Delays = Box<dyn Fn(usize, usize) -> Duration + Send + Sync>;

/// Whether two peers are at one site.
type Sites = Box<dyn Fn(usize, usize) -> bool + Send + Sync>;

/// What a site's own network carries.
const SITE_BITS_PER_S: u64 = 1_000_000_000;

/// All ways there are.
pub struct Network {
    default: Link,
    delays: Option<Delays>,
    links: HashMap<(usize, usize), Link>,
    cut: HashSet<(usize, usize)>,
    models_uplinks: bool,
    /// Who are at one site, where data does not leave by the uplink.
    sites: Option<Sites>,
    /// Share of messages that arrive twice.
    duplicated: f64,
    /// Share of messages that arrive later than what was sent after them.
    overtaken: f64,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("default", &self.default).finish_non_exhaustive()
    }
}

impl Network {
    pub(super) fn new(default: Link) -> Self {
        Self {
            default,
            delays: None,
            links: HashMap::new(),
            cut: HashSet::new(),
            models_uplinks: false,
            sites: None,
            duplicated: 0.0,
            overtaken: 0.0,
        }
    }

    /// Takes the one-way delay of every pair from a function, as of a measured matrix; jitter and loss stay.
    pub fn set_delays(&mut self, delays: impl Fn(usize, usize) -> Duration + Send + Sync + 'static) {
        self.delays = Some(Box::new(delays));
    }

    /// From now on bulk waits for, and takes, the sender's uplink.
    pub fn model_uplinks(&mut self) {
        self.models_uplinks = true;
    }

    /// From now on bulk between two peers at one site goes over its own network, and waits for nothing.
    pub fn set_sites(&mut self, at_one_site: impl Fn(usize, usize) -> bool + Send + Sync + 'static) {
        self.sites = Some(Box::new(at_one_site));
    }

    /// How long bulk takes within a site; nothing where it takes the uplink.
    pub(super) fn within_site(&self, from: usize, to: usize, bytes: u64) -> Option<Duration> {
        self.sites.as_ref().filter(|at_one_site| at_one_site(from, to)).map(|_| on_the_wire(bytes, SITE_BITS_PER_S))
    }

    /// Sets both directions between two peers.
    pub fn set_link(&mut self, a: usize, b: usize, link: Link) {
        self.links.insert((a, b), link);
        self.links.insert((b, a), link);
    }

    /// Cuts one direction.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    /// Mends one direction.
    pub fn mend(&mut self, from: usize, to: usize) {
        self.cut.remove(&(from, to));
    }

    /// Every link that has none of its own is like this from now on.
    pub fn set_default(&mut self, link: Link) {
        self.default = link;
    }

    /// From now on this share of the messages arrives twice. No stream does that; a protocol that stands it depends on no order
    /// between streams.
    pub fn duplicate(&mut self, share: f64) {
        self.duplicated = share;
    }

    /// Lets this share of the messages be overtaken by later ones.
    pub fn let_overtake(&mut self, share: f64) {
        self.overtaken = share;
    }

    /// How much later a message arrives than its stream would bring it, and how much later once more.
    pub(super) fn disturbance(&self, rng: &mut impl Rng) -> (Duration, Option<Duration>) {
        let mut later =
            |share: f64| (share > 0.0 && rng.random_bool(share)).then(|| DISTURBED_MAX.mul_f64(rng.random()));
        (later(self.overtaken).unwrap_or_default(), later(self.duplicated))
    }

    /// Cuts everything between two groups.
    pub fn partition(&mut self, left: &[usize], right: &[usize]) {
        for a in left {
            for b in right {
                self.cut(*a, *b);
                self.cut(*b, *a);
            }
        }
    }

    /// Mends every cut.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    fn link(&self, from: usize, to: usize) -> Link {
        if !self.links.is_empty()
            && let Some(link) = self.links.get(&(from, to))
        {
            return *link;
        }
        match &self.delays {
            Some(delays) => Link { delay: delays(from, to), ..self.default },
            None => self.default,
        }
    }

    /// The delay of one direction, without jitter and loss.
    pub(super) fn delay(&self, from: usize, to: usize) -> Duration {
        self.link(from, to).delay
    }

    pub(super) fn reachable(&self, a: usize, b: usize) -> bool {
        self.cut.is_empty() || (!self.cut.contains(&(a, b)) && !self.cut.contains(&(b, a)))
    }

    /// Whether bulk takes time.
    pub(super) fn models_uplinks(&self) -> bool {
        self.models_uplinks
    }

    /// How long a message travels; nothing when it is lost for good.
    pub(super) fn travel(&self, from: usize, to: usize, rng: &mut impl Rng) -> Option<Duration> {
        if !self.cut.is_empty() && self.cut.contains(&(from, to)) {
            return None;
        }
        let link = self.link(from, to);
        let mut delay = link.delay;
        if !link.jitter.is_zero() {
            delay += link.jitter.mul_f64(rng.random::<f64>());
        }
        while link.loss > 0.0 && rng.random_bool(link.loss.min(0.9)) {
            delay += link.delay * 2 + Duration::from_millis(25);
        }
        Some(delay)
    }
}

/// The time bytes take on a link, in whole microseconds, never too few.
pub(super) fn on_the_wire(bytes: u64, bits_per_s: u64) -> Duration {
    let micros = (u128::from(bytes) * 8_000_000).div_ceil(u128::from(bits_per_s.max(1)));
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// What `work` takes at this speed, in whole microseconds, never too few.
pub(super) fn run_time(work: Duration, speed: f64) -> Duration {
    Duration::from_micros((micros(work) as f64 / speed - 1e-6).ceil().max(0.0) as u64)
}
