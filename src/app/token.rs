//! Consistency tokens: the version of a customer's state, as text.

/// The token of a version; empty without a customer.
pub fn of_version(version: Option<u64>) -> String {
    version.map_or_else(String::new, |v| format!("v{v}"))
}

/// The version in a token; `None` when it is not one of ours.
pub fn version_of(token: &str) -> Option<u64> {
    token.strip_prefix('v')?.parse().ok()
}
