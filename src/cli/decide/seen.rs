//! Which questions were answered before, and which were asked already. A bit a
//! line for ids that are derived from the file, 8 bytes and the room of a hash
//! table (10 to 19 bytes in all) for ids that the lines give.

use std::{
    collections::HashSet,
    fs::File,
    hash::{BuildHasherDefault, Hasher},
    io::{BufRead, BufReader, Read},
    path::Path,
};

use anyhow::Context;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::answer;

/// Bytes of a file that are hashed at a time.
const READ_BYTES: usize = 1 << 20;

/// The longest answer that is read, bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// What a question's id says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is to be asked.
    New,
    /// It was answered in an earlier run.
    Answered,
    /// An earlier line has the same id.
    Repeated,
}

/// The ids of a batch.
pub struct Seen {
    /// How derived ids begin; the number of the line follows.
    prefix: String,
    lines: u64,
    /// Lines with a derived id that were answered.
    answered_lines: Vec<u64>,
    /// Hashes of given ids; the last bit says that the id was met in this run.
    given: HashSet<u64, BuildHasherDefault<Already>>,
    /// Answers found from earlier runs.
    pub found: u64,
    /// Those of them whose question was met in this run.
    pub met: u64,
    /// Those of them that are problems.
    pub problems: u64,
    /// Those of them whose id was derived in a run like this one.
    pub own: u64,
    /// Those of them whose id was derived from other questions or options.
    pub foreign: u64,
}

const MET: u64 = 1;

/// Hashes need no hashing.
#[derive(Default)]
pub struct Already(u64);

impl Hasher for Already {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Seen {
    /// Of a file of questions; ids are derived from its content and from what
    /// the questions take over.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of_file(path: &Path, fingerprint: &[u8]) -> anyhow::Result<Self> {
        let reading = || format!("reading `{}`", path.display());
        let mut file = File::open(path).with_context(reading)?;
        let mut hash = Xxh3::new();
        let mut buffer = vec![0; READ_BYTES];
        let mut lines = 1;
        loop {
            let len = file.read(&mut buffer).with_context(reading)?;
            if len == 0 {
                break;
            }
            let read = buffer.get(..len).unwrap_or_default();
            hash.update(read);
            lines += read.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        hash.update(fingerprint);
        Ok(Self::new(hash.digest(), lines))
    }

    fn new(hash: u64, lines: u64) -> Self {
        let prefix = answer::derived_prefix(hash);
        Self {
            prefix,
            lines,
            answered_lines: Vec::new(),
            given: HashSet::default(),
            found: 0,
            met: 0,
            problems: 0,
            own: 0,
            foreign: 0,
        }
    }

    /// The derived id of a line.
    pub fn derived(&self, line: u64) -> String {
        format!("{}{line}", self.prefix)
    }

    /// Notes that an id was answered in an earlier run.
    pub fn answered(&mut self, id: &str) {
        self.found += 1;
        match self.line_of(id) {
            Some(line) => {
                let word = (line / 64) as usize;
                if self.answered_lines.len() <= word {
                    self.answered_lines.resize(word + 1, 0);
                }
                if let Some(word) = self.answered_lines.get_mut(word) {
                    *word |= 1 << (line % 64);
                }
            }
            None => {
                self.given.insert(hash_of(id));
            }
        }
    }

    /// What the derived id of a line says.
    pub fn meet_line(&mut self, line: u64) -> Standing {
        let word = self.answered_lines.get((line / 64) as usize);
        match word.is_some_and(|word| word >> (line % 64) & 1 == 1) {
            true => {
                self.met += 1;
                Standing::Answered
            }
            false => Standing::New,
        }
    }

    /// What a given id says.
    pub fn meet(&mut self, id: &str) -> Standing {
        let hash = hash_of(id);
        if self.given.contains(&(hash | MET)) {
            return Standing::Repeated;
        }
        let known = self.given.remove(&hash);
        self.given.insert(hash | MET);
        // an id that looks like a derived one was noted as such
        let known = known || self.line_of(id).is_some_and(|line| self.meet_line(line) == Standing::Answered);
        match known {
            true => {
                self.met += 1;
                Standing::Answered
            }
            false => Standing::New,
        }
    }

