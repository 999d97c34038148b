//! What is shown of a person who is not verified, and to whom may not see personal
//! data: enough to ask "does it end in 0123?", not enough to learn anything from.
//!
//! What is hidden is always `***`, however long it is. Pure.

use crate::domain::{
    AttributeType, Schema, StoredIdentity, Value,
    profile::StoredRecord,
    schema::{AttributeDef, IdentityFormat},
};

use super::CustomerView;

const HIDDEN: &str = "***";
/// Digits of a phone number that are shown: never more than half.
const PHONE_SHOWN: usize = 4;
/// Characters of another id that are shown.
const OPAQUE_SHOWN: usize = 3;
/// Characters that such an id must have for any to be shown, so that it is a
/// third at most. INVARIANT: of all shorter ones the same shows, so that nothing
/// hints at their length.
const OPAQUE_LEN_MIN: usize = 3 * OPAQUE_SHOWN;

/// An identity's value: of an e-mail address the first letters and the last
/// label, of a phone number the last four digits, of any other that is long enough
/// the last three characters.
pub fn identity(format: IdentityFormat, value: &str) -> String {
    match format {
        IdentityFormat::Email => email(value),
        IdentityFormat::Phone => last(value, PHONE_SHOWN, 2 * PHONE_SHOWN),
        IdentityFormat::Opaque | IdentityFormat::Visitor | IdentityFormat::Match => {
            last(value, OPAQUE_SHOWN, OPAQUE_LEN_MIN)
        }
    }
}

/// A personal attribute's value: of free text the first letter; of anything else
/// nothing. Of a few names the first letter is the name.
pub fn attribute(kind: &AttributeType, value: &Value) -> String {
    match (kind, value) {
        (AttributeType::Text, Value::Text(text)) => first(text),
        _ => HIDDEN.to_owned(),
    }
}

impl CustomerView {
    /// The same with identities and everything declared as personal masked.
    #[must_use]
    pub fn masked(mut self, schema: &Schema) -> Self {
        for identity in &mut self.profile.identities {
            mask_identity(identity, schema);
        }
        for stored in &mut self.profile.records {
            mask_record(stored, schema);
        }
        for (name, value) in self.attributes.iter_mut().chain(&mut self.traits) {
            let is_it = |def: &&AttributeDef| def.name == *name && def.full_name.starts_with("p.");
            if let Some(def) = schema.attributes.iter().find(is_it)
                && def.pii
            {
                *value = Value::Text(attribute(&def.kind, value).into());
            }
        }
        self
    }
}

/// Of a type that the rules no longer have as little shows as of any other id.
fn mask_identity(stored: &mut StoredIdentity, schema: &Schema) {
    let def = schema.identities.iter().find(|def| def.id == stored.kind);
    let format = def.map_or(IdentityFormat::Opaque, |def| def.format);
    stored.value = identity(format, &stored.value).into();
}

/// Of a list or field that the rules no longer have nothing shows.
fn mask_record(stored: &mut StoredRecord, schema: &Schema) {
    let list = schema.records.iter().find(|list| list.id == stored.change.list);
    for (id, value) in stored.change.fields.iter_mut().flatten() {
        let field = list.and_then(|list| list.fields.iter().find(|field| field.id == *id));
        match field {
            Some(field) if !field.pii => {}
            Some(field) => *value = Value::Text(attribute(&field.kind, value).into()),
            None => *value = Value::Text(HIDDEN.into()),
        }
    }
}

fn email(value: &str) -> String {
    let Some((local, domain)) = value.split_once('@') else { return HIDDEN.to_owned() };
    let Some((name, end)) = domain.rsplit_once('.') else { return HIDDEN.to_owned() };
    format!("{}@{}.{end}", first(local), first(name))
}

/// The first character, when it is a letter; a digit may be much of a number.
fn first(text: &str) -> String {
    let letter = text.chars().next().filter(|c| c.is_alphabetic());
    letter.into_iter().chain(HIDDEN.chars()).collect()
}

/// The last characters, of what has at least so many.
fn last(text: &str, shown: usize, len_min: usize) -> String {
    let len = text.chars().count();
    if len < len_min {
        return HIDDEN.to_owned();
    }
    HIDDEN.chars().chain(text.chars().skip(len - shown)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_shown() {
        let email = |value| identity(IdentityFormat::Email, value);
        assert_eq!(email("ben.12346@example.com"), "b***@e***.com");
        assert_eq!(email("a@b.de"), "a***@b***.de");
        assert_eq!(email("77@shop.co.uk"), "***@s***.uk");
        assert_eq!(email("élan@example.org"), "é***@e***.org");
        for odd in ["", "nothing", "@", "a@b"] {
            assert_eq!(email(odd), "***", "{odd}");
        }
        let phone = |value| identity(IdentityFormat::Phone, value);
        assert_eq!(phone("+447700900123"), "***0123");
        assert_eq!(phone("+4930123"), "***0123");
        let opaque = |value| identity(IdentityFormat::Opaque, value);
        for (value, shown) in
            [("", "***"), ("ab", "***"), ("12748", "***"), ("12345678", "***"), ("123456789", "***789")]
        {
            assert_eq!(opaque(value), shown);
        }
        assert_eq!(opaque(&"x".repeat(256)), "***xxx");
        let text = |value: &str| attribute(&AttributeType::Text, &Value::Text(value.into()));
        assert_eq!(text("Ben"), "B***");
        assert_eq!((text("+447700900123").as_str(), text("").as_str()), ("***", "***"));
        let genders = AttributeType::Enum(["female".into(), "male".into()].into());
        for (kind, hidden) in [
            (genders, Value::Text("female".into())),
            (AttributeType::Int, Value::Int(1964)),
            (AttributeType::Bool, Value::Bool(true)),
        ] {
            assert_eq!(attribute(&kind, &hidden), "***");
        }
    }

    #[test]
    fn lengths_do_not_show() {
        for format in [IdentityFormat::Email, IdentityFormat::Phone, IdentityFormat::Opaque] {
            let masked = |len: usize| identity(format, &format!("{}@{}.com", "b".repeat(len), "e".repeat(len)));
            assert!((9..60).all(|len| masked(len) == masked(9)), "{format:?}");
        }
        let opaque = |len: usize| identity(IdentityFormat::Opaque, &"7".repeat(len));
        assert!((0..9).all(|len| opaque(len) == "***") && (9..60).all(|len| opaque(len) == "***777"));
        let masked = |len: usize| attribute(&AttributeType::Text, &Value::Text("B".repeat(len).into()));
        assert!((1..200).all(|len| masked(len) == masked(1)));
    }

    #[test]
    fn never_more_than_a_third_of_an_id_or_half_a_number_shows() {
        for len in 0..40 {
            let value: String = (0..len).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
            let shown = |format| identity(format, &value).chars().count() - HIDDEN.len();
            assert!(shown(IdentityFormat::Opaque) <= len / 3 && shown(IdentityFormat::Phone) <= len / 2, "{value}");
        }
    }
}
