//! A decision as it was made, kept small; it becomes a [`Decision`] when a person asks.

use super::cost::LOSS_MS;
use super::explain::{AppliedRule, BuildCost, Candidate, Cost, Decision, Method, Verdict};
use super::{Assessment, Exclusion};
use crate::certificate::Member;
use crate::id::{PeerId, TaskId};
use crate::task::spec::Variant;

/// One attempt's decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The attempt.
    pub epoch: u32,
    /// How it was decided.
    pub method: Method,
    /// From acceptance to the award, in microseconds.
    pub decided_in_us: u64,
    /// λ that was used.
    pub lambda: f64,
    /// Peers asked for an offer.
    pub asked: u32,
    /// Where it went.
    pub executor: Option<PeerId>,
    /// The candidates, cheapest first, excluded ones last.
    pub assessments: Vec<Assessment>,
    /// What became of some of them since.
    pub verdicts: Vec<(PeerId, Verdict, String)>,
    /// Input of the task, for what-if.
    pub input_bytes: u64,
    /// The business rules about it.
    pub rules: Vec<AppliedRule>,
}

impl Record {
    /// Notes what became of a candidate.
    pub fn verdict(&mut self, peer: PeerId, verdict: Verdict, note: impl Into<String>) {
        let note = note.into();
        match self.verdicts.iter_mut().find(|(noted, ..)| *noted == peer) {
            Some(entry) => *entry = (peer, verdict, note),
            None => self.verdicts.push((peer, verdict, note)),
        }
    }

    /// The record of a task with these builds, as people read it.
    pub fn explain(&self, task: TaskId, variants: &[Variant], member: impl Fn(PeerId) -> Option<Member>) -> Decision {
        let name = |peer: PeerId| member(peer).map_or_else(|| peer.short(), |member| member.name);
        let mut candidates: Vec<_> =
            self.assessments.iter().map(|assessment| self.candidate(assessment, variants, &name)).collect();
        candidates.sort_by_key(|candidate| candidate.verdict != Verdict::Won);
        Decision {
            task,
            epoch: self.epoch,
            method: self.method,
            decided_in_us: self.decided_in_us,
            asked: self.asked,
            lambda: self.lambda,
            executor: self.executor,
            candidates,
            counterfactuals: self.counterfactuals(variants, &name),
            rules: self.rules.clone(),
        }
    }

    fn candidate(&self, assessment: &Assessment, variants: &[Variant], name: &impl Fn(PeerId) -> String) -> Candidate {
        let noted = self.verdicts.iter().find(|(peer, ..)| *peer == assessment.peer);
        let (verdict, note) = match (noted, &assessment.exclusion) {
            (Some((_, verdict, note)), _) => (*verdict, note.clone()),
            (None, Some(exclusion)) => (Verdict::Excluded, exclusion.to_string()),
            (None, None) if self.executor == Some(assessment.peer) => (Verdict::Won, String::new()),
            (None, None) => (Verdict::Ranked, String::new()),
        };
        let note = if note.is_empty() { self.what_stands_out(assessment) } else { note };
        Candidate {
            peer: assessment.peer,
            name: name(assessment.peer),
            role: assessment.role,
            verdict,
            cost: assessment.cost,
            variant: assessment.variant,
            builds: assessment
                .builds
                .iter()
                .filter_map(|(variant, cost)| {
                    let of = variants.get(usize::from(*variant))?;
                    Some(BuildCost { variant: *variant, name: called(of), declared_loss: of.loss, cost: *cost })
                })
                .collect(),
            note,
        }
    }

    fn what_stands_out(&self, assessment: &Assessment) -> String {
        let Some(cost) = assessment.cost else { return String::new() };
        if assessment.must_prepare {
            return "must fetch or compile the module".into();
        }
        let held = assessment.lacking.held_bytes.min(self.input_bytes);
        if 0 < held && held < self.input_bytes {
            return format!("holds {} of the input", percent(held, self.input_bytes));
        }
        let lacks = self.input_bytes - held;
        if cost.transfer > cost.compute && cost.transfer > cost.wait && lacks > 0 {
            return format!("{} would cross the network", bytes(lacks as f64));
        }
        if cost.wait > cost.compute {
            return format!("busy: starts in {:.0} ms", crate::time::millis(assessment.start_in));
        }
        if held > 0 || cost.transfer == 0.0 { "holds the input".into() } else { String::new() }
    }

