//! Kept tasks under faults: whole peers over a small world with disks that lose what was not written.

mod chaos;
mod golden;
mod hostile;
mod members;
mod rules;
mod sabotage;
mod stories;
mod told;
mod world;
