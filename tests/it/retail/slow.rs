//! Traits the slow way: every one by going through all that happened.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::rows::{DAY_US, HOUR_US, Happened};

/// Names that are kept for `distinct` and `top`.
const NAMES_MAX: usize = 32;
/// Moments that are kept for `sequence` and `abandoned`.
const MOMENTS_MAX: usize = 16;

/// A field of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Of {
    Amount,
    Quantity,
    Items,
    Channel,
    Article,
    Country,
    Price,
    Pieces,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    First,
    Last,
    Distinct,
    Top(usize),
    DaysSince,
    DaysSinceFirst,
    /// A purchase and then a return within so many days.
    Sequence(i64),
    /// The latest purchase, more than so many days ago, was followed by no return.
    Abandoned(i64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Window {
    Lifetime,
    Days(i64),
    Hours(i64),
    Today,
    ThisWeek,
    ThisMonth,
    ThisYear,
}

/// Which events count: the text of the rules, and the same again.
#[derive(Clone, Copy)]
pub struct Where(pub &'static str, pub fn(&Happened) -> bool);

/// A trait.
#[derive(Clone, Copy)]
pub struct Spec {
    pub how: How,
    /// Of purchases, or of returns.
    pub purchases: bool,
    pub of: Option<Of>,
    pub only: Option<Where>,
    pub window: Window,
}

/// A moment: of the world, and of the wall clock in London.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub utc_us: i64,
    pub local_us: i64,
}

/// A value of a trait.
#[derive(Clone, Debug, PartialEq)]
pub enum Is {
    Missing,
    Bool(bool),
    Int(i64),
    Pence(i64),
    Double(f64),
    Text(String),
    Set(BTreeSet<String>),
}

/// What a trait must be.
#[derive(Debug)]
pub enum Must {
    Be(Is),
    /// Events of one moment: any of theirs.
    BeOneOf(Vec<Is>),
    /// More names than are kept: the counts of those that went and came back
    /// miss what was before, but all that are told were seen among the last.
    NameOnly(BTreeSet<String>),
}

impl Must {
    pub fn allows(&self, found: &Is) -> bool {
        match (self, found) {
            (Must::Be(wanted), found) => wanted == found,
            (Must::BeOneOf(wanted), found) => wanted.contains(found),
            (Must::NameOnly(names), Is::Text(found)) => names.contains(found),
            (Must::NameOnly(names), Is::Set(found)) => !found.is_empty() && found.is_subset(names),
            (Must::NameOnly(_), _) => false,
        }
    }
}

impl Window {
    fn has(self, event: &Happened, now: &Now) -> bool {
        let (day, today) = (event.day(), now.local_us.div_euclid(DAY_US));
        let date = |day: i64| jiff::civil::date(1970, 1, 1) + jiff::Span::new().days(day);
        let (then, now_date) = (date(day), date(today));
        match self {
            Window::Lifetime => true,
            Window::Days(days) => day > today - days,
            Window::Hours(hours) => event.local_us.div_euclid(HOUR_US) > now.local_us.div_euclid(HOUR_US) - hours,
            Window::Today => day == today,
            // day 0 was a Thursday
            Window::ThisWeek => (day + 3).div_euclid(7) == (today + 3).div_euclid(7),
            Window::ThisMonth => (then.year(), then.month()) == (now_date.year(), now_date.month()),
            Window::ThisYear => then.year() == now_date.year(),
        }
    }
}

fn text(of: Of, event: &Happened) -> Option<String> {
    match of {
        Of::Channel => Some("web".to_owned()),
        Of::Article => event.article.clone(),
        Of::Country => Some(event.country.clone()),
        _ => None,
    }
}

/// Numbers whole: pence, pieces, millionths.
fn number(of: Of, event: &Happened) -> Option<i64> {
    match of {
        Of::Amount => Some(event.amount),
        Of::Quantity => event.quantity(),
        Of::Pieces => Some(event.pieces),
        Of::Price => Some((event.price * 1e6).round() as i64),
        _ => None,
    }
}

fn in_unit(of: Of, number: i64) -> Is {
    match of {
        Of::Amount => Is::Pence(number),
        Of::Price => Is::Double(number as f64 / 1e6),
        _ => Is::Int(number),
    }
}

fn field(of: Of, event: &Happened) -> Option<Is> {
    text(of, event).map(Is::Text).or_else(|| number(of, event).map(|number| in_unit(of, number)))
}

impl Spec {
    /// What the trait must be of all that happened.
    pub fn must(&self, happened: &[Happened], now: &Now) -> Must {
        let of_kind = |purchases: bool| happened.iter().filter(move |event| event.purchase == purchases);
        let counted = of_kind(self.purchases).filter(|event| self.only.is_none_or(|only| only.1(event)));
        let counted: Vec<&Happened> = counted.collect();
        let within: Vec<&Happened> = counted.iter().copied().filter(|event| self.window.has(event, now)).collect();
        let of = self.of.unwrap_or(Of::Amount);
        let numbers: Vec<i64> = within.iter().filter_map(|event| number(of, event)).collect();
        let or_missing = |found: Option<i64>| found.map_or(Is::Missing, |found| in_unit(of, found));
        let ends = |at: Option<i64>| at.map_or(Is::Missing, |at| Is::Int((now.utc_us - at).div_euclid(DAY_US).max(0)));
        Must::Be(match self.how {
            How::Count => Is::Int(within.len() as i64),
            How::Sum => in_unit(of, numbers.iter().sum()),
            How::Avg => mean(of, &numbers),
            How::Min => or_missing(numbers.iter().min().copied()),
            How::Max => or_missing(numbers.iter().max().copied()),
            How::DaysSince => ends(within.iter().map(|event| event.utc_us).max()),
            How::DaysSinceFirst => ends(within.iter().map(|event| event.utc_us).min()),
            How::First | How::Last => return one_of(self.how, of, &within),
            How::Distinct => Is::Int(names(of, &within).len().min(NAMES_MAX) as i64),
            How::Top(k) => return top(k, names(of, &within), names(of, &counted).len()),
            How::Sequence(days) => {
                let (bought, returned) = (newest(of_kind(true)), newest(of_kind(false)));
                let near = |a: i64, b: i64| (0..=days * DAY_US).contains(&(b - a));
                Is::Bool(bought.iter().any(|a| returned.iter().any(|b| near(*a, *b))))
            }
            How::Abandoned(days) => {
                let (bought, returned) = (newest(of_kind(true)), newest(of_kind(false)));
                let left =
                    |last: &i64| now.utc_us - last > days * DAY_US && !returned.iter().any(|later| later >= last);
                Is::Bool(bought.last().is_some_and(left))
            }
        })
    }
}

/// Amounts to the penny, a half up; of whole numbers and doubles a double.
fn mean(of: Of, numbers: &[i64]) -> Is {
    let (sum, count) = (numbers.iter().sum::<i64>(), numbers.len() as i64);
    match of {
        _ if count == 0 => Is::Missing,
        Of::Amount => Is::Pence((2 * sum + count) / (2 * count)),
        Of::Price => Is::Double(sum as f64 / 1e6 / count as f64),
        _ => Is::Double(sum as f64 / count as f64),
    }
}

fn one_of(how: How, of: Of, within: &[&Happened]) -> Must {
    let having: Vec<&Happened> = within.iter().copied().filter(|event| field(of, event).is_some()).collect();
    let times = having.iter().map(|event| event.utc_us);
    let Some(at) = (if how == How::First { times.min() } else { times.max() }) else { return Must::Be(Is::Missing) };
    Must::BeOneOf(having.iter().filter(|event| event.utc_us == at).filter_map(|event| field(of, event)).collect())
}

/// How often each name was seen, and when last.
fn names(of: Of, events: &[&Happened]) -> BTreeMap<String, (usize, i64)> {
    let mut names: BTreeMap<String, (usize, i64)> = BTreeMap::new();
    for event in events {
        let said: Vec<String> = match of {
            Of::Items => event.articles().into_iter().map(str::to_owned).collect(),
            of => text(of, event).into_iter().collect(),
        };
        for name in said {
            let seen = names.entry(name).or_default();
            *seen = (seen.0 + 1, seen.1.max(event.utc_us));
        }
    }
    names
}

fn top(k: usize, names: BTreeMap<String, (usize, i64)>, ever: usize) -> Must {
    let mut order: Vec<(usize, i64, String)> = names.into_iter().map(|(name, (n, last))| (n, last, name)).collect();
    if order.is_empty() {
        return Must::Be(Is::Missing);
    }
    if ever > NAMES_MAX {
        order.sort_by_key(|one| Reverse(one.1));
        let oldest = order[order.len().min(NAMES_MAX) - 1].1;
        return Must::NameOnly(order.into_iter().filter(|one| one.1 >= oldest).map(|one| one.2).collect());
    }
    order.sort();
    let mut best = order.into_iter().rev().take(k).map(|one| one.2);
    Must::Be(if k == 1 { Is::Text(best.next().expect("one")) } else { Is::Set(best.collect()) })
}

/// The newest moments, oldest first.
fn newest<'a>(events: impl Iterator<Item = &'a Happened>) -> Vec<i64> {
    let mut at: Vec<i64> = events.map(|event| event.utc_us).collect();
    at.sort_unstable();
    at.split_off(at.len().saturating_sub(MOMENTS_MAX))
}
