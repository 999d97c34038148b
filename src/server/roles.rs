//! Who may call what: one table for both transports.

/// What a key may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// No key is needed.
    Public,
    /// Call [`FOR_BROWSERS`] from a page; everybody can read such a key. No
    /// path needs it.
    Browser,
    /// Ask for decisions.
    Decide,
    /// Answer, record, read and write customers.
    Record,
    /// Everything.
    Admin,
}

impl Role {
    /// From its name in the file of keys.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "browser" => Some(Role::Browser),
            "decide" => Some(Role::Decide),
            "record" => Some(Role::Record),
            "admin" => Some(Role::Admin),
            _ => None,
        }
    }
}

/// Path, or prefix that ends in `/`, and the role it needs.
pub const TABLE: &[(&str, Role)] = &[
    ("/rapport.v1.DecisionService/Decide", Role::Decide),
    ("/rapport.v1.DecisionService/DecideStream", Role::Decide),
    ("/rapport.v1.DecisionService/Respond", Role::Record),
    ("/rapport.v1.DecisionService/Explain", Role::Record),
    ("/rapport.v1.DecisionService/ExportDecisions", Role::Admin),
    ("/rapport.v1.EventService/Record", Role::Record),
    ("/rapport.v1.EventService/RecordStream", Role::Record),
    ("/rapport.v1.EventService/Subscribe", Role::Admin),
    ("/rapport.v1.CustomerService/ListTimeline", Role::Record),
    ("/rapport.v1.CustomerService/MergeCustomers", Role::Admin),
    ("/rapport.v1.CustomerService/ListMerges", Role::Record),
    ("/rapport.v1.CustomerService/UndoMerge", Role::Admin),
    ("/rapport.v1.CustomerService/EraseCustomer", Role::Admin),
    ("/rapport.v1.CustomerService/ExportCustomer", Role::Admin),
    ("/rapport.v1.AnalysisService/GetAnalysis", Role::Admin),
    ("/rapport.v1.CustomerService/GetCustomer", Role::Record),
    ("/rapport.v1.CustomerService/UpsertCustomer", Role::Record),
    ("/rapport.v1.CustomerService/SetDoNotContact", Role::Record),
    ("/rapport.v1.CustomerService/Lookup", Role::Record),
    ("/rapport.v1.CustomerService/WatchCustomer", Role::Record),
    ("/rapport.v1.RulesetService/GetActiveRevision", Role::Decide),
    ("/rapport.v1.RulesetService/ListOffers", Role::Record),
    ("/rapport.v1.RulesetService/GetReport", Role::Admin),
    ("/rapport.v1.RulesetService/Pause", Role::Admin),
    ("/rapport.v1.RulesetService/Resume", Role::Admin),
    ("/rapport.v1.RulesetService/ListPauses", Role::Record),
    ("/rapport.v1.RulesetService/ValidateRevision", Role::Admin),
    ("/rapport.v1.RulesetService/EvaluateReach", Role::Admin),
    ("/rapport.v1.RulesetService/PublishRevision", Role::Admin),
    ("/rapport.v1.RulesetService/RollbackRevision", Role::Admin),
    ("/rapport.v1.RulesetService/ListRevisions", Role::Admin),
    ("/rapport.v1.RulesetService/GetRevision", Role::Admin),
    ("/rapport.v1.RulesetService/DiffRevisions", Role::Admin),
    ("/rapport.v1.RulesetService/ListAudit", Role::Admin),
    ("/v1/decide", Role::Decide),
    ("/v1/respond", Role::Record),
    ("/v1/explain", Role::Record),
    ("/v1/events", Role::Record),
    ("/v1/events:stream", Role::Record),
    ("/v1/events:subscribe", Role::Admin),
    ("/v1/customers:timeline", Role::Record),
    ("/v1/customers:merge", Role::Admin),
    ("/v1/customers:merges", Role::Record),
    ("/v1/customers:undoMerge", Role::Admin),
    ("/v1/customers:erase", Role::Admin),
    ("/v1/customers:export", Role::Admin),
    ("/v1/analysis", Role::Admin),
    ("/v1/customers:get", Role::Record),
    ("/v1/customers:upsert", Role::Record),
    ("/v1/customers:doNotContact", Role::Record),
    ("/v1/customers:lookup", Role::Record),
    ("/v1/customers:watch", Role::Record),
    ("/v1/ruleset:active", Role::Decide),
    ("/v1/offers", Role::Record),
    ("/v1/report", Role::Admin),
    ("/v1/pauses:pause", Role::Admin),
    ("/v1/pauses:resume", Role::Admin),
    ("/v1/pauses", Role::Record),
    ("/v1/revisions:validate", Role::Admin),
    ("/v1/revisions:reach", Role::Admin),
    ("/v1/revisions:publish", Role::Admin),
    ("/v1/revisions:rollback", Role::Admin),
    ("/v1/revisions", Role::Admin),
    ("/v1/revisions:get", Role::Admin),
    ("/v1/revisions:diff", Role::Admin),
    ("/v1/audit", Role::Admin),
    ("/", Role::Public),
    ("/openapi.json", Role::Public),
    ("/c/", Role::Public),
    ("/rapport.js", Role::Public),
    ("/rapport.d.ts", Role::Public),
    ("/demo", Role::Public),
    ("/demo/", Role::Public),
    ("/grpc.health.v1.Health/Check", Role::Public),
    ("/grpc.health.v1.Health/Watch", Role::Public),
    ("/grpc.reflection.v1.ServerReflection/", Role::Decide),
    ("/grpc.reflection.v1alpha.ServerReflection/", Role::Decide),
];

