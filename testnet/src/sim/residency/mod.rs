//! A great many small questions about where data may go, answered by the peer's own rule and by a reference that was written
//! apart from it.
//!
//! ```text
//! seed ─► peers, pieces of data, a task, a message ─┬─► placement::rank, Message::carried, residency::may_receive ─┐
//!                                                   └─► reference.rs: every label, one by one ─────────────────────┴─► the same?
//! ```
//!
//! **Invariant:** the reference sees what was drawn, never a [`Labels`].
//! **Not here:** time and faults. That is `sim::chaos`.

mod draw;
mod reference;
#[cfg(test)]
mod tests;
mod words;

use core::time::Duration;
use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use serde::Serialize;
use shoal_protocol::blobs::Holders;
use shoal_protocol::certificate::Member;
use shoal_protocol::message::LoadDigest;
use shoal_protocol::placement::estimates::Estimates;
use shoal_protocol::placement::policy::Exclusion;
use shoal_protocol::placement::{self, Circumstances, HomeLink, Site};
use shoal_protocol::residency::{Receiver, may_receive};
use shoal_protocol::{Message, PeerId, TaskSpec};

pub(super) use self::draw::{Case, Drawn, Place};

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Cases that were drawn.
    pub cases: u64,
    /// Questions asked in them: peers that might run a task, and messages.
    pub questions: u64,
    /// Of those, answered with no.
    pub denied: u64,
    /// Answers that were not those of the reference.
    pub violations: u64,
    /// The first of them, as a person reads it.
    pub first: Option<String>,
}

impl Report {
    fn asked(&mut self, is_allowed: bool, should_be: bool, what: impl FnOnce() -> String) {
        self.questions += 1;
        self.denied += u64::from(!is_allowed);
        if is_allowed != should_be {
            self.violations += 1;
            self.first.get_or_insert_with(what);
        }
    }
}

/// Asks about so many cases.
pub fn run(seed: u64, cases: u64) -> Report {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut report = Report::default();
    let estimates = Estimates::default();
    for number in 0..cases {
        let case = Case::draw(&mut rng);
        let holders = if case.is_told { case.holders() } else { Holders::default() };
        placed(&case, number, &estimates, &holders, &mut report);
        let (message, carries) = words::draw(&case, &mut rng);
        said(&case, number, &message, carries, &mut report);
        report.cases += 1;
    }
    report
}

/// Who may run the task of a case, by placement itself.
fn placed(case: &Case, number: u64, estimates: &Estimates, holders: &Holders, report: &mut Report) {
    let spec = case.spec();
    let members: Vec<Member> = case.peers.iter().map(Place::member).collect();
    let loads: Vec<LoadDigest> = case.peers.iter().map(Place::load).collect();
    let sites: Vec<Site<'_>> = members.iter().zip(&loads).enumerate().map(|(index, it)| site(index, it)).collect();
    let (tried, ahead) = (BTreeMap::new(), BTreeMap::new());
    let circumstances = Circumstances {
        rules: None,
        estimates,
        holders,
        link: HomeLink { uplink_bits_per_s: 100_000_000, uplink_wait: Duration::ZERO },
        lambda: 1.0,
        deadline_in: None,
        tried: &tried,
        last_resort: false,
        ahead: &ahead,
    };
    for assessment in placement::rank(&spec, &sites, &circumstances).recorded() {
        let Some(index) = members.iter().position(|member| member.peer == assessment.peer) else { continue };
        let by_labels =
            matches!(assessment.exclusion.as_deref(), Some(Exclusion::Residency(_) | Exclusion::OutputStays(_)));
        // Another constraint may be named first: then nothing goes there either.
        let is_elsewise = assessment.exclusion.is_some() && !by_labels;
        let should = reference::may_run(case, index);
        let is_allowed = if is_elsewise { should } else { !by_labels };
        report.asked(is_allowed, should, || {
            format!("case {number}: peer {index} {} run it: {case:?}: {:?}", may(is_allowed), assessment.exclusion)
        });
    }
}

fn site<'a>(index: usize, (member, load): (&'a Member, &'a LoadDigest)) -> Site<'a> {
    Site {
        member,
        is_home: index == 0,
        rtt: Duration::from_millis(index as u64),
        loss: 0.0,
        load: Some(load),
        start_in: Duration::ZERO,
        heard_ago: Duration::ZERO,
    }
}

/// Who may hear a message of a case, as the door of a peer decides it.
fn said(case: &Case, number: u64, message: &Message, carries: &[Drawn], report: &mut Report) {
    for (index, place) in case.peers.iter().enumerate() {
        let member = place.member();
        let receiver = Receiver::of(&member, place.is_aware);
        let is_allowed = message.carried().into_iter().all(|labels| may_receive(labels, receiver).is_ok());
        let should = reference::may_have(carries, place);
        report.asked(is_allowed, should, || {
            format!("case {number}: peer {index} {} hear {}: {case:?}", may(is_allowed), message.kind())
        });
    }
}

fn may(is_allowed: bool) -> &'static str {
    if is_allowed { "may" } else { "may not" }
}

/// Who a peer of a case is.
fn id(index: usize) -> PeerId {
    PeerId([index as u8 + 1; 32])
}

/// The task of a case without its inputs.
fn bare_task() -> TaskSpec {
    TaskSpec::of_module(shoal_protocol::BlobId([200; 32]), 1_000)
}
