//! Keys of golden scenarios.

use super::keys::{KeySpec, NONE, REQUIRED, Section, key};

const TIME: KeySpec = key("time", "time", "one of time, ago", "when");
const AGO: KeySpec = key("ago", "duration", "one of time, ago", "how long before `now`");

/// `scenarios[]`.
pub static SCENARIO: Section = Section {
    name: "scenarios[]",
    about: "A profile, a question, and what must come out. Exploration is off.",
    keys: &[
        key("name", "text", REQUIRED, "its name"),
        key("now", "time", REQUIRED, "the moment of the decision"),
        key("profile", "map", "an anonymous visitor", "the customer"),
        key("request", "map", "an open question", "the question"),
        key("exhausted", "list of offers", "empty", "offers whose budget counts as spent"),
        key("refused", "list of offers", "empty", "offers whose claim counts as refused"),
        key("expect", "list", REQUIRED, "what must come out"),
    ],
};

/// `scenarios[].profile`.
pub static PROFILE: Section = Section {
    name: "scenarios[].profile",
    about: "The customer.",
    keys: &[
        key("attributes", "map attribute: value", "empty", "stored attributes"),
        key("events", "list", "empty", "what the customer did"),
        key("records", "list", "empty", "records that the customer has"),
        key("interactions", "list", "empty", "contacts, and what followed"),
        key("consents", "list", "empty", "what the person said"),
        key("do_not_contact", "bool", "false", "every contact is forbidden"),
        key("holdout", "bool", "false", "whether the person is in the holdout"),
    ],
};

/// `scenarios[].profile.events[]`.
pub static PAST_EVENT: Section = Section {
    name: "scenarios[].profile.events[]",
    about: "Something the customer did.",
    keys: &[
        key("type", "event", REQUIRED, "what"),
        TIME,
        AGO,
        key("amount", "money", "0", "total amount"),
        key("items", "list of item ids", "empty", "items touched"),
        key("channel", "channel", NONE, "where"),
        key("fields", "map field: value", "empty", "its declared fields"),
    ],
};

/// `scenarios[].profile.records[]`.
pub static PROFILE_RECORD: Section = Section {
    name: "scenarios[].profile.records[]",
    about: "A record of a declared list.",
    keys: &[
        key("list", "declared list", REQUIRED, "of which list"),
        key("key", "text", REQUIRED, "what names it within its list"),
        key("fields", "map field: value", "empty", "what it holds"),
    ],
};

/// `scenarios[].profile.interactions[]`.
pub static INTERACTION: Section = Section {
    name: "scenarios[].profile.interactions[]",
    about: "A contact, and what followed.",
    keys: &[
        key("offer", "offer", REQUIRED, "of what"),
        key("record", "text", NONE, "of an offer with `for_each`: the key of the record"),
        key("channel", "channel", REQUIRED, "where"),
        TIME,
        AGO,
        key("outcomes", "list of outcomes", REQUIRED, "what followed"),
        key("reason", "decline reason", NONE, "why it was declined"),
    ],
};

/// `scenarios[].profile.consents[]`.
pub static CONSENT: Section = Section {
    name: "scenarios[].profile.consents[]",
    about: "What the person said.",
    keys: &[
        key("purpose", "marketing, service, profiling", REQUIRED, "what for"),
        key("channel", "channel", "all channels", "on which channel"),
        key("permission", "granted, denied", REQUIRED, "yes or no"),
    ],
};

/// `scenarios[].request`.
pub static REQUEST: Section = Section {
    name: "scenarios[].request",
    about: "The question.",
    keys: &[
        key("placements", "list of placements or maps", "an open question", "the places that ask"),
        key("allowed_channels", "list of channels", "all", "channels that may be used"),
        key("purpose", "marketing, service", "any", "only this purpose"),
        key(
            "assurance",
            "anonymous, claimed, verified",
            "verified with a profile, else anonymous",
            "how sure it is who asks",
        ),
        key("send_window", "map", "always", "for an open question: when the caller can send"),
        key("context", "map attribute: value", "empty", "context attributes"),
        key("assume", "map trait: value", "empty", "traits taken to be so, whatever the profile says"),
        key("page_consent", "map", "empty", "the page's own consent"),
        key("exclude_offers", "list of offers", "empty", "offers not to return"),
        key("languages", "list of language tags", "empty", "languages the person reads, best first"),
    ],
};

/// `scenarios[].request.placements[]`, as a map.
pub static PLACEMENT_ASK: Section = Section {
    name: "scenarios[].request.placements[]",
    about: "A placement's id, or this map.",
    keys: &[
        key("placement", "placement", REQUIRED, "which"),
        key("count", "1 to 100", "the placement's slots", "the most presentations"),
    ],
};

/// `scenarios[].request.send_window`.
pub static SEND_WINDOW: Section = Section {
    name: "scenarios[].request.send_window",
    about: "When the caller can send.",
    keys: &[key("from", "time", "now", "from then on"), key("until", "time", "ever", "until then")],
};

/// `scenarios[].request.page_consent`.
pub static PAGE_CONSENT: Section = Section {
    name: "scenarios[].request.page_consent",
    about: "Can only narrow the stored consent.",
    keys: &[
        key("profiling", "granted, denied", "unknown", "whether behaviour may influence the choice"),
        key("marketing", "granted, denied", "unknown", "whether marketing may be sent"),
    ],
};

/// `scenarios[].expect[]`.
pub static EXPECTATION: Section = Section {
    name: "scenarios[].expect[]",
    about: "Exactly one of `winners`, `dropped`, `silent`, `contains`.",
    keys: &[
        key("placement", "placement, or empty text", "the open question", "for `winners` and `silent`: where"),
        key("winners", "list of `offer` or `offer/channel`", NONE, "what wins, in order"),
        key("dropped", "offer", NONE, "an offer that is dropped"),
        key("channel", "channel", "every channel", "for `dropped`: on this channel"),
        key("reason", "reason", NONE, "for `dropped`: why"),
        key("silent", "silence reason", NONE, "nothing is said, for this reason"),
        key("offer", "offer", NONE, "for `contains`: the winner"),
        key("contains", "text", NONE, "stands in the winner's rendered content"),
    ],
};
