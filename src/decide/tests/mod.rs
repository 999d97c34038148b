//! Tests of the pipeline.

pub(super) mod build;
mod cases;
mod chance;
mod each;
mod pauses;
mod profiling;
mod properties;
mod random;
mod reference;
mod scenarios;
mod visitors;
mod wishes;
