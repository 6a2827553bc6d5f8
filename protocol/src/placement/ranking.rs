//! Every candidate of one decision in the order of cost.
//!
//! **Invariant:** nothing is allocated for a single candidate until somebody asks about it.

use core::time::Duration;

use super::cost::{self, Job, Terms};
use super::estimates::Known;
use super::explain::AppliedRule;
use super::inputs::{Inputs, Lacking};
use super::policy::{self, Exclusion};
use super::{Assessment, Candidate, Circumstances, Site};
use crate::certificate::Role;
use crate::config::RECORDED_CANDIDATES_MAX;
use crate::id::PeerId;
use crate::message::LoadDigest;
use crate::residency::Denial;
use crate::rules::{Applied, Broken, Why};
use crate::task::spec::{CloudUse, TaskSpec, Variant};
use crate::time::millis;

/// With `cloud = fallback` the edge has room while somebody there starts the task within this time.
const EDGE_ROOM_WAIT: Duration = Duration::from_millis(50);

/// The candidates of one decision: who may run the task, the cheapest first, and then who may not.
#[derive(Debug)]
pub struct Ranking<'a> {
    spec: &'a TaskSpec,
    pub(super) sites: &'a [Site<'a>],
    circumstances: &'a Circumstances<'a>,
    builds: Vec<Build<'a>>,
    inputs: Inputs<'a>,
    places: Vec<Place>,
    admissible: usize,
    /// Why what the task writes elsewhere could not come home, where it is to.
    stays: Option<Denial>,
    /// Nobody is left out for having been late.
    is_last_resort: bool,
}

/// A build that the task allows, and what is the same of it at every site.
#[derive(Debug)]
struct Build<'a> {
    index: u8,
    variant: &'a Variant,
    known: Known<'a>,
    job: Job,
}

/// One site in the order of cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) total: f64,
    loss: f64,
    /// Of the sites.
    pub(super) site: u32,
    /// Of the builds.
    build: u8,
    standing: Standing,
}

impl Place {
    /// By standing, then by cost, then by site; one number, since most of the time of a sort is spent comparing.
    fn order(&self) -> u128 {
        // Costs are not negative: their bits are in their order.
        (self.standing as u128) << 96 | u128::from(self.total.max(0.0).to_bits()) << 32 | u128::from(self.site)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Admissible,
    /// `cloud = fallback`, and the edge has room.
    HeldBack,
    Excluded,
}

/// Ranks every site for a task.
pub fn rank<'a>(spec: &'a TaskSpec, sites: &'a [Site<'a>], circumstances: &'a Circumstances<'a>) -> Ranking<'a> {
    let mut ranking = Ranking {
        spec,
        sites,
        circumstances,
        builds: builds(spec, circumstances),
        inputs: Inputs::of(spec, sites, &circumstances.link, circumstances.holders),
        places: Vec::with_capacity(sites.len()),
        admissible: 0,
        stays: sites.iter().find(|site| site.is_home).and_then(|home| policy::output_stays(spec, home.member)),
        is_last_resort: false,
    };
    ranking.place_all();
    if circumstances.last_resort && ranking.admissible == 0 && ranking.held_up().is_none() {
        ranking.is_last_resort = true;
        ranking.place_all();
    }
    ranking
}

fn builds<'a>(spec: &'a TaskSpec, circumstances: &Circumstances<'a>) -> Vec<Build<'a>> {
    let allowed = spec.policy.loss_max.map_or(1.0, f64::from);
    (0u8..)
        .zip(&spec.variants)
        .filter(|(_, variant)| variant.loss <= allowed)
        .map(|(index, variant)| {
            let known = circumstances.estimates.of(variant.module);
            let job = Job {
                // What stays where it is made does not come back.
                output_bytes: if spec.output.lease().is_some() { 0 } else { known.output_bytes() },
                work: circumstances.estimates.work(spec, variant),
                loss: variant.loss,
                deadline_in: circumstances.deadline_in,
                lambda: circumstances.lambda,
            };
            Build { index, variant, known, job }
        })
        .collect()
}

