//! Error kinds as gRPC codes: one exhaustive table.

use fastdata_types::flight::error_metadata;
use fastdata_types::{Error, ErrorKind};
use tonic::metadata::MetadataValue;
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

/// The message carries kind and advice as text, `kind: message; advice`; the status metadata carry them for our own client.
pub fn status_of(error: &Error) -> Status {
    let advice = error.advice_text().map(|advice| format!("; {advice}")).unwrap_or_default();
    let mut status = Status::new(code_of(error.kind()), format!("{}: {}{advice}", error.kind(), error.message()));
    let metadata = status.metadata_mut();
    metadata.insert(error_metadata::KIND, MetadataValue::from_static(error.kind().name()));
    metadata.insert(error_metadata::RETRYABLE, MetadataValue::from_static(if error.retryable() { "true" } else { "false" }));
    if let Some(advice) = error.advice_text() {
        metadata.insert_bin(error_metadata::ADVICE, MetadataValue::from_bytes(advice.as_bytes()));
    }
    status
}
