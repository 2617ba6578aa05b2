//! A store that throttles and fails with 429, 500 and 503, and says when to come back: scans succeed and are right.

use super::{Bay, latency, many_files, read};
use fastdata_testkit::proxy::{Conditions, Fault, Faults, Logged};
use std::time::Duration;

fn refused(log: &[Logged], status: u16) -> u64 {
    log.iter().filter(|logged| logged.status == status).count() as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_of_a_store_that_answers_429_500_and_503_are_right_and_count_what_was_asked_again() {
    let Some(bay) = Bay::shared(many_files(110), latency(5)).await else { return };
    let truth = bay.truth().await;
    let engine = bay.engine(&bay.proxy.endpoint(), &[("fastdata.s3.hedging", "false")]);
    let (mut seen, mut pauses) = ([0; 3], 0);
    for seed in 0..4 {
        let rates = Faults { seed, unavailable_per_mille: 40, throttled_per_mille: 40, failing_per_mille: 40, ..Faults::default() };
        bay.proxy.set(Conditions { faults: rates, ..latency(5) });
        bay.proxy.take_log();
        let (rows, stats) = read(&engine, "").await.unwrap();
        assert_eq!(rows, truth, "seed {seed}");
        let log = bay.proxy.take_log();
        let statuses = [429, 500, 503].map(|status| refused(&log, status));
        assert_eq!((stats.requests, stats.retries, stats.hedges), (log.len() as u64, statuses.iter().sum(), 0), "seed {seed}");
        seen.iter_mut().zip(statuses).for_each(|(seen, more)| *seen += more);
        pauses += log.iter().filter(|logged| matches!(logged.fault, Some(Fault::RetryAfter(..)))).count();
    }
    assert!(seen.iter().all(|seen| *seen > 5) && pauses > 10, "{seen:?}, {pauses} with Retry-After");
}

/// What the store asks for is waited, and no more than a few seconds of it; that it asks for nothing does not mean at once and for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_longer_pause_that_the_store_asks_for_is_kept_to_and_no_pause_is_none() {
    let Some(bay) = Bay::shared(many_files(110), latency(0)).await else { return };
    let truth = bay.truth().await;
    let engine = bay.engine(&bay.proxy.endpoint(), &[("fastdata.s3.hedging", "false")]);
    // The first request of a scan for the table's files is one alone.
    for (fault, from, until) in [
        (Fault::RetryAfter(429, 1), 1.0, 2.5),
        (Fault::RetryAfter(500, 60), 3.3, 6.0),
        (Fault::Status(500, "InternalError"), 0.0, 1.0),
        (Fault::Status(429, "TooManyRequests"), 0.0, 1.0),
    ] {
        bay.proxy.take_log();
        bay.proxy.fail("", [fault.clone()]);
        let (rows, stats) = read(&engine, "").await.unwrap();
        assert!(rows == truth && stats.retries == 1, "{fault:?}: {stats:?}");
        let log = bay.proxy.take_log();
        let failed = log.iter().position(|logged| logged.fault.is_some()).unwrap();
        let again = log[failed + 1..].iter().find(|logged| logged.line() == log[failed].line()).unwrap();
        let pause = (again.came - log[failed].came).as_secs_f64();
        assert!((from..until).contains(&pause), "{fault:?}: {pause}");
    }
    bay.proxy.take_log();
    bay.proxy.fail("", vec![Fault::RetryAfter(503, 0); 5]);
    assert_eq!(read(&engine, "").await.unwrap().0, truth);
    let log = bay.proxy.take_log();
    let tries: Vec<&Logged> = log.iter().filter(|logged| logged.line() == log[0].line()).collect();
    assert_eq!(tries.len(), 6, "{tries:?}");
    // The half at least of 4, 8, 16, 32 and 64 ms.
    assert!(tries[5].came - tries[0].came >= Duration::from_millis(62), "{tries:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_runs_out_of_time_says_what_the_store_answered_last() {
    let Some(bay) = Bay::shared(many_files(110), latency(0)).await else { return };
    bay.proxy.fail("/data/", vec![Fault::Unavailable; 1000]);
    bay.configure(&bay.proxy.endpoint(), &[], "16MiB");
    let mut command = crate::support::fastdata(bay.folder.path());
    command.args(["scan", "test.t", "--timeout", "2s"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(8), 0), "{said}");
    for part in ["not done after --timeout 2s", "what failed last", "/data/", &bay.proxy.endpoint(), "503"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
