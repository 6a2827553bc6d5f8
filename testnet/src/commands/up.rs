//! `shoal-testnet up`: a mesh of real peers to play with.
//!
//! With `--keep` the command starts itself once more, detached; that one says on its standard output that the mesh is up, and lives on.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use shoal_testnet::cluster::{beside_or_on_path, is_in_use, make_ours};
use shoal_testnet::{Cluster, ClusterConfig, ClusterError, DETACHED_LOG, Discovery, Links, Network, Where, sandbox};
use tokio::signal::unix::{SignalKind, signal};

use super::running::{Running, default_dir};
use super::{Failure, runtime};

/// Time between two looks whether a peer has ended.
const WATCH: Duration = Duration::from_millis(200);

/// Start a mesh of real peers on this machine
///
/// Each peer is a shoald process with keys, certificate and directory of its own, behind an emulated link where this machine
/// allows that (root, or user namespaces and /dev/net/tun), otherwise on loopback. Ctrl-C ends them all.
/// Example: shoal-testnet up --cloud 3 --edge 2
#[derive(clap::Args)]
pub(crate) struct Up {
    /// Cloud peers
    #[arg(long, default_value_t = 3)]
    cloud: usize,
    /// Edge peers
    #[arg(long, default_value_t = 2)]
    edge: usize,
    /// Links file; see `shoal-testnet links`
    #[arg(long, value_name = "FILE", conflicts_with = "loopback")]
    links: Option<PathBuf>,
    /// Plain loopback, without emulated links
    #[arg(long)]
    loopback: bool,
    /// Peers find each other by multicast instead of bootstrap addresses
    #[arg(long, conflicts_with = "loopback")]
    mdns: bool,
    /// Leave the mesh running in the background; `shoal-testnet down` ends it
    #[arg(long)]
    keep: bool,
    /// Keep keys, data and logs here; otherwise they go with the mesh
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Filter of the peers' log lines
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
    /// JSON instead of text on standard output
    #[arg(long)]
    json: bool,
    /// Said by `up --keep` to itself.
    #[arg(long, hide = true, conflicts_with = "keep")]
    detached: bool,
}

