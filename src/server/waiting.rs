//! A replica that has not met the shared store yet: it answers questions from
//! the rules, and refuses whatever would have to be kept.

use tonic::{Code, Status};

use crate::grpc::status::with_info;

/// What is answered meanwhile: what keeps nothing, and needs nobody's data.
const ANSWERED: [&str; 11] = [
    "/rapport.v1.DecisionService/Decide",
    "/rapport.v1.DecisionService/DecideStream",
    "/rapport.v1.RulesetService/GetActiveRevision",
    "/v1/decide",
    "/v1/ruleset:active",
    "/",
    "/openapi.json",
    "/rapport.js",
    "/rapport.d.ts",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
];
/// What begins so is answered as well.
const ANSWERED_BELOW: [&str; 1] = ["/grpc.reflection."];

/// # Errors
/// The path leads to what would have to be kept, or to what is kept elsewhere.
pub fn check(path: &str) -> Result<(), Status> {
    if ANSWERED.contains(&path) || ANSWERED_BELOW.iter().any(|prefix| path.starts_with(prefix)) {
        return Ok(());
    }
    let message = "this replica has not met the shared store yet: it answers decisions from the rules only and keeps \
                   nothing; send it again, or to another replica";
    Err(with_info(Code::Unavailable, "NOT_JOINED", message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::roles::TABLE;

    #[test]
    fn only_what_keeps_nothing_is_answered() {
        for path in ANSWERED {
            assert!(TABLE.iter().any(|(entry, _)| *entry == path), "{path}");
            assert!(check(path).is_ok());
        }
        for path in
            ["/v1/events", "/c/x", "/rapport.v1.CustomerService/UpsertCustomer", "/v1/pauses:pause", "/v1/respond"]
        {
            let refused = check(path).unwrap_err();
            assert_eq!(refused.code(), Code::Unavailable);
            assert!(refused.message().contains("has not met the shared store yet"));
        }
    }
}
