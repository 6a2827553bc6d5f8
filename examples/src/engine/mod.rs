//! Turbofan engines: how worn each is (`health`, at the edge) and how many cycles it has left (`rul`, in the cloud).
//!
//! ```text
//! rows of sensors ─► health: a line an engine, its condition as a few dozen numbers ─► rul: cycles left, and a plan
//! ```
//!
//! The edge keeps the sensors' rows, some 20 kB an engine, and sends less than 1 kB. The data are NASA's C-MAPSS sets
//! (Saxena et al., "Damage propagation modeling for aircraft engine run-to-failure simulation", 2008).

pub mod condition;
pub mod health;
pub mod model;
pub mod plan;
pub mod rows;
pub mod rul;
