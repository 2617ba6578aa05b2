//! Credentials that a catalog lends: they end during a scan, are renewed once for all, and open one table only.
//!
//! How: the strict door lends sessions of the real store and says that they end soon; the proxy before the store refuses them from that
//! moment on, as the store itself would after its fifteen minutes. Each request takes long, so that a scan outlives several lots.

use super::lake::{Kind, Lake, bucket_and_key, documented, door_options, filled, ran};
use crate::served::Server;
use crate::support::{fastdata, soak};
use fastdata_testkit::door::Door;
use fastdata_testkit::proxy::{Conditions, Proxy};
use fastdata_testkit::rest::Fault;
use fastdata_testkit::services::http;
use fastdata_testkit::services::minio::{Credentials, Minio};
use fastdata_testkit::services::reference::Reference;
use fastdata_testkit::table::{Built, Deletes, History, Layout, Partitioning, Shape, build};
use serde_json::Value;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const LONG: Duration = Duration::from_secs(3600);
/// Scans at once.
const SCANS: usize = 4;
/// Read one after the other, so that a scan takes as many requests in a row at least.
const LANES: &str = "4";

/// A table behind a door that lends for a while, and a proxy that keeps to it.
struct Lent {
    folder: TempDir,
    built: Built,
    door: Door,
    proxy: Arc<Proxy>,
    _reference: Reference,
    // Door and proxy run on it.
    _runtime: Runtime,
}

