//! Everything that can go wrong with real processes, for a minute, by a seed; then nothing, and the promises are checked.
//!
//! ```text
//! seed ─► plan: faults ────► mesh of shoald processes ─► book: what users were told ─► promises ─► violations
//!    └──► wishes: tasks ───►  (links, disks, signals)
//! ```
//!
//! | file | one question |
//! |---|---|
//! | `plan.rs` | what will go wrong, and when? |
//! | `strikes.rs`, `damage.rs`, `limit.rs` | how is that done? |
//! | `wishes.rs`, `people.rs` | what do users want meanwhile? |
//! | `book.rs` | what were they told? |
//! | `verdict.rs` | was that what was promised? |
//!
//! **Invariant:** the same seed wishes and strikes the same; what comes of it is up to the machine.
//! **Not here:** what is promised, and the checkers; those are `promises`, and the simulator's chaos has the same.

mod book;
mod damage;
mod limit;
mod people;
mod plan;
mod report;
mod strikes;
mod verdict;
mod wishes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use shoal_cli::client::ClientError;
use shoal_protocol::api::schema;
use tempfile::TempDir;
use tokio::task::JoinSet;

use self::book::Book;
use self::people::People;
pub use self::plan::Fault;
pub use self::report::Report;
use self::strikes::Field;
use self::wishes::Answers;
use crate::cluster::program::shoald;
use crate::cluster::{Cluster, ClusterConfig, ClusterError, Network, PeerPlan, Where};
use crate::emulator::Links;
use crate::promises::Promise;

/// Room for a repair, and little to fill.
const DISK_BYTES: u64 = 64 * 1024 * 1024;
/// Of five peers, two.
const CLOUD_SHARE: f64 = 0.4;
const CORES: u16 = 2;

/// How large a run is.
#[derive(Debug, Clone)]
pub struct ChaosConfig {
    pub peers: usize,
    /// How long faults go on.
    pub span: Duration,
    pub seed: u64,
    /// Whether this program has a mount namespace of its own, in which small disks may be mounted.
    pub own_mounts: bool,
    /// Links that can be cut, where this machine allows that.
    pub emulated: bool,
    /// Where history, logs and stores are kept; where absent, they are kept only when a promise was broken.
    pub dir: Option<PathBuf>,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// The mesh.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Before the first fault.
    #[error("a peer does not take the modules: {source}")]
    Prepare {
        /// What it said.
        source: ClientError,
    },
    /// The history.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl ChaosError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Cluster(error) => error.hint(),
            Self::Prepare { source } => source.hint(),
            Self::File { .. } => "check the path and its mode; --dir chooses another place".into(),
        }
    }
}

/// Runs a seed; `tell` is told how far it is.
pub async fn run(config: ChaosConfig, tell: impl Fn(&str)) -> Result<Report, ChaosError> {
    let began = Instant::now();
    let place = Place::new(config.dir.as_deref())?;
    let program = shoald(None)?;
    let cluster = Cluster::start(mesh(&config, place.path())).await?;
    let (possible, impossible) = possible(&config, cluster.network());
    tell(&format!(
        "{} peers {}, seed {}",
        config.peers,
        if *cluster.network() == Network::Emulated { "on emulated links" } else { "on loopback" },
        config.seed
    ));
    for (fault, why) in &impossible {
        tell(&format!("no fault of the kind {}: {why}", report::name(*fault)));
    }
    let mut rng = Pcg64Mcg::seed_from_u64(config.seed ^ 0xc4a0_5000);
    let strikes = plan::draw(config.peers, config.span, &possible, &mut rng);
    let wishes = wishes::draw(config.peers, config.span, &mut rng);
    let (count, first_afterwards) = (strikes.len(), wishes.len());
    let network = cluster.network().clone();
    let field = Arc::new(Field::new(cluster, program, Book::new(config.seed))?);
    let people = People::prepare(Arc::clone(&field), Answers::compute(), wishes::user(config.seed)).await?;

    let mut supervisor = JoinSet::new();
    let watched = Arc::clone(&field);
    supervisor.spawn(async move { watched.supervise().await });
    let storm = async {
        strike_all(&field, strikes).await?;
        field.book.say("the faults stop");
        tell(&format!("{count} faults in {:.0} s are over", field.book.elapsed().as_secs_f64()));
        Ok::<_, ClusterError>(verdict::converge(&field).await)
    };
    let (converged, people) = tokio::join!(storm, people.live(wishes, config.span));
    let converged = converged?;
    verdict::go_on(&people, first_afterwards).await;
    verdict::ask_everywhere(&people).await;
    supervisor.shutdown().await;
    verdict::look_for_panics(&field);
    let beyond_promise = verdict::judge(&people);

    let pages = field.book.read();
    let count = |promise| pages.violations.iter().filter(|violation| violation.promise == promise).count() as u64;
    let is_kept = config.dir.is_some() || !pages.violations.is_empty();
    let report = Report {
        schema: schema(),
        seed: config.seed,
        seeds: 1,
        peers: config.peers,
        seconds: config.span.as_secs_f64(),
        network,
        tasks_submitted: pages.tasks.len() as u64,
        tasks_acknowledged: pages.tasks.values().filter(|entry| entry.acknowledged.is_some()).count() as u64,
        tasks_beyond_promise: beyond_promise,
        tasks_lost: count(Promise::NotLost),
        tasks_committed_twice: count(Promise::OneEnd),
        invoked: pages.invoked,
        invoked_answered: pages.invoked_done,
        faults: pages.struck.clone(),
        impossible,
        violations: pages.violations.clone(),
        converged_ms: converged.map(|span| span.as_secs_f64() * 1_000.0),
        wall_s: began.elapsed().as_secs_f64(),
        history: is_kept.then(|| place.path().join(HISTORY)),
    };
    if is_kept {
        place.keep(&pages.story, &field.cluster)?;
    }
    Ok(report)
}

