//! Errors as gRPC statuses: one exhaustive table of codes, and the details beside them.

use fastdata_types::{Error, ErrorKind, proto};
use tonic::{Code, Status};

/// A status travels in headers, which clients limit to some KiB.
const MOST_TEXT: usize = 1500;

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

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_TEXT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The message carries kind and advice as text, `kind: message; advice`; the details an `ErrorDetail` in a `google.rpc.Status`.
pub fn status_of(error: &Error) -> Status {
    let mut detail = proto::ErrorDetail::from(error);
    detail.message = shortened(&detail.message);
    detail.advice = shortened(&detail.advice);
    let advice = if detail.advice.is_empty() { String::new() } else { format!("; {}", detail.advice) };
    let message = format!("{}: {}{advice}", error.kind(), detail.message);
    let code = code_of(error.kind());
    Status::with_details(code, message.clone(), detail.to_status(code as i32, message).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastdata_types::Stage;

    #[test]
    fn a_status_stays_small_and_keeps_what_matters() {
        let error = Error::invalid(Stage::Plan, "ü".repeat(100_000)).advice("shorten it").with_retryable(true);
        let status = status_of(&error);
        assert!(status.message().len() < 4_000 && status.message().ends_with("shorten it"));
        let back = proto::ErrorDetail::from_status(status.details()).unwrap().into_error();
        assert_eq!((back.kind(), back.stage(), back.retryable()), (ErrorKind::InvalidRequest, Stage::Plan, true));
    }
}
