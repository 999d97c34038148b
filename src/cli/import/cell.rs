//! Values of a row, and what is made of them: texts, numbers, moments.

use std::borrow::Cow;

use jiff::{civil::DateTime, tz::TimeZone};

use crate::grpc::{structs, timestamp::Timestamp};

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// None.
    Null,
    /// A text, not empty.
    Text(Box<str>),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// A truth value.
    Bool(bool),
    /// A moment in UTC, or in the time zone of the mapping: microseconds.
    Moment {
        /// Since 1970-01-01T00:00:00 there.
        us: i64,
        /// Whether it is in UTC whatever the mapping says.
        utc: bool,
    },
    /// Texts.
    List(Box<[Box<str>]>),
}

impl Cell {
    /// A text; an empty one is none.
    pub fn text(text: &str) -> Self {
        match text.trim() {
            "" => Cell::Null,
            text => Cell::Text(text.into()),
        }
    }

    /// As text; `None` for none. Whole numbers have no point, however they are
    /// stored: `17850`, not `17850.0`.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Cell::Null => return None,
            Cell::Text(text) => Cow::Borrowed(text),
            Cell::Int(number) => Cow::Owned(number.to_string()),
            Cell::Double(number) => Cow::Owned(number.to_string()),
            Cell::Bool(truth) => Cow::Borrowed(if *truth { "true" } else { "false" }),
            Cell::Moment { us, utc: true } => {
                Cow::Owned(jiff::Timestamp::from_microsecond(*us).map_or_else(|_| us.to_string(), |at| at.to_string()))
            }
            // one without a time zone must not look as if it had one
            Cell::Moment { us, utc: false } => {
                Cow::Owned(local_of(*us).map_or_else(|_| us.to_string(), |at| at.to_string()))
            }
            Cell::List(_) => Cow::Owned(self.as_json().to_string()),
        })
    }

    /// As a number; `None` when it is none.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Cell::Int(number) => Some(*number as f64),
            Cell::Double(number) => Some(*number).filter(|number| number.is_finite()),
            Cell::Text(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
            Cell::Null | Cell::Bool(_) | Cell::Moment { .. } | Cell::List(_) => None,
        }
    }

    /// As a decimal number, exactly; `None` when it is none.
    pub fn as_decimal(&self) -> Option<Decimal> {
        match self {
            Cell::Int(number) => Some(Decimal { digits: i128::from(*number), scale: 0 }),
            // the shortest text that names the number: what was written when it was stored
            Cell::Double(number) if number.is_finite() => Decimal::parse(&number.to_string()),
            Cell::Text(text) => Decimal::parse(text),
            _ => None,
        }
    }

    /// As JSON.
    pub fn as_json(&self) -> serde_json::Value {
        match self {
            Cell::Null => serde_json::Value::Null,
            Cell::Int(number) => (*number).into(),
            Cell::Double(number) => serde_json::Number::from_f64(*number).map_or(serde_json::Value::Null, Into::into),
            Cell::Bool(truth) => (*truth).into(),
            Cell::List(texts) => texts.iter().map(|text| serde_json::Value::from(&**text)).collect(),
            Cell::Text(_) | Cell::Moment { .. } => self.as_text().unwrap_or_default().into(),
        }
    }

    /// The parts of a text, as a list; another cell as it is.
    pub fn parts(&self, separator: &str) -> Cow<'_, Cell> {
        match self {
            Cell::Text(text) => {
                let parts = text.split(separator).map(str::trim).filter(|part| !part.is_empty());
                Cow::Owned(Cell::List(parts.map(Into::into).collect()))
            }
            cell => Cow::Borrowed(cell),
        }
    }

    /// As a value of an event's data or an attribute.
    pub fn as_value(&self) -> Option<structs::Value> {
        Some(match self {
            Cell::Null => return None,
            Cell::Int(number) => (*number as f64).into(),
            Cell::Double(number) => (*number).into(),
            Cell::Bool(truth) => (*truth).into(),
            Cell::List(texts) => texts.iter().map(|text| structs::Value::from(&**text)).collect::<Vec<_>>().into(),
            Cell::Text(_) | Cell::Moment { .. } => self.as_text()?.as_ref().into(),
        })
    }
}

/// Most digits of a decimal number.
const DIGITS_MAX: usize = 30;

/// A decimal number: `digits / 10^scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    digits: i128,
    scale: u32,
}

