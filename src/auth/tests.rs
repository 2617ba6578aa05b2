use super::*;
use crate::config::{AuthSettings, ClientCertificates, TlsSettings};
use fastdata_testkit::authority::{Authority, Identified, Subject};
use http::HeaderValue;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::path::PathBuf;
use tokio::io::AsyncWriteExt;

fn headers(values: &[&str]) -> HeaderMap {
    values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect()
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A server's files.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(server: &Identified, client_ca: &str) -> Files {
        let files = Files { folder: tempfile::tempdir().unwrap() };
        for (name, text) in [("server.pem", &server.certificate), ("server.key", &server.key), ("ca.pem", &client_ca.to_owned())] {
            std::fs::write(files.path(name), text).unwrap();
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tls(&self, client_certificates: Option<ClientCertificates>) -> TlsSettings {
        TlsSettings {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            client_ca: client_certificates.map(|_| self.path("ca.pem")),
            client_certificates: client_certificates.unwrap_or(ClientCertificates::Required),
        }
    }
}

#[tokio::test]
async fn without_settings_everybody_is_anonymous() {
    let open = Authenticator::open(&ServerSettings::default()).unwrap();
    assert!(open.is_open());
    for sent in [headers(&[]), headers(&["Bearer x"])] {
        assert_eq!(open.identify(&sent, None).await.unwrap(), Identity::anonymous());
    }
}

#[tokio::test]
async fn a_token_is_taken_from_one_bearer_header_and_everything_else_gets_one_answer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    let issued = tokens::issue("alice", &["ml".to_owned()]).unwrap();
    std::fs::write(&file, &issued.line).unwrap();
    let settings = ServerSettings { auth: AuthSettings { tokens: Some(file), jwt: None }, ..ServerSettings::default() };
    let authenticator = Authenticator::open(&settings).unwrap();
    let good = format!("Bearer {}", issued.token);
    for value in [good.clone(), format!("bearer {}", issued.token), format!("BEARER   {}", issued.token)] {
        assert_eq!(authenticator.identify(&headers(&[&value]), None).await.unwrap().principal, "alice", "{value}");
    }
    let certificate = der(&Authority::new("any").client("mallory").certificate);
    let long = format!("Bearer {}", "x".repeat(MAX_TOKEN + 1));
    let bad: [&[&str]; 7] = [&[], &["Bearer "], &["Basic YTpi"], &[&issued.token], &["Bearer nobody"], &[&good, &good], &[&long]];
    for values in bad {
        let error = authenticator.identify(&headers(values), Some(&certificate)).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Unauthenticated, unauthenticated().message()), "{values:?}");
        assert!(error.advice_text().is_some());
    }
}

#[test]
fn a_certificate_names_its_principal_in_a_settled_order() {
    let authority = Authority::new("ours");
    let named = |subject: Subject| identity_of(&authority.client_of(&subject));
    let names: (&[&str], &[&str]) = (&["host.example"], &["spiffe://example/trainer"]);
    assert_eq!(named(Subject { common_name: Some("trainer"), dns_names: names.0, uris: names.1 }), Some("trainer".to_owned()));
    assert_eq!(named(Subject { common_name: None, dns_names: names.0, uris: names.1 }), Some("spiffe://example/trainer".to_owned()));
    assert_eq!(named(Subject { dns_names: names.0, ..Subject::default() }), Some("host.example".to_owned()));
    assert_eq!(named(Subject::default()), None);
    assert_eq!(named(Subject { common_name: Some("a\nb"), ..Subject::default() }), None);
    assert_eq!(certificates::identity(b"no certificate"), None);
}

fn identity_of(client: &Identified) -> Option<String> {
    certificates::identity(&der(&client.certificate)).map(|identity| identity.principal)
}

/// What the server sees of a handshake with a client that trusts `authority`: the client's certificate.
async fn handshake(tls: &Tls, authority: &Authority, client: Option<&Identified>) -> std::io::Result<Option<Vec<u8>>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der(&authority.certificate)).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let key = PrivateKeyDer::from_pem_slice(client.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![der(&client.certificate)], key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let connect = async {
        let mut stream =
            tokio_rustls::TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), theirs).await?;
        stream.write_all(b"x").await?;
        Ok::<_, std::io::Error>(stream)
    };
    let (server, client) = tokio::join!(tokio_rustls::TlsAcceptor::from(tls.current()).accept(ours), connect);
    let (server, _client) = (server?, client?);
    let (_, connection) = server.get_ref();
    assert_eq!(connection.alpn_protocol(), Some(&b"h2"[..]));
    Ok(connection.peer_certificates().and_then(|chain| chain.first()).map(|certificate| certificate.to_vec()))
}

#[tokio::test]
async fn only_certificates_of_the_configured_authority_pass_the_handshake() {
    let (ours, clients, strangers) = (Authority::new("servers"), Authority::new("clients"), Authority::new("clients"));
    let files = Files::new(&ours.server(), &clients.certificate);
    let (alice, mallory) = (clients.client("alice"), strangers.client("alice"));
    let required = files.tls(Some(ClientCertificates::Required));
    let optional = files.tls(Some(ClientCertificates::Optional));
    for (settings, without) in [(&required, false), (&optional, true)] {
        let tls = Tls::open(settings).unwrap();
        let seen = handshake(&tls, &ours, Some(&alice)).await.unwrap().expect("the certificate is seen");
        let authenticator = Authenticator::open(&ServerSettings { tls: Some(settings.clone()), ..ServerSettings::default() }).unwrap();
        assert_eq!(authenticator.identify(&headers(&[]), Some(&seen)).await.unwrap().principal, "alice");
        assert!(handshake(&tls, &ours, Some(&mallory)).await.is_err(), "a certificate of another authority of that name");
        assert!(handshake(&tls, &ours, Some(&ours.server())).await.is_err(), "the server's own authority makes no callers");
        assert_eq!(handshake(&tls, &ours, None).await.is_ok(), without);
        assert!(authenticator.identify(&headers(&[]), None).await.is_err(), "nobody is anonymous where certificates are asked for");
    }
    let plain = Tls::open(&files.tls(None)).unwrap();
    assert_eq!(handshake(&plain, &ours, Some(&mallory)).await.unwrap(), None, "nobody asks for it");
    assert!(handshake(&plain, &clients, None).await.is_err(), "a client that trusts others");
}

#[tokio::test]
async fn a_reload_serves_the_new_certificate_and_broken_files_change_nothing() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = Files::new(&old.server(), &old.certificate);
    let tls = Tls::open(&files.tls(None)).unwrap();
    let server = new.server();
    std::fs::write(files.path("server.pem"), &server.certificate).unwrap();
    let error = tls.reload().unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.message().contains("server.key"), "the key is that of the former one: {error}");
    assert!(handshake(&tls, &old, None).await.is_ok());
    std::fs::write(files.path("server.key"), &server.key).unwrap();
    tls.reload().unwrap();
    assert!(handshake(&tls, &new, None).await.is_ok() && handshake(&tls, &old, None).await.is_err());
    for (name, text) in [("server.pem", &server.certificate), ("server.key", &server.key)] {
        std::fs::write(files.path(name), "nothing").unwrap();
        let error = tls.reload().unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.message().contains(name), "{error}");
        std::fs::write(files.path(name), text).unwrap();
    }
    std::fs::remove_file(files.path("server.pem")).unwrap();
    assert!(tls.reload().is_err() && handshake(&tls, &new, None).await.is_ok());
}
