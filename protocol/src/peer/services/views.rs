//! What people ask about services.

use crate::api::services::{RolloutView, ServiceView, Spread, VersionView, WarmView};
use crate::id::PeerId;
use crate::message::WarmModule;
use crate::peer::Peer;
use crate::service::{Held, Registry, ServiceName, ServiceVersion, SignedService, VerifiedService};
use crate::time::{Time, millis};

impl Peer {
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
}
