//! Where a task should run: every candidate's cost, who is excluded, and which of the best is taken.
//!
//! ```text
//! sites ─ policy ─► cost of each build at each ─► cloud held back while the edge has room ─► soft choice among near ties
//! ```
//!
//! **Invariant:** pure functions of what is known now; the chosen one is never the plain argmin of stale views.
//! **Not here:** asking and awarding. That is `task/requester.rs`.

pub mod cost;
pub mod estimates;
pub mod explain;
pub mod policy;
mod record;

use core::time::Duration;
use std::collections::BTreeMap;

use rand::{Rng, RngExt};

use self::cost::{Job, Terms};
use self::estimates::{Estimates, Known};
use self::explain::Cost;
use self::policy::Exclusion;
pub use self::record::Record;
use crate::certificate::{Member, Role};
use crate::id::PeerId;
use crate::message::LoadDigest;
use crate::task::spec::{CloudUse, TaskSpec, Variant};
use crate::time::millis;

/// Candidates that cost this much more than the best, in milliseconds, are as good, however short the task.
const TIE_MS: f64 = 0.5;
/// The same relatively, in a calm neighbourhood.
const TIE_SHARE: f64 = 0.05;
/// The same for each millisecond that a task usually waits in the neighbourhood…
const DOUBT: f64 = 3.0;
/// …up to this share of the best cost: what a wrong choice may lose must be in proportion to the task.
const DOUBT_SHARE_MAX: f64 = 0.5;
/// Nobody is chosen who costs more than the best by this many widths of the choice.
const WIDTHS_MAX: f64 = 3.0;
/// The best candidates whose usual wait says how busy the neighbourhood is.
const DOUBT_OF: usize = 8;
/// With `cloud = fallback` the edge has room while somebody there starts the task within this time.
const EDGE_ROOM_WAIT: Duration = Duration::from_millis(50);
/// A digest older than this says little of a busy peer.
const SILENT: Duration = Duration::from_secs(5);
/// A peer that makes a new task wait longer than this counts as busy.
const BUSY_WAIT: Duration = Duration::from_millis(3);

/// A peer that might run a task, as its home knows it now.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// Its certificate's content.
    pub member: &'a Member,
    /// Whether it is the task's home itself.
    pub is_home: bool,
    /// Round trip to it.
    pub rtt: Duration,
    /// Its last digest.
    pub load: Option<&'a LoadDigest>,
    /// When a new task would start there: its digest, aged, with what was given to it since.
    pub start_in: Duration,
    /// How long ago it spoke of its load.
    pub heard_ago: Duration,
}

/// What the home knows of itself as a sender.
#[derive(Debug, Clone, Copy)]
pub struct HomeLink {
    /// Uplink in bits a second.
    pub uplink_bits_per_s: u64,
    /// What waits on it already.
    pub uplink_wait: Duration,
}

/// One candidate of one decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// Which peer.
    pub peer: PeerId,
    /// Its role.
    pub role: Role,
    /// The build that is cheapest there.
    pub variant: u8,
    /// Its cost; for an excluded peer only where it could be reckoned.
    pub cost: Option<Cost>,
    /// The run would start this long after an award arrives.
    pub start_in: Duration,
    /// Round trip to it.
    pub rtt: Duration,
    /// How long ago it spoke of its load.
    pub heard_ago: Duration,
    /// Whether it is the task's home.
    pub is_home: bool,
    /// Its start time on average; nothing at home, which is known.
    pub usual: Duration,
    /// How long the run would take.
    pub run: Duration,
    /// Whether the module must be fetched or compiled first.
    pub must_prepare: bool,
    /// What one more byte of input costs here.
    pub cost_per_input_byte: f64,
    /// Whether a hard constraint forbids it.
    pub exclusion: Option<Exclusion>,
    /// What the cost was reckoned from, while it may have to be reckoned again.
    pub basis: Option<(Job, Terms)>,
}

impl Assessment {
    fn excluded(site: &Site<'_>, exclusion: Exclusion) -> Self {
        Self {
            peer: site.member.peer,
            role: site.member.role,
            variant: 0,
            cost: None,
            start_in: site.start_in,
            rtt: site.rtt,
            heard_ago: site.heard_ago,
            is_home: site.is_home,
            usual: Duration::ZERO,
            run: Duration::ZERO,
            must_prepare: false,
            cost_per_input_byte: 0.0,
            exclusion: Some(exclusion),
            basis: None,
        }
    }

