//! `shoal-testnet bench`: two peers on loopback, measured by `shoal bench` and `shoal service bench`.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use shoal_testnet::cluster::beside_or_on_path;
use shoal_testnet::{Cluster, ClusterConfig, PeerPlan, sandbox};

use super::up::EndSignals;
use super::{Failure, runtime};

/// Measure what a task costs when it does nothing: here, and at a neighbour on loopback
///
/// Starts two peers, and runs `shoal bench` and `shoal service bench` of a service that does nothing at one of them.
/// Example: shoal-testnet bench --json
#[derive(clap::Args)]
pub(crate) struct Bench {
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// How long each measurement lasts; the default is that of `shoal bench`
    #[arg(long)]
    seconds: Option<f64>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let shoal = beside_or_on_path("shoal")?;
        // Without it each peer still ends with the tool.
        let _ = sandbox::enter();
        runtime()?.block_on(async {
            let mut end = EndSignals::new()?;
            tokio::select! {
                code = self.measure(&shoal) => code,
                // Dropping the story ends its peers, and removes their directory.
                () = end.received() => Ok(ExitCode::from(super::INTERRUPTED)),
            }
        })
    }

    async fn measure(&self, shoal: &Path) -> Result<ExitCode, Failure> {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(64) as u16);
        let peer = |name| PeerPlan { cores, slowdown: 1.0, queue_max: 1_024, ..PeerPlan::edge(name) };
        let config = ClusterConfig {
            peers: vec![peer("here"), peer("neighbour")],
            log: "warn".into(),
            show_progress: true,
            ..ClusterConfig::new(0, 0).on_loopback()
        };
        let cluster = Cluster::start(config).await?;
        anstream::eprintln!("two peers up in {:.1} s on loopback", cluster.formed_in().as_secs_f64());
        let issuer = cluster.dir().display().to_string();
        let api = cluster.peers()[0].api();
        let run = async |arguments: &[&str], output: Stdio| {
            let mut command = tokio::process::Command::new(shoal);
            command.arg("--api").arg(&api).args(self.json.then_some("--json")).args(arguments);
            let status = command.stdout(output).kill_on_drop(true).status().await;
            status.map_err(|error| Failure::cannot_run("shoal", &error))
        };
        let seconds = self.seconds.map(|seconds| seconds.to_string());
        let seconds: Vec<&str> = seconds.iter().flat_map(|seconds| ["--seconds", seconds]).collect();
        let mut status = run(&[&["bench"], &seconds[..]].concat(), Stdio::inherit()).await?;
        if status.success() {
            let module = cluster.dir().join("noop.wasm");
            let bytes = shoal_examples::modules::module_bytes("noop").unwrap_or_default();
            std::fs::write(&module, bytes).map_err(|error| Failure::cannot_run("shoal", &error))?;
            let module = module.display().to_string();
            let deploy = ["--quiet", "service", "deploy", "noop", &module, "--data-dir", &issuer];
            status = run(&deploy, Stdio::null()).await?;
        }
        if status.success() {
            status = run(&[&["service", "bench", "noop"], &seconds[..]].concat(), Stdio::inherit()).await?;
        }
        cluster.shutdown().await;
        let code = status.code().unwrap_or(128 + status.signal().unwrap_or_default());
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
    }
}
