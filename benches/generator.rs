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

/// What rules are generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Four predicates an offer, for customers whose ages span so many years.
    Plain {
        /// Years; with [`ANY_AGE_YEARS`] a third of the offers is eligible.
        span_years: u64,
    },
    /// Three to six predicates an offer over about fifty attributes, half of
    /// the offers with a schedule; a twentieth of the offers is eligible.
    Selective,
    /// As [`Rules::Plain`] for any age, and an agent's desk asks too.
    Desk,
    /// The same with a condition that looks for a pattern among many words, of
    /// each offer another one: nothing that an index could tell.
    Heavy,
}

/// Offers of a file, so that no file is too large.
const FILE_OFFERS: usize = 1_000;
/// The share of the offers of [`Rules::Selective`] that a customer is eligible for.
const ELIGIBLE_SHARE: f64 = 0.05;
/// Attributes of [`Rules::Selective`]: whole numbers below [`SCORE_END`], names
/// of [`SEGMENTS`], truth values.
const SCORES: u64 = 24;
const NAMED: u64 = 12;
const FLAGS: u64 = 8;
const SCORE_END: u64 = 1_000;
const SEGMENTS: u64 = 10;

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
ATTRIBUTEScontext:
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
"#;

/// Offers for customers of any age: about a third of them passes each.
pub const ANY_AGE_YEARS: u64 = 120;

/// The path and text of the rule files of so many offers, each for customers
/// whose ages span so many years. With 9 about a twentieth of the customers
/// passes each.
#[allow(dead_code, reason = "the bench of the service asks for `files`")]
pub fn rules(offers: usize, span_years: u64) -> Vec<(String, String)> {
    files(Rules::Plain { span_years }, offers, "")
}

/// The path and text of rule files. Every message ends with `mark`.
pub fn files(rules: Rules, offers: usize, mark: &str) -> Vec<(String, String)> {
    let mut rng = SplitMix64(SEED);
    let mut files: Vec<(String, String)> = Vec::new();
    for number in 0..offers {
        if number % FILE_OFFERS == 0 {
            let head = if number == 0 { head(rules) } else { String::new() };
            files.push((format!("bench_{:02}.yaml", files.len()), format!("{head}offers:\n")));
        }
        let Some((_, text)) = files.last_mut() else { continue };
        offer(text, (rules, number, mark), &mut rng);
    }
    files
}

/// Where an agent asks in [`Rules::Desk`] and [`Rules::Heavy`].
pub const DESK: &str = "bench_desk";
/// Words of a customer of [`Rules::Heavy`].
const WORDS: u64 = 40;

fn head(rules: Rules) -> String {
    let text = HEAD.replace("ATTRIBUTES", &attributes(rules));
    if !rules.has_desk() {
        return text;
    }
    let channel = "  - { id: desk, kind: assisted, base_rate: 0.1, require: [talk_track], counts_on: impression }\n";
    let placement = format!("  - {{ id: {DESK}, channel: desk, slots: 1 }}\n");
    let fallback = "      - { id: cta_url, type: url }\n    fallback: { headline: \"Welcome\" }\n";
    text.replace("placements:\n", &format!("{channel}placements:\n"))
        .replace("      - { id: cta_url, type: url }\n", fallback)
        .replace("issues:", &format!("{placement}issues:"))
}

impl Rules {
    fn has_desk(self) -> bool {
        matches!(self, Rules::Desk | Rules::Heavy)
    }
}

fn attributes(rules: Rules) -> String {
    let mut text = String::new();
    if rules == Rules::Heavy {
        text.push_str("  - { id: words, type: set }\n");
    }
    if rules != Rules::Selective {
        return text;
    }
    for number in 0..SCORES {
        let _ = writeln!(text, "  - {{ id: score_{number:02}, type: int, range: [0, {SCORE_END}] }}");
    }
    let values: Vec<String> = (0..SEGMENTS).map(|value| format!("s{value}")).collect();
    for number in 0..NAMED {
        let _ = writeln!(text, "  - {{ id: segment_{number:02}, type: enum, values: [{}] }}", values.join(", "));
    }
    for number in 0..FLAGS {
        let _ = writeln!(text, "  - {{ id: flag_{number:02}, type: bool }}");
    }
    text
}