const HISTORY: &str = "history.txt";

/// All faults, each at its time, side by side.
async fn strike_all(field: &Arc<Field>, strikes: Vec<plan::Strike>) -> Result<(), ClusterError> {
    let began = tokio::time::Instant::now();
    let mut striking = JoinSet::new();
    for strike in strikes {
        let field = Arc::clone(field);
        striking.spawn(async move {
            tokio::time::sleep_until(began + strike.at).await;
            field.strike(&strike).await
        });
    }
    while let Some(struck) = striking.join_next().await {
        // A fault that panics is a fault of this program.
        struck.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    }
    Ok(())
}

fn mesh(config: &ChaosConfig, dir: &Path) -> ClusterConfig {
    let cloud = ((config.peers as f64 * CLOUD_SHARE) as usize).max(1);
    let mut mesh = ClusterConfig::new(cloud, config.peers.saturating_sub(cloud));
    for peer in &mut mesh.peers {
        *peer = PeerPlan { cores: CORES, slowdown: 1.0, ..peer.clone() };
    }
    mesh.network = if config.emulated { Where::EmulatedIfPossible(Links::default()) } else { Where::Loopback };
    mesh.disk_bytes = config.own_mounts.then_some(DISK_BYTES);
    mesh.dir = Some(dir.join("mesh"));
    mesh
}

/// What can be done here, and why the rest cannot.
fn possible(config: &ChaosConfig, network: &Network) -> (Vec<Fault>, BTreeMap<Fault, String>) {
    let why_not = |fault| match fault {
        Fault::Partition | Fault::OneWay | Fault::Loss | Fault::Delay => match network {
            Network::Emulated => None,
            Network::Loopback { because: Some(why) } => Some(why.clone()),
            Network::Loopback { because: None } => Some("loopback was asked for".to_owned()),
        },
        Fault::DiskFull => (!config.own_mounts).then(|| "no mount namespace can be made here".to_owned()),
        Fault::Killed | Fault::Stopped | Fault::Frozen | Fault::FewFiles | Fault::DamagedStore => None,
    };
    let impossible: BTreeMap<Fault, String> =
        Fault::ALL.into_iter().filter_map(|fault| Some((fault, why_not(fault)?))).collect();
    (Fault::ALL.into_iter().filter(|fault| !impossible.contains_key(fault)).collect(), impossible)
}

/// Where a run keeps its files.
#[derive(Debug)]
enum Place {
    Temporary(TempDir),
    Named(PathBuf),
}

impl Place {
    fn new(dir: Option<&Path>) -> Result<Self, ChaosError> {
        let failed = |path: PathBuf| move |source| ChaosError::File { doing: "make", path, source };
        match dir {
            Some(dir) => {
                std::fs::create_dir_all(dir).map_err(failed(dir.to_owned()))?;
                Ok(Self::Named(dir.to_owned()))
            }
            None => {
                let parent = std::env::temp_dir();
                let made = tempfile::Builder::new().prefix("shoal-chaos-").tempdir_in(&parent);
                made.map(Self::Temporary).map_err(failed(parent))
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Named(dir) => dir,
        }
    }

    /// Writes the history, and saves the stores, whose disks go with the mesh.
    fn keep(self, story: &[String], cluster: &Cluster) -> Result<(), ChaosError> {
        let history = self.path().join(HISTORY);
        let failed = |source| ChaosError::File { doing: "write", path: history.clone(), source };
        std::fs::write(&history, story.join("\n")).map_err(failed)?;
        for peer in cluster.peers() {
            for name in plan::STORE_FILES {
                // What is missing says itself.
                let _ = std::fs::copy(peer.data_dir.join(name), self.path().join(format!("{}.{name}", peer.name)));
            }
        }
        if let Self::Temporary(dir) = self {
            let _ = dir.keep();
        }
        Ok(())
    }
}
