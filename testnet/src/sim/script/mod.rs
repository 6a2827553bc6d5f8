//! What a script can do to a mesh, and what it can ask about it.
//!
//! | file | one question |
//! |---|---|
//! | `machines.rs` | who is there, and who starts? |
//! | `tasks.rs` | what do users hand in, and what became of it? |
//! | `signing.rs` | what does whoever signs for the mesh say? |
//! | `troubles.rs` | what goes wrong at a machine? |
//! | `villains.rs` | which machines lie, lure and forge? |
//! | `watching.rs` | what has happened since the last look? |
//! | `looking.rs` | how does it stand now? |

mod looking;
mod machines;
mod signing;
mod tasks;
mod troubles;
mod villains;
mod watching;
