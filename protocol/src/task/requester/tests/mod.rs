//! The requesting half by itself, word by word: what it says, orders and counts, and when it acts next.

mod answers;
mod ending;
mod home;
mod keeping;
mod losses;
mod offers;
mod placing;
mod rules;