impl Decimal {
    /// One.
    pub const ONE: Self = Self { digits: 1, scale: 0 };

    /// From text like `-12.50`.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.trim().strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.trim().trim_start_matches('+')),
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let count = whole.len() + fraction.len();
        let all_digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
        if count == 0 || count > DIGITS_MAX || !all_digits {
            return None;
        }
        let mut digits: i128 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            digits = digits * 10 + i128::from(byte - b'0');
        }
        let scale = u32::try_from(fraction.len()).ok()?;
        Some(Self { digits: if negative { -digits } else { digits }, scale })
    }

    /// The product; `None` when it has too many digits.
    pub fn times(self, other: Self) -> Option<Self> {
        Some(Self { digits: self.digits.checked_mul(other.digits)?, scale: self.scale + other.scale })
    }

    /// The sum; `None` when it has too many digits.
    pub fn plus(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let at = |one: Self| one.digits.checked_mul(10_i128.checked_pow(scale - one.scale)?);
        Some(Self { digits: at(self)?.checked_add(at(other)?)?, scale })
    }

    /// Without its sign.
    pub fn abs(self) -> Self {
        Self { digits: self.digits.saturating_abs(), ..self }
    }

    /// As text with so many digits after the point, a half rounded away from
    /// zero.
    pub fn rounded(self, places: u32) -> String {
        let mut digits = self.digits.unsigned_abs();
        if self.scale > places {
            let unit = 10_u128.saturating_pow(self.scale - places);
            digits = digits.saturating_add(unit / 2) / unit;
        }
        for _ in self.scale..places {
            digits = digits.saturating_mul(10);
        }
        let sign = if self.digits < 0 && digits > 0 { "-" } else { "" };
        if places == 0 {
            return format!("{sign}{digits}");
        }
        let unit = 10_u128.saturating_pow(places);
        format!("{sign}{}.{:0width$}", digits / unit, digits % unit, width = places as usize)
    }
}

/// How times are written.
#[derive(Clone, Debug)]
pub enum TimeFormat {
    /// RFC 3339, or a moment of the file's own type.
    Standard,
    /// As of `strptime`, in the time zone of the mapping unless it has an offset.
    Pattern(Box<str>),
    /// Seconds since 1970, with a fraction or without.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMillis,
}

/// Reads moments.
#[derive(Clone, Debug)]
pub struct Times {
    /// How they are written.
    pub format: TimeFormat,
    /// Where, if they do not say.
    pub zone: TimeZone,
}

impl Times {
    /// The moment of a cell.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self, cell: &Cell) -> Result<Timestamp, String> {
        let us = match (cell, &self.format) {
            (Cell::Null, _) => return Err("is missing".to_owned()),
            (Cell::Moment { us, utc: true }, _) => *us,
            (Cell::Moment { us, utc: false }, _) => self.local(local_of(*us)?)?,
            (cell, TimeFormat::UnixSeconds) => (number(cell)? * 1e6) as i64,
            (cell, TimeFormat::UnixMillis) => (number(cell)? * 1e3) as i64,
            (cell, TimeFormat::Standard) => self.standard(&cell.as_text().unwrap_or_default())?,
            (cell, TimeFormat::Pattern(pattern)) => self.pattern(pattern, &cell.as_text().unwrap_or_default())?,
        };
        Ok(Timestamp { seconds: us.div_euclid(1_000_000), nanos: us.rem_euclid(1_000_000) as i32 * 1_000 })
    }

    fn standard(&self, text: &str) -> Result<i64, String> {
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Ok(at.as_microsecond());
        }
        match text.parse::<DateTime>() {
            Ok(local) => self.local(local),
            Err(_) => Err(format!("`{}` is not a moment: give `time.format` in the mapping", shown(text))),
        }
    }

    fn pattern(&self, pattern: &str, text: &str) -> Result<i64, String> {
        let wrong = || format!("`{}` is not of the form `{pattern}`", shown(text));
        let Ok(parsed) = jiff::fmt::strtime::parse(pattern, text) else {
            // a row that was rejected has its moment as RFC 3339 or ISO 8601
            return self.standard(text).map_err(|_| wrong());
        };
        if parsed.offset().is_some() {
            return Ok(parsed.to_timestamp().map_err(|_| wrong())?.as_microsecond());
        }
        let local = match parsed.to_datetime() {
            Ok(local) => local,
            Err(_) => parsed.to_date().map_err(|_| wrong())?.at(0, 0, 0, 0),
        };
        self.local(local)
    }

    fn local(&self, local: DateTime) -> Result<i64, String> {
        let zoned = local.to_zoned(self.zone.clone()).map_err(|_| format!("`{local}` is not a moment"))?;
        Ok(zoned.timestamp().as_microsecond())
    }
}

