//! Keys of policies and offers.

use super::keys::{KeySpec, NONE, REQUIRED, Section, key};

const ID: KeySpec = key("id", "id", REQUIRED, "its id");
const MAX: KeySpec = key("max", "whole number >= 1", REQUIRED, "the most contacts");
const WINDOW: KeySpec = key(
    "window",
    "duration, day, week, month",
    REQUIRED,
    "in this time: rolling, or calendar in the settings' time zone",
);
const EXACT: KeySpec = key("exact", "bool", "false", "never exceeded by one, over all replicas");
const WHEN_UNKNOWN: KeySpec = key(
    "when_unknown",
    "deny, local_share, allow",
    "deny on outbound channels, else local_share",
    "with `exact`, when the store that counts over all replicas does not answer in time: refuse, grant out of this \
     replica's share of what is left as far as it knows, or grant by what it knows",
);
const CHANNEL: KeySpec = key("channel", "channel", "any", "counts only this channel");
const CHANNEL_KIND: KeySpec =
    key("channel_kind", "self_service, assisted, outbound", "any", "counts only channels of this kind");

/// `policies`.
pub static POLICIES: Section = Section {
    name: "policies",
    about: "Stands once over all files.",
    keys: &[
        key("limits", "list", "empty", "contact limits"),
        key("suppress", "list", "empty", "what earlier outcomes suppress"),
        key("decline_reasons", "list", "empty", "declared reasons to decline"),
        key("holdout", "map", "off", "people held out of marketing, to measure its lift"),
        key("exploration", "map", "off", "decisions that explore"),
        key(
            "attribution",
            "duration",
            "14d",
            "how long after a presentation something that follows is its outcome; then `no_response`",
        ),
        key("propensity", "map", "see there", "how propensities are learned"),
        key(
            "wished_channel_weight",
            "number 1 to 100",
            "1.25",
            "a channel's preference is multiplied with it where the customer wishes the channel",
        ),
        key("reach", "map", "no limits", "how far one publish may change whom an offer reaches"),
    ],
};

/// `policies.limits[]`.
pub static LIMIT: Section = Section {
    name: "policies.limits[]",
    about: "At most so many contacts in a window.",
    keys: &[
        ID,
        key(
            "scope",
            "offer, record, group, issue, channel, all",
            REQUIRED,
            "what it counts by; `offer` is each offer by itself, `record` each record of an offer with `for_each`, and \
             for other offers the same as `offer`",
        ),
        CHANNEL,
        CHANNEL_KIND,
        key("purpose", "marketing, service", "any", "counts only this purpose"),
        key("group", "group", "any", "counts only this group"),
        MAX,
        WINDOW,
        EXACT,
        WHEN_UNKNOWN,
    ],
};

const AFTER: KeySpec = key("after", "outcome", REQUIRED, "after this outcome, for example impression, click, decline");
const REASON: KeySpec = key("reason", "decline reason", "any", "only declines with this reason");
const COUNT: KeySpec = key("count", "1 to 100", "1", "after so many of them within the time");
const SUPPRESS_SCOPE: KeySpec = key(
    "scope",
    "offer, record, group, issue, channel, all",
    "offer",
    "what is suppressed; `record` is the record of an offer with `for_each` that the outcome speaks of, and for other \
     offers the same as `offer`",
);
const FOR: KeySpec = key("for", "duration", REQUIRED, "for how long");

/// `policies.suppress[]`.
pub static SUPPRESS: Section = Section {
    name: "policies.suppress[]",
    about: "After such an outcome nothing of the scope for some time.",
    keys: &[AFTER, REASON, COUNT, SUPPRESS_SCOPE, FOR],
};

/// `policies.decline_reasons[]`.
pub static DECLINE_REASON: Section = Section {
    name: "policies.decline_reasons[]",
    about: "A declared reason to decline.",
    keys: &[ID, key("label", "map language: text", "its id", "what agents see")],
};

/// `policies.holdout`.
pub static HOLDOUT: Section = Section {
    name: "policies.holdout",
    about: "People held out of marketing.",
    keys: &[
        key("share", "number 0 to 1", REQUIRED, "share of people"),
        key("salt", "text", "holdout", "another salt draws other people"),
    ],
};

/// `policies.exploration`.
pub static EXPLORATION: Section = Section {
    name: "policies.exploration",
    about: "Decisions that choose evenly among the candidates, to learn.",
    keys: &[key("share", "number 0 to 1", REQUIRED, "share of decisions; 0 is off")],
};

/// `policies.propensity`.
pub static PROPENSITY: Section = Section {
    name: "policies.propensity",
    about: "How propensities are learned.",
    keys: &[key("prior_trials", "number > 0", "50", "trials that the base rate counts for")],
};

/// `policies.reach`.
pub static REACH: Section = Section {
    name: "policies.reach",
    about: "A publish under which an offer gains or loses more is refused, unless it is forced with a reason. Shares are of \
            a sample of real customers who pass the schedule, `paused` and the three conditions of the offer, judged \
            without the context of a request; the limits of the new rules count.",
    keys: &[
        key(
            "max_gain_share",
            "number 0 to 1",
            NONE,
            "share of the sampled people who may become eligible for an offer",
        ),
        key("max_loss_share", "number 0 to 1", NONE, "share of the sampled people who may no longer be eligible"),
        key("min_sample", "1 to 1000", "100", "with fewer people in the sample nothing is judged"),
        key("new_offers", "counted, exempt", "counted", "whether an offer that is new is judged by whom it reaches"),
        key(
            "removed_offers",
            "counted, exempt",
            "counted",
            "whether an offer that is removed is judged by whom it reached",
        ),
    ],
};

