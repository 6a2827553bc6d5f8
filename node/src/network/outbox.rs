//! Frames waiting for one neighbour, joined into one buffer so that whatever has gathered is written at once.
//!
//! **Invariant:** holds at most `OUTBOX_BYTES_MAX` bytes and `OUTBOX_FRAMES_MAX` frames.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use shoal_protocol::config::FRAME_BYTES_MAX;

use super::limits::{OUTBOX_BYTES_KEPT, OUTBOX_BYTES_MAX, OUTBOX_FRAMES_MAX};

#[derive(Debug, Default)]
pub(super) struct Outbox(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    frames: usize,
    phase: Phase,
    writer: Option<Waker>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Takes nothing more; what is queued is still written.
    Closing,
    /// Nothing is written any more.
    Cut,
}

/// Why a frame was not queued.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    Closed,
    Full,
    TooLarge,
}

/// What the writer finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// So many frames are in the buffer now.
    Frames(usize),
    /// Nothing yet; the writer will be woken.
    Nothing,
    /// Nothing, and nothing will come.
    Closed,
    /// Stop writing.
    Cut,
}

impl Outbox {
    pub(super) fn push(&self, body: &[u8]) -> Result<(), Rejected> {
        let Some(length) = frame_length(body) else { return Err(Rejected::TooLarge) };
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return Err(Rejected::Closed);
        }
        if state.bytes.len() + 4 + body.len() > OUTBOX_BYTES_MAX || state.frames >= OUTBOX_FRAMES_MAX {
            state.phase = Phase::Cut;
            wake(state);
            return Err(Rejected::Full);
        }
        state.bytes.extend_from_slice(&length.to_be_bytes());
        state.bytes.extend_from_slice(body);
        state.frames += 1;
        wake(state);
        Ok(())
    }

    /// Takes nothing more from now on; what is queued is still written.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closing;
        }
        wake(state);
    }

    /// Stops at once.
    pub(super) fn cut(&self) {
        let mut state = self.lock();
        state.phase = Phase::Cut;
        wake(state);
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().phase == Phase::Open
    }

    /// Moves all that waits into `batch`, which must have been written out.
    pub(super) fn take(&self, batch: &mut Vec<u8>, context: &Context<'_>) -> Taken {
        let mut state = self.lock();
        match state.phase {
            Phase::Cut => return Taken::Cut,
            Phase::Open | Phase::Closing => {}
        }
        if !state.bytes.is_empty() {
            batch.clear();
            if batch.capacity() > OUTBOX_BYTES_KEPT {
                *batch = Vec::new();
            }
            mem::swap(&mut state.bytes, batch);
            return Taken::Frames(mem::take(&mut state.frames));
        }
        if state.phase == Phase::Closing {
            return Taken::Closed;
        }
        state.wake_later(context);
        Taken::Nothing
    }

    /// What a writer that cannot write now should know: `Nothing`, `Closed` or `Cut`. It is woken when that changes.
    pub(super) fn phase(&self, context: &Context<'_>) -> Taken {
        let mut state = self.lock();
        match state.phase {
            Phase::Cut => return Taken::Cut,
            Phase::Closing => return Taken::Closed,
            Phase::Open => {}
        }
        state.wake_later(context);
        Taken::Nothing
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake_later(&mut self, context: &Context<'_>) {
        match &mut self.writer {
            Some(writer) => writer.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
    }
}

/// The length that precedes a body; none when it is longer than a frame may be.
pub(super) fn frame_length(body: &[u8]) -> Option<u32> {
    u32::try_from(body.len()).ok().filter(|_| body.len() <= FRAME_BYTES_MAX)
}

fn wake(mut state: MutexGuard<'_, State>) {
    let writer = state.writer.take();
    drop(state);
    if let Some(writer) = writer {
        writer.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn take(outbox: &Outbox, batch: &mut Vec<u8>) -> Taken {
        outbox.take(batch, &Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_has_gathered_is_taken_as_one_batch() {
        let outbox = Outbox::default();
        let mut batch = Vec::new();
        outbox.push(b"ab").unwrap();
        outbox.push(b"c").unwrap();

        assert_eq!(take(&outbox, &mut batch), Taken::Frames(2));
        assert_eq!(batch, b"\0\0\0\x02ab\0\0\0\x01c");
        assert_eq!(take(&outbox, &mut batch), Taken::Nothing);
    }

    #[test]
    fn a_closing_outbox_gives_what_it_has_and_takes_nothing() {
        let outbox = Outbox::default();
        let mut batch = Vec::new();
        outbox.push(b"last").unwrap();
        outbox.close();

        assert_eq!(outbox.push(b"more"), Err(Rejected::Closed));
        assert_eq!(take(&outbox, &mut batch), Taken::Frames(1));
        assert_eq!(take(&outbox, &mut batch), Taken::Closed);
    }

    #[test]
    fn a_full_outbox_cuts_the_neighbour_off() {
        let outbox = Outbox::default();
        let frame = vec![0; FRAME_BYTES_MAX];
        let fit = OUTBOX_BYTES_MAX / (FRAME_BYTES_MAX + 4);
        for _ in 0..fit {
            outbox.push(&frame).unwrap();
        }

        assert_eq!(outbox.push(&frame), Err(Rejected::Full));
        assert_eq!(take(&outbox, &mut Vec::new()), Taken::Cut);
        assert_eq!(outbox.push(b"x"), Err(Rejected::Closed));
    }

    #[test]
    fn many_tiny_frames_are_bounded_too() {
        let outbox = Outbox::default();
        for _ in 0..OUTBOX_FRAMES_MAX {
            outbox.push(b"").unwrap();
        }

        assert_eq!(outbox.push(b""), Err(Rejected::Full));
    }

    #[test]
    fn a_frame_over_the_limit_is_rejected_and_harms_nothing() {
        let outbox = Outbox::default();

        assert_eq!(outbox.push(&vec![0; FRAME_BYTES_MAX + 1]), Err(Rejected::TooLarge));
        assert!(outbox.is_open());
    }
}
