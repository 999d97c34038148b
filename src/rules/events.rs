//! The typed fields of events and records: what is given is checked against
//! what is declared.

use crate::domain::{
    AttrId, AttributeType, Currency, Value,
    schema::{EventDef, FieldDef, RecordListDef},
};

use super::{
    read::{parse_date, parse_moment},
    suggest::did_you_mean,
};

/// Longest text of a field, bytes.
pub const FIELD_TEXT_BYTES_MAX: usize = 256;
/// Most members of a set in a field.
pub const FIELD_SET_MEMBERS_MAX: usize = 64;
/// The largest whole number that JSON carries without loss.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A value as it comes in, from JSON or a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Given<'a> {
    /// Null: as if it were left out.
    Nothing,
    /// A truth value.
    Bool(bool),
    /// A number; money in major units.
    Number(f64),
    /// Text; also a number, a time, a date or an amount written as text.
    Text(&'a str),
    /// A list.
    List(Vec<Given<'a>>),
    /// An object.
    Object,
}

/// A field that is not as it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// Its name.
    pub field: String,
    /// What is wrong and what to do.
    pub why: String,
}

/// Checks what an event says beside its items and amount. Answers the declared
/// fields that are given, sorted by id.
///
/// # Errors
/// Every violation at once.
pub fn check<'a>(
    def: &EventDef,
    given: impl IntoIterator<Item = (&'a str, Given<'a>)>,
    currency: Currency,
) -> Result<Vec<(AttrId, Value)>, Vec<FieldViolation>> {
    let of = format!("the event `{}`", def.name);
    check_fields((&of, &def.fields, def.open), given, currency)
}

/// Most notes on the fields of one event.
const NOTES_MAX: usize = 8;

/// Notes on fields that an open event type does not declare but that are spelled
/// nearly as one it does, and which is not given beside: such a field is kept, and
/// no trait reads it.
pub fn likely_typos<'a>(def: &EventDef, given: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let is_declared = |name: &str| def.fields.iter().any(|field| &*field.name == name);
    if !def.open || def.fields.is_empty() {
        return Vec::new();
    }
    let unknown = given.clone().filter(|name| !is_declared(name)).take(NOTES_MAX);
    let note = |name: &str| {
        let free = def.fields.iter().map(|field| &*field.name).filter(|known| given.clone().all(|one| one != *known));
        let hint = did_you_mean(name, free);
        let told = || format!("{} is not a declared field of the event `{}`{hint}", shown(name), def.name);
        (!hint.is_empty()).then(told)
    };
    unknown.filter_map(note).collect()
}

/// Checks the fields of a record. Answers those that are given, sorted by id.
///
/// # Errors
/// Every violation at once.
pub fn check_record<'a>(
    def: &RecordListDef,
    given: impl IntoIterator<Item = (&'a str, Given<'a>)>,
    currency: Currency,
) -> Result<Vec<(AttrId, Value)>, Vec<FieldViolation>> {
    let of = format!("the list `{}`", def.name);
    check_fields((&of, &def.fields, false), given, currency)
}

fn check_fields<'a>(
    (of, fields, open): (&str, &[FieldDef], bool),
    given: impl IntoIterator<Item = (&'a str, Given<'a>)>,
    currency: Currency,
) -> Result<Vec<(AttrId, Value)>, Vec<FieldViolation>> {
    let mut values: Vec<(AttrId, Value)> = Vec::new();
    let mut wrong = Vec::new();
    for (name, given) in given {
        let Some(field) = fields.iter().find(|field| &*field.name == name) else {
            if !open {
                wrong.push(unknown(of, name, fields));
            }
            continue;
        };
        if given == Given::Nothing {
            continue;
        }
        match typed(field, &given, currency) {
            Ok(value) => values.push((field.id, value)),
            Err(why) => wrong.push(FieldViolation { field: name.to_owned(), why }),
        }
    }
    for field in fields.iter().filter(|field| field.required) {
        let told = wrong.iter().any(|violation| *violation.field == *field.name);
        if !told && !values.iter().any(|(id, _)| *id == field.id) {
            let why = format!("is missing: {of} needs it ({})", field.kind.name());
            wrong.push(FieldViolation { field: field.name.to_string(), why });
        }
    }
    values.sort_by_key(|(id, _)| *id);
    if wrong.is_empty() { Ok(values) } else { Err(wrong) }
}

fn unknown(of: &str, name: &str, fields: &[FieldDef]) -> FieldViolation {
    let hint = did_you_mean(name, fields.iter().map(|field| &*field.name));
    let why = format!("is not a field of {of}{hint}; declare it in the rules or leave it out");
    FieldViolation { field: name.to_owned(), why }
}

