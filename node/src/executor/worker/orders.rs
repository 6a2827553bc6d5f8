//! The loop of a worker that runs tasks, and what reaches into a run from outside: the order to stop it.
//!
//! **Invariant:** an order to stop names the run it means; one that comes too late stops nothing.

use std::cell::Cell;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use shoal_protocol::cbor;

use super::super::line::{Kind, Line, LineError, PACKET_BYTES_MAX};
use super::super::words::{Answer, Order, Tend};
use super::modules::Modules;
use super::ticker::Ticker;
use super::{Files, run};

/// Time between two looks at the connection while a task runs: each is a system call.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Runs one task after the other until the daemon is gone.
pub(super) fn serve(line: &Arc<Line>, mut modules: Modules, ticker: &Ticker, buffer: &mut [u8]) {
    let mut files: Vec<OwnedFd> = Vec::new();
    // Anything but an order, or an order that cannot be read, is the end: there is nobody to tell.
    while let Ok(packet) = line.receive_with_files(buffer, &mut files) {
        let Ok(order) = cbor::decode::<Order>(packet.body) else { return };
        let files: Files = std::mem::take(&mut files).into_iter();
        match order {
            Order::Run(order) => {
                let over = run::run(line, &mut modules, ticker, *order, files);
                if line.send(Kind::Words, &cbor::encode(&over.answer), &[]).is_err() {
                    return;
                }
            }
            // That run is over.
            Order::Abort(_) => {}
            Order::Tend(order) => tend(&mut modules, &order, files),
        }
    }
}

/// What does not load is told by the first run that needs it.
fn tend(modules: &mut Modules, order: &Tend, mut files: Files) {
    order.drop.iter().for_each(|number| modules.unload(*number));
    if let Some((number, code)) = order.load.zip(next_file(&mut files)) {
        let _ = modules.load(number, code);
    }
}

/// What a run hears of the daemon.
#[derive(Debug)]
pub(super) struct Orders {
    line: Arc<Line>,
    number: u64,
    aborted: Cell<bool>,
    look_at: Cell<Instant>,
}

impl Orders {
    pub(super) fn of_run(line: &Arc<Line>, number: u64, now: Instant) -> Self {
        Self { line: Arc::clone(line), number, aborted: Cell::new(false), look_at: Cell::new(now + LOOK_EVERY) }
    }

    /// Whether the daemon has stopped this run, as of a moment ago.
    pub(super) fn is_aborted(&self, now: Instant) -> bool {
        if now >= self.look_at.get() {
            self.look();
            self.look_at.set(now + LOOK_EVERY);
        }
        self.aborted.get()
    }

    /// Waits; `false` when the run was stopped meanwhile.
    pub(super) fn sleep_until(&self, end: Instant) -> bool {
        while !self.aborted.get() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            // Whole milliseconds, upwards: all that a guest's clock shows.
            let left = left.as_micros().div_ceil(1_000);
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            if poll(&mut [PollFd::new(self.line.raw(), PollFlags::POLLIN)], left) != Ok(0) {
                self.look();
            }
        }
        false
    }

    fn look(&self) {
        let mut buffer = [0; 64];
        loop {
            match self.line.try_receive(&mut buffer) {
                Ok(packet) => match cbor::decode::<Order>(packet.body) {
                    Ok(Order::Abort(number)) if number == self.number => self.aborted.set(true),
                    Ok(Order::Abort(_)) => {}
                    // The daemon gives one task at a time; whoever says this is not it.
                    Ok(Order::Run(_) | Order::Tend(_)) | Err(_) => self.aborted.set(true),
                },
                Err(LineError::Nothing) => return,
                Err(LineError::Closed | LineError::Garbled | LineError::System(_)) => {
                    self.aborted.set(true);
                    return;
                }
            }
        }
    }
}

/// Sends bytes that are too many for one packet.
pub(super) fn send_bytes(line: &Line, bytes: &[u8]) -> Result<(), LineError> {
    bytes.chunks(PACKET_BYTES_MAX - 1).try_for_each(|part| line.send(Kind::Bytes, part, &[]))
}

/// The next file that came with an order.
pub(super) fn next_file(files: &mut Files) -> Option<File> {
    files.next().map(File::from)
}

/// The answer to an order that the daemon cannot have meant.
pub(super) fn nonsense() -> Answer {
    Answer::Unloadable("the order names a file that did not come with it".to_owned())
}
