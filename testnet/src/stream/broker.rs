//! A real `mosquitto` of one's own: on a loopback port, with its own files, ended by its id.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where distributions put it, beside the search path.
const PLACES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"];
const PROGRAM: &str = "mosquitto";
/// A broker that starts at all does so at once.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// It is not installed.
    #[error("there is no mosquitto on this machine")]
    Missing,
    /// It does not start.
    #[error("mosquitto does not start: {0}")]
    Start(io::Error),
    /// It ended, or does not listen.
    #[error("mosquitto does not listen at {0}; what it says is in its log")]
    Silent(SocketAddr),
}

impl BrokerError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing => "install it: apt-get install --no-install-recommends mosquitto",
            Self::Start(_) | Self::Silent(_) => "run it by hand: mosquitto -v -c FILE",
        }
    }
}

/// A broker with its files in a directory.
#[derive(Debug)]
pub struct Broker {
    program: PathBuf,
    config: PathBuf,
    address: SocketAddr,
    child: Option<Child>,
}

/// The program, on the search path or where distributions put it.
pub fn mosquitto() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(PLACES.iter().map(PathBuf::from));
    places.map(|place| place.join(PROGRAM)).find(|program| program.is_file())
}

impl Broker {
    /// Starts one that keeps sessions on disk in this directory, and has no bound of its own on what is unacknowledged.
    pub fn start(dir: &Path) -> Result<Self, BrokerError> {
        let program = mosquitto().ok_or(BrokerError::Missing)?;
        fs::create_dir_all(dir).map_err(BrokerError::Start)?;
        // Nobody else takes it between here and the broker's own bind, or the broker says so and ends.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.map_err(BrokerError::Start)?;
        let config = dir.join("mosquitto.conf");
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {dir}/\n\
             max_inflight_messages 0\nmax_queued_messages 0\nlog_dest file {dir}/mosquitto.log\n{user}",
            port = address.port(),
            dir = dir.display(),
            user = user.map_or(String::new(), |user| format!("user {user}\n")),
        );
        fs::write(&config, text).map_err(BrokerError::Start)?;
        let mut broker = Self { program, config, address, child: None };
        broker.start_again()?;
        Ok(broker)
    }

    /// Starts it after it was stopped, at the same address.
    pub fn start_again(&mut self) -> Result<(), BrokerError> {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(&self.config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().map_err(BrokerError::Start)?);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || Instant::now() >= deadline {
                return Err(BrokerError::Silent(self.address));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Ends it as a machine does that is switched off: what it had not written is gone.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}
