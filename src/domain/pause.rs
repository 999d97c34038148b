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

    /// The next version, with one more thing paused, or its pause replaced.
    pub fn with(&self, pause: Pause) -> Self {
        let mut next = self.without(pause.kind, &pause.id);
        let at = next.list.partition_point(|other| (other.kind, &other.id) < (pause.kind, &pause.id));
        next.list.insert(at, pause);
        next
    }

    /// The next version, with a thing not paused.
    pub fn without(&self, kind: PauseKind, id: &str) -> Self {
        let others = self.list.iter().filter(|pause| pause.kind != kind || &*pause.id != id);
        Self { version: self.version + 1, list: others.cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(kind: PauseKind, id: &str) -> Pause {
        Pause { kind, id: id.into(), reason: "why".into(), author: "ann".into(), since: Timestamp(1) }
    }

    #[test]
    fn pauses_stay_sorted_and_single() {
        let mut pauses = Pauses::default();
        for (kind, id) in [(PauseKind::Channel, "web"), (PauseKind::Offer, "b"), (PauseKind::Offer, "a")] {
            pauses = pauses.with(pause(kind, id));
        }
        let again = pauses.with(pause(PauseKind::Offer, "b"));
        assert_eq!((again.list.clone(), again.version), (pauses.list.clone(), 4));
        let ids: Vec<&str> = again.list.iter().map(|pause| &*pause.id).collect();
        assert_eq!(ids, ["a", "b", "web"]);
        assert!(again.get(PauseKind::Offer, "b").is_some() && again.get(PauseKind::Group, "b").is_none());
        let less = again.without(PauseKind::Offer, "b");
        assert!(less.get(PauseKind::Offer, "b").is_none() && less.list.len() == 2 && less.version == 5);
    }
}
