//! One `shoald`, through all its lives.
//!
//! never started ─► running ⇄ frozen ─► ended ─► running …
//!
//! **Invariant:** dropped, it has ended and been collected.
//! **Not here:** the thread that starts it, whose end kills it too; that is `keeper`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::error::ClusterError;
use super::{LOOK, Peer};

#[derive(Debug)]
pub(super) struct Process {
    program: PathBuf,
    name: String,
    config: PathBuf,
    log: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    NotStarted,
    Running { child: Child, frozen: bool },
    Ended { status: ExitStatus, told: bool },
}

impl Process {
    pub(super) fn new(program: &Path, peer: &Peer) -> Self {
        Self {
            program: program.to_owned(),
            name: peer.name.clone(),
            config: peer.config.clone(),
            log: peer.log.clone(),
            state: Mutex::new(State::NotStarted),
        }
    }

    pub(super) fn start(&self, spawn: impl FnOnce(Command) -> io::Result<Child>) -> Result<(), ClusterError> {
        let mut state = self.state();
        if matches!(*state, State::Running { .. }) {
            return Err(ClusterError::Running { name: self.name.clone() });
        }
        let command = self.command()?;
        let child = spawn(command).map_err(|source| ClusterError::Spawn { name: self.name.clone(), source })?;
        *state = State::Running { child, frozen: false };
        Ok(())
    }

    fn command(&self) -> Result<Command, ClusterError> {
        let failed = |source| ClusterError::File { doing: "write", path: self.log.clone(), source };
        let log = File::options().create(true).append(true).open(&self.log).map_err(failed)?;
        let same = log.try_clone().map_err(failed)?;
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&self.config).stdin(Stdio::null()).stdout(log).stderr(same);
        // What configures the user's own daemon must not configure these.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"SHOAL")) {
            command.env_remove(name);
        }
        Ok(command)
    }

    pub(super) fn pid(&self) -> Option<u32> {
        match &*self.state() {
            State::Running { child, .. } => Some(child.id()),
            State::NotStarted | State::Ended { .. } => None,
        }
    }

    pub(super) fn is_frozen(&self) -> bool {
        matches!(*self.state(), State::Running { frozen: true, .. })
    }

    pub(super) fn status(&self) -> Option<ExitStatus> {
        match *self.state() {
            State::Ended { status, .. } => Some(status),
            State::NotStarted | State::Running { .. } => None,
        }
    }

    /// How it ended, the first time this is asked after it did.
    pub(super) fn take_news(&self) -> Option<ExitStatus> {
        match &mut *self.state() {
            State::Ended { status, told } if !*told => {
                *told = true;
                Some(*status)
            }
            State::NotStarted | State::Running { .. } | State::Ended { .. } => None,
        }
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), ClusterError> {
        let mut state = self.state();
        let State::Running { child, frozen } = &mut *state else {
            return Err(ClusterError::NotRunning { name: self.name.clone() });
        };
        // Not collected yet, so the number is still this child's.
        let pid = Pid::from_raw(child.id().cast_signed());
        kill(pid, signal).map_err(|errno| ClusterError::Signal { name: self.name.clone(), source: errno.into() })?;
        match signal {
            Signal::SIGSTOP => *frozen = true,
            Signal::SIGCONT => *frozen = false,
            _ => {}
        }
        Ok(())
    }

    /// Kills it and waits until it is gone.
    pub(super) fn kill(&self) -> Result<(), ClusterError> {
        let mut state = self.state();
        let State::Running { child, .. } = &mut *state else {
            return Err(ClusterError::NotRunning { name: self.name.clone() });
        };
        let status = child.kill().and_then(|()| child.wait());
        let status = status.map_err(|source| ClusterError::Signal { name: self.name.clone(), source })?;
        *state = State::Ended { status, told: true };
        Ok(())
    }

    /// Asked once: a daemon that is asked twice hands nothing back.
    pub(super) fn ask_to_end(&self) -> Result<(), ClusterError> {
        self.signal(Signal::SIGTERM)?;
        // A frozen process would only hear of it when it is thawed.
        self.signal(Signal::SIGCONT)
    }

    pub(super) async fn stop(&self, grace: Duration) -> Result<ExitStatus, ClusterError> {
        self.ask_to_end()?;
        let deadline = Instant::now() + grace;
        loop {
            if let State::Ended { status, told } = &mut *self.state() {
                *told = true;
                return Ok(*status);
            }
            if Instant::now() >= deadline {
                // It may have ended between the look and here.
                let _ = self.kill();
                continue;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The end of what it said, for a person.
    pub(super) fn log_end(&self) -> String {
        const LINES: usize = 12;
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// The state as it is now: a process that has ended is collected first.
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done in a state when a holder panics.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Running { child, .. } = &mut *state
            && let Ok(Some(status)) = child.try_wait()
        {
            *state = State::Ended { status, told: false };
        }
        state
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