impl<'a> Ranking<'a> {
    /// Those the task may be awarded to, cheapest first.
    pub(super) fn admissible(&self) -> &[Place] {
        self.places.get(..self.admissible).unwrap_or_default()
    }

    /// λ that was used.
    pub fn lambda(&self) -> f64 {
        self.circumstances.lambda
    }

    /// The business rules about the task, as a record keeps them.
    pub fn rules_applied(&self) -> Vec<AppliedRule> {
        self.circumstances.rules.as_ref().map(Applied::explained).unwrap_or_default()
    }

    /// How many may run it.
    pub fn admissible_count(&self) -> usize {
        self.admissible
    }

    /// The cheapest of those that may run it.
    pub fn best(&self) -> Option<&'a Site<'a>> {
        self.site(self.admissible().first()?)
    }

    pub(super) fn site(&self, place: &Place) -> Option<&'a Site<'a>> {
        self.sites.get(place.site as usize)
    }

    /// The best of all candidates, as a decision's record keeps them; who is excluded comes last.
    pub fn recorded(&self) -> Vec<Assessment> {
        self.places.iter().take(RECORDED_CANDIDATES_MAX).filter_map(|place| self.assessment(place)).collect()
    }

    /// The best of those that may run it, to be asked for offers.
    pub fn candidates(&self) -> Vec<Candidate> {
        self.admissible().iter().take(RECORDED_CANDIDATES_MAX).filter_map(|place| self.candidate(place)).collect()
    }

    /// One of those that may run it.
    pub fn candidate_at(&self, peer: PeerId) -> Option<Candidate> {
        let is_there = |place: &&Place| self.site(place).is_some_and(|site| site.member.peer == peer);
        self.candidate(self.admissible().iter().find(is_there)?)
    }

    /// Why sites are excluded, one reason for each.
    pub fn exclusions(&self) -> impl Iterator<Item = Exclusion> {
        self.places.iter().filter_map(|place| self.exclusion(place))
    }

    fn place_all(&mut self) {
        self.places.clear();
        for (index, site) in (0u32..).zip(self.sites) {
            self.places.push(self.place(index, site));
        }
        self.hold_back_cloud();
        self.places.sort_unstable_by_key(Place::order);
        self.admissible = self.places.partition_point(|place| place.standing == Standing::Admissible);
    }

    fn place(&self, index: u32, site: &Site<'_>) -> Place {
        let excluded =
            Place { total: f64::INFINITY, loss: f64::INFINITY, site: index, build: 0, standing: Standing::Excluded };
        if self.forbids(site).is_some() {
            return excluded;
        }
        let Some(load) = site.load else { return excluded };
        let Some(quote_error) = self.believed_quote_error(site) else { return excluded };
        let lacking = self.inputs.lacking(site);
        if self.breaks(site, load, &lacking).is_some() {
            return excluded;
        }
        let mut best = excluded;
        for (build, of) in (0u8..).zip(&self.builds) {
            let cost = cost::cost(&of.job, &self.terms(of, site, load, quote_error, &lacking));
            if cost.total() < best.total {
                best = Place { total: cost.total(), loss: cost.loss, build, standing: Standing::Admissible, ..best };
            }
        }
        best
    }

    /// What excludes a site before any build is looked at.
    fn forbids(&self, site: &Site<'_>) -> Option<Exclusion> {
        let checked = policy::check(self.spec, site.member, site.is_home, site.load).err();
        // That a load is not known yet passes; what else there is stays.
        if checked.as_ref().is_some_and(|exclusion| *exclusion != Exclusion::LoadUnknown) {
            return checked;
        }
        if let Some(denial) = self.stays.as_ref().filter(|_| !site.is_home) {
            return Some(Exclusion::OutputStays(denial.clone()));
        }
        if self.circumstances.tried.contains_key(&site.member.peer) {
            return Some(Exclusion::AlreadyTried);
        }
        checked
    }

