//! `shoal-testnet sim brief`: how near is the mesh to the exact optimum of the objective?

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Instant;

use shoal_protocol::placement::explain::Cost;
use shoal_protocol::time::millis;
use shoal_testnet::compare::objective::{self, Achieved};
use shoal_testnet::sandbox;
use shoal_testnet::sim::brief::{BriefError, Instance, Met, Shape, Solved, Summary, USERS_MAX, instance_seed, solve};

use super::{Failure, NOT_RIGHT, USAGE};
use crate::commands::up::EndSignals;
use crate::commands::{INTERRUPTED, runtime};

/// Place the tasks of a few users in a small mesh of unequal peers, beside the exact optimum of the objective
///
/// Each instance has machines of other speeds, cores, uplinks, delays, weights and prices, and users with other tasks,
/// deadlines and builds. The peers of the mesh decide as they always do; the optimum is found by trying every assignment,
/// build and order, and knows all tasks beforehand. Both are evaluated by the objective, on what really happened.
/// Example: shoal-testnet sim brief --instances 1000 --seed 1 --json
/// Example: shoal-testnet sim brief --seed 1 --explain 42
#[derive(clap::Args)]
#[command(name = "brief", verbatim_doc_comment)]
pub(crate) struct Brief {
    /// Random instances
    #[arg(long, default_value_t = 1_000)]
    instances: usize,
    /// Decides everything that happens by chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Users, with a task each
    #[arg(long, default_value_t = Shape::default().users)]
    users: usize,
    /// Cloud machines
    #[arg(long, default_value_t = Shape::default().clouds)]
    cloud: usize,
    /// Edge machines; users sit at these
    #[arg(long, default_value_t = Shape::default().edges)]
    edge: usize,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Real peers behind emulated links, once: five users hand in a task of known length at the same moment
    #[arg(long, conflicts_with_all = ["explain", "instances"])]
    real: bool,
    /// Print this one instance: machines, users, both placements and their terms
    #[arg(long, value_name = "INSTANCE", conflicts_with = "json")]
    explain: Option<usize>,
}

impl Brief {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let shape = Shape { users: self.users, clouds: self.cloud, edges: self.edge };
        if self.instances == 0 || shape.users == 0 || shape.edges == 0 {
            let fix = "give --instances, --users and --edge numbers above 0";
            return Err(Failure::new(USAGE, "there is nothing to place, or nowhere for users to be", fix));
        }
        if shape.users > USERS_MAX || shape.clouds + shape.edges > MACHINES_MAX {
            let what = format!("the optimum of more than {USERS_MAX} users or {MACHINES_MAX} machines takes too long");
            return Err(Failure::new(USAGE, what, "give fewer; `sim place` has large meshes"));
        }
        if self.real {
            return self.run_real(shape);
        }
        if let Some(index) = self.explain {
            let solved = Solved::of(Instance::draw(shape, instance_seed(self.seed, index)))?;
            anstream::print!("{}", explained(&solved));
            return Ok(ExitCode::SUCCESS);
        }
        let started = Instant::now();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut summary = solve(shape, self.seed, self.instances, threads)?;
        summary.wall_s = started.elapsed().as_secs_f64();
        if self.json {
            // A plain struct with text keys, which cannot fail to serialize.
            anstream::println!("{}", serde_json::to_string_pretty(&summary).unwrap_or_default());
        } else {
            anstream::print!("{}", text(&summary));
        }
        Ok(ExitCode::SUCCESS)
    }
}

const MACHINES_MAX: usize = 12;

impl Brief {
    fn run_real(&self, shape: Shape) -> Result<ExitCode, Failure> {
        // Without it each peer still ends with the tool, and that links cannot be emulated is told below.
        let _ = sandbox::enter();
        runtime()?.block_on(async {
            let mut end = EndSignals::new()?;
            let achieved = tokio::select! {
                achieved = objective::run(shape, self.seed) => achieved?,
                // Dropping the story ends its peers.
                () = end.received() => return Ok(ExitCode::from(INTERRUPTED)),
            };
            if self.json {
                // A plain struct with text keys, which cannot fail to serialize.
                anstream::println!("{}", serde_json::to_string_pretty(&achieved).unwrap_or_default());
            } else {
                anstream::print!("{}", real(&achieved));
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn real(achieved: &Achieved) -> String {
    let mut text = format!(
        "{:<8} {:<8} {:>9} {:>9} {:>9}   {:<8} {:>9}\n",
        "home", "ran at", "run", "answer", "cost", "optimal", "cost"
    );
    for task in &achieved.tasks {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<8} {:<8} {:>6.1} ms {:>6.1} ms {:>9.1}   {:<8} {:>9.1}",
            task.home, task.ran_at, task.run_ms, task.answer_ms, task.cost, task.optimal_at, task.optimal_cost
        );
    }
    let Achieved { objective, optimum, ratio, .. } = achieved;
    let _ = writeln!(text, "objective {objective:.1}, optimum of what was measured {optimum:.1}: {ratio:.3} times");
    text
}

fn text(summary: &Summary) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<18} {value}");
    };
    let Summary { users, clouds, edges, .. } = summary;
    line("instances", format!("{}: {users} users, {clouds} cloud and {edges} edge machines", summary.instances));
    line(
        "mesh / optimum",
        format!(
            "mean {:.4}  p50 {:.4}  p90 {:.4}  p99 {:.4}  worst {:.4}",
            summary.mean_ratio, summary.p50_ratio, summary.p90_ratio, summary.p99_ratio, summary.worst_ratio
        ),
    );
    line("optimal", format!("{:.1} % of the instances", summary.optimal_percent));
    line("mean cost", format!("{:.1}, optimum {:.1}", summary.mesh_mean_cost, summary.optimum_mean_cost));
    line("wall time", format!("{:.1} s", summary.wall_s));
    let (seed, worst) = (summary.seed, summary.worst_instance);
    let _ = writeln!(text, "→ shoal-testnet sim brief --seed {seed} --explain {worst}");
    text
}

