//! Looking over the people of a file.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;

use crate::{
    app::{
        clock::Clock,
        population::{Crowd, Edit, Person, part_len, reach},
    },
    cli::{
        given::Given,
        people::{Kept, Reader, Unknown},
    },
    domain::Timestamp,
    grpc::convert::population,
    proto::EvaluateReachResponse,
    rules::{self, Ruleset, SourceFile},
};

/// Mistakes of the file that are printed.
const MISTAKES_SHOWN_MAX: usize = 20;
/// Rules without any offer: what the first look is compared with.
const NOTHING: &str = "settings: { currency: XXX }";

/// The people, and the rules they are compared by.
pub struct Local {
    path: PathBuf,
    at: Option<Timestamp>,
    before: Ruleset,
    /// Whether every look is compared with the same rules.
    fixed: bool,
    people: Vec<Kept>,
    /// The attributes that the people were read with.
    read_with: String,
}

impl Local {
    /// Reads nothing yet.
    ///
    /// # Errors
    /// The rules to compare with are wrong.
    pub fn new(path: PathBuf, at: Option<Timestamp>, against: Option<&Path>) -> anyhow::Result<Self> {
        let before = match against {
            Some(dir) => super::super::eligible::compiled(dir)
                .with_context(|| format!("compiling the rules to compare with, `{}`", dir.display()))?,
            None => {
                let nothing = SourceFile { path: "nothing.yaml".into(), text: NOTHING.into() };
                rules::compile(&[nothing])?
            }
        };
        Ok(Self { path, at, before, fixed: against.is_some(), people: Vec::new(), read_with: String::new() })
    }

    /// Whom the edit reaches.
    ///
    /// # Errors
    /// The people cannot be read.
    pub fn look(&mut self, files: &[SourceFile]) -> anyhow::Result<EvaluateReachResponse> {
        let after = match rules::compile(files) {
            Ok(after) => after,
            Err(errors) => {
                let errors = errors.errors.iter().map(ToString::to_string).collect();
                return Ok(EvaluateReachResponse { errors, ..Default::default() });
            }
        };
        let attributes = format!("{:?} {:?}", after.currency, after.schema.attributes);
        if attributes != self.read_with {
            self.people = read(&self.path, &after)?;
            self.read_with = attributes;
        }
        let now = self.at.unwrap_or_else(|| Clock::default().now());
        let len = part_len(self.people.len());
        let part = |people| Part { people, frame: Given::default(), now };
        let crowds = self.people.chunks_mut(len).map(|people| Box::new(part(people)) as Box<dyn Crowd>).collect();
        // a file has nobody to analyse: traits of models are missing
        let base = Arc::default();
        let reached = reach(Edit { before: &self.before, after: &after, base: &base }, crowds)?;
        reached.notes.iter().for_each(|note| eprintln!("{note}"));
        let answer = population::reach(&reached);
        if !self.fixed {
            self.before = after;
        }
        Ok(answer)
    }
}

/// The people of a file; mistakes in it are printed and left out.
fn read(path: &Path, rules: &Ruleset) -> anyhow::Result<Vec<Kept>> {
    let name = path.display();
    let file = BufReader::with_capacity(1 << 20, File::open(path).with_context(|| format!("opening `{name}`"))?);
    let reader = Reader::of(rules, Unknown::Refused);
    let (mut people, mut refused) = (Vec::new(), 0);
    for (at, line) in file.lines().enumerate() {
        let (number, line) = (at as u64 + 1, line.with_context(|| format!("reading `{name}` at line {}", at + 1))?);
        if line.trim().is_empty() {
            continue;
        }
        match reader.read(&line) {
            Ok(someone) => people.push(Kept::of(someone)),
            Err(wrong) => {
                refused += 1;
                if refused <= MISTAKES_SHOWN_MAX {
                    wrong.mistakes.iter().for_each(|mistake| eprintln!("{name}:{number}: {mistake}"));
                }
            }
        }
    }
    if refused > 0 {
        eprintln!("{refused} lines of `{name}` are left out");
    }
    Ok(people)
}

struct Part<'p> {
    people: &'p mut [Kept],
    frame: Given,
    now: Timestamp,
}

impl Crowd for Part<'_> {
    fn visit(&mut self, see: &mut dyn FnMut(Person<'_>)) {
        for person in self.people.iter_mut() {
            person.show(&mut self.frame, self.now, see);
        }
    }
}