/// `offers[].reach`.
pub static OFFER_REACH: Section = Section {
    name: "offers[].reach",
    about: "How far one publish may change whom this offer reaches, instead of `policies.reach`.",
    keys: &[
        key("max_gain_share", "number 0 to 1", "that of the policies", "share of the sampled people it may gain"),
        key("max_loss_share", "number 0 to 1", "that of the policies", "share of the sampled people it may lose"),
    ],
};

/// `offers[]`.
pub static OFFER: Section = Section {
    name: "offers[]",
    about: "Something that may be proposed.",
    keys: &[
        ID,
        key("name", "text", "its id", "its name, for people"),
        key("purpose", "marketing, service", REQUIRED, "what it is for"),
        key("issue", "issue", REQUIRED, "what it is about"),
        key("group", "group", REQUIRED, "its group"),
        key(
            "for_each",
            "p.LIST",
            NONE,
            "proposed for each record of a declared list of the customer, for the first 16 by key of which its conditions are true: its texts read the record as `r.FIELD` and \
             `r.key`, and the answer names it",
        ),
        key("repeat", "bool", "false", "with `for_each`: a page may hold it for more than the best record"),
        key("paused", "bool", "false", "not proposed while true"),
        key("schedule", "map", "always", "when it runs"),
        key("eligibility", "condition", "everybody", "allowed"),
        key("applicability", "condition", "always", "relevant now"),
        key("suitability", "condition", "always", "in the customer's interest"),
        key("value", "number or expression, money", REQUIRED, "worth of a positive outcome, major units"),
        key("context_weight", "number or expression", "1", "weight of the context"),
        key("lever", "number >= 0", "1", "business lever, multiplied with the issue's"),
        key("floor", "number", "the issue's", "least net priority"),
        key("base_rate", "number 0 to 1", "the channel's", "prior probability of a positive outcome"),
        key(
            "attribution",
            "duration",
            "that of the policies",
            "how long after a presentation something that follows is its outcome; then `no_response`",
        ),
        key("limits", "list", "empty", "contact limits of this offer"),
        key("suppress", "list", "empty", "what outcomes of this offer suppress"),
        key("budget", "map", NONE, "the most presentations over all customers"),
        key("reach", "map", "that of the policies", "how far one publish may change whom it reaches"),
        key("placements", "list of placements", "empty", "the places it is meant for"),
        key("open", "bool", "true", "may answer open questions"),
        key("assurance", "any, verified", "any", "`verified`: only for requests with the assurance VERIFIED"),
        key("holdout", "included, exempt", "included; service is always exempt", "whether the holdout goes without"),
        key("reason", "map language: template", "empty", "why, in plain words, for agents"),
        key("labels", "map language: map", "empty", "labels of the buttons"),
        key("treatments", "map channel: map language: map", REQUIRED, "its content"),
        key("allow_lint", "list of finding code", "empty", "findings that are meant as they are"),
    ],
};

/// `offers[].schedule`.
pub static SCHEDULE: Section = Section {
    name: "offers[].schedule",
    about: "When the offer runs.",
    keys: &[
        key("from", "time", "ever", "runs from then on, inclusive"),
        key("until", "time", "ever", "runs until then, exclusive"),
    ],
};

/// `offers[].limits[]`.
pub static OFFER_LIMIT: Section = Section {
    name: "offers[].limits[]",
    about: "At most so many contacts of this offer with one customer.",
    keys: &[
        key(
            "scope",
            "offer, record",
            "offer",
            "`record` counts each record of an offer with `for_each` by itself, and for other offers the same as `offer`",
        ),
        CHANNEL,
        CHANNEL_KIND,
        MAX,
        WINDOW,
        EXACT,
        WHEN_UNKNOWN,
    ],
};

/// `offers[].suppress[]`.
pub static OFFER_SUPPRESS: Section = Section {
    name: "offers[].suppress[]",
    about: "After such an outcome of this offer nothing of the scope for some time.",
    keys: &[AFTER, REASON, COUNT, SUPPRESS_SCOPE, FOR],
};

/// `offers[].budget`.
pub static BUDGET: Section = Section {
    name: "offers[].budget",
    about: "The most presentations over all customers.",
    keys: &[
        key("max", "whole number >= 1", REQUIRED, "the most presentations"),
        WINDOW,
        EXACT,
        key(
            "when_unknown",
            "deny, local_share, allow",
            "deny",
            "with `exact`, when the store that counts over all replicas does not answer in time: refuse, grant out of \
             this replica's share of what was left, or grant",
        ),
    ],
};

/// `offers[].labels.LANGUAGE`.
pub static LABELS: Section = Section {
    name: "offers[].labels.LANGUAGE",
    about: "Labels of the buttons in one language.",
    keys: &[
        key("accept", "text", "empty", "the accepting button"),
        key("decline", "text", "empty", "the declining button"),
    ],
};

/// `offers[].treatments.CHANNEL.LANGUAGE`.
pub static TREATMENT: Section = Section {
    name: "offers[].treatments.CHANNEL.LANGUAGE",
    about: "The offer for one channel and language. The default language is required for every channel used.",
    keys: &[
        key("subject", "template", "empty", "subject line"),
        key("text", "template", "empty", "plain text"),
        key("html", "template", "empty", "HTML; values are always escaped"),
        key("talk_track", "template", "empty", "what an agent says"),
        key("data", "map field: template, number, bool or `link:NAME`", "empty", "fields the placements declare"),
        key("image", "URL", "empty", "absolute http or https"),
        key("links", "map name: URL", "empty", "traceable links, absolute http or https; the first is the main one"),
    ],
};
