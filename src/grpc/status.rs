//! The one place where errors become `google.rpc.Status`.

use std::{collections::HashMap, sync::OnceLock, time::Duration};

use axum::http::{HeaderMap, Response};
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    app::{AppError, PublishReport, Severity, Violation},
    store::StoreError,
    telemetry::CallClass,
};

use super::admission::{Cause, TurnedAway};

/// The domain of `ErrorInfo`.
pub const ERROR_DOMAIN: &str = "rapport.v1";

/// The most bytes of violations in one status: it travels in a header, and
/// clients accept headers of 16 KiB.
pub const VIOLATION_BYTES_MAX: usize = 7_000;

impl From<AppError> for Status {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Invalid(violations) => invalid(violations),
            AppError::NotFound(text) => with_info(Code::NotFound, "NOT_FOUND", &text),
            AppError::AlreadyExists(text) => with_info(Code::AlreadyExists, "ALREADY_EXISTS", &text),
            AppError::FailedPrecondition(text) => with_info(Code::FailedPrecondition, "FAILED_PRECONDITION", &text),
            AppError::Erased(text) => with_info(Code::FailedPrecondition, "ERASED", &text),
            AppError::Aborted(text) => with_info(Code::Aborted, "ABORTED", &text),
            AppError::OutOfRange(text) => with_info(Code::OutOfRange, "OUT_OF_RANGE", &text),
            AppError::Unavailable(text) => with_info(Code::Unavailable, "UNAVAILABLE", &text),
            AppError::Refused(report) => refused(&report),
            AppError::Exhausted(text) => with_info(Code::ResourceExhausted, "EXHAUSTED", &text),
            AppError::Store(error) => store(&error),
        }
    }
}

fn store(error: &StoreError) -> Status {
    match error {
        StoreError::Full { .. } => with_info(Code::ResourceExhausted, "LOG_FULL", &error.to_string()),
        StoreError::Closed => with_info(Code::Unavailable, "SHUTTING_DOWN", &error.to_string()),
        StoreError::Io { .. } | StoreError::Corrupt(_) | StoreError::Settings(_) => {
            // Paths of the data directory are for the operator, not the caller.
            tracing::error!(%error, "the store failed");
            with_info(Code::Internal, "STORE_FAILED", "reading or writing the store failed: see the service's log")
        }
    }
}

/// Every violation in one status.
pub fn invalid(violations: Vec<Violation>) -> Status {
    let total = violations.len();
    let mut details = info("INVALID_FIELDS");
    add_violations(violations, &mut details);
    let message = match total {
        1 => "reading the request: 1 invalid field".to_owned(),
        _ => format!("reading the request: {total} invalid fields"),
    };
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// As many as fit.
fn add_violations(violations: Vec<Violation>, details: &mut ErrorDetails) {
    let total = violations.len();
    let mut bytes = 0;
    for (listed, violation) in violations.into_iter().enumerate() {
        bytes += violation.field.len() + violation.description.len();
        if bytes > VIOLATION_BYTES_MAX {
            details.add_bad_request_violation("", format!("and {} more", total - listed));
            break;
        }
        details.add_bad_request_violation(violation.field, violation.description);
    }
}

/// Rules that are refused: text that does not compile is the caller's mistake,
/// and what only fails a check could be forced.
fn refused(report: &PublishReport) -> Status {
    let violation = |field: &str, line: &String| Violation { field: field.to_owned(), description: line.clone() };
    let errors = report.errors.iter().map(|line| violation("files", line));
    let findings = report.findings.iter().filter(|finding| finding.severity == Severity::Error);
    let findings = findings.map(|finding| violation("findings", &finding.to_string()));
    let scenarios = report.scenario_failures.iter().map(|line| violation("scenarios", line));
    let reach = report.reach_violations.iter().map(|line| violation("reach", line));
    let violations: Vec<Violation> = errors.chain(findings).chain(scenarios).chain(reach).collect();
    let (code, reason) = match report.errors.is_empty() {
        true => (Code::FailedPrecondition, "CHECKS_FAILED"),
        false => (Code::InvalidArgument, "RULES_REFUSED"),
    };
    let (revision, total) = (report.revision, violations.len());
    let message = format!("revision `{revision}` is refused: {total} mistakes; validate it for the whole report");
    let mut details = info(reason);
    add_violations(violations, &mut details);
    Status::with_error_details(code, message, details)
}

/// A status with a machine-readable reason.
pub fn with_info(code: Code, reason: &str, message: &str) -> Status {
    Status::with_error_details(code, message, info(reason))
}

/// A message that is not what the service expects.
pub fn undecodable(why: &str) -> Status {
    with_info(Code::InvalidArgument, "UNDECODABLE", &format!("decoding the request: {why}"))
}

/// A handler that panicked.
pub fn panicked() -> Status {
    with_info(Code::Internal, "PANIC", "answering the request failed: see the service's log")
}

/// The service stops.
pub fn stopping() -> Status {
    with_info(Code::Unavailable, "SHUTTING_DOWN", "the service stops: ask again what was not answered")
}

/// Nothing moved on a stream for so many minutes.
pub fn idle(minutes: u64) -> Status {
    let message = format!("nothing moved on the stream for `{minutes}` minutes: open it again");
    with_info(Code::Unavailable, "IDLE", &message)
}

/// Too many requests in flight.
pub fn overloaded(in_flight_max: usize) -> Status {
    let message = format!("`{in_flight_max}` requests are being answered already: try again later");
    exhausted(&message, RETRY_AFTER)
}

/// When it is worth asking again once too many requests were in flight.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// The same of a class that was turned away: what goes first may ask again first.
const RETRY_AFTER_OF: [Duration; CallClass::ALL.len()] =
    [Duration::from_millis(50), Duration::from_millis(250), Duration::from_millis(1_000)];

fn exhausted(message: &str, retry_after: Duration) -> Status {
    let mut details = info("OVERLOADED");
    details.set_retry_info(Some(retry_after));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// A call that is not answered, for there is too much to do or its caller has
/// stopped waiting.
pub fn turned_away(away: &TurnedAway) -> Status {
    match away.cause {
        Cause::Overload => {
            let retry_after = RETRY_AFTER_OF[away.class as usize];
            let (class, retry_ms) = (away.class.name(), retry_after.as_millis());
            let message = format!("there is too much to do for calls of `{class}`: try again after `{retry_ms}` ms");
            exhausted(&message, retry_after)
        }
        Cause::Late => {
            with_info(Code::DeadlineExceeded, "LATE", "the call waited for its turn until its deadline had passed")
        }
    }
}

/// The same as the answer to a gRPC call. There may be very many: what they say
/// is written once.
pub fn turned_away_plain(away: &TurnedAway) -> Response<Body> {
    static WRITTEN: [OnceLock<HeaderMap>; CallClass::ALL.len()] = [const { OnceLock::new() }; CallClass::ALL.len()];
    if away.cause == Cause::Late {
        return turned_away(away).into_http();
    }
    let write = || turned_away(away).into_http::<Body>().into_parts().0.headers;
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = WRITTEN[away.class as usize].get_or_init(write).clone();
    response
}

fn info(reason: &str) -> ErrorDetails {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, ERROR_DOMAIN, HashMap::new());
    details
}

/// The HTTP status of a code, as `google/rpc/code.proto` maps it.
pub fn http_status(code: Code) -> u16 {
    match code {
        Code::Ok => 200,
        Code::Cancelled => 499,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::DeadlineExceeded => 504,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::PermissionDenied => 403,
        Code::ResourceExhausted => 429,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::Unauthenticated => 401,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
    }
}
