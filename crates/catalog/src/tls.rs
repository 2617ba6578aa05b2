//! One TLS configuration for HTTP and PostgreSQL: rustls, the system's roots, certificates always verified.

use fastdata_types::{Error, ErrorKind, Result, Stage};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Trusts the system's roots, or only those of a PEM file where one is given.
pub fn client_config(root_certificates: Option<&Path>) -> Result<ClientConfig> {
    let roots = match root_certificates {
        Some(file) => roots_of(file)?,
        None => system_roots(),
    };
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal(Stage::Catalog, "TLS cannot be set up").source(e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let load = || {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(store)
    };
    ROOTS.get_or_init(load).clone()
}

fn roots_of(file: &Path) -> Result<Arc<RootCertStore>> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let wrong = |why: &str| Error::new(ErrorKind::Config, Stage::Catalog, format!("root certificates {}: {why}", file.display()));
    let mut store = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|_| wrong("cannot be read"))?;
    store.add_parsable_certificates(certificates.filter_map(std::result::Result::ok));
    if store.is_empty() {
        return Err(wrong("no certificate in PEM form"));
    }
    Ok(Arc::new(store))
}
