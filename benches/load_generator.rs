//! Rule files for the measurement of loading: offers as people write them, in
//! three layouts, and edits of some of them; all from a committed seed.

use std::fmt::Write;

use rapport::rules::SourceFile;

use crate::random::SplitMix64;

/// The seed of everything generated.
pub const SEED: u64 = 20_110_601;

const COUNTRIES: [&str; 6] = ["GB", "DE", "FR", "NL", "ES", "IT"];
const TIERS: [&str; 4] = ["none", "bronze", "silver", "gold"];
const CATEGORIES: [&str; 5] = ["kitchen", "party", "garden", "christmas", "home"];
const GROUPS: [&str; 4] = ["seasonal", "retention", "cross_sell", "questions"];

/// How the offers are spread over files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A hundred offers a file.
    Hundreds,
    /// All in one file.
    OneFile,
    /// A file an offer.
    Singles,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Layout; 3] = [Layout::Hundreds, Layout::OneFile, Layout::Singles];

    /// Its name in the output.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Hundreds => "100 offers a file",
            Layout::OneFile => "one file",
            Layout::Singles => "one offer a file",
        }
    }

    fn offers_per_file(self, offers: usize) -> usize {
        match self {
            Layout::Hundreds => 100,
            Layout::OneFile => offers.max(1),
            Layout::Singles => 1,
        }
    }
}

/// Offers as text, so that some can be edited.
pub struct Bundle {
    offers: Vec<String>,
    random: SplitMix64,
}

impl Bundle {
    /// This many offers.
    pub fn new(offers: usize) -> Self {
        let mut random = SplitMix64(SEED);
        Self { offers: (0..offers).map(|at| offer(at, &mut random)).collect(), random }
    }

    /// The files of a layout.
    pub fn files(&self, layout: Layout) -> Vec<SourceFile> {
        let mut files = vec![SourceFile { path: "rules/base.yaml".into(), text: base().into() }];
        for (at, chunk) in self.offers.chunks(layout.offers_per_file(self.offers.len())).enumerate() {
            let text = format!("offers:\n{}", chunk.concat());
            files.push(SourceFile { path: format!("rules/offers/{at:05}.yaml").into(), text: text.into() });
        }
        files
    }

    /// Edits this many offers, evenly spread: every one gets another threshold,
    /// every second one a line more, which moves what stands below it.
    pub fn edit(&mut self, count: usize) {
        let step = (self.offers.len() / count.max(1)).max(1);
        for n in 0..count {
            let at = n * step + self.random.below(step as u64) as usize;
            let mut fresh = offer(at, &mut self.random);
            if n % 2 == 0 {
                fresh.push_str("    # looked at again\n");
            }
            self.offers[at] = fresh;
        }
    }

    /// Bytes of all offers.
    pub fn bytes(&self) -> usize {
        self.offers.iter().map(String::len).sum()
    }
}

/// Everything but the offers: 50 attributes, three channels, six placements.
fn base() -> String {
    let mut text = String::from(
        "settings: { currency: GBP, default_language: en, time_zone: Europe/London, language_attribute: language }\n\
         attributes:\n  - { id: country, type: string }\n  - { id: first_name, type: string, pii: true }\n  \
         - { id: language, type: enum, values: [en, de], default: en }\n  - { id: tier, type: enum, values: [none, bronze, silver, gold], default: none }\n  \
         - { id: age, type: int, range: [0, 120] }\n  - { id: newsletter, type: bool, default: false }\n  - { id: email, type: string, pii: true }\n  \
         - { id: tags, type: set }\n",
    );
    for at in 0..40 {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "  - {{ id: score_{at:02}, type: int, range: [0, 1000] }}");
    }
    text.push_str(
        "context:\n  - { id: basket_value, type: money }\n  - { id: category, type: enum, values: [kitchen, party, garden, christmas, home] }\n\
         traits:\n  - { id: orders, count: purchase }\n  - { id: days_since_order, days_since: purchase }\n\
         segments:\n  - { id: loyal, when: \"p.orders >= 5 && p.tier in ['silver', 'gold']\" }\n\
         channels:\n  - { id: web, kind: self_service, base_rate: 0.03 }\n  - { id: email, kind: outbound, address: email, base_rate: 0.02, require: [subject, text] }\n\
         issues:\n  - { id: sell }\n  - { id: keep, lever: 1.2 }\ngroups:\n",
    );
    for group in GROUPS {
        let _ = writeln!(text, "  - {{ id: {group} }}");
    }
    text.push_str("placements:\n");
    for at in 0..6 {
        let _ = writeln!(
            text,
            "  - {{ id: place_{at}, channel: web, slots: 2, data: [ {{ id: headline, type: text }}, {{ id: cta_url, type: url }} ] }}"
        );
    }
    text.push_str(
        "policies:\n  limits:\n    - { id: web_day, scope: all, channel: web, max: 20, window: day }\n  \
         suppress:\n    - { after: decline, scope: offer, for: 60d }\n",
    );
    text
}

