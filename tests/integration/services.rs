//! The real programs that the other tests start: each comes up, does its work, and is gone with its value.

use crate::served::private::{Issuer, claims};
use crate::support::{fail, fastdata, root, succeed};
use fastdata_testkit::services::minio::{Credentials, Minio};
use fastdata_testkit::services::nessie::{self, Nessie};
use fastdata_testkit::services::postgres::Postgres;
use fastdata_testkit::services::process::start_time;
use fastdata_testkit::services::reference::Reference;
use fastdata_testkit::services::{catalog::Catalog, demo, running};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn listens(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

#[test]
fn minio_checks_credentials_keeps_its_objects_over_a_crash_and_ends() {
    let Some(minio) = Minio::start() else { return };
    let (key, root) = ("a b/ü/100%+.txt", Credentials::root());
    minio.put("first", key, "rows");
    assert_eq!(minio.get_as(&root, "first", key).unwrap(), "rows");
    let wrong = Credentials { secret_access_key: "another".to_owned(), ..root.clone() };
    let (status, body) = minio.get_as(&wrong, "first", key).unwrap_err();
    assert!(status == 403 && body.contains("SignatureDoesNotMatch"), "{status} {body}");
    minio.kill();
    assert!(!listens(minio.address()));
    minio.restart();
    assert_eq!(minio.get_as(&root, "first", key).unwrap(), "rows");
    minio.remove("first", key);
    assert_eq!(minio.get_as(&root, "first", key).unwrap_err().0, 404);
    let address = minio.address();
    drop(minio);
    assert!(!listens(address));
}

#[test]
fn a_session_of_minio_opens_what_its_policy_names_and_nothing_else() {
    let Some(minio) = Minio::shared() else { return };
    minio.put("sessions", "mine/a", "a");
    minio.put("sessions", "other/b", "b");
    let policy = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::sessions/mine/*"}]}"#;
    let session = minio.assume_role(Duration::from_secs(900), Some(policy));
    assert!(session.session_token.is_some());
    assert_eq!(minio.get_as(&session, "sessions", "mine/a").unwrap(), "a");
    assert_eq!(minio.get_as(&session, "sessions", "other/b").unwrap_err().0, 403);
    let stripped = Credentials { session_token: None, ..session };
    assert_eq!(minio.get_as(&stripped, "sessions", "mine/a").unwrap_err().0, 403);
}

#[test]
fn minio_speaks_tls_with_a_certificate_of_its_authority() {
    let Some(minio) = Minio::start_with_tls() else { return };
    assert!(minio.endpoint().starts_with("https://") && minio.root_certificate().is_file());
    minio.put("first", "a", "rows");
    assert_eq!(minio.get_as(&Credentials::root(), "first", "a").unwrap(), "rows");
    let stranger = fastdata_testkit::services::minio::S3 { authority: None, ..minio.s3().clone() };
    let (_, why) = stranger.get_as(&Credentials::root(), "first", "a").unwrap_err();
    assert!(!stranger.answers() && why.contains("error sending request"), "{why}");
}

#[test]
fn postgresql_keeps_rows_and_ends() {
    let Some(server) = Postgres::start() else { return };
    server.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1);");
    let address = server.address();
    assert!(listens(address));
    drop(server);
    assert!(!listens(address));
}

/// Writes `fastdata.toml` with one catalog, `lake`, and more properties in TOML.
fn configure(folder: &Path, uri: &str, properties: impl IntoIterator<Item = (String, String)>) {
    let lines: String = properties.into_iter().map(|(name, value)| format!("\"{name}\" = \"{value}\"\n")).collect();
    let text = format!("default-catalog = \"lake\"\n[catalogs.lake]\ntype = \"rest\"\nuri = \"{uri}\"\n{lines}");
    std::fs::write(folder.join("fastdata.toml"), text).unwrap();
}

/// The demo table through the catalog, by the command, against the same table in a local folder.
fn reads_the_demo_table(folder: &Path) {
    let local = tempfile::tempdir().unwrap();
    let table = demo::build_table(local.path(), "lake", "any");
    let line = ["scan", table.table_folder().to_str().unwrap(), "--moved", "-o", "jsonl", "--order", "stable"].map(str::to_owned);
    let wanted = succeed(local.path(), &line.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(wanted.lines().count() > 100);
    assert_eq!(succeed(folder, &["tables"]).trim(), "demo.events");
    assert_eq!(succeed(folder, &["scan", "demo.events", "-o", "jsonl", "--order", "stable"]), wanted);
}

#[test]
fn the_reference_catalog_names_tables_in_minio_and_ends() {
    let Some(minio) = Minio::shared() else { return };
    minio.create_bucket("reference");
    let Some(reference) = Reference::start_on(minio, "s3://reference/warehouse") else { return };
    demo::register(&reference.catalog(), &demo::put_table(minio, "reference", "tables"));
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), &reference.uri(), minio.properties());
    reads_the_demo_table(folder.path());
    let address = reference.address();
    drop(reference);
    assert!(!listens(address));
}

#[test]
fn nessie_vends_sessions_that_open_one_table_and_ends() {
    let Some(minio) = Minio::shared() else { return };
    let Some(nessie) = Nessie::start(minio) else { return };
    demo::register(&nessie.catalog(), &demo::put_table(minio, "lake", "nessie"));
    minio.put("lake", "nessie/demo/neighbour/secret", "rows");
    let folder = tempfile::tempdir().unwrap();
    // No credentials: they come from the catalog.
    configure(folder.path(), &nessie.uri(), []);
    reads_the_demo_table(folder.path());

    let vended = vended(&nessie.catalog());
    let key = |name: &str| format!("nessie/demo/{name}");
    let metadata = demo::put_table(minio, "lake", "nessie");
    let below = metadata.strip_prefix(&format!("{}/demo/events/", nessie::WAREHOUSE)).unwrap().to_owned();
    assert!(minio.get_as(&vended, "lake", &key(&format!("events/{below}"))).is_ok());
    assert_eq!(minio.get_as(&vended, "lake", &key("neighbour/secret")).unwrap_err().0, 403);
    let address = nessie.address();
    drop(nessie);
    assert!(!listens(address));
}

/// Serves an issuer's discovery document and key until the runtime is dropped, and gives its URI.
fn publish(issuer: &Issuer, runtime: &tokio::runtime::Runtime) -> String {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let answer = |body: Value| axum::routing::get(move || std::future::ready(axum::Json(body.clone())));
    let discovery = json!({"issuer": uri, "jwks_uri": format!("{uri}/jwks"), "token_endpoint": format!("{uri}/token")});
    let router = axum::Router::new()
        .route("/.well-known/openid-configuration", answer(discovery))
        .route("/jwks", answer(json!({"keys": [issuer.jwk()]})));
    runtime.spawn(async move { axum::serve(listener, router).await });
    uri
}

#[test]
fn nessie_with_an_issuer_takes_its_tokens_and_no_others() {
    let Some(minio) = Minio::shared() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let issuer = Issuer::new();
    let uri = publish(&issuer, &runtime);
    let Some(nessie) = Nessie::start_with_issuer(minio, &uri) else { return };
    let claims = |changes: Value| {
        let mut claims = claims(json!({"iss": uri, "iat": chrono::Utc::now().timestamp()}));
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        claims
    };
    let token = issuer.sign(&claims(json!({})));
    demo::register(&nessie.catalog().with_token(&token), &demo::put_table(minio, "lake", "nessie"));
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), &nessie.uri(), [("token".to_owned(), token)]);
    reads_the_demo_table(folder.path());
    for wrong in [Issuer::new().sign(&claims(json!({}))), issuer.sign(&claims(json!({"exp": 1})))] {
        configure(folder.path(), &nessie.uri(), [("token".to_owned(), wrong.clone())]);
        let (status, said) = fail(folder.path(), &["tables"]);
        assert!(status == 5 && said.starts_with("error: unauthenticated\n") && !said.contains(&wrong), "{status} {said}");
    }
}

/// The credentials that a table is loaded with.
fn vended(catalog: &Catalog) -> Credentials {
    let answer = catalog.load(&[demo::NAMESPACE], demo::TABLE);
    let text = |name: &str| answer["config"][name].as_str().unwrap_or_else(|| panic!("{name} in {}", answer["config"])).to_owned();
    Credentials {
        access_key_id: text("s3.access-key-id"),
        secret_access_key: text("s3.secret-access-key"),
        session_token: Some(text("s3.session-token")),
    }
}

/// Ends what a failing test leaves running.
struct Up(tempfile::TempDir);

impl Drop for Up {
    fn drop(&mut self) {
        running::down(self.0.path());
    }
}

#[test]
fn services_of_developers_come_up_once_hold_a_table_each_and_end() {
    let up = Up(tempfile::tempdir().unwrap());
    let folder = up.0.path();
    // PostgreSQL runs as a user of its own, who has to get there.
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let services = running::up(folder);
    let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    if names != ["minio", "postgres", "rest", "nessie"] {
        return crate::support::skip("one of MinIO, PostgreSQL, the REST catalog and Nessie");
    }
    assert_eq!(running::up(folder), services, "a second start starts nothing");
    for catalog in ["postgres", "rest", "nessie"] {
        let listed = succeed(folder, &["tables", catalog]);
        assert!(listed.contains("demo.events"), "{catalog}: {listed}");
        let counted = succeed(folder, &["count", &format!("{catalog}.demo.events")]);
        assert!(counted.trim().parse::<u64>().is_ok_and(|rows| rows > 100), "{catalog}: {counted}");
    }
    let ended = running::down(folder);
    assert_eq!(ended.len(), services.len());
    assert!(services.iter().all(|service| start_time(service.pid).is_none()));
    let refused = fastdata(folder).args(["tables", "rest", "--timeout", "20s"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(7), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(running::down(folder), [], "nothing is left to end");
}

/// Runs the script with an empty cache and a `go` that fails.
fn components(arguments: &[&str], require: &str) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    std::fs::write(&go, "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::set_permissions(&go, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(root().join("scripts/components.sh"));
    command.args(arguments).env("PATH", path).env("FASTDATA_CACHE", folder.path().join("cache")).env("FASTDATA_REQUIRE", require);
    let output = command.output().unwrap();
    // What an interrupted or failed installation leaves would count as one.
    let left = std::fs::read_dir(folder.path().join("cache/components")).into_iter().flatten();
    let left: Vec<String> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).filter(|n| !n.ends_with(".lock")).collect();
    assert!(left.is_empty(), "{left:?}");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_component_that_cannot_be_installed_is_named_and_fails_only_where_everything_is_required() {
    let (status, printed, said) = components(&["minio"], "");
    assert_eq!((status, printed.as_str()), (Some(0), ""), "{said}");
    assert!(said.contains("without minio"), "{said}");
    let (status, printed, said) = components(&["minio"], "all");
    assert_eq!((status, printed.as_str()), (Some(1), ""), "{said}");
    assert!(said.contains("minio is required and could not be installed"), "{said}");
    assert_eq!(components(&["--installed"], "all"), (Some(0), String::new(), String::new()));
    assert_eq!(components(&["minio-server"], "").0, Some(2));
}

#[test]
fn the_versions_described_are_those_that_are_installed() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let (script, described) = (read("scripts/components.sh"), read("docs/services.md"));
    let set = |name: &str| script.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap().to_owned();
    let pom = |component: &str, element: &str| {
        let text = read(&format!("scripts/components/{component}/pom.xml"));
        let (_, rest) = text.rsplit_once(&format!("<{element}>")).unwrap();
        rest.split_once("</").unwrap().0.to_owned()
    };
    let nessie = set("nessie_version");
    assert!(read("scripts/components/nessie/pom.xml").contains(&format!("<version>{nessie}</version>")), "{nessie}");
    let installed = [
        ("minio", set("minio_version")),
        ("nessie", nessie),
        ("rest", pom("rest", "iceberg")),
        ("spark-jars", pom("spark-jars", "version")),
    ];
    for (component, version) in installed {
        let row = described.lines().find(|line| line.starts_with(&format!("| `{component}` |"))).unwrap();
        assert!(row.contains(&version), "docs/services.md should say {version}: {row}");
    }
}
