//! `shoal-testnet sim`: experiments under a virtual clock, without a network. One file per verb.

mod brief;
mod case;
mod chaos;
mod coordinates;
mod flow;
mod liars;
mod membership;
mod pipelines;
mod place;
mod report;
mod residency;
mod sabotage;
mod variants;
mod verify;

use std::process::ExitCode;

use shoal_testnet::sim::input::InputError;

use super::{BAD_CONFIGURATION, Failure, USAGE};

/// The experiment is done and its outcome is not what it has to be.
const NOT_RIGHT: u8 = 1;

/// Experiments under a virtual clock: the peers that shoald ships, and what they are compared with
#[derive(clap::Subcommand)]
pub(crate) enum Sim {
    Brief(brief::Brief),
    Place(place::PlaceTasks),
    Case(case::MakeCase),
    Chaos(chaos::Chaos),
    Coordinates(coordinates::Coordinates),
    Flow(flow::Flow),
    Liars(liars::Liars),
    Pipelines(pipelines::Pipelines),
    Variants(variants::Variants),
    Verify(verify::VerifyAnswers),
    Report(report::WriteReport),
    Residency(residency::Residency),
    Membership(membership::Membership),
}

impl Sim {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Brief(brief) => brief.run(),
            Self::Place(place) => place.run(),
            Self::Case(case) => case.run(),
            Self::Chaos(chaos) => chaos.run(),
            Self::Coordinates(coordinates) => coordinates.run(),
            Self::Flow(flow) => flow.run(),
            Self::Liars(liars) => liars.run(),
            Self::Pipelines(pipelines) => pipelines.run(),
            Self::Variants(variants) => variants.run(),
            Self::Verify(verify) => verify.run(),
            Self::Report(report) => report.run(),
            Self::Residency(residency) => residency.run(),
            Self::Membership(membership) => membership.run(),
        }
    }
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        Self::new(BAD_CONFIGURATION, &error, error.hint())
    }
}
