//! JSON values to typed values of the schema, and typed values to the wire.

use crate::{
    domain::{AttributeDef, AttributeType, Currency, Date, Timestamp, Value},
    grpc::{
        structs::{self, Kind},
        timestamp,
    },
    proto,
};

use super::{
    reading,
    suggest::{did_you_mean, quoted},
};

/// Most bytes of a text attribute, and of each text of a set.
pub const TEXT_BYTES_MAX: usize = 256;
/// Most texts of a set.
pub const SET_LEN_MAX: usize = 64;
/// Whole numbers up to this are exact in JSON.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A JSON value as a stored attribute or field wants it, also one that is written
/// as text, as files have it: `12`, `true`, `12.50`. Null is the caller's matter.
///
/// # Errors
/// What is wrong and what to give instead.
pub fn stored(
    (wanted, range): (&AttributeType, Option<(f64, f64)>),
    currency: &Currency,
    kind: Kind,
) -> Result<Value, String> {
    let value = match &kind {
        Kind::StringValue(text) => written(wanted, currency, text.trim()),
        _ => None,
    };
    let value = value.map_or_else(|| typed(wanted, currency, kind), Ok)?;
    within(range, currency, &value)?;
    Ok(value)
}

/// A value that is written as text; `None` for types that are texts, and for
/// another text.
fn written(wanted: &AttributeType, currency: &Currency, text: &str) -> Option<Value> {
    match wanted {
        AttributeType::Bool => text.to_ascii_lowercase().parse().ok().map(Value::Bool),
        AttributeType::Int => {
            text.parse().ok().filter(|value: &i64| value.unsigned_abs() <= EXACT_MAX as u64).map(Value::Int)
        }
        AttributeType::Double => text.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Double),
        AttributeType::Money => currency.parse(text).map(Value::Money),
        _ => None,
    }
}

/// A JSON value as the attribute's type wants it. Null is the caller's matter.
///
/// # Errors
/// What is wrong and what to give instead.
pub fn read(def: &AttributeDef, currency: &Currency, kind: Kind) -> Result<Value, String> {
    let value = typed(&def.kind, currency, kind)?;
    in_range(def, currency, &value)?;
    Ok(value)
}

/// A JSON value as a type wants it. Null is the caller's matter.
///
/// # Errors
/// What is wrong and what to give instead.
pub fn typed(wanted: &AttributeType, currency: &Currency, kind: Kind) -> Result<Value, String> {
    Ok(match (wanted, kind) {
        (AttributeType::Bool, Kind::BoolValue(v)) => Value::Bool(v),
        (AttributeType::Int, Kind::NumberValue(v)) => Value::Int(whole(v)?),
        (AttributeType::Double, Kind::NumberValue(v)) => Value::Double(finite(v)?),
        (AttributeType::Text, Kind::StringValue(v)) => Value::Text(text(v)?),
        (AttributeType::Enum(members), Kind::StringValue(v)) => Value::Text(member(members, v)?),
        (AttributeType::Set, Kind::ListValue(v)) => Value::Set(set(v)?),
        (AttributeType::Timestamp, Kind::StringValue(v)) => Value::Timestamp(moment(&v)?),
        (AttributeType::Date, Kind::StringValue(v)) => Value::Date(date(&v)?),
        (AttributeType::Money, Kind::NumberValue(v)) => Value::Money(major(currency, v)?),
        (AttributeType::Money, Kind::StructValue(v)) => Value::Money(money_object(currency, &v)?),
        (wanted, got) => return Err(format!("is {}: give {}", kind_name(&got), wanted_text(wanted))),
    })
}

