//! The real programs that the other tests start: each comes up, does its work, and is gone with its value.

use crate::catalogs::Kind;
use crate::support::{fail, fastdata, root, succeed};
use fastdata_testkit::issuer::Issuer;
use fastdata_testkit::services::minio::{Credentials, Minio, S3};
use fastdata_testkit::services::nessie::{self, Nessie};
use fastdata_testkit::services::postgres::{self, Postgres};
use fastdata_testkit::services::process::{Life, Process, Program, free_ports, on_ports, start_time};
use fastdata_testkit::services::reference::{self, Reference};
use fastdata_testkit::services::{catalog::Catalog, demo, running};
use http::Method;
use serde_json::json;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
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

    let vended = nessie.catalog().lent(&[demo::NAMESPACE], demo::TABLE);
    let key = |name: &str| format!("nessie/demo/{name}");
    let metadata = demo::put_table(minio, "lake", "nessie");
    let below = metadata.strip_prefix(&format!("{}/demo/events/", nessie::WAREHOUSE)).unwrap().to_owned();
    assert!(minio.get_as(&vended, "lake", &key(&format!("events/{below}"))).is_ok());
    assert_eq!(minio.get_as(&vended, "lake", &key("neighbour/secret")).unwrap_err().0, 403);

    // A branch of Nessie's own is another catalog, whose prefix is its name.
    let api = Catalog::new(format!("http://{}/api/v2", nessie.address()), "");
    let (status, main) = api.ask(Method::GET, "/trees/main", None);
    assert!(status.is_success(), "{status} {main}");
    let (status, said) = api.ask(Method::POST, "/trees?name=dev&type=BRANCH", Some(main["reference"].clone()));
    assert!(status.is_success(), "{status} {said}");
    let dev = Catalog::new(format!("{}/v1/dev", nessie.uri()), nessie::SEPARATOR);
    dev.register(&[demo::NAMESPACE], "more", &metadata);
    assert_eq!(succeed(folder.path(), &["tables"]).trim(), "demo.events");
    let rows = succeed(folder.path(), &["count", "demo.events"]);
    configure(folder.path(), &nessie.uri(), [("prefix".to_owned(), "dev".to_owned())]);
    assert_eq!(succeed(folder.path(), &["tables"]).lines().collect::<Vec<_>>(), ["demo.events", "demo.more"]);
    assert_eq!(succeed(folder.path(), &["count", "demo.more"]), rows);
    let address = nessie.address();
    drop(nessie);
    assert!(!listens(address));
}

#[test]
fn nessie_with_an_issuer_takes_its_tokens_and_no_others() {
    let Some(minio) = Minio::shared() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let issuer = || runtime.block_on(Issuer::start("reader", "reader-secret", Duration::from_secs(300)));
    let (issuer, stranger) = (issuer(), issuer());
    let Some(nessie) = Nessie::start_with_issuer(minio, issuer.uri()) else { return };
    let token = issuer.token();
    demo::register(&nessie.catalog().with_token(&token), &demo::put_table(minio, "lake", "nessie"));
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), &nessie.uri(), [("token".to_owned(), token)]);
    reads_the_demo_table(folder.path());
    // Of another key, and of another time.
    for wrong in [stranger.sign(json!({"iss": issuer.uri()})), issuer.sign(json!({"exp": 1}))] {
        configure(folder.path(), &nessie.uri(), [("token".to_owned(), wrong.clone())]);
        let (status, said) = fail(folder.path(), &["tables"]);
        assert!(status == 5 && said.starts_with("error: unauthenticated\n") && !said.contains(&wrong), "{status} {said}");
    }
    // Nessie gives no tokens itself.
    configure(folder.path(), &nessie.uri(), [("credential".to_owned(), "reader:reader-secret".to_owned())]);
    let (status, said) = fail(folder.path(), &["tables"]);
    assert!(status == 2 && said.contains("set `oauth2-server-uri`") && said.contains(&nessie.uri()), "{status} {said}");
    assert!(!said.contains("reader-secret"), "{said}");
}

/// The program of `make services-up`.
fn program() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_fastdata")).with_file_name("examples").join("services")
}

/// Ends what a failing test leaves running.
struct Up(tempfile::TempDir);

impl Drop for Up {
    fn drop(&mut self) {
        running::down(self.0.path());
    }
}

/// Where the metadata of the demo table is, by each catalog in turn.
fn metadata(folder: &Path) -> [String; 3] {
    ["postgres", "rest", "nessie"].map(|catalog| {
        let described = succeed(folder, &["describe", &format!("{catalog}.demo.events")]);
        let line = described.lines().find_map(|line| line.strip_prefix("metadata "));
        line.unwrap_or_else(|| panic!("{described}")).trim().to_owned()
    })
}

