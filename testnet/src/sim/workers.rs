//! Shards side by side, on several threads, in windows of time.
//!
//! No machine can be reached by another in less than the shortest way takes. So all that happens within that span of the
//! earliest event happens to each shard whatever the others do: they handle it side by side, hand each other what they
//! caused, and go on from the earliest event there is then (conservative synchronisation, Chandy and Misra 1979).
//!
//! A shard belongs to no thread: whoever is free takes the next one. A thread that the system stops holds up nobody but the
//! shard that it has in hand.
//!
//! **Invariant:** the order in which things happen to a machine depends neither on the threads nor on their number.

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use shoal_protocol::Time;
use shoal_protocol::time::micros;

use super::event::Coming;
use super::shard::{Common, Shard};

/// Looks before a thread that waits lets others have its core: what it waits for is some microseconds away.
const LOOKS: u32 = 2_000;

/// Handles all events until that moment, where every way takes `shortest` at least.
pub(super) fn run_until(shards: &mut [Shard], common: &Common, end: Time, shortest: Duration) {
    let threads = shards.len();
    let seat = |shard| Mutex::new(Seat { shard, inbox: Vec::new(), window: 0 });
    let table = Table {
        seats: shards.iter_mut().map(seat).collect(),
        common,
        window: AtomicU64::new(0),
        until_us: AtomicU64::new(0),
        done: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
        shortest_us: micros(shortest).max(1),
        end,
    };
    table.open_window(0);
    thread::scope(|scope| {
        for number in 1..threads {
            let table = &table;
            scope.spawn(move || table.work(number));
        }
        table.work(0);
    });
}

/// A shard, and what others caused to it since its last window.
struct Seat<'a> {
    shard: &'a mut Shard,
    inbox: Vec<Coming>,
    /// The last window that was handled.
    window: u64,
}

/// What the threads share.
struct Table<'a> {
    seats: Vec<Mutex<Seat<'a>>>,
    common: &'a Common,
    /// The number of the window that is open, from 1.
    window: AtomicU64,
    /// Its last moment.
    until_us: AtomicU64,
    /// Shards that are through with it.
    done: AtomicUsize,
    /// Everything was handled, or a thread panicked.
    is_over: AtomicBool,
    shortest_us: u64,
    end: Time,
}

impl Table<'_> {
    fn work(&self, number: usize) {
        let _alarm = Alarm(&self.is_over);
        let mut last = 0;
        while let Some(window) = self.window_after(last) {
            let until = Time(self.until_us.load(Ordering::Acquire));
            for nth in 0..self.seats.len() {
                // Each begins with another shard, and mostly with the same one.
                let Some(seat) = self.seats.get((number + nth) % self.seats.len()) else { continue };
                let Ok(mut seat) = seat.try_lock() else { continue };
                // The window may have closed meanwhile; then its end is not that of the one that is open.
                if seat.window + 1 != window || self.window.load(Ordering::Acquire) != window {
                    continue;
                }
                seat.handle(window, until, self.common);
                drop(seat);
                if self.done.fetch_add(1, Ordering::AcqRel) + 1 == self.seats.len() {
                    self.open_window(window);
                }
            }
            last = window;
        }
    }

    /// Waits for the next window to open; nothing when there is none.
    fn window_after(&self, last: u64) -> Option<u64> {
        let mut looks = 0;
        loop {
            if self.is_over.load(Ordering::Acquire) {
                return None;
            }
            let window = self.window.load(Ordering::Acquire);
            if window != last {
                return Some(window);
            }
            looks += 1;
            if looks < LOOKS { core::hint::spin_loop() } else { thread::yield_now() }
        }
    }

    /// All shards are through: what they caused is handed over, and the next window begins with the earliest event.
    fn open_window(&self, last: u64) {
        let mut seats: Vec<MutexGuard<'_, Seat<'_>>> =
            self.seats.iter().map(|seat| seat.lock().unwrap_or_else(PoisonError::into_inner)).collect();
        let mut earliest = u64::MAX;
        for from in 0..seats.len() {
            for to in 0..seats.len() {
                let leaving = seats.get_mut(from).and_then(|seat| seat.shard.leaving.get_mut(to));
                let mut leaving = leaving.map(core::mem::take).unwrap_or_default();
                earliest = leaving.iter().map(|coming| coming.at.as_micros()).min().unwrap_or(u64::MAX).min(earliest);
                seats.get_mut(to).into_iter().for_each(|seat| seat.inbox.append(&mut leaving));
                // The list goes back with its room.
                let place = seats.get_mut(from).and_then(|seat| seat.shard.leaving.get_mut(to));
                place.into_iter().for_each(|place| core::mem::swap(place, &mut leaving));
            }
        }
        for seat in &mut seats {
            earliest = seat.shard.events.next().map_or(u64::MAX, |(at, _)| at.as_micros()).min(earliest);
        }
        if earliest > self.end.as_micros() {
            for seat in &mut seats {
                seat.take_in();
                seat.shard.now = self.end;
            }
            self.is_over.store(true, Ordering::Release);
            return;
        }
        let until = earliest.saturating_add(self.shortest_us - 1).min(self.end.as_micros());
        self.until_us.store(until, Ordering::Release);
        self.done.store(0, Ordering::Release);
        drop(seats);
        self.window.store(last + 1, Ordering::Release);
    }
}

impl Seat<'_> {
    fn take_in(&mut self) {
        for coming in self.inbox.drain(..) {
            self.shard.events.add(coming);
        }
    }

    fn handle(&mut self, window: u64, until: Time, common: &Common) {
        self.take_in();
        self.shard.run_until(until, common);
        self.window = window;
    }
}

/// Ends the work of all when a thread panics; the panic itself goes on once they have.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Release);
        }
    }
}
