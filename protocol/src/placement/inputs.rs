//! Where the input of one task is, and what each place lacks of it.
//!
//! What a place lacks comes from the cheapest holder there is: over the uplink of its home, behind what waits there, or over
//! that of another peer that holds it. What travels from different peers travels at the same time.
//!
//! **Invariant:** looked up once for a task, not once for a place: most of a decision's time is spent on places.

use core::time::Duration;

use super::cost::transmission;
use super::{HomeLink, Site};
use crate::blobs::Holders;
use crate::id::{BlobId, PeerId};
use crate::task::spec::{Payload, TaskSpec};

/// What one place lacks of the input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Bytes that cross the uplink of the task's home.
    pub from_home_bytes: u64,
    /// Time that bytes need which other holders send.
    pub elsewhere: Duration,
    /// Bytes that are there already.
    pub held_bytes: u64,
}

/// One blob among the inputs.
#[derive(Debug)]
struct Blob<'a> {
    id: BlobId,
    bytes: u64,
    named: PeerId,
    holders: &'a [PeerId],
    source: Source,
}

/// The cheapest holder of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Home,
    /// Who, and how long its bytes are on their way.
    Peer(PeerId, Duration),
}

/// The input of one task.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    inline_bytes: u64,
    blobs: Vec<Blob<'a>>,
}

impl<'a> Inputs<'a> {
    pub(crate) fn of(spec: &TaskSpec, sites: &[Site<'_>], link: &HomeLink, known: &'a Holders) -> Self {
        let blobs = spec.inputs.iter().filter_map(|input| match input {
            Payload::Inline(_) => None,
            Payload::Blob(blob) => {
                let holders = known.of(blob.id);
                let source = source(blob.bytes, blob.holder, holders, sites, link);
                Some(Blob { id: blob.id, bytes: blob.bytes, named: blob.holder, holders, source })
            }
        });
        Self { inline_bytes: spec.inline_bytes(), blobs: blobs.collect() }
    }

    /// What has to be brought to a place.
    pub(crate) fn lacking(&self, site: &Site<'_>) -> Lacking {
        let mut lacking = Lacking::default();
        if site.is_home {
            lacking.held_bytes = self.inline_bytes;
        } else {
            lacking.from_home_bytes = self.inline_bytes;
        }
        for blob in &self.blobs {
            let peer = site.member.peer;
            let is_there = blob.named == peer || blob.holders.contains(&peer);
            let counter = match blob.source {
                _ if is_there => &mut lacking.held_bytes,
                Source::Home => &mut lacking.from_home_bytes,
                Source::Peer(_, way) => {
                    lacking.elsewhere = lacking.elsewhere.saturating_add(way);
                    continue;
                }
            };
            *counter = counter.saturating_add(blob.bytes);
        }
        lacking
    }

    /// From whom a place had best fetch a blob, where that is not the one that is named.
    pub(crate) fn source_of(&self, id: BlobId, home: PeerId) -> Option<PeerId> {
        let blob = self.blobs.iter().find(|blob| blob.id == id)?;
        match blob.source {
            Source::Home => Some(home),
            Source::Peer(peer, _) => Some(peer),
        }
    }
}

fn source(bytes: u64, named: PeerId, holders: &[PeerId], sites: &[Site<'_>], link: &HomeLink) -> Source {
    let holds = |peer: PeerId| peer == named || holders.contains(&peer);
    // With no other holder known, the usual case, nobody else has to be looked at.
    let is_alone = |home: PeerId| named == home && holders.iter().all(|holder| *holder == home);
    let home = sites.iter().find(|site| site.is_home).map(|site| site.member.peer);
    if home.is_some_and(is_alone) {
        return Source::Home;
    }
    let at_home = link.uplink_wait.saturating_add(transmission(bytes, Some(link.uplink_bits_per_s)));
    let way = |site: &Site<'_>| match site.load {
        Some(load) => site.rtt.saturating_add(transmission(bytes, Some(site.goodput(load.uplink_bits_per_s)))),
        // Nothing is known of it yet: taken for one like home.
        None => site.rtt.saturating_add(at_home),
    };
    let cheapest = sites
        .iter()
        .filter(|site| holds(site.member.peer))
        .map(|site| {
            if site.is_home { (at_home, Source::Home) } else { (way(site), Source::Peer(site.member.peer, way(site))) }
        })
        .min_by_key(|(way, _)| *way);
    // Of a holder that is no neighbour nothing is known: taken for one like home.
    cheapest.map_or(Source::Peer(named, at_home), |(_, source)| source)
}