    /// The objective's value; infinite for who cannot be reckoned.
    pub fn total(&self) -> f64 {
        self.cost.map_or(f64::INFINITY, |cost| cost.total())
    }

    /// The same candidate when the run would really start in `start_in`, module and all.
    #[must_use]
    pub fn starting_in(&self, start_in: Duration) -> Self {
        let cost = self.basis.map(|(job, terms)| {
            let terms = Terms { start_in, prepare: Duration::ZERO, ..terms };
            cost::cost(&job, &terms)
        });
        Self { cost: cost.or(self.cost), start_in, ..self.clone() }
    }

    fn is_admissible(&self) -> bool {
        self.exclusion.is_none()
    }
}

/// The decision's circumstances beside the candidates.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// What was learnt from earlier runs.
    pub estimates: &'a Estimates,
    /// The home as a sender.
    pub link: HomeLink,
    /// λ.
    pub lambda: f64,
    /// Time left to the deadline.
    pub deadline_in: Option<Duration>,
    /// Peers that failed or declined this task, which are not asked again.
    pub tried: &'a BTreeMap<PeerId, String>,
}

/// Every candidate with its cost or the reason of its exclusion; the cheapest admissible one first, excluded ones last.
pub fn assess(spec: &TaskSpec, sites: &[Site<'_>], circumstances: &Circumstances<'_>) -> Vec<Assessment> {
    let builds = builds(spec, circumstances);
    let mut assessments: Vec<_> =
        sites.iter().map(|site| Some(assess_site(spec, &builds, site, circumstances))).collect();
    hold_back_cloud(spec, sites, &mut assessments);
    // Sorted by small keys: an assessment is hundreds of bytes.
    let key = |(index, assessment): (usize, &Option<Assessment>)| {
        let assessment = assessment.as_ref()?;
        Some((!assessment.is_admissible(), assessment.total(), assessment.peer, index))
    };
    let mut order: Vec<_> = assessments.iter().enumerate().filter_map(key).collect();
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
    order.into_iter().filter_map(|(_, _, _, index)| assessments.get_mut(index)?.take()).collect()
}

/// A build that the task allows, and what is the same of it at every site.
struct Build<'a> {
    index: u8,
    variant: &'a Variant,
    known: Known<'a>,
    job: Job,
}

fn builds<'a>(spec: &'a TaskSpec, circumstances: &Circumstances<'a>) -> Vec<Build<'a>> {
    let allowed = spec.policy.loss_max.map_or(1.0, f64::from);
    let input_bytes = spec.input_bytes();
    (0u8..)
        .zip(&spec.variants)
        .filter(|(_, variant)| variant.loss <= allowed)
        .map(|(index, variant)| {
            let known = circumstances.estimates.of(variant.module);
            let job = Job {
                input_bytes,
                output_bytes: known.output_bytes(),
                work: circumstances.estimates.work(spec, variant),
                loss: variant.loss,
                deadline_in: circumstances.deadline_in,
                lambda: circumstances.lambda,
            };
            Build { index, variant, known, job }
        })
        .collect()
}

