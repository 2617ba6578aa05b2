//! Requests that nobody answers: hedged, or retried when the silence is too long.

use super::{Bay, latency, many_files, read};
use fastdata_testkit::proxy::Fault;
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
