//! The tags of a template with their places: what the engine does not tell.

use std::ops::Range;

use super::did_you_mean;

/// Statements that templates may use: no state, nothing from outside.
const STATEMENTS: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];
/// Filters that templates may use.
pub(super) const FILTERS: [&str; 12] =
    ["default", "money", "date", "upper", "lower", "capitalize", "title", "trim", "length", "join", "first", "last"];
/// Tests that templates may use.
pub(super) const TESTS: [&str; 2] = ["defined", "undefined"];

/// The deepest nesting of statements; each `elif` nests too.
const NESTING_MAX: usize = 32;
/// The most names and signs in one tag: the engine recurses over them.
const SIGNS_MAX: usize = 128;

/// A place and what is wrong there.
pub(super) type Mistake = (Range<usize>, String);

/// A piece of a template.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(Range<usize>),
    /// What stands between `{{` and `}}`.
    Print(Range<usize>),
    /// What stands between `{%` and `%}`.
    Statement(Range<usize>),
    /// A comment or raw text: nothing to look into.
    Other,
}

/// A template cut into pieces.
#[derive(Debug)]
pub(super) struct Tags<'a> {
    pub text: &'a str,
    pub pieces: Vec<Piece>,
}

impl<'a> Tags<'a> {
    /// Cuts a template.
    pub fn scan(text: &'a str) -> Result<Self, Mistake> {
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let start = next_tag(text, at);
            if start > at {
                pieces.push(Piece::Literal(at..start));
            }
            if start == text.len() {
                break;
            }
            let (piece, end) = tag(text, start)?;
            pieces.push(piece);
            at = end;
        }
        Ok(Self { text, pieces })
    }

    /// Tags that are too large or too deep for the engine's stack.
    fn too_deep(&self) -> Option<Mistake> {
        let mut open: Vec<usize> = Vec::new();
        for piece in &self.pieces {
            let (Piece::Print(span) | Piece::Statement(span)) = piece else { continue };
            if signs(&self.text[span.clone()]) > SIGNS_MAX {
                return Some((span.clone(), format!("this tag has more than {SIGNS_MAX} names and signs, split it")));
            }
            let Piece::Statement(_) = piece else { continue };
            let first = words(self.text, span.clone()).into_iter().next();
            match first.map_or("", |word| &self.text[word]) {
                "if" | "for" => open.push(1),
                "elif" => open.iter_mut().next_back().into_iter().for_each(|levels| *levels += 1),
                "endif" | "endfor" => _ = open.pop(),
                _ => {}
            }
            if open.iter().sum::<usize>() > NESTING_MAX {
                let message = format!("statements are nested deeper than {NESTING_MAX} levels, split the template");
                return Some((span.clone(), message));
            }
        }
        None
    }

    /// Statements, filters and tests that are not allowed.
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut found: Vec<Mistake> = self.too_deep().into_iter().collect();
        for piece in &self.pieces {
            let (Piece::Print(span) | Piece::Statement(span)) = piece else { continue };
            let words = words(self.text, span.clone());
            if let (Piece::Statement(_), Some(first)) = (piece, words.first()) {
                let name = &self.text[first.clone()];
                if !STATEMENTS.contains(&name) {
                    let hint = did_you_mean(name, STATEMENTS.into_iter());
                    found.push((first.clone(), format!("statement `{name}` is not allowed in templates{hint}")));
                    continue;
                }
            }
            for (at, word) in words.iter().enumerate() {
                let before = self.text[span.start..word.start].trim_end();
                let name = &self.text[word.clone()];
                let previous = |back: usize| at.checked_sub(back).map_or("", |i| &self.text[words[i].clone()]);
                let asked = previous(1) == "is" || (previous(1) == "not" && previous(2) == "is");
                if before.ends_with('|') && !FILTERS.contains(&name) {
                    let hint = did_you_mean(name, FILTERS.into_iter());
                    found.push((word.clone(), format!("unknown filter `{name}`{hint}")));
                } else if asked && name != "not" && !TESTS.contains(&name) {
                    found.push((word.clone(), format!("unknown test `{name}`, use `defined` or `undefined`")));
                }
            }
        }
        found
    }

    /// Where a name first stands; the whole template when it cannot be found.
    pub fn place_of(&self, name: &str) -> Range<usize> {
        let inside = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Print(span) | Piece::Statement(span) => Some(span.clone()),
            _ => None,
        });
        for span in inside {
            for word in words(self.text, span) {
                let chain = &self.text[word.clone()];
                if chain == name || chain.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')) {
                    return word.start..word.start + name.len();
                }
            }
        }
        0..0
    }
}

