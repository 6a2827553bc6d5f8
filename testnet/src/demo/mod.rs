//! The work of five users on a mesh of real peers, with a peer killed in the middle, and what came of it in numbers.
//!
//! ```text
//! jobs (what is asked, when, and the right answers) ─► mesh up ─► modules ready everywhere
//!   ─► fed to the mesh, a peer is killed and returns ─► the same to the cloud only ─► the same at home only ─► a stranger knocks ─► report
//! ```
//!
//! **Invariant:** every number of the report was measured in this run; what was not is absent, and what missed its goal says so.
//! **Not here:** how a task is placed. The peers do that; this only hands work in and looks at what they say.

mod board;
mod calls;
mod decisions;
mod error;
mod fault;
mod feed;
mod live;
mod mode;
pub(crate) mod percentiles;
pub mod report;
mod story;
mod stranger;
mod text;
mod usage;
mod work;

pub use error::DemoError;
pub use report::Report;
pub use story::{DemoConfig, run};