fn assess_site(
    spec: &TaskSpec,
    builds: &[Build<'_>],
    site: &Site<'_>,
    circumstances: &Circumstances<'_>,
) -> Assessment {
    if let Err(exclusion) = policy::check(spec, site.member, site.is_home, site.load) {
        return Assessment::excluded(site, exclusion);
    }
    if circumstances.tried.contains_key(&site.member.peer) {
        return Assessment::excluded(site, Exclusion::AlreadyTried);
    }
    let Some(load) = site.load else { return Assessment::excluded(site, Exclusion::LoadUnknown) };
    let link = &circumstances.link;
    let uplink = (!site.is_home).then_some(link.uplink_bits_per_s);
    let quote_error = circumstances.estimates.quote_error(site.member.peer);
    builds
        .iter()
        .map(|build| {
            let job = build.job;
            let terms = Terms {
                start_in: site.start_in,
                prepare: build.known.prepare(site.member.peer, build.variant, uplink),
                rtt: site.rtt,
                uplink_wait: if site.is_home { Duration::ZERO } else { link.uplink_wait },
                uplink_bits_per_s: uplink,
                downlink_bits_per_s: (!site.is_home).then_some(load.uplink_bits_per_s),
                speed: load.speed,
                quote_error,
                weights: load.weights,
                price: load.price,
            };
            let per_byte_ms = uplink.map_or(0.0, |rate| 8_000.0 / rate.max(1) as f64);
            Assessment {
                peer: site.member.peer,
                role: site.member.role,
                variant: build.index,
                cost: Some(cost::cost(&job, &terms)),
                start_in: terms.start_in.max(terms.prepare),
                rtt: site.rtt,
                heard_ago: site.heard_ago,
                is_home: site.is_home,
                usual: if site.is_home { Duration::ZERO } else { load.usual_start_in },
                run: cost::run_time(job.work, load.speed),
                must_prepare: !terms.prepare.is_zero(),
                cost_per_input_byte: job.lambda * terms.weights.transfer * per_byte_ms,
                exclusion: None,
                basis: Some((job, terms)),
            }
        })
        .min_by(|a, b| a.total().total_cmp(&b.total()))
        .unwrap_or_else(|| Assessment::excluded(site, Exclusion::LossTooGreat))
}

/// `cloud = fallback`: while an edge peer starts the task soon and its answer is worth no less, cloud peers are not asked.
fn hold_back_cloud(spec: &TaskSpec, sites: &[Site<'_>], assessments: &mut [Option<Assessment>]) {
    if spec.policy.cloud != CloudUse::Fallback || spec.policy.role == Some(Role::Cloud) || spec.policy.peer.is_some() {
        return;
    }
    // A deadline missed, or met only by a poorer build, is not room.
    let worth_less = |assessment: &Assessment| assessment.cost.map_or(f64::INFINITY, |cost| cost.loss);
    let in_cloud = |assessment: &&Assessment| assessment.is_admissible() && assessment.role == Role::Cloud;
    let cloud = assessments.iter().flatten().filter(in_cloud).map(worth_less).fold(f64::INFINITY, f64::min);
    let edge_has_room = sites.iter().zip(assessments.iter().flatten()).any(|(site, assessment)| {
        let is_edge = assessment.is_admissible() && assessment.role == Role::Edge;
        is_edge && site.start_in <= EDGE_ROOM_WAIT && worth_less(assessment) <= cloud
    });
    if !edge_has_room {
        return;
    }
    for (site, assessment) in sites.iter().zip(assessments.iter_mut().flatten()) {
        if assessment.is_admissible() && assessment.role == Role::Cloud && !site.is_home {
            assessment.exclusion = Some(Exclusion::EdgeHasRoom);
        }
    }
}

/// Those a task may be awarded to, cheapest first.
pub fn admissible(assessments: &[Assessment]) -> &[Assessment] {
    let end = assessments.iter().position(|assessment| !assessment.is_admissible()).unwrap_or(assessments.len());
    assessments.get(..end).unwrap_or_default()
}

/// Whether to ask for offers instead of trusting digests: some may make the task wait, and the best has been silent.
///
/// An offer costs a round trip, which is more than a fresh digest's error does (`placement.md`, and the ablation in
/// `docs/benchmarks.md`): so only homes that seldom place a task, and therefore hear little, ask.
pub fn needs_offers(admissible: &[Assessment]) -> bool {
    let waits = |assessment: &Assessment| assessment.start_in > BUSY_WAIT && !assessment.must_prepare;
    let busy = admissible.iter().filter(|assessment| waits(assessment)).count();
    admissible.first().is_some_and(|best| !best.is_home && best.heard_ago > SILENT)
        && admissible.len() > 1
        && busy * 2 > admissible.len()
}

/// Picks among those nearly as good as the best at random, the better the likelier; home when it is the best.
///
/// What is believed of others is old, and every home believes much the same: all of them taking the best would make it
/// the worst. The busier the candidates usually are, the less is known of their queues now, and the wider the choice.
pub fn choose<'a>(admissible: &'a [Assessment], rng: &mut impl Rng) -> Option<&'a Assessment> {
    let best = admissible.first()?;
    if best.is_home {
        return Some(best);
    }
    let doubtful = admissible.iter().take(DOUBT_OF);
    let doubt = doubtful.clone().map(|candidate| millis(candidate.usual)).sum::<f64>() / doubtful.count() as f64;
    let width = best.total() * TIE_SHARE + (DOUBT * doubt).min(DOUBT_SHARE_MAX * best.total()) + TIE_MS;
    let weight = |candidate: &Assessment| {
        let over = (candidate.total() - best.total()) / width;
        let limit = if candidate.is_home { 0.1 } else { WIDTHS_MAX };
        if over > limit { 0.0 } else { (-over).exp() }
    };
    let mut left = rng.random::<f64>() * admissible.iter().map(weight).sum::<f64>();
    let mut candidates = admissible.iter();
    candidates
        .find(|candidate| {
            left -= weight(candidate);
            left < 0.0
        })
        .or(Some(best))
}

