//! The thread that moves packets between the nodes' TUN devices through the fabric.
//!
//! **Invariant:** the fabric is locked only while packets are handed over, never while waiting.
//! **Not here:** what a link does to a packet; that is `fabric.rs`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd::{read, write};

use super::fabric::{Arrival, Fabric};

/// Packets read from one node before the next has its turn.
const BATCH: usize = 64;
const PACKET_BYTES_MAX: usize = 2_048;
const EVENTS: usize = 64;

const STOP: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;

#[derive(Debug)]
pub(crate) struct Router {
    fabric: Arc<Mutex<Fabric>>,
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Router {
    pub(crate) fn start(fabric: Fabric, tuns: Vec<OwnedFd>) -> io::Result<Self> {
        let fabric = Arc::new(Mutex::new(fabric));
        let stop = Arc::new(EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC)?);
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(stop.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
        epoll.add(timer.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        for (node, tun) in tuns.iter().enumerate() {
            epoll.add(tun, EpollEvent::new(EpollFlags::EPOLLIN, node as u64))?;
        }
        let forwarder = Forwarder { fabric: Arc::clone(&fabric), epoll, timer, tuns, start: Instant::now() };
        let keep_stop_open = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("link-emulator".into()).spawn(move || {
            if let Err(error) = forwarder.run() {
                anstream::eprintln!("the link emulator stopped forwarding: {error}");
            }
            drop(keep_stop_open);
        })?;
        Ok(Self { fabric, stop, thread: Some(thread) })
    }

    pub(crate) fn fabric(&self) -> MutexGuard<'_, Fabric> {
        lock(&self.fabric)
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // Writing to a fresh counter cannot block; if it failed, joining would hang, so the thread is left to the process's end.
        if self.stop.write(1).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

struct Forwarder {
    fabric: Arc<Mutex<Fabric>>,
    epoll: Epoll,
    timer: TimerFd,
    tuns: Vec<OwnedFd>,
    start: Instant,
}

impl Forwarder {
    fn run(&self) -> nix::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let ready = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno),
            };
            let mut fabric = lock(&self.fabric);
            for event in &events[..ready] {
                match event.data() {
                    STOP => return Ok(()),
                    TIMER => self.timer.wait().or_else(ignore_again)?,
                    node => self.take_from(node as usize, &mut fabric),
                }
            }
            self.deliver(&mut fabric);
            let next = fabric.next_due();
            drop(fabric);
            self.wake_at(next)?;
        }
    }

    fn take_from(&self, node: usize, fabric: &mut Fabric) {
        let mut buffer = [0; PACKET_BYTES_MAX];
        for _ in 0..BATCH {
            match read(&self.tuns[node], &mut buffer) {
                Ok(bytes) => fabric.accept(self.start.elapsed(), node, &mut buffer[..bytes]),
                Err(Errno::EAGAIN | Errno::EINTR) => break,
                Err(errno) => {
                    // One node's broken device is no reason to cut off the others.
                    anstream::eprintln!("node {node} can no longer send: {errno}");
                    let _ = self.epoll.delete(&self.tuns[node]);
                    break;
                }
            }
        }
    }

    fn deliver(&self, fabric: &mut Fabric) {
        while let Some(Arrival { from, to, packet }) = fabric.pop_due(self.start.elapsed()) {
            match write(&self.tuns[to], &packet) {
                Ok(bytes) => fabric.delivered(from, to, bytes),
                Err(_) => fabric.refused(from, to),
            }
        }
    }

    fn wake_at(&self, due: Option<Duration>) -> nix::Result<()> {
        let Some(due) = due else { return self.timer.unset() };
        // A timer of zero would be switched off.
        let wait = due.saturating_sub(self.start.elapsed()).max(Duration::from_nanos(1));
        self.timer.set(Expiration::OneShot(TimeSpec::from_duration(wait)), TimerSetTimeFlags::empty())
    }
}

/// A panic while the lock was held leaves counters at worst one packet off.
fn lock(fabric: &Mutex<Fabric>) -> MutexGuard<'_, Fabric> {
    fabric.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ignore_again(errno: Errno) -> nix::Result<()> {
    if errno == Errno::EAGAIN { Ok(()) } else { Err(errno) }
}