/// One offer: 3 to 6 predicates, two treatments, every second with a schedule.
fn offer(at: usize, random: &mut SplitMix64) -> String {
    let mut text = String::with_capacity(1_000);
    let place = random.below(6);
    let issue = ["sell", "keep"][random.below(2) as usize];
    let group = GROUPS[random.below(4) as usize];
    let _ = writeln!(
        text,
        "  - id: offer_{at:05}\n    name: Offer {at}\n    purpose: marketing\n    issue: {issue}\n    group: {group}"
    );
    let _ = writeln!(text, "    eligibility: \"{}\"", conjunction(2 + random.below(3), random));
    let _ = writeln!(text, "    applicability: \"{}\"", conjunction(1 + random.below(2), random));
    if random.below(2) == 0 {
        let day = 1 + random.below(27);
        let _ = writeln!(text, "    schedule: {{ from: 2025-03-{day:02}, until: 2031-10-{day:02} }}");
    }
    let _ = writeln!(text, "    value: {}.5\n    placements: [place_{place}]", 1 + random.below(40));
    let _ = writeln!(
        text,
        "    treatments:\n      web:\n        en:\n          text: \"Hello {{{{ p.first_name | default('there') }}}}, have a look at our choice for you.\"\n          \
         data: {{ headline: \"Our choice {at}\", cta_url: \"link:shop\" }}\n          links: {{ shop: \"https://shop.example/offers/{at}\" }}"
    );
    let _ = writeln!(
        text,
        "      email:\n        en:\n          subject: \"Something for you\"\n          \
         text: \"Hello {{{{ p.first_name | default('there') }}}}, this is number {at}: {{{{ links.shop }}}}\"\n          \
         links: {{ shop: \"https://shop.example/offers/{at}?from=mail\" }}"
    );
    text
}

fn conjunction(count: u64, random: &mut SplitMix64) -> String {
    let parts: Vec<String> = (0..count).map(|_| predicate(random)).collect();
    parts.join(" && ")
}

fn predicate(random: &mut SplitMix64) -> String {
    let pick = |from: &[&'static str], random: &mut SplitMix64| from[random.below(from.len() as u64) as usize];
    match random.below(8) {
        0 => format!("p.country == '{}'", pick(&COUNTRIES, random)),
        1 => format!("p.tier in ['{}', '{}']", pick(&TIERS, random), pick(&TIERS, random)),
        2 => format!("p.age >= {}", 18 + random.below(50)),
        3 => format!("ctx.category == '{}'", pick(&CATEGORIES, random)),
        4 => format!("(p.orders >= {} || seg.loyal)", 1 + random.below(9)),
        5 => format!("p.days_since_order < {}", 5 + random.below(300)),
        6 => format!("!p.newsletter && p.score_{:02} < {}", random.below(40), random.below(1_000)),
        _ => format!("p.score_{:02} > {}", random.below(40), random.below(1_000)),
    }
}
