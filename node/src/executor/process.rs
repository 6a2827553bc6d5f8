//! One worker process, as the daemon holds it: started, spoken to, and ended.
//!
//! **Invariant:** a worker lives no longer than this value, nor than the thread that made it (the kernel kills it then).
//! **Not here:** what a worker may do. It locks itself down before anything of a stranger reaches it (`worker/`).

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shoal_protocol::cbor;

use super::census::Census;
use super::line::{Kind, Line, LineError, PACKET_BYTES_MAX, packet};
use super::words::{Begin, Ready};

/// How long a fresh worker may take to be ready: milliseconds, but for a machine that is busy with everything else.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a wait for a worker looks up: for a run that was aborted, or is far over its time.
pub(super) const LOOK_UP_EVERY: Duration = Duration::from_millis(50);

/// How long a worker may take to make room for an order. Idle ones have nothing but room, unless they answer what they have not
/// read.
const TAKEN_WITHIN: Duration = Duration::from_secs(2);

/// The program that workers run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerProgram {
    /// Its file.
    pub path: PathBuf,
    /// The arguments that make it a worker.
    pub arguments: Vec<OsString>,
}

impl Default for WorkerProgram {
    /// This very program, also when its file has been replaced since it was started.
    fn default() -> Self {
        Self { path: "/proc/self/exe".into(), arguments: default_arguments() }
    }
}

#[cfg(not(test))]
fn default_arguments() -> Vec<OsString> {
    vec![super::worker::ARGUMENT.into()]
}

/// This crate's own tests are a program without a `main` of ours: there a test is the worker.
#[cfg(test)]
fn default_arguments() -> Vec<OsString> {
    ["executor::tests::this_process_as_a_worker", "--exact", "--ignored", "--test-threads=1"].map(OsString::from).into()
}

/// Why there is no worker.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartFailure {
    #[error("cannot start {}: {error}", path.display())]
    Spawn { path: PathBuf, error: io::Error },
    #[error("it did not get ready: {0}")]
    NotReady(String),
}

#[derive(Debug)]
pub(super) struct WorkerProcess {
    child: Child,
    line: Arc<Line>,
    buffer: Vec<u8>,
    /// Bytes of a packet in the buffer that nobody has looked at.
    early: Option<usize>,
    pub(super) ready: Ready,
    ended: Option<ExitStatus>,
    census: Census,
}

impl WorkerProcess {
    /// Starts one and waits until it is locked down.
    pub(super) fn start(program: &WorkerProgram, begin: &Begin, census: &Census) -> Result<Self, StartFailure> {
        let failed = |error| StartFailure::Spawn { path: program.path.clone(), error };
        let (line, theirs) = Line::pair().map_err(failed)?;
        line.set_patience(LOOK_UP_EVERY).map_err(failed)?;
        line.set_send_patience(TAKEN_WITHIN).map_err(failed)?;
        let child = Command::new(&program.path)
            .arg0("shoald-worker")
            .args(&program.arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What a terminal says to the daemon is not meant for its workers.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        census.began(child.id());
        let mut worker = Self {
            child,
            line: Arc::new(line),
            buffer: vec![0; PACKET_BYTES_MAX],
            early: None,
            ready: Ready { settings: [0; 32], parts: Vec::new() },
            ended: None,
            census: census.clone(),
        };
        worker.ready = worker.begin(begin)?;
        Ok(worker)
    }

    fn begin(&mut self, begin: &Begin) -> Result<Ready, StartFailure> {
        let not_ready = |what: String| StartFailure::NotReady(what);
        match self.say(begin, &[]) {
            Ok(()) => {}
            Err(LineError::Closed) => return Err(not_ready(self.obituary())),
            Err(error) => return Err(not_ready(error.to_string())),
        }
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            match self.hear::<Ready>() {
                Ok(Heard::Words(ready)) => return Ok(ready),
                Ok(Heard::Bytes(_)) => return Err(not_ready("it said something else".to_owned())),
                Err(LineError::Nothing) if Instant::now() < deadline => {}
                Err(LineError::Nothing) => return Err(not_ready(format!("it took more than {READY_TIMEOUT:?}"))),
                Err(LineError::Closed) => return Err(not_ready(self.obituary())),
                Err(error) => return Err(not_ready(error.to_string())),
            }
        }
    }

