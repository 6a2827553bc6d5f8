//! What people ask of a peer: who is here, what became of a task, and why it ran where it ran.

use std::collections::BTreeSet;

use super::Peer;
use super::sites::sites;
use crate::api::{LoadView as LoadShown, PeerView, RttView, TaskCounts, TaskView};
use crate::certificate::Member;
use crate::id::{BlobId, PeerId, TaskId};
use crate::membership::{Neighbour, Revocations};
use crate::message::LoadDigest;
use crate::output::PeerState;
use crate::placement::explain::Decision;
use crate::placement::policy::{self, Exclusion};
use crate::residency::{Denial, Labels};
use crate::task::durable::{Durability, Found};
use crate::task::requester::{self, Requester};
use crate::task::spec::{BlobRef, TaskSpec};
use crate::time::{Time, micros, millis};

/// Why a name or prefix does not lead to one thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// Nothing fits.
    #[error("no {what} fits `{text}`")]
    None {
        /// `peer`, `task` or `pipeline`.
        what: &'static str,
        /// What was asked for.
        text: String,
    },
    /// Several fit.
    #[error("`{text}` fits {count} {what}s")]
    Ambiguous {
        /// `peer`, `task` or `pipeline`.
        what: &'static str,
        /// What was asked for.
        text: String,
        /// How many fit.
        count: usize,
    },
}

/// The one of `items` whose key is `text`, or else the only one that has a key beginning with it.
pub(super) fn find<T: Copy>(what: &'static str, text: &str, items: &[(T, Vec<String>)]) -> Result<T, FindError> {
    if let Some((item, _)) = items.iter().find(|(_, keys)| keys.iter().any(|key| key == text)) {
        return Ok(*item);
    }
    let fits = |keys: &[String]| !text.is_empty() && keys.iter().any(|key| key.starts_with(text));
    let fitting: Vec<_> = items.iter().filter(|(_, keys)| fits(keys)).collect();
    match fitting.as_slice() {
        [] => Err(FindError::None { what, text: text.to_owned() }),
        [(item, _)] => Ok(*item),
        several => Err(FindError::Ambiguous { what, text: text.to_owned(), count: several.len() }),
    }
}

fn load_shown(load: &LoadDigest, start_in_ms: f64, age_us: u64) -> LoadShown {
    LoadShown {
        start_in_ms,
        cores: load.cores,
        running: load.running,
        queued: load.queued,
        queue_max: load.queue_max,
        cpu_percent: load.cpu_percent,
        speed: load.speed,
        memory_free_bytes: load.memory_free_bytes,
        memory_bytes: load.memory_bytes,
        age_us,
    }
}

impl Peer {
    /// This peer as it would describe itself.
    pub fn me(&self, now: Time) -> PeerView {
        let load = self.executing.load(now);
        PeerView {
            peer: self.me.peer,
            name: self.me.name.clone(),
            role: self.me.role,
            labels: self.me.labels.clone(),
            state: PeerState::Alive,
            rtt_p50_ms: None,
            rtt_p99_ms: None,
            rtt_predicted_ms: None,
            loss_percent: None,
            load: Some(load_shown(&load, millis(load.start_in), 0)),
            ok_percent: self.requester.ok_percent(self.me.peer),
            heard_us_ago: None,
            address: None,
            path: None,
        }
    }

    /// Those it would give work to: connected and believed to be there.
    pub fn neighbours(&self) -> impl Iterator<Item = PeerId> {
        self.membership.alive_neighbours().map(|neighbour| neighbour.member.peer)
    }

    /// Whether a peer is one of [`Peer::neighbours`].
    pub fn is_neighbour(&self, peer: PeerId) -> bool {
        self.membership.neighbour(peer).is_some_and(Neighbour::is_alive)
    }

    /// Who is a member no more.
    pub fn revocations(&self) -> &Revocations {
        self.membership.revocations()
    }

    /// Those of [`Peer::peers`] that it believes alive, in the order of their ids.
    pub fn alive(&self) -> impl Iterator<Item = PeerId> {
        let alive = |known: &&Neighbour| known.heard.is_some() && known.state == PeerState::Alive;
        self.membership.known().filter(alive).map(|known| known.member.peer)
    }

