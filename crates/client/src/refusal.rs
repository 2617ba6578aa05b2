//! Connections that fail for good: whatever answers is no server of ours, or one that does not let us in.
//!
//! Contract: a cause is final only where it says of itself that the same connection would fail again; everything else may pass, and is
//! tried again by whoever asked.

use fastdata_types::{Error, ErrorKind, Stage};
use rustls::InvalidMessage;
use std::error::Error as StdError;
use std::io;

/// What a plaintext client reads of a TLS server's answer, as the HTTP/2 library says it.
const NO_FRAME: &str = "frame with invalid size";
/// How rustls says that the peer ended the connection, before the alert's name.
const ALERT: &str = "received fatal alert: ";
/// The alerts (RFC 8446, section 6.2) by which a server refuses a client's certificate.
const ALERTS: [&str; 8] = [
    "BadCertificate",
    "UnsupportedCertificate",
    "CertificateRevoked",
    "CertificateExpired",
    "CertificateUnknown",
    "UnknownCA",
    "AccessDenied",
    "DecryptError",
];

/// The error to give instead of trying again, if there is one among the causes.
pub(crate) fn of(cause: &(dyn StdError + 'static), server: &str) -> Option<Error> {
    let mut next = Some(cause);
    while let Some(cause) = next {
        if let Some(error) = told_by(cause, server) {
            return Some(error);
        }
        next = match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            // Its own source would be the inner one's.
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    None
}

fn told_by(cause: &(dyn StdError + 'static), server: &str) -> Option<Error> {
    let unauthenticated = |what: String| Error::new(ErrorKind::Unauthenticated, Stage::Client, format!("server {server} {what}"));
    let other = |what: &str| Error::new(ErrorKind::Unavailable, Stage::Client, format!("server {server} {what}")).with_retryable(false);
    let text = cause.to_string();
    match cause.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(why)) => Some(
            unauthenticated(format!("shows a certificate that is not trusted: {why:?}")).advice(certificate_advice(&format!("{why:?}"))),
        ),
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            Some(other("does not speak TLS").advice("use grpc:// if it is meant to be plaintext"))
        }
        _ if text.contains(NO_FRAME) => Some(other("does not speak plaintext gRPC").advice("use grpc+tls:// if it speaks TLS")),
        // After the handshake the HTTP/2 library keeps of a TLS error its text alone.
        _ => match text.split_once(ALERT)?.1 {
            "CertificateRequired" => Some(
                unauthenticated("asks for a client certificate".to_owned()).advice("give one, and its key, with --certificate and --key"),
            ),
            alert if ALERTS.contains(&alert) => Some(
                unauthenticated(format!("refuses our certificate: {alert}"))
                    .advice("give one of the authority that the server accepts, and its key, with --certificate and --key"),
            ),
            _ => None,
        },
    }
}

fn certificate_advice(fault: &str) -> &'static str {
    if fault.contains("CaUsedAsEndEntity") {
        return "it is the certificate of an authority: give the server one with basicConstraints CA:FALSE (docs/security.md has the commands)";
    }
    if fault.contains("UnknownIssuer") || fault.contains("BadSignature") {
        return "name the authority that it comes from: --ca with the file of the authority's certificate";
    }
    if fault.contains("not valid for") || fault.contains("NotValidForName") {
        return "call the server by a name or address in the certificate's subjectAltName, or give it a certificate with this one";
    }
    if fault.contains("xpired") || fault.contains("not valid yet") || fault.contains("NotValidYet") {
        return "give the server a certificate that is within its time, and check both clocks";
    }
    "give the server another certificate: docs/security.md has the commands"
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::AlertDescription;

    fn kind_of(error: rustls::Error) -> Option<(ErrorKind, bool)> {
        let cause = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        of(&cause, "grpc+tls://h:1").map(|error| (error.kind(), error.retryable()))
    }

    #[test]
    fn a_cause_is_found_however_deep_and_passing_ones_are_none() {
        let refused = Some((ErrorKind::Unauthenticated, false));
        assert_eq!(kind_of(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)), refused);
        assert_eq!(kind_of(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)), refused);
        assert_eq!(kind_of(rustls::Error::AlertReceived(AlertDescription::DecryptError)), refused);
        assert_eq!(kind_of(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)), Some((ErrorKind::Unavailable, false)));
        assert_eq!(kind_of(rustls::Error::AlertReceived(AlertDescription::InternalError)), None);
        assert!(of(&io::Error::from(io::ErrorKind::ConnectionReset), "grpc://h:1").is_none());
        // As the HTTP/2 library passes them on.
        for (alert, words) in [(AlertDescription::CertificateRequired, "asks for"), (AlertDescription::UnknownCA, "refuses")] {
            let error = of(&io::Error::other(rustls::Error::AlertReceived(alert).to_string()), "grpc+tls://h:1").unwrap();
            assert!(error.message().contains(words), "{error}");
        }
        assert!(of(&io::Error::other("connection error: frame with invalid size"), "grpc://h:1").is_some());
    }
}