/// A value of a field's type.
///
/// # Errors
/// What is wrong with it and what to give.
pub fn typed(field: &FieldDef, given: &Given<'_>, currency: Currency) -> Result<Value, String> {
    let value = read(&field.kind, given, currency)?;
    let number = match &value {
        Value::Int(value) => Some(*value as f64),
        Value::Double(value) => Some(*value),
        Value::Money(minor) => Some(*minor as f64),
        _ => None,
    };
    match (field.range, number) {
        (Some((low, high)), Some(number)) if !(low..=high).contains(&number) => {
            let scale = if matches!(value, Value::Money(_)) { currency.scale() as f64 } else { 1.0 };
            Err(format!("is {}: {} to {} is allowed", number / scale, low / scale, high / scale))
        }
        _ => Ok(value),
    }
}

fn read(kind: &AttributeType, given: &Given<'_>, currency: Currency) -> Result<Value, String> {
    let found = match (kind, given) {
        (AttributeType::Bool, Given::Bool(value)) => Some(Value::Bool(*value)),
        (AttributeType::Bool, Given::Text("true")) => Some(Value::Bool(true)),
        (AttributeType::Bool, Given::Text("false")) => Some(Value::Bool(false)),
        (AttributeType::Int, Given::Number(value)) => whole(*value).map(Value::Int),
        (AttributeType::Int, Given::Text(text)) => text.trim().parse().ok().map(Value::Int),
        (AttributeType::Double, Given::Number(value)) => value.is_finite().then_some(Value::Double(*value)),
        (AttributeType::Double, Given::Text(text)) => {
            text.trim().parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Double)
        }
        (AttributeType::Money, Given::Number(value)) => minor_units(*value, currency).map(Value::Money),
        (AttributeType::Money, Given::Text(text)) => currency.parse(text.trim()).map(Value::Money),
        (AttributeType::Timestamp, Given::Text(text)) => parse_moment(text).map(Value::Timestamp),
        (AttributeType::Date, Given::Text(text)) => parse_date(text).map(Value::Date),
        (AttributeType::Text, Given::Text(text)) => return short(text).map(Value::Text),
        (AttributeType::Enum(members), Given::Text(text)) => {
            let hint = || did_you_mean(text, members.iter().map(|member| &**member));
            return match members.iter().find(|member| &***member == *text) {
                Some(member) => Ok(Value::Text((&**member).into())),
                None => Err(format!("is {}, which is not one of its values{}", shown(text), hint())),
            };
        }
        (AttributeType::Set, Given::List(members)) => return set(members).map(Value::Set),
        _ => None,
    };
    found.ok_or_else(|| format!("is {}: give {}", describe(given), wanted(kind)))
}

fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() <= WHOLE_MAX).then_some(value as i64)
}

fn minor_units(major: f64, currency: Currency) -> Option<i64> {
    let scaled = major * currency.scale() as f64;
    let minor = scaled.round();
    ((scaled - minor).abs() < 1e-6 && minor.abs() < WHOLE_MAX).then_some(minor as i64)
}

fn short(text: &str) -> Result<Box<str>, String> {
    if text.len() > FIELD_TEXT_BYTES_MAX {
        return Err(format!("is {} bytes long: at most {FIELD_TEXT_BYTES_MAX}", text.len()));
    }
    Ok(text.into())
}

fn set(given: &[Given<'_>]) -> Result<Box<[Box<str>]>, String> {
    if given.len() > FIELD_SET_MEMBERS_MAX {
        return Err(format!("has {} members: at most {FIELD_SET_MEMBERS_MAX}", given.len()));
    }
    let mut members = Vec::with_capacity(given.len());
    for (at, member) in given.iter().enumerate() {
        match member {
            Given::Text(text) => members.push(short(text).map_err(|why| format!("at {at} {why}"))?),
            other => return Err(format!("at {at} is {}: give text", describe(other))),
        }
    }
    members.sort();
    members.dedup();
    Ok(members.into())
}

fn wanted(kind: &AttributeType) -> &'static str {
    match kind {
        AttributeType::Bool => "`true` or `false`",
        AttributeType::Int => "a whole number",
        AttributeType::Double => "a finite number",
        AttributeType::Text | AttributeType::Enum(_) => "text",
        AttributeType::Set => "a list of texts",
        AttributeType::Timestamp => "a time like `2011-06-01T10:00:00Z`",
        AttributeType::Date => "a date like `2011-06-01`",
        AttributeType::Money => "an amount in major units that the currency has, like `12.50`",
    }
}

