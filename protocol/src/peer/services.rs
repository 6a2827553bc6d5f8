//! Services and the rest of the peer: which version a call gets, what is kept ready here for calls, and who is told of that.
//!
//! ```text
//! Called ─► an ordinary task, counted when it ends
//!   └─► wanted here ─► KeepModule ─► ModuleKept ─► Prepare ─► Prepared: ready ─► Warm, to neighbours
//! nobody calls any more ─► ReleaseModule ─► Warm without it
//! ```
//!
//! The first call at a peer goes where the cost function finds it best: to a neighbour that has said that it is ready, while
//! this peer gets ready itself; or it waits here until the module is compiled.
//!
//! **Invariant:** there is one look at what is to be kept every [`LOOK_EVERY`], however many calls come, and none in a mesh
//! without services.

use core::time::Duration;
use std::collections::BTreeMap;

use super::Peer;
use crate::api::services::{RolloutView, ServiceView, Spread, VersionView, WarmView};
use crate::certificate::Role;
use crate::config::{LOAD_PEERS_MAX, PeerConfig};
use crate::id::{BlobId, PeerId, TaskId};
use crate::message::{Message, ServicesWord, WarmModule};
use crate::output::{Event, Output, TaskError};
use crate::service::{
    Held, KEPT_BYTES_MAX, Outcomes, Registry, ServiceName, ServiceVersion, SignedService, VerifiedService, Warmth,
    is_keeper,
};
use crate::task::durable::Keeping;
use crate::task::requester::{Ahead, Submission};
use crate::task::spec::{Ending, TaskSpec};
use crate::time::{Time, millis};

/// Time between two looks at what is to be kept here.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Who keeps what for others is reckoned anew this often, though nothing seems to have changed.
const KEEPERS_EVERY: Duration = Duration::from_secs(10);
/// A module that could not be had is asked for again after so long.
const KEEP_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Where a service was deployed its modules are held so long at least: until others have fetched them.
const HANDED_OVER_AFTER: Duration = Duration::from_secs(600);

/// A module that is wanted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    bytes: u64,
    instances: u16,
}

/// A module that was ordered here.
#[derive(Debug)]
struct Kept {
    wanted: Wanted,
    is_here: bool,
    /// When it was last ordered.
    at: Time,
    /// When it was last to be prepared.
    preparing: Option<Time>,
}

/// What this peer does for services.
#[derive(Debug)]
pub(super) struct Desk {
    warmth: Warmth,
    outcomes: Outcomes,
    /// Calls under way; bounded by the unfinished tasks of users here.
    calls: BTreeMap<TaskId, (ServiceName, u32)>,
    /// The modules of all services, and their sizes.
    modules: BTreeMap<BlobId, u64>,
    /// Those that are held here for others.
    for_others: BTreeMap<BlobId, u64>,
    kept: BTreeMap<BlobId, Kept>,
    /// Services that users here have deployed lately, and until when that counts.
    deployed_here: BTreeMap<ServiceName, Time>,
    /// What neighbours say that they have ready.
    ready_at: BTreeMap<PeerId, Vec<WarmModule>>,
    /// What neighbours were last told that is ready here.
    told: BTreeMap<PeerId, Vec<WarmModule>>,
    /// Of which services and which view `for_others` was made, and when to make it anew.
    made_of: (u64, u64),
    made_anew: Time,
    next_look: Option<Time>,
}

impl Desk {
    pub(super) fn new(config: &PeerConfig) -> Self {
        Self {
            warmth: Warmth::new(config.cores, config.service_idle),
            outcomes: Outcomes::default(),
            calls: BTreeMap::new(),
            modules: BTreeMap::new(),
            for_others: BTreeMap::new(),
            kept: BTreeMap::new(),
            deployed_here: BTreeMap::new(),
            ready_at: BTreeMap::new(),
            told: BTreeMap::new(),
            made_of: (0, 0),
            made_anew: Time::ZERO,
            next_look: None,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.next_look
    }

    /// A neighbour may have begun anew, and not remember what it was told.
    pub(super) fn connected(&mut self, peer: PeerId) {
        self.told.remove(&peer);
    }

    pub(super) fn peer_lost(&mut self, peer: PeerId) {
        self.told.remove(&peer);
        self.ready_at.remove(&peer);
    }

    fn look_at(&mut self, at: Time) {
        self.next_look = Some(self.next_look.map_or(at, |next| next.min(at)));
    }
}

impl Peer {
    // ── Questions ───────────────────────────────────────────────────────────────────────────────────────────────

