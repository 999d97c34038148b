//! What is said of each person.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use crate::{
    app::population::{Eligibility, EligibilityBuffers, Person},
    cli::people::{Reader, Someone},
    domain::{Facts, OfferSlot, Timestamp},
    rules::{Condition, Offer, Ruleset, Truth},
};

/// Answers lines.
pub struct Desk<'r> {
    pub rules: &'r Ruleset,
    pub reader: Reader<'r>,
    pub eligibility: Eligibility<'r>,
    /// The moment of lines without one.
    pub at: Timestamp,
    pub json: bool,
    /// The offer that is explained.
    pub explained: Option<OfferSlot>,
    /// Whether unknown conditions are told.
    pub unknown: bool,
}

/// The answers to some lines.
#[derive(Default)]
pub struct Answers {
    /// Lines for standard output.
    pub text: String,
    /// `line: what is wrong`.
    pub mistakes: Vec<String>,
    /// Lines answered or refused.
    pub lines: u64,
    /// Lines refused.
    pub refused: u64,
}

impl Desk<'_> {
    /// Answers lines in their order.
    pub fn answer(&self, lines: &[(u64, String)]) -> Answers {
        let mut answers = Answers::default();
        let mut buffers = EligibilityBuffers::default();
        for (number, line) in lines {
            answers.lines += 1;
            match self.reader.read(line) {
                Ok(someone) => self.tell((*number, &someone), &mut buffers, &mut answers.text),
                Err(refused) => {
                    answers.refused += 1;
                    answers.mistakes.extend(refused.mistakes.iter().map(|mistake| format!("{number}: {mistake}")));
                    if self.json {
                        let mut told = json!({"line": number, "error": refused.mistakes});
                        if let Some(id) = refused.id {
                            told["id"] = Json::from(id);
                        }
                        push(&mut answers.text, &told);
                    }
                }
            }
        }
        answers
    }

    fn tell(&self, (line, someone): (u64, &Someone), buffers: &mut EligibilityBuffers, text: &mut String) {
        let named = Named { id: someone.id.as_deref(), line };
        let person = someone.person(self.at);
        let eligible = self.eligibility.of_person(&person, buffers);
        if let Some(slot) = self.explained {
            let eligible = eligible.contains(slot);
            let facts = self.eligibility.facts_of(&person, buffers);
            return self.explain(named, (slot, eligible), &facts, text);
        }
        let names = eligible.iter().map(|slot| &*self.rules.offer(slot).name_id);
        if !self.json {
            let names: Vec<&str> = names.collect();
            // writing into a string cannot fail
            let _ = writeln!(text, "{named}: {}", names.join(", "));
            return;
        }
        // written in this order; an object of `serde_json` sorts its names
        let (key, value) = named.json();
        let _ = write!(text, "{{\"{key}\":{value},\"eligible\":");
        list(text, names);
        if self.unknown {
            text.push_str(",\"unknown\":");
            list(text, self.unknown_to(&person, buffers).map(|offer| &*offer.name_id));
        }
        text.push_str("}\n");
    }

    /// Offers that a missing value keeps from being eligible: no condition is
    /// false, and one is unknown.
    fn unknown_to<'a>(
        &'a self,
        person: &Person<'a>,
        buffers: &'a EligibilityBuffers,
    ) -> impl Iterator<Item = &'a Offer> {
        let facts = self.eligibility.facts_of(person, buffers);
        let now = person.now;
        self.rules.offers.iter().filter(move |offer| {
            let facts = offer.facts_told(&facts);
            let truths = || offer.conditions().map(|condition| condition.truth(&facts));
            runs(offer, now) && !truths().any(|t| t == Truth::False) && truths().any(|t| t == Truth::Unknown)
        })
    }

    fn explain(&self, named: Named<'_>, (slot, eligible): (OfferSlot, bool), facts: &Facts<'_>, text: &mut String) {
        let offer = self.rules.offer(slot);
        let facts = &offer.facts_told(facts);
        let whys = whys(offer, facts);
        if self.json {
            let failed: Vec<Json> = whys.iter().map(Why::json).collect();
            let (key, value) = named.json();
            return push(text, &json!({key: value, "offer": &*offer.name_id, "eligible": eligible, "failed": failed}));
        }
        let verdict = if eligible { "eligible" } else { "not eligible" };
        let _ = writeln!(text, "{named}: {verdict} for {}", offer.name_id);
        for why in &whys {
            let _ = writeln!(text, "  {}", why.in_words());
        }
    }
}

