//! What is compared, and why.

use crate::{decide::Snapshot, domain::Timestamp};

/// Why two snapshots are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// The rules change. Eligibility is counted as if nothing were paused by a
    /// call, so that no change hides behind a pause: when it is lifted, what
    /// comes back was judged.
    Publish,
    /// A pause is lifted. What is paused is eligible for nobody, so that the
    /// numbers tell what comes back. Reach limits are not judged: the rules are
    /// those that serve, every change of theirs was judged when they were
    /// published, and a resume returns only what the pause took away.
    Resume,
}

/// Both sides of a publish.
#[derive(Clone, Copy)]
pub struct Sides<'a> {
    /// What serves.
    pub active: &'a Snapshot,
    /// What would.
    pub new: &'a Snapshot,
    /// The moment of every question.
    pub now: Timestamp,
    /// Why they are compared.
    pub occasion: Occasion,
}
