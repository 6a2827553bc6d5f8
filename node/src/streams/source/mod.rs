//! Where records come from. Each source hands deliveries to the stream's intake, and tells its own side that one was taken only
//! when the stream says that it is on disk.

pub(super) mod directory;
pub(super) mod mqtt;
