//! `rapport lookup` and `rapport watch`: who calls, and what the customer does
//! meanwhile.

use std::process::ExitCode;

use anyhow::bail;

use crate::proto::{
    Answered, Changed, Customer, Did, Happening, LookupMatch, LookupRequest, Match, WatchCustomerRequest,
    customer_service_client::CustomerServiceClient, happening::Kind,
};

use super::{
    client::{self, Target},
    decide::identity,
    revisions::moment,
};

/// Options of `lookup`.
#[derive(Debug, clap::Args)]
pub struct LookupArgs {
    /// Any identity, for example the number that calls: `phone:+447700900000`.
    #[arg(value_name = "TYPE:VALUE")]
    identity: String,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Options of `watch`.
#[derive(Debug, clap::Args)]
pub struct WatchArgs {
    /// Who, as `type:value`, for example `customer_id:12748`; may be repeated.
    #[arg(long = "identity", short = 'i', value_name = "TYPE:VALUE", required = true)]
    identities: Vec<String>,
    /// Print as JSON: each change and the view after it, one a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Prints who may be behind an identity, masked.
///
/// # Errors
/// The service cannot be reached or refuses the identity.
pub async fn lookup(args: LookupArgs) -> anyhow::Result<ExitCode> {
    let identity = identity(&args.identity)?;
    let mut service = CustomerServiceClient::new(args.target.connect().await?);
    let answer = service.lookup(LookupRequest { identity: Some(identity) }).await;
    let answer = answer.map_err(|s| client::refused("looking up a customer", &s))?.into_inner();
    if args.json {
        say!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    match answer.r#match() {
        Match::Known => say!("one customer has it; a number can be forged, so verify who calls"),
        Match::Ambiguous => say!("more than one customer has it: find out who is meant"),
        _ => say!("nobody has it"),
    }
    answer.matches.iter().for_each(masked);
    if answer.more {
        say!("and more");
    }
    Ok(ExitCode::SUCCESS)
}

fn masked(found: &LookupMatch) {
    let mut attributes: Vec<_> = found.attributes.iter().collect();
    attributes.sort_unstable();
    let identities = found.identities.iter().map(|one| format!("{} {}", one.r#type, one.value));
    let attributes = attributes.into_iter().map(|(name, value)| format!("{name} {value}"));
    let shown: Vec<String> = identities.chain(attributes).collect();
    say!("  {}", shown.join(", "));
    say!("    last seen {}, first seen {}", moment(found.last_seen), moment(found.first_seen));
    if !found.match_token.is_empty() {
        say!("    match:{}", found.match_token);
    }
}

/// Prints what happens to a customer, a line each, until the service ends it.
///
/// # Errors
/// The service cannot be reached, or nobody has the identities.
pub async fn watch(args: WatchArgs) -> anyhow::Result<ExitCode> {
    let identities = args.identities.iter().map(|text| identity(text)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut service = CustomerServiceClient::new(args.target.connect().await?);
    let failed = |s| client::refused("watching a customer", &s);
    let request = WatchCustomerRequest { identities, fields: Vec::new() };
    let mut changes = service.watch_customer(request).await.map_err(failed)?.into_inner();
    let mut first = true;
    while let Some(change) = changes.message().await.map_err(failed)? {
        if args.json {
            say!("{}", serde_json::to_string(&change)?);
            continue;
        }
        if std::mem::take(&mut first) {
            view(&change.customer.unwrap_or_default());
        }
        if change.missed {
            say!("... something was missed");
        }
        change.happenings.iter().for_each(happened);
    }
    bail!("the service ended the watch: it stops, or an hour is over; watch again")
}

fn view(customer: &Customer) {
    let identities: Vec<String> =
        customer.identities.iter().map(|one| format!("{}:{}", one.r#type, one.value)).collect();
    say!("watching {}", identities.join(" "));
    if !customer.segments.is_empty() {
        say!("  segments {}", customer.segments.join(", "));
    }
    if customer.do_not_contact {
        say!("  must not be contacted");
    }
}

fn happened(happening: &Happening) {
    let what = match &happening.kind {
        Some(Kind::Answered(answered)) => answer(answered),
        Some(Kind::Did(one)) => did(one),
        Some(Kind::Changed(change)) => match Changed::try_from(*change) {
            Ok(Changed::Upserted) => "attributes, consents, wishes or records were set".to_owned(),
            Ok(Changed::DoNotContact) => "contact was forbidden or permitted again".to_owned(),
            _ => "something changed".to_owned(),
        },
        None => "something happened".to_owned(),
    };
    say!("{} {what}", moment(happening.time));
}

fn answer(answered: &Answered) -> String {
    let name = answered.outcome().as_str_name();
    let outcome = match name.strip_prefix("OUTCOME_TYPE_").unwrap_or(name) {
        "UNSPECIFIED" => "contact".to_owned(),
        name => name.to_lowercase(),
    };
    let mut text = format!("{outcome} of {} on {}", answered.offer, answered.channel);
    for (label, value) in [
        ("link", &answered.link),
        ("reason", &answered.reason_code),
        ("agent", &answered.agent_id),
        ("call", &answered.call_id),
        ("note", &answered.note),
    ] {
        if !value.is_empty() {
            text.push_str(&format!(", {label} {}", value.escape_debug()));
        }
    }
    text
}

fn did(did: &Did) -> String {
    let mut text = did.r#type.clone();
    if !did.channel.is_empty() {
        text.push_str(&format!(" on {}", did.channel));
    }
    if let Some(amount) = &did.amount {
        text.push_str(&format!(" for {} {}", amount.amount, amount.currency));
    }
    if !did.items.is_empty() {
        let items: Vec<String> = did.items.iter().map(|item| item.escape_debug().to_string()).collect();
        text.push_str(&format!(": {}", items.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Money, OutcomeType};

    #[test]
    fn happenings_are_told_on_one_line() {
        let declined = Answered {
            offer: "upgrade".into(),
            channel: "call_centre".into(),
            outcome: OutcomeType::Decline as i32,
            reason_code: "too_expensive".into(),
            agent_id: "a-7".into(),
            call_id: "call-1".into(),
            note: "calls\nback".into(),
            ..Answered::default()
        };
        let told = answer(&declined);
        assert_eq!(
            told,
            "decline of upgrade on call_centre, reason too_expensive, agent a-7, call call-1, note calls\\nback"
        );
        assert_eq!(
            answer(&Answered { offer: "o".into(), channel: "c".into(), ..Answered::default() }),
            "contact of o on c"
        );
        let followed = Answered { offer: "o".into(), channel: "c".into(), link: "shop".into(), ..Answered::default() };
        assert_eq!(answer(&followed), "contact of o on c, link shop");
        let amount = Some(Money { amount: "12.50".into(), currency: "GBP".into() });
        let bought =
            Did { r#type: "purchase".into(), channel: "web".into(), amount, items: vec!["a".into(), "b".into()] };
        assert_eq!(did(&bought), "purchase on web for 12.50 GBP: a, b");
    }
}
