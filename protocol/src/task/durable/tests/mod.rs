//! Kept tasks under faults: whole peers over a small world with disks that lose what was not written.

mod chaos;
mod desk;
mod golden;
mod heirs;
mod hostile;
mod leaders;
mod members;
mod rules;
mod sabotage;
mod stories;
mod told;
mod voters;
mod world;
