//! placeholder
pub mod blobs;
pub mod executor;
pub mod load_sampler;
pub mod speed;