/// What pages may call, with what a browser may say; nothing else is theirs.
pub const FOR_BROWSERS: [&str; 4] =
    [crate::grpc::unary::DECIDE, "/rapport.v1.EventService/Record", "/v1/decide", "/v1/events"];

/// Whether pages may call a path.
pub fn is_for_browsers(path: &str) -> bool {
    FOR_BROWSERS.contains(&path)
}

/// The role a path needs; [`Role::Admin`] for a path that is not in the table.
pub fn role_of(path: &str) -> Role {
    let fits = |entry: &str| entry == path || (entry.len() > 1 && entry.ends_with('/') && path.starts_with(entry));
    TABLE.iter().find(|(entry, _)| fits(entry)).map_or(Role::Admin, |(_, role)| *role)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[derive(Clone, PartialEq, Message)]
    struct FileSet {
        #[prost(message, repeated, tag = "1")]
        files: Vec<File>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct File {
        #[prost(string, tag = "2")]
        package: String,
        #[prost(message, repeated, tag = "6")]
        services: Vec<Service>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Service {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(message, repeated, tag = "2")]
        methods: Vec<Method>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Method {
        #[prost(string, tag = "1")]
        name: String,
    }

    fn listed(path: &str) -> bool {
        TABLE.iter().any(|(entry, _)| *entry == path)
    }

    #[test]
    fn every_call_of_both_transports_is_in_the_table() {
        let set = FileSet::decode(crate::proto::DESCRIPTORS).unwrap();
        let mut calls = 0;
        for file in &set.files {
            for service in &file.services {
                for method in &service.methods {
                    let path = format!("/{}.{}/{}", file.package, service.name, method.name);
                    assert!(listed(&path), "{path} has no role");
                    calls += 1;
                }
            }
        }
        assert_eq!(calls, 34);
        for (_, path) in crate::http::ROUTES {
            assert!(listed(path.trim_end_matches("{token}")), "{path} has no role");
        }
        assert!(FOR_BROWSERS.into_iter().all(listed));
        assert!(TABLE.iter().all(|(_, role)| *role != Role::Browser), "pages call what `FOR_BROWSERS` lists");
    }

    #[test]
    fn an_unknown_path_needs_admin() {
        assert_eq!(role_of("/"), Role::Public);
        assert_eq!(role_of("/c/abc"), Role::Public);
        assert_eq!(role_of("/v1/decide"), Role::Decide);
        assert_eq!(role_of("/v1/decide/"), Role::Admin);
        assert_eq!(role_of("/rapport.v1.DecisionService/Erase"), Role::Admin);
        assert!(Role::Browser < Role::Decide && Role::Decide < Role::Record && Role::Record < Role::Admin);
    }
}
