//! What a mapping names of the rules, looked at before the first row: types,
//! channels, the currency, attributes, fields.

use crate::{
    grpc::structs::{Kind as ValueKind, Struct, Value},
    proto::{
        Consent, ConsentPurpose, CustomerEvent, Event, Identity, Money, Permission, UpsertCustomerRequest, event::Kind,
    },
};

use super::{
    mapping::{EventOf, Mapping, TypeOf, ValueOf},
    sink::Sink,
};

/// Between two things that are wrong, each of which begins with a field.
const BETWEEN: &str = "; `";

/// Asks for what a mapping names with an event and a customer that are never
/// recorded.
///
/// # Errors
/// The rules have something not; the service has gone.
pub async fn check(sink: &Sink, mapping: &Mapping) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    if let Some(of) = &mapping.event {
        for kind in kinds(of) {
            let refused = sink.refusal(event(mapping, of, kind)).await?;
            add(&mut wrong, &refused);
        }
    }
    if let Err(refused) = sink.upsert(customer(mapping)).await? {
        add(&mut wrong, &refused);
    }
    anyhow::ensure!(wrong.is_empty(), "the mapping names what the rules have not: {}", wrong.join("; "));
    Ok(())
}

/// The types that are named, or one that stands for those of a column.
fn kinds(of: &EventOf) -> Vec<Option<&str>> {
    match &of.r#type {
        TypeOf::Name(name) => vec![Some(name)],
        TypeOf::Rules(rules) => rules.iter().map(|rule| Some(rule.is.as_str())).collect(),
        TypeOf::Column { .. } => vec![None],
    }
}

fn identities(mapping: &Mapping) -> Vec<Identity> {
    let of = |kind: &String| Identity { r#type: kind.clone(), value: "0".to_owned() };
    mapping.identities.iter().map(|identity| of(&identity.r#type)).collect()
}

/// Fields and attributes by name, with no value.
fn names<'a>(names: impl Iterator<Item = (&'a String, &'a ValueOf)>) -> Struct {
    names.map(|(name, _)| (name.clone(), Value { kind: Some(ValueKind::NullValue(0)) })).collect()
}

fn event(mapping: &Mapping, of: &EventOf, kind: Option<&str>) -> Event {
    let money = |currency: &str| Money { amount: "0".to_owned(), currency: currency.to_owned() };
    let customer = CustomerEvent {
        identities: identities(mapping),
        // the fields of a type that a column names are looked at with its rows
        r#type: kind.unwrap_or("purchase").to_owned(),
        channel: of.channel.clone().unwrap_or_default(),
        amount: of.amount.as_ref().map(|amount| money(&amount.currency)),
        data: kind.map(|_| names(of.data.iter())),
        ..CustomerEvent::default()
    };
    Event { source: mapping.source.clone(), kind: Some(Kind::Customer(customer)), ..Event::default() }
}

fn customer(mapping: &Mapping) -> UpsertCustomerRequest {
    let consents = mapping.consents.iter().map(|of| Consent {
        channel: of.channel.clone(),
        purpose: ConsentPurpose::from(of.purpose) as i32,
        permission: Permission::Denied as i32,
        source: of.source.clone(),
        ..Consent::default()
    });
    UpsertCustomerRequest {
        identities: identities(mapping),
        attributes: Some(names(mapping.attributes.iter())),
        consents: consents.collect(),
        validate_only: true,
        ..UpsertCustomerRequest::default()
    }
}

/// Adds what is wrong with a name; what is wrong with the values, which are made
/// up, is left out.
fn add(wrong: &mut Vec<String>, refused: &str) {
    for one in refused.split(BETWEEN) {
        let one = one.trim_start_matches('`');
        let field = one.split('`').next().unwrap_or_default();
        let is_name = match field.trim_start_matches("customer.") {
            "type" | "channel" | "amount" => true,
            field if field.starts_with("identities[") => field.ends_with(".type"),
            field if field.starts_with("data.") => one.contains("is not a field of"),
            field => field.starts_with("attributes") || field.starts_with("consents["),
        };
        let one = format!("`{one}");
        if is_name && !wrong.contains(&one) {
            wrong.push(one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_told_each_once() {
        let mut wrong = Vec::new();
        for _ in 0..2 {
            add(
                &mut wrong,
                "`event_id` is empty: give one; `customer.type` `retourn` is not an event type of the rules; did you \
                 mean `return`; `customer.identities[0].value` is no address; `customer.identities[0].type` is unknown; \
                 `customer.data.pages` is missing: it is needed; `attributes.land` is unknown",
            );
        }
        let wanted = [
            "`customer.type` `retourn` is not an event type of the rules; did you mean `return`",
            "`customer.identities[0].type` is unknown",
            "`attributes.land` is unknown",
        ];
        assert_eq!(wrong, wanted);
    }
}
