//! Keys of what conditions may name: identities, events, records, attributes,
//! traits.

use super::keys::{ID, KeySpec, NONE, REQUIRED, Section, key};

/// `identities[]`.
pub static IDENTITY: Section = Section {
    name: "identities[]",
    about: "Built in: see the table at the end. Of a built-in type only what it is to people can be said (`shared`, `bearer`, `single`, `people_max`).",
    keys: &[
        ID,
        key("format", "opaque, email, phone", "opaque", "how values are normalised and checked"),
        key(
            "shared",
            "bool",
            "false",
            "several customers may hold one, as a family holds a phone: it makes nobody the same",
        ),
        key(
            "bearer",
            "person, device",
            "person",
            "what has one: who shows that of a person is that person; who uses a device may change",
        ),
        key(
            "single",
            "bool",
            "false",
            "a person has at most one: who has two different ones is two people, who are never merged by an event",
        ),
        key(
            "people_max",
            "whole number >= 1",
            "5",
            "most people that one value may join over time; beyond it nobody is merged by it any more",
        ),
    ],
};

/// `events[]`.
pub static EVENT: Section = Section {
    name: "events[]",
    about: "Built in: see the table at the end. A built-in event takes `fields`, which are added to its own, and `client`; nothing else.",
    keys: &[
        ID,
        key("durable", "bool", "false", "acknowledged only once synced to disk"),
        key("conversion", "bool", "false", "counts as a conversion for the lift"),
        key("bought", "bool", "false", "its items were bought"),
        key(
            "client",
            "bool",
            "false; that of a built-in event",
            "whether a browser may send it, of its own visitor; never what is bought or a conversion",
        ),
        key("fields", "list", "empty", "what it says beside its amount, channel and items"),
        key(
            "open",
            "bool",
            "true without fields; else false",
            "what is given beside its fields is kept unchecked; else refused",
        ),
    ],
};

/// `events[].fields[]`.
pub static EVENT_FIELD: Section = Section {
    name: "events[].fields[]",
    about: "A typed field. `where` and `of` of traits read it as `e.NAME` and `NAME`.",
    keys: &[ID, TYPE, VALUES, RANGE, REQUIRED_FIELD, PII],
};

/// `records[]`.
pub static RECORDS: Section = Section {
    name: "records[]",
    about: "A bounded list of records that a person may have: accounts, subscriptions, cases. Conditions read the keys of its records as the set `p.NAME`, and walk over them: `p.cases.exists(c, c.state == 'open')`. An offer with `for_each: p.cases` is proposed for each record, and reads it as `r.state`.",
    keys: &[
        ID,
        key("fields", "list", REQUIRED, "what a record holds"),
        key("max", "1 to 64", "16", "most records that a person has; more are refused"),
        key("behavioural", "bool", "false", "masked without consent to profiling"),
    ],
};

/// `records[].fields[]`.
pub static RECORD_FIELD: Section = Section {
    name: "records[].fields[]",
    about: "A typed field.",
    keys: &[ID, TYPE, VALUES, RANGE, REQUIRED_FIELD, PII],
};

const REQUIRED_FIELD: KeySpec = key("required", "bool", "false", "it must be given");
const TYPE: KeySpec =
    key("type", "bool, int, double, string, enum, set<string>, set, timestamp, date, money", REQUIRED, "what it holds");
const VALUES: KeySpec = key("values", "list of text", "required for enum", "the members of an enum");
const DEFAULT: KeySpec = key("default", "a value of the type", NONE, "the value when there is none");
const RANGE: KeySpec = key("range", "[smallest, largest]", NONE, "bounds of an int, double or money");
const PII: KeySpec = key("pii", "bool", "false", "personally identifying");
const BEHAVIOURAL: KeySpec = key("behavioural", "bool", "false", "masked without consent to profiling");

/// `attributes[]`.
pub static ATTRIBUTE: Section = Section {
    name: "attributes[]",
    about: "Kept in the profile, read as `p.NAME`.",
    keys: &[
        ID,
        TYPE,
        VALUES,
        DEFAULT,
        RANGE,
        PII,
        BEHAVIOURAL,
        key(
            "assurance",
            "any, verified",
            "any",
            "`verified`: read only when the request's assurance is VERIFIED; else unknown, even with a default",
        ),
    ],
};

/// `context[]`.
pub static CONTEXT: Section = Section {
    name: "context[]",
    about: "Given with the request, read as `ctx.NAME`.",
    keys: &[
        ID,
        TYPE,
        VALUES,
        DEFAULT,
        RANGE,
        PII,
        BEHAVIOURAL,
        key("client", "bool", "false", "whether a browser may give it; else only a service"),
    ],
};

