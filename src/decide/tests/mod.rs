//! Tests of the pipeline.

mod build;
mod cases;
mod chance;
mod pauses;
mod properties;
mod random;
mod reference;
mod scenarios;
mod visitors;