    /// Everyone it knows, nearest first.
    pub fn peers(&self, now: Time) -> Vec<PeerView> {
        // Who is known from a record only may be long gone.
        self.views_of(now, |neighbour| neighbour.heard.is_some())
    }

    /// Peers that are known to hold a blob.
    pub fn holders_of(&self, blob: BlobId) -> Vec<PeerId> {
        self.holders.of(blob).to_vec()
    }

    /// A blob that a peer is known to hold, for a task that reads it.
    pub fn blob(&self, id: BlobId) -> Option<BlobRef> {
        let bytes = self.holders.bytes_of(id)?;
        self.holders.of(id).last().map(|holder| BlobRef { id, bytes, holder: *holder })
    }

    /// What holders of a blob have said of it.
    pub fn blob_labels(&self, id: BlobId) -> Labels {
        self.holders.labels_of(id)
    }

    /// Whether data with these labels may go to a peer, or be here.
    pub fn permits(&self, to: PeerId, labels: &Labels) -> Result<(), Denial> {
        super::lending::permits(&self.me, &self.membership, &self.loads, to, labels)
    }

    /// Messages that did not leave because of the labels of what they carry, by rule.
    pub fn withheld(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.withheld.iter().map(|(rule, count)| (*rule, *count))
    }

    /// Those of [`Peer::peers`] that are [`Peer::neighbours`].
    pub fn neighbour_views(&self, now: Time) -> Vec<PeerView> {
        self.views_of(now, |neighbour| neighbour.heard.is_some() && neighbour.is_alive())
    }

    fn views_of(&self, now: Time, are_wanted: impl Fn(&Neighbour) -> bool) -> Vec<PeerView> {
        let wanted = self.membership.known().filter(|neighbour| are_wanted(neighbour));
        let mut views: Vec<_> = wanted.map(|neighbour| self.view_of(now, neighbour)).collect();
        let distance = |view: &PeerView| view.rtt_p50_ms.unwrap_or(f64::INFINITY);
        views.sort_by(|a, b| distance(a).total_cmp(&distance(b)).then_with(|| a.name.cmp(&b.name)));
        views
    }

    fn view_of(&self, now: Time, neighbour: &Neighbour) -> PeerView {
        let member = &neighbour.member;
        let rtt = self.latency.percentiles(member.peer);
        let load = self.loads.digest(member.peer).map(|load| {
            let start_in = self.loads.start_in(now, member.peer).unwrap_or_default();
            let age = self.loads.age(now, member.peer).unwrap_or_default();
            load_shown(load, millis(start_in), micros(age))
        });
        PeerView {
            peer: member.peer,
            name: member.name.clone(),
            role: member.role,
            labels: member.labels.clone(),
            state: neighbour.state,
            rtt_p50_ms: rtt.map(|(p50, _)| millis(p50)),
            rtt_p99_ms: rtt.map(|(_, p99)| millis(p99)),
            rtt_predicted_ms: self.latency.predict(self.me.peer, member.peer).map(millis),
            loss_percent: self.latency.loss(member.peer).map(|share| share * 100.0),
            load,
            ok_percent: self.requester.ok_percent(member.peer),
            heard_us_ago: neighbour.heard.map(|heard| micros(now.since(heard))),
            address: neighbour.address.clone(),
            path: None,
        }
    }

    /// What is known of a peer by its certificate.
    pub fn member(&self, peer: PeerId) -> Option<Member> {
        if peer == self.me.peer {
            return Some(self.me.clone());
        }
        self.membership.member(peer).cloned()
    }

    /// The peer (perhaps this one) that a name, an id or a unique prefix of either means.
    pub fn find_peer(&self, text: &str) -> Result<PeerId, FindError> {
        let members = || core::iter::once(&self.me).chain(self.membership.known().map(|neighbour| &neighbour.member));
        // Whole names and ids, which programs use, are found without putting all others into words.
        let id = text.parse::<PeerId>().ok();
        if let Some(member) = members().find(|member| member.name == text || Some(member.peer) == id) {
            return Ok(member.peer);
        }
        let keys = |member: &Member| (member.peer, vec![member.name.clone(), member.peer.to_string()]);
        find("peer", text, &members().map(keys).collect::<Vec<_>>())
    }

