//! Error kinds as gRPC codes: one exhaustive table.

use fastdata_types::{Error, ErrorKind};
use tonic::{Code, Status};

/// The gRPC code of each kind.
pub fn code_of(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::Config => Code::InvalidArgument,
        ErrorKind::NotFound | ErrorKind::MissingFile => Code::NotFound,
        ErrorKind::Unsupported => Code::Unimplemented,
        ErrorKind::Corrupt => Code::DataLoss,
        ErrorKind::LocationNotAllowed | ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::BudgetTooSmall | ErrorKind::LimitExceeded => Code::ResourceExhausted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Unauthenticated | ErrorKind::TicketExpired => Code::Unauthenticated,
        ErrorKind::PlanMismatch => Code::FailedPrecondition,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Output | ErrorKind::Internal => Code::Internal,
    }
}

/// The message carries kind and advice as text: `kind: message; advice`.
pub fn status_of(error: &Error) -> Status {
    let advice = error.advice_text().map(|advice| format!("; {advice}")).unwrap_or_default();
    let mut status = Status::new(code_of(error.kind()), format!("{}: {}{advice}", error.kind(), error.message()));
    if let Ok(kind) = error.kind().name().parse() {
        status.metadata_mut().insert("fastdata-error-kind", kind);
    }
    status
}