    /// The services of the mesh, as far as this peer knows them.
    pub fn services(&self) -> &Registry {
        self.membership.services().registry()
    }

    /// Whether a record would replace the one in force here.
    pub fn would_replace_service(&self, verified: &VerifiedService) -> bool {
        self.membership.replaces_service(verified)
    }

    /// All records as they would be held with these: what is to be on disk before these are in force.
    pub fn services_with(&self, more: &[VerifiedService]) -> Vec<SignedService> {
        let is_replaced = |held: &&Held| more.iter().any(|verified| verified.record.name == held.record.name);
        let others = self.services().all().filter(|held| !is_replaced(held)).map(|held| held.signed.clone());
        others.chain(more.iter().map(|verified| verified.signed.clone())).collect()
    }

    /// The version of a service that a call gets here now; nothing where there is no such service. `draw` decides between the
    /// version that is there and the one that comes in, see [`crate::service::draw`].
    pub fn call(&self, now: Time, name: &ServiceName, draw: u64) -> Option<&ServiceVersion> {
        let record = &self.services().service(name)?.record;
        let chosen = record.choose(self.calendar.unix_s(now).unwrap_or_default(), draw);
        let number = if self.desk.outcomes.held_back(record) == Some(chosen) { record.current } else { chosen };
        record.version(number)
    }

    /// How far what is in force here has come.
    pub fn spread_of_services(&self) -> Spread {
        self.membership.spread_of_services()
    }

    /// A service as it is here; also one that was removed.
    pub fn service_view(&self, now: Time, name: &ServiceName) -> Option<ServiceView> {
        self.services().held(name).map(|held| self.view_of_service(now, held))
    }

    /// All that are there.
    pub fn service_views(&self, now: Time) -> Vec<ServiceView> {
        self.services().services().map(|held| self.view_of_service(now, held)).collect()
    }

    fn view_of_service(&self, now: Time, held: &Held) -> ServiceView {
        let (record, outcomes) = (&held.record, &self.desk.outcomes);
        let unix_s = self.calendar.unix_s(now).unwrap_or_default();
        let permille = record.rollout.as_ref().map_or(0, |rollout| rollout.permille(unix_s));
        let held_back = outcomes.held_back(record);
        let coming = if held_back.is_some() { 0.0 } else { f64::from(permille) / 1_000.0 };
        let share = |number: u32| match &record.rollout {
            Some(rollout) if rollout.to == number => coming,
            Some(_) | None if record.current == number => 1.0 - coming,
            Some(_) | None => 0.0,
        };
        let shown = |version: &ServiceVersion| {
            let tally = outcomes.tally(record, version.number);
            let quantile = |q| tally.and_then(|tally| tally.quantile(q)).map(millis);
            VersionView {
                number: version.number,
                module: version.module,
                module_bytes: version.module_bytes,
                memory_bytes: version.limits.memory_bytes,
                wall_ms: u64::try_from(version.limits.wall.as_millis()).unwrap_or(u64::MAX),
                class: version.class.clone(),
                note: version.note.clone(),
                deployed_unix_s: version.deployed_unix_s,
                share: share(version.number),
                held_back: held_back == Some(version.number),
                calls: tally.map_or(0, |tally| tally.calls),
                failures: tally.map_or(0, |tally| tally.failures),
                p50_ms: quantile(0.5),
                p99_ms: quantile(0.99),
            }
        };
        ServiceView {
            rollout: record.rollout.as_ref().map(|rollout| RolloutView::of(rollout, permille)),
            versions: record.versions.iter().map(shown).collect(),
            warm: self.ready(record.versions.iter()),
            ..ServiceView::of(held)
        }
    }