fn next_tag(text: &str, from: usize) -> usize {
    let found = ["{{", "{%", "{#"].iter().filter_map(|open| text[from..].find(open)).min();
    found.map_or(text.len(), |at| from + at)
}

fn tag(text: &str, start: usize) -> Result<(Piece, usize), Mistake> {
    let open = &text[start..start + 2];
    let inside = start + 2;
    if open == "{#" {
        let end = text[inside..].find("#}").ok_or_else(|| (start..inside, "`{#` is not closed, add `#}`".into()))?;
        return Ok((Piece::Other, inside + end + 2));
    }
    let close = if open == "{{" { "}}" } else { "%}" };
    let Some(end) = find_close(text, inside, close) else {
        return Err((start..inside, format!("`{open}` is not closed, add `{close}`")));
    };
    let after = end + 2;
    if open == "{{" {
        return Ok((Piece::Print(inside..end), after));
    }
    let statement = text[inside..end].trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
    if statement == "raw" {
        let rest = &text[after..];
        let close = rest.match_indices("{%").find_map(|(at, _)| {
            let tail = &rest[at + 2..];
            let len = tail.find("%}")?;
            let word = tail[..len].trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
            (word == "endraw").then_some(at + 2 + len + 2)
        });
        let close = close.ok_or_else(|| (start..after, "`raw` is not closed, add `{% endraw %}`".to_owned()))?;
        return Ok((Piece::Other, after + close));
    }
    Ok((Piece::Statement(inside..end), after))
}

/// The end of a tag: its closing sign outside quotes.
fn find_close(text: &str, from: usize, close: &str) -> Option<usize> {
    let mut quote = None;
    let mut chars = text[from..].char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if text[from + at..].starts_with(close) => return Some(from + at),
            None if matches!(c, '\'' | '"') => quote = Some(c),
            Some(_) if c == '\\' => _ = chars.next(),
            Some(open) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

/// How many names, numbers and signs stand in a tag; quoted text counts once.
fn signs(tag: &str) -> usize {
    let (mut count, mut quote, mut in_word) = (0, None, false);
    let mut chars = tag.chars();
    while let Some(c) = chars.next() {
        match quote {
            Some(_) if c == '\\' => _ = chars.next(),
            Some(open) => quote = if c == open { None } else { quote },
            None => {
                let word = c.is_alphanumeric() || c == '_';
                let goes_on = word && in_word;
                count += usize::from(!goes_on && !c.is_whitespace());
                in_word = word;
                quote = Some(c).filter(|c| matches!(c, '\'' | '"'));
            }
        }
    }
    count
}

/// The names inside a tag, each with its points: `p.first_name`.
fn words(text: &str, span: Range<usize>) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut quote = None;
    let mut chars = text[span.clone()].char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let at = span.start + at;
        match quote {
            Some(_) if c == '\\' => _ = chars.next(),
            Some(open) if open == c => quote = None,
            Some(_) => {}
            None if matches!(c, '\'' | '"') => quote = Some(c),
            None if c.is_alphanumeric() || c == '_' => {
                let mut end = at + c.len_utf8();
                while let Some((_, c)) = chars.next_if(|(_, c)| c.is_alphanumeric() || *c == '_' || *c == '.') {
                    end += c.len_utf8();
                }
                found.push(at..end);
            }
            None => {}
        }
    }
    found
}
