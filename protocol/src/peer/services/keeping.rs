//! Which modules are kept here, for calls and for others: what is ordered for that, and what came of it.
//!
//! **Invariant:** there is one look at what is to be kept every [`LOOK_EVERY`], however many calls come, and none in a mesh
//! without services.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::certificate::Role;
use crate::id::{BlobId, PeerId};
use crate::input::PrepareError;
use crate::message::WarmModule;
use crate::output::Output;
use crate::peer::Peer;
use crate::service::{Held, KEPT_BYTES_MAX, ServiceName, VerifiedService, is_keeper};
use crate::time::Time;

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
pub(super) struct Kept {
    wanted: Wanted,
    is_here: bool,
    /// When it was last ordered.
    at: Time,
    /// When it was last to be prepared.
    preparing: Option<Time>,
}

impl Peer {
    /// Records are on disk: they are in force, unless later ones are.
    pub(in crate::peer) fn deploy_services(&mut self, now: Time, records: Vec<VerifiedService>, by_user: bool) {
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

    /// The module of a service is in the local store, or cannot be had now.
    pub(in crate::peer) fn module_kept(&mut self, now: Time, module: BlobId, result: Result<(), String>) {
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
    pub(in crate::peer) fn prepared(&mut self, now: Time, module: BlobId, result: Result<Duration, PrepareError>) {
        let is_ready = result.is_ok() && self.desk.kept.get(&module).is_some_and(|kept| kept.wanted.instances > 0);
        self.executing.prepared(now, module, result, &mut self.outbox);
        if is_ready {
            self.estimates.holds(self.me.peer, module);
            self.desk.look_at(now);
        }
    }

    /// Orders what is to be kept here, gives back what is not, and tells neighbours, if the time has come.
    pub(in crate::peer) fn look_after_services(&mut self, now: Time) {
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

    pub(super) fn ready_here(&self) -> Vec<WarmModule> {
        let kept = self.desk.kept.iter().filter(|(_, kept)| kept.wanted.instances > 0);
        let ready = kept.filter(|(module, _)| self.executing.is_prepared(**module));
        ready.map(|(module, kept)| WarmModule { module: *module, instances: kept.wanted.instances }).collect()
    }
}
