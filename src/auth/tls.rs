//! The server's side of TLS: its certificate, and which client certificates it takes.
//!
//! Contract: TLS 1.2 and 1.3, HTTP/2 only. A client certificate of an authority that is not configured ends the handshake, whether one is required or not.
//! `reload` reads the files again and serves new handshakes with them; where they are wrong the former ones stay. With client certificates no
//! session is resumed, so that each connection shows its certificate anew.

use super::{config_error, read_file};
use crate::config::{ClientCertificates, TlsSettings};
use fastdata_types::{Error, Result};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

pub struct Tls {
    settings: TlsSettings,
    current: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Each file that is broken has an error.
    pub fn open(settings: &TlsSettings) -> Result<Tls, Vec<Error>> {
        let problems = missing(settings);
        if !problems.is_empty() {
            return Err(problems);
        }
        Tls::built(settings).map_err(|e| vec![e])
    }

    fn built(settings: &TlsSettings) -> Result<Tls> {
        Ok(Tls { settings: settings.clone(), current: RwLock::new(Arc::new(build(settings)?)) })
    }

    /// For the next handshake.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn reload(&self) -> Result<()> {
        let fresh = Arc::new(build(&self.settings)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}

fn build(settings: &TlsSettings) -> Result<ServerConfig> {
    let certificates = certificates("server.tls.certificate", &settings.certificate)?;
    let key = private_key(&settings.key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong("TLS cannot be set up", e))?;
    let builder = match &settings.client_ca {
        Some(file) => builder.with_client_cert_verifier(verifier(file, settings.client_certificates, provider)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(certificates, key)
        .map_err(|e| wrong(&format!("server.tls: {} and {}", settings.certificate.display(), settings.key.display()), e))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    if settings.client_ca.is_some() {
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    Ok(config)
}

/// What is wrong with each file by itself.
fn missing(settings: &TlsSettings) -> Vec<Error> {
    let certificate = certificates("server.tls.certificate", &settings.certificate).err();
    let key = private_key(&settings.key).err();
    let client_ca = settings.client_ca.as_ref().and_then(|file| certificates("server.tls.client-ca", file).err());
    [certificate, key, client_ca].into_iter().flatten().collect()
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>> {
    let bytes = read_file("server.tls.key", file)?;
    PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|_| config_error(format!("server.tls.key: {}: no private key in PEM form", file.display())))
}

fn verifier(
    file: &Path,
    wanted: ClientCertificates,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>> {
    let what = "server.tls.client-ca";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(what, file)? {
        roots.add(certificate).map_err(|e| wrong(&format!("{what}: {}", file.display()), e))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match wanted {
        ClientCertificates::Required => builder,
        ClientCertificates::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|e| config_error(format!("{what}: {}: {e}", file.display())).source(e))
}

fn certificates(what: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read_file(what, file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(config_error(format!("{what}: {}: no certificate in PEM form", file.display()))),
    }
}

fn wrong(what: &str, cause: rustls::Error) -> Error {
    config_error(format!("{what}: {cause}")).source(cause)
}
