//! What a failed command says and how it exits.
//!
//! ```text
//! error[SH0412]: no peer can run this task
//!   what  …    why   …    fix   the next command to try
//! ```
//!
//! **Invariant:** exit codes and `SH` codes are stable; scripts rely on them.

use core::fmt;
use std::io;
use std::path::Path;

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::api::{Problem, TaskView, codes, schema};
use shoal_protocol::task::TaskState;
use shoal_protocol::task::report::LimitKind;

use crate::client::ClientError;

/// How the process ends when it does not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The task itself failed.
    TaskFailed = 1,
    /// The command or one of its arguments is wrong.
    Usage = 2,
    /// No daemon, or it could not do its work.
    Unreachable = 69,
    /// No capacity; the same command may succeed later.
    NoCapacity = 75,
    /// Client and daemon are of different versions.
    VersionMismatch = 76,
    /// Denied.
    Denied = 77,
    /// The configuration is bad.
    BadConfiguration = 78,
    /// It took too long.
    TimedOut = 124,
    /// Interrupted from the keyboard.
    Interrupted = 130,
}

/// Codes of failures that are found here and not by the daemon.
pub(crate) mod own {
    pub(crate) const UNREACHABLE: &str = "SH0101";
    pub(crate) const BROKEN: &str = "SH0102";
    pub(crate) const TIMEOUT: &str = "SH0103";
    pub(crate) const VERSION: &str = "SH0104";
    pub(crate) const ADDRESS: &str = "SH0105";
    pub(crate) const READ: &str = "SH0110";
    pub(crate) const WRITE: &str = "SH0111";
    pub(crate) const NO_MODULE: &str = "SH0112";
    pub(crate) const ARGUMENT: &str = "SH0113";
    pub(crate) const CHANGED: &str = "SH0114";
    pub(crate) const INTERRUPTED: &str = "SH0130";
    pub(crate) const PROGRAM: &str = "SH0140";
    pub(crate) const NOT_STARTED: &str = "SH0141";
    pub(crate) const MESH: &str = "SH0150";
    pub(crate) const CONFIGURATION: &str = "SH0160";
    pub(crate) const AUDIT: &str = "SH0170";
}

/// A failed command: what, why, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// How the process ends.
    #[serde(serialize_with = "as_number")]
    pub exit: Exit,
    /// Stable code.
    pub code: Box<str>,
    /// One line.
    pub title: Box<str>,
    /// What exactly, with the figures.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub what: Box<str>,
    /// Why.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub why: Box<str>,
    /// The next command to try.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub fix: Box<str>,
    /// The module's exit code, when that is the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest_exit_code: Option<u32>,
}

fn as_number<S: serde::Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(*exit as u8)
}

impl Failure {
    pub(crate) fn new(exit: Exit, code: &str, title: impl Into<Box<str>>) -> Self {
        Self {
            exit,
            code: code.into(),
            title: title.into(),
            what: "".into(),
            why: "".into(),
            fix: "".into(),
            guest_exit_code: None,
        }
    }

    pub(crate) fn what(self, what: impl Into<Box<str>>) -> Self {
        Self { what: what.into(), ..self }
    }

    pub(crate) fn why(self, why: impl Into<Box<str>>) -> Self {
        Self { why: why.into(), ..self }
    }

    pub(crate) fn fix(self, fix: impl Into<Box<str>>) -> Self {
        Self { fix: fix.into(), ..self }
    }

    /// A wrong argument.
    pub(crate) fn usage(title: impl Into<Box<str>>) -> Self {
        Self::new(Exit::Usage, own::ARGUMENT, title)
    }

    /// A file that cannot be read.
    pub(crate) fn read(path: &Path, error: &io::Error) -> Self {
        let fix = match error.kind() {
            io::ErrorKind::NotFound => "check the path; it is looked for from the current directory",
            io::ErrorKind::PermissionDenied => "check who may read it: ls -l",
            _ => "check the file",
        };
        Self::new(Exit::Usage, own::READ, format!("cannot read `{}`", path.display())).why(plain(error)).fix(fix)
    }

    /// A file that cannot be written.
    pub(crate) fn write(path: &Path, error: &io::Error) -> Self {
        Self::new(Exit::Usage, own::WRITE, format!("cannot write `{}`", path.display()))
            .why(plain(error))
            .fix("name another place for it")
    }

    /// How a task that has ended failed, if it did.
    pub(crate) fn of_task(view: &TaskView) -> Option<Self> {
        let next = format!("see what it wrote: shoal logs {}", crate::format::task(view.task));
        let failure = match (&view.problem, view.state, view.exit_code) {
            (Some(problem), _, _) => Self::from(problem.clone()),
            (None, TaskState::Done, None | Some(0)) => return None,
            (None, TaskState::Done, Some(code)) => {
                Self::new(Exit::TaskFailed, codes::TASK_FAILED, format!("the module exited with code {code}"))
            }
            (None, TaskState::Cancelled, _) => Self::new(Exit::Interrupted, codes::CANCELLED, "the task was cancelled"),
            (None, _, _) => Self::new(Exit::TaskFailed, codes::INTERNAL, "the task has no result"),
        };
        let exit = match view.limit {
            Some(LimitKind::Wall) => Exit::TimedOut,
            Some(LimitKind::Memory | LimitKind::Output) | None => failure.exit,
        };
        let why = if failure.why.is_empty() { last_line(&view.log).into() } else { failure.why.clone() };
        let fix = if failure.fix.is_empty() { next.into() } else { failure.fix.clone() };
        Some(Self { exit, why, fix, guest_exit_code: view.exit_code, ..failure })
    }