impl Up {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let config = self.config()?;
        if self.keep {
            return self.start_detached();
        }
        // The number others know this command by; inside the sandbox it has another.
        let tool_pid = std::process::id();
        // Without it each peer still ends with the tool, and whether links can be emulated is told below.
        let _ = sandbox::enter();
        runtime()?.block_on(self.stay_up(config, tool_pid))
    }

    fn config(&self) -> Result<ClusterConfig, Failure> {
        let links = self.links.as_deref().map(Links::load).transpose()?;
        Ok(ClusterConfig {
            network: match links {
                _ if self.loopback => Where::Loopback,
                Some(links) => Where::Emulated(links),
                None => Where::EmulatedIfPossible(Links::default()),
            },
            discovery: if self.mdns { Discovery::Mdns } else { Discovery::Bootstrap },
            dir: self.dir.clone(),
            log: self.log.clone(),
            show_progress: true,
            ..ClusterConfig::new(self.cloud, self.edge)
        })
    }

    async fn stay_up(&self, config: ClusterConfig, tool_pid: u32) -> Result<ExitCode, Failure> {
        let mut end = EndSignals::new()?;
        let cluster = tokio::select! {
            cluster = Cluster::start(config) => cluster?,
            () = end.received() => return Ok(ExitCode::from(super::INTERRUPTED)),
        };
        let running = Running::of(&cluster, tool_pid);
        running.write(cluster.dir())?;
        if self.detached {
            anstream::println!("ready");
        } else {
            show(&running, self.json, "Ctrl-C ends the mesh");
        }
        loop {
            tokio::select! {
                () = end.received() => break,
                () = tokio::time::sleep(WATCH) => {
                    for (name, status) in cluster.newly_ended() {
                        anstream::eprintln!("! {name} has ended ({status})");
                    }
                }
            }
        }
        if !self.detached {
            anstream::eprintln!("ending the peers");
        }
        cluster.shutdown().await;
        Ok(ExitCode::SUCCESS)
    }

    /// Starts this command again in a session of its own, and returns once its mesh is up.
    fn start_detached(self) -> Result<ExitCode, Failure> {
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => default_dir()?,
        };
        let dir = std::path::absolute(&dir).map_err(|error| Failure::file("find", &dir, &error))?;
        if is_in_use(&dir) {
            return Err(ClusterError::DirInUse { dir }.into());
        }
        make_ours(&dir)?;
        let log_path = dir.join(DETACHED_LOG);
        let log = File::create(&log_path).map_err(|error| Failure::file("write", &log_path, &error))?;
        let mut child = self
            .again(&dir)?
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| Failure::cannot_run("shoal-testnet", &error))?;
        let spinner = indicatif::ProgressBar::new_spinner().with_message("starting the peers");
        spinner.enable_steady_tick(Duration::from_millis(100));
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            // Ends without a line when the other does.
            let _ = BufReader::new(output).read_line(&mut line);
        }
        spinner.finish_and_clear();
        if line.trim_end() != "ready" {
            let code = child.wait().ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
            let said = std::fs::read_to_string(&log_path).unwrap_or_default();
            let _ = std::io::stderr().write_all(said.as_bytes());
            return Ok(ExitCode::from(code.unwrap_or(1)));
        }
        let running = Running::read(&dir)?;
        let down = match &self.dir {
            Some(_) => format!("{} down --dir {}", program("shoal-testnet"), dir.display()),
            None => format!("{} down", program("shoal-testnet")),
        };
        show(&running, self.json, &format!("end it: {down}"));
        Ok(ExitCode::SUCCESS)
    }

    fn again(&self, dir: &Path) -> Result<Command, Failure> {
        let me = std::env::current_exe().map_err(|error| Failure::cannot_run("shoal-testnet", &error))?;
        let mut command = Command::new(me);
        command.args(["up", "--detached"]);
        command.args(["--cloud", &self.cloud.to_string(), "--edge", &self.edge.to_string(), "--log", &self.log]);
        command.arg("--dir").arg(dir);
        if let Some(links) = &self.links {
            command.arg("--links").arg(links);
        }
        for (flag, given) in [("--loopback", self.loopback), ("--mdns", self.mdns)] {
            command.args(given.then_some(flag));
        }
        // The terminal's end and its Ctrl-C are for the processes of its session.
        #[allow(unsafe_code)] // between fork and exec: one system call, no allocation, no lock
        unsafe {
            command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into));
        }
        Ok(command)
    }
}

/// Standard output gets the data, standard error what to do with it.
fn show(running: &Running, json: bool, last: &str) {
    if json {
        anstream::println!("{}", running.to_json());
        return;
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["PEER", "ROLE", "ADDRESS", "API"]);
    for peer in &running.peers {
        table.add_row([peer.name.clone(), peer.role.to_string(), peer.address.to_string(), peer.api.clone()]);
    }
    anstream::println!("{table}");
    let network = match &running.network {
        Network::Emulated => "emulated links".to_owned(),
        Network::Loopback { because: None } => "loopback, no emulated links".to_owned(),
        Network::Loopback { because: Some(why) } => format!("loopback, no emulated links ({why})"),
    };
    let seconds = running.formed_in_ms as f64 / 1_000.0;
    anstream::eprintln!(
        "{} peers up in {seconds:.1} s on {network}; logs in {}/peers",
        running.peers.len(),
        running.dir.display()
    );
    if let Some(peer) = running.peers.last() {
        anstream::eprintln!("→ {} --api {} status", program("shoal"), peer.api);
        anstream::eprintln!("→ kill one and look again: pkill -KILL -f {}", peer.config.display());
    }
    anstream::eprintln!("→ {last}");
}

/// A program of this build as a person would type it: by its name if the shell finds it, else by the path beside this one.
fn program(name: &'static str) -> String {
    let on_path =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(name).is_file());
    if on_path {
        return name.to_owned();
    }
    let Ok(path) = beside_or_on_path(name) else { return name.to_owned() };
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(&path).display().to_string()
}

/// The ways a person or a shell ends this command.
pub(super) struct EndSignals([tokio::signal::unix::Signal; 3]);

impl EndSignals {
    pub(super) fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::cannot_run("the signal handler", &error));
        Ok(Self([listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?]))
    }

    pub(super) async fn received(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
