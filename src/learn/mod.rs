//! Outcomes and histories in, new artefacts out. Knows nothing of deciding.

mod base;
mod cohort;
mod lift;
mod matrix;
mod minimum;
mod rates;
mod repeat;
mod rfm;

pub use base::{BUYERS_MAX, BaseFound, Buyers};
pub use cohort::{Cohort, Cohorts, MONTHS_MAX, Month};
pub use lift::{Lift, lift};
pub use rates::response_rates;
pub use repeat::{FITTED_MIN, Fit, NoFit, Patterns, fit};
pub use rfm::quantiles;
