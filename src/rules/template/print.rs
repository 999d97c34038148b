//! How values look in templates: numbers, money, dates, by language.

use crate::domain::{Currency, Date, ValueRef};

/// A double: whole numbers without a point.
pub(super) fn double(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.0}") } else { value.to_string() }
}

/// How a language groups and marks digits, and where the currency stands.
struct NumberStyle {
    group: char,
    point: char,
    symbol_first: bool,
}

fn primary(language: &str) -> &str {
    language.split(['-', '_']).next().unwrap_or(language)
}

fn number_style(language: &str) -> NumberStyle {
    match primary(language) {
        "de" | "es" | "it" | "pt" | "nl" | "da" | "el" | "tr" => {
            NumberStyle { group: '.', point: ',', symbol_first: false }
        }
        "fr" | "sv" | "nb" | "nn" | "no" | "fi" | "pl" | "cs" | "sk" | "uk" | "ru" | "hu" => {
            NumberStyle { group: '\u{a0}', point: ',', symbol_first: false }
        }
        _ => NumberStyle { group: ',', point: '.', symbol_first: true },
    }
}

fn symbol(currency: &Currency) -> Option<&'static str> {
    Some(match currency.code() {
        "GBP" => "£",
        "EUR" => "€",
        "USD" => "$",
        "JPY" => "¥",
        _ => return None,
    })
}

/// Minor units as money: `£1,234.50`, `1.234,50 €`.
pub(super) fn money(minor: i64, currency: &Currency, language: &str) -> String {
    let style = number_style(language);
    let plain = currency.format(minor);
    let digits = plain.trim_start_matches('-');
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let mut number = String::with_capacity(plain.len() + 8);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            number.push(style.group);
        }
        number.push(digit);
    }
    if !part.is_empty() {
        number.push(style.point);
        number.push_str(part);
    }
    let sign = if minor < 0 { "-" } else { "" };
    match (symbol(currency), style.symbol_first) {
        (Some(symbol), true) => format!("{sign}{symbol}{number}"),
        (Some(symbol), false) => format!("{sign}{number} {symbol}"),
        (None, true) => format!("{sign}{} {number}", currency.code()),
        (None, false) => format!("{sign}{number} {}", currency.code()),
    }
}

/// Minor units of an amount in major units; `None` when it does not fit.
pub(super) fn minor_units(major: f64, currency: &Currency) -> Option<i64> {
    let minor = (major * currency.scale() as f64).round();
    (minor.is_finite() && minor.abs() < i64::MAX as f64).then_some(minor as i64)
}

/// `2011-06-03`.
pub(super) fn iso_date(date: Date) -> String {
    let (year, month, day) = date.ymd();
    format!("{year:04}-{month:02}-{day:02}")
}

const MONTHS_EN: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const MONTHS_DE: [&str; 12] = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
];

/// `3 June 2011`, `June 3, 2011` in American English, `3. Juni 2011` in
/// German, `2011-06-03` in other languages.
pub(super) fn long_date(date: Date, language: &str) -> String {
    let (year, month, day) = date.ymd();
    let name = |names: [&'static str; 12]| names[usize::from(month.unsigned_abs().clamp(1, 12) - 1)];
    match (language, primary(language)) {
        ("en-us", _) => format!("{} {day}, {year}", name(MONTHS_EN)),
        (_, "en") => format!("{day} {} {year}", name(MONTHS_EN)),
        (_, "de") => format!("{day}. {} {year}", name(MONTHS_DE)),
        _ => iso_date(date),
    }
}

/// The date at the head of a date's or moment's text.
pub(super) fn parse_date(text: &str) -> Option<Date> {
    Date::parse(text.get(..10)?)
}

/// A moment in UTC: `2011-06-03T10:00:00Z`.
pub(super) fn moment(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros).map_or_else(|_| micros.to_string(), |moment| moment.to_string())
}

/// A number in major units, of values that are numbers or money.
pub(super) fn major(value: ValueRef<'_>, currency: &Currency) -> Option<f64> {
    match value {
        ValueRef::Int(v) => Some(v as f64),
        ValueRef::Double(v) => Some(v),
        ValueRef::Money(v) => Some(currency.major(v)),
        _ => None,
    }
}