    /// At which wait or input size the choice would have gone to the runner-up.
    fn counterfactuals(&self, variants: &[Variant], name: &impl Fn(PeerId) -> String) -> Vec<String> {
        let Some(winner) = self.executor.and_then(|peer| self.assessments.iter().find(|a| a.peer == peer)) else {
            return self.exclusions_in_the_way(name);
        };
        let mut lines = self.other_builds(winner, variants, name);
        let rivals = self.assessments.iter().filter(|a| a.peer != winner.peer && a.exclusion.is_none());
        let Some(rival) = rivals.min_by(|a, b| a.total().total_cmp(&b.total())) else {
            lines.extend(self.exclusions_in_the_way(name));
            return lines;
        };
        let gap = rival.total() - winner.total();
        let rival_name = name(rival.peer);
        if gap >= 0.0 {
            let wait = winner.cost.map_or(0.0, |cost| cost.wait) + gap;
            lines.push(format!("{rival_name} wins if {} made it wait over {wait:.1} ms", name(winner.peer)));
        } else {
            lines.push(format!("{rival_name} was within a near tie; ties are shared at random, or stay home"));
        }
        let slope = rival.cost_per_input_byte - winner.cost_per_input_byte;
        let at = self.input_bytes as f64 - gap / slope;
        if slope.abs() > f64::EPSILON && at.is_finite() && at > 0.0 && gap > 0.0 {
            let side = if slope > 0.0 { "under" } else { "over" };
            lines.push(format!("{rival_name} wins if the input were {side} {}", bytes(at)));
        }
        lines.extend(self.exclusions_in_the_way(name));
        lines
    }

    /// At which λ or declared loss another build would have been run at the winner.
    fn other_builds(&self, winner: &Assessment, variants: &[Variant], name: &impl Fn(PeerId) -> String) -> Vec<String> {
        let chosen = winner.builds.iter().find(|(variant, _)| *variant == winner.variant);
        let Some((_, chosen)) = chosen else { return Vec::new() };
        let others = winner.builds.iter().filter(|(variant, _)| *variant != winner.variant);
        let said = others.filter_map(|(variant, cost)| {
            let of = variants.get(usize::from(*variant))?;
            let flips = [lambda_to_flip(self.lambda, chosen, cost), loss_to_flip(of.loss, chosen, cost)];
            let flips = flips.into_iter().flatten().collect::<Vec<_>>().join(", or ");
            (!flips.is_empty()).then(|| format!("{} would run build {} if {flips}", name(winner.peer), called(of)))
        });
        said.collect()
    }

    /// Constraints whose absence would have brought in a cheaper peer.
    fn exclusions_in_the_way(&self, name: &impl Fn(PeerId) -> String) -> Vec<String> {
        let best =
            self.executor.and_then(|peer| self.assessments.iter().find(|a| a.peer == peer)).map(Assessment::total);
        self.assessments
            .iter()
            .filter(|a| {
                a.exclusion.as_deref() == Some(&Exclusion::EdgeHasRoom) && best.is_some_and(|best| a.total() < best)
            })
            .take(1)
            .map(|a| format!("{} wins with --cloud allow (cost {:.1})", name(a.peer), a.total()))
            .collect()
    }
}

/// Rounded, but never to all or nothing.
fn percent(part: u64, whole: u64) -> String {
    let percent = (100.0 * part as f64 / whole.max(1) as f64).round();
    format!("{:.0}%", percent.clamp(1.0, 99.0))
}

/// What to call a build.
fn called(variant: &Variant) -> String {
    if variant.name.is_empty() { variant.module.short() } else { variant.name.clone() }
}

/// λ at which the other build costs as much as the chosen one, if there is one: f of both stays, and their times grow with λ.
fn lambda_to_flip(lambda: f64, chosen: &Cost, other: &Cost) -> Option<String> {
    let at = lambda * (other.loss - chosen.loss) / (chosen.time() - other.time());
    let side = if other.time() < chosen.time() { "over" } else { "under" };
    (at.is_finite() && at > 0.0).then(|| format!("λ were {side} {}", short(at)))
}

/// The declared loss at which it does; none where not even a perfect answer would be worth the time.
fn loss_to_flip(declared: f64, chosen: &Cost, other: &Cost) -> Option<String> {
    let at = declared - (other.total() - chosen.total()) / LOSS_MS;
    (at > 0.0).then(|| format!("its loss under {}", short(at)))
}

/// Three significant digits.
fn short(value: f64) -> String {
    let decimals = (2.0 - value.abs().log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.decimals$}")
}

fn bytes(count: f64) -> String {
    match count {
        count if count >= 1e6 => format!("{:.1} MB", count / 1e6),
        count if count >= 1e3 => format!("{:.1} kB", count / 1e3),
        count => format!("{count:.0} B"),
    }
}