fn local_of(us: i64) -> Result<DateTime, String> {
    let at = jiff::Timestamp::from_microsecond(us).map_err(|_| format!("`{us}` is not a moment"))?;
    Ok(TimeZone::UTC.to_datetime(at))
}

fn number(cell: &Cell) -> Result<f64, String> {
    cell.as_number().ok_or_else(|| format!("`{}` is not a number", shown(&cell.as_text().unwrap_or_default())))
}

/// What of a value is told.
pub fn shown(text: &str) -> &str {
    const BYTES_MAX: usize = 60;
    &text[..text.floor_char_boundary(BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_multiply_exactly_and_round_once() {
        let product = |a: &str, b: &str, places| Some(Decimal::parse(a)?.times(Decimal::parse(b)?)?.rounded(places));
        assert_eq!(product("6", "2.55", 2).as_deref(), Some("15.30"));
        assert_eq!(product("-12", "0.85", 2).as_deref(), Some("-10.20"));
        assert_eq!(product("1", "0.005", 2).as_deref(), Some("0.01"));
        assert_eq!(product("1", "0.0049", 2).as_deref(), Some("0.00"));
        assert_eq!(product("-1", "0.001", 2).as_deref(), Some("0.00"));
        assert_eq!(product("3", "7", 0).as_deref(), Some("21"));
        assert_eq!(product("80995", "2.08", 2).as_deref(), Some("168469.60"));
        for wrong in ["", "-", "1e5", "1,5", "NaN", "1.2.3", &"9".repeat(40)] {
            assert_eq!(Decimal::parse(wrong), None, "{wrong}");
        }
        let double = Cell::Double(2.55).as_decimal().unwrap();
        let sum = |a: &str, b: &str| Some(Decimal::parse(a)?.plus(Decimal::parse(b)?)?.rounded(2));
        assert_eq!(sum("15.3", "-0.125").as_deref(), Some("15.18"));
        assert_eq!(Decimal::parse("1.5").unwrap().rounded(50).len(), 52);
        assert_eq!(Cell::Int(6).as_decimal().unwrap().times(double).unwrap().rounded(2), "15.30");
    }

    #[test]
    fn identities_are_whole_numbers_however_they_are_stored() {
        assert_eq!(Cell::Double(17_850.0).as_text().as_deref(), Some("17850"));
        assert_eq!(Cell::text("  17850 ").as_text().as_deref(), Some("17850"));
        assert_eq!(Cell::text("  "), Cell::Null);
    }

    #[test]
    fn moments_are_read_as_the_mapping_says() {
        let london = TimeZone::get("Europe/London").unwrap();
        let times = |format| Times { format, zone: london.clone() };
        let us = times(TimeFormat::Pattern("%m/%d/%y %H:%M".into()));
        // summer time
        assert_eq!(us.read(&Cell::text("6/26/11 10:14")).unwrap().seconds, 1_309_079_640);
        assert_eq!(us.read(&Cell::text("12/1/10 8:26")).unwrap().seconds, 1_291_191_960);
        assert!(us.read(&Cell::text("26/6/11 10:14")).is_err());
        let standard = times(TimeFormat::Standard);
        assert_eq!(standard.read(&Cell::text("2011-06-26T10:14:00Z")).unwrap().seconds, 1_309_083_240);
        assert_eq!(standard.read(&Cell::text("2011-06-26 10:14")).unwrap().seconds, 1_309_079_640);
        let local = Cell::Moment { us: 1_309_083_240_000_000, utc: false };
        assert_eq!(standard.read(&local).unwrap().seconds, 1_309_079_640);
        let unix = times(TimeFormat::UnixMillis);
        assert_eq!(unix.read(&Cell::Int(1_500)).unwrap(), Timestamp { seconds: 1, nanos: 500_000_000 });
        assert!(standard.read(&Cell::Null).is_err() && standard.read(&Cell::text("soon")).is_err());
    }
}