/// Gives the demo table new metadata in each catalog, as a commit would; where it is in PostgreSQL's is told.
fn move_on(services: &[running::Service], metadata: &str) {
    let address = |name: &str| services.iter().find(|service| service.name == name).unwrap().address();
    let rest = Catalog::new(format!("{}/v1", address("rest")), reference::SEPARATOR);
    let nessie = Catalog::new(format!("{}/v1/main", address("nessie")), nessie::SEPARATOR);
    for catalog in [rest, nessie] {
        let updates = json!([{"action": "set-properties", "updates": {"owner": "a developer"}}]);
        let body = json!({"identifier": {"namespace": ["demo"], "name": "events"}, "requirements": [], "updates": updates});
        let (status, said) = catalog.ask(Method::POST, &catalog.table(&["demo"], "events"), Some(body));
        assert!(status.is_success(), "{status} {said}");
    }
    let store = S3 { endpoint: address("minio"), authority: None };
    let (bucket, key) = metadata.strip_prefix("s3://").unwrap().split_once('/').unwrap();
    let file = store.get_as(&Credentials::root(), bucket, key).unwrap();
    let next = key.replace(".metadata.json", "-next.metadata.json");
    store.put(bucket, &next, file);
    postgres::execute(&address("postgres"), &format!("UPDATE iceberg_tables SET metadata_location = 's3://{bucket}/{next}'"));
}

#[test]
fn services_of_developers_come_up_once_hold_a_table_each_and_end() {
    let up = Up(tempfile::tempdir().unwrap());
    let folder = up.0.path();
    // PostgreSQL runs as a user of its own, who has to get there.
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let services = running::up(folder, &program());
    let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    if names != ["minio", "postgres", "rest", "nessie", "proxy", "door"] {
        return crate::support::skip("one of MinIO, PostgreSQL, the REST catalog and Nessie");
    }
    assert_eq!(running::missing(&services), [""; 0]);
    assert_eq!(running::up(folder, &program()), services, "a second start starts nothing");
    for catalog in ["postgres", "rest", "nessie", "door"] {
        let listed = succeed(folder, &["tables", catalog]);
        assert!(listed.contains("demo.events"), "{catalog}: {listed}");
        let counted = succeed(folder, &["count", &format!("{catalog}.demo.events")]);
        assert!(counted.trim().parse::<u64>().is_ok_and(|rows| rows > 100), "{catalog}: {counted}");
    }
    let database = services.iter().find(|service| service.name == "postgres").unwrap().address();
    let settings = std::fs::read_to_string(folder.join("fastdata.toml")).unwrap();
    let wrong = tempfile::tempdir().unwrap();
    std::fs::write(wrong.path().join("fastdata.toml"), settings.replace(&database, &database.replace("-postgres-secret@", "-wrong@")))
        .unwrap();
    let (status, said) = fail(wrong.path(), &["tables", "postgres"]);
    assert!(status == 5 && said.starts_with("error: unauthenticated\n"), "{status} {said}");
    // What a developer does to a table is there after another start, and after an end and a start.
    let made = metadata(folder);
    move_on(&services, &made[0]);
    let moved = metadata(folder);
    assert!(moved.iter().zip(&made).all(|(moved, made)| moved != made), "{moved:?}");
    running::up(folder, &program());
    assert_eq!(metadata(folder), moved, "after another start");
    let configuration = std::fs::read_to_string(folder.join("fastdata.toml")).unwrap();
    let ended = running::down(folder);
    assert_eq!(ended.len(), services.len());
    assert!(services.iter().all(|service| start_time(service.pid).is_none()));
    let again = running::up(folder, &program());
    let ports = |services: &[running::Service]| services.iter().map(|service| service.address()).collect::<Vec<_>>();
    assert_eq!(ports(&again), ports(&services), "ports stay");
    assert_eq!(std::fs::read_to_string(folder.join("fastdata.toml")).unwrap(), configuration);
    assert_eq!(metadata(folder), moved, "after an end and a start");
    assert_eq!(running::down(folder).len(), services.len());
    let refused = fastdata(folder).args(["tables", "rest", "--timeout", "20s"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(7), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(running::down(folder), [], "nothing is left to end");
}

/// A process that runs a line of a shell, with its log in a folder.
fn shell(folder: &Path, line: &str, life: Life) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    Process::start(Program { name: "a shell", command, log: folder.join("log"), stop: "KILL", user: None }, life)
}

#[test]
fn a_service_that_does_not_come_up_is_not_left_running() {
    let folder = tempfile::tempdir().unwrap();
    let process = shell(folder.path(), "exec sleep 600", Life::Detached);
    let pid = process.id();
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| process.up(|| panic!("nobody can ask"))));
    assert!(failed.is_err() && start_time(pid).is_none());
    let process = shell(folder.path(), "exec sleep 600", Life::Detached);
    let pid = process.id();
    process.release();
    assert!(start_time(pid).is_some(), "what is released goes on");
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_server_that_ends_at_once_is_started_once_more_on_other_ports() {
    let folder = tempfile::tempdir().unwrap();
    let taken = free_ports();
    let mut tried = Vec::new();
    let (ports, process) = on_ports(taken, |ports| {
        tried.push(ports);
        let line = if ports == taken { "echo the port is taken; exit 1" } else { "exec sleep 600" };
        shell(folder.path(), line, Life::Bound).up(|| ports != taken)
    });
    assert!(tried == [taken, ports] && start_time(process.id()).is_some(), "{tried:?}");
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        on_ports(free_ports(), |_| shell(folder.path(), "echo no such file; exit 3", Life::Bound).up(|| false))
    }));
    let said = *failed.unwrap_err().downcast::<String>().unwrap();
    assert!(said.contains("a shell ended (exit status: 3)") && said.ends_with("no such file\nno such file\n"), "{said}");
}