fn wanted_text(wanted: &AttributeType) -> &'static str {
    match wanted {
        AttributeType::Bool => "true or false",
        AttributeType::Int => "a whole number",
        AttributeType::Double => "a number",
        AttributeType::Text => "a string",
        AttributeType::Enum(_) => "a string that names a member",
        AttributeType::Set => "a list of strings",
        AttributeType::Timestamp => "an RFC 3339 string, for example `2026-01-31T12:00:00Z`",
        AttributeType::Date => "a `YYYY-MM-DD` string",
        AttributeType::Money => "a number in major units or an object of `amount` and `currency`",
    }
}

fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::NullValue(_) => "null",
        Kind::NumberValue(_) => "a number",
        Kind::StringValue(_) => "a string",
        Kind::BoolValue(_) => "a truth value",
        Kind::StructValue(_) => "an object",
        Kind::ListValue(_) => "a list",
    }
}

/// Whether a number stands within the attribute's range.
///
/// # Errors
/// It does not.
pub fn in_range(def: &AttributeDef, currency: &Currency, value: &Value) -> Result<(), String> {
    within(def.range, currency, value)
}

fn within(range: Option<(f64, f64)>, currency: &Currency, value: &Value) -> Result<(), String> {
    let Some((least, most)) = range else { return Ok(()) };
    let (number, shown) = match value {
        Value::Int(v) => (*v as f64, [least, most]),
        Value::Double(v) => (*v, [least, most]),
        Value::Money(v) => (*v as f64, [least / currency.scale() as f64, most / currency.scale() as f64]),
        _ => return Ok(()),
    };
    if number >= least && number <= most {
        return Ok(());
    }
    Err(format!("is out of range: give {} to {}", shown[0], shown[1]))
}

fn finite(number: f64) -> Result<f64, String> {
    if number.is_finite() { Ok(number) } else { Err(format!("is `{number}`: give a finite number")) }
}

fn whole(number: f64) -> Result<i64, String> {
    let number = finite(number)?;
    if number.fract() != 0.0 || number.abs() > EXACT_MAX {
        return Err(format!("is `{number}`: give a whole number of at most 2^53"));
    }
    Ok(number as i64)
}

fn text(text: String) -> Result<Box<str>, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("is {} bytes long: at most {TEXT_BYTES_MAX}", text.len()));
    }
    Ok(text.into_boxed_str())
}

fn member(members: &[std::sync::Arc<str>], name: String) -> Result<Box<str>, String> {
    if members.iter().any(|m| **m == *name) {
        return Ok(name.into_boxed_str());
    }
    let hint = did_you_mean(&name, members.iter().map(|m| &**m));
    let all: Vec<&str> = members.iter().take(12).map(|m| &**m).collect();
    Err(format!("{} is not a member: give one of `{}`{hint}", quoted(&name), all.join("`, `")))
}

fn set(list: structs::ListValue) -> Result<Box<[Box<str>]>, String> {
    if list.values.len() > SET_LEN_MAX {
        return Err(format!("has {} texts: at most {SET_LEN_MAX}", list.values.len()));
    }
    let mut members = Vec::with_capacity(list.values.len());
    for (index, value) in list.values.into_iter().enumerate() {
        let Some(Kind::StringValue(member)) = value.kind else {
            return Err(format!("has something else than a string at [{index}]: give a list of strings"));
        };
        members.push(text(member).map_err(|why| format!("at [{index}] {why}"))?);
    }
    members.sort_unstable();
    members.dedup();
    Ok(members.into_boxed_slice())
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let wanted = || format!("{} is not an RFC 3339 moment, for example `2026-01-31T12:00:00Z`", quoted(text));
    let late = || format!("is too late: the last moment is `{}`", timestamp::LAST);
    let refused = |_| if timestamp::is_too_late(text) { late() } else { wanted() };
    let parsed: jiff::Timestamp = text.parse().map_err(refused)?;
    Ok(Timestamp(parsed.as_microsecond()))
}

fn date(text: &str) -> Result<Date, String> {
    let bytes = text.as_bytes();
    let shaped = bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-';
    let parsed = if shaped { Date::parse(text) } else { None };
    parsed.ok_or_else(|| format!("{} is not a date `YYYY-MM-DD`", quoted(text)))
}

