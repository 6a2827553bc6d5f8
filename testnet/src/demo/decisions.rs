//! Some of the mesh's decisions, as the peer that made each explains it.

use serde::Serialize;
use shoal_protocol::placement::explain::{Candidate, Cost, Decision, Verdict};

use super::board::Place;
use super::calls::{self, Home};
use super::feed::{Answer, Fed, Outcome};
use super::work::Work;

/// Tasks whose decisions are read until one shows the choice that was made.
const READ_MAX: usize = 40;

/// A decision and the task it was about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    pub place: Place,
    pub user: &'static str,
    pub number: u32,
    pub kind: &'static str,
    pub about: String,
    pub home: String,
    /// The same for `shoal explain`.
    pub decision: Decision,
}

/// One decision for each place where something ran; a place that was not used has none.
pub(super) async fn of_each_place(work: &Work, fed: &Fed, homes: &[Home]) -> Vec<Told> {
    let mut told = Vec::new();
    for place in [Place::Home, Place::Neighbour, Place::Cloud] {
        let mut tasks: Vec<(&Outcome, &Answer)> = fed
            .outcomes
            .iter()
            .filter_map(|outcome| Some((outcome, outcome.result.as_ref().ok()?)))
            .filter(|(_, answer)| answer.place == place && answer.attempts == 1)
            .collect();
        tasks.sort_by_key(|(outcome, _)| outcome.job);
        // At home the quiet time tells most, elsewhere the rush does.
        let in_rush = |job: usize| work.jobs[job].arrival >= work.rush[0];
        tasks.sort_by_key(|(outcome, _)| in_rush(outcome.job) == (place == Place::Home));
        let mut best: Option<Told> = None;
        for (outcome, _) in tasks.into_iter().take(READ_MAX) {
            let job = &work.jobs[outcome.job];
            let home = calls::home(homes, job);
            let Ok(explanation) = home.client.explain(&outcome.task.to_string()).await else { continue };
            let Some(decision) = explanation.items.into_iter().next_back() else { continue };
            let shows_all = shows_the_choice(&decision, place);
            let item = &job.item;
            let this = Told {
                place,
                user: item.user,
                number: item.number,
                kind: item.kind,
                about: item.about.clone(),
                home: home.name.clone(),
                decision,
            };
            best.get_or_insert_with(|| this.clone());
            if shows_all {
                best = Some(this);
                break;
            }
        }
        told.extend(best);
    }
    told
}

/// Whether the cheapest peer won; and, where the task went away, that home or another peer would have made it wait.
fn shows_the_choice(decision: &Decision, place: Place) -> bool {
    let Some((winner, cost)) = winner(decision).and_then(|winner| Some((winner, winner.cost?))) else { return false };
    let others = decision.candidates.iter().filter(|candidate| candidate.peer != winner.peer);
    let costs: Vec<_> = others.clone().filter_map(|other| other.cost).collect();
    let cheapest = others
        .filter(|other| other.verdict != Verdict::Excluded)
        .all(|other| other.cost.is_none_or(|theirs| theirs.total() >= cost.total()));
    let waits = |theirs: &Cost| theirs.wait > cost.wait;
    cheapest && !costs.is_empty() && (place == Place::Home || costs.iter().any(waits))
}

pub(super) fn winner(decision: &Decision) -> Option<&Candidate> {
    let won = |candidate: &&Candidate| candidate.verdict == Verdict::Won || Some(candidate.peer) == decision.executor;
    decision.candidates.iter().find(won)
}
