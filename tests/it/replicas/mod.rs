//! Replicas over one Redis as real processes, the faults that befall them, and a
//! ledger, held by the client, of what was acknowledged.
//!
//! Small sizes by default; `make full-faults` asks for the full ones through
//! `FAULTS_FULL`.

mod coherence;
mod deploy;
mod failover;
mod kills;
mod layouts;
mod ledger;
mod load;
mod outage;
mod replica;
mod replies;
mod rolling;
mod torn;

/// One of two sizes: for every change, and in full.
pub fn sized<T>(small: T, full: T) -> T {
    if is_full() { full } else { small }
}

/// Whether the full sizes are asked for, on a machine that does nothing else.
pub fn is_full() -> bool {
    std::env::var_os("FAULTS_FULL").is_some()
}