    pub(super) fn line(&self) -> &Arc<Line> {
        &self.line
    }

    pub(super) fn say<T: Serialize>(&self, words: &T, files: &[i32]) -> Result<(), LineError> {
        self.line.send(Kind::Words, &cbor::encode(words), files)
    }

    /// The same, if the kernel takes it at once.
    pub(super) fn say_at_once<T: Serialize>(&self, words: &T) -> Result<(), LineError> {
        self.line.try_send(Kind::Words, &cbor::encode(words))
    }

    /// Which kind of packet comes before falling asleep would have been worth it; what it is, [`Self::hear`] tells.
    pub(super) fn speaks_soon(&mut self) -> Option<Kind> {
        let bytes = self.line.receive_soon(&mut self.buffer).ok()?;
        self.early = Some(bytes);
        packet(self.buffer.get(..bytes)?).ok().map(|packet| packet.kind)
    }

    /// What it says next; [`LineError::Nothing`] after [`LOOK_UP_EVERY`].
    pub(super) fn hear<T: DeserializeOwned>(&mut self) -> Result<Heard<'_, T>, LineError> {
        let packet = match self.early.take() {
            Some(bytes) => packet(self.buffer.get(..bytes).unwrap_or_default())?,
            None => self.line.receive(&mut self.buffer)?,
        };
        Ok(match packet.kind {
            Kind::Bytes => Heard::Bytes(packet.body),
            Kind::Words => Heard::Words(cbor::decode(packet.body).map_err(|_| LineError::Garbled)?),
        })
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.census.ends(self.child.id());
            // Fails only for one that has ended.
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
        self.ended
    }

    /// Waits for the end of one that has closed its connection, and says what it was.
    pub(super) fn obituary(&mut self) -> String {
        self.census.ends(self.child.id());
        let status = match self.ended {
            Some(status) => Some(status),
            None => self.wait_a_moment(),
        };
        self.ended = status;
        describe(status.or_else(|| self.kill()))
    }

    /// Whether it is known to have ended.
    pub(super) fn is_gone(&self) -> bool {
        self.ended.is_some()
    }

    /// The signal that ended it.
    pub(super) fn signal(&self) -> Option<i32> {
        self.ended.and_then(|status| status.signal())
    }

    /// A process that dies closes its files before its status can be had.
    fn wait_a_moment(&mut self) -> Option<ExitStatus> {
        const MOMENT: Duration = Duration::from_millis(1);
        const MOMENTS: u32 = 1_000;
        for _ in 0..MOMENTS {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(MOMENT),
                Ok(Some(status)) => return Some(status),
                Err(_) => return None,
            }
        }
        None
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a worker said.
#[derive(Debug)]
pub(super) enum Heard<'a, T> {
    Words(T),
    Bytes(&'a [u8]),
}

/// How a worker ended, as a person is told.
fn describe(status: Option<ExitStatus>) -> String {
    let Some(status) = status else { return "nobody knows how it ended".to_owned() };
    let Some(signal) = status.signal() else {
        return format!("it ended by itself, with exit code {}", status.code().unwrap_or_default());
    };
    let name = Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |name| name.as_str().to_owned());
    let why = match Signal::try_from(signal) {
        Ok(Signal::SIGKILL) => ", as the system does when memory runs out",
        Ok(Signal::SIGSYS) => ", because it asked the system for what a worker may not",
        Ok(Signal::SIGSEGV | Signal::SIGBUS | Signal::SIGILL | Signal::SIGFPE) => ", because it crashed",
        Ok(Signal::SIGABRT) => ", because it gave up",
        Ok(Signal::SIGXCPU) => ", because it took too much of a core's time",
        Ok(_) | Err(_) => "",
    };
    format!("it was ended by {name}{why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let program = WorkerProgram { path: "/no/such/program".into(), arguments: Vec::new() };

        let failure = WorkerProcess::start(&program, &Begin::Compile, &Census::default()).unwrap_err();

        assert!(failure.to_string().contains("/no/such/program"), "{failure}");
    }

    #[test]
    fn a_program_that_is_no_worker_is_told_from_one() {
        let program = WorkerProgram { path: "/bin/false".into(), arguments: Vec::new() };

        let failure = WorkerProcess::start(&program, &Begin::Compile, &Census::default()).unwrap_err();

        assert!(failure.to_string().contains("exit code 1"), "{failure}");
    }
}
