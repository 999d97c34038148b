//! The integration tests: one binary that starts the real service on port 0 and
//! speaks to it over gRPC and JSON.

mod batch;
mod channel_by_yaml;
mod desk;
mod edge;
mod edge_pages;
mod edge_programs;
mod edge_web;
mod fixtures;
mod golden;
mod harness;
mod idempotency;
mod kill;
mod limits;
mod links;
mod malformed;
mod nodelay;
mod openapi;
mod pausing;
mod population;
mod probes;
mod publishing;
mod raw;
mod readme;
mod reload;
mod replay;
mod report;
mod restart;
mod sample;
mod tidy;
mod visitor;
mod visitor_id;
mod web;