/// Who is spoken of: by their id, else by their line.
#[derive(Clone, Copy)]
struct Named<'a> {
    id: Option<&'a str>,
    line: u64,
}

impl Named<'_> {
    fn json(self) -> (&'static str, Json) {
        self.id.map_or(("line", Json::from(self.line)), |id| ("id", Json::from(id)))
    }
}

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.id {
            Some(id) => f.write_str(id),
            None => write!(f, "line {}", self.line),
        }
    }
}

/// Ids need no escapes.
fn list<'a>(text: &mut String, ids: impl Iterator<Item = &'a str>) {
    text.push('[');
    for (at, id) in ids.enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(text, "{comma}\"{id}\"");
    }
    text.push(']');
}

fn push(text: &mut String, json: &Json) {
    let _ = writeln!(text, "{json}");
}

fn runs(offer: &Offer, now: Timestamp) -> bool {
    let (from, until) = offer.schedule;
    !offer.paused && from.is_none_or(|from| now >= from) && until.is_none_or(|until| now < until)
}

/// The part of an offer that its own `paused` is.
const PAUSED: &str = "paused";

/// What keeps an offer from a person.
struct Why {
    part: &'static str,
    text: String,
    position: String,
    read: String,
    truth: &'static str,
}

fn whys(offer: &Offer, facts: &Facts<'_>) -> Vec<Why> {
    let mut whys = Vec::new();
    let mut plain = |part, text: String, read: String| {
        whys.push(Why { part, text, position: offer.position.to_string(), read, truth: "false" });
    };
    if offer.paused {
        plain(PAUSED, "`paused: true`".to_owned(), String::new());
    }
    if !runs(offer, facts.now) && !offer.paused {
        let (from, until) = offer.schedule;
        let moment = |at: Timestamp| {
            jiff::Timestamp::from_microsecond(at.0).map_or_else(|_| at.0.to_string(), |at| at.to_string())
        };
        let end = |word, at: Option<Timestamp>| at.map(|at| format!("{word} {}", moment(at)));
        let text: Vec<String> = [end("from", from), end("until", until)].into_iter().flatten().collect();
        plain("schedule", text.join(" "), format!("now = {}", moment(facts.now)));
    }
    let parts: [(&'static str, Option<&Condition>); 3] = [
        ("eligibility", offer.eligibility.as_deref()),
        ("applicability", offer.applicability.as_deref()),
        ("suitability", offer.suitability.as_deref()),
    ];
    for (part, condition) in parts {
        for literal in condition.into_iter().flat_map(|condition| condition.failed(facts)) {
            whys.push(Why {
                part,
                text: literal.text,
                position: literal.position.to_string(),
                read: literal.value_read,
                truth: if literal.truth == Truth::Unknown { "unknown" } else { "false" },
            });
        }
    }
    whys
}

impl Why {
    fn json(&self) -> Json {
        let Why { part, text, position, read, truth } = self;
        json!({"part": part, "text": text, "position": position, "read": read, "truth": truth})
    }

    fn in_words(&self) -> String {
        let Why { part, text, position, read, truth } = self;
        if *part == PAUSED {
            return format!("{position}: the offer has {text}");
        }
        let read = if read.is_empty() { String::new() } else { format!(": {read}") };
        format!("{position}: {part} `{text}` is {truth}{read}")
    }
}
