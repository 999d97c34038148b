//! Consistency tokens: the state that somebody saw, as text. Alone it is the
//! customer's version; where replicas share customers it says what the replica had
//! written and what it had of the others.

use crate::store::{ReplicaId, Seen};

/// The state that a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// At least this version of the customer.
    Version(u64),
    /// What a replica had.
    Seen(Seen),
}

/// The token of a version; empty without a customer.
pub fn of_version(version: Option<u64>) -> String {
    version.map_or_else(String::new, |v| format!("v{v}"))
}

/// The token of what a replica has.
pub fn of_seen(seen: &Seen) -> String {
    let Seen { replica: ReplicaId(replica), sequence, place: (ms, number) } = seen;
    format!("r{replica:x}-{sequence:x}-{ms:x}-{number:x}")
}

/// What a token names; `None` when it is not one of ours.
pub fn wanted(token: &str) -> Option<Wanted> {
    if let Some(version) = token.strip_prefix('v') {
        return version.parse().ok().map(Wanted::Version);
    }
    let mut parts = token.strip_prefix('r')?.split('-').map(|part| u64::from_str_radix(part, 16).ok());
    let mut next = || parts.next().flatten();
    let (replica, sequence, ms, number) = (next()?, next()?, next()?, next()?);
    Some(Wanted::Seen(Seen { replica: ReplicaId(replica), sequence, place: (ms, number) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_what_it_was_made_of() {
        let seen = Seen { replica: ReplicaId(u64::MAX), sequence: 17, place: (1_700_000_000_000, 3) };
        assert_eq!(wanted(&of_seen(&seen)), Some(Wanted::Seen(seen)));
        assert_eq!(wanted(&of_version(Some(12))), Some(Wanted::Version(12)));
        for wrong in ["", "x", "v", "vx", "r", "r1-2-3", "r1-2-3-x"] {
            assert_eq!(wanted(wrong), None, "{wrong}");
        }
    }
}