    /// How far two peers are.
    pub fn rtt(&self, a: PeerId, b: PeerId) -> RttView {
        let name = |peer| self.member(peer).map_or_else(|| peer.short(), |member| member.name);
        let measured = match (a == self.me.peer, b == self.me.peer) {
            (true, false) => self.latency.rtt(b),
            (false, true) => self.latency.rtt(a),
            (true, true) | (false, false) => None,
        };
        RttView {
            schema: crate::api::schema(),
            a: name(a),
            b: name(b),
            measured_ms: measured.map(millis),
            predicted_ms: self.latency.predict(a, b).map(millis),
        }
    }

    /// Tasks by state.
    pub fn task_counts(&self) -> TaskCounts {
        TaskCounts { executed_here: self.executing.executed, ..self.requester.book.counts() }
    }

    /// The latest tasks of this peer's users, newest first, without their outputs.
    pub fn tasks(&self, now: Time, limit: usize) -> Vec<TaskView> {
        let member = |peer| self.member(peer);
        let newest = self.requester.book.newest().take(limit);
        newest.filter_map(|task| self.requester.book.view(now, task, false, &member)).collect()
    }

    /// The task that an id, a unique prefix or `last` means.
    pub fn find_task(&self, text: &str) -> Result<TaskId, FindError> {
        if text == "last" {
            let none = FindError::None { what: "task", text: text.to_owned() };
            return self.requester.book.newest().next().ok_or(none);
        }
        if let Ok(task) = text.parse::<TaskId>()
            && self.requester.book.get(task).is_some()
        {
            return Ok(task);
        }
        let items: Vec<_> = self.requester.book.newest().map(|task| (task, vec![task.to_string()])).collect();
        find("task", text, &items)
    }

    /// One task, its output and log included.
    pub fn task(&self, now: Time, task: TaskId) -> Option<TaskView> {
        self.requester.book.view(now, task, true, &|peer| self.member(peer))
    }

    /// What this peer knows of a task, of a user here or as its guardian.
    pub fn known_task(&self, now: Time, task: TaskId) -> Option<Found> {
        self.requester.find(now, task)
    }

    /// How a task is kept that this peer knows.
    pub fn durability_of(&self, task: TaskId) -> Option<Durability> {
        Some(self.requester.book.get(task)?.keeping.durability)
    }

    /// Whether a task that this peer knows runs the same modules with the same arguments; what it reads is not kept for long.
    pub fn does_the_same(&self, task: TaskId, spec: &TaskSpec) -> bool {
        let Some(known) = self.requester.book.get(task).filter(|entry| !entry.is_damaged()) else { return true };
        let modules = |spec: &TaskSpec| spec.variants.iter().map(|variant| variant.module).collect::<BTreeSet<_>>();
        modules(&known.spec) == modules(spec) && known.spec.args == spec.args
    }

    /// Whether this peer decides what becomes of who hands this task in here, so that nobody else is asked for it.
    pub fn answers_for(&self, task: TaskId) -> bool {
        self.requester.answers_for(task)
    }

    /// Whether a user may ask others for a task now: there are bounds to how many do at once.
    pub fn may_seek(&self) -> bool {
        self.seeking.has_room()
    }

    /// Who decides on a kept task: its home, and with `--durable 2` its guardian and its witness.
    pub fn council_of(&self, task: TaskId) -> Vec<PeerId> {
        self.requester.durable.council_of(task)
    }

    /// Everything this peer has of a kept task, in no form that anybody may rely on: for whoever looks for a fault.
    pub fn describe(&self, task: TaskId) -> String {
        let entry = self.requester.book.get(task).map(|entry| (entry.state, &entry.phase, entry.epoch));
        format!("{:?} · {entry:?}", self.requester.durable.describe(task))
    }

    /// The decisions on a task, one an attempt.
    pub fn explain(&self, task: TaskId) -> Vec<Decision> {
        let Some(entry) = self.requester.book.get(task) else { return Vec::new() };
        let variants = &entry.spec.variants;
        entry.records.iter().map(|record| record.explain(task, variants, |peer| self.member(peer))).collect()
    }