fn explained(solved: &Solved) -> String {
    let Solved { instance, placed, optimum } = solved;
    let mut text = String::new();
    let mut line = |words: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{words}");
    };
    line(format!("λ {:.2}", instance.lambda));
    line(format!(
        "{:<9} {:>5} {:>6} {:>9} {:>6} {:>6} {:>6} {:>6}  one way to each, ms",
        "machine", "cores", "speed", "Mbit/s", "α", "β", "δ", "price"
    ));
    for (index, machine) in instance.machines.iter().enumerate() {
        let ways = (0..instance.machines.len()).map(|to| format!("{:5.1}", millis(instance.way(index, to))));
        let weights = machine.weights;
        line(format!(
            "{:<9} {:>5} {:>6.2} {:>9.1} {:>6.2} {:>6.2} {:>6.2} {:>6.2}  {}",
            name(instance, index),
            machine.cores,
            machine.speed,
            machine.uplink_bits_per_s as f64 / 1e6,
            weights.delay,
            weights.transfer,
            weights.compute,
            machine.price,
            ways.collect::<Vec<_>>().join(" ")
        ));
    }
    for (index, user) in instance.users.iter().enumerate() {
        let builds = user
            .builds
            .iter()
            .map(|build| format!("{} {:.1} ms loss {:.4}", build.name, millis(build.work), build.loss));
        line(format!(
            "user {index} at {}, {:.1} ms: {} B in, {} B out, deadline {}; {}",
            name(instance, user.home),
            millis(user.at),
            user.input_bytes,
            user.output_bytes,
            user.deadline.map_or("none".to_owned(), |deadline| format!("{:.1} ms", millis(deadline))),
            builds.collect::<Vec<_>>().join(", ")
        ));
    }
    for (who, met, total) in [("mesh", &placed.met, solved.mesh_total()), ("optimum", &optimum.met, optimum.total)] {
        line(format!("{who}: {total:.2}"));
        for (index, (user, met)) in instance.users.iter().zip(met).enumerate() {
            line(format!(
                "  user {index} {}",
                went(instance, user.builds[met.build].name, met, &instance.cost(user, met))
            ));
        }
    }
    line(format!("mesh / optimum {:.4}", solved.ratio()));
    for (index, decisions) in placed.decisions.iter().enumerate() {
        for decision in decisions {
            let candidates = decision.candidates.iter().map(|candidate| {
                let cost = candidate.cost.map_or("-".to_owned(), |cost| format!("{:.1}", cost.total()));
                format!(
                    "{} {:?} build {} {cost} {}",
                    candidate.name, candidate.verdict, candidate.variant, candidate.note
                )
            });
            let candidates = candidates.collect::<Vec<_>>().join("; ");
            line(format!("user {index}, attempt {}, {:?}: {candidates}", decision.epoch, decision.method));
        }
    }
    text
}

fn went(instance: &Instance, build: &str, met: &Met, cost: &Cost) -> String {
    format!(
        "{:<9} {:<7} starts in {:>7.1} ms, home in {:>7.1} ms: {:>8.2} = f {:.2} + wait {:.2} + transfer {:.2} + compute {:.2}",
        name(instance, met.machine),
        build,
        millis(met.start_in),
        cost.completion_ms,
        cost.total(),
        cost.loss,
        cost.wait,
        cost.transfer,
        cost.compute
    )
}

fn name(instance: &Instance, index: usize) -> String {
    instance.machines.get(index).map_or_else(String::new, |machine| format!("{}-{index}", machine.role))
}

impl From<BriefError> for Failure {
    fn from(error: BriefError) -> Self {
        Self::new(NOT_RIGHT, &error, error.hint())
    }
}
