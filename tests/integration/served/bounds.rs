//! What a server may take: memory, streams, time, whoever calls and however they behave.

use super::{Server, block_on, large, request};
use crate::support::run;
use fastdata_client::{Client, ConnectOptions, PullOptions};
use fastdata_types::ErrorKind;
use futures::StreamExt;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

fn scale(short: usize, whole: usize) -> usize {
    if crate::support::soak() { whole } else { short }
}

/// Pulls a table of one client's own; rows, or why not.
async fn scan(uri: &str, json: &str) -> Result<usize, fastdata_types::Error> {
    let client = Client::connect(uri, ConnectOptions::default()).await?;
    let plan = client.plan(&request(json)).await?;
    let mut pull = plan.pull(PullOptions { prefetch_bytes: 1 << 20, ..Default::default() })?;
    let mut rows = 0;
    while let Some(next) = pull.next().await {
        rows += next?.1.batch.num_rows();
    }
    Ok(rows)
}

/// Many scans at once: whole or refused, none hangs, and memory stays where it was promised.
fn many_scans(memory: &str, budget: u64) {
    let server = Server::with(large(), &["--warehouse", "w", "--memory", memory, "--admin", "127.0.0.1:0"]);
    let json = r#"{"table": "tpch.orders", "columns": ["o_orderkey", "o_comment", "o_clerk"]}"#;
    let started = Instant::now();
    let outcomes = block_on(async {
        let scans = (0..200).map(|_| scan(&server.uri, json));
        tokio::time::timeout(Duration::from_secs(300), futures::future::join_all(scans)).await.expect("a scan hangs")
    });
    let whole = outcomes.iter().filter(|outcome| matches!(outcome, Ok(45_000))).count();
    for outcome in &outcomes {
        match outcome {
            Ok(rows) => assert_eq!(*rows, 45_000),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::LimitExceeded | ErrorKind::BudgetTooSmall), "{error}"),
        }
    }
    let peak = server.memory("VmHWM");
    eprintln!("200 scans at {memory}: {whole} whole, peak {} MiB, {:?}", peak / MIB, started.elapsed());
    assert!(whole >= 190, "{whole} of 200 scans were whole");
    assert!(peak <= budget + 512 * MIB, "{} MiB at a budget of {memory}", peak / MIB);
    server.await_metric("fastdata_memory_in_use_bytes", Duration::from_secs(5), |bytes| bytes == 0.0);
    assert_eq!(server.metric("fastdata_streams_open"), 0.0);
}

#[test]
fn two_hundred_scans_stay_within_the_budget() {
    many_scans("256MiB", 256 * MIB);
}

#[test]
fn two_hundred_scans_on_a_small_budget_finish_or_are_refused() {
    many_scans("64MiB", 64 * MIB);
}

/// What a scan takes: the median of some.
async fn pace(uri: &str, json: &str, rows: usize) -> Duration {
    let mut times = Vec::new();
    for _ in 0..9 {
        let started = Instant::now();
        assert_eq!(scan(uri, json).await.unwrap(), rows);
        times.push(started.elapsed());
    }
    times.sort();
    times[times.len() / 2]
}

/// Streams that nobody reads cost little, and hold up nobody who does.
#[test]
fn stalled_streams_cost_little_and_slow_nobody_down() {
    let count = scale(300, 1_000);
    let server = Server::with(large(), &["--warehouse", "w", "--memory", "256MiB", "--admin", "127.0.0.1:0"]);
    let json = r#"{"table": "tpch.lineitem"}"#;
    block_on(async {
        let rows = scan(&server.uri, json).await.unwrap();
        let alone = pace(&server.uri, json, rows).await;
        // They cost the server what they cost, however little they cost us.
        let options = ConnectOptions { stream_window: Some(64 << 10), ..Default::default() };
        let plan = Client::connect(&server.uri, options).await.unwrap().plan(&request(json)).await.unwrap();
        let mut stalled = Vec::new();
        for _ in 0..count {
            // One batch is taken, and then no more.
            let mut pull = plan.pull(PullOptions { prefetch_bytes: 1 << 10, ..Default::default() }).unwrap();
            let first = tokio::time::timeout(Duration::from_secs(30), pull.next()).await;
            first.expect("a stream does not begin").unwrap().unwrap();
            stalled.push(pull);
        }
        // Those that wait for memory get it from those that nobody reads.
        let beside = Instant::now();
        assert_eq!(scan(&server.uri, json).await.unwrap(), rows);
        let first = beside.elapsed();
        let pace = pace(&server.uri, json, rows).await;
        let resident = server.resident();
        eprintln!(
            "{count} stalled streams: {} MiB; a scan takes {pace:?} beside them, {alone:?} alone, the first {first:?}",
            resident / MIB,
        );
        assert!(resident <= 1024 * MIB, "{} MiB", resident / MIB);
        // Other tests may run beside the short form.
        let slack = Duration::from_millis(scale(300, 0) as u64);
        assert!(pace <= alone * 2 + slack, "{pace:?} beside stalled streams, {alone:?} alone");
        assert!(server.metric("fastdata_streams_open") >= count as f64);
        drop(stalled);
    });
    server.await_metric("fastdata_streams_open", Duration::from_secs(10), |open| open == 0.0);
}

