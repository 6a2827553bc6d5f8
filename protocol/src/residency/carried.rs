//! What data a message carries, by its labels.
//!
//! **Invariant:** every kind of message is named here; one that is new does not compile until somebody has said what it carries.

use super::Labels;
use crate::message::Message;
use crate::output::{TaskError, TaskResult};
use crate::pipeline::memo::MemoWord;
use crate::task::durable::Counsel;
use crate::task::report::RunReport;
use crate::task::spec::Payload;

impl Message {
    /// The labels of each piece of data in it, as far as they say something. Ids, sizes and times are no data.
    pub fn carried(&self) -> Vec<&Labels> {
        let mut carried: Vec<&Labels> = match self {
            Self::Award(award) => vec![&award.spec.labels],
            Self::Outcome(outcome) => of_report(&outcome.report).into_iter().collect(),
            Self::Council(counsel) => of_counsel(counsel).into_iter().collect(),
            Self::Found(answer) => answer.found.result.as_ref().and_then(of_result).into_iter().collect(),
            Self::Memo(word) => match &**word {
                MemoWord::Recalled(_, Some(known)) | MemoWord::Remember(_, known) => vec![&known.labels],
                MemoWord::Recall(_) | MemoWord::Recalled(_, None) => Vec::new(),
            },
            // That somebody has it is said to those only who may have it.
            Self::Have(have) => have.blobs.iter().map(|held| &held.labels).collect(),
            // Rules and services are for everybody.
            Self::Rules(_) | Self::Services(_) => Vec::new(),
            Self::Beat(_)
            | Self::Will(_)
            | Self::Parting(_)
            | Self::Ping(_)
            | Self::Pong(_)
            | Self::ProbeRequest(_)
            | Self::ProbeAnswered(_)
            | Self::Rumour(_)
            | Self::Records(_)
            | Self::Load(_)
            | Self::Ask(_)
            | Self::Offer(_)
            | Self::Release(_)
            | Self::Accepted(_)
            | Self::Declined(_)
            | Self::Forwarded(_)
            | Self::Pull(_)
            | Self::Progress(_)
            | Self::Query(_)
            | Self::OutcomesReceived(_)
            | Self::Cancel(_)
            | Self::Seek(_)
            | Self::Want(_)
            | Self::Hold(_)
            | Self::Revocations(_)
            | Self::Leaving => Vec::new(),
        };
        carried.retain(|labels| !labels.is_empty());
        carried
    }
}

fn of_counsel(counsel: &Counsel) -> Option<&Labels> {
    match counsel {
        Counsel::Guard(guard) => Some(&guard.spec.labels),
        Counsel::Propose(propose) => of_result(&propose.vote.resolution.result),
        Counsel::Promised(promised) => of_result(&promised.accepted.as_ref()?.resolution.result),
        Counsel::Resolved(resolved) => of_result(&resolved.resolution.as_ref()?.result),
        Counsel::Guarded(_)
        | Counsel::Prepare(_)
        | Counsel::Accepted(_)
        | Counsel::Refused(_)
        | Counsel::Known(_)
        | Counsel::Inquire(_)
        | Counsel::Withdraw(_)
        | Counsel::Standing(_) => None,
    }
}

fn of_result(result: &Result<TaskResult, TaskError>) -> Option<&Labels> {
    of_report(&result.as_ref().ok()?.report)
}

/// What was written to either output; the name of a blob is none of it.
fn of_report(report: &RunReport) -> Option<&Labels> {
    let has_output = matches!(&report.output, Payload::Inline(bytes) if !bytes.is_empty());
    (has_output || !report.log.is_empty()).then_some(&report.labels)
}
