//! What a peer says and does about tasks, in a line each.
//!
//! Without loads, coordinates and speeds: those are reckoned in floating point, whose last digit is the machine's own.

use crate::id::{PeerId, TaskId};
use crate::message::{DeclineReason, Message, TaskRef};
use crate::output::{Event, Output};
use crate::store::Change;
use crate::task::durable::wire::{Counsel, Guard, Prepare, Propose};
use crate::task::durable::{Council, Resolution, Vote};

fn id(task: TaskId) -> u8 {
    task.0[0]
}

fn attempt(of: TaskRef) -> String {
    format!("{}.{:x}", id(of.task), of.epoch)
}

/// None for what does not concern tasks.
pub(super) fn deed(output: &Output, index: impl Fn(PeerId) -> Option<usize>) -> Option<String> {
    let peer = |peer| index(peer).map_or_else(|| "?".to_owned(), |n| n.to_string());
    Some(match output {
        Output::Send { to, message } => format!("-> {} {}", peer(*to), said(message, &peer)?),
        Output::Execute(execution) => format!("runs {}", attempt(execution.attempt)),
        Output::Abort(of) => format!("aborts {}", attempt(*of)),
        Output::Fetch { attempt: of, blobs } => {
            let blobs: Vec<_> = blobs.iter().map(|blob| (blob.id.0[0], blob.bytes, peer(blob.holder))).collect();
            format!("fetches {blobs:?} for {}", attempt(*of))
        }
        Output::Keep { task, blobs } => format!("keeps {} blobs of {}", blobs.len(), id(*task)),
        Output::Forgotten { task } => format!("does not know how {} ended", id(*task)),
        Output::Forget { task } => format!("forgets the blobs of {}", id(*task)),
        Output::Acknowledged { task } => format!("ACKNOWLEDGES {}", id(*task)),
        Output::NotAcknowledged { task, error } => format!("does not acknowledge {}: {error}", id(*task)),
        Output::Finish { task, result } => match result {
            Ok(result) => format!("FINISHES {} of {} after {}", id(*task), peer(result.executor), result.attempts),
            Err(error) => format!("FINISHES {}: {error}", id(*task)),
        },
        Output::Persist { changes, .. } => {
            format!("writes {}", changes.iter().map(change).collect::<Vec<_>>().join(" "))
        }
        Output::Found { found, .. } => {
            format!(
                "found {:?}",
                found.as_ref().map(|found| (id(found.task), found.state, found.unpromised, found.is_damaged()))
            )
        }
        Output::Notify(Event::TaskChanged { task, state, epoch, .. }) => {
            format!("notes {} {state:?} {epoch:x}", id(*task))
        }
        _ => return None,
    })
}

fn change(change: &Change) -> String {
    let (sign, key, bytes) = match change {
        Change::Put { key, bytes } => ('+', key, bytes.len()),
        Change::Delete { key } => ('-', key, 0),
    };
    let kind = key.first().copied().map_or('?', char::from);
    format!("{sign}{kind}{}:{bytes}", key.get(1).copied().unwrap_or_default())
}

fn said(message: &Message, peer: &impl Fn(PeerId) -> String) -> Option<String> {
    Some(match message {
        Message::Award(award) => {
            let near = award.alternatives.len();
            let kept = if award.kept { " kept" } else { "" };
            format!("award {}{kept} from {} near {near} firm {}", attempt(award.attempt), peer(award.home), award.firm)
        }
        Message::Accepted(it) => format!("accepted {} {:?}", attempt(it.attempt), it.state),
        Message::Declined(it) => {
            let why = match &it.reason {
                DeclineReason::Counter(_) => "counter".to_owned(),
                reason => format!("{reason:?}"),
            };
            format!("declined {} {why}", attempt(it.attempt))
        }
        Message::Progress(it) => format!("progress {} {:?}", attempt(it.attempt), it.state),
        Message::Query(of) => format!("query {}", attempt(*of)),
        Message::Outcome(it) => format!("outcome {} {:?}", attempt(it.attempt), it.report.ending),
        Message::OutcomesReceived(of) => format!("received {:?}", of.iter().map(|of| attempt(*of)).collect::<Vec<_>>()),
        Message::Cancel(of) => format!("cancel {}", attempt(*of)),
        Message::Release(of) => format!("release {}", attempt(*of)),
        Message::Council(counsel) => council(counsel, peer),
        Message::Seek(seek) => format!("seek {}", id(seek.task)),
        _ => return None,
    })
}

fn council(counsel: &Counsel, peer: &impl Fn(PeerId) -> String) -> String {
    let members = |council: &Council| council.members.iter().map(|it| peer(it.peer)).collect::<Vec<_>>().join("");
    let ballot = |ballot: &super::super::Ballot| format!("{}/{}", ballot.round, peer(ballot.owner));
    let vote = |it: &Vote| format!("{} in {}", resolution(&it.resolution, peer), ballot(&it.ballot));
    let what = match counsel {
        Counsel::Guard(it) => {
            let Guard { council, name, spec, keeping, age, .. } = &**it;
            format!("{} of {} {name} {keeping:?} {age:?} {} inputs", council.term, members(council), spec.inputs.len())
        }
        Counsel::Guarded(it) => format!("{} {:?}", it.case.term, it.refusal),
        Counsel::Prepare(it) => {
            let Prepare { council, ballot: bid, expires_in, leader_gave_up, age, .. } = it;
            format!("{} of {} {expires_in:?} gave up {leader_gave_up} {age:?}", ballot(bid), members(council))
        }
        Counsel::Promised(it) => format!("{} {:?}", ballot(&it.ballot), it.accepted.as_ref().map(vote)),
        Counsel::Propose(it) => {
            let Propose { council, vote: proposed, expires_in, age, .. } = &**it;
            format!("{} of {} {expires_in:?} {age:?}", vote(proposed), members(council))
        }
        Counsel::Accepted(it) => ballot(&it.ballot),
        Counsel::Refused(it) => format!("{} here {}", ballot(&it.promised), it.leader_is_here),
        Counsel::Resolved(it) => {
            let end = it.resolution.as_ref().map(|end| resolution(end, peer));
            format!("{} {end:?}", ballot(&it.ballot))
        }
        Counsel::Known(case) | Counsel::Withdraw(case) => case.term.to_string(),
        Counsel::Inquire(cases) => format!("{:?}", cases.iter().map(|case| id(case.task)).collect::<Vec<_>>()),
        Counsel::Standing(it) => format!("{} holds {} leads {}", ballot(&it.ballot), it.holds, it.leads),
    };
    format!("{} {what}", counsel.kind())
}

fn resolution(of: &Resolution, peer: &impl Fn(PeerId) -> String) -> String {
    match &of.result {
        Ok(result) => format!("{:?} at {} after {}", of.state, peer(result.executor), result.attempts),
        Err(error) => format!("{:?}: {error}", of.state),
    }
}
