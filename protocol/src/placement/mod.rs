//! Where a task should run: every candidate's cost, who is excluded, and which of the best is taken.
//!
//! ```text
//! sites ─ policy ─► cost of each build at each ─► cloud held back while the edge has room ─► soft choice among near ties
//! ```
//!
//! Deciding looks at a few numbers of every site; what a person may ask about is written down for the best only.
//!
//! **Invariant:** pure functions of what is known now; the chosen one is never the plain argmin of stale views.
//! **Not here:** asking and awarding. That is `task/requester/`.

#[cfg(test)]
mod builds_tests;
pub mod burst;
mod choice;
pub mod cost;
pub mod estimates;
pub mod explain;
pub mod inputs;
pub mod policy;
mod quotes;
mod ranking;
mod record;
pub mod word;

use core::time::Duration;
use std::collections::BTreeMap;

use self::cost::{Job, Terms};
use self::estimates::Estimates;
use self::explain::Cost;
use self::inputs::Lacking;
use self::policy::Exclusion;
pub use self::ranking::{Ranking, rank};
pub use self::record::Record;
use crate::blobs::Holders;
use crate::certificate::{Member, Role};
use crate::id::PeerId;
use crate::message::LoadDigest;
use crate::rules::Applied;

/// A peer that might run a task, as its home knows it now.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// Its certificate's content.
    pub member: &'a Member,
    /// Whether it is the task's home itself.
    pub is_home: bool,
    /// Round trip to it.
    pub rtt: Duration,
    /// The share of packets on the way that are lost.
    pub loss: f64,
    /// Its last digest.
    pub load: Option<&'a LoadDigest>,
    /// When a new task would start there: its digest, aged, with what was given to it since.
    pub start_in: Duration,
    /// How long ago it spoke of its load.
    pub heard_ago: Duration,
}

/// However much of it seems lost, so much of what is sent arrives: what loses more is soon taken for dead.
const ARRIVES_MIN: f64 = 0.1;

impl Site<'_> {
    /// What a link of this rate carries there: what is lost is sent again.
    pub fn goodput(&self, bits_per_s: u64) -> u64 {
        if self.loss <= 0.0 { bits_per_s } else { (bits_per_s as f64 * (1.0 - self.loss).max(ARRIVES_MIN)) as u64 }
    }
}

/// What the home knows of itself as a sender.
#[derive(Debug, Clone, Copy)]
pub struct HomeLink {
    /// Uplink in bits a second.
    pub uplink_bits_per_s: u64,
    /// What waits on it already.
    pub uplink_wait: Duration,
}

/// The decision's circumstances beside the candidates.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// What was learnt from earlier runs.
    pub estimates: &'a Estimates,
    /// Who holds which inputs already.
    pub holders: &'a Holders,
    /// The home as a sender.
    pub link: HomeLink,
    /// λ.
    pub lambda: f64,
    /// Time left to the deadline.
    pub deadline_in: Option<Duration>,
    /// Peers that failed or declined this task, which are not asked again.
    pub tried: &'a BTreeMap<PeerId, String>,
    /// It has waited long: where nobody else may run it, somebody may who was late or silent before.
    pub last_resort: bool,
    /// What would come after it, by where it runs, in milliseconds; nothing for a task by itself.
    pub ahead: &'a BTreeMap<PeerId, f64>,
    /// The business rules about it, where there are any.
    pub rules: Option<Applied<'a>>,
}

/// One candidate of one decision, as it is acted on and written down.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// Which peer.
    pub peer: PeerId,
    /// Its role.
    pub role: Role,
    /// The build that is cheapest there.
    pub variant: u8,
    /// What each build costs there, where the task allows several: for who asks, at no cost where nobody can.
    pub builds: Vec<(u8, Cost)>,
    /// Whether the module must be fetched or compiled first.
    pub must_prepare: bool,
    /// Its cost; for an excluded peer only where it could be reckoned.
    pub cost: Option<Cost>,
    /// The run would start this long after an award arrives.
    pub start_in: Duration,
    /// Round trip to it.
    pub rtt: Duration,
    /// How long the run would take.
    pub run: Duration,
    /// What it lacks of the input.
    pub lacking: Lacking,
    /// What one more byte of input costs here.
    pub cost_per_input_byte: f64,
    /// Whether a hard constraint forbids it. In a box: most are admissible, and thousands are remembered.
    pub exclusion: Option<Box<Exclusion>>,
}

