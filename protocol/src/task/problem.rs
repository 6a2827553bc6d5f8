//! How a failed task is told to people: one [`Problem`] for each way to fail.

use super::report::{Ending, LimitKind};
use crate::api::{Problem, codes};
use crate::output::TaskError;

fn problem(code: &str, status: u16, title: String, detail: &str, hint: &str) -> Problem {
    Problem {
        code: code.into(),
        status,
        title,
        detail: detail.into(),
        hint: hint.into(),
        retryable: false,
        retry_after_ms: None,
    }
}

/// A task that has no result.
pub fn of_error(error: &TaskError) -> Problem {
    let title = error.to_string();
    match error {
        TaskError::NoCandidate { reasons, .. } => problem(
            codes::NO_CANDIDATE,
            409,
            title,
            &format!("excluded: {reasons}"),
            "see each peer's reason with `shoal explain last`, and loosen the constraint",
        ),
        TaskError::Residency { reasons, .. } => problem(
            codes::RESIDENCY,
            409,
            title,
            &format!("excluded: {reasons}"),
            "see each peer's labels with `shoal policy check`, give a peer of the region its label (`shoal peer label PEER \
             residency=REGION`), or leave the output where it is made (`--keep-output`)",
        ),
        TaskError::AllDeclined { reasons, .. } => Problem {
            retryable: true,
            retry_after_ms: Some(1_000),
            ..problem(
                codes::ALL_DECLINED,
                503,
                title,
                &format!("answers: {reasons}"),
                "see every answer with `shoal explain last`, or try again later",
            )
        },
        TaskError::Overloaded { retry_after, .. } => Problem {
            retryable: true,
            retry_after_ms: Some(retry_after.as_millis() as u64),
            ..problem(codes::OVERLOADED, 429, title, "", "try again after the time given")
        },
        TaskError::Cancelled => problem(codes::CANCELLED, 410, title, "", "submit it again if it is still wanted"),
        TaskError::AttemptsExhausted { .. } => Problem {
            retryable: true,
            ..problem(
                codes::ATTEMPTS_EXHAUSTED,
                502,
                title,
                "its executors kept failing",
                "see the attempts with `shoal explain last`, and the peers with `shoal peers`",
            )
        },
        TaskError::Unverified { .. } => problem(
            codes::UNVERIFIED,
            502,
            title,
            "somebody is wrong, or the module does not always give the same answer",
            "see who said what with `shoal explain last`; look whether the module uses nothing but its input",
        ),
        TaskError::ShuttingDown => {
            Problem { retryable: true, ..problem(codes::SHUTTING_DOWN, 503, title, "", "submit it at another peer") }
        }
        TaskError::NotStored { .. } => Problem {
            retryable: true,
            ..problem(
                codes::STORE,
                507,
                title,
                "nothing of it was taken on",
                "make room on the disk of this peer, or submit it at another",
            )
        },
        TaskError::NoGuardian { .. } => Problem {
            retryable: true,
            ..problem(
                codes::NO_GUARDIAN,
                503,
                title,
                "nothing of it was taken on",
                "see who is there with `shoal peers`, or submit it with `--durable 1`",
            )
        },
        TaskError::RevocationsStale => Problem {
            retryable: true,
            ..problem(
                codes::REVOCATIONS_STALE,
                503,
                title,
                "somebody may have been revoked meanwhile, and the task is marked restricted",
                "see that this peer reaches the one that signs for the mesh (`shoal mesh status`), or drop --restricted",
            )
        },
        TaskError::DeadlinePassed { .. } => problem(
            codes::DEADLINE_PASSED,
            504,
            title,
            "",
            "see what kept it with `shoal explain` and its id, and give it more time",
        ),
        TaskError::RecordDamaged { .. } => problem(
            codes::STORE,
            500,
            title,
            "the record is left on disk as it is",
            "check the disk, then submit the task again under another key",
        ),
    }
}

/// A run that did not exit by itself.
pub fn of_ending(ending: &Ending) -> Option<Problem> {
    match ending {
        Ending::Exited(0) => None,
        Ending::Exited(code) => Some(problem(
            codes::TASK_FAILED,
            200,
            format!("the module exited with code {code}"),
            "",
            "read what it said with `shoal logs last`",
        )),
        Ending::Trapped(trap) => Some(problem(
            codes::TRAPPED,
            200,
            "the module trapped".into(),
            trap,
            "read what it said with `shoal logs last`",
        )),
        Ending::LimitHit(limit) => {
            let (what, flag) = match limit {
                LimitKind::Memory => ("memory", "--mem"),
                LimitKind::Wall => ("wall time", "--timeout"),
                LimitKind::Output => ("output", "--output-limit"),
            };
            let title = format!("the module hit its limit of {what}");
            Some(problem(
                codes::LIMIT_HIT,
                200,
                title,
                "",
                &format!("raise the limit with `{flag}`, or mend the module"),
            ))
        }
        Ending::Invalid(why) => Some(problem(
            codes::INVALID_MODULE,
            200,
            "this is not a module that can be run".into(),
            why,
            "a task is a WASI preview-1 command: build it for wasm32-wasip1",
        )),
        Ending::HostFailed(why) => {
            Some(problem(codes::INTERNAL, 200, "the executing machine failed".into(), why, "look at its log"))
        }
    }
}
