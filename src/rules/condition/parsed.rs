//! Parsed texts, kept from one compilation to the next: parsing is most of the
//! time that compiling a condition takes.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    sync::Arc,
};

use super::{
    scan::Mistake,
    syntax::{self, Syntax},
};
use crate::rules::report::ERRORS_MAX;

/// Most unknown names a compilation for which known ones are suggested.
const HINTS_MAX: usize = 2 * ERRORS_MAX;

/// A parsed text, whoever keeps it.
#[derive(Clone, Debug)]
pub struct ParsedText(Arc<Parsed>);

/// What a text parses to.
#[derive(Debug)]
struct Parsed {
    syntax: Syntax,
    depth: usize,
}

impl ParsedText {
    /// The syntax tree.
    pub(super) fn syntax(&self) -> &Syntax {
        &self.0.syntax
    }

    /// Its depth.
    pub(super) fn depth(&self) -> usize {
        self.0.depth
    }
}

/// Texts parsed before, by the text. For one thread at a time.
#[derive(Debug, Default)]
pub struct ParsedTexts {
    known: RefCell<HashMap<Box<str>, Entry>>,
    /// Those asked for since [`ParsedTexts::take_used`].
    used: RefCell<Vec<ParsedText>>,
    /// What was told of unknown names in this compilation.
    hints: RefCell<HashMap<Box<str>, Arc<str>>>,
    /// The compilation under way.
    round: Cell<u64>,
}

#[derive(Debug)]
struct Entry {
    text: ParsedText,
    /// The compilation that asked for it last.
    last: u64,
}

impl ParsedTexts {
    /// Parses a text, or answers what it parsed to before.
    pub(super) fn parse(&self, text: &str) -> Result<ParsedText, Mistake> {
        if let Some(entry) = self.known.borrow_mut().get_mut(text) {
            entry.last = self.round.get();
            self.used.borrow_mut().push(entry.text.clone());
            return Ok(entry.text.clone());
        }
        let parsed = parse(text)?;
        self.known.borrow_mut().insert(text.into(), Entry { text: parsed.clone(), last: self.round.get() });
        self.used.borrow_mut().push(parsed.clone());
        Ok(parsed)
    }

    /// The texts asked for since the last call: who keeps them keeps them here too.
    pub fn take_used(&self) -> Vec<ParsedText> {
        self.used.take()
    }

    /// What to tell of an unknown name; looked for once a compilation, and only
    /// for so many names as mistakes are told.
    pub(super) fn hint(&self, name: &str, find: impl FnOnce() -> String) -> String {
        let mut hints = self.hints.borrow_mut();
        if let Some(known) = hints.get(name) {
            return known.to_string();
        }
        if hints.len() >= HINTS_MAX {
            return String::new();
        }
        let hint = find();
        hints.insert(name.into(), hint.as_str().into());
        hint
    }

    /// Ends a compilation: forgets what neither it nor the one before asked for,
    /// and nobody keeps.
    pub fn end_round(&self) {
        self.used.borrow_mut().clear();
        self.hints.borrow_mut().clear();
        let round = self.round.get();
        self.round.set(round + 1);
        self.known.borrow_mut().retain(|_, entry| entry.last + 1 >= round || Arc::strong_count(&entry.text.0) > 1);
    }

    /// How many it holds.
    pub fn count(&self) -> usize {
        self.known.borrow().len()
    }
}

/// Parses a text.
pub(super) fn parse(text: &str) -> Result<ParsedText, Mistake> {
    let (syntax, depth) = syntax::parse(text)?;
    Ok(ParsedText(Arc::new(Parsed { syntax, depth })))
}
