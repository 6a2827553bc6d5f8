//! What one run holds: its streams, its clock, its memory meter, and why it was stopped.
//!
//! **Invariant:** nothing in here grows with what the guest does beyond its limits.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::time::Instant;

use shoal_protocol::config::LOG_BYTES_MAX;
use shoal_protocol::id::TaskId;
use wasmtime::{Memory, ResourceLimiter};

use super::engine::TABLE_ELEMENTS_MAX;
use super::orders::Orders;
use crate::blobs::Cipher;

/// The store data of one run.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) orders: Orders,
    pub(super) task: TaskId,
    pub(super) args: Vec<String>,
    pub(super) started: Instant,
    pub(super) wall_end: Instant,
    pub(super) stdin: Stdin,
    pub(super) stdout: Stdout,
    pub(super) stderr: Tail,
    /// Which of the three streams the guest has closed.
    pub(super) closed: [bool; 3],
    pub(super) random: Option<blake3::OutputReader>,
    /// The clock of a run that is compared with others: it goes on by a step with each look, and no otherwise.
    pub(super) steady_ns: Option<Cell<u64>>,
    /// Known once the module is instantiated.
    pub(super) memory: Option<Memory>,
    pub(super) meter: MemoryMeter,
}

/// Why the host ended a run from inside; travels as the error of a host call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stop {
    #[error("exit status {0}")]
    Exit(u32),
    #[error("the output limit was reached")]
    Output,
    #[error("the wall-time limit was reached")]
    Wall,
    #[error("aborted")]
    Aborted,
    #[error("{0}")]
    Host(String),
}

impl Guest {
    /// What a run has to look at every tick and between the steps of long host calls.
    pub(super) fn checkpoint(&self) -> Result<(), Stop> {
        let now = Instant::now();
        if self.orders.is_aborted(now) {
            return Err(Stop::Aborted);
        }
        if now >= self.wall_end { Err(Stop::Wall) } else { Ok(()) }
    }
}

/// Standard input: payloads one after the other, files read as the guest asks for them.
#[derive(Debug)]
pub(super) struct Stdin(std::collections::VecDeque<Source>);

#[derive(Debug)]
pub(super) enum Source {
    Memory(io::Cursor<Vec<u8>>),
    File(File),
    /// It stands where sealed content begins, of which so much has been read.
    Sealed(File, Cipher, u64),
}

impl Stdin {
    pub(super) fn new(sources: impl IntoIterator<Item = Source>) -> Self {
        Self(sources.into_iter().collect())
    }

    /// Fills what it can; zero bytes mean the end, or no room.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(source) = self.0.front_mut() {
            let count = match source {
                Source::Memory(bytes) => bytes.read(buffer)?,
                Source::File(file) => file.read(buffer)?,
                Source::Sealed(file, cipher, at) => {
                    let count = file.read(buffer)?;
                    cipher.apply(*at, &mut buffer[..count])?;
                    *at += count as u64;
                    count
                }
            };
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.0.pop_front();
        }
        Ok(0)
    }
}

/// Standard output, kept up to its limit.
#[derive(Debug)]
pub(super) struct Stdout {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Stdout {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes: Vec::new(), bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX) }
    }

    /// Keeps what fits; more than that ends the run.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let room = self.bytes_max - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room { Err(Stop::Output) } else { Ok(()) }
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

/// The last [`LOG_BYTES_MAX`] bytes of standard error.
#[derive(Debug, Default)]
pub(super) struct Tail(std::collections::VecDeque<u8>);

impl Tail {
    pub(super) fn write(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(LOG_BYTES_MAX)..];
        let surplus = (self.0.len() + kept.len()).saturating_sub(LOG_BYTES_MAX);
        self.0.drain(..surplus);
        self.0.extend(kept);
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).into()
    }
}

/// Grants linear memory up to the task's limit, and remembers whether it ever refused: a guest that traps after that
/// hit its limit.
#[derive(Debug)]
pub(super) struct MemoryMeter {
    bytes_max: usize,
    pub(super) peak_bytes: usize,
    pub(super) refusals: u32,
}

impl MemoryMeter {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX), peak_bytes: 0, refusals: 0 }
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let granted = desired <= self.bytes_max;
        if granted {
            self.peak_bytes = self.peak_bytes.max(desired);
        } else {
            self.refusals = self.refusals.saturating_add(1);
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}