/// `traits[]`.
pub static TRAIT: Section = Section {
    name: "traits[]",
    about: "Computed from the profile and the time, read as `p.NAME`. Exactly one of the computations is given.",
    keys: &[
        ID,
        key("count", "event", NONE, "how many events (int)"),
        key("sum", "event", NONE, "sum of a field, of their amounts without `of`; 0 when none"),
        key(
            "mean",
            "event",
            NONE,
            "mean of a field, of their amounts without `of`; of ints a double; missing when none",
        ),
        key("avg", "event", NONE, "the same as `mean`"),
        key("min", "event", NONE, "the least of a field, of their amounts without `of`; missing when none"),
        key("max", "event", NONE, "the largest of a field, of their amounts without `of`; missing when none"),
        key("last", "event", NONE, "a field of the latest that has it; missing when none"),
        key("first", "event", NONE, "a field of the earliest that has it; missing when none"),
        key("distinct", "event", NONE, "how many different texts a field held, of the 32 seen last (int)"),
        key(
            "top",
            "event",
            NONE,
            "the text that a field held most often, of the 32 seen last; with `k` above 1 a set (missing, or empty, when none)",
        ),
        key("days_since", "event", NONE, "whole days since the latest (int; missing when none)"),
        key("days_since_first", "event", NONE, "whole days since the first (int; missing when none)"),
        key("sequence", "map", NONE, "whether one event was followed by another within a time (bool)"),
        key("abandoned", "map", NONE, "whether the latest event was left alone (bool)"),
        key(
            "model",
            "recency_score, frequency_score, monetary_score, alive_probability, expected_purchases",
            NONE,
            "what the analysis of the whole base says of the person: scores 1 to 5 (int), others double; missing before the first analysis and for who never bought",
        ),
        key(
            "open",
            "map",
            NONE,
            "whether more were opened than closed, or the latest was opened after the last closing (bool)",
        ),
        key("days_to_anniversary", "stored date", NONE, "days until its next anniversary, 0 today (int)"),
        key("days_since_contact", "true", NONE, "whole days since the latest contact (int; missing when none)"),
        key("items_bought", "true", NONE, "how many different items were bought, of those kept (int)"),
        key(
            "of",
            "field",
            "amount for sum, mean, min, max",
            "the field of the event: `amount`, `channel`, `item` (the first), `items`, `quantity` (pieces), or a declared one",
        ),
        key(
            "where",
            "condition",
            NONE,
            "only events for which it is true; reads the event alone: `e.amount`, `e.channel`, `e.NAME`",
        ),
        key(
            "window",
            "window",
            "lifetime",
            "the time it looks at: `90d` is today and the 89 days before, `24h` this hour and the 23 before; at most 400 of each; days begin at midnight in the time zone of the settings",
        ),
        key("k", "1 to 8", "1", "how many names `top` gives"),
        key("days", "1 to 730", "required for expected_purchases", "how far `expected_purchases` looks ahead"),
        key("pii", "bool", "false; that of the field", "personally identifying"),
        key(
            "behavioural",
            "bool",
            "true; false for open, days_to_anniversary, days_since_contact",
            "masked without consent to profiling",
        ),
        key(
            "assurance",
            "any, verified",
            "any; that of the stored date for days_to_anniversary",
            "`verified`: read only when the request's assurance is VERIFIED; else unknown",
        ),
    ],
};

/// `traits[].open`.
pub static OPEN: Section = Section {
    name: "traits[].open",
    about: "A pair of events.",
    keys: &[
        key("opened", "event", REQUIRED, "the opening event"),
        key("closed", "event", REQUIRED, "the closing event"),
    ],
};

/// `traits[].sequence`.
pub static SEQUENCE: Section = Section {
    name: "traits[].sequence",
    about: "One event and then another, of the latest 16 of each.",
    keys: &[
        key("first", "event", REQUIRED, "what comes first"),
        key("then", "event", REQUIRED, "what follows, later or at the same moment"),
        key("within", "duration", REQUIRED, "how soon it follows"),
        key("first_where", "condition", NONE, "only first events for which it is true"),
        key("then_where", "condition", NONE, "only following events for which it is true"),
    ],
};

/// `traits[].abandoned`.
pub static ABANDONED: Section = Section {
    name: "traits[].abandoned",
    about: "An event that nothing followed.",
    keys: &[
        key("event", "event", REQUIRED, "what was begun"),
        key("unless", "event", REQUIRED, "what would have finished it"),
        key("after", "duration", REQUIRED, "how long ago the latest must be"),
        key("within", "duration", "for ever", "how long ago the latest may be"),
        key("where", "condition", NONE, "only begun events for which it is true"),
        key("unless_where", "condition", NONE, "only finishing events for which it is true"),
    ],
};