impl Lent {
    /// `None` where a program is not installed.
    fn open(bucket: &'static str, life: Duration, token_life: Duration, tells_end: bool, latency: Duration) -> Option<Lent> {
        let minio = Minio::shared()?;
        let reference = Reference::start_on(minio, &format!("s3://{bucket}/rest"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let proxy = Arc::new(runtime.block_on(Proxy::start(minio.address(), Conditions { latency, ..Conditions::default() })).unwrap());
        let mut options = door_options(&reference, minio, token_life, life);
        let lending = options.lending.as_mut().unwrap();
        lending.tells_end = tells_end;
        lending.properties.insert("s3.endpoint".to_owned(), proxy.endpoint());
        let (session, before) = (lending.session.clone(), proxy.clone());
        lending.session = Arc::new(move |location| {
            let session = session(location);
            before.expire(&session.access_key_id, Instant::now() + life);
            session
        });
        let door = runtime.block_on(Door::open(options));
        let folder = tempfile::tempdir().unwrap();
        let shape = Shape {
            partitioning: Partitioning::Bucket,
            deletes: Deletes::POSITIONS,
            layout: Layout { rows: 900, files_per_partition: 3, location: Some(format!("s3://{bucket}/long")), ..Layout::default() },
            history: History { appends: 4, ..History::SINGLE },
            ..Shape::default()
        };
        let built = build(&shape, &folder.path().join("w")).unwrap();
        minio.put_directory(bucket, "long/", &built.table_folder());
        let catalog = reference.catalog();
        catalog.create_namespace(&["sales"]);
        catalog.register(&["sales"], "orders", built.table.metadata_location());
        let page = documented("docs/catalogs/rest.md", 1);
        std::fs::write(folder.path().join("fastdata.toml"), filled(&page, &[("https://catalog.example.com", &door.uri())])).unwrap();
        Some(Lent { folder, built, door, proxy, _reference: reference, _runtime: runtime })
    }

    /// The rows, sorted.
    fn wanted(&self) -> Vec<String> {
        let copy = self.built.table_folder();
        let ran = ran("/".as_ref(), &["scan", copy.to_str().unwrap(), "--moved", "-o", "jsonl"]);
        assert_eq!(ran.status, 0, "{ran:?}");
        sorted(&ran.stdout)
    }
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// How long what is lent is good for, and what each request waits. The long form takes two minutes, the short one some seconds.
fn times() -> (Duration, Duration) {
    if soak() { (Duration::from_secs(30), Duration::from_secs(15)) } else { (Duration::from_secs(2), Duration::from_secs(1)) }
}

#[test]
fn lent_credentials_are_renewed_once_for_all_scans_that_outlive_them() {
    let (life, latency) = times();
    let Some(lent) = Lent::open("lent", life, LONG, true, latency) else { return };
    let wanted = lent.wanted();
    let server = Server::with(lent.folder.path(), &[]);
    let before = lent.door.passed();
    let started = Instant::now();
    let scans: Vec<_> = (0..SCANS)
        .map(|_| {
            let mut command = fastdata(lent.folder.path());
            command.args(["scan", "sales.orders", "-o", "jsonl", "--lanes", LANES, "--server", &server.uri]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for scan in scans {
        let output = scan.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(sorted(std::str::from_utf8(&output.stdout).unwrap()) == wanted);
    }
    let took = started.elapsed();
    let passed = lent.door.passed();
    let (vended, renewed) = (passed.lent - before.lent, passed.renewed - before.renewed);
    let log = lent.proxy.take_log();
    let refused = log.iter().filter(|request| request.status == 400).count();
    eprintln!(
        "{SCANS} scans of {:.1} s on credentials of {life:?}: lent {vended} times with the table, {renewed} renewals, {refused} of {} requests refused",
        took.as_secs_f64(),
        log.len()
    );
    assert!(refused * 10 < log.len(), "{refused} of {} requests went out with credentials that had ended", log.len());
    assert!(took > life * 4, "the scans took {took:?}: they hardly outlived the credentials");
    // They are renewed a fifth of their life before they end: whoever asked sooner did not know what the others had.
    let gaps: Vec<Duration> = lent.door.renewals().windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(renewed >= 2 && gaps.iter().all(|gap| *gap > life.mul_f64(0.6)), "{renewed} renewals, {gaps:?} apart");
}

#[test]
fn credentials_whose_end_is_not_told_are_renewed_when_the_store_refuses_them() {
    let (life, latency) = times();
    let Some(lent) = Lent::open("untold", life, LONG, false, latency) else { return };
    let ran = ran(lent.folder.path(), &["scan", "sales.orders", "-o", "jsonl", "--lanes", LANES]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert!(sorted(&ran.stdout) == lent.wanted());
    let refused = lent.proxy.take_log().iter().filter(|request| request.status == 400).count();
    assert!(refused > 0 && lent.door.passed().renewed > 0, "{refused} refused, {:?}", lent.door.passed());
}

#[test]
fn tokens_that_expire_are_exchanged_anew_and_other_refusals_are_told() {
    let Some(lent) = Lent::open("tokens", LONG, Duration::from_secs(2), true, Duration::ZERO) else { return };
    let server = Server::with(lent.folder.path(), &[]);
    let count = || {
        let ran = ran(lent.folder.path(), &["count", "sales.orders", "--server", &server.uri]);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
        ran.stdout.trim().to_owned()
    };
    let wanted = lent.built.current_rows().len().to_string();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(5) {
        assert_eq!(count(), wanted);
    }
    let passed = lent.door.passed();
    assert!((2..=5).contains(&passed.tokens) && passed.strangers == 0, "renewed before each end: {passed:?}");
    // One that was had this moment is not exchanged for its age.
    while lent.door.passed().tokens == passed.tokens {
        assert_eq!(count(), wanted);
    }
    let passed = lent.door.passed();
    lent.door.expire_tokens();
    assert_eq!(count(), wanted);
    assert!(lent.door.passed().expired > passed.expired, "419 was answered, and the token exchanged");
    // Of the command itself, which asks for a token first.
    for (fault, kind, status, named) in [
        (
            Fault::Status(403, r#"{"error": {"message": "not yours", "type": "ForbiddenException", "code": 403}}"#),
            "permission-denied",
            5,
            "not yours",
        ),
        (Fault::Status(401, ""), "unauthenticated", 5, "credential"),
        (Fault::Status(419, ""), "unauthenticated", 5, "credential"),
        (Fault::Html, "unavailable", 7, "HTML"),
        (Fault::Status(500, "no"), "unavailable", 7, "500"),
    ] {
        // A refused token is exchanged once, and an error of the server's own is asked about three times.
        for _ in 0..3 {
            lent.door.fail_next("/tables/orders", fault.clone());
        }
        let ran = ran(lent.folder.path(), &["describe", "sales.orders"]);
        ran.assert_refused(kind, status, &[named, "/tables/orders"]);
        assert!(!ran.stderr.contains("reader-secret"), "{ran:?}");
        lent.door.forgive();
    }
}

/// What the catalog lends with a table, by its own answer.
fn lent_with(uri: &str, prefix: &str, table: &str, token: Option<&str>) -> Credentials {
    let url = format!("{uri}/v1/{prefix}namespaces/{table}");
    let answer: Value = http::wait(async {
        let request = http::client(None).get(&url).header("x-iceberg-access-delegation", "vended-credentials");
        let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
        let text = request.send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{url}: {e}: {text}"))
    });
    let config = [&answer["storage-credentials"][0]["config"], &answer["config"]];
    let value =
        |key: &str| config.iter().find_map(|config| config[key].as_str()).unwrap_or_else(|| panic!("no {key} in {answer}")).to_owned();
    Credentials {
        access_key_id: value("s3.access-key-id"),
        secret_access_key: value("s3.secret-access-key"),
        session_token: Some(value("s3.session-token")),
    }
}

/// Refused by us before the store is asked, and by the store where we are told to ask.
fn do_not_open_another_table(kind: Kind) {
    let (Some(lake), Some(minio)) = (Lake::open(kind), Minio::shared()) else { return };
    let own = lake.build("private/own", &Shape::default());
    let other = lake.build("private/other", &Shape { seed: 5, ..Shape::default() });
    lake.register(&["private"], "own", own.table.metadata_location()).unwrap();
    lake.register(&["private"], "other", other.table.metadata_location()).unwrap();
    let (uri, prefix, token) = lake.rest();
    let credentials = lent_with(&uri, prefix, "private/tables/own", token.as_deref());
    let get = |built: &Built| {
        let (bucket, key) = bucket_and_key(&built.table.data_files()[0].path);
        minio.get_as(&credentials, &bucket, &key).map_err(|(status, _)| status.as_u16())
    };
    assert!(get(&own).is_ok_and(|bytes| !bytes.is_empty()), "they open their own table");
    assert_eq!(get(&other), Err(403), "and no other");

    // A table that says another's file is its own.
    let theirs = other.table.data_files()[0].path.clone();
    let mut thief = lake.build("private/thief", &Shape { seed: 6, ..Shape::default() });
    let batch = thief.current_batch().unwrap();
    let mut change = thief.table.change();
    change.append(&[batch], &fastdata_write::FileOptions::default()).unwrap();
    change.added_files()[0].path = theirs.clone();
    change.commit().unwrap();
    lake.upload(&thief);
    lake.register(&["private"], "thief", thief.table.metadata_location()).unwrap();
    lake.run(&["scan", "private.thief", "-o", "none"]).assert_refused("location-not-allowed", 5, &[&theirs]);
    let told = lake.run(&["scan", "private.thief", "-o", "none", "--allow", other.table.location()]);
    assert!(told.status == 5 && told.stderr.contains(&theirs), "{told:?}");
}

#[test]
fn what_nessie_lends_does_not_open_another_table() {
    do_not_open_another_table(Kind::Nessie);
}

#[test]
fn what_the_door_lends_does_not_open_another_table() {
    do_not_open_another_table(Kind::Door);
}
