//! The headline experiments as one page: each calls what the commands call, and draws what came of it.
//!
//! | file | one question |
//! |---|---|
//! | `load.rs` | how long do tasks take as the load grows, under each policy? |
//! | `herd.rs` | what happens when everybody picks the best of what was said a while ago? |
//! | `size.rs` | what does asking cost as the mesh grows? |
//! | `membership.rs` | what does it cost to know who is here, and how soon is a peer missed? |
//! | `distances.rs` | how wrong are peers about distances? |
//! | `plot.rs`, `page.rs` | how is it shown? |
//!
//! **Invariant:** every number on the page was measured by this run; the same plan gives the same page.
//! **Not here:** the experiments themselves. Those are `place`, `membership` and `coordinates`.

mod distances;
mod herd;
mod load;
mod membership;
mod page;
pub(in crate::sim) mod plot;
mod size;

pub use self::page::{PageError, Section, write};
pub use self::plot::PlotError;
use super::matrix::Matrix;
use super::place::PlaceError;
use super::place::generate::PlanError;

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Where all chance comes from.
    pub seed: u64,
    /// Small meshes and few tasks: shows that it works, not what is true of large ones.
    pub quick: bool,
}

/// Why an experiment could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Case(#[from] PlanError),
    #[error("{nodes} nodes are too few: clouds and edges need at least {NODES_MIN}")]
    TooFew { nodes: usize },
}

/// A mesh with fewer nodes shows nothing of what is asked here.
const NODES_MIN: usize = 30;
/// Nodes a quick run takes of the matrix.
const QUICK_NODES: usize = 60;

/// Runs every experiment; `says` hears what is being done.
pub fn run(matrix: &Matrix, plan: &Plan, says: &mut dyn FnMut(&str)) -> Result<Vec<Section>, ReportError> {
    if matrix.len() < NODES_MIN {
        return Err(ReportError::TooFew { nodes: matrix.len() });
    }
    let part = if plan.quick { Some(first(matrix, QUICK_NODES)) } else { None };
    let matrix = part.as_ref().unwrap_or(matrix);
    let mut sections = vec![load::section(matrix, plan, says)?, herd::section(matrix, plan, says)?];
    sections.push(size::section(matrix, plan, says)?);
    sections.push(membership::control(plan, says));
    sections.push(membership::detection(plan, says));
    sections.push(distances::section(matrix, plan, says));
    Ok(sections)
}

/// The first nodes of a matrix.
fn first(matrix: &Matrix, count: usize) -> Matrix {
    Matrix::from_fn(count.min(matrix.len()), |a, b| matrix.rtt_ms(a, b))
}

/// A mesh of any size like a measured one: each node is one of the measured, and has its neighbours a room away.
fn resized(matrix: &Matrix, count: usize) -> Matrix {
    const SAME_PLACE_MS: f64 = 1.0;
    let of = |node: usize| node % matrix.len();
    Matrix::from_fn(count, |a, b| if of(a) == of(b) { Some(SAME_PLACE_MS) } else { matrix.rtt_ms(of(a), of(b)) })
}

#[cfg(test)]
mod tests;
