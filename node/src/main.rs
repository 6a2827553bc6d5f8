//! `shoald`: arguments, configuration, start, signals.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use shoal_node::config::{self, Config, ConfigError, Flags, Host, Sources};
use shoal_node::executor::worker;
use shoal_node::joining::arrival::{self, Arrival};
use shoal_node::store::Repaired;
use shoal_node::{daemon, network, telemetry};
use shoal_protocol::api::{ConfigView, JoinReport};
use shoal_protocol::certificate::Ticket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// A bad configuration (sysexits' EX_CONFIG).
const EXIT_CONFIG: u8 = 78;

/// The daemon of a Shoal mesh: one peer on this machine.
#[derive(Debug, Parser)]
#[command(
    name = "shoald",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Example: shoald --listen /ip4/0.0.0.0/udp/7600/quic-v1 --bootstrap /ip4/192.0.2.7/udp/7600/quic-v1"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon (what happens without a command, too)
    Run(Run),
    /// Set a damaged store of tasks or streams aside and keep what of it can be read; only while the daemon does not run
    RepairStore(Run),
    /// Join a mesh with the ticket on standard input, and say how it goes in lines of JSON; for `shoal join`
    #[command(hide = true)]
    Join(Join),
    /// Print the configuration as JSON, with the origin of each value; for tools
    #[command(hide = true)]
    ConfigShow(Run),
}

#[derive(Debug, Args)]
struct Run {
    /// Read this file instead of /etc/shoal/shoal.toml and ~/.config/shoal/config.toml
    #[arg(long, env = "SHOAL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen here, e.g. /ip4/0.0.0.0/udp/7600/quic-v1; may be repeated
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<String>,
    /// Find the mesh through this peer; may be repeated
    #[arg(long, value_name = "MULTIADDR")]
    bootstrap: Vec<String>,
    /// The role the certificate must have
    #[arg(long, value_name = "edge|cloud")]
    role: Option<String>,
    /// The name the certificate must have
    #[arg(long)]
    name: Option<String>,
    /// Serve the local API here
    #[arg(long, value_name = "unix:PATH")]
    api: Option<String>,
    /// Keep keys, blobs and compiled modules here
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Only check the configuration
    #[arg(long)]
    check_config: bool,
}

#[derive(Debug, Args)]
struct Join {
    #[command(flatten)]
    run: Run,
    /// What this machine would like to be called
    #[arg(long, value_name = "NAME")]
    wish: Option<String>,
    /// Leave the mesh it belongs to
    #[arg(long)]
    force: bool,
}

fn main() -> ExitCode {
    // A worker of the sandbox is this program, and nothing of what follows.
    if let Some(ended) = worker::run_if_asked() {
        return ended;
    }
    // Before anything else: it needs to be the only thread.
    if let Err(error) = network::forget_tls_key_log() {
        return fail(&error, error.hint(), 1);
    }
    let Arguments { command, run } = Arguments::parse();
    match command {
        Some(Command::ConfigShow(run)) => show(&run),
        Some(Command::RepairStore(run)) => repair_store(&run),
        Some(Command::Join(arguments)) => join(arguments),
        Some(Command::Run(run)) => start(&run),
        None => start(&run),
    }
}

fn load(run: &Run) -> Result<(Config, ConfigView), ConfigError> {
    let variables: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let variable = |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let host = Host {
        uid: nix::unistd::geteuid().as_raw(),
        home: variable("HOME"),
        xdg_config_home: variable("XDG_CONFIG_HOME"),
        xdg_data_home: variable("XDG_DATA_HOME"),
        xdg_runtime_dir: variable("XDG_RUNTIME_DIR"),
        cores: std::thread::available_parallelism().map_or(1, |cores| u16::try_from(cores.get()).unwrap_or(u16::MAX)),
        memory_bytes: memory_bytes(),
    };
    config::load(&Sources {
        files: run.config.clone().map_or_else(|| config::default_files(&host), |file| vec![file]),
        files_required: run.config.is_some(),
        host,
        flags: Flags {
            listen: run.listen.clone(),
            bootstrap: run.bootstrap.clone(),
            role: run.role.clone(),
            name: run.name.clone(),
            api: run.api.clone(),
            data_dir: run.data_dir.clone(),
        },
        variables,
    })
}