#[cfg(test)]
pub(crate) fn test_load() -> LoadDigest {
    LoadDigest {
        sequence: 1,
        start_in: Duration::ZERO,
        usual_start_in: Duration::ZERO,
        turnover: Duration::ZERO,
        cores: 2,
        running: 0,
        queued: 0,
        queue_max: 128,
        cpu_percent: 0,
        speed: 1.0,
        memory_free_bytes: 512 << 20,
        memory_bytes: 512 << 20,
        uplink_bits_per_s: 100_000_000,
        weights: crate::config::Weights::default(),
        price: 0.0,
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::estimates::Run;
    use super::*;
    use crate::id::BlobId;
    use crate::task::spec::{Payload, Variant};

    const HOME: PeerId = PeerId([1; 32]);
    const NEAR: PeerId = PeerId([2; 32]);
    const CLOUD: PeerId = PeerId([3; 32]);

    struct World {
        members: Vec<Member>,
        loads: Vec<LoadDigest>,
        rtts_ms: Vec<u64>,
        estimates: Estimates,
        tried: BTreeMap<PeerId, String>,
        deadline_in: Option<Duration>,
    }

    impl World {
        fn new() -> Self {
            let member = |peer, role| Member { peer, name: "x".into(), role, labels: BTreeMap::new() };
            let mut estimates = Estimates::default();
            for peer in [HOME, NEAR, CLOUD] {
                estimates.holds(peer, BlobId([0; 32]));
            }
            let cloud = LoadDigest { speed: 4.0, ..test_load() };
            Self {
                members: vec![member(HOME, Role::Edge), member(NEAR, Role::Edge), member(CLOUD, Role::Cloud)],
                loads: vec![test_load(), test_load(), cloud],
                rtts_ms: vec![0, 2, 30],
                estimates,
                tried: BTreeMap::new(),
                deadline_in: None,
            }
        }

        fn assess(&self, spec: &TaskSpec) -> Vec<Assessment> {
            let sites: Vec<_> = self
                .members
                .iter()
                .zip(&self.loads)
                .zip(&self.rtts_ms)
                .map(|((member, load), rtt)| Site {
                    member,
                    is_home: member.peer == HOME,
                    rtt: Duration::from_millis(*rtt),
                    load: Some(load),
                    start_in: load.start_in,
                    heard_ago: Duration::ZERO,
                })
                .collect();
            let link = HomeLink { uplink_bits_per_s: 100_000_000, uplink_wait: Duration::ZERO };
            let circumstances = Circumstances {
                estimates: &self.estimates,
                link,
                lambda: 1.0,
                deadline_in: self.deadline_in,
                tried: &self.tried,
            };
            assess(spec, &sites, &circumstances)
        }

        fn chosen(&self, spec: &TaskSpec) -> Option<PeerId> {
            let assessments = self.assess(spec);
            let mut rng = rand_pcg::Pcg32::seed_from_u64(1);
            choose(admissible(&assessments), &mut rng).map(|assessment| assessment.peer)
        }
    }

    fn spec() -> TaskSpec {
        TaskSpec { inputs: vec![Payload::Inline(vec![0; 1000])], ..TaskSpec::of_module(BlobId([0; 32]), 1000) }
    }

    #[test]
    fn work_stays_home_while_home_is_free() {
        assert_eq!(World::new().chosen(&spec()), Some(HOME));
    }

    #[test]
    fn work_moves_to_the_neighbour_when_home_is_busy_and_to_the_cloud_when_the_edge_is_full() {
        let mut world = World::new();
        world.loads[0].start_in = Duration::from_millis(400);
        assert_eq!(world.chosen(&spec()), Some(NEAR));

        world.loads[1].start_in = Duration::from_millis(400);
        assert_eq!(world.chosen(&spec()), Some(CLOUD));
    }

    #[test]
    fn cloud_is_held_back_by_fallback_only_while_the_edge_is_in_time() {
        let mut world = World::new();
        // 50 ms of work: the cloud needs 12.5 + 30 ms, home 50.
        assert_eq!(world.chosen(&spec()), Some(HOME));
        let allow =
            TaskSpec { policy: crate::task::spec::Policy { cloud: CloudUse::Allow, ..spec().policy }, ..spec() };
        assert_eq!(world.chosen(&allow), Some(CLOUD));
        world.deadline_in = Some(Duration::from_millis(45));
        assert_eq!(world.chosen(&spec()), Some(CLOUD));
    }

    #[test]
    fn a_smaller_build_wins_where_the_time_saved_is_worth_its_loss() {
        let world = World::new();
        let mut spec = spec();
        let small = Variant { name: "int8".into(), module: BlobId([9; 32]), module_bytes: 0, loss: 0.5 };
        spec.variants.push(small);
        assert_eq!(world.assess(&spec)[0].variant, 0, "half of the worth is too much for 50 ms");

        let mut learnt = World::new();
        for (module, ms) in [(BlobId([0; 32]), 1_000), (BlobId([9; 32]), 1)] {
            let run = Duration::from_millis(ms);
            learnt.estimates.learn(&Run {
                module,
                args: &[],
                input_bytes: 1_000,
                output_bytes: 0,
                run,
                speed: 1.0,
                expected: None,
            });
        }
        spec.variants[1].loss = 0.01;
        assert_eq!(learnt.assess(&spec)[0].variant, 1, "1 % is not too much for a second");
        spec.policy.loss_max = Some(0.001.into());
        assert_eq!(learnt.assess(&spec)[0].variant, 0, "unless it is forbidden");
    }

    #[test]
    fn an_edge_that_meets_the_deadline_only_with_a_poorer_build_has_no_room() {
        let mut world = World::new();
        let mut spec = spec();
        spec.variants.push(Variant { name: "int8".into(), module: BlobId([9; 32]), module_bytes: 0, loss: 0.03 });
        for (module, ms) in [(BlobId([0; 32]), 100), (BlobId([9; 32]), 10)] {
            let run = Duration::from_millis(ms);
            world.estimates.learn(&Run {
                module,
                args: &[],
                input_bytes: 1_000,
                output_bytes: 0,
                run,
                speed: 1.0,
                expected: None,
            });
            [HOME, NEAR, CLOUD].iter().for_each(|peer| world.estimates.holds(*peer, module));
        }
        // 25 ms of work and 30 ms of way in the cloud; 100 ms at the edge, or 10 with a loss worth 300.
        world.deadline_in = Some(Duration::from_millis(60));

        assert_eq!(world.chosen(&spec), Some(CLOUD));
    }

    #[test]
    fn equal_peers_share_the_work() {
        let mut world = World::new();
        world.loads[0].start_in = Duration::from_secs(9);
        let twin = Member { peer: PeerId([7; 32]), ..world.members[1].clone() };
        world.members.push(twin);
        world.loads.push(test_load());
        world.rtts_ms.push(2);
        world.estimates.holds(PeerId([7; 32]), BlobId([0; 32]));
        let assessments = world.assess(&spec());
        let mut rng = rand_pcg::Pcg32::seed_from_u64(1);

        let picks = (0..100).filter_map(|_| choose(admissible(&assessments), &mut rng)).filter(|a| a.peer == NEAR);

        assert!((20..80).contains(&picks.count()));
    }
}