fn describe(given: &Given<'_>) -> String {
    match given {
        Given::Nothing => "null".to_owned(),
        Given::Bool(value) => format!("`{value}`"),
        Given::Number(value) => format!("`{value}`"),
        Given::Text(text) => shown(text),
        Given::List(_) => "a list".to_owned(),
        Given::Object => "an object".to_owned(),
    }
}

fn shown(text: &str) -> String {
    let short: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    format!("`{short}`")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{domain::Date, rules::builtin_events::EVENTS};

    const POUNDS: Currency = Currency { code: *b"GBP", minor_digits: 2 };

    fn def(name: &str) -> EventDef {
        EVENTS.iter().find(|event| event.name == name).unwrap().def()
    }

    fn field(kind: AttributeType) -> FieldDef {
        FieldDef { id: AttrId::of("x"), name: "x".into(), kind, required: false, pii: false, range: None }
    }

    #[test]
    fn fields_of_a_built_in_event_are_typed_and_others_kept_unchecked() {
        let given = [("score", Given::Number(9.0)), ("whatever", Given::Object), ("comment", Given::Nothing)];
        assert_eq!(check(&def("survey"), given, POUNDS), Ok(vec![(AttrId::of("score"), Value::Int(9))]));
    }

    #[test]
    fn a_field_that_is_nearly_declared_is_noted() {
        let notes = |given: &[&'static str]| likely_typos(&def("survey"), given.iter().copied());
        let wanted = "`scor` is not a declared field of the event `survey`; did you mean `score`?";
        assert_eq!(notes(&["scor", "whatever", "comment"]), [wanted]);
        assert!(notes(&["scor", "score"]).is_empty(), "the declared one is there");
        let mut closed = def("survey");
        closed.open = false;
        assert!(likely_typos(&closed, ["scor"].into_iter()).is_empty(), "that one is refused");
    }

    #[test]
    fn every_violation_is_told_at_once() {
        let mut event = def("survey");
        event.open = false;
        event.fields[0].required = true;
        let given = [("score", Given::Number(11.0)), ("scroe", Given::Number(1.0)), ("question", Given::Bool(true))];
        let wrong = check(&event, given, POUNDS).unwrap_err();
        let told: Vec<String> = wrong.into_iter().map(|v| format!("{} {}", v.field, v.why)).collect();
        assert_eq!(
            told,
            [
                "score is 11: 0 to 10 is allowed",
                "scroe is not a field of the event `survey`; did you mean `score`?; declare it in the rules or leave it out",
                "question is `true`: give text",
                "survey_id is missing: the event `survey` needs it (string)",
            ]
        );
    }

    #[test]
    fn values_are_read_by_their_type() {
        let members: Arc<[Arc<str>]> = ["hard".into(), "soft".into()].into();
        let day = Date::from_ymd(2011, 6, 1).unwrap();
        for (kind, given, wanted) in [
            (AttributeType::Money, Given::Number(12.5), Some(Value::Money(1250))),
            (AttributeType::Money, Given::Text("12.50"), Some(Value::Money(1250))),
            (AttributeType::Money, Given::Number(12.505), None),
            (AttributeType::Int, Given::Number(1.5), None),
            (AttributeType::Int, Given::Number(1e300), None),
            (AttributeType::Int, Given::Text("12"), Some(Value::Int(12))),
            (AttributeType::Double, Given::Number(f64::NAN), None),
            (AttributeType::Double, Given::Text("inf"), None),
            (AttributeType::Date, Given::Text("2011-06-01"), Some(Value::Date(day))),
            (AttributeType::Date, Given::Text("1.6.2011"), None),
            (AttributeType::Enum(members.clone()), Given::Text("hard"), Some(Value::Text("hard".into()))),
            (AttributeType::Enum(members), Given::Text("hrad"), None),
            (
                AttributeType::Set,
                Given::List(vec![Given::Text("b"), Given::Text("a"), Given::Text("b")]),
                Some(Value::Set(["a".into(), "b".into()].into())),
            ),
            (AttributeType::Set, Given::Text("a"), None),
            (AttributeType::Text, Given::Object, None),
        ] {
            assert_eq!(typed(&field(kind.clone()), &given, POUNDS).ok(), wanted, "{kind:?} {given:?}");
        }
        let long = "x".repeat(FIELD_TEXT_BYTES_MAX + 1);
        assert!(typed(&field(AttributeType::Text), &Given::Text(&long), POUNDS).is_err());
        let many = Given::List(vec![Given::Text("a"); FIELD_SET_MEMBERS_MAX + 1]);
        assert!(typed(&field(AttributeType::Set), &many, POUNDS).is_err());
    }
}