/// Of the machine, or of the control group where that is less.
fn memory_bytes() -> u64 {
    let Ok(mut system) = sysinfo::System::new() else { return 0 };
    system.refresh_memory_specifics(sysinfo::MemoryRefreshKind::nothing().with_ram());
    let group = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
    system.total_memory().min(group)
}

fn show(run: &Run) -> ExitCode {
    match load(run) {
        Ok((_, view)) => {
            println!("{}", serde_json::to_string(&view).unwrap_or_default());
            ExitCode::SUCCESS
        }
        Err(error) => fail_config(&error),
    }
}

fn repair_store(run: &Run) -> ExitCode {
    let config = match load(run) {
        Ok((config, _)) => config,
        Err(error) => return fail_config(&error),
    };
    let mut repaired = 0;
    let tell = |done: &Repaired| {
        repaired += 1;
        tell(done);
    };
    match daemon::repair_stores(&config.data_dir, tell) {
        Ok(()) => {
            if repaired == 0 {
                println!("no store is damaged; nothing was changed");
            }
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, error.hint(), error.exit_code()),
    }
}

fn tell(done: &Repaired) {
    println!("{} records go on, {} are damaged", done.kept, done.damaged);
    if let Some(why) = &done.cut_short {
        println!("not all of the file could be read: {why}");
    }
    if !done.doubted.is_empty() {
        println!("{} tasks may have gone further than can be read, and are not acted on here:", done.doubted.len());
        done.doubted.iter().for_each(|task| println!("  {task}"));
    }
    println!("the damaged file is {}", done.set_aside.display());
}

/// A ticket with the most labels allowed is under 20 KiB.
const TICKET_BYTES_MAX: u64 = 64 * 1024;

fn join(arguments: Join) -> ExitCode {
    let config = match load(&arguments.run) {
        Ok((config, _)) => config,
        Err(error) => return fail_config(&error),
    };
    let mut text = zeroize::Zeroizing::new(String::new());
    if let Err(error) = std::io::stdin().take(TICKET_BYTES_MAX).read_to_string(&mut text) {
        return fail(&error, "give the ticket on standard input", 1);
    }
    let ticket = match Ticket::decode(&text) {
        Ok(ticket) => ticket,
        Err(error) => return fail(&error, error.hint(), 1),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, "check the limits on open files and threads", 1),
    };
    let arrival = Arrival { ticket, wish: arguments.wish, force: arguments.force };
    match runtime.block_on(arrival::join(&config, arrival, |report| say(&report))) {
        Ok(joined) => {
            say(&JoinReport::Joined(Box::new(joined)));
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&JoinReport::Failed(Box::new(error.problem())));
            ExitCode::FAILURE
        }
    }
}

fn say(report: &JoinReport) {
    println!("{}", serde_json::to_string(report).unwrap_or_default());
}

fn start(run: &Run) -> ExitCode {
    let (config, view) = match load(run) {
        Ok(loaded) => loaded,
        Err(error) => return fail_config(&error),
    };
    if run.check_config {
        println!("ok");
        return ExitCode::SUCCESS;
    }
    telemetry::start(&config.log, config.log_format);
    raise_file_limit();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, "check the limits on open files and threads", 1),
    };
    let ended = runtime.block_on(async {
        let stop = signals().map_err(|error| fail(&error, "the system refused a signal handler", 1))?;
        daemon::run(config, view, stop).await.map_err(|error| fail(&error, error.hint(), error.exit_code()))
    });
    // A thread that still writes a blob must not hold the process.
    runtime.shutdown_background();
    ended.err().unwrap_or(ExitCode::SUCCESS)
}

/// One message for each SIGTERM or SIGINT.
fn signals() -> std::io::Result<mpsc::Receiver<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (asked, stop) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            // Twice is all that means anything.
            let _ = asked.try_send(());
        }
    });
    Ok(stop)
}

/// Connections, blobs and API clients each hold a descriptor; the default of 1,024 is soon too few.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) });
    if let Err(error) = raised {
        tracing::debug!(%error, "the limit on open files stays as it is");
    }
}

fn fail_config(error: &ConfigError) -> ExitCode {
    complain(&error.to_string());
    ExitCode::from(EXIT_CONFIG)
}

fn fail(error: &dyn std::error::Error, hint: impl AsRef<str>, code: u8) -> ExitCode {
    complain(&format!("error: {error}\n  fix   {}", hint.as_ref()));
    ExitCode::from(code)
}

/// Where this cannot be written either, on a full disk for instance, the exit code says it.
fn complain(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}