/// Money from a JSON number of major units.
fn major(currency: &Currency, number: f64) -> Result<i64, String> {
    let minor = finite(number)? * currency.scale() as f64;
    let rounded = minor.round();
    if rounded.abs() > EXACT_MAX {
        return Err(format!("is `{number}`: too much money"));
    }
    // The nearest double of `30.45` times 100 is off by rounding only.
    if (minor - rounded).abs() > 1e-6 * rounded.abs().clamp(1.0, 1e3) {
        return Err(format!("is `{number}`: at most {} digits after the point", currency.minor_digits));
    }
    Ok(rounded as i64)
}

fn money_object(currency: &Currency, object: &structs::Struct) -> Result<i64, String> {
    let field = |name: &str| match object.fields.get(name).and_then(|v| v.kind.as_ref()) {
        Some(Kind::StringValue(text)) => Ok(text.as_str()),
        _ => Err(format!(
            "has no string `{name}`: give {{\"amount\": \"12.50\", \"currency\": \"{}\"}}",
            currency.code()
        )),
    };
    if let Some(other) = object.fields.keys().find(|k| !matches!(k.as_str(), "amount" | "currency")) {
        return Err(format!("has a field {}: money has only `amount` and `currency`", quoted(other)));
    }
    money(currency, field("amount")?, field("currency")?)
}

/// Money from its wire texts, in minor units.
///
/// # Errors
/// Another currency, or text that is not an amount.
pub fn money(currency: &Currency, amount: &str, code: &str) -> Result<i64, String> {
    if code != currency.code() {
        return Err(format!("is in {}: the rules' currency is `{}`", quoted(code), currency.code()));
    }
    currency.parse(amount).ok_or_else(|| {
        let digits = currency.minor_digits;
        format!("{} is not an amount with at most {digits} digits after the point", quoted(amount))
    })
}

/// A typed value on the wire.
pub fn write(currency: &Currency, value: &Value) -> proto::Value {
    use proto::value::Kind;
    let kind = match value {
        Value::Bool(v) => Kind::BoolValue(*v),
        Value::Int(v) => Kind::IntValue(*v),
        Value::Double(v) => Kind::DoubleValue(*v),
        Value::Text(v) => Kind::StringValue(v.to_string()),
        Value::Set(v) => Kind::SetValue(proto::StringSet { values: v.iter().map(|m| m.to_string()).collect() }),
        Value::Timestamp(v) => Kind::TimestampValue(reading::timestamp(*v)),
        Value::Date(v) => Kind::DateValue(date_text(*v)),
        Value::Money(v) => Kind::MoneyValue(reading::money(currency, *v)),
    };
    proto::Value { kind: Some(kind) }
}

/// A typed value as JSON, for the `data` of a presentation.
pub fn write_json(currency: &Currency, value: &Value) -> structs::Value {
    match value {
        Value::Bool(v) => (*v).into(),
        Value::Int(v) => (*v as f64).into(),
        Value::Double(v) => (*v).into(),
        Value::Text(v) => (&**v).into(),
        Value::Set(v) => v.iter().map(|m| structs::Value::from(&**m)).collect::<Vec<_>>().into(),
        Value::Timestamp(v) => {
            jiff::Timestamp::from_microsecond(v.0).map_or_else(|_| String::new(), |t| t.to_string()).into()
        }
        Value::Date(v) => date_text(*v).into(),
        Value::Money(v) => [("amount", currency.format(*v)), ("currency", currency.code().to_owned())]
            .into_iter()
            .map(|(name, text)| (name.to_owned(), structs::Value::from(text)))
            .collect::<structs::Struct>()
            .into(),
    }
}

fn date_text(date: Date) -> String {
    let (year, month, day) = date.ymd();
    format!("{year:04}-{month:02}-{day:02}")
}
