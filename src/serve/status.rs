//! Errors as gRPC statuses: one exhaustive table of codes, and the details beside them.

use fastdata_types::{Error, ErrorKind, proto};
use tonic::{Code, Status};

/// A status travels in headers, which clients limit to 8 KiB: the text percent-encoded, and once more in the details in base64.
const MOST_MESSAGE: usize = 1200;
const MOST_ADVICE: usize = 400;

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

/// The beginning of a text that takes at most so many bytes percent-encoded.
fn shortened(text: &str, most: usize) -> String {
    let mut left = most;
    let fits = |character: &char| {
        let bytes = if matches!(character, ' '..='~') && *character != '%' { 1 } else { 3 * character.len_utf8() };
        left = left.saturating_sub(bytes);
        left > 0
    };
    let mut short: String = text.chars().take_while(fits).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

/// The message carries kind and advice as text, `kind: message; advice`; the details an `ErrorDetail` in a `google.rpc.Status`.
pub fn status_of(error: &Error) -> Status {
    let mut detail = proto::ErrorDetail::from(error);
    if error.kind() == ErrorKind::BudgetTooSmall && !detail.advice.is_empty() {
        // Whoever reads it has a budget too.
        detail.advice = format!("it is the server's budget, `memory` in its configuration: {}", detail.advice);
    }
    detail.message = shortened(&detail.message, MOST_MESSAGE);
    detail.advice = shortened(&detail.advice, MOST_ADVICE);
    let advice = if detail.advice.is_empty() { String::new() } else { format!("; {}", detail.advice) };
    let message = format!("{}: {}{advice}", error.kind(), detail.message);
    let code = code_of(error.kind());
    Status::with_details(code, message, detail.to_status(code as i32).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastdata_types::Stage;

    #[test]
    fn a_status_stays_small_in_headers_and_keeps_what_matters() {
        for text in ["ü", "漢", "%", "x", "\n"] {
            let error = Error::invalid(Stage::Plan, text.repeat(100_000)).advice("shorten it").with_retryable(true);
            let status = status_of(&error);
            let mut headers = http::HeaderMap::new();
            status.add_header(&mut headers).unwrap();
            let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
            assert!(bytes < 6_000 && status.message().ends_with("shorten it"), "{text}: {bytes} bytes");
            let back = proto::ErrorDetail::from_status(status.details()).unwrap().into_error();
            assert_eq!((back.kind(), back.stage(), back.retryable()), (ErrorKind::InvalidRequest, Stage::Plan, true));
        }
        assert_eq!(shortened("short", 100), "short");
    }

    #[test]
    fn a_budget_that_is_too_small_is_said_to_be_the_servers() {
        let error = fastdata_types::MemoryBudget::new(1 << 20).try_acquire(2 << 20, "a page").unwrap_err();
        let told = proto::ErrorDetail::from_status(status_of(&error).details()).unwrap().into_error();
        assert_eq!(told.advice_text().unwrap(), "it is the server's budget, `memory` in its configuration: give at least --memory 3MiB");
    }
}
