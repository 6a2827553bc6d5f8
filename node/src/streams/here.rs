//! What each stream that this peer owns is at the moment.
//!
//! **Invariant:** one of these at a time; none where it is stopped, or another peer runs it.

use super::Streams;
use super::running::Running;

pub(super) enum Here {
    /// This peer was just started, and asks whether another one has taken it over.
    Asked,
    Running(Running),
    /// It cannot go on, for this reason.
    Stuck(String),
    /// Another peer runs it now, and what it had here cannot be left for people.
    Owed,
}

/// What is said of one that is owed.
pub(super) const OWED: &str =
    "another peer runs it now, and what it had here could not be left for people: make room, then start shoald again";

impl Streams {
    pub(super) fn is_running(&self, name: &str) -> bool {
        matches!(self.0.here().get(name), Some(Here::Running(_)))
    }

    pub(super) fn is_asked(&self, name: &str) -> bool {
        matches!(self.0.here().get(name), Some(Here::Asked))
    }

    pub(super) fn is_owed(&self, name: &str) -> bool {
        matches!(self.0.here().get(name), Some(Here::Owed))
    }

    pub(super) fn set(&self, name: &str, here: Here) {
        self.0.here().insert(name.to_owned(), here);
    }

    /// It is taken out where it is under way.
    pub(super) fn take_running(&self, name: &str) -> Option<Running> {
        let mut here = self.0.here();
        match here.remove(name) {
            Some(Here::Running(running)) => Some(running),
            Some(other) => {
                here.insert(name.to_owned(), other);
                None
            }
            None => None,
        }
    }

    /// It is nothing any more, if it was this.
    pub(super) fn clear_if(&self, name: &str, is_it: impl FnOnce(&Here) -> bool) {
        let mut here = self.0.here();
        if here.get(name).is_some_and(is_it) {
            here.remove(name);
        }
    }
}
