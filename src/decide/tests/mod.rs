//! Tests of the pipeline.

mod build;
mod cases;
mod chance;
mod gates;
mod properties;
mod random;
mod reference;
mod scenarios;
