//! Catalogs that answer with anything but the table: the command says so, in time.

use crate::support::fastdata;
use fastdata_testkit::proxy::{Conditions, Fault as Broken, Proxy};
use fastdata_testkit::rest::{Fault, RestOptions, RestServer};
use std::path::Path;
use std::time::{Duration, Instant};

const FOREVER: Duration = Duration::from_secs(3600);

async fn run(folder: &Path, uri: &str, arguments: &[&str]) -> (Option<i32>, String, Duration) {
    let settings = format!(
        "default-catalog = \"lake\"\n[catalogs.lake]\ntype = \"rest\"\nuri = \"{uri}\"\n\"rest.client.socket-timeout-ms\" = \"1500\"\n\"fastdata.rest.retry-timeout\" = \"3\"\n"
    );
    std::fs::write(folder.join("fastdata.toml"), settings).unwrap();
    let mut command = fastdata(folder);
    command.args(arguments).args(["--timeout", "60s"]);
    let began = Instant::now();
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(output.stdout.len(), 0, "{}", String::from_utf8_lossy(&output.stdout));
    (output.status.code(), String::from_utf8(output.stderr).unwrap(), began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_that_answers_nonsense_floods_fails_or_is_silent_is_a_clear_error_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = RestServer::start(RestOptions::default()).await;
    for (fault, status, says) in [
        (Fault::Html, 7, "HTML"),
        (Fault::NotJson, 7, "JSON"),
        (Fault::Huge(200 << 20), 6, "larger than"),
        (Fault::Status(500, "<html>no</html>"), 7, "500"),
        (Fault::Hang, 7, "in time"),
    ] {
        for (command, path) in [(&["scan", "test.t"][..], "/tables/t"), (&["tables"], "/v1/namespaces")] {
            for _ in 0..20 {
                catalog.fail_next(path, fault.clone());
            }
            let (code, said, took) = run(folder.path(), &catalog.uri(), command).await;
            catalog.forgive();
            assert_eq!(code, Some(status), "{command:?}: {said}");
            assert!(said.contains(says) && said.contains(&catalog.uri()) && said.contains("help: "), "{command:?}: {said}");
            assert!(took < Duration::from_secs(20), "{command:?}: {took:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_behind_a_network_that_breaks_is_an_error_that_may_pass() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = RestServer::start(RestOptions::default()).await;
    let proxy = Proxy::start(catalog.uri().trim_start_matches("http://").parse().unwrap(), Conditions::default()).await.unwrap();
    for fault in [Broken::Reset(0), Broken::Reset(5), Broken::Truncate(5), Broken::Hang(FOREVER), Broken::Unavailable] {
        proxy.fail("/v1/", vec![fault.clone(); 20]);
        let (code, said, took) = run(folder.path(), &proxy.endpoint(), &["tables"]).await;
        proxy.forgive();
        assert_eq!(code, Some(7), "{fault:?}: {said}");
        assert!(said.contains(&proxy.endpoint()) && said.contains("trying again may help"), "{fault:?}: {said}");
        assert!(took < Duration::from_secs(30), "{fault:?}: {took:?}");
    }
}