    /// Where versions of a service are ready to be called.
    fn ready<'a>(&self, versions: impl Iterator<Item = &'a ServiceVersion>) -> Vec<WarmView> {
        let own = self.ready_here();
        let places = core::iter::once((&self.me.peer, &own)).chain(&self.desk.ready_at);
        let places: Vec<(&PeerId, &Vec<WarmModule>)> = places.collect();
        let of = |version: &ServiceVersion| {
            let (number, module) = (version.number, version.module);
            let here = move |warm: &&WarmModule| warm.module == module;
            let view = |(peer, warm): &(&PeerId, &Vec<WarmModule>)| {
                let instances = warm.iter().find(here)?.instances;
                let name = self.member(**peer).map_or_else(|| peer.short(), |member| member.name);
                Some(WarmView { peer: **peer, name, version: number, instances })
            };
            places.iter().filter_map(view).collect::<Vec<_>>()
        };
        versions.flat_map(of).collect()
    }

    fn ready_here(&self) -> Vec<WarmModule> {
        let kept = self.desk.kept.iter().filter(|(_, kept)| kept.wanted.instances > 0);
        let ready = kept.filter(|(module, _)| self.executing.is_prepared(**module));
        ready.map(|(module, kept)| WarmModule { module: *module, instances: kept.wanted.instances }).collect()
    }

    // ── Facts ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// Records are on disk: they are in force, unless later ones are.
    pub(super) fn deploy_services(&mut self, now: Time, records: Vec<VerifiedService>, by_user: bool) {
        if by_user {
            let until = now + HANDED_OVER_AFTER;
            let names = records.iter().map(|verified| verified.record.name.clone());
            self.desk.deployed_here.extend(names.map(|name| (name, until)));
        }
        if self.with_membership(now, |m, lent| m.deploy_services(lent, records)) {
            let registry = self.membership.services().registry();
            self.desk.outcomes.keep_only(|name| registry.service(name).is_some());
            self.desk.look_at(now);
        }
    }

    /// A user here calls a service.
    pub(super) fn called(&mut self, now: Time, task: TaskId, (service, version): (ServiceName, u32), spec: TaskSpec) {
        if spec.policy.restricted && self.executing.may_be_out_of_date() {
            return self.outbox.push(Output::Finish { task, result: Err(TaskError::RevocationsStale) });
        }
        if let Some(module) = spec.variants.first().map(|variant| variant.module) {
            let is_new = !self.desk.kept.contains_key(&module);
            self.desk.warmth.called(now, module);
            if is_new {
                self.desk.look_at(now);
            }
        }
        let name = format!("{service}@{version}");
        // A repeated call is the same one.
        if self.requester.book.get(task).is_none() {
            self.desk.calls.insert(task, (service, version));
        }
        let submission = Submission { name, spec, keeping: Keeping::default(), ahead: Ahead::new() };
        self.with_requester(now, |r, around, out| r.submit(now, task, submission, around, out));
    }

    /// A task was placed here, perhaps a call of somebody.
    pub(super) fn ran_for_service(&mut self, now: Time, module: BlobId) {
        if !self.desk.modules.contains_key(&module) {
            return;
        }
        let is_new = !self.desk.kept.contains_key(&module);
        self.desk.warmth.ran(now, module);
        if is_new {
            self.desk.look_at(now);
        }
    }

    /// Calls that are about to be answered are counted.
    pub(super) fn count_calls(&mut self) {
        if self.desk.calls.is_empty() {
            return;
        }
        let mut held_back = Vec::new();
        for (task, result) in self.outbox.finished() {
            let Some((name, number)) = self.desk.calls.remove(&task) else { continue };
            let Ok(result) = result else { continue };
            let Some(held) = self.membership.services().registry().service(&name) else { continue };
            if let Some(version) = held.record.version(number) {
                self.desk.warmth.took(version.module, result.report.run);
            }
            let took = Duration::from_micros(result.timings.total_us);
            if self.desk.outcomes.ended(&held.record, number, &result.report.ending, took) {
                let tally = self.desk.outcomes.tally(&held.record, number);
                let (failures, calls) = tally.map_or((0, 0), |tally| (tally.failures, tally.calls));
                held_back.push(Event::ServiceHeldBack { name: name.to_string(), version: number, failures, calls });
            }
        }
        held_back.into_iter().for_each(|event| self.outbox.notify(event));
    }