    /// The Ctrl-C that ended the command.
    pub(crate) fn interrupted(title: impl Into<Box<str>>) -> Self {
        Self::new(Exit::Interrupted, own::INTERRUPTED, title)
    }

    /// One line of JSON for programs.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Document<'a> {
            schema: String,
            error: &'a Failure,
        }
        serde_json::to_string(&Document { schema: schema(), error: self }).unwrap_or_default()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", format_args!("error[{}]", self.code).red().bold(), ": ".bold())?;
        write!(f, "{}", self.title.bold())?;
        for (name, text) in [("what", &self.what), ("why ", &self.why), ("fix ", &self.fix)] {
            if !text.is_empty() {
                let indented = text.trim_end().replace('\n', "\n        ");
                write!(f, "\n  {}  {indented}", name.dimmed())?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let exit = match problem.code.as_str() {
            codes::BAD_REQUEST
            | codes::NO_TASK
            | codes::NO_PEER
            | codes::NO_PIPELINE
            | codes::BAD_PIPELINE
            | codes::NO_INVITATION
            | codes::BAD_POLICY
            | codes::POLICY_OLD
            | codes::NO_SERVICE
            | codes::SERVICE_OLD
            | codes::BAD_SERVICE
            | codes::TOO_MANY_SERVICES
            | codes::AMBIGUOUS
            | codes::IN_USE
            | codes::NO_DATASET
            | codes::DECLARED_OTHERWISE
            | codes::BAD_RELEASE
            | codes::BAD_STREAM
            | codes::KEY_TAKEN
            | codes::KEPT_LESS
            | codes::TOO_LARGE => Exit::Usage,
            codes::NO_STREAM if !problem.retryable => Exit::Usage,
            codes::DENIED
            | codes::POLICY_DENIED
            | codes::SERVICE_DENIED
            | codes::NO_ISSUER
            | codes::RESIDENCY
            | codes::TICKET
            | codes::BUDGET_SPENT => Exit::Denied,
            codes::NO_BLOB if !problem.retryable => Exit::Usage,
            codes::CLOCK => Exit::BadConfiguration,
            codes::NO_CANDIDATE
            | codes::ALL_DECLINED
            | codes::OVERLOADED
            | codes::KEEPER_AWAY
            | codes::SHUTTING_DOWN
            | codes::ATTEMPTS_EXHAUSTED => Exit::NoCapacity,
            codes::CANCELLED => Exit::Interrupted,
            codes::DEADLINE_PASSED => Exit::TimedOut,
            codes::INTERNAL | codes::STORE | codes::NO_INVITER => Exit::Unreachable,
            codes::INVALID_MODULE | codes::TASK_FAILED | codes::CALL_FAILED | codes::TRAPPED | codes::LIMIT_HIT => {
                Exit::TaskFailed
            }
            _ if problem.retryable => Exit::NoCapacity,
            _ => Exit::TaskFailed,
        };
        let fix = match problem.retry_after_ms {
            Some(ms) if !problem.hint.is_empty() => format!("{} (worth trying again in {ms} ms)", problem.hint),
            Some(ms) => format!("try again in {ms} ms"),
            None => problem.hint,
        };
        Self::new(exit, &problem.code, problem.title).why(problem.detail).fix(fix)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let fix = error.hint();
        let (exit, code, title, why) = match error {
            ClientError::Problem(problem) => return Self::from(*problem),
            ClientError::Address { .. } => (Exit::Usage, own::ADDRESS, error.to_string(), String::new()),
            ClientError::Unreachable { socket, source } => {
                let title = format!("no shoald answers at {}", socket.display());
                (Exit::Unreachable, own::UNREACHABLE, title, plain(&source))
            }
            ClientError::Broken { why } => {
                (Exit::Unreachable, own::BROKEN, "the connection to shoald broke".to_owned(), why)
            }
            ClientError::Timeout { .. } => (Exit::TimedOut, own::TIMEOUT, error.to_string(), String::new()),
            ClientError::Schema { .. } => (Exit::VersionMismatch, own::VERSION, error.to_string(), String::new()),
            ClientError::Malformed { why } => {
                let title = "the answer of shoald cannot be understood".to_owned();
                (Exit::VersionMismatch, own::VERSION, title, why)
            }
        };
        Self::new(exit, code, title).why(why).fix(fix)
    }
}

/// An I/O error without the number that means nothing to a person.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

fn last_line(log: &str) -> String {
    log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().chars().take(300).collect()
}
