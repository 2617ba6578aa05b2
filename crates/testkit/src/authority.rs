//! A certificate authority for tests: certificates of servers and callers, in PEM form, made anew each time.

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub certificate: String,
}

/// A certificate and its private key.
pub struct Identified {
    pub certificate: String,
    pub key: String,
}

/// What a certificate says of whom it is for.
#[derive(Debug, Default)]
pub struct Subject<'a> {
    pub common_name: Option<&'a str>,
    pub dns_names: &'a [&'a str],
    pub uris: &'a [&'a str],
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = params(&Subject { common_name: Some(name), ..Subject::default() });
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = key();
        let certificate = params.self_signed(&key).expect("an authority signs itself").pem();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    /// Of a server that is reached as `localhost` and `127.0.0.1`.
    pub fn server(&self) -> Identified {
        self.issue(&Subject { dns_names: &["localhost", "127.0.0.1"], ..Subject::default() }, ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub fn client(&self, common_name: &str) -> Identified {
        self.client_of(&Subject { common_name: Some(common_name), ..Subject::default() })
    }

    pub fn client_of(&self, subject: &Subject) -> Identified {
        self.issue(subject, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(&self, subject: &Subject, usage: ExtendedKeyUsagePurpose) -> Identified {
        let (mut params, key) = (params(subject), key());
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        Identified { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

fn params(subject: &Subject) -> CertificateParams {
    // Addresses become names of their own kind.
    let names: Vec<String> = subject.dns_names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names are ASCII");
    let uris = subject.uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("URIs are ASCII")));
    params.subject_alt_names.extend(uris);
    params.distinguished_name = DistinguishedName::new();
    if let Some(name) = subject.common_name {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key of P-256")
}