fn offer(text: &mut String, (rules, number, mark): (Rules, usize, &str), rng: &mut SplitMix64) {
    let (eligibility, applicability) = match rules {
        Rules::Plain { span_years } => conditions(rng, span_years),
        Rules::Selective => selective(rng),
        Rules::Desk => conditions(rng, ANY_AGE_YEARS),
        Rules::Heavy => {
            let (letter, digit) = (char::from(b'a' + (number % 26) as u8), number / 26 % 10);
            let pattern = format!("^[a-f]+{letter}{digit}.*{number}$");
            (format!("!p.words.exists(w, w.matches('{pattern}'))"), "p.age >= 18".to_owned())
        }
    };
    let (desk, desk_treatment) = match rules.has_desk() {
        true => (format!(", {DESK}"), format!("      desk: {{ en: {{ talk_track: \"Offer {number}.\" }} }}\n")),
        false => Default::default(),
    };
    let schedule = match rules {
        Rules::Selective if number % 2 == 0 => "    schedule: { from: 2020-01-01, until: 2090-01-01 }\n",
        _ => "",
    };
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
{schedule}    eligibility: \"{eligibility}\"
    applicability: \"{applicability}\"
    suitability: \"!p.has_open_complaint || {complaint}\"
    value: {value:.2}
    limits: [ {{ max: 900, window: 30d }} ]
    placements: [{PLACEMENT}{desk}]
    treatments:
{desk_treatment}      web:
        en:
          text: \"Hello {{{{ p.first_name | default('you') }}}}, offer {number} is for you: have a look today.{mark}\"
          data: {{ headline: \"Only for you, {{{{ p.first_name | default('you') }}}}\", cta_url: \"link:shop\" }}
          image: \"https://shop.example/image/{number}.jpg\"
          links: {{ shop: \"https://shop.example/offer/{number}\" }}
        de:
          text: \"Guten Tag {{{{ p.first_name | default('Sie') }}}}, Angebot {number} ist heute nur fuer Sie.{mark}\"
          data: {{ headline: \"Nur fuer Sie, {{{{ p.first_name | default('Sie') }}}}\", cta_url: \"link:shop\" }}
          image: \"https://shop.example/image/{number}.jpg\"
          links: {{ shop: \"https://shop.example/de/offer/{number}\" }}
",
        complaint = issue == "serve",
    );
}

/// Eligibility of three or four and applicability of one predicate.
fn conditions(rng: &mut SplitMix64, span_years: u64) -> (String, String) {
    let country = rng.pick(&COUNTRIES);
    let other = rng.pick(&COUNTRIES);
    let (age, points, days) = (16 + rng.below(20), rng.below(4_000), 60 + rng.below(300));
    let ages = if span_years >= ANY_AGE_YEARS {
        format!("p.age >= {age}")
    } else {
        let from = 18 + rng.below(60 - span_years.min(59));
        format!("p.age >= {from} && p.age < {}", from + span_years)
    };
    let eligibility = format!("{ages} && p.country in ['{country}', '{other}', 'GB'] && p.loyalty_points >= {points}");
    let applicability = match rng.below(3) {
        0 => format!("p.days_since_order < {days}"),
        1 => format!("p.tier != '{}'", rng.pick(&TIERS)),
        _ => "ctx.basket_value > money('5')".to_owned(),
    };
    (eligibility, applicability)
}

/// Three to six predicates over different attributes, each so likely that all
/// of them hold for [`ELIGIBLE_SHARE`] of the customers; the last one is the
/// applicability.
fn selective(rng: &mut SplitMix64) -> (String, String) {
    let count = 3 + rng.below(4);
    let share = ELIGIBLE_SHARE.powf(1.0 / count as f64);
    let first = rng.below(SCORES + NAMED);
    let mut predicates: Vec<String> =
        (0..count).map(|at| predicate((first + at * 7) % (SCORES + NAMED), share, rng)).collect();
    let applicability = predicates.pop().unwrap_or_default();
    (predicates.join(" && "), applicability)
}

/// A predicate over one attribute that holds for a share of the customers.
fn predicate(attribute: u64, share: f64, rng: &mut SplitMix64) -> String {
    if attribute < SCORES {
        let held = (share * SCORE_END as f64).round() as u64;
        return match rng.below(3) {
            0 => format!("p.score_{attribute:02} < {held}"),
            1 => format!("p.score_{attribute:02} >= {}", SCORE_END - held),
            _ => {
                let from = rng.below(SCORE_END - held);
                format!("p.score_{attribute:02} >= {from} && p.score_{attribute:02} < {}", from + held)
            }
        };
    }
    // the share of the names is rounded at random, so that it is right on average
    let named = (share * SEGMENTS as f64 + rng.unit()).floor() as u64;
    let from = rng.below(SEGMENTS);
    let names: Vec<String> = (0..named.min(SEGMENTS)).map(|at| format!("'s{}'", (from + at) % SEGMENTS)).collect();
    format!("p.segment_{:02} in [{}]", attribute - SCORES, names.join(", "))
}

/// Customer `number` of these rules as JSON of an `UpsertCustomerRequest`.
pub fn customer_of(rules: Rules, number: usize) -> Value {
    let mut customer = customer(number);
    if rules == Rules::Heavy {
        let words: Vec<String> = (0..WORDS).map(|at| format!("abcdef-{at}-{}", number as u64 * WORDS + at)).collect();
        customer["attributes"]["words"] = json!(words);
    }
    if rules == Rules::Selective {
        let mut rng = SplitMix64(SEED.rotate_left(31) ^ (number as u64).wrapping_mul(0x5851_f42d_4c95_7f2d));
        for at in 0..SCORES {
            customer["attributes"][format!("score_{at:02}")] = json!(rng.below(SCORE_END));
        }
        for at in 0..NAMED {
            customer["attributes"][format!("segment_{at:02}")] = json!(format!("s{}", rng.below(SEGMENTS)));
        }
        for at in 0..FLAGS {
            customer["attributes"][format!("flag_{at:02}")] = json!(rng.below(2) == 1);
        }
    }
    customer
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
        "trace": "TRACE_SUMMARY",
    })
}

/// The same asked from an agent's desk.
#[allow(dead_code, reason = "the bench of the service asks for it")]
pub fn question_of_agent(number: usize) -> Value {
    json!({
        "identities": [identity(number)],
        "placements": [{"placement": DESK}],
        "context": {"basket_value": 5 + number % 60},
        "view": "VIEW_AGENT",
    })
}

fn identity(number: usize) -> Value {
    json!({"type": "customer_id", "value": format!("bench-{number}")})
}