    /// How long a run of a service took here.
    pub(super) fn took_for_service(&mut self, module: BlobId, ending: &Ending, run: Duration) {
        if matches!(ending, Ending::Exited(_)) && self.desk.modules.contains_key(&module) {
            self.desk.warmth.took(module, run);
        }
    }

    /// The module of a service is in the local store, or cannot be had now.
    pub(super) fn module_kept(&mut self, now: Time, module: BlobId, result: Result<(), String>) {
        let Some(kept) = self.desk.kept.get_mut(&module) else { return };
        kept.is_here = result.is_ok();
        if !kept.is_here {
            // It is ordered again in time.
            return;
        }
        self.executing.module_is_here(module);
        self.desk.look_at(now);
    }

    /// A module can be started here, or not.
    pub(super) fn prepared(&mut self, now: Time, module: BlobId, result: Result<Duration, String>) {
        let is_ready = result.is_ok() && self.desk.kept.get(&module).is_some_and(|kept| kept.wanted.instances > 0);
        self.executing.prepared(now, module, result, &mut self.outbox);
        if is_ready {
            self.estimates.holds(self.me.peer, module);
            self.desk.look_at(now);
        }
    }

    /// What a neighbour says of services.
    pub(super) fn services_word(&mut self, now: Time, from: PeerId, word: ServicesWord) {
        match word {
            ServicesWord::Warm(warm) => self.ready_elsewhere(from, warm),
            word @ (ServicesWord::Index(_) | ServicesWord::Here(_)) => {
                self.with_membership(now, |m, lent| m.services_word(lent, from, word));
            }
        }
    }

    fn ready_elsewhere(&mut self, from: PeerId, warm: Vec<WarmModule>) {
        if self.desk.ready_at.len() >= LOAD_PEERS_MAX && !self.desk.ready_at.contains_key(&from) {
            return;
        }
        for WarmModule { module, .. } in &warm {
            if let Some(bytes) = self.desk.modules.get(module) {
                self.estimates.holds(from, *module);
                self.holders.note(from, *module, *bytes);
            }
        }
        let is_ready = |module: BlobId| warm.iter().any(|warm| warm.module == module);
        for before in self.desk.ready_at.get(&from).into_iter().flatten().filter(|before| !is_ready(before.module)) {
            self.estimates.lacks(from, before.module);
        }
        self.desk.ready_at.insert(from, warm);
    }

    // ── What is kept here ───────────────────────────────────────────────────────────────────────────────────────

    /// Orders what is to be kept here, gives back what is not, and tells neighbours, if the time has come.
    pub(super) fn look_after_services(&mut self, now: Time) {
        let is_new = self.membership.services().version() != self.desk.made_of.0;
        if !is_new && self.desk.next_look.is_none_or(|at| now < at) {
            return;
        }
        let nothing_deployed = self.membership.services().registry().services().next().is_none();
        self.desk.next_look = Some(now + LOOK_EVERY);
        self.reckon_keepers(now);
        let wanted = self.wanted_modules(now);
        let unwanted: Vec<BlobId> = self.desk.kept.keys().copied().filter(|it| !wanted.contains_key(it)).collect();
        for module in unwanted {
            self.desk.kept.remove(&module);
            self.outbox.push(Output::ReleaseModule { module });
            self.executing.released(module);
            self.estimates.lacks(self.me.peer, module);
        }
        for (module, wanted) in wanted {
            self.keep(now, module, wanted);
        }
        let is_here = |module: &BlobId| self.desk.kept.get(module).is_some_and(|kept| kept.is_here);
        let absent = self.desk.modules.keys().copied().filter(|module| !is_here(module)).collect();
        self.executing.modules_are_absent(absent);
        self.tell_what_is_ready();
        if nothing_deployed && self.desk.kept.is_empty() {
            self.desk.next_look = None;
        }
    }

