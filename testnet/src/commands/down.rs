//! `shoal-testnet down`: ends what `up --keep` left running.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shoal_testnet::RUNNING;
use shoal_testnet::cluster::{STOP_GRACE, is_in_use};

use super::running::{Running, default_dir};
use super::{Failure, UNREACHABLE};

/// What peers have to end, and for the tool a moment more.
const PATIENCE: Duration = STOP_GRACE.saturating_add(Duration::from_secs(3));
const LOOK: Duration = Duration::from_millis(20);

/// End the mesh that `up --keep` left running
///
/// Example: shoal-testnet down
#[derive(clap::Args)]
pub(crate) struct Down {
    /// The directory that was given to `up`
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Down {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => default_dir()?,
        };
        let was_running = is_in_use(&dir);
        if was_running {
            end(&dir)?;
        }
        if self.dir.is_none() {
            // Nobody asked to keep these files.
            let _ = std::fs::remove_dir_all(&dir);
        }
        if was_running {
            anstream::eprintln!("the mesh has ended");
            return Ok(ExitCode::SUCCESS);
        }
        let what = format!("no mesh runs in {}", dir.display());
        Err(Failure::new(UNREACHABLE, what, "start one with `shoal-testnet up --keep`"))
    }
}

fn end(dir: &std::path::Path) -> Result<(), Failure> {
    if !dir.join(RUNNING).exists() {
        let what = format!("the mesh in {} is still starting", dir.display());
        return Err(Failure::new(UNREACHABLE, what, "try again in a moment"));
    }
    let running = Running::read(dir)?;
    let tool = Pid::from_raw(running.pid.cast_signed());
    // The lock is held by what this process started, which has written the file since: the number is still its own.
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        kill(tool, signal).map_err(|errno| Failure::cannot_run("the signal to shoal-testnet", &errno.into()))?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if !is_in_use(dir) {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
    }
    Err(Failure::new(UNREACHABLE, format!("process {tool} does not end"), "see what holds it with `ps`"))
}
