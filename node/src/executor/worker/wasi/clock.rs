//! Time since the run began, and waiting for it to pass.

use std::time::{Duration, Instant};

use super::super::guest::{Guest, Stop};
use super::abi::{Errno, Fault, GuestMemory, nth};
use super::stdio;

/// Step of all clocks: fine enough for programs, too coarse to observe other programs on the processor.
const STEP_NS: u64 = 1_000_000;
/// Subscriptions of one poll.
const SUBSCRIPTIONS_MAX: u32 = 64;
const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: u32 = 32;
/// Realtime, monotonic, and the two processor-time clocks.
const CLOCKS: u32 = 4;
const ABSOLUTE: u16 = 1;

pub(super) fn resolution(memory: &mut GuestMemory<'_>, id: u32, to: u32) -> Result<(), Fault> {
    known(id)?;
    Ok(memory.write_u64(to, STEP_NS)?)
}

pub(super) fn time(memory: &mut GuestMemory<'_>, guest: &Guest, id: u32, to: u32) -> Result<(), Fault> {
    known(id)?;
    let elapsed = elapsed_ns(guest);
    Ok(memory.write_u64(to, elapsed - elapsed % STEP_NS)?)
}

/// Waits for the first of the subscribed clocks; streams are always ready.
pub(super) fn poll(
    memory: &mut GuestMemory<'_>,
    guest: &Guest,
    subscriptions: u32,
    events: u32,
    count: u32,
    written: u32,
) -> Result<(), Fault> {
    if count == 0 || count > SUBSCRIPTIONS_MAX {
        return Err(Errno::INVAL.into());
    }
    guest.checkpoint()?;
    let mut subscribed = Vec::new();
    for index in 0..count {
        subscribed.push(Subscription::read(memory, guest, nth(subscriptions, index, SUBSCRIPTION_BYTES)?)?);
    }
    // Checked before the wait: a guest with a bad pointer learns it at once.
    memory.slice(events, count * EVENT_BYTES)?;
    let first = subscribed.iter().map(|subscription| subscription.due_ns).min().unwrap_or(0);
    sleep_until(guest, first)?;
    let mut happened = 0;
    for subscription in subscribed.iter().filter(|subscription| subscription.due_ns <= first) {
        let mut event = [0; EVENT_BYTES as usize];
        event[..8].copy_from_slice(&subscription.user_data);
        event[8..10].copy_from_slice(&subscription.errno.to_le_bytes());
        event[10] = subscription.kind;
        memory.write(nth(events, happened, EVENT_BYTES)?, &event)?;
        happened += 1;
    }
    Ok(memory.write_u32(written, happened)?)
}

struct Subscription {
    user_data: [u8; 8],
    kind: u8,
    errno: u16,
    /// Since the start of the run; zero for what is ready or wrong.
    due_ns: u64,
}

impl Subscription {
    fn read(memory: &mut GuestMemory<'_>, guest: &Guest, at: u32) -> Result<Self, Fault> {
        let bytes: [u8; SUBSCRIPTION_BYTES as usize] = memory.read(at)?;
        let number =
            |from: usize, len: usize| bytes[from..from + len].iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
        let kind = bytes[8];
        let mut user_data = [0; 8];
        user_data.copy_from_slice(&bytes[..8]);
        let of = u32::try_from(number(16, 4)).map_err(|_| Errno::INVAL)?;
        let (verdict, due_ns) = match kind {
            0 => {
                let is_absolute = number(40, 2) & u64::from(ABSOLUTE) != 0;
                let from = if is_absolute { 0 } else { elapsed_ns(guest) };
                (known(of), number(24, 8).saturating_add(from))
            }
            1 | 2 => (stdio::open(guest, of).map(|_| ()), 0),
            _ => return Err(Errno::INVAL.into()),
        };
        Ok(match verdict {
            Ok(()) => Self { user_data, kind, errno: 0, due_ns },
            Err(errno) => Self { user_data, kind, errno: u16::try_from(errno.0).unwrap_or(u16::MAX), due_ns: 0 },
        })
    }
}

/// Sleeps, but not beyond the end of the run's time.
fn sleep_until(guest: &Guest, due_ns: u64) -> Result<(), Stop> {
    if let Some(steady) = &guest.steady_ns {
        // Its time passes when it waits for it.
        steady.set(steady.get().max(due_ns));
        return guest.checkpoint();
    }
    let due = guest.started.checked_add(Duration::from_nanos(due_ns)).unwrap_or(guest.wall_end);
    if !guest.orders.sleep_until(due.min(guest.wall_end)) {
        return Err(Stop::Aborted);
    }
    guest.checkpoint()
}

fn known(id: u32) -> Result<(), Errno> {
    if id < CLOCKS { Ok(()) } else { Err(Errno::INVAL) }
}

fn elapsed_ns(guest: &Guest) -> u64 {
    if let Some(steady) = &guest.steady_ns {
        return steady.replace(steady.get().saturating_add(STEP_NS));
    }
    u64::try_from(Instant::now().saturating_duration_since(guest.started).as_nanos()).unwrap_or(u64::MAX)
}
