//! What flows out of this peer: by source (a class, a pipeline, a task's name) and by link.
//!
//! | file | one question |
//! |---|---|
//! | `meter.rs` | how much flows now, and lately? |
//! | `shares.rs` | what was spent of a share of the uplink? |
//!
//! What is counted is data: inputs and outputs inside messages when they leave, blobs when the driver says that they were
//! sent. What peers say to each other beside that is a kilobyte a second.
//!
//! **Invariant:** at most [`SOURCES_MAX`] sources and [`LINKS_MAX`] links, whatever users call their tasks.
//! **Not here:** what follows from it. That is `rules/`, `placement/` and the peer's own digest.

mod meter;
pub mod shares;

use std::collections::BTreeMap;

use self::meter::Meter;
use crate::api::flow::{FlowView, LinkFlow, RateView, SourceFlow};
use crate::certificate::{Member, Role};
use crate::id::{BlobId, PeerId};
use crate::task::spec::About;
use crate::time::Time;

/// Sources that are told apart; what comes from more is counted as one.
pub const SOURCES_MAX: usize = 32;
/// Links that are told apart: as many as an edge peer has. Of more, those that carry least are forgotten.
pub const LINKS_MAX: usize = 64;
/// Blobs whose source is remembered: what is on its way at one time.
const BLOBS_MAX: usize = 1_024;
/// The label of a certificate that says where a peer stands.
pub const SITE: &str = "site";
/// What the sources beyond the first [`SOURCES_MAX`] are counted as.
const OTHERS: &str = "(others)";
/// What outputs that go home are counted as.
const RESULTS: &str = "(results)";
/// Blobs that peers fetched here and that no task of this peer's users reads.
const BLOBS: &str = "(blobs)";
/// What is left of an uplink is said in so many steps: not each byte is news.
const STEPS: u64 = 8;

/// Whether what goes from one peer to another leaves a site, or goes to or from the cloud.
pub fn crosses_wan(from: &Member, to: &Member) -> bool {
    match (from.labels.get(SITE), to.labels.get(SITE)) {
        (Some(here), Some(there)) => here != there,
        (None, None) => from.role == Role::Cloud || to.role == Role::Cloud,
        (Some(_), None) | (None, Some(_)) => true,
    }
}

/// What a task's data is counted as: its class, or its pipeline, or its name.
pub fn source_of(about: &About) -> &str {
    [&about.class, &about.pipeline, &about.task].into_iter().find(|said| !said.is_empty()).map_or("(tasks)", |it| it)
}

/// What flows out of one peer.
#[derive(Debug, Default)]
pub struct Flow {
    sources: BTreeMap<String, Meter>,
    links: BTreeMap<PeerId, (bool, Meter)>,
    wan: Meter,
    lan: Meter,
    /// Blobs that others asked for and that no own award announced: nobody reckons with them beforehand.
    unforeseen: Meter,
    /// Whose data blobs are.
    of_blobs: BTreeMap<BlobId, String>,
}

impl Flow {
    /// Data of a source leaves for a peer.
    pub fn sent(&mut self, now: Time, to: PeerId, is_far: bool, bytes: u64, source: &str) {
        if bytes == 0 {
            return;
        }
        let knows = self.sources.contains_key(source) || self.sources.len() < SOURCES_MAX;
        let source = if knows { source } else { OTHERS };
        match self.sources.get_mut(source) {
            Some(meter) => meter.count(now, bytes),
            None => self.sources.entry(source.to_owned()).or_default().count(now, bytes),
        }
        if self.links.len() >= LINKS_MAX && !self.links.contains_key(&to) {
            let least = self.links.iter().min_by(|(_, (_, a)), (_, (_, b))| a.lately(now).total_cmp(&b.lately(now)));
            least.map(|(peer, _)| *peer).map(|peer| self.links.remove(&peer));
        }
        let link = self.links.entry(to).or_default();
        link.0 = is_far;
        link.1.count(now, bytes);
        if is_far { &mut self.wan } else { &mut self.lan }.count(now, bytes);
    }

    /// An output goes home.
    pub fn returned(&mut self, now: Time, to: PeerId, is_far: bool, bytes: u64) {
        self.sent(now, to, is_far, bytes, RESULTS);
    }

    /// A blob that an own award names will be fetched from here.
    pub fn announced(&mut self, blob: BlobId, source: &str) {
        if self.of_blobs.len() >= BLOBS_MAX && !self.of_blobs.contains_key(&blob) {
            // Any of them: most are fetched soon after they are named.
            self.of_blobs.pop_first();
        }
        self.of_blobs.insert(blob, source.to_owned());
    }

    /// So much of a blob was sent to a peer that fetched it.
    pub fn served(&mut self, now: Time, to: PeerId, is_far: bool, blob: BlobId, bytes: u64) {
        match self.of_blobs.get(&blob).cloned() {
            Some(source) => self.sent(now, to, is_far, bytes, &source),
            None => {
                self.unforeseen.count(now, bytes);
                self.sent(now, to, is_far, bytes, BLOBS);
            }
        }
    }

