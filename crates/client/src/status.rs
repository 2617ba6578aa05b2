//! What a failed call means.

use crate::refusal;
use arrow_flight::error::FlightError;
use fastdata_types::{Error, ErrorKind, Result, Stage, proto};
use tonic::{Code, Status};

/// The server's error with the kind it had there.
pub(crate) fn error_of(error: FlightError, server: &str) -> Error {
    match error {
        FlightError::Tonic(status) => from_status(&status, server),
        // A message that does not decode is no passing fault of the network, which checks what it carries.
        FlightError::Arrow(error) => {
            Error::corrupt(Stage::Client, format!("server {server} sent a record batch that does not decode: {error}"))
        }
        other => broken(server, &other.to_string()),
    }
}

/// The connection ended, or what answers is no server of ours.
pub(crate) fn broken(server: &str, why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, Stage::Client, format!("server {server} broke off: {why}")).advice(
        match server.starts_with("grpc+tls://") {
            true => "check that `fastdata serve` still runs there, and ask again",
            false => "check that `fastdata serve` still runs there, and ask again; if it has TLS, use grpc+tls://",
        },
    )
}

pub(crate) fn from_status(status: &Status, server: &str) -> Error {
    if let Some(detail) = proto::ErrorDetail::from_status(status.details()) {
        return detail.into_error();
    }
    if let Some(refused) = refusal::of(status, server) {
        return refused;
    }
    // Without details it is what the transport makes of an end that nobody announced, or another program's word.
    let kind = match status.code() {
        Code::InvalidArgument => ErrorKind::InvalidRequest,
        Code::NotFound => ErrorKind::NotFound,
        Code::Unimplemented => ErrorKind::Unsupported,
        Code::DataLoss => ErrorKind::Corrupt,
        Code::PermissionDenied => ErrorKind::PermissionDenied,
        Code::ResourceExhausted | Code::OutOfRange => ErrorKind::LimitExceeded,
        Code::Unauthenticated => ErrorKind::Unauthenticated,
        Code::DeadlineExceeded => ErrorKind::DeadlineExceeded,
        Code::FailedPrecondition => ErrorKind::PlanMismatch,
        Code::Cancelled | Code::Unknown | Code::Internal | Code::Unavailable | Code::Ok | Code::AlreadyExists | Code::Aborted => {
            return broken(server, if status.message().is_empty() { status.code().description() } else { status.message() });
        }
    };
    Error::new(kind, Stage::Client, status.message().to_owned())
}

/// Decodes a protobuf message of the server's.
pub(crate) fn decoded<M: prost::Message + Default>(bytes: &[u8], what: &str) -> Result<M> {
    M::decode(bytes).map_err(|e| Error::corrupt(Stage::Client, format!("the server's {what} does not decode: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_no_server_of_ours_made_is_no_cancel_of_the_user_and_no_fault_of_ours() {
        for code in [Code::Cancelled, Code::Unknown, Code::Internal, Code::Unavailable, Code::Aborted] {
            let error = from_status(&Status::new(code, "h2 protocol error"), "grpc://h:1");
            assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true), "{code:?}");
            assert!(error.message().contains("grpc://h:1") && error.message().contains("h2 protocol error"), "{error}");
        }
        let detail = proto::ErrorDetail::from(&Error::internal(Stage::Read, "a bug"));
        let ours = Status::with_details(Code::Internal, "internal: a bug", detail.to_status(13).into());
        let error = from_status(&ours, "grpc://h:1");
        assert_eq!((error.kind(), error.stage(), error.message()), (ErrorKind::Internal, Stage::Read, "a bug"));
    }
}
