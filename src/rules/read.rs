//! Typed readers over the tree: each gives the value, or notes what is wrong
//! with its place and gives nothing.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc};

use crate::domain::{
    Currency, Date, Timestamp,
    time::{DAY_US, SECOND_US},
};

use super::{
    keys::Section,
    report::Report,
    source::{Key, Kind, Mark, Node},
};

/// Longest id, bytes.
pub const ID_BYTES_MAX: usize = 64;
/// Longest label, name or other short text, bytes.
pub const LABEL_BYTES_MAX: usize = 1_024;
/// Longest URL, bytes.
pub const URL_BYTES_MAX: usize = 2_048;
/// Most keys of a map that are searched one by one.
const KEYS_SEARCHED_MAX: usize = 16;
/// Longest duration, days.
pub const DURATION_DAYS_MAX: i64 = 3_660;

/// The values of a map whose keys are checked.
#[derive(Debug)]
pub struct Fields<'n> {
    section: &'static Section,
    /// Where the map begins.
    pub mark: Mark,
    values: Vec<Option<&'n Node>>,
}

impl<'n> Fields<'n> {
    /// The value of a key; `None` without it, or when it holds nothing.
    pub fn get(&self, name: &'static str) -> Option<&'n Node> {
        #[cfg(test)]
        used::note(self.section.name, name);
        let at = self.section.keys.iter().position(|key| key.name == name)?;
        self.values.get(at).copied().flatten()
    }
}

/// Which keys the parser asked for, so that tests can hold them against the table.
#[cfg(test)]
pub(super) mod used {
    use std::{cell::RefCell, collections::BTreeSet};

    thread_local! {
        static KEYS: RefCell<BTreeSet<(&'static str, &'static str)>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub fn note(section: &'static str, key: &'static str) {
        KEYS.with_borrow_mut(|keys| keys.insert((section, key)));
    }

    pub fn take() -> BTreeSet<(&'static str, &'static str)> {
        KEYS.take()
    }
}

/// Whether a text is an id: `[a-z][a-z0-9_]{0,63}`.
pub fn is_id(text: &str) -> bool {
    let letters = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    letters && text.len() <= ID_BYTES_MAX && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
}

impl Report<'_> {
    /// A map with the section's keys: notes unknown, repeated and missing ones.
    pub fn fields<'n>(&mut self, node: &'n Node, section: &'static Section) -> Option<Fields<'n>> {
        let entries = self.entries(node)?;
        let mut values: Vec<Option<&'n Node>> = vec![None; section.keys.len()];
        for (key, value) in entries {
            match section.keys.iter().position(|spec| spec.name == &*key.text) {
                Some(at) => values[at] = (value.kind != Kind::Null).then_some(value),
                None => {
                    let hint = self.did_you_mean(&key.text, section.names());
                    let shown = key.text.escape_debug();
                    self.error(key.mark, format!("unknown key `{shown}` in `{}`{hint}", section.name));
                }
            }
        }
        for (spec, value) in section.keys.iter().zip(&values) {
            if spec.is_required() && value.is_none() {
                self.error(node.mark, format!("`{}` needs the key `{}`: {}", section.name, spec.name, spec.meaning));
            }
        }
        Some(Fields { section, mark: node.mark, values })
    }

    /// The entries of a map, each key once.
    pub fn entries<'n>(&mut self, node: &'n Node) -> Option<Vec<(&'n Key, &'n Node)>> {
        let Kind::Map(entries) = &node.kind else { return self.expected(node, "a map") };
        let mut unique: Vec<(&Key, &Node)> = Vec::with_capacity(entries.len());
        // Small maps, nearly all, are searched; large ones are looked up.
        let mut seen: HashMap<&str, Mark> = HashMap::new();
        for (key, value) in entries {
            let first = match unique.len() {
                ..KEYS_SEARCHED_MAX => {
                    unique.iter().find(|(known, _)| known.text == key.text).map(|(known, _)| known.mark)
                }
                KEYS_SEARCHED_MAX => {
                    seen = unique.iter().map(|(known, _)| (&*known.text, known.mark)).collect();
                    seen.get(&*key.text).copied()
                }
                _ => seen.get(&*key.text).copied(),
            };
            if let Some(Mark { line, .. }) = first {
                self.error(key.mark, format!("the key `{}` is already in line {line}", key.text.escape_debug()));
                continue;
            }
            if unique.len() >= KEYS_SEARCHED_MAX {
                seen.insert(&key.text, key.mark);
            }
            unique.push((key, value));
        }
        Some(unique)
    }