    /// The business rule that the site breaks.
    fn breaks(&self, site: &Site<'_>, load: &LoadDigest, lacking: &Lacking) -> Option<Broken> {
        let rules = self.circumstances.rules.as_ref()?;
        rules.broken_by(site.member, site.is_home, load.price, lacking.from_home_bytes)
    }

    /// How long until a share of the uplink is free again, where nothing else keeps the task from any place.
    pub fn held_up(&self) -> Option<Duration> {
        self.circumstances.rules.as_ref()?;
        let waits = self.sites.iter().filter(|site| self.forbids(site).is_none()).filter_map(|site| {
            match self.breaks(site, site.load?, &self.inputs.lacking(site))?.why {
                Why::Share(wait) => Some(wait),
                Why::Tier | Why::Price(_) | Why::WanHours | Why::CloudHours | Why::Residency => None,
            }
        });
        waits.min().filter(|_| self.admissible == 0)
    }

    /// How much longer runs take there than is said; nothing for who is not believed, unless its user named it.
    fn believed_quote_error(&self, site: &Site<'_>) -> Option<f64> {
        let (estimates, peer) = (self.circumstances.estimates, site.member.peer);
        let believed = match self.is_last_resort {
            true => estimates.last_quote_error(peer),
            false => estimates.trusted_quote_error(peer),
        };
        if self.spec.policy.peer.is_some() { believed.or_else(|| Some(estimates.quote_error(peer))) } else { believed }
    }

    fn exclusion(&self, place: &Place) -> Option<Exclusion> {
        match place.standing {
            Standing::Admissible => None,
            Standing::HeldBack => Some(Exclusion::EdgeHasRoom),
            Standing::Excluded => {
                let site = self.site(place)?;
                let is_believed = || self.believed_quote_error(site).is_some();
                let other = || if is_believed() { Exclusion::LossTooGreat } else { Exclusion::WordBroken };
                let of_rule = || {
                    let broken = self.breaks(site, site.load?, &self.inputs.lacking(site))?;
                    Some(self.circumstances.rules.as_ref()?.exclusion(&broken, site.member))
                };
                Some(self.forbids(site).or_else(of_rule).unwrap_or_else(other))
            }
        }
    }

    fn terms(
        &self,
        build: &Build<'_>,
        site: &Site<'_>,
        load: &LoadDigest,
        quote_error: f64,
        lacking: &Lacking,
    ) -> Terms {
        let link = &self.circumstances.link;
        let uplink = (!site.is_home).then(|| site.goodput(link.uplink_bits_per_s));
        let mut weights = load.weights;
        if let Some(rules) = &self.circumstances.rules {
            weights.transfer *= rules.transfer_weight(site.member);
        }
        Terms {
            start_in: site.start_in,
            prepare: build.known.prepare(site.member.peer, build.variant, uplink),
            rtt: site.rtt,
            input_bytes: lacking.from_home_bytes,
            elsewhere: lacking.elsewhere,
            uplink_wait: if site.is_home { Duration::ZERO } else { link.uplink_wait },
            uplink_bits_per_s: uplink,
            downlink_bits_per_s: (!site.is_home).then(|| site.goodput(load.uplink_bits_per_s)),
            speed: load.speed,
            quote_error,
            weights,
            price: load.price,
            ahead_ms: self.circumstances.ahead.get(&site.member.peer).copied().unwrap_or_default(),
        }
    }

    /// Whether a round trip of talk with the best of them would make the task late, or later.
    pub(super) fn has_no_time_to_ask(&self) -> bool {
        let Some(deadline) = self.circumstances.deadline_in else { return false };
        let best = self.admissible().first().and_then(|place| self.basis(place));
        best.is_some_and(|(build, terms)| {
            cost::cost(&build.job, &terms).completion_ms + millis(terms.rtt) > millis(deadline)
        })
    }

