//! What conditions read, each once per decision.

use std::sync::Arc;

use crate::{
    domain::Facts,
    rules::condition::{Reading, Subject},
};

use super::dictionary::Dictionary;

/// A number of a subject.
pub(super) type SubjectId = u32;

/// Everything that is read by some condition.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    list: Box<[Subject]>,
    /// The dictionary of each text subject.
    dictionary_of: Box<[u32]>,
    pub dictionaries: Box<[Dictionary]>,
}

/// A text that no condition names.
pub(super) const OTHER_TEXT: i64 = -1;

/// What a subject came to: a text is its number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Seen {
    Missing,
    Key(i64),
}

/// A value outside of what the index can tell exactly was read.
#[derive(Debug)]
pub(super) struct OddValue;

/// What was read since the decision began.
#[derive(Debug, Default)]
pub(super) struct Readings {
    /// Counts the decisions; what is of an earlier one does not count.
    generation: u32,
    list: Vec<(u32, Seen)>,
}

impl Readings {
    /// Forgets what was read. Allocates only when there are more subjects.
    pub fn begin(&mut self, subjects: &Subjects) {
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            self.list.clear();
            self.generation = 1;
        }
        self.fit(subjects);
    }

    /// Makes room.
    pub fn fit(&mut self, subjects: &Subjects) {
        self.generation = self.generation.max(1);
        if self.list.len() < subjects.list.len() {
            self.list.resize(subjects.list.len(), (0, Seen::Missing));
        }
    }
}

impl Subjects {
    pub fn of(list: Vec<Subject>, dictionary_of: Vec<u32>, mut dictionaries: Vec<Dictionary>) -> Self {
        let empty: Arc<str> = "".into();
        dictionaries.iter_mut().for_each(Dictionary::shrink);
        Self {
            list: list.into_iter().map(|subject| subject.without_name(&empty)).collect(),
            dictionary_of: dictionary_of.into(),
            dictionaries: dictionaries.into(),
        }
    }

    /// What a subject comes to, read at most once per decision.
    #[inline]
    pub fn read(&self, id: SubjectId, facts: &Facts<'_>, readings: &mut Readings) -> Result<Seen, OddValue> {
        let at = id as usize;
        let (generation, seen) = readings.list[at];
        if generation == readings.generation {
            return Ok(seen);
        }
        let seen = match self.list[at].read(facts) {
            Reading::Missing => Seen::Missing,
            Reading::Key(key) => Seen::Key(key),
            Reading::Text(text) => {
                let dictionary = &self.dictionaries[self.dictionary_of[at] as usize];
                Seen::Key(dictionary.get(text).map_or(OTHER_TEXT, i64::from))
            }
            Reading::Odd => return Err(OddValue),
        };
        readings.list[at] = (readings.generation, seen);
        Ok(seen)
    }

    /// Memory it owns, bytes; what it shares with the conditions is theirs.
    pub fn bytes(&self) -> usize {
        let members = |subject: &Subject| match subject {
            Subject::Member(_, member) => member.len() + 2 * size_of::<usize>(),
            _ => 0,
        };
        self.list.len() * (size_of::<Subject>() + size_of::<u32>())
            + self.list.iter().map(members).sum::<usize>()
            + self.dictionaries.iter().map(|d| size_of::<Dictionary>() + d.bytes()).sum::<usize>()
    }
}