    /// Which modules there are, and which of them are held here for others.
    fn reckon_keepers(&mut self, now: Time) {
        let made_of = (self.membership.services().version(), self.membership.view_version());
        if self.desk.made_of == made_of && now < self.desk.made_anew {
            return;
        }
        self.desk.made_of = made_of;
        self.desk.made_anew = now + KEEPERS_EVERY;
        self.desk.deployed_here.retain(|_, until| now < *until);
        let me = (self.me.peer, self.me.role);
        let member = |known: &crate::membership::Neighbour| (known.member.peer, known.member.role);
        let view: Vec<(PeerId, Role)> = self.membership.alive_neighbours().map(member).collect();
        let registry = self.membership.services().registry();
        let is_held = |name: &ServiceName| {
            self.desk.deployed_here.contains_key(name) || is_keeper(name, me, view.iter().copied())
        };
        let held: Vec<&Held> = registry.services().filter(|held| is_held(&held.record.name)).collect();
        // What is called before what one may go back to.
        let called = held.iter().flat_map(|held| held.record.called());
        let all = held.iter().flat_map(|held| &held.record.versions);
        let mut bytes = 0_u64;
        self.desk.for_others.clear();
        for version in called.chain(all) {
            let sum = bytes.saturating_add(version.module_bytes);
            if sum <= KEPT_BYTES_MAX && !self.desk.for_others.contains_key(&version.module) {
                bytes = sum;
                self.desk.for_others.insert(version.module, version.module_bytes);
            }
        }
        let versions = registry.services().flat_map(|held| &held.record.versions);
        self.desk.modules = versions.map(|version| (version.module, version.module_bytes)).collect();
    }

    fn wanted_modules(&mut self, now: Time) -> BTreeMap<BlobId, Wanted> {
        let for_others = self.desk.for_others.iter();
        let mut wanted: BTreeMap<BlobId, Wanted> =
            for_others.map(|(module, bytes)| (*module, Wanted { bytes: *bytes, instances: 0 })).collect();
        for (module, instances) in self.desk.warmth.instances(now) {
            if let Some(bytes) = self.desk.modules.get(&module) {
                wanted.insert(module, Wanted { bytes: *bytes, instances });
            }
        }
        wanted
    }

    fn keep(&mut self, now: Time, module: BlobId, wanted: Wanted) {
        let is_recent = |at: Time| now.since(at) < KEEP_AGAIN_AFTER;
        let nothing = Kept { wanted: Wanted { bytes: 0, instances: 0 }, is_here: false, at: now, preparing: None };
        let is_new = !self.desk.kept.contains_key(&module);
        let kept = self.desk.kept.entry(module).or_insert(nothing);
        let was_ready = kept.wanted.instances > 0;
        if is_new || kept.wanted != wanted || !(kept.is_here || is_recent(kept.at)) {
            (kept.wanted, kept.at) = (wanted, now);
            let Wanted { bytes, instances } = wanted;
            self.outbox.push(Output::KeepModule { module, bytes, instances });
        }
        if wanted.instances == 0 && was_ready {
            // It is held for others still, and its memory is given back.
            self.executing.released(module);
            self.estimates.lacks(self.me.peer, module);
        }
        if wanted.instances == 0 || !kept.is_here {
            return;
        }
        if self.executing.is_prepared(module) {
            self.estimates.holds(self.me.peer, module);
        } else if !kept.preparing.is_some_and(is_recent) {
            kept.preparing = Some(now);
            self.outbox.push(Output::Prepare { module });
        }
    }

    fn tell_what_is_ready(&mut self) {
        let readers = self.membership.readers_of_services();
        self.desk.told.retain(|peer, _| readers.contains(peer));
        let ready = self.ready_here();
        for reader in readers {
            let was_told = self.desk.told.get(&reader).map_or(&[][..], Vec::as_slice);
            if was_told != ready.as_slice() {
                self.desk.told.insert(reader, ready.clone());
                self.outbox.send(reader, Message::Services(Box::new(ServicesWord::Warm(ready.clone()))));
            }
        }
    }
}
