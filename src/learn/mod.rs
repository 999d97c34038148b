//! Outcomes in, new artefacts out. Knows nothing of deciding.

mod lift;
mod rates;

pub use lift::{Lift, lift};
pub use rates::response_rates;