    /// In which order to submit tasks that came together: their indices.
    pub fn order_of(&self, now: Time, specs: &[&TaskSpec]) -> Vec<usize> {
        self.ask_requester(now, |requester, around| requester.order_of(now, specs, around))
    }

    /// Where a task would run if it were submitted now.
    pub fn dry_run(&self, now: Time, spec: &TaskSpec) -> Decision {
        self.ask_requester(now, |requester, around| requester.dry_run(now, spec, around, |peer| self.member(peer)))
    }

    /// Whether this peer and each neighbour might run a task, whatever it costs there; nothing moves.
    pub fn check_policy(&self, now: Time, spec: &TaskSpec) -> Vec<(Member, Result<(), Exclusion>)> {
        let own_load = self.executing.load(now);
        let found = sites(now, &self.me, &own_load, &self.membership, &self.latency, &self.loads);
        let stays = policy::output_stays(spec, &self.me);
        let verdict = |site: &crate::placement::Site<'_>| {
            policy::check(spec, site.member, site.is_home, site.load)?;
            match stays.clone().filter(|_| !site.is_home) {
                Some(denial) => Err(Exclusion::OutputStays(denial)),
                None => Ok(()),
            }
        };
        found.iter().map(|site| (site.member.clone(), verdict(site))).collect()
    }

    /// Asks the requesting half something that changes nothing.
    fn ask_requester<T>(&self, now: Time, ask: impl FnOnce(&Requester, &requester::Around<'_>) -> T) -> T {
        let own_load = self.executing.load(now);
        let mut rng = self.rng.clone();
        let found = sites(now, &self.me, &own_load, &self.membership, &self.latency, &self.loads);
        let sites = || found.as_slice();
        let around = requester::Around {
            sites: &sites,
            is_here: &|_| true,
            permits: &|peer, labels| self.permits(peer, labels),
            address: &|_| None,
            estimates: &self.estimates,
            holders: &self.holders,
            lambda: self.config.lambda,
            uplink_bits_per_s: self.flow.left_of(now, self.config.uplink_bits_per_s),
            rules: self.rules_in_force(now),
            rng: &mut rng,
        };
        ask(&self.requester, &around)
    }

    /// How much of what each class of message may take up the busiest neighbour has ever used, in thousandths.
    pub fn fullest_permille(&self) -> [(&'static str, u16); crate::conduct::Class::COUNT] {
        self.conduct.fullest_permille()
    }

    /// Whether nothing is placed on a peer because of how it behaved.
    pub fn distrusts(&self, peer: PeerId) -> bool {
        self.estimates.distrusts(peer)
    }

    /// Counters since start, by name.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("tasks_executed", self.executing.executed),
            ("task_replacements", self.requester.replacements),
            ("stale_outcomes", self.requester.stale_outcomes),
            ("negotiation_messages", self.requester.negotiation_messages),
            ("peers_distrusted", self.estimates.fallen),
            ("wrong_answers", self.requester.wrong_answers),
            ("messages_dropped", self.conduct.dropped),
            ("store_failures", self.requester.durable.store_failures),
            ("takeovers", self.requester.durable.takeovers),
            ("pipeline_tasks_done", self.pipelines.tasks_done),
            ("pipeline_tasks_recalled", self.pipelines.recalled),
            ("pipeline_tasks_made_again", self.pipelines.made_again),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_key_wins_over_a_prefix_and_two_prefixes_are_ambiguous() {
        let items = [(1, vec!["cam".to_owned()]), (2, vec!["cam-17".to_owned()]), (3, vec!["nas".to_owned()])];

        assert_eq!(find("peer", "cam", &items), Ok(1));
        assert_eq!(find("peer", "n", &items), Ok(3));
        let ambiguous = FindError::Ambiguous { what: "peer", text: "ca".into(), count: 2 };
        assert_eq!(find("peer", "ca", &items), Err(ambiguous));
        assert_eq!(find("peer", "", &items), Err(FindError::None { what: "peer", text: String::new() }));
    }
}