impl Assessment {
    /// The objective's value; infinite for who cannot be reckoned.
    pub fn total(&self) -> f64 {
        self.cost.map_or(f64::INFINITY, |cost| cost.total())
    }
}

/// A candidate that is asked for an offer: its cost will be reckoned again from what it says.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// As it was believed to be.
    pub assessment: Assessment,
    job: Job,
    terms: Terms,
}

impl Candidate {
    /// The same candidate when the run would really start in `start_in`, module and all.
    #[must_use]
    pub fn starting_in(&self, start_in: Duration) -> Assessment {
        let terms = Terms { start_in, prepare: Duration::ZERO, ..self.terms };
        // What was offered is offered for this build.
        Assessment {
            cost: Some(cost::cost(&self.job, &terms)),
            start_in,
            builds: Vec::new(),
            ..self.assessment.clone()
        }
    }
}

#[cfg(test)]
pub(crate) fn test_load() -> LoadDigest {
    LoadDigest {
        sequence: 1,
        description: 0,
        start_in: Duration::ZERO,
        usual_start_in: Duration::ZERO,
        turnover: Duration::ZERO,
        later_start: [0; 6],
        arrivals_per_ks: 0,
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
        understands_labels: true,
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::estimates::Run;
    use super::word::Kept;
    use super::*;
    use crate::id::BlobId;
    use crate::task::spec::{BlobRef, CloudUse, OutputUse, Payload, TaskSpec, Variant};
    use crate::time::Time;

    const HOME: PeerId = PeerId([1; 32]);
    const NEAR: PeerId = PeerId([2; 32]);
    const CLOUD: PeerId = PeerId([3; 32]);

    struct World {
        members: Vec<Member>,
        loads: Vec<LoadDigest>,
        rtts_ms: Vec<u64>,
        estimates: Estimates,
        holders: Holders,
        tried: BTreeMap<PeerId, String>,
        ahead: BTreeMap<PeerId, f64>,
        last_resort: bool,
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
                holders: Holders::default(),
                tried: BTreeMap::new(),
                ahead: BTreeMap::new(),
                last_resort: false,
                deadline_in: None,
            }
        }

        fn ranked<T>(&self, spec: &TaskSpec, ask: impl FnOnce(&Ranking<'_>) -> T) -> T {
            let sites: Vec<_> = self
                .members
                .iter()
                .zip(&self.loads)
                .zip(&self.rtts_ms)
                .map(|((member, load), rtt)| Site {
                    member,
                    is_home: member.peer == HOME,
                    rtt: Duration::from_millis(*rtt),
                    loss: 0.0,
                    load: Some(load),
                    start_in: load.start_in,
                    heard_ago: Duration::ZERO,
                })
                .collect();
            let link = HomeLink { uplink_bits_per_s: 100_000_000, uplink_wait: Duration::ZERO };
            let circumstances = Circumstances {
                estimates: &self.estimates,
                holders: &self.holders,
                link,
                lambda: 1.0,
                deadline_in: self.deadline_in,
                tried: &self.tried,
                last_resort: self.last_resort,
                ahead: &self.ahead,
                rules: None,
            };
            ask(&rank(spec, &sites, &circumstances))
        }

        fn best(&self, spec: &TaskSpec) -> Assessment {
            self.ranked(spec, |ranking| ranking.recorded().remove(0))
        }

        fn chosen(&self, spec: &TaskSpec) -> Option<PeerId> {
            let mut rng = rand_pcg::Pcg32::seed_from_u64(1);
            self.ranked(spec, |ranking| ranking.choose(&mut rng)).map(|chosen| chosen.peer)
        }
    }

    fn spec() -> TaskSpec {
        TaskSpec { inputs: vec![Payload::inline(vec![0; 1000])], ..TaskSpec::of_module(BlobId([0; 32]), 1000) }
    }

    #[test]
    fn work_stays_home_while_home_is_free() {
        assert_eq!(World::new().chosen(&spec()), Some(HOME));
    }

    #[test]
    fn where_nobody_else_is_left_who_was_late_is_taken_and_who_lied_is_not() {
        let mut world = World::new();
        let mut away = spec();
        away.policy.role = Some(Role::Cloud);
        for _ in 0..3 {
            world.estimates.kept_word(Time::ZERO, CLOUD, Kept::Never);
        }
        assert_eq!(world.chosen(&away), None);

        world.last_resort = true;
        assert_eq!(world.chosen(&away), Some(CLOUD));
        assert_eq!(world.chosen(&spec()), Some(HOME), "others are left");
        for _ in 0..3 {
            world.estimates.kept_word(Time::ZERO, CLOUD, Kept::Lied);
        }
        assert_eq!(world.chosen(&away), None);
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
        assert_eq!(world.best(&spec).variant, 0, "half of the worth is too much for 50 ms");

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
        assert_eq!(learnt.best(&spec).variant, 1, "1 % is not too much for a second");
        spec.policy.loss_max = Some(0.001.into());
        assert_eq!(learnt.best(&spec).variant, 0, "unless it is forbidden");
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

    /// A task over a blob of 10 MB, which take 800 ms over the uplink of anybody here.
    fn over_a_blob(holder: PeerId) -> TaskSpec {
        let blob = BlobRef { id: BlobId([4; 32]), bytes: 10_000_000, holder };
        TaskSpec { inputs: vec![Payload::Blob(blob)], ..TaskSpec::of_module(BlobId([0; 32]), 1000) }
    }

    #[test]
    fn work_goes_to_its_input_where_that_is_cheaper_than_the_other_way_round() {
        let mut world = World::new();
        world.loads[0].start_in = Duration::from_millis(200);
        let spec = over_a_blob(HOME);
        assert_eq!(world.chosen(&spec), Some(HOME), "to move it takes longer than to wait");

        world.holders.note(NEAR, BlobId([4; 32]), 10_000_000);
        assert_eq!(world.chosen(&spec), Some(NEAR));

        let best = world.best(&spec);
        let held = Lacking { held_bytes: 10_000_000, ..Lacking::default() };
        assert_eq!((best.peer, best.lacking), (NEAR, held));
    }

    #[test]
    fn what_stays_where_it_is_made_costs_no_way_back() {
        let mut world = World::new();
        let (module, run) = (BlobId([0; 32]), Duration::from_millis(50));
        let (input_bytes, output_bytes) = (1_000, 10_000_000);
        world.estimates.learn(&Run { module, args: &[], input_bytes, output_bytes, run, speed: 1.0, expected: None });
        world.loads[0].start_in = Duration::from_millis(200);
        assert_eq!(world.chosen(&spec()), Some(HOME), "800 ms for the way back are more than the wait");

        let stays = TaskSpec { output: OutputUse::Keep(Duration::from_secs(60)), ..spec() };

        assert_eq!(world.chosen(&stays), Some(NEAR));
    }

    #[test]
    fn what_home_does_not_hold_crosses_the_uplink_of_who_does() {
        let mut world = World::new();
        let lacking = |world: &World, peer| {
            let all = world.ranked(&over_a_blob(NEAR), |ranking| ranking.recorded());
            all.into_iter().find(|assessment| assessment.peer == peer).unwrap().lacking
        };
        let way = |bits_per_s| Duration::from_millis(2) + cost::transmission(10_000_000, Some(bits_per_s));
        let from_near = Lacking { elsewhere: way(100_000_000), ..Lacking::default() };
        assert_eq!([HOME, CLOUD].map(|peer| lacking(&world, peer)), [from_near; 2]);

        world.loads[2].uplink_bits_per_s = 1_000_000_000;
        world.holders.note(CLOUD, BlobId([4; 32]), 10_000_000);
        let way = Duration::from_millis(30) + cost::transmission(10_000_000, Some(1_000_000_000));
        assert_eq!(lacking(&world, HOME), Lacking { elsewhere: way, ..Lacking::default() }, "the faster of the two");
        assert_eq!(world.chosen(&over_a_blob(NEAR)), Some(NEAR));
    }

    #[test]
    fn what_comes_after_a_stage_counts_where_it_runs() {
        let mut world = World::new();
        world.ahead = BTreeMap::from([(HOME, 400.0), (NEAR, 0.0), (CLOUD, 400.0)]);

        let best = world.best(&spec());

        assert_eq!(best.peer, NEAR);
        let there = world.ranked(&spec(), |ranking| ranking.recorded());
        let home = there.iter().find(|it| it.peer == HOME).unwrap().cost.unwrap();
        assert_eq!((home.ahead, home.total() - home.ahead < 60.0), (400.0, true));
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
        let mut rng = rand_pcg::Pcg32::seed_from_u64(1);

        let picks = world.ranked(&spec(), |ranking| {
            (0..100).filter_map(|_| ranking.choose(&mut rng)).filter(|chosen| chosen.peer == NEAR).count()
        });

        assert!((20..80).contains(&picks));
    }
}