/// A client that vanishes leaves nothing behind: no stream, no memory, no work.
#[test]
fn a_client_that_vanishes_leaves_nothing_after_two_seconds() {
    let server = Server::with(large(), &["--warehouse", "w", "--admin", "127.0.0.1:0"]);
    let tasks = |server: &Server| std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count();
    block_on(async { scan(&server.uri, r#"{"table": "tpch.nation"}"#).await.unwrap() });
    let before = tasks(&server);
    let mut child = crate::support::fastdata(large())
        .args(["scan", "tpch.lineitem", "--server", &server.uri, "--batch-rows", "1000"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    server.await_metric("fastdata_streams_open", Duration::from_secs(10), |open| open > 0.0);
    child.kill().unwrap();
    child.wait().unwrap();
    let within = Duration::from_secs(2);
    server.await_metric("fastdata_streams_open", within, |open| open == 0.0);
    server.await_metric("fastdata_memory_in_use_bytes", within, |bytes| bytes == 0.0);
    server.await_metric("fastdata_connections_open", within, |open| open == 0.0);
    let decoded = server.metric("fastdata_rows_decoded_total");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.metric("fastdata_rows_decoded_total"), decoded, "something still decodes");
    assert!(tasks(&server) <= before + 1, "files or sockets are left open");
    assert!(server.log().contains(r#""outcome":"cancelled""#), "{}", server.log());
}

/// SIGTERM under load: not ready at once, what runs finishes, nothing new begins, and the exit is clean.
#[test]
fn a_server_that_is_told_to_stop_finishes_what_runs() {
    let mut server = Server::with(large(), &["--warehouse", "w", "--admin", "127.0.0.1:0"]);
    while server.page("/readyz").0 != 200 {}
    block_on(async {
        let client = server.client().await;
        let plan = client.plan(&request(r#"{"table": "tpch.lineitem", "batchRows": 1000}"#)).await.unwrap();
        let mut pull = plan.pull(PullOptions { prefetch_bytes: 64 << 10, ..Default::default() }).unwrap();
        let mut rows = pull.next().await.unwrap().unwrap().1.batch.num_rows();
        server.signal("TERM");
        let asked = Instant::now();
        while server.page("/readyz").0 != 503 {
            assert!(asked.elapsed() < Duration::from_secs(1), "ready after the signal");
        }
        // On a connection of its own: what runs is not to be disturbed.
        if let Ok(other) = Client::connect(&server.uri, ConnectOptions::default()).await {
            let other = other.with_retry_for(Duration::ZERO);
            assert!(other.plan(&request(r#"{"table": "tpch.nation"}"#)).await.is_err());
        }
        while let Some(next) = pull.next().await {
            rows += next.unwrap_or_else(|error| panic!("{error:?} after {rows} rows\n{}", server.log())).1.batch.num_rows();
        }
        assert!(rows > 150_000);
    });
    let (status, took) = server.ended(Duration::from_secs(10));
    assert!(status.success() && took < Duration::from_secs(5), "{status} after {took:?}");
    let log = server.log();
    assert!(log.contains(r#""event":"draining""#) && log.contains(r#""event":"stopped""#), "{log}");
}

/// A client that reads nothing must not keep a server alive: a second signal ends it, and so does the grace period.
#[test]
fn a_stopped_server_ends_whoever_it_serves() {
    for (signals, status) in [(&["INT", "INT"][..], Some(130)), (&["INT", "TERM"], Some(143)), (&["TERM"], Some(0))] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("fastdata.toml"), "[server]\ngrace = \"2s\"\n").unwrap();
        let warehouse = large().join("w");
        let mut server = Server::with(folder.path(), &["--warehouse", warehouse.to_str().unwrap()]);
        block_on(async {
            let plan = server.client().await.plan(&request(r#"{"table": "tpch.lineitem"}"#)).await.unwrap();
            let mut pull = plan.pull(PullOptions { prefetch_bytes: 1 << 10, ..Default::default() }).unwrap();
            pull.next().await.unwrap().unwrap();
            for (n, signal) in signals.iter().enumerate() {
                if n > 0 {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    assert!(server.log().contains("draining"));
                }
                server.signal(signal);
            }
            let (ended, took) = server.ended(Duration::from_secs(6));
            assert_eq!(ended.code(), status, "{signals:?}");
            let within = if signals.len() > 1 { Duration::from_secs(1) } else { Duration::from_secs(4) };
            assert!(took < within, "{signals:?} took {took:?}");
            drop(pull);
        });
    }
}

#[test]
fn a_server_starts_within_a_second_and_says_what_it_serves() {
    // Others may have the machine at the moment.
    let took = (0..5).map(|_| {
        let started = Instant::now();
        drop(Server::start());
        started.elapsed()
    });
    let took = took.min().unwrap();
    assert!(took < Duration::from_secs(1), "{took:?}");
    let output = run(crate::command_line::warehouse(), &["serve", "--warehouse", "w", "--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("loopback"));
}

#[test]
fn a_limit_on_streams_is_a_refusal_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fastdata.toml"), "[server.limits]\nstreams = 2\n").unwrap();
    let warehouse = large().join("w");
    let server = Server::with(folder.path(), &["--warehouse", warehouse.to_str().unwrap()]);
    block_on(async {
        let client = server.client().await.with_retry_for(Duration::ZERO);
        let plan = client.plan(&request(r#"{"table": "tpch.lineitem"}"#)).await.unwrap();
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut pull = plan.pull(PullOptions { prefetch_bytes: 1 << 10, ..Default::default() }).unwrap();
            pull.next().await.unwrap().unwrap();
            held.push(pull);
        }
        let mut third = plan.pull(PullOptions::default()).unwrap();
        let error = third.next().await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::LimitExceeded, true), "{error}");
        assert!(error.message().contains("2 streams"), "{error}");
        drop(held);
        let patient = server.client().await;
        let rows = patient.plan(&request(r#"{"table": "tpch.nation"}"#)).await.unwrap().pull(PullOptions::default()).unwrap().count().await;
        assert_eq!(rows, 1);
    });
}
