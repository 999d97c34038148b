//! Literals in quotes: `money('12.50')`, `date('2011-01-01')`,
//! `timestamp('2011-01-01T00:00:00Z')`, `duration('24h')`.

use super::{tree::Constant, types::Type};
use crate::domain::{Currency, Date};

type Parse = fn(&str, Currency) -> Result<(Type, Constant), String>;

/// The parser of a function that makes a value of a literal.
pub(super) fn parser(name: &str) -> Option<Parse> {
    Some(match name {
        "money" => money,
        "date" => date,
        "timestamp" => timestamp,
        "duration" => |text, _| duration(text),
        _ => return None,
    })
}

/// How a call looks.
pub(super) fn example(name: &str) -> &'static str {
    match name {
        "money" => "as in `money('12.50')`",
        "date" => "as in `date('2011-01-31')`",
        "timestamp" => "as in `timestamp('2011-01-31T08:00:00Z')`",
        _ => "as in `duration('24h')`",
    }
}

fn money(text: &str, currency: Currency) -> Result<(Type, Constant), String> {
    let minor = currency.parse(text).ok_or_else(|| {
        let digits = currency.minor_digits;
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let amount = text.strip_prefix('-').unwrap_or(text);
        let (whole, part) = amount.split_once('.').map_or((amount, None), |(whole, part)| (whole, Some(part)));
        if is_digits(whole) && part.is_none_or(|part| is_digits(part) && part.len() <= usize::from(digits)) {
            return format!("`{text}` is more money than can be counted");
        }
        format!("`{text}` is not an amount in {} with at most {digits} digits after the point", currency.code())
    })?;
    Ok((Type::Money, Constant::Money(minor)))
}

fn date(text: &str, _: Currency) -> Result<(Type, Constant), String> {
    let exact = text.len() == 10;
    let date = Date::parse(text).filter(|_| exact);
    let date = date.ok_or_else(|| format!("`{text}` is not a date, write `YYYY-MM-DD`"))?;
    Ok((Type::Date, Constant::Date(date.0)))
}

fn timestamp(text: &str, _: Currency) -> Result<(Type, Constant), String> {
    let micros = match text.parse::<jiff::Timestamp>() {
        Ok(moment) => moment.as_microsecond(),
        Err(_) => last_day(text).ok_or_else(|| {
            let example = match Date::parse(text).filter(|_| text.len() == 10) {
                Some(_) => format!("{text}T00:00:00Z"),
                None => "2011-01-31T08:00:00Z".into(),
            };
            format!("`{text}` is not a moment, write it as `{example}`")
        })?,
    };
    if micros < FIRST_MOMENT_US {
        return Err(format!("`{text}` is before the year 1"));
    }
    Ok((Type::Time, Constant::Time(micros)))
}

/// The first moment, 0001-01-01T00:00:00Z, microseconds.
const FIRST_MOMENT_US: i64 = -62_135_596_800_000_000;

/// A moment of the last two days of the year 9999, in universal time: CEL has
/// them, the library that reads moments does not.
fn last_day(text: &str) -> Option<i64> {
    let local = text.strip_suffix(['Z', 'z']).filter(|local| local.starts_with("9999-12-3") && local.len() >= 19)?;
    let local: jiff::civil::DateTime = local.parse().ok()?;
    let since = local.duration_since(jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0));
    i64::try_from(since.as_micros()).ok()
}

/// A text that `timestamp` takes, for what was meant as one; `None` when it
/// cannot be told.
pub(super) fn meant_timestamp(text: &str) -> Option<String> {
    let candidates =
        [text.to_owned(), format!("{text}T00:00:00Z"), format!("{text}Z"), text.replacen(' ', "T", 1) + "Z"];
    let fits = |text: &String| text.contains(['T', 't']) && text.parse::<jiff::Timestamp>().is_ok();
    candidates.into_iter().find(fits)
}

/// A text that `date` takes, for what was meant as one.
pub(super) fn meant_date(text: &str) -> Option<&str> {
    let day = text.get(..10).unwrap_or(text);
    (day.len() == 10 && Date::parse(day).is_some()).then_some(day)
}

/// Numbers with units, as in `1h30m`; days and weeks beside CEL's own units.
pub(super) fn duration(text: &str) -> Result<(Type, Constant), String> {
    let wrong = || format!("`{text}` is not a duration, write it as `90s`, `30m`, `24h` or `7d`");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total_us = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let count: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit_len = rest[digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - digits);
        total_us += count * unit_us(&rest[digits..digits + unit_len]).ok_or_else(wrong)?;
        rest = &rest[digits + unit_len..];
    }
    let signed = if negative { -total_us } else { total_us };
    let micros = super::scalar::to_whole(signed.round()).ok_or_else(wrong)?;
    Ok((Type::Duration, Constant::Duration(micros)))
}

fn unit_us(unit: &str) -> Option<f64> {
    Some(match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        "h" => 3_600e6,
        "d" => 86_400e6,
        "w" => 604_800e6,
        _ => return None,
    })
}
