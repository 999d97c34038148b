//! What each route of [`crate::http::ROUTES`] carries: the one table that ties
//! routes to calls.

/// What a route carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// JSON of the call's request in, JSON of its answer out.
    Call(&'static str),
    /// The same, also from a browser: with a publishable key, as `text/plain`.
    BrowserCall(&'static str),
    /// JSON of the call's request in, a line of JSON out for each answer.
    Stream(&'static str),
    /// Lines of JSON of a message in, which is named; a line of JSON out for each
    /// answer of the call.
    Lines(&'static str, &'static str),
    /// The fields of the call's request in the query, JSON of its answer out.
    Look(&'static str),
    /// A link that people follow.
    Link,
    /// Something to read: its content type, and what it is.
    File(&'static str, &'static str),
}

/// Every route: method, path, what it carries. Calls are `Service/Method`.
pub const OPERATIONS: [(&str, &str, Operation); 37] = {
    use Operation::{BrowserCall, Call, File, Lines, Link, Look, Stream};
    [
        ("POST", "/v1/decide", BrowserCall("DecisionService/Decide")),
        ("POST", "/v1/respond", Call("DecisionService/Respond")),
        ("POST", "/v1/explain", Call("DecisionService/Explain")),
        ("POST", "/v1/events", BrowserCall("EventService/Record")),
        ("POST", "/v1/events:stream", Lines("EventService/RecordStream", "Event")),
        ("POST", "/v1/events:subscribe", Stream("EventService/Subscribe")),
        ("POST", "/v1/customers:timeline", Call("CustomerService/ListTimeline")),
        ("POST", "/v1/customers:merge", Call("CustomerService/MergeCustomers")),
        ("POST", "/v1/customers:merges", Call("CustomerService/ListMerges")),
        ("POST", "/v1/customers:undoMerge", Call("CustomerService/UndoMerge")),
        ("POST", "/v1/customers:erase", Call("CustomerService/EraseCustomer")),
        ("POST", "/v1/customers:export", Call("CustomerService/ExportCustomer")),
        ("GET", "/v1/analysis", Look("AnalysisService/GetAnalysis")),
        ("POST", "/v1/customers:get", Call("CustomerService/GetCustomer")),
        ("POST", "/v1/customers:upsert", Call("CustomerService/UpsertCustomer")),
        ("POST", "/v1/customers:doNotContact", Call("CustomerService/SetDoNotContact")),
        ("POST", "/v1/customers:lookup", Call("CustomerService/Lookup")),
        ("POST", "/v1/customers:watch", Stream("CustomerService/WatchCustomer")),
        ("GET", "/v1/ruleset:active", Look("RulesetService/GetActiveRevision")),
        ("GET", "/v1/offers", Look("RulesetService/ListOffers")),
        ("GET", "/v1/report", Look("RulesetService/GetReport")),
        ("POST", "/v1/pauses:pause", Call("RulesetService/Pause")),
        ("POST", "/v1/pauses:resume", Call("RulesetService/Resume")),
        ("GET", "/v1/pauses", Look("RulesetService/ListPauses")),
        ("POST", "/v1/revisions:validate", Call("RulesetService/ValidateRevision")),
        ("POST", "/v1/revisions:reach", Call("RulesetService/EvaluateReach")),
        ("POST", "/v1/revisions:publish", Call("RulesetService/PublishRevision")),
        ("POST", "/v1/revisions:rollback", Call("RulesetService/RollbackRevision")),
        ("GET", "/v1/revisions", Look("RulesetService/ListRevisions")),
        ("POST", "/v1/revisions:get", Call("RulesetService/GetRevision")),
        ("POST", "/v1/revisions:diff", Call("RulesetService/DiffRevisions")),
        ("GET", "/v1/audit", Look("RulesetService/ListAudit")),
        ("GET", "/c/{token}", Link),
        ("GET", "/", File("text/plain", "The routes there are.")),
        ("GET", "/openapi.json", File("application/json", "This document.")),
        ("GET", "/rapport.js", File("text/javascript", "The script for web pages.")),
        ("GET", "/rapport.d.ts", File("text/plain", "The types of the script for web pages.")),
    ]
};

impl Operation {
    /// What a route carries; `None` for one that is not in the table.
    pub fn of(method: &str, path: &str) -> Option<Self> {
        OPERATIONS.iter().find(|entry| (entry.0, entry.1) == (method, path)).map(|entry| entry.2)
    }

    /// Its call, as `Service/Method`.
    pub fn call(self) -> Option<&'static str> {
        match self {
            Operation::Call(name)
            | Operation::BrowserCall(name)
            | Operation::Stream(name)
            | Operation::Lines(name, _)
            | Operation::Look(name) => Some(name),
            Operation::Link | Operation::File(..) => None,
        }
    }
}
