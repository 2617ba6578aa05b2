//! Requests that nobody answers: hedged, or retried when the silence is too long.

use super::{Bay, latency, many_files, read};
use fastdata_testkit::proxy::Fault;
use std::net::TcpListener;
use std::time::{Duration, Instant};

const FOREVER: Duration = Duration::from_secs(3600);

/// How long a scan takes while so many requests for data files hang, and what it counted.
async fn scan(hung: usize, more: &[(&str, &str)]) -> Option<(Duration, fastdata_types::stats::ScanStats)> {
    let bay = Bay::shared(many_files(110), latency(5)).await?;
    let truth = bay.truth().await;
    let engine = bay.engine(&bay.proxy.endpoint(), more);
    // What is usual is known then.
    assert_eq!(read(&engine, "").await.unwrap().0, truth);
    bay.proxy.fail("/data/", vec![Fault::Hang(FOREVER); hung]);
    let began = Instant::now();
    let (rows, stats) = read(&engine, "").await.unwrap();
    assert_eq!(rows, truth);
    let log = bay.proxy.take_log();
    assert_eq!(log.iter().filter(|logged| logged.fault == Some(Fault::Hang(FOREVER))).count(), hung);
    Some((began.elapsed(), stats))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_hung_requests_are_answered_by_others_long_before_the_silence_is_too_long() {
    let Some((took, stats)) = scan(4, &[]).await else { return };
    eprintln!("a scan with 4 hung requests took {took:?}: {} hedges, {} retries", stats.hedges, stats.retries);
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(stats.hedges >= 4, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_hedges_a_hung_request_is_retried_after_the_silence_that_is_borne() {
    let Some((took, stats)) = scan(2, &[("fastdata.s3.hedging", "false"), ("s3.request-timeout", "1")]).await else { return };
    eprintln!("a scan with 2 hung requests and no hedges took {took:?}: {} retries", stats.retries);
    assert!((Duration::from_secs(1)..Duration::from_secs(10)).contains(&took), "{took:?}");
    assert_eq!((stats.hedges, stats.retries), (0, 2));
}

/// More hung requests than hedges are spared: the others are retried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_hung_requests_are_hedged_in_part_and_retried_for_the_rest() {
    let Some((took, stats)) = scan(40, &[("s3.request-timeout", "2")]).await else { return };
    eprintln!("a scan with 40 hung requests took {took:?}: {} hedges, {} retries", stats.hedges, stats.retries);
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert!(stats.hedges > 0 && stats.retries > 0 && stats.hedges < 30, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timeout_of_a_command_caps_whatever_it_waits_for() {
    let Some(bay) = Bay::shared(many_files(110), latency(0)).await else { return };
    bay.proxy.fail("", vec![Fault::Hang(FOREVER); 1000]);
    bay.configure(&bay.proxy.endpoint(), &[], "16MiB");
    let run = async |arguments: &[&str], variables: &[(&'static str, &'static str)]| {
        let mut command = crate::support::fastdata(bay.folder.path());
        command.args(arguments).envs(variables.iter().copied());
        let began = Instant::now();
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}: {said}", began.elapsed());
        assert_eq!((output.status.code(), output.stdout.len()), (Some(8), 0), "{said}");
        assert!(said.starts_with("error: deadline-exceeded\n") && said.contains("--timeout"), "{said}");
        said
    };
    for command in [&["scan", "test.t"][..], &["count", "test.t", "--where", "id > 5"], &["plan", "test.t"], &["files", "test.t"]] {
        run(&[command, &["--timeout", "2s"]].concat(), &[]).await;
    }
    let said = run(&["scan", "test.t"], &[("FASTDATA_TIMEOUT", "1500ms")]).await;
    assert!(said.contains("timeout in the configuration") && said.contains("1.5s"), "{said}");
}

/// Whatever a command waits for, and whichever way the time was given: a flag, a variable, a file.
#[test]
fn the_timeout_of_a_command_caps_a_catalog_a_server_and_a_store_that_take_connections_and_say_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (server, store) = (format!("grpc://{address}"), format!("http://{address}"));
    let catalog = format!("[catalogs.lake]\ntype = \"rest\"\nuri = \"http://{address}\"\n");
    std::fs::write(folder.path().join("catalog.toml"), &catalog).unwrap();
    std::fs::write(folder.path().join("timed.toml"), format!("timeout = \"700ms\"\n{catalog}")).unwrap();
    let bench = ["bench", "--endpoint", &store, "--bucket", "b", "--scale", "0.001", "--tables", "tpch.lineitem"];
    let commands = [
        &["tables"][..],
        &["describe", "ns.t"],
        &["snapshots", "ns.t"],
        &["files", "ns.t"],
        &["plan", "ns.t"],
        &["count", "ns.t"],
        &["shards", "ns.t", "-n", "2"],
        &["scan", "ns.t"],
        &["doctor"],
        &["tables", "--server", &server],
        &["describe", "ns.t", "--server", &server],
        &["scan", "ns.t", "--server", &server],
        &["scan", "ns.t", "--lanes", "2", "--server", &server],
        &bench,
        &["demo", "large", "--scale", "50"],
    ];
    let run = |arguments: &[&str], variables: &[(&str, &str)], gave: &str| {
        let mut command = crate::support::fastdata(folder.path());
        let variables = variables.iter().copied().chain([("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "s")]);
        let began = Instant::now();
        let output = command.args(arguments).envs(variables).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(began.elapsed() < Duration::from_secs(15), "{arguments:?} took {:?}: {said}", began.elapsed());
        assert_eq!(output.status.code(), Some(8), "{arguments:?}: {said}");
        assert!(said.contains("error: deadline-exceeded\n") && said.contains(gave) && said.contains("700ms"), "{arguments:?}: {said}");
    };
    for command in commands {
        let reads_here = !command.contains(&"--server");
        let config: &[&str] = if reads_here { &["--config", "catalog.toml"] } else { &[] };
        run(&[command, config, &["--timeout", "700ms"]].concat(), &[], "--timeout 700ms");
        run(&[command, config].concat(), &[("FASTDATA_TIMEOUT", "700ms")], "timeout in the configuration");
        run(command, &[("FASTDATA_CONFIG", "timed.toml")], "timeout in the configuration");
    }
}

/// Where a time cannot be told, none is waited without end.
#[test]
fn a_timeout_that_cannot_be_read_is_refused_by_commands_that_read_nothing_else_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["scan", "ns.t", "--server", "grpc://127.0.0.1:1"][..], &["demo", "w"], &["scan", "ns.t"]] {
        let output = crate::support::fastdata(folder.path()).args(arguments).env("FASTDATA_TIMEOUT", "soon").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains("FASTDATA_TIMEOUT: 'soon'"), "{arguments:?}: {said}");
    }
    assert!(!folder.path().join("w").exists());
}