    /// Whether the site could start it at once but for the module.
    pub(super) fn must_prepare(&self, place: &Place) -> bool {
        let (Some(site), Some(build)) = (self.site(place), self.builds.get(usize::from(place.build))) else {
            return false;
        };
        let uplink = (!site.is_home).then_some(self.circumstances.link.uplink_bits_per_s);
        !build.known.prepare(site.member.peer, build.variant, uplink).is_zero()
    }

    pub(super) fn assessment(&self, place: &Place) -> Option<Assessment> {
        let site = self.site(place)?;
        let nothing_known = Assessment {
            peer: site.member.peer,
            role: site.member.role,
            variant: 0,
            builds: Vec::new(),
            must_prepare: false,
            cost: None,
            start_in: site.start_in,
            rtt: site.rtt,
            run: Duration::ZERO,
            lacking: Lacking::default(),
            cost_per_input_byte: 0.0,
            exclusion: self.exclusion(place).map(Box::new),
        };
        let Some(load) = site.load.filter(|_| place.standing != Standing::Excluded) else { return Some(nothing_known) };
        let (build, terms) = self.basis(place)?;
        let lacking = self.inputs.lacking(site);
        let of_build =
            |of: &Build<'_>| (of.index, cost::cost(&of.job, &self.terms(of, site, load, terms.quote_error, &lacking)));
        let builds = if self.builds.len() > 1 { self.builds.iter().map(of_build).collect() } else { Vec::new() };
        let per_byte_ms = cost::transmission_ms(1, terms.uplink_bits_per_s);
        Some(Assessment {
            variant: build.index,
            builds,
            must_prepare: !terms.prepare.is_zero(),
            cost: Some(cost::cost(&build.job, &terms)),
            start_in: terms.start_in.max(terms.prepare),
            run: cost::run_time(build.job.work, terms.speed),
            lacking,
            cost_per_input_byte: build.job.lambda * terms.weights.transfer * per_byte_ms,
            ..nothing_known
        })
    }

    fn candidate(&self, place: &Place) -> Option<Candidate> {
        let (build, terms) = self.basis(place)?;
        Some(Candidate { assessment: self.assessment(place)?, job: build.job, terms })
    }

    fn basis(&self, place: &Place) -> Option<(&Build<'a>, Terms)> {
        let site = self.site(place)?;
        let build = self.builds.get(usize::from(place.build))?;
        let quote_error = self.circumstances.estimates.quote_error(site.member.peer);
        let lacking = self.inputs.lacking(site);
        Some((build, self.terms(build, site, site.load?, quote_error, &lacking)))
    }

    /// `cloud = fallback`: while an edge peer starts the task soon and its answer is worth no less, cloud peers are not asked.
    fn hold_back_cloud(&mut self) {
        let policy = &self.spec.policy;
        if policy.cloud != CloudUse::Fallback || policy.role == Some(Role::Cloud) || policy.peer.is_some() {
            return;
        }
        // A deadline missed, or met only by a poorer build, is not room.
        let admissible = |role: Role| {
            self.places
                .iter()
                .zip(self.sites)
                .filter(move |(place, site)| place.standing == Standing::Admissible && site.member.role == role)
        };
        let cloud = admissible(Role::Cloud).map(|(place, _)| place.loss).fold(f64::INFINITY, f64::min);
        let edge_has_room =
            admissible(Role::Edge).any(|(place, site)| site.start_in <= EDGE_ROOM_WAIT && place.loss <= cloud);
        if !edge_has_room {
            return;
        }
        for (place, site) in self.places.iter_mut().zip(self.sites) {
            if place.standing == Standing::Admissible && site.member.role == Role::Cloud && !site.is_home {
                place.standing = Standing::HeldBack;
            }
        }
    }
}
