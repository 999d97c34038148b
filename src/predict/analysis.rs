//! What a look at every customer found.

use crate::domain::{CustomerKey, Timestamp};

use super::BaseModel;

/// Most segments whose members are counted; those after them by name are left
/// out and told.
pub const SEGMENTS_COUNTED_MAX: usize = 256;
/// Most overlaps told, the largest first.
pub const OVERLAPS_TOLD_MAX: usize = 1_000;

/// What a look at every customer found.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Analysis {
    /// When it ended.
    pub at: Timestamp,
    /// How long it took, microseconds.
    pub elapsed_us: u64,
    /// Customers that were looked at.
    pub customers: u64,
    /// Of these, those who ever bought.
    pub buyers: u64,
    /// The segments, by name.
    pub segments: Vec<SegmentFound>,
    /// Pairs of segments that share customers, the largest first.
    pub overlaps: Vec<Overlap>,
    /// What decisions read of it.
    pub base: BaseModel,
    /// How the model of repeat purchase was fitted; `None` when it was not.
    pub fitted: Option<Fitted>,
    /// Why it was not, in words.
    pub no_model: Option<Box<str>>,
}

/// A segment and who is in it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SegmentFound {
    /// Its id.
    pub name: Box<str>,
    /// Customers in it.
    pub customers: u64,
    /// Who entered since the look before.
    pub entered: u64,
    /// Who left since the look before.
    pub left: u64,
}

/// Customers in two segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Overlap {
    /// Index of the one.
    pub one: u16,
    /// Index of the other.
    pub other: u16,
    /// Customers in both.
    pub customers: u64,
}

/// How a model was fitted.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Fitted {
    /// The standard errors of r, alpha, a, b, where the curvature tells them.
    pub standard_errors: Option<[f64; 4]>,
    /// The log-likelihood per customer, time in days.
    pub ln_likelihood: f64,
    /// The customers.
    pub customers: u64,
}

/// Segments that a customer entered and left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentsChanged {
    /// Who.
    pub customer: CustomerKey,
    /// Ids of the segments entered.
    pub entered: Vec<Box<str>>,
    /// Ids of the segments left.
    pub left: Vec<Box<str>>,
}
