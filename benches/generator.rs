//! Generates the rules and customers of the benchmarks from a committed seed.

use std::fmt::Write;

use serde_json::{Value, json};

/// The seed of everything generated.
pub const SEED: u64 = 20_110_601;
/// The placement that asks.
pub const PLACEMENT: &str = "bench_home";
/// The countries customers and conditions draw from.
const COUNTRIES: [&str; 4] = ["GB", "DE", "FR", "NL"];
const TIERS: [&str; 3] = ["bronze", "silver", "gold"];

/// A small generator of pseudo-random numbers: SplitMix64 (Steele, Lea, Flood,
/// "Fast splittable pseudorandom number generators", 2014).
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number in (0, 1].
    pub fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

const HEAD: &str = r#"settings:
  currency: GBP
  default_language: en
  time_zone: Europe/London
  language_attribute: language
attributes:
  - { id: country, type: string }
  - { id: language, type: enum, values: [en, de], default: en }
  - { id: age, type: int, range: [0, 120] }
  - { id: loyalty_points, type: int, range: [0, 1000000] }
  - { id: tier, type: enum, values: [bronze, silver, gold] }
  - { id: newsletter, type: bool, default: false }
  - { id: first_name, type: string, pii: true }
context:
  - { id: basket_value, type: money }
traits:
  - { id: orders, count: purchase }
  - { id: spend, sum: purchase }
  - { id: days_since_order, days_since: purchase }
  - { id: has_open_complaint, open: { opened: complaint_opened, closed: complaint_closed } }
channels:
  - id: web
    kind: self_service
    base_rate: 0.03
    require: [text]
    escape: html
    counts_on: impression
    reserve_for: 1s
    valid_for: 30m
placements:
  - id: bench_home
    channel: web
    slots: 1
    data:
      - { id: headline, type: text, required: true }
      - { id: cta_url, type: url }
issues: [ { id: sell }, { id: retain }, { id: serve } ]
groups: [ { id: seasonal }, { id: loyalty }, { id: care } ]
policies:
  limits:
    - { id: web_offer_day, scope: offer, channel: web, max: 1000, window: 1d }
    - { id: group_week, scope: group, max: 5000, window: 7d }
  suppress:
    - { after: decline, reason: not_interested, scope: offer, for: 90d }
    - { after: accept, scope: offer, for: 365d }
  decline_reasons:
    - { id: not_interested, label: { en: "Not interested", de: "Kein Interesse" } }
  holdout: { share: 0.0, salt: "bench" }
  exploration: { share: 0.0 }
  propensity: { prior_trials: 50 }
offers:
"#;

/// The text of a rule file with so many offers.
pub fn rules(offers: usize) -> String {
    let mut rng = SplitMix64(SEED);
    let mut text = HEAD.to_owned();
    for number in 0..offers {
        let (eligibility, applicability) = conditions(&mut rng);
        let value = 1.0 + rng.unit() * 40.0;
        let (issue, group) = [("sell", "seasonal"), ("retain", "loyalty"), ("serve", "care")][number % 3];
        let purpose = if issue == "serve" { "service" } else { "marketing" };
        let _ = write!(
            text,
            "  - id: offer_{number:04}
    name: Offer {number}
    purpose: {purpose}
    issue: {issue}
    group: {group}
    eligibility: \"{eligibility}\"
    applicability: \"{applicability}\"
    suitability: \"!p.has_open_complaint || {complaint}\"
    value: {value:.2}
    limits: [ {{ max: 900, window: 30d }} ]
    placements: [{PLACEMENT}]
    treatments:
      web:
        en:
          text: \"Hello {{{{ p.first_name | default('you') }}}}, offer {number} is for you: have a look today.\"
          data: {{ headline: \"Only for you, {{{{ p.first_name | default('you') }}}}\", cta_url: \"link:shop\" }}
          image: \"https://shop.example/image/{number}.jpg\"
          links: {{ shop: \"https://shop.example/offer/{number}\" }}
        de:
          text: \"Guten Tag {{{{ p.first_name | default('Sie') }}}}, Angebot {number} ist heute nur fuer Sie.\"
          data: {{ headline: \"Nur fuer Sie, {{{{ p.first_name | default('Sie') }}}}\", cta_url: \"link:shop\" }}
          image: \"https://shop.example/image/{number}.jpg\"
          links: {{ shop: \"https://shop.example/de/offer/{number}\" }}
",
            complaint = issue == "serve",
        );
    }
    text
}

/// Eligibility of three and applicability of one predicate; about a third of
/// the customers passes both.
fn conditions(rng: &mut SplitMix64) -> (String, String) {
    let country = rng.pick(&COUNTRIES);
    let other = rng.pick(&COUNTRIES);
    let (age, points, days) = (16 + rng.below(20), rng.below(4_000), 60 + rng.below(300));
    let eligibility =
        format!("p.age >= {age} && p.country in ['{country}', '{other}', 'GB'] && p.loyalty_points >= {points}");
    let applicability = match rng.below(3) {
        0 => format!("p.days_since_order < {days}"),
        1 => format!("p.tier != '{}'", rng.pick(&TIERS)),
        _ => "ctx.basket_value > money('5')".to_owned(),
    };
    (eligibility, applicability)
}

/// Customer `number` as JSON of an `UpsertCustomerRequest`.
pub fn customer(number: usize) -> Value {
    let mut rng = SplitMix64(SEED ^ (number as u64).wrapping_mul(0x5851_f42d_4c95_7f2d));
    json!({
        "identities": [identity(number)],
        "attributes": {
            "country": rng.pick(&COUNTRIES),
            "language": rng.pick(&["en", "de"]),
            "age": 18 + rng.below(60),
            "loyalty_points": rng.below(10_000),
            "tier": rng.pick(&TIERS),
            "newsletter": rng.below(2) == 1,
            "first_name": format!("Person{number}"),
        },
        "consents": [{"purpose": "CONSENT_PURPOSE_PROFILING", "permission": "PERMISSION_GRANTED"}],
    })
}

/// Purchases of customer `number` as JSON events; `time` in RFC 3339.
pub fn purchases(number: usize, time: &str) -> Vec<Value> {
    let mut rng = SplitMix64(SEED.rotate_left(17) ^ number as u64);
    let count = 1 + rng.below(3);
    (0..count)
        .map(|order| {
            json!({
                "eventId": format!("bench-{number}-{order}"),
                "source": "bench",
                "time": time,
                "customer": {
                    "identities": [identity(number)],
                    "type": "purchase",
                    "amount": {"amount": format!("{}.50", 5 + rng.below(95)), "currency": "GBP"},
                },
            })
        })
        .collect()
}

/// The question customer `number` asks, as JSON of a `DecideRequest`.
pub fn question(number: usize) -> Value {
    json!({
        "identities": [identity(number)],
        "placements": [{"placement": PLACEMENT}],
        "context": {"basket_value": 5 + number % 60},
    })
}

fn identity(number: usize) -> Value {
    json!({"type": "customer_id", "value": format!("bench-{number}")})
}