    fn line_of(&self, id: &str) -> Option<u64> {
        let line = id.strip_prefix(&self.prefix)?.parse().ok()?;
        (line <= self.lines).then_some(line)
    }

    /// What marks this run: equal for the same questions and the same options.
    pub fn run(&self) -> &str {
        &self.prefix
    }

    /// Notes every answer of an earlier run. Answers where the last whole line
    /// ends: what follows was torn off by a kill.
    ///
    /// # Errors
    /// The file cannot be read; it holds something else than answers.
    pub fn read_answers(&mut self, file: &File, path: &Path) -> anyhow::Result<u64> {
        let mut reader = BufReader::with_capacity(READ_BYTES, file);
        let (mut line, mut end) = (Vec::new(), 0);
        for number in 1_u64.. {
            line.clear();
            let len = (&mut reader)
                .take(ANSWER_BYTES_MAX)
                .read_until(b'\n', &mut line)
                .with_context(|| format!("reading `{}` at line {number}", path.display()))?;
            let foreign = || {
                let path = path.display();
                format!(
                    "line {number} of `{path}` is not an answer of a batch: give another `--out`; nothing was changed"
                )
            };
            let whole = line.last() == Some(&b'\n');
            anyhow::ensure!(whole || len < ANSWER_BYTES_MAX as usize && answer::torn(&line), foreign());
            if !whole {
                break;
            }
            let found = answer::read(&line).with_context(foreign)?;
            self.note(&found);
            end += len as u64;
        }
        Ok(end)
    }

    fn note(&mut self, found: &answer::Found) {
        self.answered(&found.request_id);
        self.problems += u64::from(found.is_problem);
        self.own += u64::from(self.line_of(&found.request_id).is_some());
        self.foreign += u64::from(!found.request_id.starts_with(&self.prefix) && answer::is_derived(&found.request_id));
    }
}

/// The last bit is not part of it.
fn hash_of(id: &str) -> u64 {
    xxh3_64(id.as_bytes()) & !MET
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn answered_and_repeated_ids_are_told_apart() {
        let mut seen = Seen::new(7, 1_000);
        seen.answered("given");
        seen.answered(&seen.derived(3));
        seen.answered("of another file");
        assert_eq!([2, 3, 4].map(|line| seen.meet_line(line)), [Standing::New, Standing::Answered, Standing::New]);
        let standings = ["given", "given", "new", "new"].map(|id| seen.meet(id));
        assert_eq!(standings, [Standing::Answered, Standing::Repeated, Standing::New, Standing::Repeated]);
        assert_eq!((seen.found, seen.met), (3, 2));
    }

    #[test]
    fn a_torn_line_is_where_the_answers_end() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let whole = "{\"requestId\":\"a\",\"answer\":{}}\n{\"requestId\":\"b\\\"\",\"problem\":{}}\n";
        write!(file, "{whole}{{\"requestId\":\"c\",\"ans").unwrap();
        let mut seen = Seen::new(7, 10);
        let open = File::open(file.path()).unwrap();
        assert_eq!(seen.read_answers(&open, file.path()).unwrap(), whole.len() as u64);
        assert_eq!(
            [seen.meet("a"), seen.meet("b\""), seen.meet("c")],
            [Standing::Answered, Standing::Answered, Standing::New]
        );
        assert_eq!((seen.found, seen.problems), (2, 1));
        write!(file, "\nnot an answer\n").unwrap();
        let open = File::open(file.path()).unwrap();
        assert!(Seen::new(7, 10).read_answers(&open, file.path()).is_err());
    }

    #[test]
    fn a_file_of_something_else_is_not_touched() {
        for text in ["no newline", "{\"requestId\": \"a\"}", "{\"requestId\":\"a\",\"placements\":[", "[1]\n", "\n"] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            write!(file, "{text}").unwrap();
            let open = File::open(file.path()).unwrap();
            assert!(Seen::new(7, 10).read_answers(&open, file.path()).is_err(), "{text}");
        }
    }

    #[test]
    fn answers_of_another_run_are_told_apart() {
        let mut seen = Seen::new(7, 10);
        for id in ["given", &seen.derived(3), &Seen::new(8, 10).derived(3)] {
            seen.note(&answer::Found { request_id: id.to_owned(), is_problem: false });
        }
        assert_eq!((seen.found, seen.own, seen.foreign), (3, 1, 1));
    }
}
