//! Plain requests to the servers under test, from sync and async code alike.
//!
//! How: each call runs on a thread with a runtime of its own, so that a test may call it wherever it stands.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a future to its end.
pub fn wait<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
    std::thread::scope(|scope| match scope.spawn(run).join() {
        Ok(result) => result,
        // What failed there fails here, in its own words.
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Trusts the authority whose certificate is given, in PEM form, and no other.
pub fn client(authority: Option<&str>) -> reqwest::Client {
    let mut roots = RootCertStore::empty();
    for certificate in authority.iter().flat_map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes())) {
        roots.add(certificate.expect("a certificate in PEM form")).expect("a certificate");
    }
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring knows TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    // The proxies of whoever runs the tests are not meant for loopback.
    reqwest::Client::builder().use_preconfigured_tls(tls).no_proxy().timeout(TIMEOUT).build().expect("an HTTP client")
}