    /// The values of a list.
    pub fn list<'n>(&mut self, node: &'n Node) -> Option<&'n [Node]> {
        match &node.kind {
            Kind::List(nodes) => Some(nodes),
            _ => self.expected(node, "a list"),
        }
    }

    /// Notes that something else stands here.
    pub fn expected<T>(&mut self, node: &Node, what: &str) -> Option<T> {
        self.error(node.mark, format!("expected {what}, found {}", node.kind.describe()));
        None
    }

    /// Text.
    pub fn text<'n>(&mut self, node: &'n Node) -> Option<&'n Arc<str>> {
        match &node.kind {
            Kind::Text(text) => Some(text),
            Kind::Int(_) | Kind::Float(_) | Kind::Bool(_) => self.expected(node, "text (quote it)"),
            _ => self.expected(node, "text"),
        }
    }

    /// Short text that is not empty.
    pub fn label(&mut self, node: &Node) -> Option<Arc<str>> {
        let text = self.text(node)?;
        if text.trim().is_empty() {
            self.error(node.mark, "the text is empty");
            return None;
        }
        if text.len() > LABEL_BYTES_MAX {
            self.error(node.mark, format!("the text has {} bytes, at most {LABEL_BYTES_MAX} are allowed", text.len()));
            return None;
        }
        Some(text.clone())
    }

    /// An id.
    pub fn id(&mut self, node: &Node) -> Option<Arc<str>> {
        let text = self.text(node)?;
        self.check_id(node.mark, text).then(|| text.clone())
    }

    /// Whether a text is an id; notes when it is not.
    pub fn check_id(&mut self, mark: Mark, text: &str) -> bool {
        if !is_id(text) {
            let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
            let rule = "a lower-case letter, then at most 63 of `a-z`, `0-9`, `_`";
            self.error(mark, format!("`{shown}` is not an id: {rule}"));
            return false;
        }
        true
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, node: &Node) -> Option<bool> {
        match node.kind {
            Kind::Bool(value) => Some(value),
            _ => self.expected(node, "`true` or `false`"),
        }
    }

    /// `true` or `false`, or what counts without the key.
    pub fn flag(&mut self, node: Option<&Node>, default: bool) -> bool {
        node.and_then(|node| self.boolean(node)).unwrap_or(default)
    }

    /// A number in a range.
    pub fn number(&mut self, node: &Node, range: RangeInclusive<f64>) -> Option<f64> {
        let value = match node.kind {
            Kind::Int(value) => value as f64,
            Kind::Float(value) => value,
            _ => return self.expected(node, "a number"),
        };
        if !range.contains(&value) {
            let bounds = match (*range.start(), *range.end()) {
                (low, f64::MAX) => format!("at least {low}"),
                (low, high) => format!("{low} to {high}"),
            };
            self.error(node.mark, format!("`{value}` is out of range: {bounds} is allowed"));
            return None;
        }
        Some(value)
    }

    /// A whole number in a range.
    pub fn whole(&mut self, node: &Node, range: RangeInclusive<i64>) -> Option<i64> {
        let Kind::Int(value) = node.kind else { return self.expected(node, "a whole number") };
        if !range.contains(&value) {
            let (low, high) = (range.start(), range.end());
            self.error(node.mark, format!("`{value}` is out of range: {low} to {high} is allowed"));
            return None;
        }
        Some(value)
    }

    /// One of some words.
    pub fn one_of<T: Copy>(&mut self, node: &Node, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == &**text) {
            return Some(*value);
        }
        let names = words.iter().map(|(word, _)| *word);
        let hint = self.did_you_mean(text, names.clone());
        let all: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        self.error(node.mark, format!("expected one of {}, found {}{hint}", all.join(", "), node.kind.describe()));
        None
    }

    /// A duration in microseconds: `30s 30m 2h 7d 4w`.
    pub fn duration(&mut self, node: &Node) -> Option<i64> {
        let text = self.text(node)?;
        match parse_duration(text) {
            Some(us) => Some(us),
            None => {
                self.expected(node, "a duration like `30s`, `30m`, `2h`, `7d` or `4w`, more than 0, at most 10 years")
            }
        }
    }

    /// A moment: RFC 3339, or a date for its midnight in UTC.
    pub fn moment(&mut self, node: &Node) -> Option<Timestamp> {
        let text = self.text(node)?;
        match parse_moment(text) {
            Some(moment) => Some(moment),
            None => self.expected(node, "a time like `2011-06-01T10:00:00Z` or a date like `2011-06-01`"),
        }
    }

    /// An absolute http or https URL.
    pub fn url(&mut self, node: &Node) -> Option<Arc<str>> {
        let text = self.text(node)?;
        if text.len() > URL_BYTES_MAX {
            self.error(node.mark, format!("the URL has {} bytes, at most {URL_BYTES_MAX} are allowed", text.len()));
            return None;
        }
        if !is_absolute_url(text) {
            return self.expected(node, "an absolute URL that begins with `https://` or `http://`");
        }
        Some(text.clone())
    }

    /// A language tag (BCP 47), lower-cased.
    pub fn language(&mut self, mark: Mark, text: &str) -> Option<Arc<str>> {
        let lower = text.to_ascii_lowercase();
        let part = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
        let first = lower.split('-').next().unwrap_or_default();
        let plain = (2..=8).contains(&first.len()) && first.bytes().all(|b| b.is_ascii_lowercase());
        if !plain || lower.len() > 35 || !lower.split('-').all(part) {
            let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
            self.error(mark, format!("`{shown}` is not a language tag like `en` or `pt-BR`"));
            return None;
        }
        Some(lower.into())
    }

    /// Money in minor units, given in major ones.
    pub fn money(&mut self, node: &Node, currency: Currency) -> Option<i64> {
        let minor = match &node.kind {
            Kind::Int(value) => value.checked_mul(currency.scale()),
            Kind::Float(value) => minor_units(*value, currency),
            Kind::Text(text) => currency.parse(text),
            _ => None,
        };
        match minor {
            Some(minor) => Some(minor),
            None => {
                let digits = currency.minor_digits;
                self.expected(node, &format!("an amount in {} with at most {digits} decimals", currency.code()))
            }
        }
    }
}

