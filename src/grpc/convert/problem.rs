//! Why one of many things asked for was not done.

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{app::AppError, proto};

/// From an error, with every violation.
pub fn write(error: AppError) -> proto::Problem {
    match error {
        AppError::Invalid(violations) => proto::Problem {
            code: Code::InvalidArgument as i32,
            reason: "INVALID_FIELDS".to_owned(),
            message: match violations.len() {
                1 => "reading the question: 1 invalid field".to_owned(),
                many => format!("reading the question: {many} invalid fields"),
            },
            fields: violations
                .into_iter()
                .map(|wrong| proto::FieldProblem { field: wrong.field, description: wrong.description })
                .collect(),
        },
        other => of_status(&other.into()),
    }
}

/// From a status.
pub fn of_status(status: &Status) -> proto::Problem {
    let details = status.get_error_details();
    let listed = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    proto::Problem {
        code: status.code() as i32,
        reason: details.error_info().map(|info| info.reason.clone()).unwrap_or_default(),
        message: status.message().to_owned(),
        fields: listed
            .iter()
            .map(|wrong| proto::FieldProblem { field: wrong.field.clone(), description: wrong.description.clone() })
            .collect(),
    }
}
