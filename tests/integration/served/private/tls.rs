//! The connection: certificates of the server, certificates of its callers.

use super::{Place, reload};
use crate::served::Server;
use crate::served::scans::pyarrow_with;
use crate::support::fastdata;
use fastdata_testkit::authority::{Authority, Identified};
use std::process::Stdio;
use std::time::{Duration, Instant};

const TLS: &str = "[server.tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n";
const PYARROW: &str = r#"
import sys
import pyarrow.flight as fl
uri, ca, certificate, key = sys.argv[1:5]
read = lambda name: open(name, "rb").read() if name else None
client = fl.connect(uri, tls_root_certs=read(ca), cert_chain=read(certificate), private_key=read(key))
try:
    info = client.get_flight_info(fl.FlightDescriptor.for_path("hr", "people"))
    print(sum(client.do_get(e.ticket).read_all().num_rows for e in info.endpoints))
except (fl.FlightError, OSError) as e:
    print(type(e).__name__)
"#;

impl Place {
    fn write_server(&self, server: &Identified) {
        self.write("server.pem", &server.certificate);
        self.write("server.key", &server.key);
    }

    fn write_client(&self, name: &str, client: &Identified) {
        self.write(&format!("{name}.pem"), &client.certificate);
        self.write(&format!("{name}.key"), &client.key);
    }

    /// What pyarrow gets: a number of rows, or the class of an error.
    fn pyarrow(&self, server: &Server, ca: &str, client: Option<&str>) -> Option<String> {
        let file = |ending: &str| client.map_or(String::new(), |name| self.name(&format!("{name}.{ending}")));
        let (certificate, key) = (file("pem"), file("key"));
        let answer = pyarrow_with(server, PYARROW, &[&self.name(ca), &certificate, &key])?;
        Some(answer.trim().to_owned())
    }
}

/// At once, and not after what a server that comes back is waited for.
fn at_once<T>(fails: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let failed = fails();
    assert!(started.elapsed() < Duration::from_secs(20), "after {:?}", started.elapsed());
    failed
}

#[test]
fn clients_that_trust_the_authority_read_and_others_are_told_why_not() {
    let (place, ours, others) = (Place::new(), Authority::new("ours"), Authority::new("others"));
    place.write_server(&ours.server());
    place.write("ca.pem", &ours.certificate);
    place.write("other.pem", &others.certificate);
    let server = place.serve(TLS);
    assert!(server.uri.starts_with("grpc+tls://127.0.0.1:"));
    let all = super::PEOPLE as usize;
    assert_eq!(place.scan(&server.uri, &["--ca", "ca.pem"]).unwrap(), all);
    // By the other name of the certificate too.
    let localhost = server.uri.replace("127.0.0.1", "localhost");
    assert_eq!(place.scan(&localhost, &["--ca", "ca.pem"]).unwrap(), all);
    if let Some(answer) = place.pyarrow(&server, "ca.pem", None) {
        assert_eq!(answer, all.to_string());
        assert_eq!(place.pyarrow(&server, "other.pem", None).unwrap(), "FlightUnavailableError");
    }
    for flags in [&["--ca", "other.pem"][..], &[]] {
        let failed = at_once(|| place.scan(&server.uri, flags).unwrap_err());
        failed.is("unauthenticated", &["certificate", "UnknownIssuer", "--ca"]);
        assert!(!failed.text.contains("trying again"), "{}", failed.text);
    }
    let plaintext = server.uri.replace("grpc+tls", "grpc");
    at_once(|| place.scan(&plaintext, &[]).unwrap_err()).is("unavailable", &["grpc+tls://"]);
    let open = place.serve("");
    let encrypted = open.uri.replace("grpc", "grpc+tls");
    at_once(|| place.scan(&encrypted, &["--ca", "ca.pem"]).unwrap_err()).is("unavailable", &["grpc://"]);
    // None of it shook the server.
    assert_eq!(place.scan(&server.uri, &["--ca", "ca.pem"]).unwrap(), all);
}

#[test]
fn a_certificate_is_renewed_without_a_restart() {
    let (place, old, new) = (Place::new(), Authority::new("old"), Authority::new("new"));
    place.write_server(&old.server());
    place.write("old.pem", &old.certificate);
    place.write("new.pem", &new.certificate);
    let server = place.serve(TLS);
    assert!(place.scan(&server.uri, &["--ca", "old.pem"]).is_ok());
    // A certificate without its key, as half a copy leaves it: the former pair stays.
    let fresh = new.server();
    place.write("server.pem", &fresh.certificate);
    let told = reload(&server, 2);
    let failed = told.iter().find(|line| line["what"] == "certificates").unwrap();
    assert!(failed["outcome"] == "config" && failed["message"].as_str().unwrap().contains("server.key"), "{failed}");
    assert!(place.scan(&server.uri, &["--ca", "old.pem"]).is_ok());
    place.write("server.key", &fresh.key);
    let told = reload(&server, 2);
    assert!(told.iter().all(|line| line["outcome"] == "ok"), "{told:?}");
    assert!(place.scan(&server.uri, &["--ca", "new.pem"]).is_ok());
    place.scan(&server.uri, &["--ca", "old.pem"]).unwrap_err().is("unauthenticated", &["UnknownIssuer"]);
}