#[test]
fn what_developers_ask_for_and_cannot_have_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(root().join("scripts/services.sh"));
        let output = command.args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run(&[]), (Some(2), "usage: services.sh up|down\n".to_owned()));
    assert_eq!(run(&["begin"]), (Some(2), "usage: services.sh up|down\n".to_owned()));
    // With an empty cache, and so without programs; PostgreSQL may be there.
    let services = program();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let command = |name: &str| {
        let mut command = Command::new(&services);
        command.args([name, "--dir"]).arg(folder.path()).env("FASTDATA_CACHE", folder.path().join("cache")).env_remove("FASTDATA_REQUIRE");
        for variable in ["FASTDATA_MINIO", "FASTDATA_REST_CLASSPATH", "FASTDATA_NESSIE", "FASTDATA_JAVA21"] {
            command.env_remove(variable);
        }
        command.output().unwrap()
    };
    let (up, down) = (command("up"), command("down"));
    let said = String::from_utf8_lossy(&up.stderr);
    assert!(up.status.code() == Some(1) && down.status.success(), "{said}");
    assert!(said.contains("not started: minio, ") && said.contains("rest, nessie, proxy, door; scripts/setup.sh installs"), "{said}");
}

#[test]
fn the_version_of_postgresql_is_pinned_and_else_the_highest() {
    let folder = tempfile::tempdir().unwrap();
    let newest = || postgres::programs_in(folder.path()).map(|bin| bin.strip_prefix(folder.path()).unwrap().display().to_string());
    assert_eq!(newest(), None);
    for (version, wanted) in
        [("9.6", "9.6/bin"), ("14", "14/bin"), ("17", "17/bin"), ("16", "17/bin"), ("15", "15/bin"), ("other", "15/bin")]
    {
        let bin = folder.path().join(version).join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        ["initdb", "postgres"].iter().for_each(|name| std::fs::write(bin.join(name), "").unwrap());
        assert_eq!(newest().as_deref(), Some(wanted), "with {version}");
    }
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
    let (status, printed, said) = components(&["--installed"], "all");
    assert_eq!((status, printed.as_str()), (Some(0), ""));
    for name in ["minio", "rest", "nessie", "spark-jars"] {
        assert!(
            said.contains(&format!("without {name}: tests that need it are skipped; scripts/components.sh {name} installs it\n")),
            "{said}"
        );
    }
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
    let (rest, postgres) = (pom("rest", "iceberg"), postgres::VERSION.to_string());
    // Of the table in README, whose text comes from these, and of the pages of catalogs.
    for (kind, program) in [
        (Kind::Reference, format!("Iceberg {rest} REST catalog server")),
        (Kind::Nessie, format!("Nessie {nessie}")),
        (Kind::Postgres, format!("PostgreSQL {postgres}")),
    ] {
        assert!(kind.program().starts_with(&format!("{program}, ")), "{kind:?} should say {program}: {}", kind.program());
    }
    for (page, words) in [
        ("docs/catalogs/rest.md", format!("reference implementation of the Iceberg project ({rest})")),
        ("docs/catalogs/nessie.md", format!("Tried with {nessie} over MinIO")),
        ("docker-compose.yml", format!("image: postgres:{postgres}-")),
        ("scripts/setup.sh", format!("package=postgresql-{postgres}\n")),
    ] {
        assert!(read(page).contains(&words), "{page} should say {words}");
    }
    let installed = [
        ("`minio`", set("minio_version")),
        ("`nessie`", nessie),
        ("`rest`", rest),
        ("`spark-jars`", pom("spark-jars", "version")),
        ("PostgreSQL", postgres),
    ];
    for (component, version) in installed {
        let row = described.lines().find(|line| line.starts_with(&format!("| {component} |"))).unwrap();
        assert!(row.contains(&version), "docs/services.md should say {version}: {row}");
    }
}