fn minor_units(major: f64, currency: Currency) -> Option<i64> {
    let scaled = major * currency.scale() as f64;
    let minor = scaled.round();
    // 2^53: beyond it a double no longer tells minor units apart.
    let exact = (scaled - minor).abs() < 1e-6 && minor.abs() < 9_007_199_254_740_992.0;
    exact.then_some(minor as i64)
}

fn parse_duration(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    let us = digits.parse::<i64>().ok()?.checked_mul(seconds)?.checked_mul(SECOND_US)?;
    (us > 0 && us <= DURATION_DAYS_MAX * DAY_US).then_some(us)
}

/// RFC 3339, or a date for its midnight in UTC.
pub fn parse_moment(text: &str) -> Option<Timestamp> {
    if let Some(date) = parse_date(text) {
        return Some(Timestamp(i64::from(date.0) * DAY_US));
    }
    let moment: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp(moment.as_microsecond()))
}

/// `YYYY-MM-DD`.
pub fn parse_date(text: &str) -> Option<Date> {
    let plain = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    if plain { Date::parse(text) } else { None }
}

/// Whether a text is an absolute http or https URL without user info.
pub fn is_absolute_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let clean =
        text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '<' | '>' | '\\' | '`'));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default()).unwrap_or_default();
    let named = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '_');
    clean && host.chars().next().is_some_and(char::is_alphanumeric) && host.chars().all(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, wanted) in [("30s", 30), ("30m", 1_800), ("2h", 7_200), ("7d", 604_800), ("4w", 2_419_200)] {
            assert_eq!(parse_duration(text), Some(wanted * SECOND_US), "{text}");
        }
        for text in ["", "s", "0s", "-1d", "1.5h", "1y", "1 d", "99999999999w", "1dd", "١d", "5000d"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn urls() {
        for text in ["https://shop.example/a?b=1#c", "http://localhost:8080", "https://exämple.test/"] {
            assert!(is_absolute_url(text), "{text}");
        }
        for text in [
            "",
            "shop.example",
            "/a",
            "//a",
            "ftp://a",
            "https://",
            "https:///a",
            "javascript:alert(1)",
            "https://a b",
            "https://u@h/",
        ] {
            assert!(!is_absolute_url(text), "{text}");
        }
    }

    #[test]
    fn moments() {
        assert_eq!(parse_moment("1970-01-02"), Some(Timestamp(DAY_US)));
        assert_eq!(parse_moment("1970-01-01T01:00:00+01:00"), Some(Timestamp(0)));
        for text in ["", "1970-13-01", "1970-1-1", "yesterday", "1970-01-01T00:00:00"] {
            assert_eq!(parse_moment(text), None, "{text}");
        }
    }
}
