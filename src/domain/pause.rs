//! What is stopped at once: pauses stand above every rule and every revision
//! until they are lifted.

use std::sync::Arc;

use super::Timestamp;

/// What can be paused. The number is the one on the wire and at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum PauseKind {
    /// One offer.
    Offer = 1,
    /// Every offer of an issue.
    Issue = 2,
    /// Every offer of a group.
    Group = 3,
    /// Everything on a channel.
    Channel = 4,
}

impl PauseKind {
    /// Every kind, in order of its number.
    pub const ALL: [PauseKind; 4] = [PauseKind::Offer, PauseKind::Issue, PauseKind::Group, PauseKind::Channel];

    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            PauseKind::Offer => "offer",
            PauseKind::Issue => "issue",
            PauseKind::Group => "group",
            PauseKind::Channel => "channel",
        }
    }

    /// From its number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// One thing that is paused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pause {
    /// What kind of thing.
    pub kind: PauseKind,
    /// Its id. It may be unknown to the active revision: a pause outlives the
    /// removal and the return of an offer.
    pub id: Arc<str>,
    /// Why, in the words of who paused it.
    pub reason: Arc<str>,
    /// Who paused it.
    pub author: Arc<str>,
    /// Since when.
    pub since: Timestamp,
}

/// Everything that is paused, as one value. Equal versions are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pauses {
    /// Counts every pause and resume; 0 when nothing was ever paused.
    pub version: u64,
    /// What is paused, sorted by (kind, id), each once.
    pub list: Vec<Pause>,
}

impl Pauses {
    /// The pause of a thing.
    pub fn get(&self, kind: PauseKind, id: &str) -> Option<&Pause> {
        let at = self.list.binary_search_by(|pause| (pause.kind, &*pause.id).cmp(&(kind, id))).ok()?;
        self.list.get(at)
    }
}