/// A place whose server asks for certificates of `clients`, and shows alice the table and nobody else.
fn with_clients(servers: &Authority, clients: &Authority) -> Place {
    let place = Place::new();
    place.write_server(&servers.server());
    place.write("ca.pem", &servers.certificate);
    place.write("clients.pem", &clients.certificate);
    // An authority that has the name of the right one, and is another.
    let strangers = Authority::new("clients");
    for (name, client) in [("alice", clients.client("alice")), ("bob", clients.client("bob")), ("mallory", strangers.client("alice"))] {
        place.write_client(name, &client);
    }
    place
}

const ALICE: &str = "[[policy]]\nprincipals = [\"alice\"]\n";

#[test]
fn a_certificate_of_the_right_authority_is_a_principal_and_no_other_gets_in() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let place = with_clients(&servers, &clients);
    let server = place.serve(&format!("{TLS}client-ca = \"clients.pem\"\n{ALICE}"));
    let scan = |flags: &[&str]| at_once(|| place.scan(&server.uri, &[&["--ca", "ca.pem"], flags].concat()));
    let of = |name: &str| [format!("{name}.pem"), format!("{name}.key")];
    let shown = |name: &str| {
        let [certificate, key] = of(name);
        scan(&["--certificate", &certificate, "--key", &key])
    };
    assert_eq!(shown("alice").unwrap(), super::PEOPLE as usize);
    shown("bob").unwrap_err().is("not-found", &["there is no table"]);
    // Whoever races with the server's refusal is told the same.
    for _ in 0..5 {
        shown("mallory").unwrap_err().is("unauthenticated", &["refuses our certificate", "--certificate"]);
        scan(&[]).unwrap_err().is("unauthenticated", &["asks for a client certificate", "--certificate"]);
    }
    if let Some(answer) = place.pyarrow(&server, "ca.pem", Some("alice")) {
        assert_eq!(answer, super::PEOPLE.to_string());
        assert_eq!(place.pyarrow(&server, "ca.pem", Some("mallory")).unwrap(), "FlightUnavailableError");
        assert_eq!(place.pyarrow(&server, "ca.pem", None).unwrap(), "FlightUnavailableError");
    }
    let refused = server.metric("fastdata_connections_refused_total{reason=\"handshake\"}");
    assert!(refused >= 10.0, "{refused}");
    let scans = super::await_events(&server, "scan", 1);
    assert!(scans.iter().all(|line| line["principal"] == "alice"), "{scans:?}");
}

#[test]
fn where_certificates_are_optional_a_token_does_instead() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let place = with_clients(&servers, &clients);
    let (alice, _) = place.token("alice", &[]);
    let (bob, _) = place.token("bob", &[]);
    place.write("alice.token", &alice);
    place.write("bob.token", &bob);
    let config =
        format!("{TLS}client-ca = \"clients.pem\"\nclient-certificates = \"optional\"\n[server.auth]\ntokens = \"tokens\"\n{ALICE}");
    let server = place.serve(&config);
    let scan = |flags: &[&str]| at_once(|| place.scan(&server.uri, &[&["--ca", "ca.pem"], flags].concat()));
    let all = super::PEOPLE as usize;
    assert_eq!(scan(&["--token-file", "alice.token"]).unwrap(), all);
    assert_eq!(scan(&["--certificate", "alice.pem", "--key", "alice.key"]).unwrap(), all);
    // A token goes before a certificate, whichever of the two sees more.
    assert_eq!(scan(&["--certificate", "bob.pem", "--key", "bob.key", "--token-file", "alice.token"]).unwrap(), all);
    scan(&["--certificate", "alice.pem", "--key", "alice.key", "--token-file", "bob.token"]).unwrap_err().is("not-found", &[]);
    scan(&[]).unwrap_err().is("unauthenticated", &["no valid credentials were sent"]);
    let stranger = ["--certificate", "mallory.pem", "--key", "mallory.key", "--token-file", "alice.token"];
    scan(&stranger).unwrap_err().is("unauthenticated", &["refuses our certificate"]);
}

/// How a server ends that must not start; one that does is ended.
fn refused_start(place: &Place, arguments: &[&str]) -> (Option<i32>, String) {
    let mut child = fastdata(place.folder.path()).args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn plaintext_leaves_the_machine_only_where_that_was_asked_for() {
    let place = Place::new();
    let (status, message) = refused_start(&place, &["serve", "--warehouse", "w", "--listen", "0.0.0.0:0"]);
    assert_eq!(status, Some(2));
    assert!(message.contains("0.0.0.0:0 is not a loopback address") && message.contains("server.plaintext = true"), "{message}");
    place.write("fastdata.toml", "[server]\nplaintext = true\n");
    let server = Server::with(place.folder.path(), &["--warehouse", "w", "--listen", "0.0.0.0:0"]);
    let uri = server.uri.replace("0.0.0.0", "127.0.0.1");
    assert_eq!(place.scan(&uri, &[]).unwrap(), super::PEOPLE as usize);
    // A client does not send its token there. The address is one of those for documentation.
    place.write("token", "fd_canary");
    let failed = at_once(|| place.scan("grpc://192.0.2.1:8815", &["--token-file", "token"]).unwrap_err());
    failed.is("invalid-request", &["unencrypted", "grpc+tls://"]);
    assert!(!failed.text.contains("canary"), "{}", failed.text);
}
