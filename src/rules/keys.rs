//! Every key of the rule files, in one table per map. The parser refuses keys
//! that are not here, and the reference is written from it.

pub use super::keys_schema::*;

/// A map of the rule language.
#[derive(Debug)]
pub struct Section {
    /// Where it stands: `offers[]`.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Its keys.
    pub keys: &'static [KeySpec],
}

/// One key.
#[derive(Debug)]
pub struct KeySpec {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub holds: &'static str,
    /// What counts without it; [`REQUIRED`] when it must be given.
    pub default: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

impl Section {
    /// The names of its keys.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }
}

impl KeySpec {
    /// Whether it must be given.
    pub fn is_required(&self) -> bool {
        self.default == REQUIRED
    }
}

/// Instead of a default: the key must be given.
pub const REQUIRED: &str = "required";
/// Instead of a default: without the key there is none.
pub const NONE: &str = "none";

pub(super) const fn key(
    name: &'static str,
    holds: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> KeySpec {
    KeySpec { name, holds, default, meaning }
}

pub(super) const ID: KeySpec = key("id", "id", REQUIRED, "its id");

/// The top level of a file.
pub static ROOT: Section = Section {
    name: "top level",
    about: "Every file may hold any of these. Lists are concatenated over all files; `settings` and `policies` stand once over all files.",
    keys: &[
        key("settings", "map", "required once", "currency, language, time zone"),
        key("identities", "list", "built in", "identity types beside the built-in ones"),
        key("events", "list", "built in", "event types beside the built-in ones"),
        key("records", "list", "empty", "lists of records that a person may have"),
        key("attributes", "list", "empty", "stored attributes, read as `p.NAME`"),
        key("context", "list", "empty", "attributes of the request, read as `ctx.NAME`"),
        key("traits", "list", "empty", "computed attributes, read as `p.NAME`"),
        key("segments", "list", "empty", "named conditions, read as `seg.NAME`"),
        key("macros", "list", "empty", "named expressions, read as `macro.NAME`"),
        key("channels", "list", "empty", "ways to reach a person"),
        key("placements", "list", "empty", "named places that ask"),
        key("issues", "list", "empty", "what offers are about"),
        key("groups", "list", "empty", "groups of offers"),
        key("policies", "map", NONE, "limits, suppressions, decline reasons, holdout, exploration"),
        key("offers", "list", "empty", "what may be proposed"),
        key("scenarios", "list", "empty", "golden scenarios, run before a ruleset is published"),
    ],
};

/// `settings`.
pub static SETTINGS: Section = Section {
    name: "settings",
    about: "Stands once over all files.",
    keys: &[
        key("currency", "ISO 4217 code", REQUIRED, "the one currency of all money"),
        key("default_language", "language tag", "en", "the language of last resort"),
        key("time_zone", "IANA time zone", "UTC", "the time zone of last resort, and of calendar windows"),
        key("language_attribute", "stored attribute (string, enum)", NONE, "holds the customer's language"),
        key(
            "time_zone_attribute",
            "stored attribute (string, enum)",
            NONE,
            "holds the customer's time zone: `Europe/London`",
        ),
    ],
};

/// `segments[]`.
pub static SEGMENT: Section = Section {
    name: "segments[]",
    about: "May use other segments, but not itself.",
    keys: &[ID, key("when", "condition", REQUIRED, "who is in it")],
};

/// `macros[]`.
pub static MACRO: Section = Section {
    name: "macros[]",
    about: "An expression of any type, or a list of literals; put in where it is named. May use segments and other macros, but not itself.",
    keys: &[ID, key("expression", "expression", REQUIRED, "what stands for its name")],
};

/// `channels[]`.
pub static CHANNEL: Section = Section {
    name: "channels[]",
    about: "A way to reach a person.",
    keys: &[
        ID,
        key("kind", "self_service, assisted, outbound", REQUIRED, "who opens the conversation"),
        key("cost", "money >= 0", "0", "what one contact costs"),
        key("base_rate", "number 0 to 1", "0.05", "prior probability of a positive outcome"),
        key(
            "address",
            "stored attribute (string)",
            NONE,
            "must be present to reach the person; an e-mail address or a phone number where it or the channel is named as such an identity type",
        ),
        key("require", "list of subject, text, html, talk_track", "empty", "message parts every treatment must give"),
        key("escape", "none, html", "none", "how values are escaped in subject, text and talk track; html always is"),
        key("counts_on", "decided, handoff, impression", "impression; handoff for outbound", "what makes a contact"),
        key(
            "reserve_for",
            "duration",
            "30m; 2h assisted, 24h outbound",
            "how long a decided presentation holds its place in limits",
        ),
        key("valid_for", "duration", "as reserve_for", "how long a presentation stays valid"),
        key("send_within", "duration", "48h", "how long after the decision of an open question it may be sent"),
        key("quiet_hours", "map", NONE, "local hours in which nobody is contacted"),
        key("preference", "stored attribute (double)", NONE, "the customer's preference, 1 is neutral"),
        key("permission", "map", "by kind", "what each purpose needs"),
    ],
};

/// `channels[].quiet_hours`.
pub static QUIET_HOURS: Section = Section {
    name: "channels[].quiet_hours",
    about: "Local time of the customer; may span midnight.",
    keys: &[
        key("from", "HH:MM", REQUIRED, "when they begin"),
        key("until", "HH:MM", REQUIRED, "when they end"),
        key("when", "wait, drop", "wait", "whether an open question may wait for their end"),
    ],
};

/// `channels[].permission`.
pub static PERMISSION: Section = Section {
    name: "channels[].permission",
    about: "Each is nothing, no_opt_out or opt_in.",
    keys: &[
        key("marketing", "permission", "nothing; opt_in for outbound", "what marketing needs"),
        key("service", "permission", "nothing; no_opt_out for outbound", "what service needs"),
    ],
};

/// `placements[]`.
pub static PLACEMENT: Section = Section {
    name: "placements[]",
    about: "A named place that asks.",
    keys: &[
        ID,
        key("channel", "channel", REQUIRED, "its channel"),
        key("slots", "1 to 100", "1", "the most presentations"),
        key("data", "list", "empty", "typed fields it shows"),
        key("fallback", "map field: value", NONE, "content when nothing can be decided"),
    ],
};

/// `placements[].data[]`.
pub static DATA_FIELD: Section = Section {
    name: "placements[].data[]",
    about: "A typed field.",
    keys: &[
        ID,
        key("type", "text, number, bool, url", "text", "what it holds"),
        key("required", "bool", "false", "whether every treatment must give it"),
    ],
};

/// `issues[]`.
pub static ISSUE: Section = Section {
    name: "issues[]",
    about: "What offers are about.",
    keys: &[
        ID,
        key("floor", "number", NONE, "least net priority of its offers"),
        key("lever", "number >= 0", "1", "business lever of its offers"),
    ],
};

/// `groups[]`.
pub static GROUP: Section = Section { name: "groups[]", about: "A group of offers.", keys: &[ID] };

/// Every section, in the order of the reference.
pub static SECTIONS: &[&Section] = &[
    &ROOT,
    &SETTINGS,
    &IDENTITY,
    &EVENT,
    &EVENT_FIELD,
    &RECORDS,
    &RECORD_FIELD,
    &ATTRIBUTE,
    &CONTEXT,
    &TRAIT,
    &OPEN,
    &SEQUENCE,
    &ABANDONED,
    &SEGMENT,
    &MACRO,
    &CHANNEL,
    &QUIET_HOURS,
    &PERMISSION,
    &PLACEMENT,
    &DATA_FIELD,
    &ISSUE,
    &GROUP,
    &super::keys_offers::POLICIES,
    &super::keys_offers::LIMIT,
    &super::keys_offers::SUPPRESS,
    &super::keys_offers::DECLINE_REASON,
    &super::keys_offers::HOLDOUT,
    &super::keys_offers::EXPLORATION,
    &super::keys_offers::PROPENSITY,
    &super::keys_offers::REACH,
    &super::keys_offers::OFFER,
    &super::keys_offers::SCHEDULE,
    &super::keys_offers::OFFER_LIMIT,
    &super::keys_offers::OFFER_SUPPRESS,
    &super::keys_offers::BUDGET,
    &super::keys_offers::OFFER_REACH,
    &super::keys_offers::LABELS,
    &super::keys_offers::TREATMENT,
    &super::keys_scenarios::SCENARIO,
    &super::keys_scenarios::PROFILE,
    &super::keys_scenarios::PAST_EVENT,
    &super::keys_scenarios::PROFILE_RECORD,
    &super::keys_scenarios::INTERACTION,
    &super::keys_scenarios::CONSENT,
    &super::keys_scenarios::REQUEST,
    &super::keys_scenarios::PLACEMENT_ASK,
    &super::keys_scenarios::SEND_WINDOW,
    &super::keys_scenarios::PAGE_CONSENT,
    &super::keys_scenarios::EXPECTATION,
];
