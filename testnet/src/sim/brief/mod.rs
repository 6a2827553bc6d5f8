//! The objective, solved: a few users, a few clouds and edges, all of them unequal, and what the mesh made of it beside the
//! exact optimum.
//!
//! ```text
//!                ┌─► mesh.rs: the peers decide, the simulator plays ─► what each task met ─┐
//! instance.rs ───┤                                                                        ├─► Σ cost::cost ─► ratio
//!                └─► optimum.rs: every assignment, build and order ──► what each task met ─┘
//! ```
//!
//! What a task met is where it ran, which build of it, how long its input waited for the uplink and when its run began; what
//! that costs says the protocol's own function, the same for both. The optimum knows all tasks and their work before the
//! first of them arises; the peers know a task when it is handed in, and of others what they say.
//!
//! **Invariant:** no placement costs less than the optimum.

mod instance;
mod mesh;
mod optimum;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use self::instance::{Build, Instance, Machine, Met, Shape, User};
pub use self::mesh::{NotPlaced, Placed, place};
pub use self::optimum::{Plan, USERS_MAX, optimum};

/// Times are whole microseconds and rounded up on the way of a task: so much less than the optimum is not less.
const ROUNDING: f64 = 1e-3;

/// An instance, and what was made of it.
#[derive(Debug, Clone)]
pub struct Solved {
    pub instance: Instance,
    pub placed: Placed,
    pub optimum: Plan,
}

/// Why there are no figures.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BriefError {
    #[error("{0}")]
    NotPlaced(#[from] NotPlaced),
    /// A defect of one of the two.
    #[error("instance {seed}: the mesh's placement costs {mesh}, less than the optimum of {optimum}")]
    Beaten { seed: u64, mesh: f64, optimum: f64 },
}

impl BriefError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        "this is a defect: report it with the command and the seed"
    }
}

impl Solved {
    /// Solves an instance both ways.
    pub fn of(instance: Instance) -> Result<Self, BriefError> {
        let (placed, optimum) = (place(&instance)?, optimum(&instance));
        let solved = Self { instance, placed, optimum };
        let (mesh, least) = (solved.mesh_total(), solved.optimum.total);
        if mesh < least * (1.0 - ROUNDING) {
            return Err(BriefError::Beaten { seed: solved.instance.seed, mesh, optimum: least });
        }
        Ok(solved)
    }

    /// What the mesh's placement cost.
    pub fn mesh_total(&self) -> f64 {
        self.instance.total(&self.placed.met)
    }

    /// That over the optimum.
    pub fn ratio(&self) -> f64 {
        self.mesh_total() / self.optimum.total
    }
}

/// The seed of an instance of a series.
pub fn instance_seed(seed: u64, index: usize) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("shoal simulator brief instance");
    hasher.update(&seed.to_le_bytes()).update(&(index as u64).to_le_bytes());
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// The figures of many instances.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    pub schema: String,
    pub seed: u64,
    pub instances: usize,
    pub users: usize,
    pub clouds: usize,
    pub edges: usize,
    /// Cost of the mesh's placement over that of the optimum: the mean over all instances, and so on.
    pub mean_ratio: f64,
    pub p50_ratio: f64,
    pub p90_ratio: f64,
    pub p99_ratio: f64,
    pub worst_ratio: f64,
    /// For `--explain`.
    pub worst_instance: usize,
    pub worst_seed: u64,
    /// Instances within a thousandth of the optimum, in percent.
    pub optimal_percent: f64,
    /// Mean cost over all instances.
    pub mesh_mean_cost: f64,
    pub optimum_mean_cost: f64,
    pub wall_s: f64,
}

/// Solves a series of instances, on this many threads; the figures do not depend on how many.
pub fn solve(shape: Shape, seed: u64, instances: usize, threads: usize) -> Result<Summary, BriefError> {
    let threads = threads.max(1);
    let solve_every = &|first: usize| {
        let indices = (first..instances).step_by(threads);
        let figures = |index| {
            let solved = Solved::of(Instance::draw(shape, instance_seed(seed, index)))?;
            Ok((index, solved.mesh_total(), solved.optimum.total))
        };
        indices.map(figures).collect::<Result<Vec<_>, BriefError>>()
    };
    let parts: Vec<_> = std::thread::scope(|scope| {
        let spawned: Vec<_> = (0..threads).map(|first| scope.spawn(move || solve_every(first))).collect();
        let joined = spawned.into_iter().map(|thread| thread.join());
        joined.map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let mut found = Vec::with_capacity(instances);
    for part in parts {
        found.extend(part?);
    }
    found.sort_by_key(|(index, ..)| *index);
    Ok(summary(shape, seed, &found))
}

fn summary(shape: Shape, seed: u64, found: &[(usize, f64, f64)]) -> Summary {
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / found.len().max(1) as f64;
    let mut ratios: Vec<f64> = found.iter().map(|(_, mesh, least)| mesh / least).collect();
    let optimal = ratios.iter().filter(|ratio| **ratio <= 1.0 + ROUNDING).count();
    let worst = found.iter().max_by(|a, b| (a.1 / a.2).total_cmp(&(b.1 / b.2))).map_or(0, |(index, ..)| *index);
    ratios.sort_by(f64::total_cmp);
    let rank = |share: f64| {
        let rank = (share * ratios.len() as f64).ceil() as usize;
        ratios.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
    };
    Summary {
        schema: shoal_protocol::api::schema(),
        seed,
        instances: found.len(),
        users: shape.users,
        clouds: shape.clouds,
        edges: shape.edges,
        mean_ratio: mean(&mut ratios.iter().copied()),
        p50_ratio: rank(0.5),
        p90_ratio: rank(0.9),
        p99_ratio: rank(0.99),
        worst_ratio: rank(1.0),
        worst_instance: worst,
        worst_seed: instance_seed(seed, worst),
        optimal_percent: 100.0 * optimal as f64 / found.len().max(1) as f64,
        mesh_mean_cost: mean(&mut found.iter().map(|(_, mesh, _)| *mesh)),
        optimum_mean_cost: mean(&mut found.iter().map(|(_, _, least)| *least)),
        wall_s: 0.0,
    }
}