    /// What of an uplink is left beside what nobody reckons with: in eighths, and never less than one.
    pub fn left_of(&self, now: Time, uplink_bits_per_s: u64) -> u64 {
        let taken = self.unforeseen.now(now) * 8.0 / uplink_bits_per_s.max(1) as f64;
        let taken = (taken * STEPS as f64) as u64;
        (uplink_bits_per_s / STEPS).saturating_mul(STEPS - taken.min(STEPS - 1)).max(1)
    }

    /// Bytes since the start, over the WAN and within the site.
    pub fn totals(&self) -> [u64; 2] {
        [self.wan.total(), self.lan.total()]
    }

    /// As people see it; the busiest first.
    pub fn view(&self, now: Time, uplink_bits_per_s: u64, name: impl Fn(PeerId) -> String) -> FlowView {
        let rate = |meter: &Meter| RateView {
            now_bytes_per_s: meter.now(now),
            lately_bytes_per_s: meter.lately(now),
            bytes: meter.total(),
        };
        let mut sources: Vec<_> =
            self.sources.iter().map(|(name, meter)| SourceFlow { source: name.clone(), rate: rate(meter) }).collect();
        sources.sort_by(|a, b| b.rate.lately_bytes_per_s.total_cmp(&a.rate.lately_bytes_per_s));
        let link = |(peer, (is_far, meter)): (&PeerId, &(bool, Meter))| LinkFlow {
            peer: *peer,
            name: name(*peer),
            wan: *is_far,
            rate: rate(meter),
        };
        let mut links: Vec<_> = self.links.iter().map(link).collect();
        links.sort_by(|a, b| b.rate.lately_bytes_per_s.total_cmp(&a.rate.lately_bytes_per_s));
        FlowView {
            schema: crate::api::schema(),
            uplink_bits_per_s,
            uplink_left_bits_per_s: self.left_of(now, uplink_bits_per_s),
            wan: rate(&self.wan),
            lan: rate(&self.lan),
            sources,
            links,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    fn view(flow: &Flow, now: Time) -> FlowView {
        flow.view(now, 8_000_000, |peer| peer.short())
    }

    #[test]
    fn what_leaves_is_counted_by_source_and_by_link() {
        let mut flow = Flow::default();
        flow.sent(Time::ZERO, peer(1), true, 1_000, "reading");
        flow.sent(Time::ZERO, peer(2), false, 3_000, "video");
        flow.sent(Time::ZERO, peer(1), true, 500, "video");

        let view = view(&flow, Time::ZERO);

        let sources: Vec<_> = view.sources.iter().map(|it| (it.source.as_str(), it.rate.bytes)).collect();
        let links: Vec<_> = view.links.iter().map(|it| (it.peer, it.wan, it.rate.bytes)).collect();
        assert_eq!(sources, [("video", 3_500), ("reading", 1_000)]);
        assert_eq!(links, [(peer(2), false, 3_000), (peer(1), true, 1_500)]);
        assert_eq!(flow.totals(), [1_500, 3_000]);
    }

    #[test]
    fn names_and_links_have_a_bound_and_no_byte_is_lost() {
        let mut flow = Flow::default();
        for n in 0..=255 {
            flow.sent(Time::from_millis(n.into()), peer(n), true, 1, &format!("task {n}"));
        }

        let view = view(&flow, Time::from_millis(255));

        assert_eq!((view.sources.len(), view.links.len()), (SOURCES_MAX + 1, LINKS_MAX));
        assert_eq!(view.sources.iter().map(|it| it.rate.bytes).sum::<u64>(), 256);
    }

    #[test]
    fn a_blob_is_counted_as_what_it_is_for_and_what_nobody_foresaw_takes_from_the_uplink() {
        let mut flow = Flow::default();
        flow.announced(BlobId([1; 32]), "video");
        let bytes = 5_000_000;

        flow.served(Time::ZERO, peer(1), true, BlobId([1; 32]), bytes);
        assert_eq!(flow.left_of(Time::ZERO, 8_000_000), 8_000_000);
        flow.served(Time::ZERO, peer(1), true, BlobId([2; 32]), bytes);

        // Half a megabyte a second is half of it.
        assert_eq!(flow.left_of(Time::ZERO, 8_000_000), 4_000_000);
        assert_eq!(flow.left_of(Time::from_millis(60_000), 8_000_000), 8_000_000);
        let names: Vec<_> = view(&flow, Time::ZERO).sources.into_iter().map(|it| it.source).collect();
        assert_eq!(names, ["(blobs)", "video"]);
    }

    #[test]
    fn a_way_to_another_site_or_to_the_cloud_leads_over_the_wan() {
        let member = |role, site: Option<&str>| Member {
            peer: peer(1),
            name: String::new(),
            role,
            labels: site.map(|site| (SITE.to_owned(), site.to_owned())).into_iter().collect(),
        };
        let edge = |site| member(Role::Edge, site);
        let cloud = |site| member(Role::Cloud, site);

        assert!(!crosses_wan(&edge(None), &edge(None)) && !crosses_wan(&edge(Some("a")), &edge(Some("a"))));
        assert!(crosses_wan(&edge(Some("a")), &edge(Some("b"))) && crosses_wan(&edge(Some("a")), &edge(None)));
        assert!(crosses_wan(&edge(None), &cloud(None)) && crosses_wan(&cloud(None), &edge(None)));
        assert!(!crosses_wan(&edge(Some("a")), &cloud(Some("a"))), "a cloud in the cellar");
    }
}
