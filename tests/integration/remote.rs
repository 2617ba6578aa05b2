//! The whole way through the network: a REST catalog that vends credentials, table data in an S3 store, the command in front of it.
//!
//! The servers are the testkit's; the table is written to a local folder under the location it has in the store, so that a local scan of
//! the copy is the answer.

use crate::support::{fastdata, succeed};
use fastdata_testkit::rest::{OAuth, RestOptions, RestServer, Vended};
use fastdata_testkit::s3::{Fault, S3Server};
use fastdata_testkit::table::{Built, Columns, Deletes, Evolution, History, Layout, Partitioning, Shape, build};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const LOCATION: &str = "s3://lake/eu west/test/t";
const KEY_PREFIX: &str = "eu west/test/t/";

/// Partitioned, evolved, with every kind of delete, and names in its paths that have to be encoded on the wire.
fn shape() -> Shape {
    Shape {
        first_format: 2,
        format: 3,
        columns: Columns::Nested,
        partitioning: Partitioning::Identity,
        layout: Layout { location: Some(LOCATION.to_owned()), ..Layout::default() },
        deletes: Deletes { positions: true, equality: true, ..Deletes::VECTORS },
        evolution: Evolution { spec: false, ..Evolution::ALL },
        history: History { appends: 3, ..History::SINGLE },
        ..Shape::default()
    }
}

/// A table in the store, its catalog, and a folder with the configuration that names them.
struct Lake {
    catalog: RestServer,
    store: S3Server,
    built: Built,
    folder: TempDir,
}

impl Lake {
    async fn open(credentials: Duration, token: Duration) -> Lake {
        let folder = tempfile::tempdir().unwrap();
        let built = build(&shape(), &folder.path().join("w")).unwrap();
        let store = S3Server::start().await;
        store.put_directory("lake", KEY_PREFIX, &built.table_folder()).unwrap();
        let oauth = OAuth { client_id: "me".to_owned(), client_secret: "a-client-secret-of-tests".to_owned(), lifetime: token };
        let vended = Vended { lifetime: credentials, prefix: Some(format!("{LOCATION}/")), has_endpoint: true };
        let options =
            RestOptions { prefix: Some("warehouse/eu".to_owned()), oauth: Some(oauth), vended: Some(vended), ..RestOptions::default() };
        let catalog = RestServer::start(options).await;
        let metadata = serde_json::from_slice(&std::fs::read(built.metadata_file()).unwrap()).unwrap();
        catalog.add_table(&["test"], "t", built.table.metadata_location(), metadata);
        configure(folder.path(), &catalog.uri(), store.endpoint());
        Lake { catalog, store, built, folder }
    }

    /// Runs the command while the servers answer.
    async fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        run(self.folder.path(), arguments).await
    }

    /// What a scan of the local copy prints.
    fn local(&self, arguments: &[&str]) -> Vec<String> {
        let table = self.built.table_folder();
        let line = [&["scan", table.to_str().unwrap(), "--moved", "-o", "jsonl"], arguments].concat();
        // A folder without the configuration.
        succeed(self.built.folder.as_path(), &line).lines().map(str::to_owned).collect()
    }
}

fn configure(folder: &Path, catalog: &str, store: &str) {
    let settings = format!(
        r#"default-catalog = "lake"
[catalogs.lake]
type = "rest"
uri = "{catalog}"
credential = "me:a-client-secret-of-tests"
scope = "read"
"s3.endpoint" = "{store}"
"s3.region" = "us-east-1"
"s3.path-style-access" = true
"#
    );
    std::fs::write(folder.join("fastdata.toml"), settings).unwrap();
}

async fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = fastdata(folder);
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_through_catalog_and_store_equal_those_of_the_local_copy() {
    let lake = Lake::open(Duration::from_secs(3600), Duration::from_secs(3600)).await;
    for more in [&[][..], &["--where", "id > 100 AND kind IS NOT NULL"], &["--select", "user.full_name,id,_row_id", "--limit", "70"]] {
        let wanted = lake.local(&[&["--order", "stable"], more].concat());
        assert!(wanted.len() > 50, "{more:?}: {} rows", wanted.len());
        let line = [&["scan", "test.t", "-o", "jsonl", "--order", "stable"], more].concat();
        let (status, stdout, stderr) = lake.run(&line).await;
        assert_eq!((status, stderr.as_str()), (Some(0), ""), "{more:?}");
        assert!(stdout.lines().eq(wanted.iter().map(String::as_str)), "{more:?}");
    }
    let (_, listed, _) = lake.run(&["tables"]).await;
    assert_eq!(listed.trim(), "test.t");

    let requests = lake.catalog.requests();
    assert!(requests.iter().any(|r| r.path == "/v1/oauth/tokens" && r.body.contains("grant_type=client_credentials")));
    let table = requests.iter().find(|r| r.path.ends_with("/tables/t")).unwrap();
    assert_eq!(table.path, "/v1/warehouse/eu/namespaces/test/tables/t");
    assert!(table.headers["authorization"].starts_with("Bearer token-"));
    let log = lake.store.take_log();
    assert!(log.iter().all(|r| r.status == 206 || r.status == 200), "{log:?}");
    assert!(log.iter().all(
        |r| r.path.starts_with("/lake/eu%20west/test/t/") && r.signed.access_key_id.as_deref().is_some_and(|id| id.starts_with("key-"))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_and_tokens_that_expire_during_a_scan_are_renewed() {
    let lake = Lake::open(Duration::from_millis(1500), Duration::from_millis(1500)).await;
    let wanted = lake.local(&["--order", "stable"]);
    // The third answer of the store takes longer than the credentials live.
    lake.store.fail([Fault::Hang(Duration::ZERO), Fault::Hang(Duration::ZERO), Fault::Hang(Duration::from_millis(2500))]);
    let (status, stdout, stderr) = lake.run(&["scan", "test.t", "-o", "jsonl", "--order", "stable"]).await;
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert!(stdout.lines().eq(wanted.iter().map(String::as_str)));
    let used: BTreeSet<String> = lake.store.take_log().into_iter().filter_map(|request| request.signed.access_key_id).collect();
    assert!(used.contains("key-1") && used.len() > 1, "{used:?}");
    assert!(lake.catalog.count("/t/credentials") > 0 && lake.catalog.count("/oauth/tokens") > 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_the_store_refuses_are_renewed_once_and_then_reported() {
    let lake = Lake::open(Duration::from_secs(3600), Duration::from_secs(3600)).await;
    lake.store.accept_only(["key-2"]);
    let (status, stdout, stderr) = lake.run(&["scan", "test.t", "-o", "jsonl", "--order", "stable"]).await;
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert!(stdout.lines().eq(lake.local(&["--order", "stable"]).iter().map(String::as_str)));
    lake.store.accept_only(["nobody"]);
    let (status, stdout, stderr) = lake.run(&["scan", "test.t", "-o", "jsonl"]).await;
    assert_eq!((status, stdout.as_str()), (Some(5), ""), "{stderr}");
    assert!(stderr.contains("InvalidAccessKeyId"), "{stderr}");
    assert!(!stderr.contains("a-client-secret-of-tests") && !stderr.contains("vended-secret"), "{stderr}");
}

/// An address that refuses connections.
fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_catalog_and_a_dead_store_are_named_with_the_cause_and_whether_to_try_again() {
    let lake = Lake::open(Duration::from_secs(3600), Duration::from_secs(3600)).await;
    let dead = closed();
    for (catalog, store) in [(dead.as_str(), lake.store.endpoint()), (lake.catalog.uri().as_str(), dead.as_str())] {
        configure(lake.folder.path(), catalog, store);
        let started = Instant::now();
        let (status, stdout, stderr) = lake.run(&["scan", "test.t", "--timeout", "60s"]).await;
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
        assert_eq!((status, stdout.as_str()), (Some(7), ""), "{stderr}");
        assert!(stderr.starts_with("error: unavailable\n") && stderr.contains(&dead), "{stderr}");
        assert!(stderr.contains("Connection refused") && stderr.contains("trying again may help"), "{stderr}");
        assert!(!stderr.contains("a-client-secret-of-tests"), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_catalog_and_a_silent_store_end_at_the_timeout() {
    let lake = Lake::open(Duration::from_secs(3600), Duration::from_secs(3600)).await;
    // Takes connections into its backlog and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    for (catalog, store) in [(address.as_str(), lake.store.endpoint()), (lake.catalog.uri().as_str(), address.as_str())] {
        configure(lake.folder.path(), catalog, store);
        let started = Instant::now();
        let (status, stdout, stderr) = lake.run(&["scan", "test.t", "--timeout", "2s"]).await;
        assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
        assert_eq!((status, stdout.as_str()), (Some(8), ""), "{stderr}");
        assert!(stderr.starts_with("error: deadline-exceeded\n"), "{stderr}");
    }
}

/// Rows that were printed before the store broke are no success.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_gone_is_a_missing_file_and_never_a_short_success() {
    let lake = Lake::open(Duration::from_secs(3600), Duration::from_secs(3600)).await;
    let file = &lake.built.table.data_files()[0];
    lake.store.remove("lake", &format!("{KEY_PREFIX}{}", file.path.strip_prefix(LOCATION).unwrap().trim_start_matches('/')));
    let (status, _, stderr) = lake.run(&["scan", "test.t", "-o", "none"]).await;
    assert_eq!(status, Some(4), "{stderr}");
    assert!(stderr.starts_with("error: missing-file\n") && stderr.contains(&file.path), "{stderr}");
}
