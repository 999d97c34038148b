//! Who calls in the demo: customers of the sample whose stories differ.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::json;

use crate::{
    cli::client::refused,
    grpc::{Api, Sight},
    http::demo::Caller,
    proto::{
        Customer, DecideRequest, GetCustomerRequest, Identity, Intent, PlacementRequest, UpsertCustomerRequest, value,
    },
};

/// A number of the range that is kept free for fiction: nobody has it.
const NOBODY: &str = "+441632960961";
/// The number of a customer who lives with another one, and has the same phone.
const HOUSEMATE: &str = "90001";

/// A customer, and what the rules would say to them now.
struct Story {
    customer: Customer,
    phone: String,
    desk: Vec<String>,
    hero: Option<String>,
    /// Whether the first action of the desk may be said once only: said there, the
    /// shop would have to say something else.
    said_once: bool,
}

impl Story {
    fn in_segment(&self, name: &str) -> bool {
        self.customer.segments.iter().any(|segment| segment == name)
    }

    fn is_told_the_same(&self) -> bool {
        !self.said_once && self.hero.is_some() && self.hero.as_ref() == self.desk.first()
    }

    fn complains(&self) -> bool {
        let open = self.customer.traits.get("has_open_complaint").and_then(|value| value.kind.as_ref());
        matches!(open, Some(value::Kind::BoolValue(true)))
    }

    fn reads(&self, language: &str) -> bool {
        let read = self.customer.attributes.get("language").and_then(|value| value.kind.as_ref());
        matches!(read, Some(value::Kind::StringValue(read)) if read == language)
    }
}

type Told = (&'static str, fn(&Story) -> bool);

/// What makes a call worth looking at, the one that rings first.
const STORIES: [Told; 4] = [
    ("Buys for a shop", |s| s.reads("en") && s.in_segment("wholesaler") && s.is_told_the_same() && s.desk.len() > 2),
    ("Has a complaint open", |s| s.reads("en") && s.complains()),
    ("Was silent for long", |s| s.reads("en") && s.in_segment("silent") && s.is_told_the_same()),
    ("Speaks German", |s| s.reads("de") && s.desk.len() > 1),
];

/// Finds a customer for each story, gives one of them a housemate with the same
/// phone, and lists their numbers.
///
/// # Errors
/// A call is refused.
pub async fn choose(api: &Api, customers: &[Identity]) -> anyhow::Result<Vec<Caller>> {
    let mut found: BTreeMap<usize, String> = BTreeMap::new();
    let mut shared = None;
    for identity in customers {
        if found.len() == STORIES.len() && shared.is_some() {
            break;
        }
        let Some(story) = story(api, identity).await? else { continue };
        let open = |(at, (_, is)): &(usize, &Told)| !found.contains_key(at) && is(&story);
        match STORIES.iter().enumerate().find(open) {
            Some((at, _)) => {
                found.insert(at, story.phone);
            }
            None if shared.is_none() && !found.values().any(|phone| *phone == story.phone) => {
                shared = Some(story.phone);
            }
            None => {}
        }
    }
    let told = found.into_iter().filter_map(|(at, phone)| Some((STORIES.get(at)?.0, phone)));
    let mut callers: Vec<Caller> = told.map(|(label, phone)| caller(label, phone)).collect();
    if let Some(phone) = shared {
        move_in(api, &phone).await?;
        callers.push(caller("Two people, one phone", phone));
    }
    callers.push(caller("A number nobody has", NOBODY.to_owned()));
    Ok(callers)
}

fn caller(label: &str, phone: String) -> Caller {
    Caller { label: label.to_owned(), phone }
}

/// None for a customer without a phone.
async fn story(api: &Api, identity: &Identity) -> anyhow::Result<Option<Story>> {
    let request = GetCustomerRequest { identities: vec![identity.clone()], ..GetCustomerRequest::default() };
    let answer = api.get_customer(Sight::Whole, request).await.map_err(|s| refused("looking at a customer", &s))?;
    let customer = answer.customer.unwrap_or_default();
    let Some(phone) = customer.identities.iter().find(|i| i.r#type == "phone").map(|i| i.value.clone()) else {
        return Ok(None);
    };
    let place = |placement: &str| PlacementRequest { placement: placement.to_owned(), count: 0 };
    let mut offers = Vec::new();
    // the desk and the page are asked by themselves: together they would share
    for placement in ["agent_desktop", "home_hero"] {
        let request = DecideRequest {
            identities: vec![identity.clone()],
            placements: vec![place(placement)],
            intent: Intent::Preview.into(),
            ..DecideRequest::default()
        };
        let answer = api
            .decide(crate::grpc::Caller::Service, request)
            .await
            .map_err(|s| refused("asking for a decision", &s))?;
        let presentations = answer.placements.into_iter().flat_map(|placement| placement.presentations);
        offers.push(presentations.map(|p| p.offer).filter(|offer| !offer.is_empty()).collect::<Vec<_>>());
    }
    let hero = offers.pop().unwrap_or_default().into_iter().next();
    let desk = offers.pop().unwrap_or_default();
    let said_once = desk.first().is_some_and(|offer| is_said_once(api, offer));
    Ok(Some(Story { customer, phone, desk, hero, said_once }))
}

/// Whether a limit of the offer's own lets it be said once to a person.
fn is_said_once(api: &Api, offer: &str) -> bool {
    let ruleset = &api.app().current().ruleset;
    let offer = ruleset.offers.iter().find(|known| &*known.name_id == offer);
    offer.is_some_and(|offer| {
        let own = ruleset.limits.iter().filter(|limit| limit.offer == Some(offer.slot));
        own.into_iter().any(|limit| limit.max <= 1)
    })
}

/// Makes the housemate, or finds them there.
async fn move_in(api: &Api, phone: &str) -> anyhow::Result<()> {
    let request = json!({
        "identities": [{"type": "customer_id", "value": HOUSEMATE}, {"type": "phone", "value": phone}],
        "attributes": {"first_name": "Rose", "country": "United Kingdom", "birthday": "1988-05-21"},
    });
    let request: UpsertCustomerRequest = serde_json::from_value(request).context("writing a customer")?;
    api.upsert_customer(request).await.map_err(|s| refused("adding a customer with a shared phone", &s))?;
    Ok(())
}
