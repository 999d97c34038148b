//! Nouns to bytes and back: compact, versioned, never panicking on any bytes.
//!
//! Every encoding starts with a version byte. Numbers are LEB128 varints,
//! signed ones zigzag; ids are fixed width; texts and lists carry their length.

mod analysis;
mod bytes;
mod decision;
mod event;
mod parts;
mod profile;
mod publishing;
mod request;
mod rule_files;
mod series;
mod tallies;
mod wishes;

#[cfg(test)]
pub(super) mod samples;
#[cfg(test)]
mod samples_decision;
#[cfg(test)]
mod tests;

pub use analysis::{
    decode_analysis, decode_base, decode_names_of_segments, decode_segments, encode_analysis, encode_base,
    encode_names_of_segments, encode_segments,
};
pub use bytes::{Reader, Writer};
pub use decision::{DecodedDecision, decode_decision, encode_decision_personal, encode_decision_public};
pub use event::{decode_event, encode_event};
pub use profile::{decode_profile, encode_profile};
pub use publishing::{
    decode_activation, decode_audit, decode_pausable, decode_pauses, decode_revision, encode_activation, encode_audit,
    encode_pausable, encode_pauses, encode_revision,
};
pub use rule_files::{decode_rule_files, encode_rule_files};
pub use tallies::{TalliesDelta, decode_tallies, decode_tallies_delta, encode_tallies, encode_tallies_delta};
