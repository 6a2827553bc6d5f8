//! Where a task should run.

pub mod explain;
