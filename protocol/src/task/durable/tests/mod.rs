//! Kept tasks under faults: whole peers over a small world with disks that lose what was not written.

mod chaos;
mod hostile;
mod members;
mod sabotage;
mod stories;
mod world;
