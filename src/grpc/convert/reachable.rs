//! Attributes that decide whether and when a person is reached: what stands in
//! them must be what it stands for.

use jiff::tz::TimeZone;

use crate::{
    app::normalised_identity,
    domain::{AttributeDef, Value, schema::IdentityFormat},
    rules::Ruleset,
};

/// Checks a stored text that a time zone or an address is read from. An attribute
/// is an e-mail address or a phone number when a channel's `address` names it, and
/// it or the channel is named as an identity type of that format.
///
/// # Errors
/// What is wrong and what to give instead. The value is never repeated.
pub fn check(ruleset: &Ruleset, def: &AttributeDef, value: &Value) -> Result<(), String> {
    let Value::Text(text) = value else { return Ok(()) };
    if ruleset.time_zone_attribute == Some(def.slot) && TimeZone::get(text).is_err() {
        return Err("is not a time zone of the IANA database: write it as `Europe/London`".to_owned());
    }
    match address_format(ruleset, def) {
        // nothing is no address, which is said so
        Some(format) if !text.is_empty() => {
            let checked = normalised_identity(format, text);
            checked.map(|_| ()).map_err(|why| format!("is the address of a channel: {why}"))
        }
        _ => Ok(()),
    }
}

fn address_format(ruleset: &Ruleset, def: &AttributeDef) -> Option<IdentityFormat> {
    let of = |name: &str| {
        let format = ruleset.schema.identity_by_name(name)?.format;
        matches!(format, IdentityFormat::Email | IdentityFormat::Phone).then_some(format)
    };
    let mut channels = ruleset.channels.iter().filter(|channel| channel.address == Some(def.slot)).peekable();
    channels.peek()?;
    of(&def.name).or_else(|| channels.find_map(|channel| of(&channel.name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::convert::tests::ruleset;

    #[test]
    fn zones_and_addresses_are_what_they_stand_for() {
        let mut rules = ruleset();
        let def = rules.schema.attributes.iter().find(|def| &*def.full_name == "p.country").unwrap().clone();
        let given = |rules: &Ruleset, text: &str| check(rules, &def, &Value::Text(text.into()));
        assert_eq!(given(&rules, "Mars/Olympus"), Ok(()), "an attribute like any other");
        rules.time_zone_attribute = Some(def.slot);
        assert!(given(&rules, "Mars/Olympus").is_err() && given(&rules, "Europe/London").is_ok());
        rules.time_zone_attribute = None;
        rules.channels[0].address = Some(def.slot);
        assert!(given(&rules, "whatever").is_ok(), "an address of a kind that nobody knows");
        rules.channels[0].name = "email".into();
        let wrong = given(&rules, "not an email").unwrap_err();
        assert!(wrong.contains("is not an e-mail address") && !wrong.contains("not an email`"), "{wrong}");
        assert!(given(&rules, "Ann@example.org").is_ok() && given(&rules, "").is_ok());
    }
}
