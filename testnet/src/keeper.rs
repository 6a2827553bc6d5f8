//! A thread that starts processes and lives as long as they may.
//!
//! The kernel can kill a child when the *thread* that started it ends (`PR_SET_PDEATHSIG`), and a thread can have a network
//! namespace of its own which its children inherit. So each place where peers run, an emulated node or the plain host, is one such thread.
//!
//! **Invariant:** a process started by a keeper does not outlive it, however the keeper ends.
//! **Not here:** what an emulated node's network looks like; that is `emulator`.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{getpid, getppid};

type Job = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
pub(crate) struct Keeper {
    /// `None` only while dropping.
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread and runs `prepare` on it before anything else.
    pub(crate) fn start<T, E>(
        name: &str,
        prepare: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> io::Result<(Self, Result<T, E>)>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        // A job hands over and waits for its answer, so there is nothing to queue.
        let (jobs, next_job) = sync_channel::<Job>(0);
        let (ready, prepared) = sync_channel(1);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _ = ready.send(prepare());
            while let Ok(job) = next_job.recv() {
                job();
            }
        })?;
        let keeper = Self { jobs: Some(jobs), thread: Some(thread) };
        let prepared = prepared.recv().map_err(|_| gone())?;
        Ok((keeper, prepared))
    }

    /// Runs a short job on the thread and waits for what it returns.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (answer, answered) = sync_channel(1);
        let job: Job = Box::new(move || {
            let _ = answer.send(job());
        });
        self.jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())
    }

    /// Starts a process that is killed when this keeper ends.
    ///
    /// It gets a process group of its own: Ctrl-C at the terminal reaches the tool, which then ends its peers in order.
    pub(crate) fn spawn(&self, mut command: Command) -> io::Result<Child> {
        command.process_group(0);
        die_with_parent(&mut command);
        self.run(move || command.spawn())?
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A job that panicked has already said so on standard error.
            let _ = thread.join();
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that keeps this node's processes has ended")
}

fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    let arm = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died before the line above took effect.
        if getppid() == parent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    #[allow(unsafe_code)] // between fork and exec: two system calls, no allocation, no lock
    unsafe {
        command.pre_exec(arm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_dies_with_its_keeper() {
        let (keeper, ready) = Keeper::start("test", || Ok::<(), ()>(())).unwrap();
        ready.unwrap();
        let mut sleep = Command::new("sleep");
        sleep.arg("600");
        let mut child = keeper.spawn(sleep).unwrap();
        assert!(child.try_wait().unwrap().is_none());

        drop(keeper);

        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(Signal::SIGKILL as i32));
    }

    #[test]
    fn a_missing_program_is_an_error_and_the_keeper_goes_on() {
        let (keeper, _) = Keeper::start("test", || Ok::<(), ()>(())).unwrap();

        let error = keeper.spawn(Command::new("/no/such/program")).unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(keeper.run(|| 7).unwrap(), 7);
    }
}
