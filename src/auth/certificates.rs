//! Callers by their client certificate.
//!
//! Contract: the certificate has passed the TLS handshake, so that its authority vouches for what it says. The principal is the subject's one common name;
//! without one, the first URI, DNS name or e-mail address among its alternative names, in this order of kinds. It has no groups.

use super::Identity;
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// `id-at-commonName` (RFC 5280, appendix A.1).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// `None` where the certificate names nobody.
pub fn identity(der: &[u8]) -> Option<Identity> {
    let certificate = Certificate::from_der(der).ok()?;
    let principal = common_name(&certificate).or_else(|| alternative_name(&certificate))?;
    let is_plain = !principal.is_empty() && !principal.chars().any(char::is_control);
    is_plain.then_some(Identity { principal, groups: vec![] })
}

fn common_name(certificate: &Certificate) -> Option<String> {
    let names = certificate.tbs_certificate.subject.0.iter().flat_map(|names| names.0.iter());
    let mut common = names.filter(|name| name.oid == COMMON_NAME);
    let value = &common.next()?.value;
    let is_text = matches!(value.tag(), Tag::Utf8String | Tag::PrintableString | Tag::Ia5String);
    // Of two, one might be meant for somebody else's reading.
    let only = common.next().is_none();
    std::str::from_utf8(value.value()).ok().filter(|text| is_text && only && !text.is_empty()).map(str::to_owned)
}

fn alternative_name(certificate: &Certificate) -> Option<String> {
    let (_, names) = certificate.tbs_certificate.get::<SubjectAltName>().ok()??;
    let of_kind = |kind: u8| {
        names.0.iter().find_map(|name| match (kind, name) {
            (0, GeneralName::UniformResourceIdentifier(text)) => Some(text.as_str().to_owned()),
            (1, GeneralName::DnsName(text)) => Some(text.as_str().to_owned()),
            (2, GeneralName::Rfc822Name(text)) => Some(text.as_str().to_owned()),
            _ => None,
        })
    };
    (0..3).find_map(of_kind)
}
